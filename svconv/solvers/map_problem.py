"""One MAP step with per-pixel filters on the plane of an image: the operator of its normal equations, their right-hand side and defect."""
import dataclasses
import functools
import weakref
from collections.abc import Callable
from typing import NamedTuple

import torch

from svconv._shapes import computed, shape_text
from svconv.operators import Conv
from svconv.operators.division import power, prior_power, transform, untransform
from svconv.ops import pixel_filter_gram
from svconv.ops.pixel_filter_stencil import GramStencil, pays
from svconv.solvers.border import extend_smoothly, wide_plane
from svconv.solvers.cg import differentiable
from svconv.solvers.conjugate_gradients import solve, solve_unrolled
from svconv.solvers.implicit import transforming
from svconv.solvers.map_preconditioner import HalfSpectra, circulant_inverse
from svconv.solvers.problem import checked, observed

PRIOR_PADDING = "replicate"     # of the latent image at the edge of the plane


class MAPProblem:
    """`sum_i |F_i m (y - K x)|^2 + sum_j |G_j x|^2` for one blurred image and kernel; the filters come with every solve.

    x stands on a plane that holds every pixel which a pixel of y sees.

    Attributes:
        given: the checked operator and image, see `svconv.solvers.problem.Checked`.
        op: the convolution on the plane, by its spectrum. y: with 0 where the mask leaves a pixel out. mask: None or weights like y.
        plane: where the image stands. start: y continued over the plane.
    """

    def __init__(self, y, kernel, mask=None):
        self.given = checked(Conv(kernel), y, mask, name="kernel")
        conv = self.given.op
        self.y, start, self.mask = observed(self.given.y, self.given.mask)
        (height, width), (top, bottom, left, right) = y.shape[-2:], conv.reach
        self.plane = wide_plane((height, width), top, left, conv.lengths((height + top + bottom, width + left + right)))
        self.op = conv.on(self.plane)
        self.start = extend_smoothly(start, self.plane)

    def extended(self, x):
        """An image, or an estimate that already stands on the plane, on the plane."""
        if x.shape[-2:] == self.plane.size:
            return x
        if x.shape[-2:] != self.plane.image:
            raise ValueError(f"x0: expected {list(self.plane.image)} like y or {list(self.plane.size)} like .extended in the last axes, "
                             f"got {shape_text(x)}")
        return extend_smoothly(x, self.plane)

    def first(self, beta, steps):
        """The l2 start on the plane: so many preconditioned steps from y towards `argmin_x |m (y - K x)|^2 + beta (|Dx x|^2 + |Dy x|^2)`.

        Unlike the quotient of a continued image it knows that light from outside is unknown.
        """
        smooth = beta * prior_power("gradient", self.plane.size, self.y)
        eigenvalues = power(self.op.spectrum) + smooth
        largest = eigenvalues.detach().amax((-2, -1), keepdim=True).clamp_min(torch.finfo(self.y.dtype).tiny)
        inverse = 1 / (eigenvalues + 0.5 * beta * largest)

        def normal(x):
            seen = _masked(self.mask, self.plane.leave(self.op(x)))
            return self.op.adjoint(self.plane.leave_adjoint(_masked(self.mask, seen))) + untransform(transform(x) * smooth, self.plane.size)

        right = self.op.adjoint(self.plane.leave_adjoint(_masked(self.mask, _masked(self.mask, self.y))))
        kept = differentiable(self.y, self.op.tensors[0]) or transforming()
        return (solve_unrolled if kept else solve)(
            normal, right, self.start, lambda r: untransform(transform(r) * inverse, self.plane.size), tol=1e-6, max_iter=steps,
            check_every=None, callback=None, apart=2).x

    def misfit(self, x):
        """`m (y - K x)` [B, C, H, W] of an estimate on the plane."""
        return _masked(self.mask, self.y - self.plane.leave(self.op(x)))

    def continued(self, filters):
        """Filters or weights [..., H, W] of the image continued over the plane by those of the nearest pixel; None stays None."""
        if filters is None or filters.shape[-2:] == self.plane.size:
            return filters
        if filters.stride()[-2:] == (0, 0):     # uniform ones stay a view
            return filters[..., :1, :1].expand(*filters.shape[:-2], *self.plane.size)
        return dataclasses.replace(self.plane, padding="replicate").enter(filters)

    def seen(self, filters):
        """Those of the pixels of the image, a view, where they stand on the plane; None stays None."""
        if filters is None or filters.shape[-2:] == self.plane.image:
            return filters
        return self.plane.leave(filters)

    def terms(self, filters, applications):
        """(tensors, bind): what a solve depends on and bind(tensors) -> Step, for about so many applications of its normal operator. A step
        of the same tensors that is still in use is found again."""
        fixed = {name: t for name, t in (("y", self.y), ("spectrum", self.op.tensors[0]), ("mask", self.mask)) if t is not None}
        made = filters if isinstance(filters, Recomputed) else given_filters(filters)
        latest = lambda: None       # noqa: E731 (as a dead reference answers)

        def bind(tensors):
            nonlocal latest
            step = latest()
            if step is None or any(a is not b for a, b in zip(step.tensors, tensors)) or torch.is_grad_enabled():
                step = Step(self, tensors, dict(zip(fixed, tensors)), StepFilters(*made.make(*tensors[len(fixed):])), applications)
                latest = weakref.ref(step)
            return step

        return [*fixed.values(), *made.inputs], bind


