"""Triton kernels of the quotient family: what stands between the transforms, on interleaved half spectra (float32 and float64).

The transforms are torch.fft's; a kernel's spectrum and the kernel's values of an inverse transform are thin matrix products
(`svconv._fourier`), so that the inverse is pruned to kh x kw outputs. Sums over features have a fixed order, there are no atomics.
"""
import torch
import triton
import triton.language as tl
from svconv._triton.spectra import (
    conjugate_product,
    divisor,
    divisor_arguments,
    elements,
    empty_like,
    load_complex,
    parts,
    product,
    shared_stride,
    spectra_launch,
    spectrum_elements,
    store_complex,
    transfer_arguments,
    transfer_element,
    transferred,
    windowed,
)

from svconv._fourier import barthann_taper, kernel_spectrum, kernel_values, psf_center
from svconv._plane import convolution_plane, division_plane
from svconv.reference import quotient as reference
from svconv.reference.quotient import plane_mean, sum_beta, sum_to


@triton.jit
def _estimate_sums(x, y, beta, b, i, inside, features, size, beta_stride, BLOCK: tl.constexpr):
    """sum_n conj(x[b,n]) y[b,n], in two parts, and sum_n |x[b,n]|^2 + beta[b] at the elements i."""
    norm = tl.zeros((BLOCK,), dtype=x.dtype.element_ty) + tl.load(beta + b * beta_stride)
    re = tl.zeros((BLOCK,), dtype=x.dtype.element_ty)
    im = tl.zeros((BLOCK,), dtype=x.dtype.element_ty)
    for n in range(features):
        at = (b * features + n) * size + i
        x_re, x_im = load_complex(x, at, inside)
        y_re, y_im = load_complex(y, at, inside)
        norm += x_re * x_re + x_im * x_im
        new_re, new_im = conjugate_product(x_re, x_im, y_re, y_im)
        re += new_re
        im += new_im
    return re, im, norm


@triton.jit(do_not_specialize=["features", "beta_stride"])
def _quotient_estimate_kernel(x, y, beta, out, features, size, beta_stride, BLOCK: tl.constexpr):
    """out[b] = sum_n conj(x[b,n]) y[b,n] / (sum_n |x[b,n]|^2 + beta[b])."""
    b, i, inside = spectrum_elements(tl.program_id(0), size, BLOCK)
    re, im, norm = _estimate_sums(x, y, beta, b, i, inside, features, size, beta_stride, BLOCK)
    store_complex(out, b * size + i, re / norm, im / norm, inside)


@triton.jit(do_not_specialize=["features", "beta_stride"])
def _quotient_kernel_bwd_kernel(x, y, g, beta, out_x, out_y, slope, features, size, beta_stride, BLOCK: tl.constexpr):
    """Spectra of the gradients of the kernel quotient, and slope[b] = Re(conj(G) K) / D; None is left out."""
    b, i, inside = spectrum_elements(tl.program_id(0), size, BLOCK)
    re, im, norm = _estimate_sums(x, y, beta, b, i, inside, features, size, beta_stride, BLOCK)
    g_re, g_im = load_complex(g, b * size + i, inside)
    g_re = g_re / norm
    g_im = g_im / norm
    s = (g_re * re + g_im * im) / norm
    if slope is not None:
        tl.store(slope + b * size + i, s, inside)
    for n in range(features):
        at = (b * features + n) * size + i
        x_re, x_im = load_complex(x, at, inside)
        if out_x is not None:
            y_re, y_im = load_complex(y, at, inside)
            re, im = conjugate_product(g_re, g_im, y_re, y_im)
            store_complex(out_x, at, re - 2 * s * x_re, im - 2 * s * x_im, inside)
        if out_y is not None:
            re, im = product(x_re, x_im, g_re, g_im)
            store_complex(out_y, at, re, im, inside)


