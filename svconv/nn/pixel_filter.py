"""Modules of the pixel_filter family: applying per-pixel filters, and the network that predicts them."""
import torch
from torch import nn
from torch.nn import functional

from svconv._boundary import canonical_padding
from svconv._shapes import check_image, number
from svconv.ops import pixel_filter, pixel_filter_adjoint


class PixelFilter2d(nn.Module):
    """Applies per-pixel filters as a layer: `svconv.pixel_filter`, or its exact transpose.

    Args:
        padding: boundary rule, as in `svconv.pixel_filter`.
        adjoint: apply the transpose instead.
        backend: force a backend.

    forward(x, filters) takes and returns what the op does; there are no parameters.

    >>> import torch, svconv
    >>> layer = svconv.nn.PixelFilter2d(padding="replicate")
    >>> layer(torch.rand(2, 3, 8, 8), torch.rand(2, 5, 5, 8, 8)).shape
    torch.Size([2, 3, 8, 8])
    """

    def __init__(self, padding="zeros", *, adjoint=False, backend=None):
        super().__init__()
        self.padding, self.adjoint, self.backend = canonical_padding(padding), adjoint, backend

    def forward(self, x, filters):
        function = pixel_filter_adjoint if self.adjoint else pixel_filter
        return function(x, filters, padding=self.padding, backend=self.backend)

    def extra_repr(self):
        return f"padding={self.padding!r}" + (", adjoint=True" if self.adjoint else "")


class FilterPredictor(nn.Module):
    """A small CNN that predicts `filters` filters of size x size for every pixel and channel.

    `depth` times conv 3x3 + ReLU of `width` channels, then conv 3x3 to channels * filters * size^2, all zero-padded. The output is
    contiguous, ready for `svconv.pixel_filter`. Learning Spatially-Variant MAP Models (2021), Table 5.

    Args:
        in_channels: channels of the guide image.
        filters: number of filters per pixel (M or N).
        size: side of a filter.
        channels: 1 = shared by the colours, otherwise one set for each.
        width, depth: of the hidden convolutions.
        zero_sum: filters whose weights sum to 0, as those of derivatives do: the mean over a filter is taken off the last convolution.

    forward(guide [B, in_channels, H, W]) -> [B, channels, filters, size, size, H, W].

    >>> import torch, svconv
    >>> net = svconv.nn.FilterPredictor(3, filters=3, size=5)
    >>> sum(p.numel() for p in net.parameters())
    279329
    >>> net(torch.rand(1, 3, 8, 9)).shape
    torch.Size([1, 3, 3, 5, 5, 8, 9])
    """

    def __init__(self, in_channels, filters, size, *, channels=3, width=64, depth=5, zero_sum=False):
        super().__init__()
        given = {"in_channels": in_channels, "filters": filters, "size": size, "channels": channels, "width": width, "depth": depth}
        in_channels, filters, size, channels, width, depth = (number(name, value, least=1, integer=True) for name, value in given.items())
        self.in_channels, self.filters, self.size, self.channels = in_channels, filters, size, channels
        self.zero_sum = bool(zero_sum)
        layers = []
        for i in range(depth):
            layers += [nn.Conv2d(in_channels if i == 0 else width, width, 3, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, channels * filters * size * size, 3, padding=1))
        self.to(memory_format=torch.channels_last)      # the faster layout of the convolutions, half types in particular

    def forward(self, guide):
        check_image("guide", guide)
        if guide.shape[1] != self.in_channels:
            raise ValueError(f"guide: expected {self.in_channels} channels, got {guide.shape[1]}")
        head = self._last(self.layers[:-1](guide)).contiguous()         # the filters are read plane by plane
        return head.unflatten(1, (self.channels, self.filters, self.size, self.size))

    def _last(self, features):
        last = self.layers[-1]
        if not self.zero_sum:
            return last(features)
        weight, bias = (self._without_mean(t) for t in (last.weight, last.bias))
        return functional.conv2d(features, weight, bias, padding=1)

    def _without_mean(self, t):
        taps = t.unflatten(0, (-1, self.size * self.size))
        return (taps - taps.mean(1, keepdim=True)).flatten(0, 1)

    def extra_repr(self):
        return f"in_channels={self.in_channels}, filters={self.filters}, size={self.size}, channels={self.channels}" + (
            ", zero_sum=True" if self.zero_sum else "")
