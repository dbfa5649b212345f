"""The area of a unit pixel inside a disk, exactly: what a defocus kernel is made of, and its derivative in the radius.

In the quadrant of positive coordinates a pixel x0..x1 x y0..y1 is cut by the circle between xa and xb, where it leaves through the top and
through the bottom: the columns before xa are full, the stretch between holds a trapezoid and the segment between chord and arc. Written
with the chord, no two large numbers are subtracted whatever the radius is.
"""
import math

import torch

LARGEST = 16384     # pixels: beyond it a radius is an error and not a day's work


def disk_reach(radius, max_radius=math.inf):
    """How far the disks of a map reach from their pixel: `ceil(r - 1/2)` of the largest finite radius, none above max_radius.

    Raises:
        ValueError: a radius above LARGEST.
    """
    radius = radius.detach().clamp(max=max_radius)
    radius = radius[torch.isfinite(radius)]
    largest = float(radius.max()) if radius.numel() else 0.0
    if largest > LARGEST:
        raise ValueError(f"radius: expected at most {LARGEST} pixels (max_radius= clamps), got {largest:g}")
    return max(0, math.ceil(largest - 0.5))



def pixel_area(radius, row, column):
    """(area, arc): of the pixel about (row, column) inside a disk about the origin, and the length of the circle inside the pixel, which
    is the derivative of the area in the radius.

    Args:
        radius: a tensor, > 0, float32 or float64. row, column: tensors or numbers that broadcast with it; whole numbers.

    Both have rounding errors of some units in the last place of 1, for radii up to thousands, and are the same for (column, row). The arc
    jumps where the circle begins to touch a pixel: there it is that of the smaller radius.
    """
    row, column = (torch.as_tensor(t, dtype=radius.dtype, device=radius.device).abs() for t in (row, column))
    row, column = torch.maximum(row, column), torch.minimum(row, column)
    area, arc = _quadrant(radius, (column - 0.5).clamp_min(0), column + 0.5, (row - 0.5).clamp_min(0), row + 0.5)
    twice = torch.where(column == 0, 2.0, 1.0) * torch.where(row == 0, 2.0, 1.0)     # an axis halves its pixels
    twice = twice.to(radius.dtype)
    return twice * area, twice * arc


def _quadrant(r, x0, x1, y0, y1):
    xa = _half_chord(r, y1).clamp(x0, x1)
    xb = _half_chord(r, y0).clamp(x0, x1)
    xb = torch.maximum(xa, xb)
    sa, sb = _half_chord(r, xa), _half_chord(r, xb)
    full = (xa - x0) * (y1 - y0)
    width = xb - xa
    # sin of the angle between the two points: their cross product, with sb - sa = -width (xa + xb) / (sa + sb)
    total = (sa + sb).clamp_min(torch.finfo(r.dtype).tiny)
    cross = width * (sa + xa * (xa + xb) / total)
    angle = torch.atan2(cross, xa * xb + sa * sb)
    segment = 0.5 * r * r * _angle_less_sine(angle)
    under = width * (0.5 * (sa + sb) - y0) + segment
    return full + torch.where(width > 0, under, 0.0), torch.where(width > 0, r * angle, 0.0)


def _half_chord(r, t):
    """sqrt(r^2 - t^2), 0 beyond the circle."""
    return ((r - t) * (r + t)).clamp_min(0).sqrt()


def _angle_less_sine(t):
    """t - sin t for 0 <= t <= pi / 2, where it is small by its series."""
    s = t * t
    series = t * s / 6 * (1 - s / 20 * (1 - s / 42 * (1 - s / 72 * (1 - s / 110))))
    return torch.where(t < 0.5, series, t - torch.sin(t))
