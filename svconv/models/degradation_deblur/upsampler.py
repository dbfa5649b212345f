"""U: from the map of a degradation to its pyramid, one plane of features for each scale of a generator."""
from torch import nn
from torch.nn import functional

from svconv.models.degradation_deblur.blocks import ReflectedConv2d, leaky, spectral


class Doubling(nn.Module):
    """conv3, twice the size by the nearest neighbour, conv3; reflected borders, spectral normalisation, leaky ReLU."""

    def __init__(self, inputs, width):
        super().__init__()
        self.first, self.second = (spectral(ReflectedConv2d(n, width, 3)) for n in (inputs, width))

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
