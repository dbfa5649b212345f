"""From an op to its launches: which primitive it is, how far its disks reach, and where its result stands before it is folded back."""
import math

import torch
from svconv._triton.disk.gather import gather_groups, gather_launch
from svconv._triton.disk.spread import SPLIT, blocks, blocks_launch, spread_launch
from svconv._triton.tiles import accumulator

from svconv._disk_area import LARGEST, disk_reach
from svconv._plane import Plane
from svconv._triton import boundary


class Blur:
    """The blur of one map, or with `slope` its derivative: where its parts stand, and the launches.

    reach: of the largest disk. With a max_radius it is that of the promise, and the map is not looked at.
    """

    def __init__(self, radius, form, padding, max_radius, slope, transposed=False):
        self.radius, self.slope = radius, slope
        self.reach = max(0, math.ceil(max_radius - 0.5)) if max_radius <= LARGEST else disk_reach(radius, max_radius)
        self.limit = None if math.isinf(max_radius) else torch.full((), max_radius, dtype=accumulator(radius.dtype), device=radius.device)
        self.gathers = (form == "gather") != transposed
        # of zeros and of a torus the transpose is the other primitive, and stays in the image
        self.on_plane = transposed and padding not in ("zeros", "circular")
        self.padding = padding
        self.sources = "zeros" if self.on_plane else padding
        self.far = any(boundary.is_far(n, 2 * self.reach + 1, padding) for n in radius.shape[-2:])
        self.margin = self.reach if self.on_plane else 0

    @property
    def size(self):
        """Of the result before it is folded."""
        return tuple(n + 2 * self.margin for n in self.radius.shape[-2:])

    def launches(self, x, out, factor=None):
        """In order; out [B, C, *size], with a factor [B, groups of channels, *size]."""
        if self.gathers:
            around = self.padding if self.margin else "replicate"
            yield gather_launch(x, self.radius, self.limit, out, self.margin, self.far, self.sources, around, self.slope, factor)
            return
        margin = 0 if self.sources == "zeros" else self.reach
        shape = 3, *self.radius.shape[:2], *blocks(*self.radius.shape[-2:], margin)
        table = torch.empty(shape, dtype=accumulator(x.dtype), device=x.device)
        yield blocks_launch(self.radius, self.limit, table, margin, self.far, self.sources, self.slope)
        most = table[1].amax() if self.reach > SPLIT else None
        yield spread_launch(x, self.radius, self.limit, table, most, out, self.margin, margin, self.far, self.sources, self.slope)

    def run(self, x, factor=None):
        """The result of x, or its products with the factor, folded; of the accumulator's type where something follows."""
        follows = self.on_plane or factor is not None
        channels = x.shape[1] if factor is None else gather_groups(x.shape[1], self.radius, x.dtype)[0]
        out = x.new_empty((x.shape[0], channels, *self.size), dtype=accumulator(x.dtype) if follows else x.dtype)
        for launch in self.launches(x, out, factor):
            launch(x.device)
        if not self.margin:
            return out
        m = self.margin
        return Plane(tuple(x.shape[-2:]), (m, m, m, m), self.size, self.padding).enter_adjoint(out)
