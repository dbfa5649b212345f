"""What the Fourier families share: windows before a transform, and what stands between transforms: products, quotients and estimates of
half spectra, and their gradients (float32 and float64).

The transforms are torch.fft's. A spectrum travels as interleaved real and imaginary parts. Every program owns BLOCK elements of one
spectrum, sums have a fixed order: no atomics.
"""
import torch
import triton
import triton.language as tl
from svconv._triton.launch import Launch, cdiv

from svconv._fourier import column_shares, plane_mean
from svconv._shapes import sum_to

BLOCK = 512


@triton.jit
def spectrum_elements(pid, size, BLOCK: tl.constexpr):
    """The spectrum that a program works on, its elements there, and which of them exist."""
    blocks = (size - 1) // BLOCK + 1    # tl.cdiv would overflow just below 2^31
    i = (pid % blocks).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    return (pid // blocks).to(tl.int64), i, i < size


@triton.jit
def load_complex(spectra, at, inside):
    """Real and imaginary parts of the elements `at`, 0 where there are none."""
    return tl.load(spectra + 2 * at, inside, 0.0), tl.load(spectra + 2 * at + 1, inside, 0.0)


@triton.jit
def store_complex(spectra, at, re, im, inside):
    tl.store(spectra + 2 * at, re, inside)
    tl.store(spectra + 2 * at + 1, im, inside)


@triton.jit
def product(a_re, a_im, b_re, b_im):
    """a b."""
    return a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re


@triton.jit
def conjugate_product(a_re, a_im, b_re, b_im):
    """conj(a) b."""
    return a_re * b_re + a_im * b_im, a_re * b_im - a_im * b_re


@triton.jit
def sample(image, batch):
    """The sample of an image among groups of `batch` images; None: there is one group."""
    if batch is not None:
        image = image % batch
    return image


@triton.jit
def transfer_element(plane, i, channels, size, batch_stride, channel_stride, batch, group_stride):
    """Element i of the transfer function of a plane; the strides count spectra and are 0 where one function serves all."""
    image = plane // channels
    function = sample(image, batch) * batch_stride + plane % channels * channel_stride
    if batch is not None:
        function += image // batch * group_stride
    return function * size + i


@triton.jit
def divisor(k_re, k_im, beta, power, i, inside):
    """|k|^2 + beta power, power = 1 where there is none; infinite where that vanishes, since a quotient by it is 0."""
    if power is not None:
        beta = beta * tl.load(power + i, inside, 1.0)
    norm = k_re * k_re + k_im * k_im + beta
    return tl.where(norm == 0, float("inf"), norm)



@triton.jit(do_not_specialize=["channels", "batch_stride", "channel_stride", "batch", "group_stride", "beta_stride"])
def _spectra_transfer_kernel(x, k, beta, beta_stride, power, out, channels, size, batch_stride, channel_stride, batch, group_stride,
                             CONJUGATE: tl.constexpr, BLOCK: tl.constexpr):
    """out = k x or conj(k) x, with beta divided by |k|^2 + beta power."""
    plane, i, inside = spectrum_elements(tl.program_id(0), size, BLOCK)
    k_at = transfer_element(plane, i, channels, size, batch_stride, channel_stride, batch, group_stride)
    k_re, k_im = load_complex(k, k_at, inside)
    x_re, x_im = load_complex(x, plane * size + i, inside)
    if CONJUGATE:
        re, im = conjugate_product(k_re, k_im, x_re, x_im)
    else:
        re, im = product(k_re, k_im, x_re, x_im)
    if beta is not None:
        norm = divisor(k_re, k_im, tl.load(beta + sample(plane // channels, batch) * beta_stride), power, i, inside)
        re = re / norm
        im = im / norm
    store_complex(out, plane * size + i, re, im, inside)


@triton.jit(do_not_specialize=["channels", "batch_stride", "channel_stride", "batch", "group_stride", "beta_stride"])
def _spectra_division_bwd_kernel(g, x, k, beta, beta_stride, power, out_x, out_k, slope, channels, size, batch_stride, channel_stride,
                                 batch, group_stride, BLOCK: tl.constexpr):
    """With q = conj(k) x / D, D = |k|^2 + beta power: the gradients in x and k per plane, and slope = Re(conj(g) q) / D; None is left
    out."""
    plane, i, inside = spectrum_elements(tl.program_id(0), size, BLOCK)
    at = plane * size + i
    k_at = transfer_element(plane, i, channels, size, batch_stride, channel_stride, batch, group_stride)
    k_re, k_im = load_complex(k, k_at, inside)
    norm = divisor(k_re, k_im, tl.load(beta + sample(plane // channels, batch) * beta_stride), power, i, inside)
    g_re, g_im = load_complex(g, at, inside)
    g_re = g_re / norm
    g_im = g_im / norm
    if out_x is not None:
        re, im = product(k_re, k_im, g_re, g_im)
        store_complex(out_x, at, re, im, inside)
    if x is not None:
        x_re, x_im = load_complex(x, at, inside)
        q_re, q_im = conjugate_product(k_re, k_im, x_re, x_im)
        s = g_re * (q_re / norm) + g_im * (q_im / norm)
        if slope is not None:
            tl.store(slope + at, s, inside)
        if out_k is not None:
            re, im = conjugate_product(g_re, g_im, x_re, x_im)
            store_complex(out_k, at, re - 2 * s * k_re, im - 2 * s * k_im, inside)


@triton.jit
def _estimate_sums(x, y, group, i, inside, features, size, BLOCK: tl.constexpr):
    """sum_n conj(x[group,n]) y[group,n], in two parts, and sum_n |x[group,n]|^2 at the elements i."""
    norm = tl.zeros((BLOCK,), dtype=x.dtype.element_ty)
    re = tl.zeros((BLOCK,), dtype=x.dtype.element_ty)
    im = tl.zeros((BLOCK,), dtype=x.dtype.element_ty)
    for n in range(features):
        at = (group * features + n) * size + i
        x_re, x_im = load_complex(x, at, inside)
        y_re, y_im = load_complex(y, at, inside)
        norm += x_re * x_re + x_im * x_im
        new_re, new_im = conjugate_product(x_re, x_im, y_re, y_im)
        re += new_re
        im += new_im
    return re, im, norm


@triton.jit(do_not_specialize=["features", "batch", "beta_stride"])
def _spectra_estimate_kernel(x, y, beta, out, features, size, batch, beta_stride, BLOCK: tl.constexpr):
    """out = sum_n conj(x[n]) y[n], with beta divided by sum_n |x[n]|^2 + beta."""
    group, i, inside = spectrum_elements(tl.program_id(0), size, BLOCK)
    re, im, norm = _estimate_sums(x, y, group, i, inside, features, size, BLOCK)
    if beta is not None:
        norm += tl.load(beta + sample(group, batch) * beta_stride)
        re = re / norm
        im = im / norm
    store_complex(out, group * size + i, re, im, inside)


@triton.jit(do_not_specialize=["features", "batch", "beta_stride"])
def _spectra_estimate_bwd_kernel(x, y, g, beta, out_x, out_y, slope, features, size, batch, beta_stride, BLOCK: tl.constexpr):
    """With k = N / D the quotient of the estimate: its gradients in x and y, and slope = Re(conj(g) k) / D; None is left out."""
    group, i, inside = spectrum_elements(tl.program_id(0), size, BLOCK)
    re, im, norm = _estimate_sums(x, y, group, i, inside, features, size, BLOCK)
    norm += tl.load(beta + sample(group, batch) * beta_stride)
    g_re, g_im = load_complex(g, group * size + i, inside)
    g_re = g_re / norm
    g_im = g_im / norm
    s = (g_re * re + g_im * im) / norm
    if slope is not None:
        tl.store(slope + group * size + i, s, inside)
    for n in range(features):
        at = (group * features + n) * size + i
        x_re, x_im = load_complex(x, at, inside)
        if out_x is not None:
            y_re, y_im = load_complex(y, at, inside)
            re, im = conjugate_product(g_re, g_im, y_re, y_im)
            store_complex(out_x, at, re - 2 * s * x_re, im - 2 * s * x_im, inside)
        if out_y is not None:
            re, im = product(x_re, x_im, g_re, g_im)
            store_complex(out_y, at, re, im, inside)


@triton.jit
def _spectra_window_kernel(x, rows, columns, out, total, height, width, BLOCK: tl.constexpr):
    """out = x * rows[:, None] * columns for planes of height x width."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < total
    weight = tl.load(rows + i // width % height, inside) * tl.load(columns + i % width, inside)
    tl.store(out + i, tl.load(x + i, inside) * weight, inside)


# host ---------------------------------------------------------------------------------------------------------------

def parts(spectrum):
    """The interleaved real and imaginary parts that the kernels take; None for None."""
    return None if spectrum is None else torch.view_as_real(spectrum.contiguous())


def empty_like(spectrum):
    """An uninitialised spectrum and its interleaved parts."""
    memory = torch.empty((*spectrum.shape, 2), dtype=spectrum.dtype.to_real(), device=spectrum.device)
    return torch.view_as_complex(memory), memory


def _empty_if(wanted, spectrum):
    return empty_like(spectrum) if wanted else (None, None)


def _slope_if(wanted, spectrum):
    return torch.empty(spectrum.shape, dtype=spectrum.dtype.to_real(), device=spectrum.device) if wanted else None


def elements(spectrum):
    return spectrum.shape[-2] * spectrum.shape[-1]


def spectra_launch(kernel, spectrum, arguments):
    """A kernel whose programs take their work from `spectrum_elements`: all elements of spectra like this one."""
    size = elements(spectrum)
    spectra = spectrum.numel() // size
    return Launch(kernel, spectra * cdiv(size, BLOCK), {**arguments, "size": size, "BLOCK": BLOCK}, num_warps=4)


def shared_stride(t, axis):
    """0 where one entry serves all."""
    return 0 if t.shape[axis] == 1 else 1


def transfer_arguments(k, x):
    """Transfer functions k [(groups,) B|1, C|1, H, W//2+1] of spectra x [(groups,) B, C, H, W//2+1] as kernel arguments."""
    functions = k.shape[-4] * k.shape[-3]
    return {"k": parts(k), "channels": x.shape[-3], "batch_stride": shared_stride(k, -4) * k.shape[-3],
            "channel_stride": shared_stride(k, -3), **_groups(x.shape[:-3]), "group_stride": functions if x.dim() == 5 else None}


def _groups(shape):
    """[(groups,) B] as the kernels' `batch`."""
    return {"batch": shape[1] if len(shape) == 2 else None}


def divisor_arguments(beta, power=None):
    """beta [B|1] and power [H, W//2+1] as kernel arguments."""
    return {**beta_arguments(beta), "power": None if power is None else power.contiguous()}


def beta_arguments(beta):
    return {"beta": None, "beta_stride": None} if beta is None else {"beta": beta.contiguous(), "beta_stride": shared_stride(beta, 0)}


def transferred(x, k, conjugate=False, beta=None, power=None):
    """k x or conj(k) x, with beta [B|1] divided by |k|^2 + beta power: x [(groups,) B, C, H, W//2+1], k [(groups,) B|1, C|1, H, W//2+1]."""
    out, memory = empty_like(x)
    spectra_launch(_spectra_transfer_kernel, x, {
        "x": parts(x), **transfer_arguments(k, x), **divisor_arguments(beta, power), "out": memory, "CONJUGATE": conjugate})(x.device)
    return out


def division_gradients(g, x, k, beta, power, need_x, need_k, need_slope):
    """Of q = conj(k) x / D, D = |k|^2 + beta power, as in `transferred`, for the upstream gradient g: (in x, in k for each plane, slope
    Re(conj(g) q) / D for each plane); None for what is not needed, x may be None where only the first is."""
    (d_x, memory_x), (d_k, memory_k), slope = _empty_if(need_x, g), _empty_if(need_k, g), _slope_if(need_slope, g)
    spectra_launch(_spectra_division_bwd_kernel, g, {
        "g": parts(g), "x": parts(x), **transfer_arguments(k, g), **divisor_arguments(beta, power), "out_x": memory_x, "out_k": memory_k,
        "slope": slope})(g.device)
    return d_x, d_k, slope


def divisor_gradients(slope, beta, power, plane, need_beta, need_power):
    """The gradients in beta and power of a quotient over |k|^2 + beta power, from its slope [B, H, W//2+1] (`division_gradients`)."""
    g_beta = -sum_to(plane_mean(slope if power is None else slope * power, plane), beta.shape) if need_beta else beta.new_empty(0)
    g_power = -((slope * beta[:, None, None]).sum(0) * column_shares(plane, slope)) if need_power else beta.new_empty(0)
    return g_beta, g_power


def estimated(x, y, beta=None):
    """sum_n conj(x_n) y_n, with beta [B|1] over sum_n |x_n|^2 + beta: x, y [(groups,) B, n, H, W//2+1] -> [(groups,) B, H, W//2+1]."""
    out, memory = empty_like(x.select(-3, 0))
    spectra_launch(_spectra_estimate_kernel, out, {**_pair_arguments(x, y, beta), "out": memory})(x.device)
    return out


def estimate_gradients(g, x, y, beta, need_x, need_y, need_slope):
    """Of the quotient k of `estimated` over the divisor D for the upstream gradient g: (in x, in y, slope Re(conj(g) k) / D); None for what
    is not needed."""
    (d_x, memory_x), (d_y, memory_y), slope = _empty_if(need_x, x), _empty_if(need_y, x), _slope_if(need_slope, g)
    spectra_launch(_spectra_estimate_bwd_kernel, g, {
        **_pair_arguments(x, y, beta), "g": parts(g), "out_x": memory_x, "out_y": memory_y, "slope": slope})(x.device)
    return d_x, d_y, slope


def _pair_arguments(x, y, beta):
    return {"x": parts(x), "y": parts(y), "features": x.shape[-3], **_groups(x.shape[:-3]), **beta_arguments(beta)}


def windowed(x, rows, columns):
    """x * rows[:, None] * columns."""
    x = x.contiguous()
    out = torch.empty_like(x)
    Launch(_spectra_window_kernel, cdiv(x.numel(), BLOCK), {
        "x": x, "rows": rows, "columns": columns, "out": out, "total": x.numel(), "height": x.shape[-2], "width": x.shape[-1],
        "BLOCK": BLOCK}, num_warps=4)(x.device)
    return out
