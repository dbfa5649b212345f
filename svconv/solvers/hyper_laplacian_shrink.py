"""Shrinkage of the hyper-Laplacian penalty |w|^a."""
import functools
import math

import numpy as np
import torch

from svconv._shapes import HALF, check_tensor, number, readable

# Knots of the table over u = 1 .. LARGEST thresholds, in log u: at most 4e-6 off before the polish.
KNOTS, LARGEST = 4096, 1e4


def hyper_laplacian_shrink(v, beta, exponent):
    """`argmin_w |w|^a + (beta/2) (w - v)^2` for every element of v.

    The minimiser is 0 up to `|v| = t = ((2-a) c^(a-1) / beta)^(1/(2-a))`, c = 2(1-a)/(2-a), and beyond it the largest root of
    `a w^(a-1) + beta (w - |v|) = 0` with the sign of v. The root is closed-form for a = 1/2, 2/3 and 1, and interpolated in a table of the
    one function that all beta share (v and w in units of beta^(-1/(2-a))) for the others; two Newton steps polish it.

    Args:
        v: any shape; float32, float64, bfloat16 or float16 (computed in float32).
        beta: a number > 0, or a positive tensor that broadcasts to v.
        exponent: a, 0 < a <= 1.

    Returns:
        Like v. First order gradients in v and a tensor beta (0 below the threshold).

    Raises:
        ValueError, TypeError: naming the argument.

    Elementwise and deterministic. Krishnan and Fergus, Fast image deconvolution using hyper-Laplacian priors, 2009; closed forms after Xu
    et al. 2012 (1/2) and Cao et al. 2013 (2/3).

    >>> import torch, svconv
    >>> v = torch.tensor([-3.0, 0.5, 2.0], dtype=torch.float64)
    >>> [round(w, 4) for w in svconv.solvers.hyper_laplacian_shrink(v, 1.0, 2 / 3).tolist()]
    [-2.5094, 0.0, 1.4047]
    """
    check_tensor("v", v)
    if v.dtype in HALF:
        return hyper_laplacian_shrink(v.float(), beta, exponent).to(v.dtype)
    a = number("exponent", exponent, above=0, most=1)
    if isinstance(beta, torch.Tensor):
        if readable(beta) and not bool((beta > 0).all()):
            raise ValueError("beta: expected positive numbers, got one that is not")
        beta = beta.to(v.dtype)
    else:
        beta = number("beta", beta, above=0)
    size = v.abs()
    if a == 1:
        return torch.copysign((size - 1 / beta).clamp_min(0), v)
    threshold = _threshold(a) * beta ** (-1 / (2 - a))
    beyond = size > threshold
    if size.device.type == "cpu":  # in a photograph few are beyond: only their roots are computed
        few = beta.expand_as(size)[beyond] if isinstance(beta, torch.Tensor) else beta
        w = torch.zeros_like(size).masked_scatter(beyond, _largest_root(size[beyond], few, a))
    else:  # a selection would wait for the device
        w = torch.where(beyond, _largest_root(torch.where(beyond, size, 2 * threshold), beta, a), 0)
    return torch.where(torch.isnan(v), v, torch.copysign(w, v))


def _largest_root(v, beta, a):
    """The largest root of a w^(a-1) + beta (w - v) = 0 for v above the threshold; only the last Newton step carries gradients."""
    with torch.no_grad():
        unit = beta ** (-1 / (2 - a))
        w = _root(v / unit, a) * unit
        if v.dtype == torch.float64:
            w = _newton(w, v, beta, a)
    return _newton(w, v, beta, a)


def _threshold(a):
    c = 2 * (1 - a) / (2 - a)
    return ((2 - a) * c ** (a - 1)) ** (1 / (2 - a))


def _newton(w, v, beta, a):
    """One step on a w^(a-1) + beta (w - v), whose slope is positive at and above the root."""
    power = w ** (a - 2)
    return w - (a * power * w + beta * (w - v)) / (beta + a * (a - 1) * power)


def _root(u, a):
    """The largest root of a w^(a-1) + w - u = 0 for u above the threshold."""
    near = u.clamp_max(LARGEST * _threshold(a))
    return _near_root(near, a) * (u / near)


def _near_root(u, a):
    """The same up to the end of the table, where w / u is 1 to the precision that the polish needs; squares of larger u might overflow."""
    if math.isclose(a, 0.5, rel_tol=1e-12):
        angle = torch.acos((0.25 * (u / 3) ** -1.5).clamp_max(1))
        return (2 / 3) * u * (1 + torch.cos((2 * math.pi - 2 * angle) / 3))
    if math.isclose(a, 2 / 3, rel_tol=1e-12):
        cosh = torch.cosh(torch.acosh((27 / 16 * 2 ** -1.5 * u * u).clamp_min(1)) / 3)
        half = 2 / math.sqrt(3) * 2 ** 0.25 * cosh.sqrt()
        return ((half + (2 * u / half - half * half).clamp_min(0).sqrt()) / 2) ** 3
    return _interpolated(u, a)


def _interpolated(u, a):
    table = torch.from_numpy(_table(a)).to(u.device)
    low = math.log(_threshold(a))
    place = ((u.double().log() - low) * ((KNOTS - 1) / math.log(LARGEST))).clamp(0, KNOTS - 1.001)
    index = place.long()
    return torch.lerp(table[index], table[index + 1], place - index).to(u.dtype) * u


@functools.lru_cache(maxsize=16)
def _table(a):
    """w / u at KNOTS values of log u between the threshold and LARGEST thresholds, float64; what is kept may not be a tensor, which
    belongs to the transform that it was made in."""
    u = _threshold(a) * np.exp(np.linspace(0, math.log(LARGEST), KNOTS))
    w = u.copy()
    for _ in range(60):  # monotone from the right: the function is convex
        w = _newton(w, u, 1.0, a)
    return w / u
