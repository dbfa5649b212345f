"""The layers of the encoder and the generators of DegradationDeblur."""
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from svconv.models.reflection import ReflectedConv2d
from svconv.nn import HalfInstanceNorm2d

SLOPE = 0.2     # of the leaky ReLU everywhere


def leaky(x):
    return functional.leaky_relu(x, SLOPE)


def spectral(conv, start=nn.init.orthogonal_):
    """The convolution under spectral normalisation, with orthogonal weights and a bias of 0 at the start.

    All its singular values are 1 then. Of random weights only the largest is, and a dozen such layers would leave next to nothing of what
    tells one map from another. start: another function that fills the weight.
    """
    start(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return spectral_norm(conv)


class InstanceNorm(nn.Module):
    """Every channel of every image normalised by itself, without weights; a plane of one pixel becomes 0."""

    def forward(self, x):
        return torch.group_norm(x, x.shape[1]).to(x.dtype)


def normed(inputs, width, *, stride=1, size=3, reflect=False, norm=True):
    """A convolution under spectral normalisation; with `norm` an instance normalisation behind it, which makes a bias needless."""
    bias = not norm
    conv = ReflectedConv2d(inputs, width, size, bias=bias) if reflect else nn.Conv2d(inputs, width, size, stride, padding=1, bias=bias)
    return nn.Sequential(spectral(conv), *([InstanceNorm()] if norm else []))


class Residual(nn.Module):
    """leaky(h + conv3(leaky(conv3(h)))), the borders reflected, without normalisation or with that of the spectrum."""

    def __init__(self, width, normalised):
        super().__init__()
        convs = [ReflectedConv2d(width, width, 3) for _ in range(2)]
        self.first, self.second = map(spectral, convs) if normalised else convs

    def forward(self, x):
        return leaky(x + self.second(leaky(self.first(x))))


class Block(nn.Module):
    """conv3, half instance normalisation (in encoders), conv1 (in the two-stage network), conv3, a leaky ReLU after each; conv1 of the
    input added.

    Args:
        inputs, width: channels of the input and of the result. half_norm: with the normalisation. middle: with the convolution of one pixel
            between the two; the shortcut has a bias where it is missing.
    """

    def __init__(self, inputs, width, *, half_norm, middle):
        super().__init__()
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.norm = HalfInstanceNorm2d(width) if half_norm else None
        self.middle = nn.Conv2d(width, width, 1, bias=False) if middle else None
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, width, 1, bias=not middle)

    def forward(self, x):
        y = self.first(x)
        y = leaky(y if self.norm is None else self.norm(y))
        if self.middle is not None:
            y = leaky(self.middle(y))
        return leaky(self.second(y)) + self.shortcut(x)
