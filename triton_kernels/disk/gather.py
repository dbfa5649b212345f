"""Every pixel sums over its own disk: the forward of the gather form, and the adjoint of the scatter form.

A program owns a tile of pixels, one per thread, and bounds its loops by the largest and the smallest radius in it. What is inside the
smallest disk is summed without weights; of the rest, up to the largest disk, an area serves the eight pixels it is the same for, and all
channels of the program.
"""
import torch
import triton
import triton.language as tl
from svconv._triton.boundary import source_index
from svconv._triton.disk.areas import (
    ONE_OVER_PI,
    cleaned,
    cut_weight,
    half_chord,
    inside,
    last_inside,
    last_touched,
    octant_columns,
    outside,
)
from svconv._triton.launch import Launch
from svconv._triton.tiles import (
    accumulator,
    broadcast_strides,
    channel,
    channel_groups,
    channel_pointers,
    kernel_accumulator,
    program_order,
    tile_pixels,
    tiling,
    zeros,
)


@triton.jit
def _along(position, n, stride, PADDING: tl.constexpr, FAR: tl.constexpr, CHECKED: tl.constexpr):
    """Where the positions of an axis are read, and whether they are."""
    ok = position == position
    if CHECKED:
        position, ok = source_index(position, n, PADDING, FAR)
    return position.to(tl.int64) * stride, ok


@triton.jit
def _add(sums, weight, xs, place, ok, CB: tl.constexpr, ACC: tl.constexpr):
    """sums + weight x[place] where ok; what is not read cannot be NaN."""
    new = ()
    for k in tl.static_range(CB):
        new = new + (sums[k] + weight * tl.load(xs[k] + place, mask=ok, other=0.0).to(ACC),)
    return new


@triton.jit
def _added(one, other, scale, CB: tl.constexpr):
    new = ()
    for k in tl.static_range(CB):
        new = new + (one[k] + other[k] * scale,)
    return new


@triton.jit
def _sum_inside(xs, rows, cols, small, H, W, x_h, x_w, PADDING: tl.constexpr, FAR: tl.constexpr, CHECKED: tl.constexpr,
                CB: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr):
    """The sum over the pixels that are inside every disk of the tile, row by row."""
    sums = zeros(CB, BLOCK, ACC)
    last = last_inside(small, small * 0)
    for i in range(-last, last + 1):
        row, row_ok = _along(rows + i, H, x_h, PADDING, FAR, CHECKED)
        n = last_inside(small, tl.abs(tl.cast(i, tl.int32)))
        along = zeros(CB, BLOCK, ACC)
        for j in range(-n, n + 1):
            col, ok = _along(cols + j, W, x_w, PADDING, FAR, CHECKED)
            along = _add(along, 1.0, xs, row + col, ok & row_ok, CB, ACC)
        sums = _added(sums, along, 1.0, CB)
    return sums


