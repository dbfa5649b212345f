"""The MAP step with per-pixel filters in the data term and in the prior."""
import dataclasses

import torch

from svconv._shapes import HALF, Dims, check_device, computed, number, shape_text, unify
from svconv.solvers.cg import differentiable
from svconv.solvers.conjugate_gradients import CGResult, solve, solve_unrolled, worst_channel
from svconv.solvers.implicit import Problem, solve_implicitly, transforming
from svconv.solvers.map_problem import MAPProblem, StepFilters
from svconv.solvers.result import Result


@dataclasses.dataclass(repr=False)
class MAPResult(Result):
    """What `svconv.solvers.map_filters` found.

    Attributes:
        x: the restored image [B, C, H, W].
        extended: the same on the plane that was solved for, [B, C, H', W'], the image and what light from outside of it came from; a start
            for the next step.
        misfit: `y - K x` [B, C, H, W], 0 where the mask is: what the data filters of the next step are made of.
        iterations: int64 [B], CG steps of the channel that took most.
        residuals: [B], relative residual of the normal equations at the end, that of the worst channel.
        converged: bool [B], whether every channel reached tol before max_iter steps.
        report: the CGResult behind it, channels apart; its .adjoint is that of the backward pass, None before.
    """

    extended: torch.Tensor
    misfit: torch.Tensor
    iterations: torch.Tensor
    residuals: torch.Tensor
    converged: torch.Tensor
    report: "CGResult | None" = None


def map_filters(y, kernel, data_filters, prior_filters, *, data_weights=None, prior_weights=None, x0=None, mask=None, tol=1e-4, max_iter=30,
                implicit=True, callback=None):
    """Deblurs by `min_x sum_i w_i |F_i m (y - K x)|^2 + sum_j w_j |G_j x|^2`, every pixel with its own filters in both terms.

    The normal equations `K' m (sum_i F_i' W_i F_i) m K x + sum_j G_j' W_j G_j x = K' m (sum_i F_i' W_i F_i) m y` are solved by conjugate
    gradients, each sample and channel with its own steps and stop; each iteration reads the filters of either side once. Light from
    outside of the image is unknown: x stands on a plane larger by half a kernel on each side, only the pixels of y enter the data term,
    and the residual counts as 0 outside of the image. On the rest of the plane the prior filters are those of the nearest pixel.

    Args:
        y: blurred image [B, C, H, W], scaled to about 0..1; float32, float64, bfloat16 or float16 (computed in float32).
        kernel: PSF [B|1, C|1, kh, kw] or [B|1, kh, kw], centre k//2, dtype of y; of any size and any positive sum.
        data_filters: [B|1, C|1, M, s, s, H, W], applied to the residual as in `svconv.pixel_filter` (padding "zeros"); None: one
            delta, the plain |y - K x|^2. bfloat16 or float16 also beside a float32 image.
        prior_filters: [B|1, C|1, N, t, t, H, W], applied to x; uniform ones may be expanded views, whose gradient stands at one pixel
            for all (so that the gradient of what was expanded is right).
        data_weights, prior_weights: None (all ones) or [B|1, C|1, M, H, W] and [B|1, C|1, N, H, W], >= 0, dtype of y.
        x0: start, like y or like `.extended` of another result with the same y and kernel; None: y.
        mask: [B|1, 1|C, H, W], 1 = use the pixel, 0 = leave it out (it may be NaN).
        tol, max_iter: relative residual at which a channel stops, and the most CG steps.
        implicit: True: exact gradients of the solution by one adjoint solve, memory independent of the steps; False: through every step.
        callback: called as callback(step, max_iter, x) with x [B, C, H, W] after every CG step.

    Returns:
        MAPResult: .x like y, .extended, .misfit, .iterations, .residuals, .converged. Not converging is reported there (and, in a backward
        pass on a CPU, as a RuntimeWarning). All filters zero leave x at x0.

    Raises:
        ValueError, TypeError: naming the argument; pixels of y that are not finite and not masked, a PSF that is zero or not finite,
            data_weights without data_filters.

    Gradients of every order in y, kernel, filters and weights, implicit ones at the accuracy of tol; none in x0 with implicit=True.
    Bit-identical from run to run with a fixed number of threads. Memory: the prior filters once more, on the plane, about ten images, and
    on a CPU while a solve runs the values of the two normal operators, 41 planes each for a channel and filters of 5 x 5.
    Learning Spatially-Variant MAP Models for Non-blind Image Deblurring (2021).

    >>> import torch, svconv
    >>> x = torch.zeros(1, 1, 24, 24); x[..., 8:16, 8:16] = 1
    >>> kernel = torch.full((1, 5, 5), 1 / 25)
    >>> differences = torch.tensor([[[0, 0, 0], [0, -1, 1], [0, 0, 0]], [[0, 0, 0], [0, -1, 0], [0, 1, 0]]]) * 0.03
    >>> prior = differences[None, None, :, :, :, None, None].expand(1, 1, 2, 3, 3, 24, 24)
    >>> y = svconv.conv(x, kernel)
    >>> result = svconv.solvers.map_filters(y, kernel, None, prior, max_iter=100)
    >>> bool(result.converged.all()), bool((result.x - x).square().mean() < 0.5 * (y - x).square().mean())
    (True, True)
    """
    y, kernel, filters = _check(y, kernel, data_filters, prior_filters, data_weights, prior_weights, x0)
    options = {"tol": number("tol", tol, least=0), "max_iter": number("max_iter", max_iter, least=0, integer=True)}
    problem = MAPProblem(y, kernel, mask)
    return map_step(problem, StepFilters(*filters), x0=x0, implicit=implicit, callback=callback, **options)