@triton.jit(do_not_specialize=["channels", "batch_stride", "channel_stride", "beta_stride"])
def _quotient_image_bwd_kernel(g, y, k, beta, beta_stride, power, out_y, out_k, slope, channels, size, batch_stride, channel_stride,
                               BLOCK: tl.constexpr):
    """Spectra of the gradients of the image quotient per image and channel, and slope = Re(conj(G) X) / D; None is left out."""
    plane, i, inside = spectrum_elements(tl.program_id(0), size, BLOCK)
    at = plane * size + i
    k_re, k_im = load_complex(k, transfer_element(plane, i, channels, size, batch_stride, channel_stride), inside)
    norm = divisor(k_re, k_im, tl.load(beta + plane // channels * beta_stride), power, i, inside)
    g_re, g_im = load_complex(g, at, inside)
    g_re = g_re / norm
    g_im = g_im / norm
    if out_y is not None:
        re, im = product(k_re, k_im, g_re, g_im)
        store_complex(out_y, at, re, im, inside)
    if y is not None:
        y_re, y_im = load_complex(y, at, inside)
        x_re, x_im = conjugate_product(k_re, k_im, y_re, y_im)
        s = g_re * (x_re / norm) + g_im * (x_im / norm)
        if slope is not None:
            tl.store(slope + at, s, inside)
        if out_k is not None:
            re, im = conjugate_product(g_re, g_im, y_re, y_im)
            store_complex(out_k, at, re - 2 * s * k_re, im - 2 * s * k_im, inside)


# the ops ------------------------------------------------------------------------------------------------------------

def conv_fwd(x, kernel, padding):
    plane = convolution_plane(x.shape[-2:], kernel.shape[-2:], padding)
    transfer = kernel_spectrum(kernel, plane.size, psf_center(kernel.shape[-2:]))
    return plane.leave(torch.fft.irfft2(transferred(torch.fft.rfft2(plane.enter(x)), transfer), s=plane.size)).contiguous()


def conv_adjoint(y, kernel, padding):
    plane = convolution_plane(y.shape[-2:], kernel.shape[-2:], padding)
    transfer = kernel_spectrum(kernel, plane.size, psf_center(kernel.shape[-2:]))
    spectrum = transferred(torch.fft.rfft2(plane.leave_adjoint(y)), transfer, conjugate=True)
    return plane.enter_adjoint(torch.fft.irfft2(spectrum, s=plane.size)).contiguous()


def conv_bwd_kernel(x, g, shape, dtype, padding):
    plane = convolution_plane(x.shape[-2:], shape[-2:], padding)
    spectrum = transferred(torch.fft.rfft2(plane.leave_adjoint(g)), torch.fft.rfft2(plane.enter(x)), conjugate=True)
    return kernel_values(sum_to(spectrum, shape), plane.size, shape[-2:], psf_center(shape[-2:])).contiguous()


def _tapered(x, kh, kw, taper):
    if not taper:
        return x.contiguous()
    h, w = x.shape[-2:]
    return windowed(x, barthann_taper(h, kh, x.dtype, x.device), barthann_taper(w, kw, x.dtype, x.device))


def _pair_arguments(x, y, beta):
    return {"x": parts(x), "y": parts(y), "features": x.shape[1], "beta": beta.contiguous(), "beta_stride": shared_stride(beta, 0)}


def kernel_quotient_fwd(x, y, beta, kh, kw, taper, cy, cx):
    plane = tuple(x.shape[-2:])
    x, y = (torch.fft.rfft2(_tapered(t, kh, kw, taper)) for t in (x, y))
    quotient, memory = empty_like(x[:, 0])
    spectra_launch(_quotient_estimate_kernel, x.shape[0], elements(x), {**_pair_arguments(x, y, beta), "out": memory})(x.device)
    return kernel_values(quotient, plane, (kh, kw), (cy, cx)).contiguous()


def kernel_quotient_bwd(g, x, y, beta, taper, cy, cx, need_x, need_y, need_beta):
    plane, (kh, kw) = tuple(x.shape[-2:]), g.shape[-2:]
    x, y = (torch.fft.rfft2(_tapered(t, kh, kw, taper)) for t in (x, y))
    d_x, memory_x = empty_like(x) if need_x else (None, None)
    d_y, memory_y = empty_like(y) if need_y else (None, None)
    slope = beta.new_empty((x.shape[0], *x.shape[-2:])) if need_beta else None
    spectra_launch(_quotient_kernel_bwd_kernel, x.shape[0], elements(x), {
        **_pair_arguments(x, y, beta), "g": parts(kernel_spectrum(g, plane, (cy, cx))), "out_x": memory_x, "out_y": memory_y,
        "slope": slope})(x.device)

    def back(spectrum):
        return beta.new_empty(0) if spectrum is None else _tapered(torch.fft.irfft2(spectrum, s=plane), kh, kw, taper)

    return back(d_x), back(d_y), -sum_beta(plane_mean(slope, plane), beta) if need_beta else beta.new_empty(0)


def image_quotient_fwd(y, kernel, beta, power, padding, cy, cx):
    plane = division_plane(y.shape[-2:], kernel.shape[-2:], padding)
    transfer = kernel_spectrum(kernel, plane.size, (cy, cx))
    spectrum = transferred(torch.fft.rfft2(plane.enter(y)), transfer, conjugate=True, beta=beta, power=power)
    return plane.leave(torch.fft.irfft2(spectrum, s=plane.size)).contiguous()


def image_quotient_bwd(g, y, kernel, beta, power, padding, cy, cx, need_y, need_kernel, need_beta, need_power):
    if need_power:
        return reference.image_quotient_bwd(g, y, kernel, beta, power, padding, cy, cx, need_y, need_kernel, need_beta, need_power)
    plane = division_plane(y.shape[-2:], kernel.shape[-2:], padding)
    k, g = kernel_spectrum(kernel, plane.size, (cy, cx)), torch.fft.rfft2(plane.leave_adjoint(g))
    y = torch.fft.rfft2(plane.enter(y)) if need_kernel or need_beta else None
    d_y, memory_y = empty_like(g) if need_y else (None, None)
    d_k, memory_k = empty_like(g) if need_kernel else (None, None)
    slope = kernel.new_empty(g.shape) if need_beta else None
    spectra_launch(_quotient_image_bwd_kernel, g.shape[0] * g.shape[1], elements(g), {
        "g": parts(g), "y": None if y is None else parts(y), **transfer_arguments(k, g.shape[1]), **divisor_arguments(beta, power),
        "out_y": memory_y, "out_k": memory_k, "slope": slope})(g.device)
    g_y, g_kernel, g_beta, g_power = (beta.new_empty(0) for _ in range(4))
    if need_y:
        g_y = plane.enter_adjoint(torch.fft.irfft2(d_y, s=plane.size)).contiguous()
    if need_kernel:
        g_kernel = kernel_values(sum_to(d_k, kernel.shape), plane.size, kernel.shape[-2:], (cy, cx)).contiguous()
    if need_beta:
        g_beta = -sum_beta(plane_mean((slope if power is None else slope * power).sum(1), plane.size), beta)
    return g_y, g_kernel, g_beta, g_power
