"""Learning to Deblur as one would write it in plain torch: conv2d, tanh, rfft2, irfft2. The baseline of bench/learning_to_deblur.py.

Takes the weights of a `LearningToDeblur` without biases and computes the kernels of all its stages, nothing of svconv is called.
"""
import math

import torch
from torch.nn import functional as F

BETA = 1e-4


def taper(n, k):
    """Ones with the halves of a Barthann window of length 2k at the ends."""
    window = torch.ones(n)
    t = torch.arange(k) / (2 * k - 1) - 0.5
    rise = 0.62 - 0.48 * t.abs() + 0.38 * torch.cos(2 * math.pi * t)
    window[:k], window[n - k:] = rise, rise.flip(0)
    return window


def features(stage, stacked):
    half = stage.filters.shape[-1] // 2
    h = torch.tanh(F.conv2d(F.pad(stacked, (half,) * 4, mode="replicate"), stage.filters))
    for mix in stage.hidden:
        h = torch.tanh(F.conv2d(h, mix[:, :, None, None]))
    return F.conv2d(h, stage.sharp[:, :, None, None]), F.conv2d(h, stage.blurry[:, :, None, None])


def kernel_quotient(x, y, size):
    h, w = x.shape[-2:]
    window = taper(h, size)[:, None] * taper(w, size)
    x, y = torch.fft.rfft2(x * window), torch.fft.rfft2(y * window)
    kernel = torch.fft.irfft2((x.conj() * y).sum(1) / ((x.abs() ** 2).sum(1) + BETA), s=(h, w))
    kernel = torch.roll(kernel, (size // 2, size // 2), (1, 2))[:, :size, :size].clamp_min(0)
    return kernel / kernel.sum((1, 2), keepdim=True)


def smooth_length(n):
    """The next length without a prime factor above 7."""
    rest = n
    for factor in (2, 3, 5, 7):
        while rest % factor == 0:
            rest //= factor
    return n if rest == 1 else smooth_length(n + 1)


def image_quotient(y, kernel, beta):
    size, (h, w) = kernel.shape[-1], y.shape[-2:]
    rows, columns = (smooth_length(n + 2 * size) - n - size for n in (h, w))
    y = F.pad(y, (size, columns, size, rows), mode="replicate")
    placed = torch.roll(F.pad(kernel, (0, y.shape[-1] - size, 0, y.shape[-2] - size)), (-(size // 2), -(size // 2)), (1, 2))[:, None]
    k = torch.fft.rfft2(placed)
    return torch.fft.irfft2(k.conj() * torch.fft.rfft2(y) / (k.abs() ** 2 + beta), s=y.shape[-2:])[..., size:size + h, size:size + w]


def estimate(model, image):
    """The kernels of all stages, coarse to fine."""
    centred, final, kernels, latent = image - image.mean(), model.kernel_sizes[-1], [], None
    for size, scale in zip(model.kernel_sizes, model.scales):
        shape = [round(s * size / final) for s in image.shape[-2:]]
        y = centred if size == final else F.interpolate(centred, shape, mode="bicubic", align_corners=False, antialias=True)
        if latent is not None:
            latent = F.interpolate(latent, y.shape[-2:], mode="bicubic", align_corners=False)
        for t, stage in enumerate(scale["stages"]):
            kernels.append(kernel_quotient(*features(stage, y if latent is None else torch.cat([y, latent], 1)), size))
            if t < len(scale["log_beta"]):
                latent = image_quotient(y, kernels[-1], scale["log_beta"][t].exp())
    return kernels
