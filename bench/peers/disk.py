"""What people write today instead of disk_blur: layers, shift loops, filter banks. All in the gather form with zeros around the image.

The maps hold 23 radii (0.5 to 6 in steps of a quarter), so that layers compute the same.
"""
import math

import torch

import svconv

from ..measure import require_memory
from . import pixel_filter

LEVELS = svconv.data.defocus_radii(0.5)


def window(radius):
    """The smallest odd window that holds the disk."""
    return 2 * max(0, math.ceil(radius - 0.5)) + 1


def indices(radius):
    """The level of each pixel."""
    return ((radius - float(LEVELS[0])) * 4).round().long()


def layered(x, radius):
    """Every level blurs the whole image by a grouped convolution with its smallest window; each pixel takes its own."""
    level, y, channels = indices(radius), torch.empty_like(x), x.shape[1]
    for i, r in enumerate(LEVELS.tolist()):
        k = svconv.disk_kernel(r, window(r)).to(x).expand(channels, 1, -1, -1)
        blurred = torch.nn.functional.conv2d(x, k, padding=window(r) // 2, groups=channels)
        y = torch.where(level == i, blurred, y)
    return y


def weights(radius):
    """The kernel of every pixel as its level's table gives it, [13 * 13, 1, 1, H, W]."""
    side = window(float(LEVELS[-1]))
    table = svconv.disk_kernel(LEVELS, side).flatten(1).to(radius)
    return table[indices(radius)[0, 0]].movedim(-1, 0)[:, None, None]


def shift_loop(x, radius):
    """One pass over the image for each of the 169 offsets of the largest disk, weights looked up in the table of the levels."""
    (h, w), half = x.shape[-2:], window(float(LEVELS[-1])) // 2
    table = svconv.disk_kernel(LEVELS, 2 * half + 1).flatten(1).to(x)
    level, extended, y = indices(radius), torch.nn.functional.pad(x, (half,) * 4), torch.zeros_like(x)
    for d in range((2 * half + 1) ** 2):
        i, j = divmod(d, 2 * half + 1)
        y.addcmul_(table[:, d][level], extended[..., i:i + h, j:j + w])
    return y


def filter_bank(x, radius):
    """pixel_filter with a filter for every pixel, which is made first."""
    require_memory(169 * 4 * radius.numel(), x.device)
    filters = weights(radius)[:, 0, 0].unflatten(0, (13, 13))[None].contiguous()
    return svconv.pixel_filter(x, filters)


def pylops(x, radius):
    """function() by PyLops, one channel after the other, filters made before."""
    filters = weights(radius)[:, 0, 0].unflatten(0, (13, 13))[None, None, None].contiguous()
    operators = pixel_filter.pylops_operators(x[:, :1], filters)
    return lambda: torch.cat([pixel_filter.pylops_filter(operators, x[:, c:c + 1])[:, :, 0] for c in range(x.shape[1])], 1)
