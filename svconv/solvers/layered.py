"""Defocus removed layer by layer: the whole image is restored with every radius that is present, and each pixel takes its own."""
import dataclasses
import math

import torch

from svconv._shapes import Dims, check_tensor, computed, number, shape_text
from svconv.ops import disk_kernel
from svconv.solvers.hyper_laplacian import hyper_laplacian
from svconv.solvers.result import Result

STEP = 0.25     # pixels between the levels that are made where none are given
SHARP = 0.5     # up to this radius a pixel is as it was


@dataclasses.dataclass(repr=False)
class LayeredResult(Result):
    """What `svconv.solvers.layered` found.

    Attributes:
        x: the restored image, like y.
        levels: the radii that were restored with, a tuple; those that no pixel needs are left out.
    """

    levels: tuple


def layered(y, radius, *, lam=3000, levels=None, blend=True, callback=None):
    """Removes defocus with a radius per pixel: `x = sum_c w_c(radius) x_c`, x_c restored by `hyper_laplacian` with the disk of radius c.

    blend: w is linear between neighbouring levels; otherwise a pixel takes the nearest level. Radii up to 0.5 keep the input, above the
    last level they count as that one.

    Args:
        y: blurred image [B, C, H, W], scaled to about 0..1; float32, float64, bfloat16 or float16 (computed in float32).
        radius: [B|1, 1, H, W] in pixels, finite; floating.
        lam: weight of the data, as in `svconv.solvers.hyper_laplacian`.
        levels: increasing radii above 0.5, a sequence or tensor [n]; None: every quarter of a pixel, as far as the radii go.
        blend: whether neighbouring levels are blended.
        callback: called as callback(step, steps, x) with x [B, C, H, W] after each level.

    Returns:
        LayeredResult: .x like y, .levels. No gradients flow through it.

    Raises:
        ValueError, TypeError: naming the argument; a disk that is larger than the image.

    Bit-identical from run to run with a fixed number of threads. Time: one restoration for each level. Memory: that of `hyper_laplacian`
    and three images.

    >>> import torch, svconv
    >>> x = torch.zeros(1, 1, 32, 32); x[..., 8:24, 8:24] = 1
    >>> y = svconv.conv(x, svconv.disk_kernel(2.0, 5)[None], padding="replicate")
    >>> result = svconv.solvers.layered(y, torch.full((1, 1, 32, 32), 2.0))
    >>> result.levels, bool((result.x - x).square().mean() < 0.3 * (y - x).square().mean())
    ((2.0,), True)
    """
    dims = Dims()
    dims.check("y", y, "B C H W")
    check_tensor("radius", radius)
    dims.check("radius", radius, "B? 1 H W")
    if not bool(torch.isfinite(radius).all()):
        raise ValueError("radius: expected finite numbers, got NaN or infinite ones")
    lam = number("lam", lam, above=0)
    with torch.no_grad():
        radius = radius.detach().to(torch.float64)
        levels = _made_levels(radius) if levels is None else _checked_levels(levels)
        weights = _Weights(radius, levels, blend)
        needed = [i for i in range(len(levels)) if weights.any(i)]
        _check_fits(y, [levels[i] for i in needed])
        exact = computed(y)
        x = exact * weights.sharp().to(exact.dtype)
        for step, i in enumerate(needed, 1):
            side = 2 * math.ceil(levels[i] - SHARP) + 1
            kernel = disk_kernel(torch.tensor(levels[i], dtype=torch.float64), side)[None].to(x.dtype)
            x += weights.of(i).to(x.dtype) * hyper_laplacian(exact, kernel, lam=lam).x
            if callback is not None:
                callback(step, len(needed), x)
        return LayeredResult(x.to(y.dtype), tuple(levels[i] for i in needed))


class _Weights:
    """The share of every level in every pixel, from a map of radii; level -1 is the input itself."""

    def __init__(self, radius, levels, blend):
        edges = torch.tensor([SHARP, *levels], dtype=radius.dtype, device=radius.device)
        inside = radius.clamp(SHARP, edges[-1].item()) if levels else torch.full_like(radius, SHARP)
        self.below = (torch.bucketize(inside, edges, right=True) - 1).clamp(0, max(len(levels) - 1, 0))
        if levels:
            low, high = edges[self.below], edges[self.below + 1]
            self.share = (inside - low) / (high - low)
            self.share = self.share if blend else torch.where(inside <= SHARP, 0.0, (self.share >= 0.5).to(radius.dtype))
        else:
            self.share = torch.zeros_like(radius)

    def of(self, i):
        """Of level i: its share where it is the upper of two, and what is left where it is the lower."""
        return torch.where(self.below == i, self.share, 0.0) + torch.where(self.below == i + 1, 1 - self.share, 0.0)

    def sharp(self):
        return torch.where(self.below == 0, 1 - self.share, 0.0)

    def any(self, i):
        return bool((self.of(i) > 0).any())


def _made_levels(radius):
    top = math.ceil(float(radius.max()) / STEP) if radius.numel() else 0
    return [STEP * n for n in range(int(SHARP / STEP) + 1, top + 1)]


def _checked_levels(levels):
    values = levels.tolist() if isinstance(levels, torch.Tensor) and levels.dim() == 1 else levels
    try:
        values = [float(value) for value in values]
    except (TypeError, ValueError):
        raise TypeError(f"levels: expected a sequence of numbers, got {levels!r}") from None
    if not values or not all(SHARP < a < math.inf for a in values) or any(b <= a for a, b in zip(values, values[1:])):
        raise ValueError(f"levels: expected increasing radii above {SHARP}, got {values}")
    return values


def _check_fits(y, levels):
    side = 2 * math.ceil(max(levels, default=SHARP) - SHARP) + 1
    if side > min(y.shape[-2:]):
        raise ValueError(f"radius: expected disks no larger than the image {shape_text(y)}, got one of {side} pixels")
