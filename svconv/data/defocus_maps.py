"""Defocus maps: the radius of the blur disk at every pixel, in the thirteen patterns of the training data, and what spoils them."""
import functools

import torch

from svconv._shapes import number

REFERENCE = 340     # pixels of the side along which the lengths of the patterns are given
_EDGE, _STEP, _START = 100, 50, 140
PATTERNS = tuple(range(1, 14))


def defocus_radii(first=0.75, last=6.0, step=0.25):
    """The radii that a map is made of, in pixels: 0.75, 1, ..., 6 (22 of them); `first=0.5` gives the paper's 23.

    Returns:
        float32 [n].

    >>> len(defocus_radii()), len(defocus_radii(0.5)), defocus_radii()[:3].tolist()
    (22, 23, [0.75, 1.0, 1.25])
    """
    first, step = number("first", first, least=0), number("step", step, above=0)
    last = number("last", last, least=first)
    return first + step * torch.arange(int((last - first) / step + 1e-6) + 1, dtype=torch.float32)


def defocus_map(pattern, height, width, n=1, *, radii=None, generator=None):
    """Random maps of blur radii in one of thirteen patterns.

    1 to 4 ramp from left to right, top to bottom, right to left, bottom to top: 0 before a start in the first 100 pixels, then linearly
    from one of the 6 smallest radii to one of the 6 largest, which is reached in the last 100 pixels and goes on. 5 to 8 climb four
    stairs of 50 pixels, two radii each, in the same four directions, 0 before a start in the first 140 pixels; the last one goes on. 9
    has one radius everywhere. 10 to 13 are the geometric means of the ramps 1 and 2, 3 and 4, 1 and 4, 2 and 3. The lengths are for sides
    of 340 pixels and shrink with smaller sides.

    Args:
        pattern: 1 to 13.
        height, width: size of the map.
        n: number of maps, drawn independently.
        radii: increasing radii [>= 12], None: `defocus_radii()`.
        generator: `torch.Generator` on the CPU; the same state gives the same maps. None uses torch's default one.

    Returns:
        float32 [n, 1, height, width], in pixels.

    Raises:
        ValueError, TypeError: naming the argument.

    SVBR-Net (2023), training data.

    >>> maps = defocus_map(1, 100, 340, n=3, generator=torch.Generator().manual_seed(0))
    >>> maps.shape, float(maps.min()), 4.75 <= float(maps.max()) <= 6
    (torch.Size([3, 1, 100, 340]), 0.0, True)
    """
    pattern = number("pattern", pattern, least=1, most=13, integer=True)
    height, width = number("height", height, least=1, integer=True), number("width", width, least=1, integer=True)
    n = number("n", n, least=0, integer=True)
    radii = defocus_radii() if radii is None else _checked_radii(radii)
    draw = functools.partial(_draw, generator=generator)
    maps = [_one(pattern, height, width, radii, draw) for _ in range(n)]
    return torch.stack(maps)[:, None] if maps else torch.empty(0, 1, height, width)


def _checked_radii(radii):
    if not isinstance(radii, torch.Tensor) or radii.dim() != 1 or len(radii) < 12 or not bool((radii.diff() > 0).all()):
        raise ValueError("radii: expected an increasing tensor [n] with n >= 12")
    return radii.float()


def _draw(count, generator):
    """A random integer of 0 .. count - 1."""
    return int(torch.randint(count, (), generator=generator))


_MEANS = {10: (1, 2), 11: (3, 4), 12: (1, 4), 13: (2, 3)}


def _one(pattern, height, width, radii, draw):
    if pattern == 9:
        return torch.full((height, width), float(radii[draw(len(radii))]))
    if pattern in _MEANS:
        first, second = (_one(part, height, width, radii, draw) for part in _MEANS[pattern])
        return (first * second).sqrt()
    profile = _ramp if pattern <= 4 else _stairs
    direction = (pattern - 1) % 4       # along the columns, the rows, and both backwards
    line = profile(height if direction % 2 else width, radii, draw)
    line = line.flip(0) if direction >= 2 else line
    return line[:, None].expand(height, width).clone() if direction % 2 else line.expand(height, width).clone()


def _scaled(pixels, length):
    return max(1, round(pixels * min(1, length / REFERENCE)))


def _ramp(length, radii, draw):
    edge = _scaled(_EDGE, length)
    start, stop = draw(edge), length - edge + draw(edge)
    low, high = float(radii[draw(6)]), float(radii[len(radii) - 6 + draw(6)])
    t = torch.arange(length, dtype=torch.float32)
    line = low + (high - low) * ((t - start) / max(stop - start, 1)).clamp(0, 1)
    return torch.where(t < start, 0.0, line)


def _stairs(length, radii, draw):
    step, start, index = _scaled(_STEP, length), draw(_scaled(_START, length) + 1), draw(len(radii) - 7)
    t = torch.arange(length)
    stair = ((t - start) // step).clamp(0, 3)
    return torch.where(t < start, 0.0, radii[index + 2 * stair])


def nearest_radius(radius, radii=None):
    """The nearest of some radii at every pixel, 0 where the radius is at most 0.5.

    Args:
        radius: a tensor of radii in pixels. radii: increasing [n], None: `defocus_radii()`.

    Returns:
        Like radius. A NaN stays one.

    >>> nearest_radius(torch.tensor([0.0, 0.5, 0.6, 1.1, 9.0])).tolist()
    [0.0, 0.0, 0.75, 1.0, 6.0]
    """
    radii = (defocus_radii() if radii is None else radii).to(radius)
    middle = (radii[1:] + radii[:-1]) / 2
    found = radii[torch.bucketize(torch.nan_to_num(radius).contiguous(), middle)]
    return torch.where(torch.isnan(radius), radius, torch.where(radius <= 0.5, 0.0, found))


def spoiled_map(radius, *, noise=0.0, scale=1.0, generator=None):
    """A map as an estimator might give it: `max(scale radius + noise N(0, 1), 0)`.

    Args:
        radius: [..., H, W] in pixels. noise: standard deviation in pixels, >= 0. scale: >= 0.
        generator: `torch.Generator` on the device of the map, or None.

    >>> spoiled_map(torch.ones(1, 1, 2, 2), scale=1.25).flatten().tolist()
    [1.25, 1.25, 1.25, 1.25]
    """
    noise, scale = number("noise", noise, least=0), number("scale", scale, least=0)
    out = scale * radius
    if noise:
        out = out + noise * torch.randn(out.shape, generator=generator, dtype=out.dtype, device=out.device)
    return out.clamp_min(0)
