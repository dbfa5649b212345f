"""U: from the map of a degradation to its pyramid, one plane of features for each scale of a generator."""
import torch
from torch import nn
from torch.nn import functional

from svconv.models.degradation_deblur.blocks import leaky, spectral
from svconv.models.reflection import ReflectedConv2d

CENTRE, AROUND = 0.9895, 0.0513     # of the kernel below: their squares sum to 1, the nine values to 1.4, which the leaky ReLU takes away


class Doubling(nn.Module):
    """conv3, twice the size by the nearest neighbour, conv3; reflected borders, spectral normalisation, leaky ReLU."""

    def __init__(self, inputs, width):
        super().__init__()
        self.first, self.second = (spectral(ReflectedConv2d(n, width, 3), _start) for n in (inputs, width))

    def forward(self, x):
        return leaky(self.second(functional.interpolate(leaky(self.first(x)), scale_factor=2, mode="nearest")))


class UpSampler(nn.Module):
    """The map -> (Z_1, ..., Z_4) of width, 2, 4, 8 width channels and sides 256, 128, 64, 32.

    Version 1 doubles a map of 4 x 4 six times, version 2 one of 8 x 8 five times; the last four planes are the pyramid.
    """

    def __init__(self, version, width):
        super().__init__()
        widths = [n * width for n in ((4, 32, 16, 8, 4, 2, 1) if version == 1 else (32, 16, 8, 4, 2, 1))]
        self.blocks = nn.ModuleList(Doubling(inputs, outputs) for inputs, outputs in zip(widths, widths[1:]))

    def forward(self, x):
        found = []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return tuple(found[:-5:-1])


@torch.no_grad()
def _start(weight):
    """Orthogonal among the channels, one smooth kernel for all of them: features that vary slowly, as doubled ones do, keep their size, and
    the map arrives at the finest scale. The singular values that are not 0 are 1."""
    mixing = nn.init.orthogonal_(weight.new_empty(weight.shape[:2]))
    kernel = weight.new_full((3, 3), AROUND)
    kernel[1, 1] = CENTRE
    weight.copy_(mixing[:, :, None, None] * kernel / kernel.norm())
