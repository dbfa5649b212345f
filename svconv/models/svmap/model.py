"""Deblurring with a known kernel by a few MAP steps, whose filters (SVMAP) or filters and weights (SIMAP) small networks predict."""
import contextlib
import dataclasses
import math

import torch
from torch import nn

from svconv._shapes import Dims, number
from svconv.models.pretrained import Pretrained, model_in
from svconv.models.svmap import banded
from svconv.models.svmap.start import GAIN, delta_bank, derivative_bank, start_from
from svconv.nn import FilterPredictor
from svconv.solvers.map_filters import map_step
from svconv.solvers.map_problem import MAPProblem, Recomputed, StepFilters
from svconv.solvers.result import Result

COLOURS = 3
FIRST_STEPS = 8     # of conjugate gradients, preconditioned, for x^0
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


@dataclasses.dataclass(repr=False)
class MAPDetails(Result):
    """What `SVMAP` and `SIMAP` return with details=True.

    Attributes:
        x: the restored image [B, 3, H, W].
        images: x^0 .. x^T.
        filters: `StepFilters` of every iteration.
        reports: `svconv.solvers.MAPResult` of every iteration: steps, residuals, convergence.
    """

    images: tuple
    filters: tuple
    reports: tuple

    def __repr__(self):
        steps = ", ".join(str(report.iterations.tolist()) for report in self.reports)
        return f"{type(self).__name__}(x={list(self.x.shape)}, iterations=({steps}))"


class MAPModel(Pretrained, nn.Module):
    """What SVMAP and SIMAP share: the start, the steps, and what goes in and out; a subclass says how the filters of a step are made."""

    def __init__(self, *, iterations, data_filters, prior_filters, data_size, prior_size, per_colour, share, start, width, zero_sum,
                 initial, tol, max_iter, implicit):
        super().__init__()
        counts = {"iterations": iterations, "prior_filters": prior_filters, "data_size": data_size, "prior_size": prior_size,
                  "width": width}
        counts = {name: number(name, value, least=1, integer=True) for name, value in counts.items()}
        if start not in ("l2", "random"):
            raise ValueError(f"start: expected 'l2' or 'random', got {start!r}")
        self.arguments = {**counts, "data_filters": number("data_filters", data_filters, least=0, integer=True),
                          "per_colour": bool(per_colour), "share": bool(share), "start": start, "zero_sum": bool(zero_sum),
                          "initial": number("initial", initial, above=0), "tol": number("tol", tol, least=0),
                          "max_iter": number("max_iter", max_iter, least=1, integer=True), "implicit": bool(implicit)}
        self._precision, self.recompute, self.nets = "float32", False, 1 if share else counts["iterations"]
        self._make(**{name: self.arguments[name] for name in ("data_filters", "prior_filters", "data_size", "prior_size", "width")},
                   count=self.nets, channels=COLOURS if per_colour else 1, started=start == "l2")

    @property
    def precision(self):
        return self._precision

    @precision.setter
    def precision(self, value):
        if value not in PRECISIONS:
            raise ValueError(f"precision: expected {' or '.join(map(repr, PRECISIONS))}, got {value!r}")
        self._precision = value

    def _predictors(self, count, filters, size, width, channels, bank, gain=1.0, zero_sum=False):
        made = [FilterPredictor(COLOURS, filters, size, channels=channels, width=width, zero_sum=zero_sum) for _ in range(count)]
        if bank is not None:
            for predictor in made:
                start_from(predictor, bank, gain)
        return nn.ModuleList(made)

    def _zero_sum(self):
        return self.arguments["zero_sum"] and self.arguments["prior_size"] > 1

    def step_filters(self, step, misfit, x, plane=None):
        """`StepFilters` of an iteration from `misfit` = y - K x and x, [B, 3, H, W]. plane: where the prior filters may already stand,
        continued, if that saves memory."""
        raise NotImplementedError

    def forward(self, y, kernel, *, details=False, callback=None):
        images, filters, reports = self._steps(y, kernel, details, callback)
        return MAPDetails(images[-1], tuple(images), tuple(filters), tuple(reports)) if details else images[-1]

    def images(self, y, kernel):
        """x^0 .. x^T, [B, 3, H, W] each, without keeping the filters."""
        return tuple(self._steps(y, kernel)[0])

    def _steps(self, y, kernel, details=False, callback=None):
        """(images, filters, reports); the latter two stay empty without details."""
        Dims().check("y", y, "B 3 H W")
        own = next(self.parameters()).dtype
        if y.dtype != own:
            raise TypeError(f"y: expected {own} like the weights of the model, got {y.dtype}")
        problem = MAPProblem(y, kernel)
        extended = problem.first(self.arguments["initial"], FIRST_STEPS)
        x = problem.plane.leave(extended).contiguous()
        misfit, images, filters, reports = problem.misfit(extended), [x], [], []
        options = {name: self.arguments[name] for name in ("tol", "max_iter", "implicit")}
        for step in range(self.arguments["iterations"]):
            made = self._made(step % self.nets, misfit, x, None if details else problem.plane)
            found = map_step(problem, made, x0=extended, callback=self._told(callback, step), **options)
            x, extended, misfit = found.x, found.extended, found.misfit
            images.append(x)
            if details:
                filters, reports = [*filters, made], [*reports, found]
            del made, found
        return images, filters, reports

    def first(self, y, kernel):
        """x^0 [B, 3, H, W]."""
        problem = MAPProblem(y, kernel)
        return problem.plane.leave(problem.first(self.arguments["initial"], FIRST_STEPS)).contiguous()

    def _told(self, callback, step):
        """The callback of one of the solves."""
        if callback is None:
            return None
        before, steps = step * self.arguments["max_iter"], self.arguments["iterations"] * self.arguments["max_iter"]
        return lambda done, _, x: callback(before + done, steps, x)

    def _made(self, step, misfit, x, plane):
        """`StepFilters`, or what makes them wherever they are needed."""
        if plane is None or not (self.recompute and torch.is_grad_enabled()):
            with self.casting(x.device):
                return self.step_filters(step, misfit, x, plane)
        names, weights = zip(*((f"model.{name}", p) for name, p in self.named_parameters() if name.split(".")[1] == str(step)))

        def make(misfit, x, *weights):
            with self.casting(x.device):
                return torch.func.functional_call(PredictedStep(self), dict(zip(names, weights)), (step, misfit, x))

        return Recomputed(make, (misfit, x, *weights))

    def casting(self, device):
        """The context in which the predictors compute."""
        dtype = PRECISIONS[self.precision]
        return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype)


