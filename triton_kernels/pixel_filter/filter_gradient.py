"""The gradient in the filters: at every pixel the products of the upstream gradient there and the image around it."""
import triton
import triton.language as tl
from svconv._triton.boundary import source_index
from svconv._triton.launch import Launch, strides
from svconv._triton.pixel_filter.tiles import image_strides, maps_strides, unrolling
from svconv._triton.tiles import SHARED_CHANNELS, kernel_accumulator, reads_inside, tile_pixels, tiling

from svconv._triton import boundary


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
                        FAR: tl.constexpr, HELD: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr, CHECKED: tl.constexpr):
    """Writes the kh kw planes at df; each sums over the (image, channel) pairs that share the filters, whose g is held if HELD > 0."""
    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    plane = tl.cast(H, tl.int64) * W
    if HELD > 0:
        xs = _pair_pointers(x, shared_c, x_b, x_c, HELD)
        gs = _hold(_pair_pointers(g, shared_c, g_b, g_c, HELD), g_place, lanes, HELD, ACC)
        if x2 is not None:
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
                    if x2 is not None:
                        total += g2s[s] * tl.load(x2s[s] + place, mask=ok, other=0.0).to(ACC)
            else:
                for s in range(shared):
                    x_place = place + _pair_place(s, shared_c, x_b, x_c)
                    upstream = g_place + _pair_place(s, shared_c, g_b, g_c)
                    total += (tl.load(g + upstream, mask=lanes, other=0.0).to(ACC) * tl.load(x + x_place, mask=ok, other=0.0).to(ACC))
                    if x2 is not None:
                        total += (tl.load(g2 + upstream, mask=lanes, other=0.0).to(ACC) * tl.load(x2 + x_place, mask=ok, other=0.0).to(ACC))
            tl.store(df, total, mask=lanes)
            df += plane


@triton.jit(do_not_specialize=["df_maps", "shared", "C", "M", "H", "W"])
def _pixel_filter_bwd_filters_kernel(
        x, x_strides, g, g_strides, x2, g2, df, df_maps, shared, C, M, H, W,
        KH: tl.constexpr, KW: tl.constexpr, UNROLL_H: tl.constexpr, UNROLL_W: tl.constexpr, PADDING: tl.constexpr, FAR: tl.constexpr,
        SHARED_C: tl.constexpr, HELD: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, ACC: tl.constexpr):
    """df[b,c,m,d,p] = g[b,c,m,p] x[b,c,p+d] (+ g2[b,c,m,p] x2[b,c,p+d]), summed over a shared batch or channel axis: `shared` pairs.

    x2 and g2 have the strides of x and g; the memory of df has df_maps >= M maps for every channel.
    """
    tiles = tl.cdiv(H, TH) * tl.cdiv(W, TW)
    channels = 1 if SHARED_C else C
    shared_c = C if SHARED_C else 1
    pid = tl.program_id(0)
    m = (pid % M).to(tl.int64)
    pid = pid // M
    rows, cols, row, col = tile_pixels(pid % tiles, W, TH, TW)
    pid = pid // tiles
    c = (pid % channels).to(tl.int64)
    b = (pid // channels).to(tl.int64)
    lanes = (rows < H) & (cols < W)
    x_b, x_c, x_h, x_w = image_strides(x_strides, C, H, W)
    g_b, g_c, g_m, g_h, g_w = maps_strides(g_strides, C, M, H, W)
    x += b * x_b + c * x_c
    if x2 is not None:
        x2 += b * x_b + c * x_c
    g_place = b * g_b + c * g_c + m * g_m + rows.to(tl.int64) * g_h + cols.to(tl.int64) * g_w
    df += ((b * channels + c) * df_maps + m) * (KH * KW) * (tl.cast(H, tl.int64) * W) + rows.to(tl.int64) * W + cols

    TOP: tl.constexpr = (KH - 1) // 2
    LEFT: tl.constexpr = (KW - 1) // 2
    if reads_inside(row, col, H, W, TOP, KH - 1 - TOP, LEFT, KW - 1 - LEFT, TH, TW):
        _bwd_filters_window(x, g, x2, g2, df, shared, shared_c, rows, cols, lanes, H, W, x_b, x_c, x_h, x_w, g_b, g_c, g_place,
                            KH, KW, UNROLL_H, UNROLL_W, PADDING, FAR, HELD, TH * TW, ACC, False)
    else:
        _bwd_filters_window(x, g, x2, g2, df, shared, shared_c, rows, cols, lanes, H, W, x_b, x_c, x_h, x_w, g_b, g_c, g_place,
                            KH, KW, UNROLL_H, UNROLL_W, PADDING, FAR, HELD, TH * TW, ACC, True)


def bwd_filters_launch(x, g, df, padding, pair=(None, None), df_maps=None):
    """pair: a second (x, g) with the strides of the first, whose gradient is added. df_maps: maps in the memory that df is a part of."""
    b, c, m, height, width = g.shape
    batch, channels = df.shape[:2]
    kh, kw = df.shape[3:5]
    shared = (b // batch) * (c // channels)
    tiles, shape = tiling(height, width, 64)
    x2, g2 = pair
    return Launch(_pixel_filter_bwd_filters_kernel, batch * channels * m * tiles, {
        "x": x, "x_strides": strides(x), "g": g, "g_strides": strides(g), "x2": x2, "g2": g2, "df": df, "df_maps": df_maps or m,
        "shared": shared, "C": c, "M": m, "H": height, "W": width, "KH": kh, "KW": kw, **unrolling(kh, kw, shared), "PADDING": padding,
        "FAR": boundary.is_far(height, kh, padding) or boundary.is_far(width, kw, padding), "SHARED_C": channels == 1,
        "HELD": shared if shared <= SHARED_CHANNELS else 0, **shape, "ACC": kernel_accumulator(x.dtype)})


def pixel_filter_bwd_filters(x, g, shape, dtype, padding):
    """df[b, c, m, d, p] = g[b, c, m, p] x[b, c, p+d], summed over a batch or channel axis of size 1."""
    df = x.new_empty(shape, dtype=dtype)
    if x.shape[0] == 0 or x.shape[1] == 0:
        return df.zero_()
    bwd_filters_launch(x, g, df, padding)(x.device)
    return df


