"""An image that stands in a larger plane: how it gets in, how a result gets out, the exact transposes of both, and the same as index maps.

With `enter` and `leave` a convolution on a plane is `leave(F^-1 K F enter(x))` and its adjoint `enter'(F^-1 conj(K) F leave'(y))`.
Everything is made of slices and flips: no index tables, no synchronisation with a device, gradients of every order.
"""
import dataclasses
import functools

import numpy as np
import torch

from svconv._boundary import source_indices, stretches
from svconv._fourier import fast_length
from svconv._shapes import watched


@dataclasses.dataclass(frozen=True)
class Axis:
    """One side of a plane: `n` pixels, continued by `padding` by `before` and `after`, then zeros up to `length`."""

    n: int
    before: int
    after: int
    length: int
    padding: str

    def enter(self, x, dim):
        """x with n pixels along `dim` -> continued, `length` long; x itself where nothing is added."""
        rest = self.length - self.n - self.before - self.after
        if self.padding == "zeros":
            return _padded(x, dim, self.before, self.length - self.n - self.before)
        if not (self.before or self.after):
            return _padded(x, dim, 0, rest)
        parts = [_run(x, dim, *run) for run in stretches(-self.before, 0, self.n, self.padding)] + [x]
        parts += [_run(x, dim, *run) for run in stretches(self.n, self.n + self.after, self.n, self.padding)]
        if rest:
            parts.append(x.new_zeros([rest if axis == dim % x.dim() else size for axis, size in enumerate(x.shape)]))
        return torch.cat(parts, dim)

    def fill(self, out, x, dim):
        """`enter` into a tensor that is there; x may be the place of the image in it."""
        rest = self.length - self.n - self.before - self.after
        place = out.narrow(dim, self.before, self.n)
        if x.data_ptr() != place.data_ptr():
            place.copy_(x)
        for position, margin in ((0, self.before), (self.before + self.n, self.after)):
            if self.padding == "zeros":
                out.narrow(dim, position, margin).zero_()
                continue
            for start, count, step in stretches(position - self.before, position - self.before + margin, self.n, self.padding):
                out.narrow(dim, position, count).copy_(_run(x, dim, start, count, step))
                position += count
        out.narrow(dim, self.length - rest, rest).zero_()

    def enter_adjoint(self, y, dim):
        """The transpose of `enter`: what stands outside of the image is added to the pixel it came from, in a fixed order; the rest is
        dropped."""
        x = y.narrow(dim, self.before, self.n)
        if self.padding == "zeros" or not (self.before or self.after):
            return x
        x = x.clone()
        for position, last in ((-self.before, 0), (self.n, self.n + self.after)):
            for start, count, step in stretches(position, last, self.n, self.padding):
                part = y.narrow(dim, self.before + position, count)
                if step == 0:
                    x.narrow(dim, start, 1).add_(part.sum(dim, keepdim=True))
                elif step == 1:
                    x.narrow(dim, start, count).add_(part)
                else:
                    x.narrow(dim, start - count + 1, count).add_(part.flip(dim))
                position += count
        return x

    def leave(self, y, dim):
        """The n pixels of the image, a view."""
        return y if self.length == self.n else y.narrow(dim, self.before, self.n)

    def leave_adjoint(self, x, dim):
        """The transpose of `leave`: zeros all around."""
        return _padded(x, dim, self.before, self.length - self.n - self.before)

    @property
    def enter_map(self):
        """int64 [length]: the pixel that stands at each place, -1 for a zero; None where plane and image are the same. For compiled
        code."""
        return None if self.length == self.n else _enter_map(self)

    @property
    def leave_map(self):
        """As `enter_map` with zeros all around the image."""
        return None if self.length == self.n else _enter_map(dataclasses.replace(self, padding="zeros"))


@functools.lru_cache(maxsize=64)
def _enter_map(axis):
    inside = source_indices(-axis.before, axis.n + axis.after, axis.n, axis.padding)
    return np.concatenate([inside, np.full(axis.length - len(inside), -1, dtype=np.int64)])


def _run(x, dim, start, count, step):
    if step == 0:
        return x.narrow(dim, start, 1).expand([count if axis == dim % x.dim() else -1 for axis in range(x.dim())])
    return x.narrow(dim, start, count) if step == 1 else x.narrow(dim, start - count + 1, count).flip(dim)


