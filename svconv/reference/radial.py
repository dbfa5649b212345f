"""Blurs whose kernel at each pixel is made of one number of a map there, in plain torch: what disk and gaussian have in common.

A kernel is a function `weight(parameter, row, column)` of the offset, the same for (+-row, +-column) and (column, row). x [B, C, H, W],
map [B|1, 1|C, H, W]. Half types are accumulated in float32 and rounded once at the end.
"""
import torch

from svconv._plane import Plane
from svconv._shapes import sum_to
from svconv.reference.pixel_filter import accumulator


class Radial:
    """The blur D(x) of a map in both forms, and its transpose.

    Args:
        parameter: the map. reach: how far its kernels reach. weight: as above.
    """

    def __init__(self, parameter, reach, weight, form, padding):
        self.reach, self.weight, self.gather, self.size = reach, weight, form == "gather", tuple(parameter.shape[-2:])
        (height, width), n = self.size, reach
        self.plane = Plane((height, width), (n, n, n, n), (height + 2 * n, width + 2 * n), padding)
        self.parameter = parameter if self.gather else self.plane.enter(parameter)

    def _terms(self):
        """(weights, where they are not 0, the offsets that have them), in a fixed order."""
        for row in range(self.reach + 1):
            for column in range(row + 1):
                w = self.weight(self.parameter, row, column)
                signed = {(a * s, b * t) for a, b in ((row, column), (column, row)) for s in (1, -1) for t in (1, -1)}
                yield w, w != 0, sorted(signed)

    def _window(self, plane, offset):
        """The part of a plane that stands at the image's pixels moved by the offset, a view."""
        (row, column), n, (height, width) = offset, self.reach, self.size
        return plane[..., n + row:n + row + height, n + column:n + column + width]

    def apply(self, x):
        """D(x) in the accumulator's dtype."""
        x = x.to(accumulator(x.dtype))
        y, plane = torch.zeros_like(x, memory_format=torch.contiguous_format), self.plane.enter(x)
        for w, there, offsets in self._terms():
            weighted = None if self.gather else torch.where(there, w * plane, 0)
            for offset in offsets:
                y += torch.where(there, w * self._window(plane, offset), 0) if self.gather else self._window(weighted, offset)
        return y

    def transpose(self, y):
        """D'(y) in the accumulator's dtype: onto the whole plane, then folded back."""
        y = y.to(accumulator(y.dtype))
        plane = y.new_zeros((*y.shape[:2], *self.plane.size))
        for w, there, offsets in self._terms():
            weighted = torch.where(there, w * y, 0) if self.gather else None
            for offset in offsets:
                if self.gather:
                    self._window(plane, offset).add_(weighted)
                else:
                    window = self._window(plane, offset)
                    window.add_(torch.where(self._window(there, offset), self._window(w, offset) * y, 0))
        return self.plane.enter_adjoint(plane).contiguous()

    def gradient(self, x, g):
        """The gradient of <g, D(x)> in the map, where `weight` is the derivative of D's weight: summed over axes that the map shares."""
        product = g * self.apply(x) if self.gather else x * self.transpose(g)
        return sum_to(product, self.parameter.shape)
