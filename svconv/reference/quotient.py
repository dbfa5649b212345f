"""Convolution and the closed-form quotients in plain torch: the specification of the quotient family.

Canonical shapes: images [B, C, H, W], kernels [B|1, C|1, kh, kw], feature pairs [B, n, H, W], beta [B|1]; float32 or float64. Everything is written
in differentiable operations, so that the second derivatives of the ops can be taken through the formulas of the first ones.
"""
import torch

from svconv import _boundary
from svconv._fourier import barthann_taper, fast_length, kernel_spectrum, kernel_values, psf_center, psf_margins


class _Extend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, margins, padding):
        ctx.rest = margins, padding
        return _boundary.extend(x, margins, padding)

    @staticmethod
    def backward(ctx, g):
        return _Fold.apply(g, *ctx.rest), None, None


class _Fold(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y, margins, padding):
        ctx.rest = margins, padding
        return _boundary.fold(y, margins, padding)

    @staticmethod
    def backward(ctx, g):
        return _Extend.apply(g, *ctx.rest), None, None


def extend(x, margins, padding):
    return _Extend.apply(x, margins, padding) if x.requires_grad else _boundary.extend(x, margins, padding)


def fold(y, margins, padding):
    return _Fold.apply(y, margins, padding) if y.requires_grad else _boundary.fold(y, margins, padding)


def sum_to(t, shape):
    """Sums the batch and channel axes that are 1 in `shape`."""
    axes = [axis for axis in (0, 1) if shape[axis] != t.shape[axis]]
    return t.sum(axes, keepdim=True) if axes else t


# convolution --------------------------------------------------------------------------------------------------------