@triton.jit
def _sum_edge(sums, xs, rows, cols, r, plain, small, large, H, W, x_h, x_w, PADDING: tl.constexpr, FAR: tl.constexpr,
              CHECKED: tl.constexpr, SLOPE: tl.constexpr, CB: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr):
    """sums + the areas' part: pixels that are inside some disk of the tile and not inside all of them."""
    inverse = 1.0 / r
    for j in range(octant_columns(large)):
        j = tl.cast(j, tl.int32)
        b = j.to(ACC)
        at_low_b, at_high_b = half_chord(r, tl.maximum(b - 0.5, 0.0)), half_chord(r, b + 0.5)
        down, down_ok = _along(rows + j, H, x_h, PADDING, FAR, CHECKED)
        up, up_ok = _along(rows - j, H, x_h, PADDING, FAR, CHECKED)
        right, right_ok = _along(cols + j, W, x_w, PADDING, FAR, CHECKED)
        left, left_ok = _along(cols - j, W, x_w, PADDING, FAR, CHECKED)
        first = tl.maximum(j, last_inside(small, j) + 1)
        at_low_a = half_chord(r, tl.maximum(first.to(ACC) - 0.5, 0.0))
        along = zeros(CB, BLOCK, ACC)
        for i in range(first, last_touched(large, j) + 1):
            i = tl.cast(i, tl.int32)
            a = i.to(ACC)
            at_high_a = half_chord(r, a + 0.5)
            weight = tl.where(plain, cut_weight(at_low_a, at_high_a, at_low_b, at_high_b, a, b, inverse, SLOPE, ACC), 0.0)
            at_low_a = at_high_a
            # the eight places fall together in twos on the axes and diagonals
            there = weight != 0
            row, column = rows * 0 + i, rows * 0 + j     # the interpreter cannot mix masks and truth values
            twice, other = there & (column > 0), there & (row > column)
            both = other & (column > 0)
            right_a, right_a_ok = _along(cols + i, W, x_w, PADDING, FAR, CHECKED)
            along = _add(along, weight, xs, down + right_a, there & down_ok & right_a_ok, CB, ACC)
            along = _add(along, weight, xs, up + right_a, twice & up_ok & right_a_ok, CB, ACC)
            left_a, left_a_ok = _along(cols - i, W, x_w, PADDING, FAR, CHECKED)
            along = _add(along, weight, xs, down + left_a, there & (row > 0) & down_ok & left_a_ok, CB, ACC)
            along = _add(along, weight, xs, up + left_a, twice & up_ok & left_a_ok, CB, ACC)
            down_a, down_a_ok = _along(rows + i, H, x_h, PADDING, FAR, CHECKED)
            along = _add(along, weight, xs, down_a + right, other & down_a_ok & right_ok, CB, ACC)
            along = _add(along, weight, xs, down_a + left, both & down_a_ok & left_ok, CB, ACC)
            up_a, up_a_ok = _along(rows - i, H, x_h, PADDING, FAR, CHECKED)
            along = _add(along, weight, xs, up_a + right, other & up_a_ok & right_ok, CB, ACC)
            along = _add(along, weight, xs, up_a + left, both & up_a_ok & left_ok, CB, ACC)
        sums = _added(sums, along, 1.0, CB)
    return sums


@triton.jit
def _disk_sums(xs, rows, cols, r, plain, small, large, H, W, x_h, x_w, PADDING: tl.constexpr, FAR: tl.constexpr, CHECKED: tl.constexpr,
               SLOPE: tl.constexpr, CB: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr):
    sums = _sum_inside(xs, rows, cols, small, H, W, x_h, x_w, PADDING, FAR, CHECKED, CB, BLOCK, ACC)
    if SLOPE:
        sums = _added(zeros(CB, BLOCK, ACC), sums, -2.0 / r, CB)
    return _sum_edge(sums, xs, rows, cols, r, plain, small, large, H, W, x_h, x_w, PADDING, FAR, CHECKED, SLOPE, CB, BLOCK, ACC)


