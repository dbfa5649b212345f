"""Per-pixel filtering in Triton: forward, adjoint, filter gradient and normal operator.

A program owns a tile of output pixels, one per thread, and runs over the window; along W its accesses are contiguous. With one pixel per
thread shifted and unshifted reads have the same layout, so nothing passes through shared memory. Filters that the channels share are
read once for up to four channels. Every sum has a fixed order, there are no atomics: results are bit-identical from run to run.

The adjoint at a pixel q sums over the positions s that the boundary rule maps to q: s = q in the main kernel, positions outside of the
image from a strip (a few rows and columns around the image, in the accumulator's type) that a first small kernel fills.

The normal operator writes u = W F x (M planes against the M kh kw of the filters) and applies the adjoint to it, which starts where the
forward ended, so that filters that still lie in L2 come from there. That is two reads of the filters where they do not fit into L2
(50 MB on an H200) and one where they do.
"""
import torch
import triton
import triton.language as tl

from svconv._triton import boundary
from svconv._triton.boundary import preimage, source_index
from svconv._triton.launch import Launch

LANES = 256             # pixels of a tile, one per thread
SHARED_CHANNELS = 4     # channels that one program filters with the same filters
UNROLLED_ROW = 9        # windows up to this width unroll a row of taps, wider ones eight taps at a time, four for several channels
UNROLLED_TAPS = 12      # rows of narrow windows unroll together up to this many taps (of all channels of a program)


# tiles and channels -------------------------------------------------------------------------------------------------

@triton.jit
def _tile(tile, tiles_w, TH: tl.constexpr, TW: tl.constexpr):
    """Rows and columns of the pixels of a tile, and those of its first pixel."""
    lane = tl.arange(0, TH * TW)
    row = tile // tiles_w * TH
    col = tile % tiles_w * TW
    return row + lane // TW, col + lane % TW, row, col


@triton.jit
def _reads_inside(row, col, H, W, up: tl.constexpr, down: tl.constexpr, left: tl.constexpr, right: tl.constexpr,
                  TH: tl.constexpr, TW: tl.constexpr):
    """True if a whole tile with this first pixel and everything within reach of it lies in the image."""
    return (row >= up) & (row + (TH - 1 + down) < H) & (col >= left) & (col + (TW - 1 + right) < W)


@triton.jit
def _channel(group, k, C, CB: tl.constexpr):
    """Channel k of a group of CB; a group that does not come out even repeats the last channel, which writes the same twice."""
    return tl.minimum(group * CB + k, C - 1).to(tl.int64)


@triton.jit
def _channel_pointers(base, stride, group, C, CB: tl.constexpr):
    pointers = ()
    for k in tl.static_range(CB):
        pointers = pointers + (base + _channel(group, k, C, CB) * stride,)
    return pointers


@triton.jit
def _zeros(N: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr):
    sums = ()
    for _ in tl.static_range(N):
        sums = sums + (tl.zeros([BLOCK], ACC),)
    return sums


# forward ------------------------------------------------------------------------------------------------------------

@triton.jit
def _fwd_window(xs, filters, rows, cols, H, W, x_h, x_w, f_i, f_j, f_h, f_w,
                KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr, PADDING: tl.constexpr,
                FAR: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr, CHECKED: tl.constexpr):
    """sum_d filters[d, p] x[p+d] for the N planes xs; a tuple of [BLOCK]."""
    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    sums = _zeros(N, BLOCK, ACC)
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


