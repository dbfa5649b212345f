"""Blur by a disk of each pixel's own radius in plain torch: the specification of the disk family.

x [B, C, H, W], radius [B|1, 1|C, H, W] in the dtype of x, or float32 beside half types. With S(r, d) the area of the unit pixel about d
inside the disk, `w(r, d) = S / (pi r^2)` and `dw/dr = (dS/dr - 2 S / r) / (pi r^2)`, dS/dr the length of the circle inside the pixel. Up
to 0.5 the kernel is the identity, its derivative 0; above max_radius it is that of max_radius, its derivative 0; a radius that is NaN or
infinite gives NaN at its pixel.
"""
import math

import torch

from svconv._disk_area import disk_reach, pixel_area
from svconv.reference.radial import Radial


def _weights(slope, max_radius):
    def weight(radius, row, column):
        r = radius.clamp(max=max_radius)
        plain = torch.isfinite(r) & (r > 0.5)
        disk = torch.where(plain, r, 1.0)
        area, arc = pixel_area(disk, row, column)
        w = (arc - 2 * area / disk if slope else area) / (math.pi * disk * disk)
        if slope:
            w = torch.where(radius > max_radius, 0.0, w)
        identity = float(not slope and row == 0 and column == 0)
        return torch.where(plain, w, torch.where(torch.isfinite(r), identity, math.nan if row == column == 0 else 0.0))
    return weight


def _blur(radius, form, padding, max_radius, slope=False):
    return Radial(radius, disk_reach(radius, max_radius), _weights(slope, max_radius), form, padding)


def disk_blur_fwd(x, radius, form, padding, max_radius):
    return _blur(radius, form, padding, max_radius).apply(x).to(x.dtype)


def disk_blur_adjoint(y, radius, form, padding, max_radius):
    return _blur(radius, form, padding, max_radius).transpose(y).to(y.dtype)


def disk_blur_bwd_radius(x, g, radius, form, padding, max_radius):
    """The gradient of <g, blur of x> in the radius, like it."""
    return _blur(radius, form, padding, max_radius, slope=True).gradient(x, g).to(radius.dtype)


def disk_slope_fwd(x, radius, form, padding, max_radius):
    """The blur with dw/dr in the place of w."""
    return _blur(radius, form, padding, max_radius, slope=True).apply(x).to(x.dtype)


def disk_slope_adjoint(y, radius, form, padding, max_radius):
    return _blur(radius, form, padding, max_radius, slope=True).transpose(y).to(y.dtype)
