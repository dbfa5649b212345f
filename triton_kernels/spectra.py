"""What the Fourier families share: windows before a transform, and products and quotients of half spectra after it (float32 and float64).

The transforms are torch.fft's. A spectrum travels as interleaved real and imaginary parts. Every program owns BLOCK elements of one
spectrum: no atomics.
"""
import torch
import triton
import triton.language as tl
from svconv._triton.launch import Launch, cdiv

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
def transfer_element(plane, i, channels, size, batch_stride, channel_stride):
    """Element i of the transfer function of a plane; the strides count spectra and are 0 where one function serves all."""
    return (plane // channels * batch_stride + plane % channels * channel_stride) * size + i


@triton.jit
def divisor(k_re, k_im, beta, power, i, inside):
    """|k|^2 + beta power, power = 1 where there is none; infinite where that vanishes, since a quotient by it is 0."""
    if power is not None:
        beta = beta * tl.load(power + i, inside, 1.0)
    norm = k_re * k_re + k_im * k_im + beta
    return tl.where(norm == 0, float("inf"), norm)


@triton.jit(do_not_specialize=["channels", "batch_stride", "channel_stride", "beta_stride"])
def _spectra_transfer_kernel(x, k, beta, beta_stride, power, out, channels, size, batch_stride, channel_stride, CONJUGATE: tl.constexpr,
                             BLOCK: tl.constexpr):
    """out = k x or conj(k) x, with beta divided by |k|^2 + beta power."""
    plane, i, inside = spectrum_elements(tl.program_id(0), size, BLOCK)
    k_re, k_im = load_complex(k, transfer_element(plane, i, channels, size, batch_stride, channel_stride), inside)
    x_re, x_im = load_complex(x, plane * size + i, inside)
    if CONJUGATE:
        re, im = conjugate_product(k_re, k_im, x_re, x_im)
    else:
        re, im = product(k_re, k_im, x_re, x_im)
    if beta is not None:
        norm = divisor(k_re, k_im, tl.load(beta + plane // channels * beta_stride), power, i, inside)
        re = re / norm
        im = im / norm
    store_complex(out, plane * size + i, re, im, inside)


@triton.jit
def _spectra_window_kernel(x, rows, columns, out, total, height, width, BLOCK: tl.constexpr):
    """out = x * rows[:, None] * columns for planes of height x width."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < total
    weight = tl.load(rows + i // width % height, inside) * tl.load(columns + i % width, inside)
    tl.store(out + i, tl.load(x + i, inside) * weight, inside)


# host ---------------------------------------------------------------------------------------------------------------

def parts(spectrum):
    """The interleaved real and imaginary parts that the kernels take."""
    return torch.view_as_real(spectrum.contiguous())


def empty_like(spectrum):
    """An uninitialised spectrum and its interleaved parts."""
    memory = torch.empty((*spectrum.shape, 2), dtype=spectrum.dtype.to_real(), device=spectrum.device)
    return torch.view_as_complex(memory), memory


def elements(spectrum):
    return spectrum.shape[-2] * spectrum.shape[-1]


def spectra_launch(kernel, spectra, size, arguments):
    """A kernel whose programs take their work from `spectrum_elements`."""
    return Launch(kernel, spectra * cdiv(size, BLOCK), {**arguments, "size": size, "BLOCK": BLOCK}, num_warps=4)


def shared_stride(t, axis):
    """0 where one entry serves all."""
    return 0 if t.shape[axis] == 1 else 1


def transfer_arguments(k, channels):
    """Transfer functions k [B|1, C|1, H, W//2+1] as kernel arguments."""
    return {"k": parts(k), "channels": channels, "batch_stride": shared_stride(k, 0) * k.shape[1], "channel_stride": shared_stride(k, 1)}


def divisor_arguments(beta, power):
    """beta [B|1] and power [H, W//2+1] as kernel arguments."""
    return {"beta": beta.contiguous(), "beta_stride": shared_stride(beta, 0), "power": None if power is None else power.contiguous()}


def transferred(x, k, conjugate=False, beta=None, power=None):
    """k x or conj(k) x, with beta divided by |k|^2 + beta power: x [B, C, H, W//2+1], k [B|1, C|1, H, W//2+1]."""
    out, memory = empty_like(x)
    division = {"beta": None, "beta_stride": None, "power": None} if beta is None else divisor_arguments(beta, power)
    spectra_launch(_spectra_transfer_kernel, x.shape[0] * x.shape[1], elements(x), {
        "x": parts(x), **transfer_arguments(k, x.shape[1]), **division, "out": memory, "CONJUGATE": conjugate})(x.device)
    return out


def windowed(x, rows, columns):
    """x * rows[:, None] * columns."""
    x = x.contiguous()
    out = torch.empty_like(x)
    Launch(_spectra_window_kernel, cdiv(x.numel(), BLOCK), {
        "x": x, "rows": rows, "columns": columns, "out": out, "total": x.numel(), "height": x.shape[-2], "width": x.shape[-1],
        "BLOCK": BLOCK}, num_warps=4)(x.device)
    return out
