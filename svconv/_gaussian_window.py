"""How wide the window of a Gaussian is."""
import math

import torch

from svconv._disk_area import LARGEST


def half_width(sigma, truncate):
    """`floor(truncate sigma + 1/2)`, 0 where sigma is not above 0; like sigma, which is finite or not."""
    return torch.floor(truncate * sigma + 0.5).clamp_min(0)


def gaussian_reach(sigma, max_sigma=math.inf, truncate=4.0):
    """How far the windows of a map reach from their pixel, none above that of max_sigma.

    Raises:
        ValueError: a window above LARGEST.
    """
    sigma = sigma.detach().clamp(max=max_sigma)
    width = half_width(sigma[torch.isfinite(sigma)], truncate)
    reach = int(width.max()) if width.numel() else 0
    if reach > LARGEST:
        raise ValueError(f"sigma: expected truncate * sigma of at most {LARGEST} pixels (max_sigma= clamps), got {reach}")
    return reach
