"""An unrolled deblurring network for a blur that changes over the image: gradient steps and a learned proximal step in turn.

The blur is given by a PSF for each of 4 x 4 overlapping patches: windowed patches are convolved with their PSFs and added up (efficient
filter flow). The usual code cuts the patches out, multiplies by windows, transforms them all, multiplies the spectra and adds the results;
for the gradient step the transpose is written by hand likewise. With svconv the blur is an operator: `PlainBlur(kernels, size)` becomes
`svconv.EFFBlur(kernels, grid)`, and `blur(x)`, `blur.adjoint(y)` stay.

    python examples/unrolled_eff.py --size 256
"""
import sys

import side_by_side
import torch
from torch import nn
from torch.nn import functional as F

import svconv

PATCHES, TAPS, STEPS = (4, 4), 15, 3


def windows(length, count):
    """Starts of `count` patches that overlap by half, and their Hann windows [count, side], which add up to one."""
    side = -(-2 * length // (count + 1))
    starts = [(2 * i * (length - side) + count - 1) // (2 * (count - 1)) for i in range(count)]
    bump, total = torch.hann_window(2 * side, dtype=torch.float64)[1::2], torch.zeros(length, dtype=torch.float64)
    for start in starts:
        total[start:start + side] += bump
    return starts, torch.stack([bump / total[start:start + side] for start in starts])


class PlainBlur:
    """y = sum_r conv(w_r x, k_r) with zeros around the image, and its transpose; kernels [B, R, k, k]."""

    def __init__(self, kernels, size):
        (rows, row_windows), (columns, column_windows) = (windows(*pair) for pair in zip(size, PATCHES))
        self.size, self.taps = size, kernels.shape[-1]
        self.starts = [(row, column) for row in rows for column in columns]
        self.windows = (row_windows[:, None, :, None] * column_windows[:, None, :]).flatten(0, 1).to(kernels)
        self.patch = self.windows.shape[-2:]
        self.plane = [-(-(side + self.taps - 1) // 16) * 16 for side in self.patch]        # multiples of 16 have quick transforms
        self.spectra = torch.fft.rfft2(kernels, s=self.plane)[:, None]

    def cut(self, x, more=0):
        height, width = (side + more for side in self.patch)
        return torch.stack([x[..., row:row + height, column:column + width] for row, column in self.starts], 2)

    def added(self, patches, more=0):
        height, width = patches.shape[-2:]
        plane = patches.new_zeros(*patches.shape[:2], *(side + more for side in self.size))
        for patch, (row, column) in zip(patches.unbind(2), self.starts):
            plane[..., row:row + height, column:column + width] += patch
        return plane

    def __call__(self, x):
        more, centre, (h, w) = self.taps - 1, self.taps // 2, self.size
        sent = torch.fft.irfft2(self.spectra * torch.fft.rfft2(self.windows * self.cut(x), s=self.plane), s=self.plane)
        plane = self.added(sent[..., :self.patch[0] + more, :self.patch[1] + more], more)
        return plane[..., centre:centre + h, centre:centre + w]

    def adjoint(self, y):
        more, centre, (p, q) = self.taps - 1, self.taps // 2, self.patch
        wide = F.pad(y, (centre, more - centre, centre, more - centre))
        seen = torch.fft.irfft2(self.spectra.conj() * torch.fft.rfft2(self.cut(wide, more), s=self.plane), s=self.plane)
        return self.added(self.windows * seen[..., :p, :q])


class Plain(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.rates = nn.Parameter(torch.full((STEPS,), 0.5))
        self.proximal = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, y, kernels):
        """y [B, 3, H, W], kernels [B, R, k, k] -> [B, 3, H, W]"""
        x, blur = y, self.blur(kernels, y.shape[-2:])
        for rate in self.rates:
            x = x - rate * blur.adjoint(blur(x) - y)
            x = x + self.proximal(x)
        return x

    def blur(self, kernels, size):
        return PlainBlur(kernels, size)


class WithSvconv(Plain):
    def blur(self, kernels, size):
        return svconv.EFFBlur(kernels, svconv.EFFGrid(size, PATCHES))


def inputs(size, seed, batch=1):
    """A blurry image and its PSFs."""
    generator = torch.Generator().manual_seed(seed)
    kernels = torch.rand(batch, PATCHES[0] * PATCHES[1], TAPS, TAPS, generator=generator) ** 4
    kernels /= kernels.sum((-2, -1), keepdim=True)
    sharp = torch.rand(batch, 3, *size, generator=generator)
    return svconv.eff_conv(sharp, kernels, svconv.EFFGrid(size, PATCHES)), kernels


def main(argv=None):
    side_by_side.main(sys.modules[__name__], argv)


if __name__ == "__main__":
    main()
