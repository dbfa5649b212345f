"""The quotient family: what stands between the transforms are the kernels of `spectra.py` (float32 and float64).

The transforms are torch.fft's; a kernel's spectrum and the kernel's values of an inverse transform are thin matrix products
(`svconv._fourier`), so that the inverse is pruned to kh x kw outputs.
"""
import torch
from svconv._triton.spectra import division_gradients, divisor_gradients, estimate_gradients, estimated, transferred, windowed

from svconv._fourier import barthann_taper, kernel_spectrum, kernel_values, plane_mean, psf_center
from svconv._plane import convolution_plane, division_plane
from svconv._shapes import sum_to


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


def kernel_quotient_fwd(x, y, beta, kh, kw, taper, cy, cx):
    plane = tuple(x.shape[-2:])
    x, y = (torch.fft.rfft2(_tapered(t, kh, kw, taper)) for t in (x, y))
    return kernel_values(estimated(x, y, beta), plane, (kh, kw), (cy, cx)).contiguous()


def kernel_quotient_bwd(g, x, y, beta, taper, cy, cx, need_x, need_y, need_beta):
    plane, (kh, kw) = tuple(x.shape[-2:]), g.shape[-2:]
    x, y = (torch.fft.rfft2(_tapered(t, kh, kw, taper)) for t in (x, y))
    d_x, d_y, slope = estimate_gradients(kernel_spectrum(g, plane, (cy, cx)), x, y, beta, need_x, need_y, need_beta)

    def back(spectrum):
        return beta.new_empty(0) if spectrum is None else _tapered(torch.fft.irfft2(spectrum, s=plane), kh, kw, taper)

    return back(d_x), back(d_y), -sum_to(plane_mean(slope, plane), beta.shape) if need_beta else beta.new_empty(0)


def image_quotient_fwd(y, kernel, beta, power, padding, cy, cx):
    plane = division_plane(y.shape[-2:], kernel.shape[-2:], padding)
    transfer = kernel_spectrum(kernel, plane.size, (cy, cx))
    spectrum = transferred(torch.fft.rfft2(plane.enter(y)), transfer, conjugate=True, beta=beta, power=power)
    return plane.leave(torch.fft.irfft2(spectrum, s=plane.size)).contiguous()


def image_quotient_bwd(g, y, kernel, beta, power, padding, cy, cx, need_y, need_kernel, need_beta, need_power):
    plane = division_plane(y.shape[-2:], kernel.shape[-2:], padding)
    k, g = kernel_spectrum(kernel, plane.size, (cy, cx)), torch.fft.rfft2(plane.leave_adjoint(g))
    need_slope = need_beta or need_power
    y = torch.fft.rfft2(plane.enter(y)) if need_kernel or need_slope else None
    d_y, d_k, slope = division_gradients(g, y, k, beta, power, need_y, need_kernel, need_slope)
    g_y, g_kernel, g_beta, g_power = (beta.new_empty(0) for _ in range(4))
    if need_y:
        g_y = plane.enter_adjoint(torch.fft.irfft2(d_y, s=plane.size)).contiguous()
    if need_kernel:
        g_kernel = kernel_values(sum_to(d_k, kernel.shape), plane.size, kernel.shape[-2:], (cy, cx)).contiguous()
    if need_slope:
        g_beta, g_power = divisor_gradients(slope.sum(1), beta, power, plane.size, need_beta, need_power)
    return g_y, g_kernel, g_beta, g_power