def frame(h, w, kh, kw, padding):
    """(margins, plane): how far the image is continued and the lengths of the transform.

    Circular needs exactly H x W; beyond a zero border half a kernel of zeros is enough, it may be shared by both sides.
    """
    if padding == "circular":
        return (0, 0, 0, 0), (h, w)
    if padding == "zeros":
        return (0, 0, 0, 0), (fast_length(h + kh // 2), fast_length(w + kw // 2))
    return psf_margins(kh, kw), (fast_length(h + kh - 1), fast_length(w + kw - 1))


def cut(t, margins, h, w):
    return t[..., margins[0]:margins[0] + h, margins[2]:margins[2] + w]


def place(t, margins, plane):
    """Zeros of the plane's size with t where `cut` takes it from."""
    h, w = t.shape[-2:]
    top, left = margins[0], margins[2]
    return torch.nn.functional.pad(t, (left, plane[1] - w - left, top, plane[0] - h - top))


def conv_fwd(x, kernel, padding):
    h, w = x.shape[-2:]
    margins, plane = frame(h, w, *kernel.shape[-2:], padding)
    spectrum = torch.fft.rfft2(extend(x, margins, padding), s=plane)
    transfer = kernel_spectrum(kernel, plane, psf_center(kernel.shape[-2:]))
    return cut(torch.fft.irfft2(spectrum * transfer, s=plane), margins, h, w).contiguous()


def conv_adjoint(y, kernel, padding):
    h, w = y.shape[-2:]
    kh, kw = kernel.shape[-2:]
    margins, plane = frame(h, w, kh, kw, padding)
    spectrum = torch.fft.rfft2(place(y, margins, plane))
    transfer = kernel_spectrum(kernel, plane, psf_center((kh, kw)))
    x = torch.fft.irfft2(spectrum * transfer.conj_physical(), s=plane)
    reach = h + margins[0] + margins[1], w + margins[2] + margins[3]
    return fold(x[..., :reach[0], :reach[1]], margins, padding).contiguous()


def conv_bwd_kernel(x, g, batch, channels, kh, kw, padding):
    """dk[d] = sum_p g[p] x[p - (d - center)], summed over broadcast axes."""
    h, w = x.shape[-2:]
    margins, plane = frame(h, w, kh, kw, padding)
    x = torch.fft.rfft2(extend(x, margins, padding), s=plane)
    g = torch.fft.rfft2(place(g, margins, plane))
    return kernel_values(sum_to(x.conj_physical() * g, (batch, channels)), plane, (kh, kw), psf_center((kh, kw))).contiguous()


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
    quotient = (x.conj_physical() * y).sum(1) / (_power(x).sum(1) + beta[:, None, None])
    return kernel_values(quotient, plane, (kh, kw), (cy, cx)).contiguous()


def kernel_quotient_bwd(g, x, y, beta, taper, cy, cx, need_x, need_y, need_beta):
    """Gradients in x, y and beta for the upstream gradient g [B, kh, kw]; what is not needed comes back empty.

    With K = N / D and G the transform of g at the kernel's positions: dY = X G / D, dX = (conj(G) Y - 2 Re(conj(G) K) X) / D, dbeta = - mean of Re(conj(G) K / D).
    """
    plane, (kh, kw) = x.shape[-2:], g.shape[-2:]
    x, y = (torch.fft.rfft2(_tapered(t, kh, kw, taper)) for t in (x, y))
    inverse = 1 / (_power(x).sum(1) + beta[:, None, None])
    quotient = (x.conj_physical() * y).sum(1) * inverse
    g = kernel_spectrum(g, plane, (cy, cx)) * inverse
    slope = _real_product(g, quotient)

    def back(spectrum):
        return _tapered(torch.fft.irfft2(spectrum, s=plane), kh, kw, taper).contiguous()

    g_x = back(g.conj_physical()[:, None] * y - 2 * slope[:, None] * x) if need_x else x.real.new_empty(0)
    g_y = back(x * g[:, None]) if need_y else x.real.new_empty(0)
    g_beta = -sum_beta(plane_mean(slope, plane), beta) if need_beta else x.real.new_empty(0)
    return g_x, g_y, g_beta


def plane_mean(half, plane):
    """Mean over the whole plane of an even real quantity given on the half spectrum [..., H, W//2+1]."""
    w = plane[1]
    inner = half[..., 1:(w + 1) // 2].sum((-2, -1))
    total = half[..., 0].sum(-1) + 2 * inner
    if w % 2 == 0:
        total = total + half[..., w // 2].sum(-1)
    return total / (plane[0] * w)


def sum_beta(per_sample, beta):
    return per_sample if beta.shape[0] == per_sample.shape[0] else per_sample.sum(0, keepdim=True)


# image quotient -----------------------------------------------------------------------------------------------------

def division_margins(kh, kw, padding):
    """The quotient continues the image by a whole kernel on each side, except where the boundary is circular."""
    return (0, 0, 0, 0) if padding == "circular" else (kh, kh, kw, kw)


def image_quotient_fwd(y, kernel, beta, power, padding, cy, cx):
    """power: sum |D|^2 on the half spectrum [H, W//2+1] of the continued image; None for ones."""
    h, w = y.shape[-2:]
    margins = division_margins(*kernel.shape[-2:], padding)
    y = extend(y, margins, padding)
    plane = y.shape[-2:]
    transfer, inverse = _division(kernel, beta, power, plane, cy, cx)
    quotient = torch.fft.rfft2(y) * (transfer.conj_physical() * inverse)
    return cut(torch.fft.irfft2(quotient, s=plane), margins, h, w).contiguous()


def _division(kernel, beta, power, plane, cy, cx):
    transfer = kernel_spectrum(kernel, plane, (cy, cx))
    weight = beta[:, None, None, None]
    return transfer, 1 / (_power(transfer) + (weight if power is None else weight * power))


def image_quotient_bwd(g, y, kernel, beta, power, padding, cy, cx, need_y, need_kernel, need_beta, need_power):
    """Gradients in y, kernel, beta and power; what is not needed comes back empty.

    dY = K G / D, dK = (conj(G) Y - 2 Re(conj(G) X) K) / D, dbeta = - mean of P Re(conj(G) X) / D.
    """
    h, w = y.shape[-2:]
    kh, kw = kernel.shape[-2:]
    margins = division_margins(kh, kw, padding)
    y = extend(y, margins, padding)
    plane = y.shape[-2:]
    transfer, inverse = _division(kernel, beta, power, plane, cy, cx)
    g = torch.fft.rfft2(place(g, margins, plane)) * inverse
    empty = y.new_empty(0)
    g_y = fold(torch.fft.irfft2(transfer * g, s=plane), margins, padding).contiguous() if need_y else empty
    if not (need_kernel or need_beta or need_power):
        return g_y, empty, empty, empty
    y = torch.fft.rfft2(y)
    slope = _real_product(g, transfer.conj_physical() * y * inverse)
    g_kernel = g_beta = g_power = empty
    if need_kernel:
        spectrum = sum_to(g.conj_physical() * y - 2 * slope * transfer, kernel.shape)
        g_kernel = kernel_values(spectrum, plane, (kh, kw), (cy, cx)).contiguous()
    if need_beta:
        g_beta = -sum_beta(plane_mean((slope if power is None else slope * power).sum(1), plane), beta)
    if need_power:
        twice = torch.full((plane[1] // 2 + 1,), -2 / (plane[0] * plane[1]), dtype=y.dtype.to_real(), device=y.device)
        twice[0] /= 2
        if plane[1] % 2 == 0:
            twice[-1] /= 2
        g_power = ((slope * beta[:, None, None, None]).sum((0, 1)) * twice).contiguous()
    return g_y, g_kernel, g_beta, g_power
