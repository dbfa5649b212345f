"""Per-pixel filtering in Triton: forward, adjoint, filter gradient and normal operator.

A program owns a tile of output pixels and runs over the window; along W its accesses are contiguous. Filters that the channels share
are read once for up to four channels. Every sum has a fixed order, there are no atomics: results are bit-identical from run to run.

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

SHARED_CHANNELS = 4     # channels that one program filters with the same filters
UNROLLED_ROW = 9        # windows up to this width unroll a row of taps, wider ones eight taps at a time
UNROLLED_WINDOW = 25    # windows up to this many taps unroll completely


# tiles --------------------------------------------------------------------------------------------------------------

@triton.jit
def _tile(tile, tiles_w, TH: tl.constexpr, TW: tl.constexpr):
    """Rows and columns [1, TH * TW] of the pixels of a tile."""
    lane = tl.arange(0, TH * TW)[None, :]
    return (tile // tiles_w) * TH + lane // TW, (tile % tiles_w) * TW + lane % TW


# forward ------------------------------------------------------------------------------------------------------------

@triton.jit
def _fwd_window(x, filters, rows, cols, c_mask, H, W, x_h, x_w, f_i, f_j, f_h, f_w,
                KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr, PADDING: tl.constexpr,
                FAR: tl.constexpr, CB: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr, CHECKED: tl.constexpr, MASK_C: tl.constexpr):
    """sum_d filters[d, p] x[p+d] for x pointing at [CB, 1] planes and filters at one map; [CB, BLOCK]."""
    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    acc = tl.zeros([CB, BLOCK], ACC)
    lanes = (rows < H) & (cols < W)
    f_row = filters + (rows.to(tl.int64) * f_h + cols.to(tl.int64) * f_w)
    x_row = x + ((rows - TOP).to(tl.int64) * x_h + (cols - LEFT).to(tl.int64) * x_w)
    for i in tl.range(0, KH, loop_unroll_factor=UNROLL_H):
        f_tap = f_row
        x_tap = x_row
        if CHECKED:
            row, row_ok = source_index(rows + (i - TOP), H, PADDING, FAR)
            row_ok = row_ok & lanes
            x_line = x + row.to(tl.int64) * x_h
        for j in tl.range(0, KW, loop_unroll_factor=UNROLL_W):
            if CHECKED:
                col, ok = source_index(cols + (j - LEFT), W, PADDING, FAR)
                weight = tl.load(f_tap, mask=lanes, other=0.0)
                value = tl.load(x_line + col.to(tl.int64) * x_w, mask=ok & row_ok & c_mask, other=0.0)
            else:
                weight = tl.load(f_tap)
                if MASK_C:
                    value = tl.load(x_tap, mask=c_mask, other=0.0)
                else:
                    value = tl.load(x_tap)
            acc += weight.to(ACC) * value.to(ACC)
            f_tap += f_j
            x_tap += x_w
        f_row += f_i
        x_row += x_h
    return acc


@triton.jit(do_not_specialize=["C", "M", "inner_b", "inner_c", "outer_c", "tiles", "tiles_w"])
def _pixel_filter_fwd_kernel(
        x, filters, weights, y, C, M, H, W, x_b, x_c, x_h, x_w, f_b, f_c, f_m, f_i, f_j, f_h, f_w, w_b, w_c, w_m, w_h, w_w,
        inner_b, inner_c, outer_c, tiles, tiles_w,
        KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr, PADDING: tl.constexpr, FAR: tl.constexpr,
        CB: tl.constexpr, MASK_C: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, ACC: tl.constexpr, WEIGHTED: tl.constexpr):
    """y[b,c,m,p] = w[b,c,m,p] sum_d filters[b,c,m,d,p] x[b,c,p+d]; programs that read the same filters or pixels are neighbours."""
    pid = tl.program_id(0)
    c_inner = pid % inner_c
    pid = pid // inner_c
    b_inner = pid % inner_b
    pid = pid // inner_b
    m = pid % M
    pid = pid // M
    rows, cols = _tile(pid % tiles, tiles_w, TH, TW)
    first_row = (pid % tiles) // tiles_w * TH
    first_col = (pid % tiles) % tiles_w * TW
    pid = pid // tiles
    c = ((c_inner + pid % outer_c) * CB + tl.arange(0, CB)[:, None]).to(tl.int64)
    b = (b_inner + pid // outer_c).to(tl.int64)
    c_mask = c < C
    x += b * x_b + c * x_c
    filters += b * f_b + (c_inner + pid % outer_c).to(tl.int64) * f_c + m.to(tl.int64) * f_m

    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    inside = (first_row >= TOP) & (first_row + TH - 1 + KH - 1 - TOP < H) & (first_col >= LEFT) & (first_col + TW - 1 + KW - 1 - LEFT < W)
    if inside:
        acc = _fwd_window(x, filters, rows, cols, c_mask, H, W, x_h, x_w, f_i, f_j, f_h, f_w, KH, KW, UNROLL_H, UNROLL_W, PADDING, FAR,
                          CB, TH * TW, ACC, False, MASK_C)
    else:
        acc = _fwd_window(x, filters, rows, cols, c_mask, H, W, x_h, x_w, f_i, f_j, f_h, f_w, KH, KW, UNROLL_H, UNROLL_W, PADDING, FAR,
                          CB, TH * TW, ACC, True, MASK_C)
    mask = (rows < H) & (cols < W) & c_mask
    if WEIGHTED:
        weights += b * w_b + c * w_c + m.to(tl.int64) * w_m + rows.to(tl.int64) * w_h + cols.to(tl.int64) * w_w
        acc = acc * tl.load(weights, mask=mask, other=0.0).to(ACC)
    y += (((b * C + c) * M + m) * H + rows) * W + cols
    tl.store(y, acc, mask=mask)


# adjoint ------------------------------------------------------------------------------------------------------------

@triton.jit
def _adjoint_windows(y, filters, rows, cols, lanes, c_mask, M, H, W, y_m, y_h, y_w, f_m, f_i, f_j, f_h, f_w,
                     KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr,
                     CB: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr, CHECKED: tl.constexpr, MASK_C: tl.constexpr):
    """sum_m sum_d filters[m, d, s-d] y[m, s-d] at the positions s = (rows, cols), which may lie outside; [CB, BLOCK]."""
    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    acc = tl.zeros([CB, BLOCK], ACC)
    r = (rows + TOP).to(tl.int64)
    c = (cols + LEFT).to(tl.int64)
    f_map = filters + (r * f_h + c * f_w)
    y_map = y + (r * y_h + c * y_w)
    for m in range(M):
        f_row = f_map
        y_row = y_map
        for i in tl.range(0, KH, loop_unroll_factor=UNROLL_H):
            f_tap = f_row
            y_tap = y_row
            row = rows + (TOP - i)
            row_ok = (row >= 0) & (row < H) & lanes
            for j in tl.range(0, KW, loop_unroll_factor=UNROLL_W):
                if CHECKED:
                    col = cols + (LEFT - j)
                    ok = (col >= 0) & (col < W) & row_ok
                    weight = tl.load(f_tap, mask=ok, other=0.0)
                    value = tl.load(y_tap, mask=ok & c_mask, other=0.0)
                else:
                    weight = tl.load(f_tap)
                    if MASK_C:
                        value = tl.load(y_tap, mask=c_mask, other=0.0)
                    else:
                        value = tl.load(y_tap)
                acc += weight.to(ACC) * value.to(ACC)
                f_tap += f_j - f_w
                y_tap -= y_w
            f_row += f_i - f_h
            y_row -= y_h
        f_map += f_m
        y_map += y_m
    return acc


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


@triton.jit(do_not_specialize=["C", "M", "blocks", "outer_c"])
def _pixel_filter_outside_kernel(
        y, filters, strip, C, M, H, W, y_b, y_c, y_m, y_h, y_w, f_b, f_c, f_m, f_i, f_j, f_h, f_w, blocks, outer_c,
        KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr, CB: tl.constexpr, MASK_C: tl.constexpr,
        BLOCK: tl.constexpr, ACC: tl.constexpr):
    """The adjoint at the positions outside of the image: strip[b, c, position]."""
    pid = tl.program_id(0)
    block = pid % blocks
    pid = pid // blocks
    group = pid % outer_c
    b = (pid // outer_c).to(tl.int64)
    c = (group * CB + tl.arange(0, CB)[:, None]).to(tl.int64)
    c_mask = c < C

    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    place = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)[None, :]
    width = tl.cast(W + KW - 1, tl.int64)
    in_band = place < (KH - 1) * width
    band_row = place // width
    band_row = tl.where(band_row < TOP, band_row - TOP, band_row - TOP + H)
    side = place - (KH - 1) * width
    SIDE: tl.constexpr = KW - 1 if KW > 1 else 1
    side_col = side % SIDE
    side_col = tl.where(side_col < LEFT, side_col - LEFT, side_col - LEFT + W)
    rows = tl.where(in_band, band_row, side // SIDE).to(tl.int32)
    cols = tl.where(in_band, place % width - LEFT, side_col).to(tl.int32)
    lanes = place < _strip_size(H, W, KH, KW)
    acc = _adjoint_windows(y + b * y_b + c * y_c, filters + b * f_b + group.to(tl.int64) * f_c, rows, cols, lanes, c_mask, M, H, W,
                           y_m, y_h, y_w, f_m, f_i, f_j, f_h, f_w, KH, KW, UNROLL_H, UNROLL_W, CB, BLOCK, ACC, True, MASK_C)
    tl.store(strip + (b * C + c) * _strip_size(H, W, KH, KW) + place, acc, mask=lanes & c_mask)


@triton.jit(do_not_specialize=["C", "M", "inner_b", "inner_c", "outer_c", "tiles", "tiles_w", "first_i", "last_i", "first_j", "last_j"])
def _pixel_filter_adjoint_kernel(
        y, filters, strip, initial, out, C, M, H, W, y_b, y_c, y_m, y_h, y_w, f_b, f_c, f_m, f_i, f_j, f_h, f_w,
        inner_b, inner_c, outer_c, tiles, tiles_w, first_i, last_i, first_j, last_j,
        KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr, PADDING: tl.constexpr, FOLD: tl.constexpr,
        CB: tl.constexpr, MASK_C: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, ACC: tl.constexpr, ADD: tl.constexpr,
        REVERSE: tl.constexpr):
    """out[b,c,q] = (initial[b,c,q] +) sum_m sum_d filters[m,d,q-d] y[m,q-d] + what the strip holds for q."""
    pid = tl.program_id(0)
    if REVERSE:
        pid = tl.num_programs(0) - 1 - pid
    c_inner = pid % inner_c
    pid = pid // inner_c
    b_inner = pid % inner_b
    pid = pid // inner_b
    rows, cols = _tile(pid % tiles, tiles_w, TH, TW)
    first_row = (pid % tiles) // tiles_w * TH
    first_col = (pid % tiles) % tiles_w * TW
    pid = pid // tiles
    group = c_inner + pid % outer_c
    c = (group * CB + tl.arange(0, CB)[:, None]).to(tl.int64)
    b = (b_inner + pid // outer_c).to(tl.int64)
    c_mask = c < C
    lanes = (rows < H) & (cols < W)
    y += b * y_b + c * y_c
    filters += b * f_b + group.to(tl.int64) * f_c

    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    BOTTOM: tl.constexpr = KH - 1 - TOP
    RIGHT: tl.constexpr = KW - 1 - LEFT
    if (first_row >= BOTTOM) & (first_row + TH - 1 + TOP < H) & (first_col >= RIGHT) & (first_col + TW - 1 + LEFT < W):
        acc = _adjoint_windows(y, filters, rows, cols, lanes, c_mask, M, H, W, y_m, y_h, y_w, f_m, f_i, f_j, f_h, f_w,
                               KH, KW, UNROLL_H, UNROLL_W, CB, TH * TW, ACC, False, MASK_C)
    else:
        acc = _adjoint_windows(y, filters, rows, cols, lanes, c_mask, M, H, W, y_m, y_h, y_w, f_m, f_i, f_j, f_h, f_w,
                               KH, KW, UNROLL_H, UNROLL_W, CB, TH * TW, ACC, True, MASK_C)
    mask = lanes & c_mask
    if FOLD:
        # only tiles within reach of an edge have pixels that are read from outside
        REACH_I: tl.constexpr = TOP if TOP > BOTTOM else BOTTOM
        REACH_J: tl.constexpr = LEFT if LEFT > RIGHT else RIGHT
        near_i = ((first_row <= REACH_I) | (first_row + TH + REACH_I >= H)).to(tl.int32)
        near_j = ((first_col <= REACH_J) | (first_col + TW + REACH_J >= W)).to(tl.int32)
        strip += (b * C + c) * _strip_size(H, W, KH, KW)
        for k in range(first_i * near_i, last_i * near_i + 1):
            row, row_ok = preimage(rows, k, H, PADDING)
            row_ok = row_ok & (row >= -TOP) & (row < H + BOTTOM)
            for l in range(first_j * near_j, last_j * near_j + 1):
                col, col_ok = preimage(cols, l, W, PADDING)
                col_ok = col_ok & (col >= -LEFT) & (col < W + RIGHT)
                outside = (row < 0) | (row >= H) | (col < 0) | (col >= W)
                acc += tl.load(strip + _strip_index(row, col, H, W, KH, KW), mask=mask & row_ok & col_ok & outside, other=0.0)
    place = ((b * C + c) * H + rows) * W + cols
    if ADD:
        acc += tl.load(initial + place, mask=mask, other=0.0)
    tl.store(out + place, acc, mask=mask)


# filter gradient ----------------------------------------------------------------------------------------------------

@triton.jit
def _shared_product(x, g, x_place, g_place, s, shared, shared_c, ok, lanes, x_b, x_c, g_b, g_c, ACC: tl.constexpr):
    """g[p] x[p+d] of the (image, channel) pairs s [SB, 1]."""
    value = tl.load(x + (s // shared_c * x_b + s % shared_c * x_c + x_place), mask=ok & (s < shared), other=0.0)
    upstream = tl.load(g + (s // shared_c * g_b + s % shared_c * g_c + g_place), mask=lanes & (s < shared), other=0.0)
    return upstream.to(ACC) * value.to(ACC)


@triton.jit
def _bwd_filters_window(x, g, x2, g2, df, shared, shared_c, rows, cols, lanes, H, W, x_b, x_c, x_h, x_w, g_b, g_c, g_place,
                        KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr, PADDING: tl.constexpr,
                        FAR: tl.constexpr, SB: tl.constexpr, SINGLE: tl.constexpr, PAIR: tl.constexpr, ACC: tl.constexpr,
                        CHECKED: tl.constexpr):
    """Writes the kh kw planes at df; each sums over the (image, channel) pairs that share the filters, SB of them at a time."""
    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    plane = tl.cast(H, tl.int64) * W
    s = tl.arange(0, SB)[:, None].to(tl.int64)
    held_mask = lanes & (s < shared)
    held_place = s // shared_c * g_b + s % shared_c * g_c + g_place
    x_place = s // shared_c * x_b + s % shared_c * x_c
    if SINGLE:
        held = tl.load(g + held_place, mask=held_mask, other=0.0).to(ACC)
        if PAIR:
            held2 = tl.load(g2 + held_place, mask=held_mask, other=0.0).to(ACC)
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
            if SINGLE:
                total = held * tl.load(x + (x_place + place), mask=ok & (s < shared), other=0.0).to(ACC)
                if PAIR:
                    total += held2 * tl.load(x2 + (x_place + place), mask=ok & (s < shared), other=0.0).to(ACC)
            else:
                total = tl.zeros([SB, rows.shape[1]], ACC)
                for start in range(0, shared, SB):
                    total += _shared_product(x, g, place, g_place, s + start, shared, shared_c, ok, lanes, x_b, x_c, g_b, g_c, ACC)
                    if PAIR:
                        total += _shared_product(x2, g2, place, g_place, s + start, shared, shared_c, ok, lanes, x_b, x_c, g_b, g_c, ACC)
            if SB > 1:
                total = tl.sum(total, axis=0, keep_dims=True)
            tl.store(df, total, mask=lanes)
            df += plane


@triton.jit(do_not_specialize=["M", "channels", "shared", "shared_c", "tiles", "tiles_w"])
def _pixel_filter_bwd_filters_kernel(
        x, g, x2, g2, df, M, H, W, x_b, x_c, x_h, x_w, g_b, g_c, g_m, g_h, g_w, df_b, df_c, df_m, channels, shared, shared_c, tiles, tiles_w,
        KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr, PADDING: tl.constexpr, FAR: tl.constexpr,
        SB: tl.constexpr, SINGLE: tl.constexpr, PAIR: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, ACC: tl.constexpr):
    """df[b,c,m,d,p] = sum over the `shared` (image, channel) pairs of g[b,c,m,p] x[b,c,p+d] (+ g2[b,c,m,p] x2[b,c,p+d])."""
    pid = tl.program_id(0)
    m = (pid % M).to(tl.int64)
    pid = pid // M
    rows, cols = _tile(pid % tiles, tiles_w, TH, TW)
    first_row = (pid % tiles) // tiles_w * TH
    first_col = (pid % tiles) % tiles_w * TW
    pid = pid // tiles
    c = (pid % channels).to(tl.int64)
    b = (pid // channels).to(tl.int64)
    lanes = (rows < H) & (cols < W)
    x_first = b * x_b + c * x_c
    x += x_first
    x2 += x_first
    g_place = b * g_b + c * g_c + m * g_m + rows.to(tl.int64) * g_h + cols.to(tl.int64) * g_w
    df += b * df_b + c * df_c + m * df_m + rows.to(tl.int64) * W + cols

    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    if (first_row >= TOP) & (first_row + TH - 1 + KH - 1 - TOP < H) & (first_col >= LEFT) & (first_col + TW - 1 + KW - 1 - LEFT < W):
        _bwd_filters_window(x, g, x2, g2, df, shared, shared_c, rows, cols, lanes, H, W, x_b, x_c, x_h, x_w, g_b, g_c, g_place,
                            KH, KW, UNROLL_H, UNROLL_W, PADDING, FAR, SB, SINGLE, PAIR, ACC, False)
    else:
        _bwd_filters_window(x, g, x2, g2, df, shared, shared_c, rows, cols, lanes, H, W, x_b, x_c, x_h, x_w, g_b, g_c, g_place,
                            KH, KW, UNROLL_H, UNROLL_W, PADDING, FAR, SB, SINGLE, PAIR, ACC, True)


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


def _tiles(height, width, lanes, longest):
    """Shape of a tile of `lanes` pixels with rows of at most `longest`, and how many of them there are (all, in a row)."""
    tw = min(triton.next_power_of_2(width), longest, lanes)
    th = lanes // tw
    tiles_w = triton.cdiv(width, tw)
    return th, tw, {"tiles": triton.cdiv(height, th) * tiles_w, "tiles_w": tiles_w}


def _unrolling(kh, kw):
    return {"UNROLL_H": kh if kh * kw <= UNROLLED_WINDOW else 1, "UNROLL_W": kw if kw <= UNROLLED_ROW else 8}


def _strides(prefix, names, t, shared=()):
    """Strides as kernel arguments, 0 along an axis that is shared."""
    return {f"{prefix}_{name}": 0 if name in shared else stride for name, stride in zip(names, t.stride(), strict=True)}


def _filter_strides(filters):
    """A batch or channel axis of 1 has stride 0."""
    return _strides("f", "bcmijhw", filters, [name for name, size in zip("bc", filters.shape) if size == 1])


def _sharing(b, c, filters):
    """Which (image, channel) programs use the same filters: those count fastest. CB channels share one read of them."""
    shares_c = filters.shape[1] == 1
    block = min(triton.next_power_of_2(c), SHARED_CHANNELS) if shares_c else 1
    inner = {"inner_b": b if filters.shape[0] == 1 else 1, "inner_c": triton.cdiv(c, block) if shares_c else 1, "outer_c": 1 if shares_c else c}
    return {"CB": block, "MASK_C": c % block != 0}, inner, b * triton.cdiv(c, block)


def _fwd_launch(x, filters, weights, y, padding):
    b, c, height, width = x.shape
    m, kh, kw = filters.shape[2:5]
    block, inner, planes = _sharing(b, c, filters)
    th, tw, tiles = _tiles(height, width, 128 * max(1, 8 // filters.element_size()), 64)
    w = weights if weights is not None else x.unsqueeze(2)    # any tensor: not read
    arguments = {
        "x": x, "filters": filters, "weights": w, "y": y, "C": c, "M": m, "H": height, "W": width,
        **_strides("x", "bchw", x), **_filter_strides(filters), **_strides("w", "bcmhw", w, [n for n, s in zip("bc", w.shape) if s == 1]),
        **inner, **tiles, "KH": kh, "KW": kw, **_unrolling(kh, kw), "PADDING": boundary.code(padding),
        "FAR": boundary.is_far(height, kh, padding) or boundary.is_far(width, kw, padding),
        **block, "TH": th, "TW": tw, "ACC": _accumulator(x.dtype), "WEIGHTED": weights is not None}
    return Launch(_pixel_filter_fwd_kernel, planes * m * tiles["tiles"], arguments)


def _adjoint_launches(y, filters, out, padding, initial=None, reverse=False):
    """The strip of the positions outside, where the padding has any, and the adjoint itself."""
    b, c, m, height, width = y.shape
    kh, kw = filters.shape[3:5]
    acc = _torch_accumulator(y.dtype)
    block, inner, planes = _sharing(b, c, filters)
    common = {"y": y, "filters": filters, "C": c, "M": m, "H": height, "W": width, **_strides("y", "bcmhw", y), **_filter_strides(filters),
              "KH": kh, "KW": kw, **_unrolling(kh, kw), **block, "ACC": _accumulator(y.dtype)}
    outside = (kh - 1) * (width + kw - 1) + (kw - 1) * height
    folds = padding != "zeros" and outside > 0
    strip = out
    if folds:
        strip = y.new_empty((b, c, outside), dtype=acc)
        lanes = 128
        blocks = triton.cdiv(outside, lanes)
        yield Launch(_pixel_filter_outside_kernel, planes * blocks,
                     {**common, "strip": strip, "blocks": blocks, "outer_c": triton.cdiv(c, block["CB"]), "BLOCK": lanes})
    th, tw, tiles = _tiles(height, width, 256, 128)
    first_i, last_i = boundary.cells(height, kh, padding)
    first_j, last_j = boundary.cells(width, kw, padding)
    yield Launch(_pixel_filter_adjoint_kernel, planes * tiles["tiles"], {
        **common, **inner, **tiles, "strip": strip, "initial": out if initial is None else initial, "out": out,
        "first_i": first_i, "last_i": last_i, "first_j": first_j, "last_j": last_j, "PADDING": boundary.code(padding), "FOLD": folds,
        "TH": th, "TW": tw, "ADD": initial is not None, "REVERSE": reverse}, num_warps=8)


def _bwd_filters_launch(x, g, df, padding, pair=None):
    """pair: a second (x, g) with the strides of the first, whose gradient is added."""
    b, c, m, height, width = g.shape
    batch, channels = df.shape[:2]
    kh, kw = df.shape[3:5]
    shared_b, shared_c = b // batch, c // channels
    block = min(triton.next_power_of_2(shared_b * shared_c), SHARED_CHANNELS)
    th, tw, tiles = _tiles(height, width, 128 * max(1, 8 // df.element_size()), 64)
    x2, g2 = pair or (x, g)
    return Launch(_pixel_filter_bwd_filters_kernel, batch * channels * m * tiles["tiles"], {
        "x": x, "g": g, "x2": x2, "g2": g2, "df": df, "M": m, "H": height, "W": width, **_strides("x", "bchw", x), **_strides("g", "bcmhw", g),
        "df_b": df.stride(0), "df_c": df.stride(1), "df_m": df.stride(2),
        "channels": channels, "shared": shared_b * shared_c, "shared_c": shared_c, **tiles,
        "KH": kh, "KW": kw, **_unrolling(kh, kw), "PADDING": boundary.code(padding),
        "FAR": boundary.is_far(height, kh, padding) or boundary.is_far(width, kw, padding),
        "SB": block, "SINGLE": shared_b * shared_c <= block, "PAIR": pair is not None, "TH": th, "TW": tw, "ACC": _accumulator(x.dtype)})


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


def _weighted_fwd(x, filters, weights, padding):
    """W F x in the accumulator's type."""
    u = x.new_empty((x.shape[0], x.shape[1], filters.shape[2], x.shape[2], x.shape[3]), dtype=_torch_accumulator(x.dtype))
    _fwd_launch(x, filters, weights, u, padding)(x.device)
    return u


