"""One MAP step with per-pixel filters on the plane of an image: the operator of its normal equations, their right-hand side and defect."""
import dataclasses
import functools

import torch

from svconv._plane import Plane
from svconv._shapes import shape_text
from svconv.operators import Conv, Operator
from svconv.ops import pixel_filter_gram
from svconv.ops.pixel_filter_stencil import GramStencil, pays
from svconv.solvers.border import extend_smoothly, wide_plane
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

    def terms(self, data_filters, prior_filters, data_weights, prior_weights, applications=0):
        """(tensors, bind): the tensors of a step and bind(tensors) -> Step, for about so many applications of its normal operator."""
        given = {"y": self.y, "spectrum": self.op.tensors[0], "mask": self.mask, "data_filters": data_filters, "data_weights": data_weights,
                 "prior_filters": self.continued(prior_filters), "prior_weights": self.continued(prior_weights)}
        names = [name for name, t in given.items() if t is not None]

        def bind(tensors, applications=applications):
            return Step(self.op, self.plane, applications, **dict(zip(names, tensors)))

        return [given[name] for name in names], bind


@dataclasses.dataclass
class Step:
    """The normal equations `A x = b` of a MAP step made of its tensors."""

    op: Operator
    plane: Plane
    applications: int
    y: torch.Tensor
    spectrum: torch.Tensor
    prior_filters: torch.Tensor
    data_filters: "torch.Tensor | None" = None
    data_weights: "torch.Tensor | None" = None
    prior_weights: "torch.Tensor | None" = None
    mask: "torch.Tensor | None" = None

    def __post_init__(self):
        self.op = self.op.with_tensors([self.spectrum])

    @functools.cached_property
    def _data_gram(self):
        return _gram(self.data_filters, self.data_weights, "zeros", self.applications)

    @functools.cached_property
    def _prior_gram(self):
        return _gram(self.prior_filters, self.prior_weights, PRIOR_PADDING, self.applications)

    def _back(self, r):
        """`K' m (sum_i F_i' F_i) m r` of what stands on the image."""
        r = _masked(self.mask, r)
        if self.data_filters is not None:
            r = self._data_gram(r)
        return self.op.adjoint(self.plane.leave_adjoint(_masked(self.mask, r)))

    def _prior(self, x):
        return self._prior_gram(x)

    def right_hand_side(self):
        """b."""
        return self._back(self.y)

    def normal(self, x):
        """A x."""
        return self._back(self.plane.leave(self.op(x))) + self._prior(x)

    def defect(self, x):
        """`b - A x`, with one pass over the data filters."""
        return self._back(self.y - self.plane.leave(self.op(x))) - self._prior(x)


def _gram(filters, weights, padding, applications):
    """x -> sum_m F_m' W_m F_m x: by a stencil where nothing is differentiated and so many applications repay its assembly."""
    if pays(filters, applications):
        return GramStencil(filters, weights=weights, padding=padding)
    return functools.partial(pixel_filter_gram, filters=filters, weights=weights, padding=padding)


def _masked(mask, r):
    return r if mask is None else mask * r
