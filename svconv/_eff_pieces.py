"""The patches of an `EFFGrid` for kernels that run on a device: tables of the two axes there, and the batches in which patches go.

Patches go in batches whose planes stay below `BATCH_BYTES`. Every pixel gathers what reaches it from the patches of a batch, in the order
of the tables, and batches follow one another: no atomics, the sums have a fixed order.
"""
import dataclasses
import functools
import itertools

import numpy as np
import torch

BATCH_BYTES = 32 << 20      # of the planes of one batch; their spectra take as much again


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Side:
    """Where the places of an axis's pieces are in an image: from places to pixels for cutting, and back for adding.

    places: int32 [pieces, length], -1 for none; weights: [pieces, length] or None for ones. For each part of the pieces, one part after
    the other: pixel, begin, end: what is reached, and the range of its entries; piece (counted in the part), place, weight: the entries.
    bounds: (first, number) of the reached pixels of each part.
    """
    places: torch.Tensor
    weights: torch.Tensor | None
    pixel: torch.Tensor
    begin: torch.Tensor
    end: torch.Tensor
    piece: torch.Tensor
    place: torch.Tensor
    weight: torch.Tensor | None
    bounds: tuple


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class AxisPieces:
    """The pieces of an axis on a device, cut into parts (first, last); `patch` int32 [pieces]; kernel: the side that the patches' kernels,
    one after the other, are."""
    length: int
    offset: int
    patch: torch.Tensor
    load: Side
    store: Side
    kernel: Side
    parts: tuple


def _side(places, weights, parts, device):
    reached, entries = [], []
    for first, last in parts:
        piece, place = np.nonzero(places[first:last] >= 0)
        pixels = places[first:last][piece, place]
        order = np.argsort(pixels, kind="stable")
        pixel, begin, count = np.unique(pixels[order], return_index=True, return_counts=True)
        begin = begin + sum(len(one[0]) for one in entries)
        reached.append((pixel, begin, begin + count))
        entries.append((piece[order], place[order], None if weights is None else weights[first + piece[order], place[order]]))

    def on_device(rows):
        values = np.concatenate(rows)
        return torch.from_numpy(values.astype(np.int32) if values.dtype.kind == "i" else values).to(device)

    piece, place, weight = zip(*entries)
    counts = [len(pixel) for pixel, _, _ in reached]
    return Side(on_device(places), None if weights is None else on_device(weights), *map(on_device, zip(*reached)), on_device(piece),
                on_device(place), None if weights is None else on_device(weight),
                tuple(zip(itertools.accumulate(counts[:-1], initial=0), counts)))


@functools.lru_cache(maxsize=64)
def axis_pieces(make, axis, k, options, step, device):
    tables = make(axis, k, *options)
    parts = tuple((first, min(first + step, len(tables.patch))) for first in range(0, len(tables.patch), step))
    with torch.inference_mode(False):
        return AxisPieces(
            tables.length, tables.offset, torch.from_numpy(tables.patch.astype(np.int32)).to(device),
            _side(tables.load, tables.load_weights, parts, device), _side(tables.store, tables.store_weights, parts, device),
            _side(tables.patch[:, None] * k + np.arange(k), None, parts, device), parts)


def steps(pieces, plane_bytes):
    """How many (rows, columns) of pieces make a batch: whole rows, or a part of one; batches of about one size."""
    most = max(1, BATCH_BYTES // max(plane_bytes, 1))
    wanted = (max(1, most // pieces[1]), min(most, pieces[1]))
    return tuple(-(-n // -(-n // step)) for n, step in zip(pieces, wanted))


class Pieces:
    """The pieces of a call. `batches` are what the kernels take; a batch has pieces row by row.

    grid: an `EFFGrid`; make, options: for the rows and for the columns a function of `svconv._eff_tables`, and what follows the kernel's
    size; image: one of the images.
    """

    def __init__(self, grid, kernel_size, make, *options, image):
        self.grid, self.kernel_size = grid.grid, tuple(map(int, kernel_size))
        calls = tuple(zip(make, (grid.rows, grid.columns), self.kernel_size))
        tables = [function(axis, k, *options) for function, axis, k in calls]
        self.size = tuple(one.length for one in tables)
        plane_bytes = image.shape[0] * image.shape[1] * self.size[0] * self.size[1] * image.element_size()
        parts = steps([len(one.patch) for one in tables], plane_bytes)
        self.rows, self.columns = (axis_pieces(*call, options, step, image.device) for call, step in zip(calls, parts))
        self.center = self.rows.offset, self.columns.offset
        self.batches = tuple(itertools.product(range(len(self.rows.parts)), range(len(self.columns.parts))))

    def counts(self, batch):
        """Pieces along the rows and along the columns."""
        return tuple(last - first for first, last in (self.rows.parts[batch[0]], self.columns.parts[batch[1]]))
