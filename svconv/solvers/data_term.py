"""The data term `sum m (A x - y)^2` of the solvers with a border option and a mask, on a plane that may be larger than the image."""

import torch

from svconv._plane import image_plane
from svconv.solvers.border import continued, extend_smoothly, taper_edges, wide_plane
from svconv.solvers.problem import observed, over_maps


class DataTerm:
    """Build it with `data_term`.

    Attributes:
        op: the operator on the plane, with what it can prepare kept.
        y: the observation on the plane, 0 where it is not used.
        mask: None (all ones) or the weights m, broadcastable to y.
        start: [B, C, *plane.size], the observation continued over the plane, unused pixels filled with the mean of the used ones.
        plane: where the image stands.
        apart: how many leading axes count independent problems: samples and channels (2), or samples (1) where op mixes channels.
    """

    def __init__(self, op, y, mask, start, plane):
        self.op, self.y, self.mask, self.start, self.plane = op, y, mask, start, plane
        self.apart = 2 if op.per_channel else 1

    def right_hand_side(self):
        """A' m y."""
        return self.op.adjoint(self.y if self.mask is None else self.mask * self.y)

    def normal(self, x):
        """A' m A x."""
        return self.op.gram(x, self.mask)

    def crop(self, x):
        """The image part of a plane, a view."""
        return self.plane.leave(x)

    def cropped(self, callback):
        """The user's callback, called with the image part of the plane."""
        return None if callback is None else lambda step, steps, x: callback(step, steps, self.crop(x))


def data_term(op, y, mask, border):
    """DataTerm of arguments that `svconv.solvers.problem` has checked; docs/solvers.md has the table of `border`."""
    y, start, mask = observed(y, mask)
    if y.dim() == 5:
        if border not in ("mask", None):
            raise ValueError(f"border: expected 'mask' or None beside an operator with an axis M, got {border!r}")
        start = start.mean(2)
    if border == "mask":
        return _masked_plane(op, y, mask, start) or _masked_image(op, y, mask, start)
    if border == "replicate":
        return continued_term(op, start, mask, "replicate") or _on_image(op.with_padding("replicate"), y, mask, start)
    if border == "taper":
        circular = op.on(image_plane(y.shape[-2:]))
        if circular is None:
            raise ValueError(f"border: expected an operator with a circular form beside 'taper', got {op!r}")
        y = taper_edges(start, circular)
        return DataTerm(circular, y, mask, y, image_plane(y.shape[-2:]))
    return _on_image(op, y, mask, start)


def _on_image(op, y, mask, start):
    size = y.shape[-2:]
    return DataTerm(op.kept(size), y, mask, start, image_plane(size))


def _masked_plane(op, y, mask, start):
    """The plane holds every pixel that an output pixel reads; only the output pixels of the image count. None if op fits no such plane."""
    (height, width), (top, bottom, left, right) = y.shape[-2:], op.reach
    plane = wide_plane((height, width), top, left, op.lengths((height + top + bottom, width + left + right)))
    wide = op.on(plane)
    if wide is None:
        return None
    if mask is None:
        mask = over_maps(y.new_ones((1, 1, height, width)), y)
    return DataTerm(wide, plane.leave_adjoint(y), plane.leave_adjoint(mask), extend_smoothly(start, plane), plane)


def _masked_image(op, y, mask, start):
    """The image keeps its size; output pixels whose kernel reaches over the edge do not count."""
    height, width = y.shape[-2:]
    inside = clear_of_edges(op, y)
    if not bool(inside.any()):
        raise ValueError(f"border: no pixel of {height} x {width} has its kernel inside the image; "
                         "expected a smaller kernel or border=None")
    inside = over_maps(inside, y)
    return _on_image(op, y, inside if mask is None else mask * inside, start)


def clear_of_edges(op, y, edges=(True, True, True, True)):
    """1 for the output pixels whose kernel does not reach over the edges (top, bottom, left, right) that count, 0 for the others,
    [B|1, C|1, H, W] in the dtype of y."""
    height, width = y.shape[-2:]
    rows, columns = torch.arange(height, device=y.device)[:, None], torch.arange(width, device=y.device)
    away = rows, height - 1 - rows, columns, width - 1 - columns
    inside = torch.ones((1, 1, height, width), dtype=torch.bool, device=y.device)
    for distance, reach, counts in zip(away, op.reaches, edges):
        if counts:
            inside = inside & (distance >= reach)
    return inside.to(y.dtype)


def continued_term(op, y, mask, padding):
    """The image continued by `padding`, one kernel on every side, and smoothly beyond; what is outside of the image counts as seen.

    None if op fits no such plane.
    """
    (height, width), (top, bottom, left, right) = y.shape[-2:], op.reach
    kh, kw = top + bottom + 1, left + right + 1
    plane = wide_plane((height, width), kh, kw, op.lengths((height + 3 * kh, width + 3 * kw)))
    wide = op.on(plane)
    if wide is None:
        return None
    if mask is not None:
        mask = 1 - plane.leave_adjoint(1 - mask)
    y = continued(y, plane, (kh, kh, kw, kw), padding)
    return DataTerm(wide, y, mask, y, plane)
