"""The forward pass: a program owns some pixels, whose maps never leave it."""
import triton
import triton.language as tl
from svconv._triton.launch import Launch, cdiv
from svconv._triton.tanh_features.maps import block_pixels, first_level, next_level
from svconv._triton.tiles import accumulator, kernel_accumulator


@triton.jit(do_not_specialize=["N", "C", "more", "H", "W", "outputs"])
def _tanh_features_fwd_kernel(
        x, x_strides, latent, latent_strides, more, filters, hidden, biases, last, out, N, C, H, W, outputs, DEPTH: tl.constexpr,
        K: tl.constexpr, NP: tl.constexpr, BLOCK: tl.constexpr, ACC: tl.constexpr):
    """out[b, o, p] = sum_n last[o, n] h_L[n, p]."""
    blocks = tl.cdiv(tl.cast(H, tl.int64) * W, BLOCK)
    pid = tl.program_id(0)
    b = pid // blocks
    rows, cols, lanes = block_pixels(pid % blocks, H, W, BLOCK)
    n = tl.arange(0, NP)
    h = first_level(x, x_strides, latent, latent_strides, more, filters, biases, b, rows, cols, lanes, n, N, C, H, W, K, NP, BLOCK, ACC)
    for i in tl.static_range(DEPTH):
        h = next_level(h, i, hidden, biases, n, N, ACC)
    for o in range(outputs):
        weight = tl.load(last + (o * N + n), mask=n < N, other=0.0)
        tl.store(out + (((b * outputs + o) * H + rows) * W + cols), tl.sum(weight[:, None] * h, 0), mask=lanes)


# host -----------------------------------------------------------------------------------------------------------------

def padded(number):
    """Rounded up for matrix products."""
    return max(16, 1 << (number - 1).bit_length())


def sizes(number, dtype, values):
    """Maps, rounded up, and how many pixels have `values` of them in a program."""
    return {"NP": padded(number), "BLOCK": max(16, values // (padded(number) * accumulator(dtype).itemsize // 4))}


def inputs(x, latent, filters, hidden, biases, last):
    """The arguments of all kernels; weights are few and come in the type of the sums."""
    def weights(t):
        return None if t is None else t.to(accumulator(x.dtype)).contiguous()

    return {"x": x, "x_strides": x.stride(), "latent": latent, "latent_strides": None if latent is None else latent.stride(),
            "more": 0 if latent is None else latent.shape[1], "filters": weights(filters), "hidden": weights(hidden),
            "biases": weights(biases), "last": weights(last), "N": filters.shape[0], "C": x.shape[1], "H": x.shape[2], "W": x.shape[3],
            "outputs": last.shape[0], "DEPTH": hidden.shape[0], "K": filters.shape[-1], "ACC": kernel_accumulator(x.dtype)}


def fwd_launch(out, x, latent, filters, hidden, biases, last):
    given = inputs(x, latent, filters, hidden, biases, last) | sizes(filters.shape[0], x.dtype, 2048 if hidden.shape[0] < 2 else 1024)
    return Launch(_tanh_features_fwd_kernel, x.shape[0] * cdiv(x.shape[2] * x.shape[3], given["BLOCK"]), {**given, "out": out})


def tanh_features_fwd(x, latent, filters, hidden, biases, last):
    out = x.new_empty((x.shape[0], last.shape[0], *x.shape[2:]))
    fwd_launch(out, x, latent, filters, hidden, biases, last)(x.device)
    return out
