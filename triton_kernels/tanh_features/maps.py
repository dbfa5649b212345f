"""The maps of a few pixels, level by level: filters by outer products of weights and pixels, recombinations by matrix products."""
import triton
import triton.language as tl


@triton.jit
def block_pixels(block, H, W, BLOCK: tl.constexpr):
    """Rows and columns of BLOCK pixels in the order of reading, and which of them exist."""
    place = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    rows, cols = (place // W).to(tl.int32), (place % W).to(tl.int32)
    return rows, cols, rows < H


@triton.jit
def tanh(x):
    """Below 5/8 the [9/8] Padé approximant, of relative error below 1e-18, so that small values keep their digits."""
    a, z = tl.abs(x), x * x
    e = tl.exp(-2 * a)
    small = a < 0.625
    above = x * (34459425 + z * (4729725 + z * (135135 + z * (990 + z))))
    below = 34459425 + z * (16216200 + z * (945945 + z * (13860 + z * 45)))
    return tl.where(small, above, tl.where(x < 0, e - 1, 1 - e)) / tl.where(small, below, 1 + e)


@triton.jit
def _filtered(sums, image, strides, b, count, first, filters, channels, n, N, rows, cols, lanes, H, W, K: tl.constexpr, ACC: tl.constexpr):
    """sums [NP, BLOCK] + the correlation of the filters' channels from `first` on with those of the image, borders replicated."""
    s_b, s_c, s_h, s_w = strides
    image += b * s_b
    for c in range(count):
        plane = image + c * tl.cast(s_c, tl.int64)
        taps = filters + (n * channels + (first + c)) * (K * K)
        for i in range(K):
            row = tl.minimum(tl.maximum(rows + (i - K // 2), 0), H - 1).to(tl.int64) * s_h
            for j in range(K):
                col = tl.minimum(tl.maximum(cols + (j - K // 2), 0), W - 1).to(tl.int64) * s_w
                pixel = tl.load(plane + (row + col), mask=lanes, other=0.0).to(ACC)
                weight = tl.load(taps + (i * K + j), mask=n < N, other=0.0)
                sums += weight[:, None] * pixel[None, :]
    return sums


@triton.jit
def matrix(values, m, n, ROWS, COLUMNS, TRANSPOSED: tl.constexpr):
    """[len(m), len(n)] of a matrix ROWS x COLUMNS or of its transpose, zero beyond its sides."""
    if TRANSPOSED:
        place, there = n[None, :] * COLUMNS + m[:, None], (m < COLUMNS)[:, None] & (n < ROWS)[None, :]
    else:
        place, there = m[:, None] * COLUMNS + n[None, :], (m < ROWS)[:, None] & (n < COLUMNS)[None, :]
    return tl.load(values + place, mask=there, other=0.0)


@triton.jit
def _level(h, biases, i, n, N):
    """tanh of h and its bias; the rows beyond N stay 0, also where pixels are infinite."""
    if biases is not None:
        h += tl.load(biases + (i * N + n), mask=n < N, other=0.0)[:, None]
    return tl.where((n < N)[:, None], tanh(h), 0.0)


@triton.jit
def first_level(x, x_strides, latent, latent_strides, more, filters, biases, b, rows, cols, lanes, n, N, C, H, W, K: tl.constexpr,
                NP: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr):
    """h_0 [NP, BLOCK]."""
    h = tl.zeros([NP, BLOCK], ACC)
    h = _filtered(h, x, x_strides, b, C, 0, filters, C + more, n, N, rows, cols, lanes, H, W, K, ACC)
    if latent is not None:
        h = _filtered(h, latent, latent_strides, b, more, C, filters, C + more, n, N, rows, cols, lanes, H, W, K, ACC)
    return _level(h, biases, 0, n, N)


@triton.jit
def next_level(h, i, hidden, biases, n, N, ACC: tl.constexpr):
    """h_(i+1) [NP, BLOCK] of h_i."""
    mix = matrix(hidden + i * N * N, n, n, N, N, False)
    return _level(tl.dot(mix, h, input_precision="ieee", out_dtype=ACC), biases, i + 1, n, N)