def map_step(problem, filters, *, x0=None, tol=1e-4, max_iter=30, implicit=True, callback=None):
    """`map_filters` of a `MAPProblem` that is kept for several steps; filters: `StepFilters`, or `Recomputed` ones."""
    tensors, bind = problem.terms(filters, max_iter)
    start = problem.start if x0 is None else problem.extended(computed(x0))
    told = None if callback is None else lambda step, steps, x: callback(step, steps, problem.plane.leave(x))
    options = {"preconditioner": None, "tol": tol, "max_iter": max_iter, "check_every": None}
    step = spectra = None
    if not transforming():
        with torch.no_grad():
            step = bind(tensors)
            spectra = step.spectra()
    report = _solved(tensors, bind, start, told, implicit, options, spectra)
    del step        # it was there to be found again
    x, worst = report.x, worst_channel(report)
    report.x = None
    return MAPResult(problem.given.finished(problem.plane.leave(x).contiguous()), x, problem.misfit(x), worst.iterations, worst.residuals,
                     worst.converged, report)


def _solved(tensors, bind, start, callback, implicit, options, spectra):
    """CGResult, samples and channels apart; on half spectra where each step needs no graph of its own."""
    if not transforming() and not differentiable(*tensors, *(() if implicit else (start,))):
        with torch.no_grad():
            step = bind(tensors)
            return solve(step, step.right_hand_side(), start, callback=callback, history=True, apart=2, coordinates=spectra, **options)
    if not implicit:
        step = bind(tensors)
        if spectra is not None:
            options["preconditioner"] = lambda r: spectra.leave(spectra.preconditioner(spectra.enter(r)))
        return solve_unrolled(step, step.right_hand_side(), start, callback=callback, apart=2, **options)
    problem = Problem(bind, options | {"coordinates": spectra}, 2, lambda given: bind(given).right_hand_side(),
                      lambda given: bind(given).defect)
    return solve_implicitly(problem, start.detach(), callback, None, tensors)


def _check(y, kernel, data_filters, prior_filters, data_weights, prior_weights, x0):
    """(y, kernel, (data_filters, prior_filters, data_weights, prior_weights)), shapes that fit, dtypes made equal under autocast."""
    dims = Dims()
    dims.check("y", y, "B C H W")
    if data_filters is None and data_weights is not None:
        raise ValueError("data_weights: expected None beside data_filters=None, got " + shape_text(data_weights))
    for name, t, layout in (("data_filters", data_filters, "B? C? M sh sw H W"), ("prior_filters", prior_filters, "B? C? N th tw H W"),
                            ("data_weights", data_weights, "B? C? M H W"), ("prior_weights", prior_weights, "B? C? N H W")):
        if t is not None or name == "prior_filters":
            dims.check(name, t, layout)
    if x0 is not None:
        dims.check("x0", x0, "B C h w")
        check_device("y", y, "x0", x0)
        if computed(x0[:0]).dtype != computed(y[:0]).dtype:
            raise TypeError(f"x0: expected dtype {y.dtype} like y, got {x0.dtype}")
    given = {"kernel": kernel, "data_filters": data_filters, "prior_filters": prior_filters, "data_weights": data_weights,
             "prior_weights": prior_weights}
    dims_kernel = Dims()
    dims_kernel.bind("y", B=dims["B"], C=dims["C"])
    dims_kernel.check("kernel", kernel, "B? C? kh kw", "B? kh kw")
    y, (kernel, *filters) = unify("y", y, given, half_beside_float32=("data_filters", "prior_filters"))
    if y.dtype in HALF:
        filters[2:] = [None if w is None else w.float() for w in filters[2:]]
    return y, kernel, tuple(filters)
