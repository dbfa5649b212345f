"""Discrete Fourier transforms of small kernels inside large planes, fast lengths, and the Barthann taper.

A kernel of kh x kw values stands in the plane at the positions a - center, a = 0..kh-1 (taken modulo the plane). Its transform, and the
kh x kw values of an inverse transform, are products with two thin matrices, which costs less than a transform of the whole plane as long
as the kernel is small and makes a fractional centre free. Planes are H x W, spectra the half spectra H x (W//2 + 1) of real planes,
unnormalised forward.
"""
import functools
import math

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode

from svconv._forward_mode import outer_levels, primal


def fast_length(n):
    """The smallest length >= n without a prime factor above 7."""
    return _next_smooth(n) if torch.compiler.is_compiling() else _cached_next_smooth(n)


def _next_smooth(n):
    while True:
        rest = n
        for factor in (2, 3, 5, 7):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 1


_cached_next_smooth = functools.lru_cache(maxsize=1024)(_next_smooth)


def psf_center(size):
    """The pixel kh//2, kw//2 that stands at shift zero."""
    return tuple(float(n // 2) for n in size)


def _table(kind, n, size, center, dtype, device):
    """Constants, cached unless something traces or transforms (then sizes may be symbols, tensors fake or wrapped)."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or _get_current_dispatch_mode() is not None:
        return _BUILD[kind](n, size, center, dtype, device)
    return _cached(kind, n, size, center, dtype, device)


@functools.lru_cache(maxsize=64)
def _cached(kind, n, size, center, dtype, device):
    with torch.inference_mode(False), torch.no_grad():        # autograd may save them later
        return _BUILD[kind](n, size, center, dtype, device)


def _window(n, k, _, dtype, device):
    k = min(k, n // 2)
    if k == 0:
        return torch.ones(n, dtype=dtype, device=device)
    edge = torch.arange(n, dtype=torch.float64)
    edge = torch.minimum(edge, n - 1 - edge)                  # the window is symmetric
    t = edge / (2 * k - 1) - 0.5
    return torch.where(edge < k, 0.62 - 0.48 * t.abs() + 0.38 * torch.cos(2 * math.pi * t), 1.0).to(device, dtype)


def _waves(n, size, center, dtype, device, frequencies):
    """e^(-2 pi i f (a - center) / n) over frequencies f and a = 0..size-1; real at f = n/2, the mean of the two signs."""
    position = torch.arange(size, dtype=torch.float64) - center
    angle = torch.remainder(position[:, None] * frequencies, n) * (-2 * math.pi / n)
    waves = torch.complex(torch.cos(angle), torch.where(frequencies.abs() * 2 == n, 0.0, torch.sin(angle)))
    return waves.to(device, dtype.to_complex())


def _rows(n, size, center, dtype, device):
    return _waves(n, size, center, dtype, device, torch.fft.fftfreq(n, 1 / n, dtype=torch.float64).round())


def _columns(n, size, center, dtype, device):
    return _waves(n, size, center, dtype, device, torch.arange(n // 2 + 1, dtype=torch.float64))


def _inverse_rows(n, size, center, dtype, device):
    return (_rows(n, size, center, torch.float64, device).conj_physical() / n).to(dtype.to_complex())


def _inverse_columns(n, size, center, dtype, device):
    """[size, n//2+1]; the columns between the first and the one at n/2 stand for two frequencies."""
    waves = _columns(n, size, center, torch.float64, device).conj_physical() * (2 / n)
    waves[:, 0] /= 2
    if n % 2 == 0:
        waves[:, n // 2] /= 2
    return waves.to(dtype.to_complex())


_BUILD = {"window": _window, "rows": _rows, "columns": _columns, "inverse_rows": _inverse_rows, "inverse_columns": _inverse_columns}


def barthann_taper(n, k, dtype=torch.float32, device="cpu"):
    """[n]: the halves of a Barthann window of length 2k at the two ends, ones between; k is capped at n // 2."""
    return _table("window", n, k, 0.0, dtype, torch.device(device))


def tables(kind, plane, size, center, dtype, device):
    """The row and the column matrix, kind "" (forward) or "inverse_"."""
    return tuple(_table(kind + axis, n, k, c, dtype, device)
                 for axis, n, k, c in zip(("rows", "columns"), plane, size, center))


def kernel_rows(kernel, width, center):
    """kernel [..., kh, kw] -> its rows transformed, [..., kh, W//2+1], for a plane of that width, by transforms of single rows."""
    whole = math.floor(center)
    kw = kernel.shape[-1]
    times = -(-kw // width)
    rows = torch.nn.functional.pad(kernel, (0, times * width - kw))
    if times > 1:
        rows = rows.unflatten(-1, (times, width)).sum(-2)
    spectrum = torch.fft.rfft(rows.roll(-whole, -1))
    return spectrum if center == whole else spectrum * column_ramp(width, center - whole, kernel)


def values_of_rows(rows, width, size, center):
    """The inverse of `kernel_rows` at the kernel's `size` positions: [..., kh, W//2+1] -> [..., kh, kw]."""
    whole = math.floor(center)
    if center != whole:
        rows = rows * column_ramp(width, center - whole, rows.real).conj_physical()
    values = torch.fft.irfft(rows, n=width)
    if size <= width:
        return values.roll(whole, -1)[..., :size].contiguous()
    return values.index_select(-1, torch.remainder(torch.arange(size, device=rows.device) - whole, width))


def column_ramp(width, shift, like):
    """[W//2+1], complex: the spectrum along a row of a shift by `shift` pixels towards lower indices."""
    return _table("columns", width, 1, shift, like.dtype, like.device)[0]


def shift_ramp(n, shift, dtype, device):
    """[n, 2]: the spectrum, real and imaginary parts, of a shift by `shift` pixels towards lower indices; None for none."""
    return None if shift == 0 else torch.view_as_real(_table("rows", n, 1, shift, dtype, torch.device(device))[0])


class _Product(torch.autograd.Function):
    """a @ b of complex matrices in full precision, also in every derivative: a user's `set_float32_matmul_precision("high")` would send
    it through TF32."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a, b):
        former = torch.get_float32_matmul_precision()
        if former == "highest":
            return a @ b
        try:
            torch.set_float32_matmul_precision("highest")
            return a @ b
        finally:
            torch.set_float32_matmul_precision(former)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        needed = ctx.needs_input_grad
        return _Product.apply(g, b.mH) if needed[0] else None, _Product.apply(a.mH, g) if needed[1] else None

    @staticmethod
    def jvp(ctx, da, db):
        with outer_levels():
            a, b = map(primal, ctx.saved_tensors)
            terms = [_Product.apply(*pair) for pair, tangent in (((da, b), da), ((a, db), db)) if tangent is not None]
            return sum(terms[1:], terms[0])


def _product(a, b):
    """a @ b by `_Product` where the precision could be lowered, now or in a gradient; elsewhere its cost to the host would dominate."""
    if torch.get_float32_matmul_precision() == "highest" and not (torch.is_grad_enabled() and (a.requires_grad or b.requires_grad)):
        return a @ b
    return _Product.apply(a, b)


def kernel_spectrum(kernel, plane, center):
    """kernel [..., kh, kw] -> its half spectrum [..., H, W//2+1] in a plane of H x W."""
    rows, columns = tables("", plane, kernel.shape[-2:], center, kernel.dtype, kernel.device)
    return _product(rows.mT, _product(kernel.to(columns.dtype), columns))


def kernel_values(spectrum, plane, size, center):
    """The inverse transform of a half spectrum [..., H, W//2+1] at the kernel's positions only, [..., kh, kw]."""
    rows, columns = tables("inverse_", plane, size, center, spectrum.dtype.to_real(), spectrum.device)
    return _product(_product(rows, spectrum), columns.mT).real


def plane_mean(half, plane):
    """Mean over the whole plane of an even real quantity given on the half spectrum [..., H, W//2+1]."""
    w = plane[1]
    inner = half[..., 1:(w + 1) // 2].sum((-2, -1))
    total = half[..., 0].sum(-1) + 2 * inner
    if w % 2 == 0:
        total = total + half[..., w // 2].sum(-1)
    return total / (plane[0] * w)


def column_shares(plane, like):
    """[W//2+1]: how many frequencies an element of a column of the half spectrum stands for, over those of the plane."""
    shares = torch.full((plane[1] // 2 + 1,), 2 / (plane[0] * plane[1]), dtype=like.dtype, device=like.device)
    shares[0] /= 2
    if plane[1] % 2 == 0:
        shares[-1] /= 2
    return shares
