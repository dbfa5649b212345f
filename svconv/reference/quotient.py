"""Convolution and the closed-form quotients in plain torch: the specification of the quotient family.

Canonical shapes: images [B, C, H, W], kernels [B|1, C|1, kh, kw], feature pairs [B, n, H, W], beta [B|1]; float32 or float64. Everything
is written in differentiable operations, so that the second derivatives of the ops can be taken through the formulas of the first ones.
"""
import torch

from svconv._fourier import barthann_taper, column_shares, kernel_spectrum, kernel_values, plane_mean, psf_center
from svconv._plane import convolution_plane, division_plane
from svconv._shapes import sum_to


def conj(z):
    """The complex conjugate; torch's own has no batching rule when physical and no forward derivative under vmap when lazy."""
    return torch.complex(z.real, -z.imag)


# convolution --------------------------------------------------------------------------------------------------------

def conv_fwd(x, kernel, padding):
    plane = convolution_plane(x.shape[-2:], kernel.shape[-2:], padding)
    transfer = kernel_spectrum(kernel, plane.size, psf_center(kernel.shape[-2:]))
    return plane.leave(torch.fft.irfft2(torch.fft.rfft2(plane.enter(x)) * transfer, s=plane.size)).contiguous()


def conv_adjoint(y, kernel, padding):
    plane = convolution_plane(y.shape[-2:], kernel.shape[-2:], padding)
    transfer = kernel_spectrum(kernel, plane.size, psf_center(kernel.shape[-2:]))
    spectrum = torch.fft.rfft2(plane.leave_adjoint(y)) * conj(transfer)
    return plane.enter_adjoint(torch.fft.irfft2(spectrum, s=plane.size)).contiguous()


def conv_bwd_kernel(x, g, shape, dtype, padding):
    """dk[d] = sum_p g[p] x[p - (d - center)], summed over broadcast axes."""
    plane = convolution_plane(x.shape[-2:], shape[-2:], padding)
    x, g = torch.fft.rfft2(plane.enter(x)), torch.fft.rfft2(plane.leave_adjoint(g))
    return kernel_values(sum_to(conj(x) * g, shape), plane.size, shape[-2:], psf_center(shape[-2:])).contiguous()


# kernel quotient ----------------------------------------------------------------------------------------------------

def _tapered(t, kh, kw, taper):
    if not taper:
        return t
    h, w = t.shape[-2:]
    return t * (barthann_taper(h, kh, t.dtype, t.device)[:, None] * barthann_taper(w, kw, t.dtype, t.device))


def _power(z):
    return z.real.square() + z.imag.square()


def _real_product(a, b):
    """Re(conj(a) b)."""
    return a.real * b.real + a.imag * b.imag


def kernel_quotient_fwd(x, y, beta, kh, kw, taper, cy, cx):
    plane = x.shape[-2:]
    x, y = (torch.fft.rfft2(_tapered(t, kh, kw, taper)) for t in (x, y))
    quotient = (conj(x) * y).sum(1) / (_power(x).sum(1) + beta[:, None, None])
    return kernel_values(quotient, plane, (kh, kw), (cy, cx)).contiguous()


def kernel_quotient_bwd(g, x, y, beta, taper, cy, cx, need_x, need_y, need_beta):
    """Gradients in x, y and beta for the upstream gradient g [B, kh, kw]; what is not needed comes back empty.

    With K = N / D and G the transform of g at the kernel's positions: dY = X G / D, dX = (conj(G) Y - 2 Re(conj(G) K) X) / D, dbeta = -
    mean of Re(conj(G) K / D).
    """
    plane, (kh, kw) = x.shape[-2:], g.shape[-2:]
    x, y = (torch.fft.rfft2(_tapered(t, kh, kw, taper)) for t in (x, y))
    inverse = 1 / (_power(x).sum(1) + beta[:, None, None])
    quotient = (conj(x) * y).sum(1) * inverse
    g = kernel_spectrum(g, plane, (cy, cx)) * inverse
    slope = _real_product(g, quotient)

    def back(spectrum):
        return _tapered(torch.fft.irfft2(spectrum, s=plane), kh, kw, taper).contiguous()

    g_x = back(conj(g)[:, None] * y - 2 * slope[:, None] * x) if need_x else beta.new_empty(0)
    g_y = back(x * g[:, None]) if need_y else beta.new_empty(0)
    g_beta = -sum_to(plane_mean(slope, plane), beta.shape) if need_beta else beta.new_empty(0)
    return g_x, g_y, g_beta


