"""Every pixel sums over its own disk: the forward of the gather form, and the adjoint of the scatter form.

A program owns a tile of pixels, one per thread, and bounds its loops by the largest and the smallest radius in it. What is inside the
smallest disk is summed without weights; of the rest, up to the largest disk, an area serves the eight pixels it is the same for, and all
channels of the program.
"""
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
from svconv._triton.radial import add_octant, add_weighted, added, along_axis, gather_groups, store_gathered
from svconv._triton.tiles import (
    broadcast_strides,
    channel_pointers,
    kernel_accumulator,
    program_order,
    tile_pixels,
    tiling,
    zeros,
)


@triton.jit
def _sum_inside(xs, rows, cols, small, H, W, x_h, x_w, PADDING: tl.constexpr, FAR: tl.constexpr, CHECKED: tl.constexpr,
                CB: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr):
    """The sum over the pixels that are inside every disk of the tile, row by row."""
    sums = zeros(CB, BLOCK, ACC)
    last = last_inside(small, small * 0)
    for i in range(-last, last + 1):
        row, row_ok = along_axis(rows + i, H, x_h, PADDING, FAR, CHECKED)
        n = last_inside(small, tl.abs(tl.cast(i, tl.int32)))
        along = zeros(CB, BLOCK, ACC)
        for j in range(-n, n + 1):
            col, ok = along_axis(cols + j, W, x_w, PADDING, FAR, CHECKED)
            along = add_weighted(along, 1.0, xs, row + col, ok & row_ok, CB, ACC)
        sums = added(sums, along, 1.0, CB)
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
        first = tl.maximum(j, last_inside(small, j) + 1)
        at_low_a = half_chord(r, tl.maximum(first.to(ACC) - 0.5, 0.0))
        along = zeros(CB, BLOCK, ACC)
        for i in range(first, last_touched(large, j) + 1):
            i = tl.cast(i, tl.int32)
            a = i.to(ACC)
            at_high_a = half_chord(r, a + 0.5)
            weight = tl.where(plain, cut_weight(at_low_a, at_high_a, at_low_b, at_high_b, a, b, inverse, SLOPE, ACC), 0.0)
            at_low_a = at_high_a
            along = add_octant(along, weight, i, j, xs, rows, cols, H, W, x_h, x_w, PADDING, FAR, CHECKED, CB, ACC)
        sums = added(sums, along, 1.0, CB)
    return sums


@triton.jit
def _disk_sums(xs, rows, cols, r, plain, small, large, H, W, x_h, x_w, PADDING: tl.constexpr, FAR: tl.constexpr, CHECKED: tl.constexpr,
               SLOPE: tl.constexpr, CB: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr):
    sums = _sum_inside(xs, rows, cols, small, H, W, x_h, x_w, PADDING, FAR, CHECKED, CB, BLOCK, ACC)
    if SLOPE:
        sums = added(zeros(CB, BLOCK, ACC), sums, -2.0 / r, CB)
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
    own_row, row_ok = along_axis(rows, H, x_h, PADDING, FAR, True)
    own_col, col_ok = along_axis(cols, W, x_w, PADDING, FAR, True)
    totals = ()
    for k in tl.static_range(CB):
        own = given         # 0 or NaN
        if not SLOPE:
            own = own + tl.load(xs[k] + own_row + own_col, mask=lanes & row_ok & col_ok & (given == 0), other=0.0).to(ACC)
        totals = totals + (tl.where(plain, sums[k] * scale, own),)
    plane = tl.cast(OUT_H, tl.int64) * OUT_W
    store_gathered(out, totals, factor, factor_strides, b, group, C, plane, place, map_row, map_col, lanes, CB, TH * TW, ACC)


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
