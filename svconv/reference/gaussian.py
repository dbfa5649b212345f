"""Blur by a Gaussian of each pixel's own sigma in plain torch: the specification of the gaussian family.

x [B, C, H, W], sigma [B|1, 1|C, H, W] in the dtype of x, or float32 beside half types. `w(sigma, d) = e(row) e(column) / Z^2` with
`e(t) = exp(-t^2 / (2 sigma^2))` for |t| up to `floor(truncate sigma + 1/2)`, 0 beyond, and Z the sum of e. Its derivative in sigma, the
window held, is `w ((row^2 + column^2) / sigma^3 - 2 Z' / Z)`. Up to 0 the kernel is the identity; above max_sigma it is that of max_sigma,
its derivative 0; a sigma that is NaN or infinite gives NaN at its pixel.
"""
import math

import torch

from svconv._gaussian_window import gaussian_reach, half_width
from svconv.reference.radial import Radial


class _Weights:
    """The weights of one map, or their derivatives; the sums over the windows are made once."""

    def __init__(self, sigma, reach, slope, max_sigma, truncate):
        self.slope, self.above = slope, sigma > max_sigma
        sigma = sigma.clamp(max=max_sigma)
        self.finite, self.half = torch.isfinite(sigma), half_width(sigma, truncate)
        self.plain = self.finite & (self.half > 0)
        self.sigma = torch.where(self.plain, sigma, 1.0)
        self.total, self.moment = torch.ones_like(sigma), torch.zeros_like(sigma)
        for t in range(1, reach + 1):
            self.total += 2 * self._along(t)
            self.moment += 2 * t * t * self._along(t)

    def _along(self, t):
        return torch.where(t <= self.half, torch.exp(-0.5 * (t / self.sigma) ** 2), 0.0)

    def __call__(self, _, row, column):
        w = self._along(row) * self._along(column) / self.total**2
        if self.slope:
            w = w * (row * row + column * column - 2 * self.moment / self.total) / self.sigma**3
            w = torch.where(self.above, 0.0, w)
        middle = row == column == 0
        identity = float(middle and not self.slope)
        return torch.where(self.plain, w, torch.where(self.finite, identity, math.nan if middle else 0.0))


def _blur(sigma, form, padding, max_sigma, truncate, slope=False):
    reach = gaussian_reach(sigma, max_sigma, truncate)
    blur = Radial(sigma, reach, None, form, padding)
    blur.weight = _Weights(blur.parameter, reach, slope, max_sigma, truncate)
    return blur


def gaussian_blur_fwd(x, sigma, form, padding, max_sigma, truncate):
    return _blur(sigma, form, padding, max_sigma, truncate).apply(x).to(x.dtype)


def gaussian_blur_adjoint(y, sigma, form, padding, max_sigma, truncate):
    return _blur(sigma, form, padding, max_sigma, truncate).transpose(y).to(y.dtype)


def gaussian_blur_bwd_sigma(x, g, sigma, form, padding, max_sigma, truncate):
    """The gradient of <g, blur of x> in sigma, like it; jumps of the windows count for nothing."""
    return _blur(sigma, form, padding, max_sigma, truncate, slope=True).gradient(x, g).to(sigma.dtype)


def gaussian_slope_fwd(x, sigma, form, padding, max_sigma, truncate):
    """The blur with dw/dsigma in the place of w."""
    return _blur(sigma, form, padding, max_sigma, truncate, slope=True).apply(x).to(x.dtype)


def gaussian_slope_adjoint(y, sigma, form, padding, max_sigma, truncate):
    return _blur(sigma, form, padding, max_sigma, truncate, slope=True).transpose(y).to(y.dtype)
