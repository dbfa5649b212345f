"""A fixed bank of oriented filters at several scales: maps for a feature distance where there are no weights of a network."""
import math

import torch
from torch import nn
from torch.nn import functional

from svconv._shapes import Dims, computed, number

ORIENTATIONS, REACH, SIGMA = 4, 3, 1.0
FLOOR = 1e-3        # of the energy, so that it has a gradient where there is no edge


class FilterBankFeatures(nn.Module):
    """Edges and lines of four orientations at several scales, and their energy; nothing is learned.

    At each scale and in each colour of the image g, with Gaussian derivatives of sigma 1 pixel in 7 x 7 pixels along u at 0, 45, 90 and 135
    degrees, both scaled so that their absolute values add up to one:

        odd = (d/du G) * g,    even = (d^2/du^2 G) * g,    energy = sqrt(odd^2 + even^2 + 10^-6)

    odd answers to edges, even to lines, energy to both alike. The next scale is the image under [1, 2, 1] / 4 in both directions, every
    second pixel. Images go on by replication.

    Args:
        scales: number of maps, 1 to 8.

    Shapes:
        forward(x [B, C, H, W]) -> `scales` maps; map s is [B, 13 C, ceil(H / 2^s), ceil(W / 2^s)]: of each colour the image, then odd, even
        and energy of the four orientations. bfloat16 and float16 are computed in float32.

    Raises:
        ValueError, TypeError: naming the argument.

    Gradients of every order through autograd. Bit-identical from run to run with a fixed number of threads. Memory: the maps, about 17
    images in all; some times as much for a gradient.

    >>> import torch, svconv
    >>> maps = svconv.nn.FilterBankFeatures(3)(torch.rand(2, 3, 32, 45))
    >>> [tuple(m.shape) for m in maps]
    [(2, 39, 32, 45), (2, 39, 16, 23), (2, 39, 8, 12)]
    """

    def __init__(self, scales=5):
        super().__init__()
        self.scales = number("scales", scales, least=1, most=8, integer=True)
        self.register_buffer("filters", _filters(), persistent=False)

    def forward(self, x):
        dims = Dims()
        dims.check("x", x, "B C H W")
        x, maps = computed(x).flatten(0, 1)[:, None], []
        filters = self.filters.to(x)
        for scale in range(self.scales):
            x = _halved(x) if scale else x
            odd, even = functional.conv2d(functional.pad(x, (REACH,) * 4, mode="replicate"), filters).split(ORIENTATIONS, 1)
            energy = (odd.square() + even.square() + FLOOR**2).sqrt()
            maps.append(torch.cat([x, odd, even, energy], 1).unflatten(0, (dims["B"], dims["C"])).flatten(1, 2))
        return maps

    def extra_repr(self):
        return f"scales={self.scales}"


def _filters():
    """float64 [8, 1, 7, 7]: odd, then even, each in four orientations (correlation)."""
    at = torch.arange(-REACH, REACH + 1, dtype=torch.float64)
    gauss = torch.exp(-(at[:, None].square() + at.square()) / (2 * SIGMA**2))
    odd, even = [], []
    for n in range(ORIENTATIONS):
        angle = math.pi * n / ORIENTATIONS
        u = math.sin(angle) * at[:, None] + math.cos(angle) * at
        odd.append(u * gauss)
        line = (u.square() / SIGMA**2 - 1) * gauss
        even.append(line - gauss * (line.sum() / gauss.sum()))      # a flat image has no lines
    bank = torch.stack(odd + even)
    return (bank / bank.abs().sum((1, 2), keepdim=True))[:, None]


def _halved(x):
    for _ in range(2):
        x = functional.pad(x, (1, 1, 0, 0), mode="replicate").mT
        n = x.shape[-2] - 2
        x = 0.25 * x[..., :n:2, :] + 0.5 * x[..., 1:n + 1:2, :] + 0.25 * x[..., 2::2, :]
    return x
