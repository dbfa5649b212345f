"""What people write today instead of the quotient family: a layer by hand with torch.fft, for padding "circular"."""
import functools
import math

import torch


@functools.cache
def taper(n, k):
    t = torch.arange(2 * k, dtype=torch.float64) / (2 * k - 1) - 0.5
    w = 0.62 - 0.48 * t.abs() + 0.38 * torch.cos(2 * math.pi * t)
    return torch.cat([w[:k], torch.ones(n - 2 * k, dtype=torch.float64), w[k:]]).float()


def kernel_quotient(x, y, taps, beta):
    h, w = x.shape[-2:]
    window = (taper(h, taps)[:, None] * taper(w, taps)).to(x.device)
    fx, fy = torch.fft.rfft2(x * window), torch.fft.rfft2(y * window)
    quotient = (fx.conj() * fy).sum(1) / (fx.abs().square().sum(1) + beta)
    return torch.fft.irfft2(quotient, s=(h, w)).roll((taps // 2, taps // 2), (-2, -1))[..., :taps, :taps]


def spectrum(kernel, h, w):
    kh, kw = kernel.shape[-2:]
    plane = torch.nn.functional.pad(kernel, (0, w - kw, 0, h - kh)).roll((-(kh // 2), -(kw // 2)), (-2, -1))
    return torch.fft.rfft2(plane)


def image_quotient(y, kernel, beta):
    h, w = y.shape[-2:]
    k = spectrum(kernel, h, w)
    return torch.fft.irfft2(k.conj() * torch.fft.rfft2(y) / (k.abs().square() + beta), s=(h, w))


def conv(x, kernel):
    h, w = x.shape[-2:]
    return torch.fft.irfft2(spectrum(kernel, h, w) * torch.fft.rfft2(x), s=(h, w))
