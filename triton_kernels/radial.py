"""What the blurs with a kernel made of one number per pixel share: which of two primitives an op is, where its result stands before it is
folded back, and how images are read.

Two primitives make both forms and their adjoints: gather (every pixel sums over its own kernel) and spread (every pixel sums over the
kernels that reach it, looked for in blocks of the map).
"""
import torch
import triton
import triton.language as tl
from svconv._triton.boundary import is_far, source_index
from svconv._triton.launch import cdiv
from svconv._triton.tiles import accumulator, channel, channel_groups

from svconv._disk_area import LARGEST
from svconv._plane import Plane
from svconv._triton import boundary

SIDE = 16       # pixels of a block of the map


@triton.jit
def along_axis(position, n, stride, PADDING: tl.constexpr, FAR: tl.constexpr, CHECKED: tl.constexpr):
    """Where the positions of an axis are read, and whether they are."""
    ok = position == position
    if CHECKED:
        position, ok = source_index(position, n, PADDING, FAR)
    return position.to(tl.int64) * stride, ok


@triton.jit
def add_weighted(sums, weight, xs, place, ok, CB: tl.constexpr, ACC: tl.constexpr):
    """sums + weight x[place] where ok; what is not read cannot be NaN."""
    new = ()
    for k in tl.static_range(CB):
        new = new + (sums[k] + weight * tl.load(xs[k] + place, mask=ok, other=0.0).to(ACC),)
    return new


@triton.jit
def added(one, other, scale, CB: tl.constexpr):
    new = ()
    for k in tl.static_range(CB):
        new = new + (one[k] + other[k] * scale,)
    return new


@triton.jit
def add_octant(sums, weight, i, j, xs, rows, cols, H, W, x_h, x_w, PADDING: tl.constexpr, FAR: tl.constexpr, CHECKED: tl.constexpr,
               CB: tl.constexpr, ACC: tl.constexpr):
    """sums + weight x at the offsets (+-j, +-i) and (+-i, +-j), i >= j >= 0, each once; where the weight is 0 nothing is read."""
    there = weight != 0
    row, column = rows * 0 + i, rows * 0 + j     # the interpreter cannot mix masks and truth values
    twice, other = there & (column > 0), there & (row > column)
    both = other & (column > 0)
    down, down_ok = along_axis(rows + j, H, x_h, PADDING, FAR, CHECKED)
    up, up_ok = along_axis(rows - j, H, x_h, PADDING, FAR, CHECKED)
    right, right_ok = along_axis(cols + i, W, x_w, PADDING, FAR, CHECKED)
    sums = add_weighted(sums, weight, xs, down + right, there & down_ok & right_ok, CB, ACC)
    sums = add_weighted(sums, weight, xs, up + right, twice & up_ok & right_ok, CB, ACC)
    left, left_ok = along_axis(cols - i, W, x_w, PADDING, FAR, CHECKED)
    sums = add_weighted(sums, weight, xs, down + left, there & (row > 0) & down_ok & left_ok, CB, ACC)
    sums = add_weighted(sums, weight, xs, up + left, twice & up_ok & left_ok, CB, ACC)
    right, right_ok = along_axis(cols + j, W, x_w, PADDING, FAR, CHECKED)
    left, left_ok = along_axis(cols - j, W, x_w, PADDING, FAR, CHECKED)
    down, down_ok = along_axis(rows + i, H, x_h, PADDING, FAR, CHECKED)
    sums = add_weighted(sums, weight, xs, down + right, other & down_ok & right_ok, CB, ACC)
    sums = add_weighted(sums, weight, xs, down + left, both & down_ok & left_ok, CB, ACC)
    up, up_ok = along_axis(rows - i, H, x_h, PADDING, FAR, CHECKED)
    sums = add_weighted(sums, weight, xs, up + right, other & up_ok & right_ok, CB, ACC)
    return add_weighted(sums, weight, xs, up + left, both & up_ok & left_ok, CB, ACC)