@triton.jit(do_not_specialize=["C", "M", "inner_b", "inner_c", "outer_c", "tiles", "tiles_w"])
def _pixel_filter_fwd_kernel(
        x, x2, filters, weights, y, y2, C, M, H, W, x_b, x_c, x_h, x_w, f_b, f_c, f_m, f_i, f_j, f_h, f_w, w_b, w_c, w_m, w_h, w_w,
        inner_b, inner_c, outer_c, tiles, tiles_w,
        KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr, PADDING: tl.constexpr, FAR: tl.constexpr,
        CB: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, ACC: tl.constexpr,
        WEIGHTED: tl.constexpr, PAIR: tl.constexpr):
    """y[b,c,m,p] = w[b,c,m,p] sum_d filters[b,c,m,d,p] x[b,c,p+d]; programs that read the same filters or pixels are neighbours.

    PAIR: also y2 from x2, with one read of the filters.
    """
    pid = tl.program_id(0)
    c_inner = pid % inner_c
    pid = pid // inner_c
    b_inner = pid % inner_b
    pid = pid // inner_b
    m = (pid % M).to(tl.int64)
    pid = pid // M
    rows, cols, row, col = _tile(pid % tiles, tiles_w, TH, TW)
    pid = pid // tiles
    group = c_inner + pid % outer_c
    b = (b_inner + pid // outer_c).to(tl.int64)
    xs = _channel_pointers(x + b * x_b, x_c, group, C, CB)
    if PAIR:
        xs = xs + _channel_pointers(x2 + b * x_b, x_c, group, C, CB)
    N: tl.constexpr = 2 * CB if PAIR else CB
    filters += b * f_b + group.to(tl.int64) * f_c + m * f_m

    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    if _reads_inside(row, col, H, W, TOP, KH - 1 - TOP, LEFT, KW - 1 - LEFT, TH, TW):
        sums = _fwd_window(xs, filters, rows, cols, H, W, x_h, x_w, f_i, f_j, f_h, f_w, KH, KW, UNROLL_H, UNROLL_W, PADDING, FAR,
                           N, TH * TW, ACC, False)
    else:
        sums = _fwd_window(xs, filters, rows, cols, H, W, x_h, x_w, f_i, f_j, f_h, f_w, KH, KW, UNROLL_H, UNROLL_W, PADDING, FAR,
                           N, TH * TW, ACC, True)
    lanes = (rows < H) & (cols < W)
    if WEIGHTED:
        w_place = m * w_m + rows.to(tl.int64) * w_h + cols.to(tl.int64) * w_w
    for k in tl.static_range(N):
        c = _channel(group, k % CB, C, CB)
        total = sums[k]
        if WEIGHTED:
            total = total * tl.load(weights + (b * w_b + c * w_c) + w_place, mask=lanes, other=0.0).to(ACC)
        place = (((b * C + c) * M + m) * H + rows) * W + cols
        if k < CB:
            tl.store(y + place, total, mask=lanes)
        else:
            tl.store(y2 + place, total, mask=lanes)


# adjoint ------------------------------------------------------------------------------------------------------------

@triton.jit
def _adjoint_windows(ys, filters, rows, cols, lanes, M, H, W, y_m, y_h, y_w, f_m, f_i, f_j, f_h, f_w,
                     KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr,
                     CB: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr, CHECKED: tl.constexpr):
    """sum_m sum_d filters[m, d, s-d] y[m, s-d] at the positions s = (rows, cols), which may lie outside; a tuple of [BLOCK]."""
    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    sums = _zeros(CB, BLOCK, ACC)
    f_map = (rows + TOP).to(tl.int64) * f_h + (cols + LEFT).to(tl.int64) * f_w
    y_map = (rows + TOP).to(tl.int64) * y_h + (cols + LEFT).to(tl.int64) * y_w
    for m in range(M):
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


@triton.jit(do_not_specialize=["C", "M", "blocks", "groups"])
def _pixel_filter_outside_kernel(
        y, filters, strip, C, M, H, W, y_b, y_c, y_m, y_h, y_w, f_b, f_c, f_m, f_i, f_j, f_h, f_w, blocks, groups,
        KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr, CB: tl.constexpr, BLOCK: tl.constexpr,
        ACC: tl.constexpr):
    """The adjoint at the positions outside of the image: strip[b, c, position]."""
    pid = tl.program_id(0)
    place = (pid % blocks).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    pid = pid // blocks
    group = pid % groups
    b = (pid // groups).to(tl.int64)

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
    lanes = place < _strip_size(H, W, KH, KW)
    ys = _channel_pointers(y + b * y_b, y_c, group, C, CB)
    sums = _adjoint_windows(ys, filters + (b * f_b + group.to(tl.int64) * f_c), rows, cols, lanes, M, H, W,
                            y_m, y_h, y_w, f_m, f_i, f_j, f_h, f_w, KH, KW, UNROLL_H, UNROLL_W, CB, BLOCK, ACC, True)
    for k in tl.static_range(CB):
        c = _channel(group, k, C, CB)
        tl.store(strip + ((b * C + c) * _strip_size(H, W, KH, KW) + place), sums[k], mask=lanes)


@triton.jit
def _fold(sums, strips, rows, cols, lanes, H, W, first_i, last_i, first_j, last_j, KH: tl.constexpr, KW: tl.constexpr,
          PADDING: tl.constexpr, CB: tl.constexpr):
    """Adds what the strip holds for the pixels, candidate by candidate."""
    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    for a in range(first_i, last_i + 1):
        row, row_ok = preimage(rows, a, H, PADDING)
        row_ok = row_ok & (row >= -TOP) & (row < H + (KH - 1 - TOP)) & lanes
        for b in range(first_j, last_j + 1):
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
        place = ((b * C + _channel(group, k, C, CB)) * H + rows) * W + cols
        new = new + (sums[k] + tl.load(initial + place, mask=lanes, other=0.0),)
    return new


@triton.jit(do_not_specialize=["C", "M", "inner_b", "inner_c", "outer_c", "tiles", "tiles_w", "first_i", "last_i", "first_j", "last_j"])
def _pixel_filter_adjoint_kernel(
        y, filters, strip, initial, out, C, M, H, W, y_b, y_c, y_m, y_h, y_w, f_b, f_c, f_m, f_i, f_j, f_h, f_w,
        inner_b, inner_c, outer_c, tiles, tiles_w, first_i, last_i, first_j, last_j,
        KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr, PADDING: tl.constexpr, FOLD: tl.constexpr,
        CB: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, ACC: tl.constexpr, ADD: tl.constexpr, REVERSE: tl.constexpr):
    """out[b,c,q] = (initial[b,c,q] +) sum_m sum_d filters[m,d,q-d] y[m,q-d] + what the strip holds for q."""
    pid = tl.program_id(0)
    if REVERSE:
        pid = tl.num_programs(0) - 1 - pid
    c_inner = pid % inner_c
    pid = pid // inner_c
    b_inner = pid % inner_b
    pid = pid // inner_b
    rows, cols, row, col = _tile(pid % tiles, tiles_w, TH, TW)
    pid = pid // tiles
    group = c_inner + pid % outer_c
    b = (b_inner + pid // outer_c).to(tl.int64)
    lanes = (rows < H) & (cols < W)
    ys = _channel_pointers(y + b * y_b, y_c, group, C, CB)
    filters += b * f_b + group.to(tl.int64) * f_c

    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    BOTTOM: tl.constexpr = KH - 1 - TOP
    RIGHT: tl.constexpr = KW - 1 - LEFT
    if _reads_inside(row, col, H, W, BOTTOM, TOP, RIGHT, LEFT, TH, TW):
        sums = _adjoint_windows(ys, filters, rows, cols, lanes, M, H, W, y_m, y_h, y_w, f_m, f_i, f_j, f_h, f_w,
                                KH, KW, UNROLL_H, UNROLL_W, CB, TH * TW, ACC, False)
    else:
        sums = _adjoint_windows(ys, filters, rows, cols, lanes, M, H, W, y_m, y_h, y_w, f_m, f_i, f_j, f_h, f_w,
                                KH, KW, UNROLL_H, UNROLL_W, CB, TH * TW, ACC, True)
    if FOLD:
        # only tiles within reach of an edge have pixels that are read from outside
        REACH_I: tl.constexpr = TOP if TOP > BOTTOM else BOTTOM
        REACH_J: tl.constexpr = LEFT if LEFT > RIGHT else RIGHT
        near_i = ((row <= REACH_I) | (row + (TH + REACH_I) >= H)).to(tl.int32)
        near_j = ((col <= REACH_J) | (col + (TW + REACH_J) >= W)).to(tl.int32)
        strips = _channel_pointers(strip + b * C * _strip_size(H, W, KH, KW), _strip_size(H, W, KH, KW), group, C, CB)
        sums = _fold(sums, strips, rows, cols, lanes, H, W, first_i * near_i, last_i * near_i, first_j * near_j, last_j * near_j,
                     KH, KW, PADDING, CB)
    if ADD:
        sums = _added(sums, initial, b, group, C, H, W, rows, cols, lanes, CB)
    for k in tl.static_range(CB):
        place = ((b * C + _channel(group, k, C, CB)) * H + rows) * W + cols
        tl.store(out + place, sums[k], mask=lanes)


# filter gradient ----------------------------------------------------------------------------------------------------

@triton.jit
def _pair_place(s, shared_c, b_stride, c_stride):
    """Offset of the (image, channel) pair s of those that share a filter."""
    s = tl.cast(s, tl.int32)
    return (s // shared_c).to(tl.int64) * b_stride + (s % shared_c).to(tl.int64) * c_stride


@triton.jit
def _pair_pointers(base, shared_c, b_stride, c_stride, N: tl.constexpr):
    pointers = ()
    for s in tl.static_range(N):
        pointers = pointers + (base + _pair_place(s, shared_c, b_stride, c_stride),)
    return pointers


@triton.jit
def _hold(pointers, place, mask, N: tl.constexpr, ACC: tl.constexpr):
    values = ()
    for s in tl.static_range(N):
        values = values + (tl.load(pointers[s] + place, mask=mask, other=0.0).to(ACC),)
    return values


@triton.jit
def _bwd_filters_window(x, g, x2, g2, df, shared, shared_c, rows, cols, lanes, H, W, x_b, x_c, x_h, x_w, g_b, g_c, g_place,
                        KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr, PADDING: tl.constexpr,
                        FAR: tl.constexpr, HELD: tl.constexpr, PAIR: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr,
                        CHECKED: tl.constexpr):
    """Writes the kh kw planes at df; each sums over the (image, channel) pairs that share the filters, whose g is held if HELD > 0."""
    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    plane = tl.cast(H, tl.int64) * W
    if HELD > 0:
        xs = _pair_pointers(x, shared_c, x_b, x_c, HELD)
        gs = _hold(_pair_pointers(g, shared_c, g_b, g_c, HELD), g_place, lanes, HELD, ACC)
        if PAIR:
            x2s = _pair_pointers(x2, shared_c, x_b, x_c, HELD)
            g2s = _hold(_pair_pointers(g2, shared_c, g_b, g_c, HELD), g_place, lanes, HELD, ACC)
    for i in tl.range(0, KH, loop_unroll_factor=UNROLL_H):
        row = rows + (i - TOP)
        row_ok = lanes
        if CHECKED:
            row, row_ok = source_index(row, H, PADDING, FAR)
            row_ok = row_ok & lanes
        for j in tl.range(0, KW, loop_unroll_factor=UNROLL_W):
            col = cols + (j - LEFT)
            ok = row_ok
            if CHECKED:
                col, ok = source_index(col, W, PADDING, FAR)
                ok = ok & row_ok
            place = row.to(tl.int64) * x_h + col.to(tl.int64) * x_w
            total = tl.zeros([BLOCK], ACC)
            if HELD > 0:
                for s in tl.static_range(HELD):
                    total += gs[s] * tl.load(xs[s] + place, mask=ok, other=0.0).to(ACC)
                    if PAIR:
                        total += g2s[s] * tl.load(x2s[s] + place, mask=ok, other=0.0).to(ACC)
            else:
                for s in range(shared):
                    x_place = place + _pair_place(s, shared_c, x_b, x_c)
                    upstream = g_place + _pair_place(s, shared_c, g_b, g_c)
                    total += (tl.load(g + upstream, mask=lanes, other=0.0).to(ACC) * tl.load(x + x_place, mask=ok, other=0.0).to(ACC))
                    if PAIR:
                        total += (tl.load(g2 + upstream, mask=lanes, other=0.0).to(ACC) * tl.load(x2 + x_place, mask=ok, other=0.0).to(ACC))
            tl.store(df, total, mask=lanes)
            df += plane


@triton.jit(do_not_specialize=["M", "channels", "shared", "shared_c", "tiles", "tiles_w"])
def _pixel_filter_bwd_filters_kernel(
        x, g, x2, g2, df, M, H, W, x_b, x_c, x_h, x_w, g_b, g_c, g_m, g_h, g_w, df_b, df_c, df_m, channels, shared, shared_c, tiles, tiles_w,
        KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr, PADDING: tl.constexpr, FAR: tl.constexpr,
        HELD: tl.constexpr, PAIR: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, ACC: tl.constexpr):
    """df[b,c,m,d,p] = sum over the `shared` (image, channel) pairs of g[b,c,m,p] x[b,c,p+d] (+ g2[b,c,m,p] x2[b,c,p+d])."""
    pid = tl.program_id(0)
    m = (pid % M).to(tl.int64)
    pid = pid // M
    rows, cols, row, col = _tile(pid % tiles, tiles_w, TH, TW)
    pid = pid // tiles
    c = (pid % channels).to(tl.int64)
    b = (pid // channels).to(tl.int64)
    lanes = (rows < H) & (cols < W)
    x += b * x_b + c * x_c
    x2 += b * x_b + c * x_c
    g_place = b * g_b + c * g_c + m * g_m + rows.to(tl.int64) * g_h + cols.to(tl.int64) * g_w
    df += b * df_b + c * df_c + m * df_m + rows.to(tl.int64) * W + cols

    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    if _reads_inside(row, col, H, W, TOP, KH - 1 - TOP, LEFT, KW - 1 - LEFT, TH, TW):
        _bwd_filters_window(x, g, x2, g2, df, shared, shared_c, rows, cols, lanes, H, W, x_b, x_c, x_h, x_w, g_b, g_c, g_place,
                            KH, KW, UNROLL_H, UNROLL_W, PADDING, FAR, HELD, PAIR, TH * TW, ACC, False)
    else:
        _bwd_filters_window(x, g, x2, g2, df, shared, shared_c, rows, cols, lanes, H, W, x_b, x_c, x_h, x_w, g_b, g_c, g_place,
                            KH, KW, UNROLL_H, UNROLL_W, PADDING, FAR, HELD, PAIR, TH * TW, ACC, True)


# host ---------------------------------------------------------------------------------------------------------------

def why_not(op, *arguments):
    """None, or the reason why these arguments are refused."""
    height, width = arguments[0].shape[-2:]
    if max(height, width) > boundary.LARGEST_SIDE:
        return f"sides above {boundary.LARGEST_SIDE}"
    return None


def _accumulator(dtype):
    return tl.float64 if dtype == torch.float64 else tl.float32


def _torch_accumulator(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32


def _tiles(height, width, longest):
    """Shape of a tile of LANES pixels with rows of at most `longest`, and how many of them there are (all, in a row)."""
    tw = min(triton.next_power_of_2(width), longest)
    th = LANES // tw
    tiles_w = triton.cdiv(width, tw)
    return th, tw, {"tiles": triton.cdiv(height, th) * tiles_w, "tiles_w": tiles_w}


def _unrolling(kh, kw, channels=1):
    return {"UNROLL_H": min(kh, max(1, UNROLLED_TAPS // (kw * max(channels, 1)))), "UNROLL_W": kw if kw <= UNROLLED_ROW else 8 if channels == 1 else 4}


def _strides(prefix, names, t, shared=()):
    """Strides as kernel arguments, 0 along an axis that is shared."""
    return {f"{prefix}_{name}": 0 if name in shared else stride for name, stride in zip(names, t.stride(), strict=True)}


def _filter_strides(filters):
    """A batch or channel axis of 1 has stride 0."""
    return _strides("f", "bcmijhw", filters, [name for name, size in zip("bc", filters.shape) if size == 1])


def _sharing(b, c, filters):
    """Which (image, channel) programs use the same filters: those count fastest. CB channels share one read of them."""
    shares_c = filters.shape[1] == 1
    groups = triton.cdiv(c, SHARED_CHANNELS) if shares_c else c
    inner = {"inner_b": b if filters.shape[0] == 1 else 1, "inner_c": groups if shares_c else 1, "outer_c": 1 if shares_c else c}
    return triton.cdiv(c, max(groups, 1)), inner, groups


def _fwd_launch(x, filters, weights, y, padding, pair=None):
    """pair: a second (x, y) with the strides of the first."""
    b, c, height, width = x.shape
    m, kh, kw = filters.shape[2:5]
    block, inner, groups = _sharing(b, c, filters)
    th, tw, tiles = _tiles(height, width, 64)
    w = weights if weights is not None else x.unsqueeze(2)    # any tensor: not read
    x2, y2 = pair or (x, y)
    arguments = {
        "x": x, "x2": x2, "filters": filters, "weights": w, "y": y, "y2": y2, "C": c, "M": m, "H": height, "W": width,
        **_strides("x", "bchw", x), **_filter_strides(filters), **_strides("w", "bcmhw", w, [n for n, s in zip("bc", w.shape) if s == 1]),
        **inner, **tiles, "KH": kh, "KW": kw, **_unrolling(kh, kw, 2 * block if pair else block), "PADDING": boundary.code(padding),
        "FAR": boundary.is_far(height, kh, padding) or boundary.is_far(width, kw, padding),
        "CB": block, "TH": th, "TW": tw, "ACC": _accumulator(x.dtype), "WEIGHTED": weights is not None,
        "PAIR": pair is not None}
    return Launch(_pixel_filter_fwd_kernel, b * groups * m * tiles["tiles"], arguments)


def _adjoint_launches(y, filters, out, padding, initial=None, reverse=False):
    """The strip of the positions outside, where the padding has any, and the adjoint itself."""
    b, c, m, height, width = y.shape
    kh, kw = filters.shape[3:5]
    acc = _torch_accumulator(y.dtype)
    block, inner, groups = _sharing(b, c, filters)
    common = {"y": y, "filters": filters, "C": c, "M": m, "H": height, "W": width, **_strides("y", "bcmhw", y), **_filter_strides(filters),
              "KH": kh, "KW": kw, **_unrolling(kh, kw, block), "CB": block, "ACC": _accumulator(y.dtype)}
    outside = (kh - 1) * (width + kw - 1) + (kw - 1) * height
    folds = padding != "zeros" and outside > 0
    strip = out
    if folds:
        strip = y.new_empty((b, c, outside), dtype=acc)
        blocks = triton.cdiv(outside, LANES // 2)
        yield Launch(_pixel_filter_outside_kernel, b * groups * blocks,
                     {**common, "strip": strip, "blocks": blocks, "groups": groups, "BLOCK": LANES // 2}, num_warps=4)
    th, tw, tiles = _tiles(height, width, 128)
    first_i, last_i = boundary.cells(height, kh, padding)
    first_j, last_j = boundary.cells(width, kw, padding)
    yield Launch(_pixel_filter_adjoint_kernel, b * groups * tiles["tiles"], {
        **common, **inner, **tiles, "strip": strip, "initial": out if initial is None else initial, "out": out,
        "first_i": first_i, "last_i": last_i, "first_j": first_j, "last_j": last_j, "PADDING": boundary.code(padding), "FOLD": folds,
        "TH": th, "TW": tw, "ADD": initial is not None, "REVERSE": reverse})


def _bwd_filters_launch(x, g, df, padding, pair=None):
    """pair: a second (x, g) with the strides of the first, whose gradient is added."""
    b, c, m, height, width = g.shape
    batch, channels = df.shape[:2]
    kh, kw = df.shape[3:5]
    shared_b, shared_c = b // batch, c // channels
    shared = shared_b * shared_c
    th, tw, tiles = _tiles(height, width, 64)
    x2, g2 = pair or (x, g)
    return Launch(_pixel_filter_bwd_filters_kernel, batch * channels * m * tiles["tiles"], {
        "x": x, "g": g, "x2": x2, "g2": g2, "df": df, "M": m, "H": height, "W": width, **_strides("x", "bchw", x), **_strides("g", "bcmhw", g),
        "df_b": df.stride(0), "df_c": df.stride(1), "df_m": df.stride(2),
        "channels": channels, "shared": shared, "shared_c": shared_c, **tiles,
        "KH": kh, "KW": kw, **_unrolling(kh, kw, shared), "PADDING": boundary.code(padding),
        "FAR": boundary.is_far(height, kh, padding) or boundary.is_far(width, kw, padding),
        "HELD": shared if shared <= SHARED_CHANNELS else 0, "PAIR": pair is not None, "TH": th, "TW": tw, "ACC": _accumulator(x.dtype)})


def pixel_filter_fwd(x, filters, padding):
    y = x.new_empty((x.shape[0], x.shape[1], filters.shape[2], x.shape[2], x.shape[3]))
    _fwd_launch(x, filters, None, y, padding)(x.device)
    return y


def pixel_filter_adjoint(y, filters, padding):
    out = y.new_empty((y.shape[0], y.shape[1], y.shape[3], y.shape[4]))
    for launch in _adjoint_launches(y, filters, out, padding):
        launch(y.device)
    return out


def pixel_filter_bwd_filters(x, g, batch, channels, kh, kw, dtype, padding):
    """df[b, c, m, d, p] = g[b, c, m, p] x[b, c, p+d], summed over a batch or channel axis of size 1."""
    df = x.new_empty((batch, channels, g.shape[2], kh, kw, x.shape[2], x.shape[3]), dtype=dtype)
    if x.shape[0] == 0 or x.shape[1] == 0:
        return df.zero_()
    _bwd_filters_launch(x, g, df, padding)(x.device)
    return df


def _maps_at_once(x, filters):
    """How many of the M maps go through u = W F x together: as many as keep u within a tenth of inputs and outputs, at least one."""
    u = x.numel() * _torch_accumulator(x.dtype).itemsize
    moved = filters.numel() * filters.element_size() + 2 * x.numel() * x.element_size()
    return min(max(1, moved // (10 * max(u, 1))), filters.shape[2])


def _parts(x, filters, weights):
    """Some maps at a time: their numbers, filters and weights."""
    step = _maps_at_once(x, filters)
    for first in range(0, filters.shape[2], step):
        some = slice(first, first + step)
        yield some, filters[:, :, some], None if weights is None else weights[:, :, some]


def _empty_like_y(x, filters):
    """[B, C, M, H, W] in the accumulator's type."""
    return x.new_empty((x.shape[0], x.shape[1], filters.shape[2], x.shape[2], x.shape[3]), dtype=_torch_accumulator(x.dtype))


def pixel_filter_gram(x, filters, weights, padding):
    out = x.new_empty(x.shape)
    m = filters.shape[2]
    if m == 0 or out.numel() == 0:
        return out.zero_()
    total = None
    for some, maps, w in _parts(x, filters, weights):
        u = _empty_like_y(x, maps)
        _fwd_launch(x, maps, w, u, padding)(x.device)
        result = out if some.stop >= m else x.new_empty(x.shape, dtype=u.dtype) if total is None else total
        for launch in _adjoint_launches(u, maps, result, padding, initial=total, reverse=True):
            launch(x.device)
        total = result
    return out


def pixel_filter_gram_bwd_filters(x, g, filters, weights, padding):
    """df[m, d, p] = (W F g)[m, p] x[p+d] + (W F x)[m, p] g[p+d], summed over a batch or channel axis of size 1."""
    df = filters.new_empty(filters.shape)
    if x.shape[0] == 0 or x.shape[1] == 0:
        return df.zero_()
    if x.stride() != g.stride():
        x, g = x.contiguous(), g.contiguous()
    for some, maps, w in _parts(x, filters, weights):
        of_x, of_g = _empty_like_y(x, maps), _empty_like_y(x, maps)
        _fwd_launch(x, maps, w, of_x, padding, (g, of_g))(x.device)
        _bwd_filters_launch(x, of_g, df[:, :, some], padding, (g, of_x))(x.device)
    return df


# ahead of time ------------------------------------------------------------------------------------------------------

def aot_launches(dtype, filters_dtype=None, labels=("7x7", "5x5 shared by 3", "31x31 shared by 5")):
    """(label, launch) of every kernel in the configurations that differ most, on meta tensors, for the ahead-of-time tests."""
    def empty(*shape, of=dtype):
        return torch.empty(shape, dtype=of, device="meta")

    acc = _torch_accumulator(dtype)
    for label, c, shared, m, k, side, padding in (("7x7", 1, False, 5, 7, 1024, "zeros"), ("5x5 shared by 3", 3, True, 1, 5, 1024, "reflect"),
                                                  ("31x31 shared by 5", 5, True, 1, 31, 20, "circular")):
        if label not in labels:
            continue
        x, y, out = empty(2, c, side, side), empty(2, c, m, side, side), empty(2, c, side, side)
        filters = empty(2, 1 if shared else c, m, k, k, side, side, of=filters_dtype or dtype)
        yield f"fwd {label}", _fwd_launch(x, filters, None, y, padding)
        for launch in _adjoint_launches(y, filters, out, padding):
            yield f"{'adjoint' if 'out' in launch.arguments else 'outside'} {label}", launch
        yield f"bwd_filters {label}", _bwd_filters_launch(x, y, filters, padding)
        if not shared:
            u, partial = empty(2, c, m, side, side, of=acc), empty(2, c, side, side, of=acc)
            yield f"fwd of gram {label}", _fwd_launch(x, filters, y, u, padding)
            *_, launch = _adjoint_launches(u, filters, out, padding, initial=partial, reverse=True)
            yield f"adjoint of gram {label}", launch
        if label != "31x31 shared by 5":
            u = empty(2, c, m, side, side, of=acc)
            yield f"two fwd of gram {label}", _fwd_launch(x, filters, y, u, padding, (x, u))
            yield f"bwd_filters of gram {label}", _bwd_filters_launch(x, u, filters, padding, (x, u))
