"""How the work is cut: tiles of pixels, groups of channels, the order of the programs, and where the elements of a tensor are."""
import torch
import triton
import triton.language as tl
from svconv._triton.launch import cdiv

LANES = 256             # pixels of a tile, one per thread
SHARED_CHANNELS = 4     # channels that one program filters with the same filters
UNROLLED_ROW = 9        # windows up to this width unroll a row of taps, wider ones eight taps at a time, four for several channels
UNROLLED_TAPS = 12      # rows of narrow windows unroll together up to this many taps (of all channels of a program)


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


# strides: None stands for a contiguous tensor, otherwise they are given ------------------------------------------------

@triton.jit
def image_strides(given, C, H, W):
    """Of [B, C, H, W]."""
    if given is None:
        plane = tl.cast(H, tl.int64) * W
        return C * plane, plane, tl.cast(W, tl.int64), 1
    else:
        return given


@triton.jit
def maps_strides(given, C, M, H, W):
    """Of [B, C, M, H, W]."""
    if given is None:
        plane = tl.cast(H, tl.int64) * W
        return C * (M * plane), M * plane, plane, tl.cast(W, tl.int64), 1
    else:
        return given


@triton.jit
def filter_strides(given, C, M, H, W, KH: tl.constexpr, KW: tl.constexpr, SHARED_B: tl.constexpr, SHARED_C: tl.constexpr):
    """Of [B, C, M, KH, KW, H, W], 0 along a shared axis."""
    if given is None:
        plane = tl.cast(H, tl.int64) * W
        of_channel = M * (plane * (KH * KW))
        of_image = 0 if SHARED_B else of_channel if SHARED_C else C * of_channel
        return of_image, 0 if SHARED_C else of_channel, plane * (KH * KW), plane * KW, plane, tl.cast(W, tl.int64), 1
    else:
        return given


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


def unrolling(kh, kw, channels=1):
    wide = 8 if channels == 1 else 4
    return {"UNROLL_H": min(kh, max(1, UNROLLED_TAPS // (kw * max(channels, 1)))), "UNROLL_W": kw if kw <= UNROLLED_ROW else wide}


def channel_groups(c, filters):
    """(groups, channels of a group): channels share one read of the same filters."""
    groups = cdiv(c, SHARED_CHANNELS) if filters.shape[1] == 1 else c
    return groups, cdiv(c, max(groups, 1))


def sharing(filters):
    """Axes of 1, along which all programs read the same filters, as kernel arguments."""
    return {"SHARED_B": filters.shape[0] == 1, "SHARED_C": filters.shape[1] == 1}


def filter_arguments(filters, give_strides=False):
    """The filters as kernel arguments; the stride of a batch or channel axis of 1 is 0."""
    kh, kw = filters.shape[3:5]
    given = broadcast_strides(filters) if give_strides or not filters.is_contiguous() else None
    return {"filters": filters, "f_strides": given, "KH": kh, "KW": kw}


def broadcast_strides(t):
    return tuple(0 if axis < 2 and t.shape[axis] == 1 else stride for axis, stride in enumerate(t.stride()))
