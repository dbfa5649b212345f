"""The gradients: maps are computed anew, what goes into the filters' outputs passes through memory once, sums have a fixed order."""
import torch
import triton
import triton.language as tl
from svconv._triton.launch import Launch, cdiv
from svconv._triton.tanh_features.forward import inputs, padded, sizes
from svconv._triton.tanh_features.maps import block_pixels, first_level, matrix, next_level
from svconv._triton.tiles import accumulator, tile_pixels, tiling

from svconv._plane import window_plane

PARTS = 512         # partial sums over pixels, whatever the GPU: the bits do not depend on it
REGISTERS = 192     # one program on a multiprocessor: matrix products hold their operands in registers
TAPS = 16           # of the filters' gradient in a program


@triton.jit(do_not_specialize=["N", "C", "more", "H", "W", "outputs", "blocks"])
def _tanh_features_bwd_kernel(
        g, g_strides, x, x_strides, latent, latent_strides, more, filters, hidden, biases, last, d_first, part_hidden, part_biases,
        part_last, blocks, N, C, H, W, outputs, DEPTH: tl.constexpr, K: tl.constexpr, NP: tl.constexpr, OP: tl.constexpr,
        BLOCK: tl.constexpr, ACC: tl.constexpr):
    """d_first[b, n, p]: the gradient at the outputs of the filters; part_*[program]: sums over the pixels of every PARTS-th block.

    d_L = (last' g) (1 - h_L^2), d_(i-1) = (R_i' d_i) (1 - h_(i-1)^2), dR_i = d_i h_(i-1)', db_i = sum d_i, dlast = g h_L'.
    """
    pid = tl.program_id(0)
    n, o = tl.arange(0, NP), tl.arange(0, OP)
    g_b, g_c, g_h, g_w = g_strides
    of_last = tl.zeros([OP, NP], ACC)
    of_hidden, of_biases = (), (tl.zeros([NP], ACC),)
    for _ in tl.static_range(DEPTH):
        of_hidden, of_biases = of_hidden + (tl.zeros([NP, NP], ACC),), of_biases + (tl.zeros([NP], ACC),)
    per_image = tl.cdiv(tl.cast(H, tl.int64) * W, BLOCK)
    for block in range(pid, blocks, tl.num_programs(0)):
        b = block // per_image
        rows, cols, lanes = block_pixels(block % per_image, H, W, BLOCK)
        h = first_level(x, x_strides, latent, latent_strides, more, filters, biases, b, rows, cols, lanes, n, N, C, H, W, K, NP, BLOCK, ACC)
        levels = (h,)
        for i in tl.static_range(DEPTH):
            h = next_level(h, i, hidden, biases, n, N, ACC)
            levels = levels + (h,)
        place = rows.to(tl.int64) * g_h + cols.to(tl.int64) * g_w
        place = o.to(tl.int64)[:, None] * g_c + place[None, :]
        above = tl.load(g + (b * g_b + place), mask=(o < outputs)[:, None] & lanes[None, :], other=0.0).to(ACC)
        of_last = tl.dot(above, tl.trans(levels[DEPTH]), of_last, input_precision="ieee", out_dtype=ACC)
        d = tl.dot(matrix(last, n, o, outputs, N, True), above, input_precision="ieee", out_dtype=ACC)
        new_hidden, new_biases = (), ()
        for k in tl.static_range(DEPTH + 1):
            h = levels[DEPTH - k]
            d = d * (1 - h * h)
            new_biases = (of_biases[DEPTH - k] + tl.sum(d, 1),) + new_biases
            if k < DEPTH:
                below = tl.trans(levels[DEPTH - k - 1])
                new_hidden = (tl.dot(d, below, of_hidden[DEPTH - k - 1], input_precision="ieee", out_dtype=ACC),) + new_hidden
                mix = matrix(hidden + (DEPTH - k - 1) * N * N, n, n, N, N, True)
                d = tl.dot(mix, d, input_precision="ieee", out_dtype=ACC)
        of_hidden, of_biases = new_hidden, new_biases
        if d_first is not None:
            place = ((b * N + n[:, None]) * H + rows[None, :]) * W + cols[None, :]
            tl.store(d_first + place, d, mask=(n < N)[:, None] & lanes[None, :])
    square = n[:, None] * NP + n[None, :]
    for i in tl.static_range(DEPTH):
        tl.store(part_hidden + ((pid * DEPTH + i) * (NP * NP) + square), of_hidden[i])
    for i in tl.static_range(DEPTH + 1):
        tl.store(part_biases + ((pid * (DEPTH + 1) + i) * NP + n), of_biases[i])
    tl.store(part_last + (pid * (OP * NP) + o[:, None] * NP + n[None, :]), of_last)


