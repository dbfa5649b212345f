"""X: an untrained network from noise to an image, an hourglass with skips."""
import torch
from torch import nn
from torch.nn import functional

SLOPE = 0.2
LEVELS, SKIP, NOISE = 5, 16, 8      # levels of halving; channels of a skip; of the noise


def _layer(inputs, outputs, size, stride=1):
    """conv, BatchNorm, leaky ReLU; the border is 0."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, padding=size // 2), nn.BatchNorm2d(outputs), nn.LeakyReLU(SLOPE))


class NonLocal(nn.Module):
    """Every pixel adds what all others say: `x + w(theta(x)' phi(x) g(x) / n)`, keys and values of 2 x 2 pixels' largest, no softmax.

    It begins as the identity, since its last normalisation starts with a weight of 0.
    """

    def __init__(self, width):
        super().__init__()
        self.theta, self.phi, self.g = (nn.Conv2d(width, width // 2, 1) for _ in range(3))
        self.back, self.norm = nn.Conv2d(width // 2, width, 1), nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x):
        side = 2 if min(x.shape[-2:]) > 1 else 1
        queries = self.theta(x).flatten(2).transpose(1, 2)
        keys, values = (functional.max_pool2d(layer(x), side).flatten(2) for layer in (self.phi, self.g))
        said = queries @ (keys @ values.transpose(1, 2)) / keys.shape[-1]      # the small product first
        return x + self.norm(self.back(said.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[-2:])))


class Level(nn.Module):
    """One level of the hourglass: a skip beside two convolutions at half the size, what lies below them, and the way back."""

    def __init__(self, inputs, width, below, non_local):
        super().__init__()
        self.skip = _layer(inputs, SKIP, 1)
        self.down = nn.Sequential(_layer(inputs, width, 3, 2), *([NonLocal(width)] if non_local else []), _layer(width, width, 3))
        self.below = below
        self.up = nn.Sequential(nn.BatchNorm2d(SKIP + width), _layer(SKIP + width, width, 3), _layer(width, width, 1))

    def forward(self, x):
        deep = self.down(x)
        deep = deep if self.below is None else self.below(deep)
        deep = functional.interpolate(deep, scale_factor=2, mode="bilinear", align_corners=False)
        return self.up(torch.cat([self.skip(x), deep], 1))


class ImagePrior(nn.Module):
    """Noise [B, 8, H, W], sides multiples of 32 -> image [B, 3, H, W] in 0..1. 2,365,779 parameters at width 128, 2,265,747 without the
    non-local blocks of the three coarsest levels."""

    def __init__(self, width=128, non_local=True):
        super().__init__()
        level = None
        for number in reversed(range(LEVELS)):
            level = Level(width if number else NOISE, width, level, non_local and number >= 2)
        self.level, self.last = level, nn.Conv2d(width, 3, 1)

    def forward(self, noise):
        return torch.sigmoid(self.last(self.level(noise)))
