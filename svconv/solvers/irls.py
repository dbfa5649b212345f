"""Iteratively re-weighted least squares with a sparse derivative prior."""
import dataclasses

import torch

from svconv._shapes import computed, number, readable, shape_text
from svconv.solvers.border import check_border
from svconv.solvers.cg import differentiable
from svconv.solvers.conjugate_gradients import looks, worst_channel
from svconv.solvers.data_term import data_term
from svconv.solvers.derivatives import FILTERS, derivative
from svconv.solvers.problem import checked
from svconv.solvers.result import Result
from svconv.solvers.reweighted import solve_reweighted


@dataclasses.dataclass(repr=False)
class IRLSResult(Result):
    """What `svconv.solvers.irls` found.

    Attributes:
        x: the restored image [B, C, H, W].
        iterations: int64 [reweightings + 1, B], CG steps of each solve and sample, those of the channel that took most.
        residuals: [reweightings + 1, B], relative residual of the normal equations at the end of each solve, that of the worst channel.
        converged: bool [B], whether every solve of every channel reached its tolerance before `cg_iter` steps.
        reports: the CGResult of each solve, channels apart, without its x; their .adjoint are those of a backward pass, None before.
    """

    iterations: torch.Tensor
    residuals: torch.Tensor
    converged: torch.Tensor
    reports: tuple = ()


def levin_weights(x, floor=0.01, exponent=0.8, base=0.1):
    """Weights `base c_d max(|d * x|, floor)^(exponent - 2)`, c_d = 1 for first and 0.25 for second derivatives."""
    weights = {}
    for name in FILTERS:
        size = derivative(x, name).abs_().clamp_min_(floor)
        weights[name] = size.pow_(exponent - 2).mul_(base if len(name) == 1 else 0.25 * base)
    return weights


PENALTIES = {"levin": levin_weights}


def irls(op, y, *, penalty="levin", reg=2e-3, reweightings=2, cg_iter=200, tol=1e-4, weights="differentiated", mask=None, border="mask",
         callback=None):
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
        reg: weight of the prior, >= 0; a number, a 0-d tensor, or [B] in the dtype of y; 2e-3 suits 1 % noise, more noise needs more.
        reweightings: solves after the first one.
        cg_iter: most CG steps per solve.
        tol: relative residual at which a channel stops earlier, also in the solves of the gradient.
        weights: "differentiated": gradients go on through the weights to the solves before; "held": the weights count as constants, which
            costs one adjoint solve instead of `reweightings + 1`.
        mask: [B|1, 1|C, H, W], 1 = use the pixel, 0 = leave it out (it may be NaN).
        border: "mask": light from outside is unknown: where op has no fixed size the image is enlarged by the reach of the kernel and
            cropped back, otherwise output pixels whose kernel reaches over the edge are left out. "taper": edges blended with their
            circular blur. "replicate": the image goes on with its edge pixels. None: op's own padding holds.
        callback: called as callback(step, steps, x) with x [B, C, H, W] after every CG step, and once at the end with step = steps =
            (reweightings + 1) * cg_iter; steps that a solve did not need are skipped.

    Returns:
        IRLSResult: .x [B, C, H, W], .iterations, .residuals, .converged. Not converging is reported there (and, in a backward pass on a
        CPU, as a RuntimeWarning).

    Raises:
        ValueError, TypeError: naming the argument; NaN or infinite pixels of y that the mask does not leave out, and a PSF of op that is
            zero, not finite or negative in sum, are a ValueError. Where the host cannot see the PSF (a GPU) its image comes back as y.

    Gradients in y, reg and the tensors of op, of every order that op has, implicit in each solve (`lam = A^-1 g` as in
    `svconv.solvers.cg`): those of exact solutions, at the accuracy of tol; none in the mask. A solve that stops at cg_iter leaves them
    inexact, and .converged says so.
    Bit-identical from run to run with a fixed number of threads. Memory: 25 planes per channel for the weights and five images beside op;
    for gradients one image more per solve, whatever cg_iter is, and in the backward pass that of the weights once more.
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
    if weights not in ("differentiated", "held"):
        raise ValueError(f"weights: expected 'differentiated' or 'held', got {weights!r}")
    reweightings, cg_iter = number("reweightings", reweightings, least=0, integer=True), number("cg_iter", cg_iter, least=1, integer=True)
    tol = number("tol", tol, least=0)
    check_border(border)
    reg = reg if isinstance(reg, torch.Tensor) else number("reg", reg, least=0)
    given = checked(op, y, mask)
    reg = _checked_reg(reg, given.y)
    term = data_term(given.op, given.y, given.mask, border)
    x, reports = _solves(term, PENALTIES[penalty], reg, reweightings, weights == "held", callback, tol=tol, max_iter=cg_iter)
    worst = [worst_channel(report) for report in reports]
    return IRLSResult(given.finished(term.crop(x).contiguous()), torch.stack([r.iterations for r in worst]),
                      torch.stack([r.residuals for r in worst]), torch.stack([r.converged for r in worst]).all(0), reports)


def _solves(term, penalty, reg, reweightings, held, callback, **options):
    """(x, the CGResult of each solve without its x)."""
    b, x, reports = term.right_hand_side(), term.start.detach(), []
    steps = (reweightings + 1) * options["max_iter"]
    callback = term.cropped(callback)
    for k in range(reweightings + 1):
        former = None if k == 0 else x.detach() if held else x
        told = _shifted(callback, k * options["max_iter"], steps)
        report = solve_reweighted(term, b, x, former, penalty, reg, told, verify=False, check_every=looks(x), **options)
        x, report.x = report.x, None
        reports.append(report)
    if callback is not None:
        callback(steps, steps, x.detach())
    return x, tuple(reports)


def _checked_reg(reg, y):
    """A number, or a tensor [] or [B] in the dtype of y where gradients or a device keep it one."""
    if not isinstance(reg, torch.Tensor):
        return reg
    if reg.dim() == 0 and (not reg.is_floating_point() or readable(reg) and not differentiable(reg)):
        return number("reg", reg, least=0)
    if reg.dim() > 1 or reg.dim() == 1 and reg.shape[0] not in (1, y.shape[0]):
        raise ValueError(f"reg: expected a number, [] or [B] = [{y.shape[0]}], got {shape_text(reg)}")
    if reg.dim() == 1 and computed(reg[:0]).dtype != y.dtype:
        raise TypeError(f"reg: expected {y.dtype} like y, got {reg.dtype}")
    if readable(reg) and not bool(((reg >= 0) & torch.isfinite(reg)).all()):
        raise ValueError("reg: expected finite numbers >= 0, got one that is not")
    return reg.to(y.device, y.dtype)


def _shifted(callback, offset, steps):
    return None if callback is None else lambda step, _, x: callback(offset + step, steps, x)
