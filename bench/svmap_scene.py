"""Scenes for the SVMAP benchmarks: a blurred photograph and filters such as a trained net tends to, without a net.

Data filters: a delta and zeros; prior filters: five derivatives times the square root of `reg` and of the weights by which a re-weighted
prior lets edges stand. Each value is changed by smooth noise on top.
"""
import math

import numpy as np
import torch

from bench import development_data
from svconv.data import degrade, motion_kernel
from svconv.data.pairs import valid_convolution
from svconv.files import read_image

DATA = development_data.place()
PHOTOGRAPHS = ("sun80/img_016_SRF_8_HR.png", "kodak24/kodim08.png", "cbsd68/101085.png")
KERNELS = ("levin09/levin09_k1.npy", "levin09/levin09_k3.npy", 31)      # a number: the side of a synthetic motion kernel
DERIVATIVES = (((2, 2, -1), (2, 3, 1)), ((2, 2, -1), (3, 2, 1)), ((2, 1, -1), (2, 2, 2), (2, 3, -1)), ((1, 2, -1), (2, 2, 2), (3, 2, -1)),
               ((2, 2, -1), (2, 3, 1), (3, 2, 1), (3, 3, -1)))
NOISE, FLOOR, EXPONENT = 0.01, 0.02, 0.8


def kernel(name):
    """[1, 1, k, k]."""
    if isinstance(name, int):
        return motion_kernel(name, generator=torch.Generator().manual_seed(name))[None]
    k = torch.from_numpy(np.load(DATA / "kernels" / name)).float()
    return (k / k.sum())[None, None]


def photograph(name, height, width):
    """[1, 3, height, width] from the upper left of a photograph, mirrored at its edges where it is smaller."""
    picture = torch.from_numpy(np.asarray(read_image(DATA / "images" / name).pixels, dtype=np.float32))
    image = picture.movedim(-1, 0)[None] / 255
    tall, wide = image.shape[-2:]
    rows, columns = (_mirrored(n, size) for n, size in ((height, tall), (width, wide)))
    return image[..., rows, :][..., columns].contiguous()


def _mirrored(n, size):
    i = torch.arange(n) % (2 * size)
    return torch.where(i < size, i, 2 * size - 1 - i)


def pair(photo, kernel_name, height, width):
    """(sharp, blurred with real light from outside and 1 % noise, kernel)."""
    k = kernel(kernel_name)
    (kh, kw), channels = k.shape[-2:], 3
    wide = photograph(photo, height + kh - 1, width + kw - 1)
    blurred = torch.stack([valid_convolution(wide[0, c], k[0, 0]) for c in range(channels)])[None]
    top, left = kh - 1 - kh // 2, kw - 1 - kw // 2
    sharp = wide[..., top:top + height, left:left + width].contiguous()
    return sharp, degrade(blurred, gaussian=NOISE, generator=torch.Generator().manual_seed(1)), k


def smooth_noise(*shape, seed, coarse=16):
    """Noise of standard deviation 1 that changes over about `coarse` pixels."""
    height, width = shape[-2:]
    small = torch.randn(1, math.prod(shape[:-2]), height // coarse + 2, width // coarse + 2, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, (height, width), mode="bilinear", align_corners=True).reshape(shape)


def filters(x, reg=2e-3, change=0.05):
    """(data filters [B, 3, 3, 5, 5, H, W], prior filters [B, 3, 5, 5, 5, H, W]) around the start, for an image x like the blurred one."""
    b, c, h, w = x.shape
    data = (change * 0.2 * smooth_noise(b, c, 3, 5, 5, h, w, seed=2))
    data[:, :, 0, 2, 2] += 1
    prior = change * math.sqrt(reg) * smooth_noise(b, c, 5, 5, 5, h, w, seed=3)
    extended = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")
    for number, taps in enumerate(DERIVATIVES):
        slope = sum(v * extended[..., i:i + h, j:j + w] for i, j, v in taps)
        weight = (0.1 if number < 2 else 0.025) * slope.abs().clamp_min(FLOOR) ** (EXPONENT - 2)
        for i, j, v in taps:
            prior[:, :, number, i, j] += v * (reg * weight).sqrt()
    return data, prior


def psnr(x, sharp, margin=16):
    inside = (..., slice(margin, -margin), slice(margin, -margin))
    return float(-10 * (x.clamp(0, 1)[inside] - sharp[inside]).square().mean().log10())