def _padded(x, dim, before, after):
    if not (before or after):
        return x
    return torch.nn.functional.pad(x, (0, 0) * (x.dim() - 1 - dim % x.dim()) + (before, after))


@dataclasses.dataclass(frozen=True)
class Plane:
    """An image of `image` = (H, W) pixels in a plane of `size`, continued by `padding` over `margins` (top, bottom, left, right), zeros
    beyond.

    >>> import torch
    >>> plane = Plane((1, 3), (0, 0, 2, 1), (1, 8), "reflect")
    >>> plane.enter(torch.tensor([[1.0, 2.0, 3.0]])).tolist()
    [[3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 0.0, 0.0]]
    >>> plane.leave(plane.enter(torch.tensor([[1.0, 2.0, 3.0]]))).tolist()
    [[1.0, 2.0, 3.0]]
    """

    image: tuple
    margins: tuple
    size: tuple
    padding: str

    @property
    def rows(self):
        return Axis(self.image[0], self.margins[0], self.margins[1], self.size[0], self.padding)

    @property
    def columns(self):
        return Axis(self.image[1], self.margins[2], self.margins[3], self.size[1], self.padding)

    @functools.cached_property
    def enter_maps(self):
        """`enter` as the maps of rows and columns, for compiled code."""
        return self.rows.enter_map, self.columns.enter_map

    @functools.cached_property
    def leave_maps(self):
        """`leave` likewise."""
        return self.rows.leave_map, self.columns.leave_map

    def enter(self, x):
        """x [..., H, W] -> [..., *size]; x itself where plane and image are the same."""
        if self.size == self.image or watched(x):
            return self.columns.enter(self.rows.enter(x, -2), -1)
        out = x.new_empty((*x.shape[:-2], *self.size))      # one copy instead of two: stacks of filters are large
        image = out.narrow(-2, self.margins[0], self.image[0])
        self.columns.fill(image, x, -1)
        self.rows.fill(out, image, -2)
        return out

    def enter_adjoint(self, y):
        """The transpose of `enter`, [..., *size] -> [..., H, W]; may be a view."""
        return self.columns.enter_adjoint(self.rows.enter_adjoint(y, -2), -1)

    def leave(self, y):
        """y [..., *size] -> the image [..., H, W], a view."""
        return self.columns.leave(self.rows.leave(y, -2), -1)

    def leave_adjoint(self, x):
        """The transpose of `leave`: x [..., H, W] among zeros."""
        return self.columns.leave_adjoint(self.rows.leave_adjoint(x, -2), -1)


def image_plane(image):
    """The plane that is the image itself."""
    return Plane(tuple(image), (0, 0, 0, 0), tuple(image), "circular")


def window_plane(image, kernel_size, padding):
    """The image and all that a correlation with centre ((kh-1)//2, (kw-1)//2) reads."""
    (h, w), (kh, kw) = image, kernel_size
    top, left = (kh - 1) // 2, (kw - 1) // 2
    return Plane((h, w), (top, kh - 1 - top, left, kw - 1 - left), (h + kh - 1, w + kw - 1), padding)


def convolution_plane(image, kernel_size, padding):
    """Where a convolution with centre (kh//2, kw//2) is computed in Fourier space, at fast lengths except for "circular", which needs
    exactly H x W.

    Beyond a zero border half a kernel of zeros is enough, it may be shared by both sides.
    """
    (h, w), (kh, kw) = image, kernel_size
    if padding == "circular":
        return image_plane((h, w))
    if padding == "zeros":
        return Plane((h, w), (0, 0, 0, 0), (fast_length(h + kh // 2), fast_length(w + kw // 2)), padding)
    margins = kh - 1 - kh // 2, kh // 2, kw - 1 - kw // 2, kw // 2
    return Plane((h, w), margins, (fast_length(h + kh - 1), fast_length(w + kw - 1)), padding)


def division_plane(image, kernel_size, padding):
    """Where an image is divided by a spectrum: continued by a kernel on each side and at the far side on to a fast length; "circular": H
    x W."""
    (h, w), (kh, kw) = image, kernel_size
    if padding == "circular":
        return image_plane((h, w))
    size = fast_length(h + 2 * kh), fast_length(w + 2 * kw)
    return Plane((h, w), (kh, size[0] - h - kh, kw, size[1] - w - kw), size, padding)
