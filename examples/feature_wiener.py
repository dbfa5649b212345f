"""Wiener deconvolution of learned features, as in deep Wiener deconvolution networks; the blur kernel is known.

A few convolutions make features of the blurry image. Each feature is deconvolved in Fourier space with the same kernel and a regulariser of
its own, the ratio of its noise to its signal times a learned factor; a few more convolutions make the sharp image of the results. The usual
code continues the features by replication, transforms, divides and cuts out. Only `deconvolve` changes: `svconv.image_quotient`. It takes a
regulariser for each sample of the batch, so the features go in as samples.

The plain code extends the plane to the length that svconv takes (the next one with no factor above 7), because the result depends on it.

    python examples/feature_wiener.py --size 256
"""
import sys

import side_by_side
import torch
from torch import nn
from torch.nn import functional as F

import svconv

TAPS = 15


def fast_length(n):
    """The next length with factors 2, 3, 5 and 7 alone, whose transform is quick."""
    rest = n
    for factor in (2, 3, 5, 7):
        while rest % factor == 0:
            rest //= factor
    return n if rest == 1 else fast_length(n + 1)


class Plain(nn.Module):
    def __init__(self, features=16):
        super().__init__()
        self.extract = nn.Sequential(nn.Conv2d(3, features, 5, padding=2), nn.ReLU(), nn.Conv2d(features, features, 3, padding=1))
        self.factor = nn.Parameter(torch.zeros(features))       # logarithm
        self.refine = nn.Sequential(nn.Conv2d(features, features, 3, padding=1), nn.ReLU(), nn.Conv2d(features, 3, 5, padding=2))

    def forward(self, blurry, kernel):
        """blurry [B, 3, H, W], kernel [B, 1, k, k] -> [B, 3, H, W]"""
        features = self.extract(blurry)
        return self.refine(self.deconvolve(features, kernel, self.regulariser(features)))

    def regulariser(self, features):
        """[B, C]: the noise, which is what a small mean takes away, over the rest."""
        smooth = F.avg_pool2d(F.pad(features, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
        noise = (features - smooth).var((-2, -1))
        signal = (features.var((-2, -1)) - noise).clamp_min(1e-3 * noise)
        return 1e-3 + self.factor.exp() * noise / signal

    def deconvolve(self, features, kernel, regulariser):
        (h, w), (kh, kw) = features.shape[-2:], kernel.shape[-2:]
        height, width = fast_length(h + 2 * kh), fast_length(w + 2 * kw)
        wide = F.pad(features, (kw, width - w - kw, kh, height - h - kh), mode="replicate")
        centred = F.pad(kernel, (0, width - kw, 0, height - kh)).roll((-(kh // 2), -(kw // 2)), (-2, -1))
        k, y = torch.fft.rfft2(centred), torch.fft.rfft2(wide)
        sharp = torch.fft.irfft2(k.conj() * y / (k.abs().square() + regulariser[..., None, None]), s=(height, width))
        return sharp[..., kh:kh + h, kw:kw + w]


class WithSvconv(Plain):
    def deconvolve(self, features, kernel, regulariser):
        samples = features.flatten(0, 1)[:, None]
        kernels = kernel.repeat_interleave(features.shape[1], 0)
        return svconv.image_quotient(samples, kernels, beta=regulariser.flatten(), padding="replicate").view_as(features)


def inputs(size, seed, batch=1):
    """A blurry image and its kernel."""
    generator = torch.Generator().manual_seed(seed)
    kernel = torch.rand(batch, 1, TAPS, TAPS, generator=generator) ** 4
    kernel /= kernel.sum((-2, -1), keepdim=True)
    return svconv.conv(torch.rand(batch, 3, *size, generator=generator), kernel, padding="replicate"), kernel


def main(argv=None):
    side_by_side.main(sys.modules[__name__], argv)


if __name__ == "__main__":
    main()