@triton.jit
def _columns(image, strides, b, c, there, i, j, rows, cols, lanes, H, W, K: tl.constexpr, ACC: tl.constexpr):
    """[BLOCK, TAPS]: the pixels that taps (c, i, j) read, zero where a tap is not `there`."""
    s_b, s_c, s_h, s_w = strides
    row = tl.minimum(tl.maximum(rows[:, None] + (i - K // 2)[None, :], 0), H - 1).to(tl.int64)
    col = tl.minimum(tl.maximum(cols[:, None] + (j - K // 2)[None, :], 0), W - 1).to(tl.int64)
    place = (c.to(tl.int64) * s_c)[None, :] + (row * s_h + col * s_w)
    return tl.load(image + b * s_b + place, mask=lanes[:, None] & there[None, :], other=0.0).to(ACC)


@triton.jit(do_not_specialize=["N", "C", "more", "H", "W", "blocks"])
def _tanh_features_bwd_filters_kernel(
        d_first, x, x_strides, latent, latent_strides, more, part_filters, blocks, N, C, H, W, K: tl.constexpr, T: tl.constexpr,
        NP: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr):
    """part_filters[program, n, tap] = sum of d_first[b, n, p] x[b, c, p + d] over the pixels of every so many blocks."""
    taps = (C + more) * (K * K)
    chunks = tl.cdiv(taps, T)
    pid = tl.program_id(0)
    part, parts = pid // chunks, tl.num_programs(0) // chunks
    n, tap = tl.arange(0, NP), pid % chunks * T + tl.arange(0, T)
    c, i, j = tap // (K * K), tap // K % K, tap % K
    total = tl.zeros([NP, T], ACC)
    per_image = tl.cdiv(tl.cast(H, tl.int64) * W, BLOCK)
    for block in range(part, blocks, parts):
        b = block // per_image
        rows, cols, lanes = block_pixels(block % per_image, H, W, BLOCK)
        place = ((b * N + n[:, None]) * H + rows[None, :]) * W + cols[None, :]
        d = tl.load(d_first + place, mask=(n < N)[:, None] & lanes[None, :], other=0.0)
        pixels = _columns(x, x_strides, b, c, c < C, i, j, rows, cols, lanes, H, W, K, ACC)
        if latent is not None:
            pixels += _columns(latent, latent_strides, b, c - C, (c >= C) & (tap < taps), i, j, rows, cols, lanes, H, W, K, ACC)
        total = tl.dot(d, pixels, total, input_precision="ieee", out_dtype=ACC)
    tl.store(part_filters + ((part * NP + n[:, None]) * (chunks * T) + tap[None, :]), total)


@triton.jit(do_not_specialize=["first", "count", "channels", "N", "H", "W"])
def _tanh_features_bwd_images_kernel(
        d_first, filters, out, first, count, channels, N, H, W, K: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, ACC: tl.constexpr):
    """out[b, c, s] = sum_n sum_d filters[n, first + c, d] d_first[b, n, s - d] at the positions s of the image with its border."""
    height, width = H + (K - 1), W + (K - 1)
    tiles = tl.cdiv(height, TH) * tl.cdiv(width, TW)
    pid = tl.program_id(0)
    rows, cols, _, _ = tile_pixels(pid % tiles, width, TH, TW)
    plane = pid // tiles
    b, c = (plane // count).to(tl.int64), plane % count
    total = tl.zeros([TH * TW], ACC)
    for n in range(N):
        taps, source = filters + (n * channels + (first + c)) * (K * K), d_first + ((b * N + n) * H) * W
        for i in range(K):
            row = rows - i
            row_ok = (row >= 0) & (row < H)
            for j in range(K):
                col = cols - j
                value = tl.load(source + (row.to(tl.int64) * W + col), mask=row_ok & (col >= 0) & (col < W), other=0.0)
                total += tl.load(taps + (i * K + j)) * value
    place = ((plane.to(tl.int64) * height) + rows) * width + cols
    tl.store(out + place, total, mask=(rows < height) & (cols < width))


# host -----------------------------------------------------------------------------------------------------------------

def _kept(given, kernel):
    return {name: given[name] for name in kernel.arg_names if name in given}


def bwd_launch(g, d_first, given, dtype):
    """The gradient at the filters' outputs, and partial sums [parts, ...] for hidden, biases and last."""
    size = sizes(given["N"], dtype, 512)
    blocks = g.shape[0] * cdiv(given["H"] * given["W"], size["BLOCK"])
    parts, depth, maps, outputs = min(blocks, PARTS), given["DEPTH"], size["NP"], padded(given["outputs"])

    def part(*shape):
        return g.new_empty((parts, *shape), dtype=accumulator(dtype))

    sums = {"part_hidden": part(depth, maps, maps), "part_biases": part(depth + 1, maps), "part_last": part(outputs, maps)}
    return Launch(_tanh_features_bwd_kernel, parts, {
        **_kept(given, _tanh_features_bwd_kernel), **size, **sums, "g": g, "g_strides": g.stride(), "d_first": d_first, "blocks": blocks,
        "OP": outputs}, registers=REGISTERS)


def bwd_filters_launch(d_first, given, dtype):
    size = sizes(given["N"], dtype, 512)
    chunks = cdiv((given["C"] + given["more"]) * given["K"] ** 2, TAPS)
    blocks = d_first.shape[0] * cdiv(given["H"] * given["W"], size["BLOCK"])
    parts = min(blocks, PARTS)
    sums = d_first.new_empty((parts, size["NP"], chunks * TAPS))
    return Launch(_tanh_features_bwd_filters_kernel, parts * chunks, {
        **_kept(given, _tanh_features_bwd_filters_kernel), **size, "d_first": d_first, "part_filters": sums, "blocks": blocks, "T": TAPS})


def bwd_images_launch(d_first, given, first, end):
    """The gradient of the channels first..end of image and latent image with their border."""
    batch, _, height, width = d_first.shape
    height, width = height + given["K"] - 1, width + given["K"] - 1
    out = d_first.new_empty((batch, end - first, height, width))
    tiles, shape = tiling(height, width, 64)
    return Launch(_tanh_features_bwd_images_kernel, batch * (end - first) * tiles, {
        **_kept(given, _tanh_features_bwd_images_kernel), **shape, "d_first": d_first, "out": out, "first": first, "count": end - first,
        "channels": given["C"] + given["more"]})


def _run(launch):
    launch(launch.arguments["d_first" if launch.arguments["d_first"] is not None else "g"].device)
    return launch.arguments


def _weight_gradients(g, d_first, given, tensors, need):
    """Those of filters, hidden, biases and last."""
    filters, hidden, biases, last = tensors
    done = _run(bwd_launch(g, d_first, given, g.dtype))
    number = filters.shape[0]
    of_filters = None
    if need[2]:
        sums = _run(bwd_filters_launch(d_first, given, g.dtype))["part_filters"].sum(0)
        of_filters = sums[:number, :filters[0].numel()].reshape(filters.shape)
    of_biases = done["part_biases"].sum(0)[:, :number] if biases is not None else None
    return (of_filters, done["part_hidden"].sum(0)[:, :number, :number], of_biases, done["part_last"].sum(0)[:last.shape[0], :number])


def tanh_features_bwd(g, x, latent, filters, hidden, biases, last, need):
    """Memory beside the results: N maps of the image's size, the border's images and at most PARTS partial sums."""
    channels, number = x.shape[1], filters.shape[0]
    if not g.numel():
        return tuple(torch.zeros_like(t, memory_format=torch.contiguous_format) if wanted and t is not None else g.new_empty(0)
                     for t, wanted in zip((x, latent, filters, hidden, biases, last), need))
    given = inputs(x, latent, filters, hidden, biases, last)
    d_first = g.new_empty((g.shape[0], number, *g.shape[2:]), dtype=accumulator(g.dtype)) if any(need[:3]) else None
    of_weights = _weight_gradients(g, d_first, given, (filters, hidden, biases, last), need)
    of_images = [None, None]
    first, end = 0 if need[0] else channels, filters.shape[1] if need[1] else channels      # the channels whose gradient is wanted
    if first < end:
        bordered = _run(bwd_images_launch(d_first, given, first, end))["out"]
        gradient = window_plane(g.shape[2:], (given["K"],) * 2, "replicate").enter_adjoint(bordered)
        of_images = [gradient[:, a - first:z - first] if wanted else None
                     for a, z, wanted in ((0, channels, need[0]), (channels, filters.shape[1], need[1]))]
    return tuple(t.to(g.dtype, memory_format=torch.contiguous_format, copy=True) if wanted else g.new_empty(0)
                 for t, wanted in zip((*of_images, *of_weights), need))