def pixel_filter_gram(x, filters, weights, padding):
    out = x.new_empty(x.shape)
    m = filters.shape[2]
    if m == 0 or out.numel() == 0:
        return out.zero_()
    total = None
    for some, maps, w in _parts(x, filters, weights):
        u = _weighted_fwd(x, maps, w, padding)
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
        pair = g, _weighted_fwd(x, maps, w, padding)
        _bwd_filters_launch(x, _weighted_fwd(g, maps, w, padding), df[:, :, some], padding, pair)(x.device)
    return df


# ahead of time ------------------------------------------------------------------------------------------------------

def aot_launches(dtype, filters_dtype=None):
    """(label, launch) of every kernel in the configurations that differ most, on meta tensors, for the ahead-of-time tests."""
    for label, c, shared, m, k, side, padding in (("3x3", 1, False, 1, 3, 256, "symmetric"), ("7x7", 1, False, 5, 7, 1024, "zeros"),
                                                  ("5x5 shared by 3", 3, True, 1, 5, 1024, "reflect"),
                                                  ("31x31 shared by 5", 5, True, 1, 31, 20, "circular")):
        x = torch.empty((2, c, side, side), dtype=dtype, device="meta")
        filters = torch.empty((2, 1 if shared else c, m, k, k, side, side), dtype=filters_dtype or dtype, device="meta")
        y, u = (torch.empty((2, c, m, side, side), dtype=t, device="meta") for t in (dtype, _torch_accumulator(dtype)))
        out, partial = (torch.empty((2, c, side, side), dtype=t, device="meta") for t in (dtype, _torch_accumulator(dtype)))
        yield f"fwd {label}", _fwd_launch(x, filters, None, y, padding)
        yield f"weighted fwd {label}", _fwd_launch(x, filters, y, u, padding)
        for launch in _adjoint_launches(y, filters, out, padding):
            yield f"{'adjoint' if 'out' in launch.arguments else 'outside'} {label}", launch
        *_, launch = _adjoint_launches(u, filters, out, padding, initial=partial, reverse=True)
        yield f"adjoint of gram {label}", launch
        yield f"bwd_filters {label}", _bwd_filters_launch(x, y, filters, padding)
        yield f"bwd_filters of gram {label}", _bwd_filters_launch(x, u, filters, padding, (x, u))
