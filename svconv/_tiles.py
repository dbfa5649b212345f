"""The tiling plan of large images: tiles, the halos that they see beyond their own pixels, and the weights that put results together.

A tile is a pair of spans, along the rows and along the columns. Exact operations have no fade: every pixel is one tile's own. Solvers,
whose results depend a little on what they see, overlap and are cross-faded.
"""
import itertools
from typing import NamedTuple

import numpy as np


class Span(NamedTuple):
    """A tile along one axis: the pixels start .. stop - 1 that it sees.

    The part between the edges is the tile's own; weights fall to 0 over `fade` pixels about an edge, which is None at the image's border.
    """

    start: int
    stop: int
    first: int | None
    last: int | None
    fade: int

    @property
    def own(self):
        """(start, stop) between the edges."""
        return self.start if self.first is None else self.first, self.stop if self.last is None else self.last

    @property
    def kept(self):
        """(start, stop) of what has a weight."""
        start, stop = self.own
        half = -(-self.fade // 2)
        return (start if self.first is None else start - half), (stop if self.last is None else stop + half)

    @property
    def weights(self):
        """float32, of the pixels kept; with those of the neighbours they add up to 1."""
        start, stop = self.kept
        t = np.arange(start, stop) + 0.5
        w = np.ones(stop - start)
        if self.fade and self.first is not None:
            w *= ((t - self.first) / self.fade + 0.5).clip(0, 1)
        if self.fade and self.last is not None:
            w *= ((self.last - t) / self.fade + 0.5).clip(0, 1)
        return w.astype(np.float32)

    @property
    def inner(self):
        """Where the pixels kept stand among those that are seen, a slice."""
        start, stop = self.kept
        return slice(start - self.start, stop - self.start)


def spans(length, side, halo=0):
    """The spans of one axis: equal parts of at most `side` pixels, enlarged by `halo` where there is a neighbour."""
    n = -(-length // side)
    return spans_between([length * i // n for i in range(n + 1)], halo)


def spans_between(cuts, halo=0):
    """The spans of an axis that is cut at these pixels, 0 and its length included."""
    length, fade = cuts[-1], min(halo, *(b - a for a, b in zip(cuts, cuts[1:])))
    return [Span(max(0, a - halo), min(length, b + halo), a if a > 0 else None, b if b < length else None, fade)
            for a, b in zip(cuts, cuts[1:])]


def plan(size, side, halo=0):
    """The tiles [(rows, columns)] of an image of size (H, W), row by row."""
    return list(itertools.product(*(spans(length, side, halo) for length in size)))


def turns(first, stop, n):
    """The slices of an axis of n pixels that show the pixels first .. stop - 1 of the axis when it goes on periodically."""
    found = []
    while first < stop:
        start = first % n
        length = min(n - start, stop - first)
        found.append(slice(start, start + length))
        first += length
    return found
