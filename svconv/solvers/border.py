"""What the solvers may assume about light from outside of the image: extension, smooth wrap and edge taper."""
import math

import torch

from svconv._plane import Plane

BORDERS = ("mask", "taper", "replicate", None)


def check_border(border):
    if border not in BORDERS:
        raise ValueError(f"border: expected one of {', '.join(map(repr, BORDERS))}, got {border!r}")


def rising(n, dtype, device):
    """n values of sin^2 that rise from near 0 to near 1."""
    t = (torch.arange(n, dtype=torch.float64) + 0.5) / max(n, 1)
    return torch.sin(0.5 * math.pi * t).square().to(device, dtype)


def wide_plane(image, top, left, size):
    """The plane of `size` in which the image has `top` pixels above and `left` pixels before it, all of it margin."""
    (height, width), (rows, columns) = image, size
    return Plane((height, width), (top, rows - height - top, left, columns - width - left), (rows, columns), "circular")


def extend_smoothly(y, plane):
    """y continued over the plane so that it is also smooth across the wrap of a circular transform.

    Outside of the image the nearest edge pixel is continued and blended, from one side to the other, with the edge pixel of the opposite
    side, which a circular transform takes for its neighbour.
    """
    top, bottom, left, right = plane.margins
    return _wrap(_wrap(y, -2, top, bottom), -1, left, right)


def _wrap(y, axis, before, after):
    n = before + after
    if n == 0:
        return y
    first, last = y.narrow(axis, 0, 1), y.narrow(axis, y.shape[axis] - 1, 1)
    ramp = rising(n, y.dtype, y.device).reshape((n, 1) if axis == -2 else (n,))
    gap = last + (first - last) * ramp
    return torch.cat((gap.narrow(axis, after, before), y, gap.narrow(axis, 0, after)), axis)


def continued(y, plane, margins, padding):
    """y continued by `padding` over (top, bottom, left, right) of the plane, and from there smoothly to the opposite side."""
    top, bottom, left, right = margins
    height, width = y.shape[-2:]
    inner = Plane((height, width), margins, (height + top + bottom, width + left + right), padding)
    return extend_smoothly(inner.enter(y), wide_plane(inner.size, 0, 0, plane.size))


def edge_window(height, width, reach, dtype, device):
    """[H, W]: 1 inside, falling to 0 towards each edge over twice the reach of the kernel there."""
    top, bottom, left, right = reach

    def axis(n, before, after):
        window = torch.ones(n, dtype=dtype, device=device)
        before, after = min(2 * before, n), min(2 * after, n)
        window[:before] *= rising(before, dtype, device)
        window[n - after:] *= rising(after, dtype, device).flip(0)
        return window

    return axis(height, top, bottom)[:, None] * axis(width, left, right)


def taper_edges(y, circular):
    """y near its edges replaced by its own circular blur, so that the image is consistent with circular continuation."""
    window = edge_window(*y.shape[-2:], circular.reach, y.dtype, y.device)
    return window * y + (1 - window) * circular(y)
