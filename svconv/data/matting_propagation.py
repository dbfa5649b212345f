"""Sparse values carried to every pixel by the matting Laplacian, from coarse to fine: its smoothest modes are nearly free, so that
conjugate gradients on the whole photograph alone take thousands of steps."""
import torch
from torch.nn import functional

from svconv.data.matting_laplacian import matting_laplacian, window_means, window_sums

COARSEST = 24       # pixels of the smaller side
STEPS, MOST = 200, 1600     # of conjugate gradients on the finest scale, twice as many on each coarser one, and at most
_LINEAR = 1e-4      # variance of the colours below which a coarse solution counts as flat


def matting_propagation(values, known, image, start, *, weights="edges", strength=1e-3, steps=STEPS):
    """Nearly the solution of `MattingLaplacian.propagate`: the mean difference from it is a few hundredths of a pixel's radius.

    A scale has half the side of the one above it, and the mean of what is known in 2 x 2 pixels; its solution, as local linear functions of
    the colours, is where the finer scale begins.

    Args:
        values, known: [B, 1, H, W], known is 0 or > 0. image: [B, 3|1, H, W].
        start: function(values, known, image) that gives where the coarsest scale begins.
        weights, strength: of `MattingLaplacian.propagate`. steps: on the finest scale.
    """
    image = image.double()
    if min(image.shape[-2:]) > COARSEST:
        smaller, count = _halved(image), _halved(known)
        mean = torch.where(count > 0, _halved(known * values) / count.clamp_min(1e-12), 0)
        coarse = matting_propagation(mean, count, smaller, start, weights=weights, strength=strength, steps=min(2 * steps, MOST))
        first = finer(coarse, smaller, image)
    else:
        first = start(values, known, image)
    return matting_laplacian(image).propagate(values, known, strength=strength, weights=weights, x0=first, max_iter=steps).x


def _halved(t):
    """Means of 2 x 2 pixels, at the far sides of those that are there."""
    return functional.avg_pool2d(t.double(), 2, ceil_mode=True, count_include_pad=False)


def finer(x, coarse, fine):
    """x on the coarse photograph, both float64, as local linear functions of its colours, applied to the fine one in that one's dtype."""
    mean = window_means(coarse)
    colours = coarse.shape[1]
    products = window_means((coarse[:, :, None] * coarse[:, None]).flatten(1, 2)).unflatten(1, (colours, colours))
    covariance = (products - mean[:, :, None] * mean[:, None]).permute(0, 3, 4, 1, 2)
    covariance = covariance + _LINEAR * torch.eye(colours, dtype=x.dtype, device=x.device)
    joint = window_means(coarse * x) - mean * window_means(x)
    slope = torch.linalg.solve(covariance, joint.permute(0, 2, 3, 1)[..., None])[..., 0].permute(0, 3, 1, 2)
    offset = window_means(x) - (slope * mean).sum(1, keepdim=True)
    functions = window_sums(torch.cat([slope, offset], 1)) / window_sums(torch.ones_like(offset))
    functions = functional.interpolate(functions.to(fine.dtype), size=fine.shape[-2:], mode="bilinear", align_corners=False)
    return (functions[:, :-1] * fine).sum(1, keepdim=True) + functions[:, -1:]
