"""How far the edges of a photograph are spread, for every direction across them."""
import math

import torch
from torch.nn import functional

from svconv._shapes import Dims, number
from svconv.data.estimate_noise import estimate_noise

FINE, COARSE = 0.8, 1.6         # sigma in pixels of the two scales
MOST = 20.0                     # pixels: beyond that nothing is told
_STRONG, _ABOVE_NOISE = 0.8, (6, 8)     # quantile of the slopes; times the noise of a slope at the fine and at the coarse scale
_FEWEST = 20                    # edges that a direction needs


def edge_spread(image, *, directions=8, share=0.2, noise=None):
    """The sigma of the Gaussian that a fifth of the edges is sharper than, for each direction of the slope.

    At a strong edge the slopes across it at two scales s1 < s2 have the ratio `R^2 = (sigma^2 + s2^2) / (sigma^2 + s1^2)`, as in
    `estimate_blur`. A camera that moved leaves the edges along its path sharp and spreads those across it, a lens out of focus spreads
    all alike, and a sharp photograph has sharp edges in all directions.

    Args:
        image: [1, 1, H, W], floating, 0..1, sides of at least 16 pixels.
        directions: how many, over half a turn, from the slope along a row on towards the slope down a column; each counts the edges up to
            its neighbours' directions.
        share: the quantile, 0..1.
        noise: its standard deviation; None: `estimate_noise(image)`.

    Returns:
        [directions] in pixels, float64, 0..20; NaN where fewer than 20 edges stand out of the noise.

    Raises:
        ValueError, TypeError: naming the argument.

    Deterministic. Memory: about fifteen planes in float64. The ratio: Zhuo and Sim 2011.

    >>> x = torch.zeros(1, 1, 64, 64); x[..., 20:40] = 1          # two sharp edges, the slopes along the rows
    >>> spread = edge_spread(x)
    >>> bool(spread[0] < 0.6), bool(spread[4].isnan())            # no slope runs down
    (True, True)
    """
    Dims().check("image", image, "B C H W")
    if image.shape[0] != 1 or image.shape[1] != 1 or min(image.shape[-2:]) < 16:
        raise ValueError(f"image: expected [1, 1, H, W] with sides of at least 16 pixels, got {list(image.shape)}")
    directions = number("directions", directions, least=1, integer=True)
    share = number("share", share, least=0, most=1)
    noise = float(estimate_noise(image)) if noise is None else number("noise", noise, least=0)
    angle, spread = _edges(image.detach().double(), noise)
    found = []
    for direction in range(directions):
        turn = (angle - direction * math.pi / directions + math.pi / 2) % math.pi - math.pi / 2
        part = spread[turn.abs() <= math.pi / directions]
        found.append(float(part.quantile(share)) if len(part) >= _FEWEST else math.nan)
    return torch.tensor(found, dtype=torch.float64)


def _edges(x, noise):
    """(angles, sigmas) of the pixels where the slope is strong and largest along its own direction, 8 pixels from the border."""
    fine, coarse = (_slopes(x, sigma) for sigma in (FINE, COARSE))
    size = coarse.square().sum(0).sqrt()
    least = max(float(size.flatten()[:: max(1, size.numel() // 1_000_000)].quantile(_STRONG)),
                *(times * noise * _slope_of_noise(sigma) for times, sigma in zip(_ABOVE_NOISE, (FINE, COARSE))))
    angle = torch.atan2(coarse[0], coarse[1])
    edge = (size > max(least, 1e-9)) & _crest(size, angle)
    edge[:8], edge[-8:], edge[:, :8], edge[:, -8:] = False, False, False, False
    along = (fine[:, edge] * coarse[:, edge]).sum(0) / size[edge]
    ratio = (along / size[edge]).square()
    square = torch.where(ratio > 1, (COARSE**2 - ratio * FINE**2).clamp_min(0) / (ratio - 1).clamp_min(1e-9), MOST**2)
    return angle[edge], square.sqrt().clamp_max(MOST)


def _taps(sigma):
    """(a Gaussian, its derivative that gives 1 for the slope 1), as correlations."""
    reach = int(4 * sigma + 0.5)
    t = torch.arange(-reach, reach + 1, dtype=torch.float64)
    smooth = torch.exp(-t.square() / (2 * sigma**2))
    smooth = smooth / smooth.sum()
    return smooth, t * smooth / (t.square() * smooth).sum()


def _slopes(x, sigma):
    """[2, H, W]: along columns (down), along rows (right)."""
    smooth, slope = (taps.to(x.device) for taps in _taps(sigma))
    wide = functional.pad(x, (len(smooth) // 2,) * 4, mode="reflect")

    def filtered(down, right):
        return functional.conv2d(functional.conv2d(wide, down.reshape(1, 1, -1, 1)), right.reshape(1, 1, 1, -1))[0, 0]

    return torch.stack([filtered(slope, smooth), filtered(smooth, slope)])


def _slope_of_noise(sigma):
    smooth, slope = _taps(sigma)
    return math.sqrt(float(smooth.square().sum() * slope.square().sum()))


def _crest(size, angle):
    """Where the slope is not below that of the two neighbours along it."""
    down, right = (f(angle).round().long() for f in (torch.sin, torch.cos))
    height, width = size.shape
    rows, columns = torch.arange(height, device=size.device)[:, None], torch.arange(width, device=size.device)
    sides = [size[(rows + s * down).clamp(0, height - 1), (columns + s * right).clamp(0, width - 1)] for s in (1, -1)]
    return (size >= sides[0]) & (size >= sides[1])