@triton.jit(do_not_specialize=["C", "H", "W", "OUT_H", "OUT_W", "margin"])
def _disk_gather_kernel(
        x, x_strides, radius, r_strides, limit, factor, factor_strides, out, C, H, W, OUT_H, OUT_W, margin,
        PADDING: tl.constexpr, AROUND: tl.constexpr, FAR: tl.constexpr, SLOPE: tl.constexpr, SHARED_B: tl.constexpr,
        SHARED_C: tl.constexpr, CB: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, ACC: tl.constexpr):
    """out[b,c,p] = sum_q w(radius[p], p-q) x[b,c,q] at the positions p of the image and a margin, which read the map by AROUND.

    With a factor out[b,group,p] = the sum of factor[b,c,p] times that over the channels of the group.
    """
    b, group, _, tile = program_order(tl.program_id(0), C, 1, OUT_H, OUT_W, SHARED_B, SHARED_C, CB, TH, TW)
    rows, cols, row, col = tile_pixels(tile, OUT_W, TH, TW)
    lanes = (rows < OUT_H) & (cols < OUT_W)
    place = rows.to(tl.int64) * OUT_W + cols
    rows, cols, row, col = rows - margin, cols - margin, row - margin, col - margin
    x_b, x_c, x_h, x_w = x_strides
    r_b, r_c, r_h, r_w = r_strides
    xs = channel_pointers(x + b * x_b, x_c, group, C, CB)
    radius += b * r_b + group.to(tl.int64) * r_c
    map_row, _ = source_index(rows, H, AROUND, FAR)
    map_col, _ = source_index(cols, W, AROUND, FAR)
    given = tl.load(radius + map_row.to(tl.int64) * r_h + map_col.to(tl.int64) * r_w, mask=lanes, other=0.0).to(ACC)
    given = cleaned(given, limit, SLOPE)
    plain = given > 0.5
    r = tl.where(plain, given, 1.0)
    large = outside(tl.max(tl.where(plain, r, 0.0)))
    small = inside(tl.min(tl.where(lanes, tl.where(plain, r, 0.0), 16384.0)))
    reach = last_touched(large, large * 0)
    touches = (row - reach < H) & (row + (TH - 1) + reach >= 0) & (col - reach < W) & (col + (TW - 1) + reach >= 0)
    if PADDING == "zeros":
        large, small = tl.where(touches, large, 0), tl.where(touches, small, 0)

    if (row >= reach) & (row + (TH - 1) + reach < H) & (col >= reach) & (col + (TW - 1) + reach < W):
        sums = _disk_sums(xs, rows, cols, r, plain, small, large, H, W, x_h, x_w, PADDING, FAR, False, SLOPE, CB, TH * TW, ACC)
    else:
        sums = _disk_sums(xs, rows, cols, r, plain, small, large, H, W, x_h, x_w, PADDING, FAR, True, SLOPE, CB, TH * TW, ACC)

    scale = ONE_OVER_PI / (r * r)
    own_row, row_ok = _along(rows, H, x_h, PADDING, FAR, True)
    own_col, col_ok = _along(cols, W, x_w, PADDING, FAR, True)
    products = tl.zeros([TH * TW], ACC)
    for k in tl.static_range(CB):
        c = channel(group, k, C, CB)
        own = given         # 0 or NaN
        if not SLOPE:
            copied = tl.load(xs[k] + own_row + own_col, mask=lanes & row_ok & col_ok & (given == 0), other=0.0).to(ACC)
            own = own + copied
        total = tl.where(plain, sums[k] * scale, own)
        if factor is None:
            tl.store(out + (b * C + c) * (tl.cast(OUT_H, tl.int64) * OUT_W) + place, total, mask=lanes)
        else:
            f_b, f_c, f_h, f_w = factor_strides
            f_place = b * f_b + c * f_c + map_row.to(tl.int64) * f_h + map_col.to(tl.int64) * f_w
            counts = lanes & (rows * 0 + group * CB + k < C)       # not the channel that fills up a group
            products += tl.where(counts, total * tl.load(factor + f_place, mask=counts, other=0.0).to(ACC), 0.0)
    if factor is not None:
        groups = tl.cdiv(C, CB)
        tl.store(out + (b * groups + group) * (tl.cast(OUT_H, tl.int64) * OUT_W) + place, products, mask=lanes)


def gather_groups(c, radius, dtype):
    """(groups, channels of a group): as many as registers hold."""
    return channel_groups(c, radius, 2 if accumulator(dtype) == torch.float64 else 3)


def gather_launch(x, radius, limit, out, margin, reach_is_far, padding, around, slope, factor=None):
    """margin: by how much out is larger than x on each side. padding: how x goes on, around: how the map does."""
    b, c, height, width = x.shape
    out_h, out_w = out.shape[-2:]
    groups, block = gather_groups(c, radius, x.dtype)
    tiles, shape = tiling(out_h, out_w, 32)
    return Launch(_disk_gather_kernel, b * groups * tiles, {
        "x": x, "x_strides": x.stride(), "radius": radius, "r_strides": broadcast_strides(radius), "limit": limit, "factor": factor,
        "factor_strides": None if factor is None else factor.stride(), "out": out, "C": c, "H": height, "W": width, "OUT_H": out_h,
        "OUT_W": out_w, "margin": margin, "PADDING": padding, "AROUND": around, "FAR": reach_is_far, "SLOPE": slope,
        "SHARED_B": radius.shape[0] == 1, "SHARED_C": radius.shape[1] == 1, "CB": block, **shape, "ACC": kernel_accumulator(x.dtype)},
        registers=128)
