"""Half spectra of planes, the power of a smoothness prior, and the division that minimises |k * x - y|^2 + beta sum_j |d_j * x|^2."""
import math

import torch

from svconv._fourier import kernel_spectrum


def transform(x):
    """Half spectrum of real planes; the transform libraries refuse an empty batch, which stays in its graph."""
    if x.numel() == 0:
        return x[..., :x.shape[-1] // 2 + 1].to(x.dtype.to_complex())
    return torch.fft.rfft2(x)


def untransform(spectrum, size):
    """Real planes of `size` from their half spectrum."""
    if spectrum.numel() == 0:
        return spectrum.real[..., :1].expand(*spectrum.shape[:-1], size[-1])
    return torch.fft.irfft2(spectrum, s=size)


def power(spectrum):
    """|K|^2 of a half spectrum or of a number."""
    if not isinstance(spectrum, torch.Tensor):
        return abs(spectrum) ** 2
    return spectrum.real.square() + spectrum.imag.square()


def prior_power(prior, size, like):
    """sum_j |D_j|^2 on the half spectrum of planes of `size`; 1.0 for the prior "identity"."""
    if isinstance(prior, torch.Tensor):
        return power(kernel_spectrum(prior, size, (0.0, 0.0))).sum(0)
    if prior == "identity":
        return 1.0
    rows = torch.fft.fftfreq(size[0], dtype=torch.float64)
    columns = torch.fft.rfftfreq(size[1], dtype=torch.float64)
    sines = 4 * torch.sin(math.pi * rows).square()[:, None] + 4 * torch.sin(math.pi * columns).square()
    return sines.to(like.device, like.dtype)


def per_sample(beta):
    """A number, or a tensor [] or [B] as a factor of [B, C, H, W]."""
    return beta.reshape(-1, 1, 1, 1) if isinstance(beta, torch.Tensor) else beta


def divided(y, spectrum, beta, prior):
    """`F^-1[ conj(K) Y / (|K|^2 + beta sum_j |D_j|^2) ]`, 0 where the divisor vanishes; y [B, C, H, W], K a half spectrum or a number."""
    size = tuple(y.shape[-2:])
    divisor = torch.as_tensor(power(spectrum) + per_sample(beta) * prior_power(prior, size, y), dtype=y.dtype, device=y.device)
    vanishes = divisor == 0
    inverse = torch.where(vanishes, 0, 1 / torch.where(vanishes, 1, divisor))
    conjugate = spectrum.conj() if isinstance(spectrum, torch.Tensor) else spectrum
    return untransform(transform(y) * (conjugate * inverse), size)
