"""The data step of an unfolding network for super-resolution and deblurring (USRNet), scale 1 and 2.

The network takes turns between a denoiser and the step in closed form

    x = argmin |S (k * x) - y|^2 + alpha |x - z|^2          S keeps every s-th pixel, the convolution is circular

with alpha predicted from the noise level. The usual code transforms z and y (put on a fine grid of zeros), folds the spectra onto one
another, divides, repeats, and transforms back. Only `data_step` changes. With r = S (k * z) - y for what the denoised image leaves
unexplained,

    scale 1:        x = z - image_quotient(r, k, beta=alpha)
    scale s:        x = z - K' S' (S K K' S' + alpha)^-1 r

and S K K' S' + alpha is a division again: S K K' S' is the sum of |K_p|^2 over the s * s phases of the kernel (every s-th tap), which
`image_quotient` takes as the filters of its prior. These filters are shared by a batch, so that at scale 2 the samples, each with its own
kernel, go one by one.

    python examples/usrnet_data_step.py --size 256
"""
import sys

import side_by_side
import torch
from torch import nn
from torch.nn import functional as F

import svconv

TAPS, STEPS = 15, 4
CASES = {"usrnet_data_step, scale 1": {"scale": 1}, "usrnet_data_step, scale 2": {"scale": 2}}


class Plain(nn.Module):
    def __init__(self, scale=1, width=16):
        super().__init__()
        self.scale = scale
        self.alphas = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, STEPS), nn.Softplus())
        self.denoise = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, y, kernel, noise):
        """y [B, 3, H, W], kernel [B, 1, k, k], noise [B, 1] -> [B, 3, scale * H, scale * W]"""
        z = F.interpolate(y, scale_factor=self.scale)
        for alpha in self.alphas(noise).unbind(1):
            x = self.data_step(z, y, kernel, alpha + 1e-3)
            z = x + self.denoise(x)
        return z

    def data_step(self, z, y, kernel, alpha):
        (h, w), (kh, kw), s, alpha = z.shape[-2:], kernel.shape[-2:], self.scale, alpha[:, None, None, None]
        centred = F.pad(kernel, (0, w - kw, 0, h - kh)).roll((-(kh // 2), -(kw // 2)), (-2, -1))
        if s == 1:
            k = torch.fft.rfft2(centred)
            return torch.fft.irfft2((k.conj() * torch.fft.rfft2(y) + alpha * torch.fft.rfft2(z)) / (k.abs().square() + alpha), s=(h, w))
        k = torch.fft.fft2(centred)
        right = k.conj() * torch.fft.fft2(spread(y, s)) + alpha * torch.fft.fft2(z)
        middle = folded(k * right, s) / (folded(k.abs().square(), s) + alpha)
        return torch.fft.ifft2((right - k.conj() * middle.repeat(1, 1, s, s)) / alpha).real


class WithSvconv(Plain):
    def data_step(self, z, y, kernel, alpha):
        s = self.scale
        r = svconv.conv(z, kernel)[..., ::s, ::s] - y
        if s == 1:
            return z - svconv.image_quotient(r, kernel, beta=alpha)
        solved = [svconv.image_quotient(r[i:i + 1], r.new_ones(1, 1, 1), beta=1 / a, prior=phases(kernel[i], s)) / a
                  for i, a in enumerate(alpha)]
        return z - svconv.conv_adjoint(spread(torch.cat(solved), s), kernel)


def spread(y, s):
    """The pixels on every s-th place of a fine grid of zeros."""
    fine = y.new_zeros(*y.shape[:2], s * y.shape[2], s * y.shape[3])
    fine[..., ::s, ::s] = y
    return fine


def folded(spectrum, s):
    """The mean of the frequencies that are one on the coarse grid."""
    h, w = spectrum.shape[-2:]
    return spectrum.unflatten(-1, (s, w // s)).unflatten(-3, (s, h // s)).mean((-4, -2))


def phases(kernel, s):
    """kernel [1, kh, kw] -> [s * s, ceil(kh / s), ceil(kw / s)], every s-th tap from each of the first s * s on."""
    kh, kw = kernel.shape[-2:]
    return F.pixel_unshuffle(F.pad(kernel, (0, -kw % s, 0, -kh % s)), s)


def inputs(size, seed, batch=1, scale=1):
    """A blurry image of that size, its kernel and its noise level."""
    generator = torch.Generator().manual_seed(seed)
    kernel = torch.rand(batch, 1, TAPS, TAPS, generator=generator) ** 4
    kernel /= kernel.sum((-2, -1), keepdim=True)
    sharp = torch.rand(batch, 3, *(scale * side for side in size), generator=generator)
    return svconv.conv(sharp, kernel)[..., ::scale, ::scale].contiguous(), kernel, 0.05 * torch.rand(batch, 1, generator=generator)


def main(argv=None):
    side_by_side.main(sys.modules[__name__], argv)


if __name__ == "__main__":
    main()
