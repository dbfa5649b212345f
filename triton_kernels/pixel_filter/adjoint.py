"""The adjoint: every pixel gathers from the windows that read it.

The adjoint at a pixel q sums over the positions s that the boundary rule maps to q: s = q in the main kernel, positions outside of the
image from a strip (a few rows and columns around the image, in the accumulator's type) that a first small kernel fills.
"""
import triton
import triton.language as tl
from svconv._triton.boundary import preimage, preimage_cells
from svconv._triton.launch import Launch, cdiv
from svconv._triton.pixel_filter.tiles import filter_arguments, sharing, unrolling
from svconv._triton.tiles import (
    LANES,
    accumulator,
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


@triton.jit
def _adjoint_windows(ys, filters, rows, cols, lanes, M, H, W, y_m, y_h, y_w, f_m, f_i, f_j, f_h, f_w,
                     KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr,
                     CB: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr, CHECKED: tl.constexpr):
    """sum_m sum_d filters[m, d, s-d] y[m, s-d] at the positions s = (rows, cols), which may lie outside; a tuple of [BLOCK]."""
    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    sums = zeros(CB, BLOCK, ACC)
    f_map = (rows + TOP).to(tl.int64) * f_h + (cols + LEFT).to(tl.int64) * f_w
    y_map = (rows + TOP).to(tl.int64) * y_h + (cols + LEFT).to(tl.int64) * y_w
    for _ in range(M):
        f_row = f_map
        y_row = y_map
        for i in tl.range(0, KH, loop_unroll_factor=UNROLL_H):
            f_tap = filters + f_row
            y_tap = y_row
            row = rows + (TOP - i)
            row_ok = (row >= 0) & (row < H) & lanes
            for j in tl.range(0, KW, loop_unroll_factor=UNROLL_W):
                if CHECKED:
                    col = cols + (LEFT - j)
                    ok = (col >= 0) & (col < W) & row_ok
                    weight = tl.load(f_tap, mask=ok, other=0.0).to(ACC)
                else:
                    weight = tl.load(f_tap).to(ACC)
                new = ()
                for k in tl.static_range(CB):
                    if CHECKED:
                        value = tl.load(ys[k] + y_tap, mask=ok, other=0.0)
                    else:
                        value = tl.load(ys[k] + y_tap)
                    new = new + (sums[k] + weight * value.to(ACC),)
                sums = new
                f_tap += f_j - f_w
                y_tap -= y_w
            f_row += f_i - f_h
            y_row -= y_h
        f_map += f_m
        y_map += y_m
    return sums


@triton.jit
def _strip_size(H, W, KH: tl.constexpr, KW: tl.constexpr):
    """Positions around the image that a window of some pixel reaches: rows above and below over the extended width, then the sides."""
    return (KH - 1) * tl.cast(W + KW - 1, tl.int64) + (KW - 1) * tl.cast(H, tl.int64)


@triton.jit
def _strip_index(row, col, H, W, KH: tl.constexpr, KW: tl.constexpr):
    """Place of position (row, col), which lies outside of the image, in the strip."""
    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    width = tl.cast(W + KW - 1, tl.int64)
    band = tl.where(row < 0, row + TOP, row - H + TOP).to(tl.int64) * width + (col + LEFT)
    side = (KH - 1) * width + row.to(tl.int64) * (KW - 1) + tl.where(col < 0, col + LEFT, col - W + LEFT)
    return tl.where((row < 0) | (row >= H), band, side)


@triton.jit(do_not_specialize=["C", "M", "H", "W"])
def _pixel_filter_outside_kernel(
        y, y_strides, filters, f_strides, strip, C, M, H, W,
        KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr, CB: tl.constexpr, BLOCK: tl.constexpr,
        ACC: tl.constexpr):
    """The adjoint at the positions outside of the image: strip[b, c, position]."""
    size = _strip_size(H, W, KH, KW)
    blocks = tl.cdiv(size, BLOCK).to(tl.int32)
    groups = tl.cdiv(C, CB)
    pid = tl.program_id(0)
    place = (pid % blocks).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    pid = pid // blocks
    group = pid % groups
    b = (pid // groups).to(tl.int64)
    y_b, y_c, y_m, y_h, y_w = y_strides
    f_b, f_c, f_m, f_i, f_j, f_h, f_w = f_strides

    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    SIDES: tl.constexpr = KW - 1 if KW > 1 else 1
    width = tl.cast(W + KW - 1, tl.int64)
    in_band = place < (KH - 1) * width
    band_row = place // width
    band_row = tl.where(band_row < TOP, band_row - TOP, band_row - TOP + H)
    side = place - (KH - 1) * width
    side_col = side % SIDES
    side_col = tl.where(side_col < LEFT, side_col - LEFT, side_col - LEFT + W)
    rows = tl.where(in_band, band_row, side // SIDES).to(tl.int32)
    cols = tl.where(in_band, place % width - LEFT, side_col).to(tl.int32)
    lanes = place < size
    ys = channel_pointers(y + b * y_b, y_c, group, C, CB)
    sums = _adjoint_windows(ys, filters + (b * f_b + group.to(tl.int64) * f_c), rows, cols, lanes, M, H, W,
                            y_m, y_h, y_w, f_m, f_i, f_j, f_h, f_w, KH, KW, UNROLL_H, UNROLL_W, CB, BLOCK, ACC, True)
    for k in tl.static_range(CB):
        c = channel(group, k, C, CB)
        tl.store(strip + ((b * C + c) * size + place), sums[k], mask=lanes)


@triton.jit
def _fold(sums, strips, rows, cols, lanes, H, W, cells_i, cells_j, KH: tl.constexpr, KW: tl.constexpr, PADDING: tl.constexpr,
          CB: tl.constexpr):
    """Adds what the strip holds for the pixels, candidate by candidate."""
    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    for a in range(-cells_i, cells_i + 1):
        row, row_ok = preimage(rows, a, H, PADDING)
        row_ok = row_ok & (row >= -TOP) & (row < H + (KH - 1 - TOP)) & lanes
        for b in range(-cells_j, cells_j + 1):
            col, ok = preimage(cols, b, W, PADDING)
            outside = (row < 0) | (row >= H) | (col < 0) | (col >= W)
            ok = ok & row_ok & (col >= -LEFT) & (col < W + (KW - 1 - LEFT)) & outside
            place = _strip_index(row, col, H, W, KH, KW)
            new = ()
            for k in tl.static_range(CB):
                new = new + (sums[k] + tl.load(strips[k] + place, mask=ok, other=0.0),)
            sums = new
    return sums


@triton.jit
def _added(sums, initial, b, group, C, H, W, rows, cols, lanes, CB: tl.constexpr):
    """sums + initial. All is read before anything is written: `initial` may be the output itself, which a repeated channel writes twice."""
    new = ()
    for k in tl.static_range(CB):
        place = ((b * C + channel(group, k, C, CB)) * H + rows) * W + cols
        new = new + (sums[k] + tl.load(initial + place, mask=lanes, other=0.0),)
    return new


@triton.jit
def _near_cells(cells, first, n, K: tl.constexpr, T: tl.constexpr):
    """The cells that the T positions from `first` on have to look at: only those within reach of an edge are read from outside."""
    REACH: tl.constexpr = K // 2
    return cells * ((first <= REACH) | (first + (T + REACH) >= n)).to(tl.int32)


@triton.jit(do_not_specialize=["cells_i", "cells_j", "C", "M", "H", "W"])
def _pixel_filter_adjoint_kernel(
        y, y_strides, filters, f_strides, strip, cells_i, cells_j, initial, out, C, M, H, W,
        KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr, PADDING: tl.constexpr,
        SHARED_B: tl.constexpr, SHARED_C: tl.constexpr, CB: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, ACC: tl.constexpr,
        REVERSE: tl.constexpr):
    """out[b,c,q] = (initial[b,c,q] +) sum_m sum_d filters[m,d,q-d] y[m,q-d] (+ what the strip holds for q)."""
    pid = tl.program_id(0)
    if REVERSE:
        pid = tl.num_programs(0) - 1 - pid
    b, group, _, tile = program_order(pid, C, 1, H, W, SHARED_B, SHARED_C, CB, TH, TW)
    rows, cols, row, col = tile_pixels(tile, W, TH, TW)
    y_b, y_c, y_m, y_h, y_w = y_strides
    f_b, f_c, f_m, f_i, f_j, f_h, f_w = f_strides
    lanes = (rows < H) & (cols < W)
    ys = channel_pointers(y + b * y_b, y_c, group, C, CB)
    filters += b * f_b + group.to(tl.int64) * f_c

    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    if reads_inside(row, col, H, W, KH - 1 - TOP, TOP, KW - 1 - LEFT, LEFT, TH, TW):
        sums = _adjoint_windows(ys, filters, rows, cols, lanes, M, H, W, y_m, y_h, y_w, f_m, f_i, f_j, f_h, f_w,
                                KH, KW, UNROLL_H, UNROLL_W, CB, TH * TW, ACC, False)
    else:
        sums = _adjoint_windows(ys, filters, rows, cols, lanes, M, H, W, y_m, y_h, y_w, f_m, f_i, f_j, f_h, f_w,
                                KH, KW, UNROLL_H, UNROLL_W, CB, TH * TW, ACC, True)
    if strip is not None:
        size = _strip_size(H, W, KH, KW)
        strips = channel_pointers(strip + b * C * size, size, group, C, CB)
        near_i, near_j = _near_cells(cells_i, row, H, KH, TH), _near_cells(cells_j, col, W, KW, TW)
        sums = _fold(sums, strips, rows, cols, lanes, H, W, near_i, near_j, KH, KW, PADDING, CB)
    if initial is not None:
        sums = _added(sums, initial, b, group, C, H, W, rows, cols, lanes, CB)
    for k in tl.static_range(CB):
        place = ((b * C + channel(group, k, C, CB)) * H + rows) * W + cols
        tl.store(out + place, sums[k], mask=lanes)


def adjoint_launches(y, filters, out, padding, initial=None, reverse=False):
    """The strip of the positions outside, where the padding has any, and the adjoint itself."""
    b, c, m, height, width = y.shape
    kh, kw = filters.shape[3:5]
    groups, block = channel_groups(c, filters)
    # Strides that the compiler knows to be products make it plan far ahead: whole windows of addresses, for which registers do not suffice.
    common = {"y": y, "y_strides": y.stride(), **filter_arguments(filters, give_strides=True), "C": c, "M": m, "H": height, "W": width,
              **unrolling(kh, kw, block), "CB": block, "ACC": kernel_accumulator(y.dtype)}
    outside = (kh - 1) * (width + kw - 1) + (kw - 1) * height
    strip = cells_i = cells_j = None
    if padding != "zeros" and outside > 0:
        strip = y.new_empty((b, c, outside), dtype=accumulator(y.dtype))
        cells_i, cells_j = preimage_cells(height, kh, padding), preimage_cells(width, kw, padding)
        yield Launch(_pixel_filter_outside_kernel, b * groups * cdiv(outside, LANES // 2),
                     {**common, "strip": strip, "BLOCK": LANES // 2}, num_warps=4)
    tiles, shape = tiling(height, width, 128)
    yield Launch(_pixel_filter_adjoint_kernel, b * groups * tiles, {
        **common, **sharing(filters), **shape, "strip": strip, "cells_i": cells_i, "cells_j": cells_j, "initial": initial, "out": out,
        "PADDING": padding, "REVERSE": reverse})


def pixel_filter_adjoint(y, filters, padding):
    out = y.new_empty((y.shape[0], y.shape[1], y.shape[3], y.shape[4]))
    for launch in adjoint_launches(y, filters, out, padding):
        launch(y.device)
    return out
