"""What the families that work on tiles of pixels share: tiles, groups of channels, and the order of the programs."""
import torch
import triton
import triton.language as tl
from svconv._triton.launch import cdiv

LANES = 256             # pixels of a tile, one per thread
SHARED_CHANNELS = 4     # channels that one program works on with the same weights


@triton.jit
def tile_pixels(tile, W, TH: tl.constexpr, TW: tl.constexpr):
    """Rows and columns of the pixels of a tile, and those of its first pixel."""
    lane = tl.arange(0, TH * TW)
    tiles_w = tl.cdiv(W, TW)
    row = tile // tiles_w * TH
    col = tile % tiles_w * TW
    return row + lane // TW, col + lane % TW, row, col


@triton.jit
def reads_inside(row, col, H, W, up: tl.constexpr, down: tl.constexpr, left: tl.constexpr, right: tl.constexpr,
                 TH: tl.constexpr, TW: tl.constexpr):
    """True if a whole tile with this first pixel and everything within reach of it lies in the image."""
    return (row >= up) & (row + (TH - 1 + down) < H) & (col >= left) & (col + (TW - 1 + right) < W)


@triton.jit
def program_order(pid, C, M, H, W, SHARED_B: tl.constexpr, SHARED_C: tl.constexpr, CB: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr):
    """(image, channel group, map, tile) of a program; those that read the same filters are neighbours, then those of the same pixels."""
    groups = tl.cdiv(C, CB)
    tiles = tl.cdiv(H, TH) * tl.cdiv(W, TW)
    if SHARED_C:
        group = pid % groups
        pid = pid // groups
    if SHARED_B:
        images = tl.num_programs(0) // (groups * M * tiles)
        b = pid % images
        pid = pid // images
    m = pid % M
    pid = pid // M
    tile = pid % tiles
    pid = pid // tiles
    if not SHARED_C:
        group = pid % groups
        pid = pid // groups
    if not SHARED_B:
        b = pid
    return b.to(tl.int64), group, m.to(tl.int64), tile


@triton.jit
def channel(group, k, C, CB: tl.constexpr):
    """Channel k of a group of CB; a group that does not come out even repeats the last channel, which writes the same twice."""
    return tl.minimum(group * CB + k, C - 1).to(tl.int64)


@triton.jit
def channel_pointers(base, stride, group, C, CB: tl.constexpr):
    pointers = ()
    for k in tl.static_range(CB):
        pointers = pointers + (base + channel(group, k, C, CB) * stride,)
    return pointers


@triton.jit
def zeros(N: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr):
    sums = ()
    for _ in tl.static_range(N):
        sums = sums + (tl.zeros([BLOCK], ACC),)
    return sums


# host -----------------------------------------------------------------------------------------------------------------

def accumulator(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32


def kernel_accumulator(dtype):
    return tl.float64 if dtype == torch.float64 else tl.float32


def tiling(height, width, longest):
    """How many tiles of LANES pixels with rows of at most `longest` there are, and their shape as kernel arguments."""
    tw = min(1 << (width - 1).bit_length(), longest)
    th = LANES // tw
    return cdiv(height, th) * cdiv(width, tw), {"TH": th, "TW": tw}


def channel_groups(c, filters, most=SHARED_CHANNELS):
    """(groups, channels of a group, at most `most`): channels share one read of the same filters or weights."""
    groups = cdiv(c, most) if filters.shape[1] == 1 else c
    return groups, cdiv(c, max(groups, 1))


def broadcast_strides(t):
    return tuple(0 if axis < 2 and t.shape[axis] == 1 else stride for axis, stride in enumerate(t.stride()))
