"""D: whether a blurry image is a photograph, or made by a generator from the sharp one beside it."""
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from svconv._shapes import Dims, check_like, number
from svconv.models.degradation_deblur.blocks import SLOPE, InstanceNorm

LEAST = 16      # pixels of a side


class PatchDiscriminator(nn.Module):
    """Five convolutions of 4 x 4, of stride 2, 2, 2, 1, 1: the maps behind each of them, the last one the scores of overlapping patches."""

    def __init__(self, width):
        super().__init__()
        widths = [width * n for n in (1, 2, 4, 8)]
        layers = [nn.Sequential(nn.Conv2d(6, width, 4, 2, padding=2), nn.LeakyReLU(SLOPE))]
        for inputs, outputs, stride in zip(widths, widths[1:], (2, 2, 1)):
            conv = spectral_norm(nn.Conv2d(inputs, outputs, 4, stride, padding=2, bias=False))
            layers.append(nn.Sequential(conv, InstanceNorm(), nn.LeakyReLU(SLOPE)))
        self.layers = nn.ModuleList([*layers, nn.Conv2d(widths[-1], 1, 4, padding=2)])

    def forward(self, x):
        found = []
        for layer in self.layers:
            x = layer(x)
            found.append(x)
        return found


class Discriminators(nn.Module):
    """Two `PatchDiscriminator`s of a pair of images: one at full size, one at half.

    Args:
        width: channels of the first layer; 64 gives 5,533,826 parameters.

    Shapes:
        forward(sharp, blurry [B, 3, H, W], sides of at least 16) -> [maps at full size, maps at half size], five each, width, 2, 4, 8 width
        and 1 channels; the last ones are the scores.

    Raises:
        ValueError, TypeError: naming the argument.

    >>> import torch
    >>> maps = Discriminators(width=4)(torch.rand(1, 3, 32, 48), torch.rand(1, 3, 32, 48))
    >>> [[list(m.shape[1:]) for m in scale][::4] for scale in maps]
    [[[4, 17, 25], [1, 7, 9]], [[4, 9, 13], [1, 5, 6]]]
    """

    def __init__(self, width=64):
        super().__init__()
        self.width = number("width", width, least=1, integer=True)
        self.fine, self.coarse = PatchDiscriminator(self.width), PatchDiscriminator(self.width)
        self.to(memory_format=torch.channels_last)

    def forward(self, sharp, blurry):
        Dims().check("sharp", sharp, "B 3 H W")
        Dims().check("blurry", blurry, "B 3 H W")
        check_like("blurry", blurry, "sharp", sharp)
        if min(sharp.shape[-2:]) < LEAST:
            raise ValueError(f"sharp: expected sides of at least {LEAST} pixels, got {sharp.shape[-2]} x {sharp.shape[-1]}")
        pair = torch.cat([sharp, blurry], 1)
        return [self.fine(pair), self.coarse(functional.avg_pool2d(pair, 3, 2, padding=1, count_include_pad=False))]

    def extra_repr(self):
        return f"width={self.width}"
