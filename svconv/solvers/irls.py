"""Iteratively re-weighted least squares with a sparse derivative prior."""
import dataclasses

import torch

from svconv._shapes import number
from svconv.solvers.border import check_border
from svconv.solvers.conjugate_gradients import looks, solve, worst_channel
from svconv.solvers.data_term import data_term
from svconv.solvers.derivatives import FILTERS, apply, derivative, stencil
from svconv.solvers.problem import checked
from svconv.solvers.result import Result

TOLERANCE = 1e-4  # relative residual of the inner solves


@dataclasses.dataclass(repr=False)
class IRLSResult(Result):
    """What `svconv.solvers.irls` found.

    Attributes:
        x: the restored image [B, C, H, W].
        iterations: int64 [reweightings + 1, B], CG steps of each solve and sample, those of the channel that took most.
        residuals: [reweightings + 1, B], relative residual of the normal equations at the end of each solve, that of the worst channel.
        converged: bool [B], whether every solve of every channel reached its tolerance before `cg_iter` steps.
    """

    iterations: torch.Tensor
    residuals: torch.Tensor
    converged: torch.Tensor


def levin_weights(x, floor=0.01, exponent=0.8, base=0.1):
    """Weights `base c_d max(|d * x|, floor)^(exponent - 2)`, c_d = 1 for first and 0.25 for second derivatives."""
    weights = {}
    for name in FILTERS:
        size = derivative(x, name).abs_().clamp_min_(floor)
        weights[name] = size.pow_(exponent - 2).mul_(base if len(name) == 1 else 0.25 * base)
    return weights


PENALTIES = {"levin": levin_weights}


def irls(op, y, *, penalty="levin", reg=2e-3, reweightings=2, cg_iter=200, mask=None, border="mask", callback=None):
    """Deblurs by `min_x sum m (A x - y)^2 + reg sum_d sum_p w_d (d * x)^2`, weights updated from the last x.

    Five derivative filters d: x, y, xx, yy, xy. The first solve has all weights 1; each re-weighting sets
    `w_d = 0.1 c_d max(|d * x|, 0.01)^(0.8 - 2)`, c_d = 1 (first derivatives) or 0.25 (second), which approaches the penalty |d * x|^0.8,
    and solves again by conjugate gradients from where the last one ended. Samples are restored one by one, and so are channels, unless op
    mixes them.

    Args:
        op: operator from the sharp to the blurred image, for example Conv(kernel) or PixelFilter(filters).
        y: blurred image [B, C, H, W] (with an axis M where op has one), scaled to about 0..1; float32, float64, bfloat16 or float16
            (computed in float32), the precision of op.
        penalty: "levin".
        reg: weight of the prior; 2e-3 suits 1 % noise, more noise needs more.
        reweightings: solves after the first one.
        cg_iter: most CG steps per solve; a channel stops earlier at a relative residual of 1e-4.
        mask: [B|1, 1|C, H, W], 1 = use the pixel, 0 = leave it out (it may be NaN).
        border: "mask": light from outside is unknown: where op has no fixed size the image is enlarged by the reach of the kernel and
            cropped back, otherwise output pixels whose kernel reaches over the edge are left out. "taper": edges blended with their
            circular blur. "replicate": the image goes on with its edge pixels. None: op's own padding holds.
        callback: called as callback(step, steps, x) with x [B, C, H, W] after every CG step, and once at the end with step = steps =
            (reweightings + 1) * cg_iter; steps that a solve did not need are skipped.

    Returns:
        IRLSResult: .x [B, C, H, W], .iterations, .residuals, .converged. No gradients flow through it.

    Raises:
        ValueError, TypeError: naming the argument; NaN or infinite pixels of y that the mask does not leave out, and a PSF of op that is
            zero, not finite or negative in sum, are a ValueError. Where the host cannot see the PSF (a GPU) its image comes back as y.

    Bit-identical from run to run with a fixed number of threads. Memory: 25 planes per channel for the weights and five images beside op.
    Levin et al., Image and depth from a conventional camera with a coded aperture, 2007.

    >>> import torch, svconv
    >>> x = torch.zeros(1, 1, 24, 24); x[..., 8:16, 8:16] = 1
    >>> K = svconv.Conv(torch.full((1, 5, 5), 1 / 25))
    >>> result = svconv.solvers.irls(K, K(x), reg=1e-4)
    >>> bool((result.x - x).square().mean() < 0.1 * (K(x) - x).square().mean())
    True
    """
    if penalty not in PENALTIES:
        raise ValueError(f"penalty: expected one of {', '.join(map(repr, PENALTIES))}, got {penalty!r}")
    reg = number("reg", reg, least=0)
    reweightings, cg_iter = number("reweightings", reweightings, least=0, integer=True), number("cg_iter", cg_iter, least=1, integer=True)
    check_border(border)
    given = checked(op, y, mask)
    with torch.no_grad():
        term = data_term(given.op, given.y, given.mask, border)
        b, x, found = term.right_hand_side(), term.start, []
        steps = (reweightings + 1) * cg_iter
        callback = term.cropped(callback)
        for k in range(reweightings + 1):
            weights = PENALTIES[penalty](x) if k else dict.fromkeys(FILTERS, 1.0)
            prior = stencil(weights, x, scale=reg)
            del weights
            found.append(worst_channel(solve(
                lambda v, prior=prior: apply(v, prior).add_(term.normal(v)), b, x, tol=TOLERANCE, max_iter=cg_iter, verify=False,
                check_every=looks(x), callback=_shifted(callback, k * cg_iter, steps), apart=term.apart)))
            x = found[-1].x
        if callback is not None:
            callback(steps, steps, x)
        restored = given.finished(term.crop(x).contiguous())
        return IRLSResult(restored, torch.stack([r.iterations for r in found]), torch.stack([r.residuals for r in found]),
                          torch.stack([r.converged for r in found]).all(0))


def _shifted(callback, offset, steps):
    return None if callback is None else lambda step, _, x: callback(offset + step, steps, x)