class StepFilters(NamedTuple):
    """The filters of one MAP step as `svconv.solvers.map_filters` takes them."""

    data_filters: "torch.Tensor | None"
    prior_filters: torch.Tensor
    data_weights: "torch.Tensor | None" = None
    prior_weights: "torch.Tensor | None" = None


class Recomputed(NamedTuple):
    """`StepFilters` that are made anew, `make(*inputs)`, wherever a solve or its gradient needs them, instead of being kept between."""

    make: Callable
    inputs: tuple


def given_filters(filters):
    """`Recomputed` of filters that are there: nothing is made."""
    places = [i for i, t in enumerate(filters) if t is not None]

    def make(*tensors):
        found = dict(zip(places, tensors))
        return [found.get(i) for i in range(len(filters))]

    return Recomputed(make, tuple(filters[i] for i in places))


class Step:
    """The normal equations `A x = b` of a MAP step made of its tensors."""

    def __init__(self, problem, tensors, fixed, filters, applications):
        self.problem, self.tensors, self.filters, self.applications = problem, tensors, filters, applications
        self.y, self.mask, self.plane = fixed["y"], fixed.get("mask"), problem.plane
        self.op = problem.op.with_tensors([fixed["spectrum"]])

    def spectra(self):
        """`HalfSpectra` with the inverse of the circulant preconditioner."""
        data, prior, data_weights, prior_weights = self.filters
        seen = self.problem.seen
        return HalfSpectra(self.plane.size, circulant_inverse(self.op.spectrum, self.plane.size, data, seen(prior), data_weights,
                                                              seen(prior_weights)))

    @functools.cached_property
    def _data_gram(self):
        return _gram(self.filters.data_filters, self.filters.data_weights, "zeros", self.applications)

    @functools.cached_property
    def _prior_gram(self):
        filters, weights = (self.problem.continued(t) for t in (self.filters.prior_filters, self.filters.prior_weights))
        return _gram(filters, weights, PRIOR_PADDING, self.applications)

    def _on_image(self, r):
        """`m (sum_i F_i' F_i) m r`."""
        r = _masked(self.mask, r)
        return _masked(self.mask, r if self.filters.data_filters is None else self._data_gram(r))

    def _back(self, r):
        """`K' m (sum_i F_i' F_i) m r` of what stands on the image."""
        return self.op.adjoint(self.plane.leave_adjoint(self._on_image(r)))

    def right_hand_side(self):
        """b."""
        return self._back(self.y)

    def __call__(self, x):
        """A x."""
        return self._back(self.plane.leave(self.op(x))) + self._prior_gram(x)

    def normal_of_spectrum(self, spectrum, size):
        """The half spectrum of A x from that of x, planes of `size`."""
        back = untransform(spectrum * self.op.spectrum, size)
        back = transform(self.plane.leave_adjoint(self._on_image(self.plane.leave(back)))).mul_(self.op.spectrum.conj())
        return back.add_(transform(self._prior_gram(untransform(spectrum, size))))

    def defect(self, x):
        """`b - A x`, with one pass over the data filters."""
        return self._back(self.y - self.plane.leave(self.op(x))) - self._prior_gram(x)


def _gram(filters, weights, padding, applications):
    """x -> sum_m F_m' W_m F_m x: by a stencil where nothing is differentiated and so many applications repay its assembly."""
    if pays(filters, applications):
        wide = computed(filters[:0]).dtype      # a stencil rounded to a half type is the operator of other filters, and may be indefinite
        return GramStencil(filters, weights=weights, padding=padding, dtype=wide)
    return functools.partial(pixel_filter_gram, filters=filters, weights=weights, padding=padding)


def _masked(mask, r):
    return r if mask is None else mask * r
