"""The forward: every pixel's own window over the image, by M filters at once or one after the other."""
import triton
import triton.language as tl
from svconv._triton.boundary import source_index
from svconv._triton.launch import Launch, strides
from svconv._triton.pixel_filter.tiles import filter_arguments, filter_strides, image_strides, maps_strides, sharing, unrolling
from svconv._triton.tiles import (
    broadcast_strides,
    channel,
    channel_groups,
    channel_pointers,
    kernel_accumulator,
    program_order,
    reads_inside,
    tile_pixels,
    tiling,
    zeros,
)

from svconv._triton import boundary


@triton.jit
def _fwd_window(xs, filters, rows, cols, H, W, x_h, x_w, f_i, f_j, f_h, f_w,
                KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr, PADDING: tl.constexpr,
                FAR: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr, CHECKED: tl.constexpr):
    """sum_d filters[d, p] x[p+d] for the N planes xs; a tuple of [BLOCK]."""
    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    sums = zeros(N, BLOCK, ACC)
    lanes = (rows < H) & (cols < W)
    f_row = rows.to(tl.int64) * f_h + cols.to(tl.int64) * f_w
    x_row = (rows - TOP).to(tl.int64) * x_h + (cols - LEFT).to(tl.int64) * x_w
    for i in tl.range(0, KH, loop_unroll_factor=UNROLL_H):
        f_tap = filters + f_row
        x_tap = x_row
        if CHECKED:
            row, row_ok = source_index(rows + (i - TOP), H, PADDING, FAR)
            row_ok = row_ok & lanes
        for j in tl.range(0, KW, loop_unroll_factor=UNROLL_W):
            if CHECKED:
                col, ok = source_index(cols + (j - LEFT), W, PADDING, FAR)
                ok = ok & row_ok
                weight = tl.load(f_tap, mask=lanes, other=0.0).to(ACC)
                place = row.to(tl.int64) * x_h + col.to(tl.int64) * x_w
            else:
                weight = tl.load(f_tap).to(ACC)
            new = ()
            for k in tl.static_range(N):
                if CHECKED:
                    value = tl.load(xs[k] + place, mask=ok, other=0.0)
                else:
                    value = tl.load(xs[k] + x_tap)
                new = new + (sums[k] + weight * value.to(ACC),)
            sums = new
            f_tap += f_j
            x_tap += x_w
        f_row += f_i
        x_row += x_h
    return sums


@triton.jit(do_not_specialize=["C", "M", "H", "W"])
def _pixel_filter_fwd_kernel(
        x, x_strides, x2, filters, f_strides, weights, w_strides, y, y2, C, M, H, W,
        KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr, PADDING: tl.constexpr, FAR: tl.constexpr,
        SHARED_B: tl.constexpr, SHARED_C: tl.constexpr, CB: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, ACC: tl.constexpr):
    """y[b,c,m,p] = w[b,c,m,p] sum_d filters[b,c,m,d,p] x[b,c,p+d]; without weights w = 1.

    With x2 (which has the strides of x) also y2 from x2, with one read of the filters.
    """
    b, group, m, tile = program_order(tl.program_id(0), C, M, H, W, SHARED_B, SHARED_C, CB, TH, TW)
    rows, cols, row, col = tile_pixels(tile, W, TH, TW)
    x_b, x_c, x_h, x_w = image_strides(x_strides, C, H, W)
    f_b, f_c, f_m, f_i, f_j, f_h, f_w = filter_strides(f_strides, C, M, H, W, KH, KW, SHARED_B, SHARED_C)
    xs = channel_pointers(x + b * x_b, x_c, group, C, CB)
    if x2 is not None:
        xs = xs + channel_pointers(x2 + b * x_b, x_c, group, C, CB)
    N: tl.constexpr = CB if x2 is None else 2 * CB
    filters += b * f_b + group.to(tl.int64) * f_c + m * f_m

    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    if reads_inside(row, col, H, W, TOP, KH - 1 - TOP, LEFT, KW - 1 - LEFT, TH, TW):
        sums = _fwd_window(xs, filters, rows, cols, H, W, x_h, x_w, f_i, f_j, f_h, f_w, KH, KW, UNROLL_H, UNROLL_W, PADDING, FAR,
                           N, TH * TW, ACC, False)
    else:
        sums = _fwd_window(xs, filters, rows, cols, H, W, x_h, x_w, f_i, f_j, f_h, f_w, KH, KW, UNROLL_H, UNROLL_W, PADDING, FAR,
                           N, TH * TW, ACC, True)
    lanes = (rows < H) & (cols < W)
    for k in tl.static_range(N):
        c = channel(group, k % CB, C, CB)
        total = sums[k]
        if weights is not None:
            w_b, w_c, w_m, w_h, w_w = maps_strides(w_strides, C, M, H, W)
            w_place = b * w_b + c * w_c + m * w_m + rows.to(tl.int64) * w_h + cols.to(tl.int64) * w_w
            total = total * tl.load(weights + w_place, mask=lanes, other=0.0).to(ACC)
        place = (((b * C + c) * M + m) * H + rows) * W + cols
        if k < CB:
            tl.store(y + place, total, mask=lanes)
        else:
            tl.store(y2 + place, total, mask=lanes)


def fwd_launch(x, filters, weights, y, padding, pair=(None, None)):
    """pair: a second (x, y) with the strides of the first."""
    b, c, height, width = x.shape
    m, kh, kw = filters.shape[2:5]
    groups, block = channel_groups(c, filters)
    tiles, shape = tiling(height, width, 64)
    x2, y2 = pair
    return Launch(_pixel_filter_fwd_kernel, b * groups * m * tiles, {
        "x": x, "x_strides": strides(x), "x2": x2, **filter_arguments(filters), **sharing(filters), **_weight_arguments(weights, b, c),
        "y": y, "y2": y2, "C": c, "M": m, "H": height, "W": width, **unrolling(kh, kw, block if x2 is None else 2 * block),
        "PADDING": padding, "FAR": boundary.is_far(height, kh, padding) or boundary.is_far(width, kw, padding), "CB": block, **shape,
        "ACC": kernel_accumulator(x.dtype)})


def _weight_arguments(weights, b, c):
    if weights is None:
        return {"weights": None, "w_strides": None}
    return {"weights": weights, "w_strides": strides(weights) if weights.shape[:2] == (b, c) else broadcast_strides(weights)}


def pixel_filter_fwd(x, filters, padding):
    y = x.new_empty((x.shape[0], x.shape[1], filters.shape[2], x.shape[2], x.shape[3]))
    fwd_launch(x, filters, None, y, padding)(x.device)
    return y
