"""A defocus renderer: a network makes a map of blur radii from an image and its depth, every pixel is blurred by a disk of its radius.

The gradient has to pass through the renderer to the map. Two plain versions:

- exact but slow: every pixel weighs its neighbours by the share of its own disk that falls on them, a loop over all offsets of the
  largest disk. svconv computes the same to rounding.
- in layers, as people write it: the image is blurred with the disks of a few radii and each pixel blends the two next to its own. That is
  an approximation, of the blur and even more of its gradient; it is timed, and the difference is printed.

Only `render` changes: `svconv.disk_blur`.

    python examples/defocus_renderer.py --size 256
"""
import math
import sys

import side_by_side
import torch
from torch import nn
from torch.nn import functional as F

import svconv

LARGEST = 4.0       # radius in pixels
REACH = math.ceil(LARGEST - 0.5)
CASES = {"defocus_renderer": {}, "defocus_renderer, plain in 8 layers": {"layers": 8}}


def under_arc(r, t):
    """The area below the circle from 0 to t <= r. Only the angle counts for its gradient in r; that of t cancels in `corner`."""
    with torch.no_grad():
        up = (r.square() - t.square()).clamp(min=0).sqrt()
        angle = torch.atan2(t, up)
    return (t * up + r.square() * angle) / 2


def corner(r, x, y):
    """The share of the disk of radius r between its axes and the lines at x and y, two positive numbers."""
    with torch.no_grad():
        end = r.clamp(max=x)
        flat = (r.square() - y * y).clamp(min=0).sqrt().clamp(max=x)       # so far the line at y is below the circle
    return (y * flat + under_arc(r, end) - under_arc(r, flat)) / (math.pi * r.square())


def disk_weights(r):
    """{(i, j): the share of the disk on the pixel at the offset (i, j)}, 0 <= j <= i <= REACH."""
    sides = range(REACH + 1)
    share = {(i, j): corner(r, i + 0.5, j + 0.5) for i in sides for j in sides if j <= i}
    share |= {(j, i): area for (i, j), area in share.items()}
    share |= {(i, -1): -share[i, 0] for i in sides} | {(-1, i): -share[0, i] for i in sides} | {(-1, -1): share[0, 0]}
    return {(i, j): share[i, j] - share[i - 1, j] - share[i, j - 1] + share[i - 1, j - 1] for i in sides for j in sides if j <= i}


class Plain(nn.Module):
    def __init__(self, layers=None, width=16):
        super().__init__()
        self.layers = layers
        self.radius = nn.Sequential(nn.Conv2d(4, width, 5, padding=2), nn.ReLU(), nn.Conv2d(width, 1, 5, padding=2))

    def forward(self, image, depth):
        """image [B, 3, H, W], depth [B, 1, H, W] -> [B, 3, H, W]"""
        radius = LARGEST * torch.sigmoid(self.radius(torch.cat([image, depth], 1)) + 4 * depth - 2)
        return self.render(image, radius)

    def render(self, image, radius):
        return self.render_by_shifts(image, radius) if self.layers is None else self.render_in_layers(image, radius)

    def render_by_shifts(self, image, radius):
        (h, w), weights, y = image.shape[-2:], disk_weights(radius), 0
        wide = F.pad(image, (REACH,) * 4, mode="replicate")
        for i in range(-REACH, REACH + 1):
            for j in range(-REACH, REACH + 1):
                weight = weights[max(abs(i), abs(j)), min(abs(i), abs(j))]
                y = y + weight * wide[..., REACH + i:REACH + i + h, REACH + j:REACH + j + w]
        return y

    def render_in_layers(self, image, radius):
        levels, channels, y = torch.linspace(0.5, LARGEST, self.layers), image.shape[1], 0
        weights = disk_weights(levels)
        for n, level in enumerate(levels.tolist()):
            reach = math.ceil(level - 0.5)
            side = [abs(i) for i in range(-reach, reach + 1)]
            kernel = torch.stack([torch.stack([weights[max(i, j), min(i, j)][n] for j in side]) for i in side]).to(image)
            wide = F.pad(image, (reach,) * 4, mode="replicate")
            blurred = F.conv2d(wide, kernel.expand(channels, 1, -1, -1), groups=channels)
            distance = (radius.clamp(min=0.5) - level).abs() / float(levels[1] - levels[0])
            y = y + (1 - distance).clamp(min=0) * blurred
        return y


class WithSvconv(Plain):
    def render(self, image, radius):
        return svconv.disk_blur(image, radius)


def inputs(size, seed, batch=1, layers=None):
    """A sharp image and a depth in waves."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(batch, 3, *size, generator=generator)
    rows, columns = (torch.linspace(0, 7, side).sin() for side in size)
    return image, (0.5 + 0.25 * (rows[:, None] + columns)).expand(batch, 1, *size).clone()


def main(argv=None):
    side_by_side.main(sys.modules[__name__], argv)


if __name__ == "__main__":
    main()