@triton.jit
def store_gathered(out, totals, factor, factor_strides, b, group, C, plane, place, map_row, map_col, lanes, CB: tl.constexpr,
                   BLOCK: tl.constexpr, ACC: tl.constexpr):
    """out[b, c] = totals, or with a factor out[b, group] = the sum of the channels' products, the factor read where the map was."""
    products = tl.zeros([BLOCK], ACC)
    for k in tl.static_range(CB):
        c = channel(group, k, C, CB)
        if factor is None:
            tl.store(out + (b * C + c) * plane + place, totals[k], mask=lanes)
        else:
            f_b, f_c, f_h, f_w = factor_strides
            at = b * f_b + c * f_c + map_row.to(tl.int64) * f_h + map_col.to(tl.int64) * f_w
            counts = lanes & (map_row * 0 + group * CB + k < C)       # not the channel that fills up a group
            products += tl.where(counts, totals[k] * tl.load(factor + at, mask=counts, other=0.0).to(ACC), 0.0)
    if factor is not None:
        tl.store(out + (b * tl.cdiv(C, CB) + group) * plane + place, products, mask=lanes)


@triton.jit
def block_range(first, last, margin, blocks, SIDE: tl.constexpr):
    """The blocks that hold the positions first..last, from..to-1."""
    return tl.maximum(first + margin, 0) // SIDE, tl.minimum((tl.maximum(last + margin, -SIDE) + SIDE) // SIDE, blocks)


@triton.jit
def gap(first, last, low, high):
    """By how many pixels first..last is away from low..high, 0 where they meet."""
    return tl.maximum(tl.maximum(low - last, first - high), 0)


# host -----------------------------------------------------------------------------------------------------------------

def why_not(op, *arguments):
    """None, or the reason why these arguments are refused."""
    largest = boundary.LARGEST_SIDE - 2 * LARGEST
    return f"sides above {largest}" if max(arguments[0].shape[-2:]) > largest else None


def gather_groups(c, map_, dtype):
    """(groups, channels of a group): as many as registers hold."""
    return channel_groups(c, map_, 2 if accumulator(dtype) == torch.float64 else 3)


def blocks(height, width, margin):
    """How many blocks there are down and across an image and its margin."""
    return cdiv(height + 2 * margin, SIDE), cdiv(width + 2 * margin, SIDE)


class Radial:
    """The blur of one map, or with `slope` its derivative. `launches(x, out, factor)` of a family yields what makes out [B, C, *size] of x;
    with a factor, which only gathers take, products summed over groups of channels [B, groups, *size].

    map_: the number of each pixel. reach: of the largest kernel, on the host.
    """

    def __init__(self, map_, reach, form, padding, slope, transposed):
        self.map, self.reach, self.slope, self.padding = map_, reach, slope, padding
        self.gathers = (form == "gather") != transposed
        # of zeros and of a torus the transpose is the other primitive, and stays in the image
        self.on_plane = transposed and padding not in ("zeros", "circular")
        self.sources = "zeros" if self.on_plane else padding
        self.around = padding if self.on_plane else "replicate"     # how the map goes on around the image, if results do
        self.far = any(is_far(n, 2 * reach + 1, padding) for n in map_.shape[-2:])
        self.margin = reach if self.on_plane else 0
        self.source_margin = 0 if self.sources == "zeros" else reach

    @property
    def size(self):
        """Of the result before it is folded."""
        return tuple(n + 2 * self.margin for n in self.map.shape[-2:])

    def scalar(self, value):
        """A number for the kernels, which take floats in single precision: a fill, no copy from the host."""
        return torch.full((), value, dtype=accumulator(self.map.dtype), device=self.map.device)

    def block_table(self, numbers, x):
        """[numbers, B, C, blocks down, blocks across]."""
        shape = numbers, *self.map.shape[:2], *blocks(*self.map.shape[-2:], self.source_margin)
        return torch.empty(shape, dtype=accumulator(x.dtype), device=x.device)

    def run(self, x, factor=None):
        """The result of x, or its products with the factor, folded; of the accumulator's type where something follows."""
        follows = self.on_plane or factor is not None
        channels = x.shape[1] if factor is None else gather_groups(x.shape[1], self.map, x.dtype)[0]
        out = x.new_empty((x.shape[0], channels, *self.size), dtype=accumulator(x.dtype) if follows else x.dtype)
        for launch in self.launches(x, out, factor):
            launch(x.device)
        if not self.margin:
            return out
        m = self.margin
        return Plane(tuple(x.shape[-2:]), (m, m, m, m), self.size, self.padding).enter_adjoint(out)
