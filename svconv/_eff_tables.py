"""The patches of an `EFFGrid` as rows of numbers: which pixel stands at each place of a patch's plane, where the result of each place goes,
and with which weights. Windows, boundary rules and their transposes are all in there; the adjoint swaps what is loaded and what is stored.
"""
import functools
from typing import NamedTuple

import numpy as np
import torch

from svconv._boundary import source_indices
from svconv._fourier import fast_length

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


class AxisTables(NamedTuple):
    """One axis. A patch that the boundary rule continues into several runs of pixels has as many pieces, one after the other."""

    patch: np.ndarray       # int64 [pieces]: the patch of the axis that a piece belongs to
    load: np.ndarray        # int64 [pieces, length]: the pixel at each place of the plane, -1 for a zero
    store: np.ndarray       # int64 [pieces, length]: the pixel that the result of each place is added to, -1 where it is dropped
    load_weights: np.ndarray | None     # [pieces, length]; None for ones
    store_weights: np.ndarray | None
    offset: int             # the kernel's value a stands at the place a - offset

    @property
    def length(self):
        return self.load.shape[1]

    def lengthened(self, length):
        """On planes of `length` places, which have nothing beyond."""
        more = length - self.length

        def wider(rows, fill):
            return None if rows is None else np.pad(rows, ((0, 0), (0, more)), constant_values=fill)

        return self._replace(load=wider(self.load, -1), store=wider(self.store, -1), load_weights=wider(self.load_weights, 0),
                             store_weights=wider(self.store_weights, 0))

    @property
    def transposed(self):
        return self._replace(load=self.store, store=self.load, load_weights=self.store_weights, store_weights=self.load_weights)


def _table(rows, length, fill, dtype):
    """[len(rows), length] with each row's values from its first place on, `fill` after them."""
    table = np.full((len(rows), length), fill, dtype=dtype)
    for target, row in zip(table, rows):
        target[:len(row)] = row
    table.flags.writeable = False
    return table


def _axis_tables(pieces, loads, stores, load_weights, store_weights, length, offset, dtype):
    weights = (None if rows is None else _table(rows, length, 0, _NUMPY[dtype]) for rows in (load_weights, store_weights))
    maps = (_table(rows, length, -1, np.int64) for rows in (loads, stores))
    return AxisTables(np.array([piece.patch for piece in pieces], dtype=np.int64), *maps, *weights, offset)


@functools.lru_cache(maxsize=64)
def convolution(axis, k, form, padding, dtype):
    """Tables of a `PatchAxis` for `eff_conv` with k values of the kernel along it."""
    length, n = fast_length(axis.length + k - 1), axis.n
    if form == "scatter":
        source = source_indices(k // 2 + 1 - k, n + k // 2, n, padding)
        pieces = axis.pieces(k, padding)
        reached = [np.arange(piece.start + 1 - k, piece.stop) for piece in pieces]
        return _axis_tables(pieces, [source[piece.start:piece.stop] for piece in pieces],
                            [np.where((q >= 0) & (q < n), q, -1) for q in reached],
                            [piece.weights for piece in pieces], None, length, 0, dtype)
    pieces = axis.pieces()
    return _axis_tables(pieces, [source_indices(piece.start + k // 2 + 1 - k, piece.stop + k // 2, n, padding) for piece in pieces],
                        [np.arange(piece.start, piece.stop) for piece in pieces], None, [piece.weights for piece in pieces],
                        length, k - 1, dtype)


@functools.lru_cache(maxsize=64)
def division(axis, k, padding, dtype):
    """As `convolution`, for patches with a halo of k pixels, and on to a fast length."""
    length, pieces = fast_length(axis.length + 2 * k), axis.pieces()
    before = [-1] * k
    return _axis_tables(pieces, [source_indices(piece.start - k, piece.start - k + length, axis.n, padding) for piece in pieces],
                        [before + list(range(piece.start, piece.stop)) for piece in pieces], None,
                        [[0.0] * k + list(piece.weights) for piece in pieces], length, k // 2, dtype)


@functools.lru_cache(maxsize=64)
def windows(axis, k, dtype):
    """As `convolution`, for patches of two images under their windows."""
    length, pieces = fast_length(axis.length + k - 1), axis.pieces()
    places, weights = [np.arange(piece.start, piece.stop) for piece in pieces], [piece.weights for piece in pieces]
    return _axis_tables(pieces, places, places, weights, weights, length, k // 2, dtype)
