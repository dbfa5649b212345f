"""The normal operator assembled as a symmetric stencil, and its application.

The assembly sums U[t, s] = sum_m sum_d w_m[p] f_m[d, p] f_m[d + t, p] at p = s - d, for offsets t from 0 on in the order of reading. With
"zeros" and "circular" that is the stencil. The other paddings have positions s outside of the image too, and a second kernel sums for
every entry (q, q + e) the pairs of positions that the boundary rule takes there, along the rows and then along the columns. No atomics:
the bits are the same from run to run.
"""
import triton
import triton.language as tl
from svconv._triton.boundary import is_far, preimage, preimage_cells, source_index
from svconv._triton.launch import Launch, cdiv, strides
from svconv._triton.pixel_filter.tiles import filter_arguments, image_strides, sharing
from svconv._triton.tiles import (
    accumulator,
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

OFFSETS = 9         # horizontal ones that a program sums at once: all of a row for filters of 5 x 5


@triton.jit(do_not_specialize=["C", "M", "H", "W"])
def _pixel_filter_stencil_kernel(
        filters, f_strides, weights, w_strides, out, C, M, H, W, KH: tl.constexpr, KW: tl.constexpr, PADDING: tl.constexpr,
        FAR: tl.constexpr, AROUND: tl.constexpr, N: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, ACC: tl.constexpr):
    """out[b,c,n(t),s] = U[t, s] for N offsets t of one row; AROUND: also at the positions outside that a window reaches."""
    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    SPAN: tl.constexpr = 2 * KW - 1
    height = H + (KH - 1) if AROUND else H
    width = W + (KW - 1) if AROUND else W
    pid = tl.program_id(0)
    groups = tl.cdiv(SPAN, N)
    first = pid % groups * N - (KW - 1)
    pid = pid // groups
    dy = pid % KH
    pid = pid // KH
    tiles = tl.cdiv(height, TH) * tl.cdiv(width, TW)
    rows, cols, _, _ = tile_pixels(pid % tiles, width, TH, TW)
    lanes = (rows < height) & (cols < width)
    lead = pid // tiles
    b, c = (lead // C).to(tl.int64), (lead % C).to(tl.int64)
    out += ((lead.to(tl.int64) * (SPAN * KH - (KW - 1)) + (dy * SPAN + first)) * height + rows) * width + cols
    if AROUND:
        rows -= TOP
        cols -= LEFT

    f_b, f_c, f_m, f_i, f_j, f_h, f_w = f_strides
    filters += b * f_b + c * f_c
    if weights is not None:
        w_b, w_c, w_m, w_h, w_w = w_strides
        weights += b * w_b + c * w_c
    sums = zeros(N, TH * TW, ACC)
    offset = tl.zeros([TH * TW], tl.int32) + first      # a tensor: the interpreter makes no mask of a number
    for m in range(M):
        for i in range(KH - dy):
            row, row_ok = source_index(rows + (TOP - i), H, "circular" if PADDING == "circular" else "zeros", FAR)
            f_row = filters + m * tl.cast(f_m, tl.int64) + i * tl.cast(f_i, tl.int64) + row.to(tl.int64) * f_h
            for j in range(KW):
                col, ok = source_index(cols + (LEFT - j), W, "circular" if PADDING == "circular" else "zeros", FAR)
                ok = ok & row_ok & lanes
                tap = f_row + j * tl.cast(f_j, tl.int64) + col.to(tl.int64) * f_w
                value = tl.load(tap, mask=ok, other=0.0).to(ACC)
                if weights is not None:
                    place = m * tl.cast(w_m, tl.int64) + row.to(tl.int64) * w_h + col.to(tl.int64) * w_w
                    value = value * tl.load(weights + place, mask=ok, other=0.0).to(ACC)
                tap += dy * tl.cast(f_i, tl.int64) + first * tl.cast(f_j, tl.int64)
                new = ()
                for k in tl.static_range(N):
                    there = ok & (offset + (j + k) >= 0) & (offset + (j + k) < KW)
                    new = new + (sums[k] + value * tl.load(tap, mask=there, other=0.0).to(ACC),)
                    tap += f_j
                sums = new
    for k in tl.static_range(N):
        dx, total = offset + k, sums[k]
        if PADDING == "zeros":
            total = tl.where((rows + dy < H) & (cols + dx >= 0) & (cols + dx < W), total, 0.0)
        tl.store(out, total, mask=lanes & (dx < KW) & (dx + dy * SPAN >= 0))
        out += tl.cast(height, tl.int64) * width


@triton.jit
def _within(position, ok, n, K: tl.constexpr):
    """ok, and a window of some pixel reaches this position."""
    BEFORE: tl.constexpr = (K - 1) // 2
    return ok & (position >= -BEFORE) & (position < n + (K - 1 - BEFORE))


@triton.jit(do_not_specialize=["cells", "H", "W"])
def _pixel_filter_stencil_fold_kernel(
        source, cells, out, H, W, KH: tl.constexpr, KW: tl.constexpr, ROWS: tl.constexpr, PADDING: tl.constexpr, TH: tl.constexpr,
        TW: tl.constexpr, ACC: tl.constexpr):
    """out[n(e), q] = sum of source[s' - s, s] over the positions s that read q and s' that read q + e, along the rows or the columns.

    U[-t, s + t] = U[t, s]: offsets below 0 are read at the other end. With ROWS there are columns outside of the image yet.
    """
    K: tl.constexpr = KH if ROWS else KW
    REACH: tl.constexpr = K // 2 + K - 1
    SPAN: tl.constexpr = 2 * KW - 1
    VALUES: tl.constexpr = SPAN * KH - (KW - 1)
    pid = tl.program_id(0)
    n = pid % VALUES
    pid = pid // VALUES
    dy, dx = (n + (KW - 1)) // SPAN, (n + (KW - 1)) % SPAN - (KW - 1)
    width = tl.cast(W + (KW - 1), tl.int64)
    columns = W + (KW - 1) if ROWS else W
    plane = width * (H + (KH - 1) if ROWS else H)
    tiles = tl.cdiv(H, TH) * tl.cdiv(columns, TW)
    rows, cols, row, col = tile_pixels(pid % tiles, columns, TH, TW)
    lead = (pid // tiles).to(tl.int64)
    lanes = (rows < H) & (cols < columns)
    there = lanes & (rows + dy < H) & (cols + dx >= 0) & (cols + dx < columns)
    source += lead * VALUES * plane

    here, first, step, length = (rows, row, dy, H) if ROWS else (cols, col, dx, W)
    near = cells * ((first <= REACH) | (first + ((TH if ROWS else TW) + REACH) >= length)).to(tl.int32)
    total = tl.zeros([TH * TW], ACC)
    for a in range(-near, near + 1):
        start, ok = preimage(here, a, length, PADDING)
        start_ok = _within(start, ok & there, length, K)
        for b in range(-near, near + 1):
            end, ok = preimage(here + step, b, length, PADDING)
            ok = _within(end, ok & start_ok, length, K) & (end - start > -K) & (end - start < K)
            number = (end - start) * SPAN + dx if ROWS else dy * SPAN + (end - start)
            at = tl.where(number < 0, end, start).to(tl.int64) + (K - 1) // 2
            place = at * width + (cols + tl.where(number < 0, dx, 0)) if ROWS else rows.to(tl.int64) * width + at
            total += tl.load(source + (tl.abs(number).to(tl.int64) * plane + place), mask=ok, other=0.0)
    tl.store(out + ((lead * VALUES + n) * H + rows) * columns + cols, total, mask=lanes)


@triton.jit
def _stencil_row(sums, xs, stencil, rows, cols, lanes, dy, H, W, x_h, x_w, FIRST: tl.constexpr, KW: tl.constexpr, UNROLL_W: tl.constexpr,
                 PADDING: tl.constexpr, FAR: tl.constexpr, CB: tl.constexpr, ACC: tl.constexpr, CHECKED: tl.constexpr):
    """sums + S[e, q] x[q + e] + S[e, q - e] x[q - e] for e = (dy, FIRST .. KW - 1)."""
    plane = tl.cast(H, tl.int64) * W
    ahead, behind, ahead_ok, behind_ok = rows + dy, rows - dy, lanes, lanes
    if CHECKED:
        ahead, ok = source_index(ahead, H, PADDING, FAR)
        ahead_ok = ok & lanes
        behind, ok = source_index(behind, H, PADDING, FAR)
        behind_ok = ok & lanes
    at = stencil + (dy * (2 * KW - 1) + FIRST) * plane + cols
    for dx in tl.range(FIRST, KW, loop_unroll_factor=UNROLL_W):
        right, left, right_ok, left_ok = cols + dx, cols - dx, ahead_ok, behind_ok
        if CHECKED:
            right, ok = source_index(right, W, PADDING, FAR)
            right_ok = ok & ahead_ok
            left, ok = source_index(left, W, PADDING, FAR)
            left_ok = ok & behind_ok
        here = tl.load(at + rows.to(tl.int64) * W, mask=right_ok, other=0.0).to(ACC)
        there = tl.load(at + behind.to(tl.int64) * W + (left - cols), mask=left_ok, other=0.0).to(ACC)
        to, back = ahead.to(tl.int64) * x_h + right.to(tl.int64) * x_w, behind.to(tl.int64) * x_h + left.to(tl.int64) * x_w
        new = ()
        for k in tl.static_range(CB):
            one = sums[k] + here * tl.load(xs[k] + to, mask=right_ok, other=0.0).to(ACC)
            new = new + (one + there * tl.load(xs[k] + back, mask=left_ok, other=0.0).to(ACC),)
        sums = new
        at += plane
    return sums


@triton.jit
def _stencil_sums(xs, stencil, rows, cols, lanes, H, W, x_h, x_w, KH: tl.constexpr, KW: tl.constexpr, UNROLL_W: tl.constexpr,
                  PADDING: tl.constexpr, FAR: tl.constexpr, CB: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr,
                  CHECKED: tl.constexpr):
    centre = tl.load(stencil + (rows.to(tl.int64) * W + cols), mask=lanes, other=0.0).to(ACC)
    sums = ()
    for k in tl.static_range(CB):
        sums = sums + (centre * tl.load(xs[k] + (rows.to(tl.int64) * x_h + cols.to(tl.int64) * x_w), mask=lanes, other=0.0).to(ACC),)
    if KW > 1:
        sums = _stencil_row(sums, xs, stencil, rows, cols, lanes, 0, H, W, x_h, x_w, 1, KW, UNROLL_W, PADDING, FAR, CB, ACC, CHECKED)
    for dy in range(1, KH):
        sums = _stencil_row(sums, xs, stencil, rows, cols, lanes, dy, H, W, x_h, x_w, 1 - KW, KW, UNROLL_W, PADDING, FAR, CB, ACC, CHECKED)
    return sums


@triton.jit(do_not_specialize=["C", "H", "W"])
def _pixel_filter_stencil_apply_kernel(
        x, x_strides, stencil, out, C, H, W, KH: tl.constexpr, KW: tl.constexpr, UNROLL_W: tl.constexpr, PADDING: tl.constexpr,
        FAR: tl.constexpr, SHARED_B: tl.constexpr, SHARED_C: tl.constexpr, CB: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr,
        ACC: tl.constexpr):
    """out[b,c,q] = sum_e S[e, q] x[q + e] + sum_(e > 0) S[e, q - e] x[q - e]."""
    b, group, _, tile = program_order(tl.program_id(0), C, 1, H, W, SHARED_B, SHARED_C, CB, TH, TW)
    rows, cols, row, col = tile_pixels(tile, W, TH, TW)
    lanes = (rows < H) & (cols < W)
    x_b, x_c, x_h, x_w = image_strides(x_strides, C, H, W)
    xs = channel_pointers(x + b * x_b, x_c, group, C, CB)
    of_channel = (KH * (2 * KW - 1) - (KW - 1)) * (tl.cast(H, tl.int64) * W)
    if not SHARED_B:
        stencil += b * (of_channel if SHARED_C else C * of_channel)
    if not SHARED_C:
        stencil += group * of_channel
    if reads_inside(row, col, H, W, KH - 1, KH - 1, KW - 1, KW - 1, TH, TW):
        sums = _stencil_sums(xs, stencil, rows, cols, lanes, H, W, x_h, x_w, KH, KW, UNROLL_W, PADDING, FAR, CB, TH * TW, ACC, False)
    else:
        sums = _stencil_sums(xs, stencil, rows, cols, lanes, H, W, x_h, x_w, KH, KW, UNROLL_W, PADDING, FAR, CB, TH * TW, ACC, True)
    for k in tl.static_range(CB):
        tl.store(out + (((b * C + channel(group, k, C, CB)) * H + rows) * W + cols), sums[k], mask=lanes)


# host -----------------------------------------------------------------------------------------------------------------

def assembly_launches(filters, weights, out, padding):
    """The sums, and where the padding mirrors or repeats what folds their rows and then their columns into the image."""
    batch, channels, values, height, width = out.shape
    kh, kw = filters.shape[3:5]
    folds = [axis for axis, k in (("rows", kh), ("columns", kw)) if k > 1 and padding not in ("zeros", "circular")]
    planes = {"rows": (height, width + kw - 1), "columns": (height, width)}
    plane = (height + kh - 1, width + kw - 1) if folds else (height, width)

    def target(plane, last):
        return out if last else out.new_empty((batch, channels, values, *plane), dtype=accumulator(filters.dtype))

    made = target(plane, not folds)
    tiles, shape = tiling(*plane, 64)
    common = {"H": height, "W": width, "KH": kh, "KW": kw, "PADDING": padding, "ACC": kernel_accumulator(filters.dtype)}
    yield Launch(_pixel_filter_stencil_kernel, batch * channels * tiles * kh * cdiv(2 * kw - 1, OFFSETS), {
        **common, **filter_arguments(filters, give_strides=True), "weights": weights,
        "w_strides": None if weights is None else broadcast_strides(weights), "out": made, "C": channels, "M": filters.shape[2],
        "FAR": is_far(height, kh, padding) or is_far(width, kw, padding), "AROUND": bool(folds), "N": OFFSETS, **shape})
    for axis in folds:
        source, made = made, target(planes[axis], axis == folds[-1])
        tiles, shape = tiling(*planes[axis], 64)
        cells = preimage_cells(height, kh, padding) if axis == "rows" else preimage_cells(width, kw, padding)
        yield Launch(_pixel_filter_stencil_fold_kernel, batch * channels * tiles * values,
                     {**common, "source": source, "cells": cells, "out": made, "ROWS": axis == "rows", **shape})


def apply_launch(x, stencil, out, side, padding):
    batch, channels, height, width = x.shape
    kh, kw = side
    groups, block = channel_groups(channels, stencil)
    tiles, shape = tiling(height, width, 64)
    far = is_far(height, 2 * kh - 1, padding) or is_far(width, 2 * kw - 1, padding)
    return Launch(_pixel_filter_stencil_apply_kernel, batch * groups * tiles, {
        "x": x, "x_strides": strides(x), "stencil": stencil, "out": out, "C": channels, "H": height, "W": width, "KH": kh, "KW": kw,
        "UNROLL_W": 3 if block == 1 else 1, "PADDING": padding, "FAR": far, **sharing(stencil), "CB": block, **shape,
        "ACC": kernel_accumulator(x.dtype)}, registers=96)


def pixel_filter_stencil(filters, weights, shape, dtype, padding):
    out = filters.new_empty(shape, dtype=dtype)
    for launch in assembly_launches(filters, weights, out, padding):
        launch(filters.device)
    return out


def pixel_filter_stencil_apply(x, stencil, side, padding):
    out = x.new_empty(x.shape)
    apply_launch(x, stencil.contiguous(), out, side, padding)(x.device)
    return out