class PredictedStep(nn.Module):
    """`step_filters` of a model as the forward of a module, which is what torch calls with other weights."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, step, misfit, x):
        return self.model.step_filters(step, misfit, x)


class SVMAP(MAPModel):
    """Deblurring by MAP steps `argmin_x sum_i |F_i (y - K x)|^2 + sum_j |G_j x|^2` whose filters are predicted for every pixel.

    x^0 is the l2 deconvolution with a gradient prior, light from outside of the image unknown. In each iteration one `nn.FilterPredictor`
    makes the data filters from y - K x, another the prior filters from x, and conjugate gradients go on from x
    (`svconv.solvers.map_filters`).

    Args:
        iterations: T.
        data_filters, prior_filters: M and N, filters per pixel; data_filters=0: the plain data term |y - K x|^2.
        data_size, prior_size: sides of the filters.
        per_colour: every colour its own filters, or one set for the three.
        share: the same two predictors in every iteration.
        start: "l2": the untrained net is an l2 deconvolution with the derivative prior of `svconv.solvers.irls`; "random".
        width: channels of the predictors.
        zero_sum: every prior filter sums to 0, so that it does not see brightness (with prior_size > 1).
        initial: weight of the gradient prior of x^0; 0.01 suits 1 % noise.
        tol, max_iter, implicit: of conjugate gradients, see `svconv.solvers.map_filters`.

    Shapes:
        forward(y [B, 3, H, W], 0..1; kernel [B|1, 1|3, kh, kw] or [B|1, kh, kw]; details=False, callback=None) -> [B, 3, H, W], with
        details=True `MAPDetails`. callback(step, steps, x) is called after every CG step. Parameters: 1,290,416 at T = 2, half of it with
        T = 1 or share=True.

    Attributes:
        precision: "float32", or "bfloat16": the predictors compute in bfloat16 and the filters stay so, everything else is float32.
        recompute: True: in training the filters of an iteration are not kept for the backward pass but predicted again there, twice;
            memory then holds the filters and features of one iteration instead of all.

    Raises:
        ValueError, TypeError: naming the argument; NaN or infinite pixels, a PSF that is zero or negative in sum.

    Gradients reach y, the kernel and the weights, implicitly through every solve. Memory under `no_grad`: the filters of one iteration,
    600 planes of float32 at the default sizes, and the prior's on the plane. Bit-identical from run to run with a fixed number of threads.
    Learning Spatially-Variant MAP Models for Non-blind Image Deblurring (2021).

    >>> import torch
    >>> model = SVMAP()
    >>> sum(p.numel() for p in model.parameters())
    1290416
    >>> kernel = torch.full((1, 1, 5, 5), 1 / 25)
    >>> with torch.no_grad():
    ...     model(torch.rand(1, 3, 32, 35), kernel).shape
    torch.Size([1, 3, 32, 35])
    """

    weights_prefix, default_weights = "svmap-", "gaussian1"

    def __init__(self, iterations=2, data_filters=3, prior_filters=5, data_size=5, prior_size=5, per_colour=True, share=False, *,
                 start="l2", width=64, zero_sum=True, initial=0.01, tol=1e-5, max_iter=30, implicit=True):
        super().__init__(iterations=iterations, data_filters=data_filters, prior_filters=prior_filters, data_size=data_size,
                         prior_size=prior_size, per_colour=per_colour, share=share, start=start, width=width, zero_sum=zero_sum,
                         initial=initial, tol=tol, max_iter=max_iter, implicit=implicit)

    def _make(self, data_filters, prior_filters, data_size, prior_size, width, count, channels, started):
        self.data = self.prior = None
        if data_filters:
            bank = delta_bank(data_filters, data_size) if started else None
            self.data = self._predictors(count, data_filters, data_size, width, channels, bank, GAIN)
        bank = derivative_bank(prior_filters, prior_size) if started else None
        self.prior = self._predictors(count, prior_filters, prior_size, width, channels, bank, zero_sum=self._zero_sum())

    def step_filters(self, step, misfit, x, plane=None):
        return StepFilters(None if self.data is None else _predicted(self.data[step], misfit), _predicted(self.prior[step], x, plane))


class SIMAP(MAPModel):
    """As `SVMAP`, with uniform filters and a weight for every pixel: `sum_i w_i |f_i * (y - K x)|^2 + sum_j w_j |g_j * x|^2`.

    A predictor's filters are averaged over the image; a second network of the same layout predicts the weights: of the data term behind a
    sigmoid (bounded, so that it stays robust), of the prior behind a ReLU. They are handed over as weights: the square root of a weight of
    0 would have an infinite gradient.

    Args, shapes, attributes, errors and memory as in `SVMAP`; a data_filters=0 has no data weights either. Parameters: 1,916,128 at (3, 5),
    3,356,320 at (9, 15), 5,516,608 at (18, 30).

    Learning Spatially-Variant MAP Models for Non-blind Image Deblurring (2021).

    >>> import torch
    >>> sum(p.numel() for p in SIMAP().parameters())
    1916128
    """

    weights_prefix, default_weights = "simap-", "gaussian1"

    def __init__(self, iterations=2, data_filters=3, prior_filters=5, data_size=5, prior_size=5, per_colour=True, *, start="l2", width=64,
                 zero_sum=True, initial=0.01, tol=1e-5, max_iter=30, implicit=True):
        super().__init__(iterations=iterations, data_filters=data_filters, prior_filters=prior_filters, data_size=data_size,
                         prior_size=prior_size, per_colour=per_colour, share=False, start=start, width=width, zero_sum=zero_sum,
                         initial=initial, tol=tol, max_iter=max_iter, implicit=implicit)
        del self.arguments["share"]

    def _make(self, data_filters, prior_filters, data_size, prior_size, width, count, channels, started):
        self.data = self.prior = self.data_weights = None
        if data_filters:
            bank = math.sqrt(2) * delta_bank(data_filters, data_size) if started else None      # the sigmoid begins at one half
            self.data = self._predictors(count, data_filters, data_size, width, channels, bank, GAIN)
            bank = torch.zeros(data_filters, 1, 1) if started else None
            self.data_weights = self._predictors(count, data_filters, 1, width, channels, bank, GAIN)
        bank = derivative_bank(prior_filters, prior_size) if started else None
        self.prior = self._predictors(count, prior_filters, prior_size, width, channels, bank, zero_sum=self._zero_sum())
        bank = torch.ones(prior_filters, 1, 1) if started else None
        self.prior_weights = self._predictors(count, prior_filters, 1, width, channels, bank)

    def step_filters(self, step, misfit, x, plane=None):
        data = weights = None
        if self.data is not None:
            data = _uniform(_predicted(self.data[step], misfit))
            weights = torch.sigmoid(_maps(_predicted(self.data_weights[step], misfit)))
        return StepFilters(data, _uniform(_predicted(self.prior[step], x)), weights,
                           torch.relu(_maps(_predicted(self.prior_weights[step], x))))


def _predicted(predictor, guide, plane=None):
    return banded.predicted(predictor, guide, plane) if banded.pays(guide) else predictor(guide)


def _uniform(filters):
    """The mean filters of each sample, for every pixel (a view)."""
    return filters.mean((-2, -1), keepdim=True).expand_as(filters)


def _maps(filters):
    """Filters of one pixel as float32 weights [B, C, M, H, W]."""
    return filters.flatten(2, 4).float() if filters.dtype != torch.float64 else filters.flatten(2, 4)


def load(path):
    """A `SVMAP` or a `SIMAP`, whichever a file of `save` holds; FileError as in `SVMAP.load`."""
    return (SIMAP if model_in(path) == SIMAP.__name__ else SVMAP).load(path)