# image quotient -----------------------------------------------------------------------------------------------------

def image_quotient_fwd(y, kernel, beta, power, padding, cy, cx):
    """power: sum |D|^2 on the half spectrum [rows, columns//2+1] of the plane; None for ones."""
    plane = division_plane(y.shape[-2:], kernel.shape[-2:], padding)
    return plane.leave(divide(plane.enter(y), kernel, beta, power, (cy, cx))).contiguous()


def divide(y, kernel, beta, power, center):
    """The latent image of a plane y [B, C, H, W], which wraps."""
    size = y.shape[-2:]
    transfer, inverse = _division(kernel, beta, power, size, *center)
    return torch.fft.irfft2(torch.fft.rfft2(y) * (conj(transfer) * inverse), s=size)


def _division(kernel, beta, power, plane, cy, cx):
    transfer = kernel_spectrum(kernel, plane, (cy, cx))
    weight = beta[:, None, None, None]
    return transfer, _inverse(_power(transfer) + (weight if power is None else weight * power))


def _inverse(divisor):
    """1 / divisor, and 0 with gradient 0 where the divisor vanishes: an all-zero kernel at frequency 0 of a prior of differences."""
    vanishes = divisor == 0
    return torch.where(vanishes, 0.0, 1 / torch.where(vanishes, 1.0, divisor))


def image_quotient_bwd(g, y, kernel, beta, power, padding, cy, cx, need_y, need_kernel, need_beta, need_power):
    """Gradients in y, kernel, beta and power; what is not needed comes back empty."""
    plane = division_plane(y.shape[-2:], kernel.shape[-2:], padding)
    needed = need_y, need_kernel, need_beta, need_power
    g_y, *others = divide_bwd(plane.leave_adjoint(g), plane.enter(y) if any(needed[1:]) else None, kernel, beta, power, (cy, cx), *needed)
    return plane.enter_adjoint(g_y).contiguous() if need_y else g_y, *others


def divide_bwd(g, y, kernel, beta, power, center, need_y, need_kernel, need_beta, need_power):
    """Gradients of `divide`; y may be None where only its own is needed.

    dY = K G / D, dK = (conj(G) Y - 2 Re(conj(G) X) K) / D, dbeta = - mean of P Re(conj(G) X) / D.
    """
    size = g.shape[-2:]
    transfer, inverse = _division(kernel, beta, power, size, *center)
    g_y, g_kernel, g_beta, g_power = (g.new_empty(0) for _ in range(4))
    g = torch.fft.rfft2(g) * inverse
    if need_y:
        g_y = torch.fft.irfft2(transfer * g, s=size)
    if not (need_kernel or need_beta or need_power):
        return g_y, g_kernel, g_beta, g_power
    y = torch.fft.rfft2(y)
    slope = _real_product(g, conj(transfer) * y * inverse)
    if need_kernel:
        spectrum = sum_to(conj(g) * y - 2 * slope * transfer, kernel.shape)
        g_kernel = kernel_values(spectrum, size, kernel.shape[-2:], center).contiguous()
    if need_beta:
        g_beta = -sum_to(plane_mean((slope if power is None else slope * power).sum(1), size), beta.shape)
    if need_power:
        g_power = -((slope * beta[:, None, None, None]).sum((0, 1)) * column_shares(size, slope)).contiguous()
    return g_y, g_kernel, g_beta, g_power
