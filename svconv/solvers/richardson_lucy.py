"""Richardson-Lucy deconvolution for any operator with non-negative weights."""
import dataclasses

import torch

from svconv._shapes import number
from svconv.solvers.data_term import data_term
from svconv.solvers.result import Result

SEEN = 1e-3  # pixels that less than this share of the largest weight reaches keep their start value
DAMPING_POWER = 10  # N of White 1994


@dataclasses.dataclass(repr=False)
class RichardsonLucyResult(Result):
    """What `svconv.solvers.richardson_lucy` found.

    Attributes:
        x: the restored image [B, C, H, W], nowhere negative.
        iterations: steps taken.
        changes: [iterations, B], relative change of x in each step.
    """

    iterations: int
    changes: torch.Tensor


def richardson_lucy(op, y, *, max_iter, damping=0.0, mask=None, border=None, callback=None):
    """Maximum likelihood for Poisson noise: `x <- x A'(m y / (A x)) / (A' m)`, from a constant image.

    Keeps `x >= 0` and, when nothing masks, borders or damps, `sum(op(x)) = sum(y)` in every channel: it holds after every step because A' is the exact
    transpose for every padding, and the last x is scaled once to remove the rounding errors.

    Args:
        op: operator with weights >= 0, for example Conv(psf) or PixelFilter(filters).
        y: blurred image [B, C, H, W] (with an axis M where op has one), >= 0, float32 or float64, any scale.
        max_iter: steps; more sharpen further and amplify noise.
        damping: threshold T in standard deviations of Poisson noise (y in counts): where `A x` is closer to y than about T deviations the step is
            flattened, so that noise is not fitted (White 1994). 0 switches it off.
        mask: [B|1, 1|C, H, W], 1 = use the pixel, 0 = leave it out (it may be NaN).
        border: "mask", "taper", "replicate" or None (op's own padding holds), as in `svconv.solvers.irls`.
        callback: called as callback(step, max_iter, x) with x [B, C, H, W] after every step.

    Returns:
        RichardsonLucyResult: .x [B, C, H, W], .iterations, .changes. No gradients flow through it.

    Raises:
        ValueError, TypeError: naming the argument; negative, NaN or infinite pixels that the mask does not leave out are a ValueError.

    Bit-identical from run to run with a fixed number of threads. Memory: six images beside op. Richardson 1972, Lucy 1974.

    >>> import torch, svconv
    >>> x = torch.zeros(1, 1, 16, 16); x[..., 8, 8] = 100
    >>> K = svconv.Conv(torch.tensor([[[1., 2., 1.], [2., 4., 2.], [1., 2., 1.]]]) / 16, padding="zeros")
    >>> result = svconv.solvers.richardson_lucy(K, K(x).clamp_min(0), max_iter=50)
    >>> bool(result.x[..., 8, 8] > 90), round(float(result.x.sum()))
    (True, 100)
    """
    max_iter, damping = number("max_iter", max_iter, least=1, integer=True), number("damping", damping, least=0)
    with torch.no_grad():
        term = data_term(op, y, mask, border)
        _check_not_negative(y, mask)
        return _iterate(term, max_iter, damping, term.cropped(callback), op if mask is None and border is None and not damping else None)


def _check_not_negative(y, mask):
    bad = y < 0 if mask is None else (y < 0) & ((mask if y.dim() == 4 else mask.unsqueeze(2)) > 0)
    count = int(bad.sum())
    if count:
        raise ValueError(f"y: expected pixels >= 0, got {count} negative ones (the least is {float(y[bad].min()):.3g})")


def _total(t):
    """Sum of each channel, [B, C, 1, 1], in float64."""
    return t.sum(tuple(range(2, t.dim())), dtype=torch.float64)[..., None, None]


def _iterate(term, max_iter, damping, callback, flux_op):
    y = term.y.clamp_min(0)
    mask = torch.ones_like(y) if term.mask is None else term.mask.expand_as(y)
    seen = term.op.adjoint(mask.contiguous())
    largest = seen.amax((-2, -1), keepdim=True)
    if bool((seen < -1e-3 * largest).any()):
        raise ValueError("op: expected weights >= 0, got an operator whose transpose maps a non-negative image to negative pixels")
    reached = seen > SEEN * largest
    x = (_total(mask * y) / _total(seen).clamp_min(torch.finfo(torch.float64).tiny)).to(y.dtype).expand_as(seen).clone()
    floor = torch.finfo(y.dtype).eps * y.amax(tuple(range(2, y.dim())), keepdim=True).clamp_min(torch.finfo(y.dtype).tiny)
    changes = []
    for step in range(max_iter):
        ax = torch.maximum(term.op(x), floor)
        factor = term.op.adjoint(mask * _ratio(y, ax, damping)).clamp_min_(0) / seen
        new = torch.where(reached, x * factor, x)
        changes.append((new - x).flatten(1).norm(dim=1) / new.flatten(1).norm(dim=1).clamp_min(torch.finfo(x.dtype).tiny))
        x = new
        if callback is not None:
            callback(step + 1, max_iter, x)
    if flux_op is not None:
        x = x * (_total(y) / _total(flux_op(x)).clamp_min(torch.finfo(torch.float64).tiny)).to(x.dtype)
    return RichardsonLucyResult(term.crop(x).contiguous(), max_iter, torch.stack(changes))


def _ratio(y, ax, damping):
    if damping == 0:
        return y / ax
    # 1 where A x explains y within the noise; u is the deviance in units of damping^2, capped at 1
    deviance = 2 * (torch.xlogy(y, y / ax) - y + ax)
    u = (deviance / damping**2).clamp_(0, 1)
    n = DAMPING_POWER
    return 1 + u ** (n - 1) * (n - (n - 1) * u) * (y - ax) / ax
