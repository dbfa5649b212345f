"""Triton kernels of the quotient family: what stands between the transforms, on interleaved half spectra (float32 and float64).

The transforms are torch.fft's; a kernel's spectrum and the kernel's values of an inverse transform are thin matrix products
(`svconv._fourier`), so
that the inverse is pruned to kh x kw outputs. Every program owns its elements: no atomics, sums over features in a fixed order.
"""
import torch
import triton
import triton.language as tl
from svconv._triton.launch import Launch

from svconv._fourier import barthann_taper, kernel_spectrum, kernel_values, psf_center
from svconv._plane import convolution_plane, division_plane
from svconv.reference import quotient as reference
from svconv.reference.quotient import plane_mean, sum_beta, sum_to

BLOCK = 512


@triton.jit
def _quotient_taper_kernel(x, rows, columns, out, total, height, width, BLOCK: tl.constexpr):
    """out = x * rows[:, None] * columns for planes of height x width."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < total
    weight = tl.load(rows + i // width % height, inside) * tl.load(columns + i % width, inside)
    tl.store(out + i, tl.load(x + i, inside) * weight, inside)


@triton.jit
def _quotient_estimate_kernel(x, y, beta, out, features, size, beta_stride, BLOCK: tl.constexpr):
    """out[b] = sum_i conj(x[b,i]) y[b,i] / (sum_i |x[b,i]|^2 + beta[b])."""
    blocks = tl.cdiv(size, BLOCK)
    b = (tl.program_id(0) // blocks).to(tl.int64)
    i = (tl.program_id(0) % blocks).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < size
    weight = tl.load(beta + b * beta_stride)
    norm = tl.zeros((BLOCK,), dtype=out.dtype.element_ty) + weight
    re = tl.zeros((BLOCK,), dtype=out.dtype.element_ty)
    im = tl.zeros((BLOCK,), dtype=out.dtype.element_ty)
    for n in range(features):
        at = 2 * ((b * features + n) * size + i)
        xr, xi = tl.load(x + at, inside, 0.0), tl.load(x + at + 1, inside, 0.0)
        yr, yi = tl.load(y + at, inside, 0.0), tl.load(y + at + 1, inside, 0.0)
        norm += xr * xr + xi * xi
        re += xr * yr + xi * yi
        im += xr * yi - xi * yr
    tl.store(out + 2 * (b * size + i), re / norm, inside)
    tl.store(out + 2 * (b * size + i) + 1, im / norm, inside)


@triton.jit
def _quotient_kernel_bwd_kernel(x, y, g, beta, out_x, out_y, slope, features, size, beta_stride, BLOCK: tl.constexpr):
    """Spectra of the gradients of the kernel quotient; slope[b] = Re(conj(G) K) / D."""
    blocks = tl.cdiv(size, BLOCK)
    b = (tl.program_id(0) // blocks).to(tl.int64)
    i = (tl.program_id(0) % blocks).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < size
    weight = tl.load(beta + b * beta_stride)
    norm = tl.zeros((BLOCK,), dtype=slope.dtype.element_ty) + weight
    re = tl.zeros((BLOCK,), dtype=slope.dtype.element_ty)
    im = tl.zeros((BLOCK,), dtype=slope.dtype.element_ty)
    for n in range(features):
        at = 2 * ((b * features + n) * size + i)
        xr, xi = tl.load(x + at, inside, 0.0), tl.load(x + at + 1, inside, 0.0)
        yr, yi = tl.load(y + at, inside, 0.0), tl.load(y + at + 1, inside, 0.0)
        norm += xr * xr + xi * xi
        re += xr * yr + xi * yi
        im += xr * yi - xi * yr
    gr, gi = tl.load(g + 2 * (b * size + i), inside, 0.0) / norm, tl.load(g + 2 * (b * size + i) + 1, inside, 0.0) / norm
    s = (gr * re + gi * im) / norm
    tl.store(slope + b * size + i, s, inside)
    for n in range(features):
        at = 2 * ((b * features + n) * size + i)
        xr, xi = tl.load(x + at, inside, 0.0), tl.load(x + at + 1, inside, 0.0)
        yr, yi = tl.load(y + at, inside, 0.0), tl.load(y + at + 1, inside, 0.0)
        tl.store(out_x + at, gr * yr + gi * yi - 2 * s * xr, inside)
        tl.store(out_x + at + 1, gr * yi - gi * yr - 2 * s * xi, inside)
        tl.store(out_y + at, xr * gr - xi * gi, inside)
        tl.store(out_y + at + 1, xr * gi + xi * gr, inside)


@triton.jit
def _quotient_apply_kernel(x, k, beta, power, out, channels, size, batch_stride, channel_stride, beta_stride, CONJUGATE: tl.constexpr,
                           DIVIDE: tl.constexpr, POWER: tl.constexpr, BLOCK: tl.constexpr):
    """out = k x, conj(k) x, or conj(k) x / (|k|^2 + beta power); strides of k and beta count spectra and are 0 where shared."""
    blocks = tl.cdiv(size, BLOCK)
    plane = (tl.program_id(0) // blocks).to(tl.int64)
    i = (tl.program_id(0) % blocks).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < size
    b, c = plane // channels, plane % channels
    kernel_at = 2 * ((b * batch_stride + c * channel_stride) * size + i)
    kr, ki = tl.load(k + kernel_at, inside, 0.0), tl.load(k + kernel_at + 1, inside, 0.0)
    at = 2 * (plane * size + i)
    xr, xi = tl.load(x + at, inside, 0.0), tl.load(x + at + 1, inside, 0.0)
    if CONJUGATE:
        re = xr * kr + xi * ki
        im = xi * kr - xr * ki
    else:
        re = xr * kr - xi * ki
        im = xi * kr + xr * ki
    if DIVIDE:
        weight = tl.load(beta + b * beta_stride)
        if POWER:
            norm = kr * kr + ki * ki + weight * tl.load(power + i, inside, 1.0)
        else:
            norm = kr * kr + ki * ki + weight
        norm = tl.where(norm == 0, float("inf"), norm)    # the quotient is 0 where the divisor vanishes
        re = re / norm
        im = im / norm
    tl.store(out + at, re, inside)
    tl.store(out + at + 1, im, inside)


@triton.jit
def _quotient_image_bwd_kernel(g, y, k, beta, power, out_y, out_k, slope, channels, size, batch_stride, channel_stride, beta_stride,
                               POWER: tl.constexpr, BLOCK: tl.constexpr):
    """Spectra of the gradients of the image quotient per image and channel; slope = Re(conj(G) X) / D."""
    blocks = tl.cdiv(size, BLOCK)
    plane = (tl.program_id(0) // blocks).to(tl.int64)
    i = (tl.program_id(0) % blocks).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < size
    b, c = plane // channels, plane % channels
    kernel_at = 2 * ((b * batch_stride + c * channel_stride) * size + i)
    kr, ki = tl.load(k + kernel_at, inside, 0.0), tl.load(k + kernel_at + 1, inside, 0.0)
    at = 2 * (plane * size + i)
    yr, yi = tl.load(y + at, inside, 0.0), tl.load(y + at + 1, inside, 0.0)
    weight = tl.load(beta + b * beta_stride)
    if POWER:
        norm = kr * kr + ki * ki + weight * tl.load(power + i, inside, 1.0)
    else:
        norm = kr * kr + ki * ki + weight
    norm = tl.where(norm == 0, float("inf"), norm)
    gr, gi = tl.load(g + at, inside, 0.0) / norm, tl.load(g + at + 1, inside, 0.0) / norm
    xr, xi = (kr * yr + ki * yi) / norm, (kr * yi - ki * yr) / norm
    s = gr * xr + gi * xi
    tl.store(out_y + at, kr * gr - ki * gi, inside)
    tl.store(out_y + at + 1, kr * gi + ki * gr, inside)
    tl.store(out_k + at, gr * yr + gi * yi - 2 * s * kr, inside)
    tl.store(out_k + at + 1, gr * yi - gi * yr - 2 * s * ki, inside)
    tl.store(slope + plane * size + i, s, inside)


# launches -----------------------------------------------------------------------------------------------------------

def _parts(spectrum):
    return torch.view_as_real(spectrum.contiguous())


def _like(spectrum):
    """An uninitialised spectrum and its interleaved parts."""
    parts = torch.empty((*spectrum.shape, 2), dtype=spectrum.dtype.to_real(), device=spectrum.device)
    return torch.view_as_complex(parts), parts


def _shared(t, axis):
    return 0 if t.shape[axis] == 1 else 1


def _programs(planes, size):
    return planes * triton.cdiv(size, BLOCK)


def _kernel_strides(k):
    """Strides of batch and channel in spectra, 0 where one kernel serves all."""
    return _shared(k, 0) * k.shape[1], _shared(k, 1)


def _tapered(x, kh, kw, taper):
    x = x.contiguous()
    if not taper:
        return x
    h, w = x.shape[-2:]
    out = torch.empty_like(x)
    Launch(_quotient_taper_kernel, triton.cdiv(x.numel(), BLOCK),
           dict(x=x, rows=barthann_taper(h, kh, x.dtype, x.device), columns=barthann_taper(w, kw, x.dtype, x.device), out=out,
                total=x.numel(), height=h, width=w, BLOCK=BLOCK), 4)(x.device)
    return out


def _apply(spectrum, k, conjugate, beta=None, power=None):
    out, parts = _like(spectrum)
    size = spectrum.shape[-2] * spectrum.shape[-1]
    batch_stride, channel_stride = _kernel_strides(k)
    Launch(
        _quotient_apply_kernel,
        _programs(spectrum.shape[0] * spectrum.shape[1], size),
        dict(
            x=_parts(spectrum),
            k=_parts(k),
            beta=parts if beta is None else beta.contiguous(),
            power=parts if power is None else power.contiguous(),
            out=parts,
            channels=spectrum.shape[1],
            size=size,
            batch_stride=batch_stride,
            channel_stride=channel_stride,
            beta_stride=0 if beta is None else _shared(beta, 0),
            CONJUGATE=conjugate,
            DIVIDE=beta is not None,
            POWER=power is not None,
            BLOCK=BLOCK,
        ),
        4,
    )(spectrum.device)
    return out


# the ops ------------------------------------------------------------------------------------------------------------

def conv_fwd(x, kernel, padding):
    plane = convolution_plane(x.shape[-2:], kernel.shape[-2:], padding)
    transfer = kernel_spectrum(kernel, plane.size, psf_center(kernel.shape[-2:]))
    return plane.leave(torch.fft.irfft2(_apply(torch.fft.rfft2(plane.enter(x)), transfer, False), s=plane.size)).contiguous()


def conv_adjoint(y, kernel, padding):
    plane = convolution_plane(y.shape[-2:], kernel.shape[-2:], padding)
    transfer = kernel_spectrum(kernel, plane.size, psf_center(kernel.shape[-2:]))
    spectrum = _apply(torch.fft.rfft2(plane.leave_adjoint(y)), transfer, True)
    return plane.enter_adjoint(torch.fft.irfft2(spectrum, s=plane.size)).contiguous()


def conv_bwd_kernel(x, g, shape, dtype, padding):
    plane = convolution_plane(x.shape[-2:], shape[-2:], padding)
    product = _apply(torch.fft.rfft2(plane.leave_adjoint(g)), torch.fft.rfft2(plane.enter(x)), True)
    return kernel_values(sum_to(product, shape), plane.size, shape[-2:], psf_center(shape[-2:])).contiguous()


def kernel_quotient_fwd(x, y, beta, kh, kw, taper, cy, cx):
    plane, (b, n) = tuple(x.shape[-2:]), x.shape[:2]
    x, y = (torch.fft.rfft2(_tapered(t, kh, kw, taper)) for t in (x, y))
    size = x.shape[-2] * x.shape[-1]
    quotient, parts = _like(x[:, 0])
    Launch(
        _quotient_estimate_kernel,
        _programs(b, size),
        dict(x=_parts(x), y=_parts(y), beta=beta.contiguous(), out=parts, features=n, size=size, beta_stride=_shared(beta, 0), BLOCK=BLOCK),
        4,
    )(x.device)
    return kernel_values(quotient, plane, (kh, kw), (cy, cx)).contiguous()


def kernel_quotient_bwd(g, x, y, beta, taper, cy, cx, need_x, need_y, need_beta):
    plane, (kh, kw), (b, n) = tuple(x.shape[-2:]), g.shape[-2:], x.shape[:2]
    x, y = (torch.fft.rfft2(_tapered(t, kh, kw, taper)) for t in (x, y))
    size = x.shape[-2] * x.shape[-1]
    (d_x, parts_x), (d_y, parts_y) = _like(x), _like(y)
    slope = torch.empty((b, *x.shape[-2:]), dtype=g.dtype, device=g.device)
    Launch(
        _quotient_kernel_bwd_kernel,
        _programs(b, size),
        dict(
            x=_parts(x),
            y=_parts(y),
            g=_parts(kernel_spectrum(g, plane, (cy, cx))),
            beta=beta.contiguous(),
            out_x=parts_x,
            out_y=parts_y,
            slope=slope,
            features=n,
            size=size,
            beta_stride=_shared(beta, 0),
            BLOCK=BLOCK,
        ),
        4,
    )(x.device)

    def back(spectrum):
        return _tapered(torch.fft.irfft2(spectrum, s=plane), kh, kw, taper)

    return (back(d_x) if need_x else beta.new_empty(0), back(d_y) if need_y else beta.new_empty(0),
            -sum_beta(plane_mean(slope, plane), beta) if need_beta else beta.new_empty(0))


def image_quotient_fwd(y, kernel, beta, power, padding, cy, cx):
    plane = division_plane(y.shape[-2:], kernel.shape[-2:], padding)
    spectrum = _apply(torch.fft.rfft2(plane.enter(y)), kernel_spectrum(kernel, plane.size, (cy, cx)), True, beta, power)
    return plane.leave(torch.fft.irfft2(spectrum, s=plane.size)).contiguous()


def image_quotient_bwd(g, y, kernel, beta, power, padding, cy, cx, need_y, need_kernel, need_beta, need_power):
    if need_power:
        return reference.image_quotient_bwd(g, y, kernel, beta, power, padding, cy, cx, need_y, need_kernel, need_beta, need_power)
    plane = division_plane(y.shape[-2:], kernel.shape[-2:], padding)
    k = kernel_spectrum(kernel, plane.size, (cy, cx))
    g, y = torch.fft.rfft2(plane.leave_adjoint(g)), torch.fft.rfft2(plane.enter(y))
    size = g.shape[-2] * g.shape[-1]
    (d_y, parts_y), (d_k, parts_k) = _like(g), _like(g)
    slope = torch.empty(g.shape, dtype=kernel.dtype, device=g.device)
    batch_stride, channel_stride = _kernel_strides(k)
    Launch(
        _quotient_image_bwd_kernel,
        _programs(g.shape[0] * g.shape[1], size),
        dict(
            g=_parts(g),
            y=_parts(y),
            k=_parts(k),
            beta=beta.contiguous(),
            power=slope if power is None else power.contiguous(),
            out_y=parts_y,
            out_k=parts_k,
            slope=slope,
            channels=g.shape[1],
            size=size,
            batch_stride=batch_stride,
            channel_stride=channel_stride,
            beta_stride=_shared(beta, 0),
            POWER=power is not None,
            BLOCK=BLOCK,
        ),
        4,
    )(g.device)
    g_y, g_kernel, g_beta, g_power = (beta.new_empty(0) for _ in range(4))
    if need_y:
        g_y = plane.enter_adjoint(torch.fft.irfft2(d_y, s=plane.size)).contiguous()
    if need_kernel:
        g_kernel = kernel_values(sum_to(d_k, kernel.shape), plane.size, kernel.shape[-2:], (cy, cx)).contiguous()
    if need_beta:
        g_beta = -sum_beta(plane_mean((slope if power is None else slope * power).sum(1), plane.size), beta)
    return g_y, g_kernel, g_beta, g_power
