"""A grid of overlapping windowed patches over an image: where they stand, what they weigh, and which stretches of a continued axis they
cover. The windows are products of one row and one column window; only those are made."""
import dataclasses
import functools
import math
from typing import NamedTuple

import numpy as np
import torch

from svconv._boundary import source_indices
from svconv._fourier import fast_length
from svconv._plane import Plane
from svconv._shapes import number, pair

WINDOWS = ("hann", "hat", "barthann")
_UNIT = 2.0**53


class Piece(NamedTuple):
    """A stretch of an axis that belongs to one patch: its patch, where it starts, and its weights (float64, at most a patch long)."""

    patch: int
    start: int
    weights: np.ndarray

    @property
    def stop(self):
        return self.start + len(self.weights)


@dataclasses.dataclass(frozen=True)
class PatchAxis:
    """One side of a grid: `n` pixels under `patches` overlapping patches."""

    n: int
    patches: int
    overlap: float
    window: str

    @property
    def length(self):
        """P, the side of a patch."""
        return self.n if self.patches == 1 else math.ceil(self.n / (1 + (self.patches - 1) * (1 - self.overlap)))

    @property
    def starts(self):
        """The first pixel of each patch, a tuple."""
        gaps, free = max(self.patches - 1, 1), self.n - self.length
        return tuple((2 * i * free + gaps) // (2 * gaps) for i in range(self.patches))

    @property
    def weights(self):
        """float64 [patches, P], read-only: what each patch weighs at each of its pixels. They add up to exactly one at every pixel."""
        return _weights(self)

    def pieces(self, k=1, padding=None):
        """The stretches of the patches, in a fixed order, each at most a patch long.

        Without `padding` those of the image itself, in its pixels. Otherwise those of the image continued by that rule by k - 1 - k//2
        pixels before and k//2 after, counted from the first continued pixel: every stretch of it that repeats pixels of a patch.
        """
        return _pieces(self, 1, None) if padding is None else _pieces(self, k, padding)


@dataclasses.dataclass(frozen=True)
class AxisPart:
    """Pixels first .. first + n - 1 of an axis, which goes on periodically, under those of its patches that touch `used`, two pixels of it.
    What a patch has outside of the part is cut off."""

    whole: PatchAxis
    first: int
    n: int
    used: tuple

    @property
    def _patches(self):
        """[(patch of the whole axis, its first pixel in the part)], in the order of the pixels."""
        found = []
        for turn in range(self.used[0] // self.whole.n - 1, (self.used[1] - 1) // self.whole.n + 1):
            for i, start in enumerate(self.whole.starts):
                start += turn * self.whole.n
                if start < self.used[1] and start + self.whole.length > self.used[0]:
                    found.append((i, start - self.first))
        return found

    @property
    def indices(self):
        """The patches of the whole axis that these are, a tuple."""
        return tuple(i for i, _ in self._patches)

    @property
    def patches(self):
        return len(self._patches)

    @property
    def length(self):
        """The longest stretch of a patch that the part can hold."""
        return min(self.whole.length, self.n)

    @property
    def starts(self):
        """In pixels of the part; outside of it for patches that it cuts."""
        return tuple(start for _, start in self._patches)

    @property
    def weights(self):
        return self.whole.weights[list(self.indices)]

    pieces = PatchAxis.pieces


def _profile(window, length):
    u = (np.arange(length) + 0.5) / length
    if window == "hann":
        return np.sin(np.pi * u) ** 2
    if window == "hat":
        return 1 - abs(2 * u - 1)
    return 0.62 - 0.48 * abs(u - 0.5) + 0.38 * np.cos(2 * np.pi * (u - 0.5))


@functools.lru_cache(maxsize=64)
def _weights(axis):
    """Whole multiples of 2^-53 whose sums are exact in any order; what rounding leaves goes to the largest window of the pixel."""
    starts, length = axis.starts, axis.length
    profile, total = _profile(axis.window, length), np.zeros(axis.n)
    for start in starts:
        total[start:start + length] += profile
    units = np.rint(_UNIT * np.stack([profile / total[start:start + length] for start in starts])).astype(np.int64)
    rest, largest, owner = np.full(axis.n, int(_UNIT)), np.full(axis.n, -1), np.zeros(axis.n, dtype=np.int64)
    for i, start in enumerate(starts):
        here = slice(start, start + length)
        rest[here] -= units[i]
        owner[here] = np.where(units[i] > largest[here], i, owner[here])
        largest[here] = np.maximum(largest[here], units[i])
    for i, start in enumerate(starts):
        units[i] += np.where(owner[start:start + length] == i, rest[start:start + length], 0)
    weights = units / _UNIT
    weights.flags.writeable = False
    return weights


@functools.lru_cache(maxsize=64)
def _pieces(axis, k, padding):
    if padding in (None, "zeros"):
        first = 0 if padding is None else k - 1 - k // 2
        inside = [(max(0, -start), min(weights.size, axis.n - start)) for start, weights in zip(axis.starts, axis.weights)]
        return tuple(Piece(i, first + start + a, weights[a:b]) for i, (start, weights, (a, b))
                     in enumerate(zip(axis.starts, axis.weights, inside)) if a < b)
    source = source_indices(k // 2 + 1 - k, axis.n + k // 2, axis.n, padding)
    found = []
    for i, (start, weights) in enumerate(zip(axis.starts, axis.weights)):
        places = np.flatnonzero((source >= max(start, 0)) & (source < start + len(weights)))
        for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1):
            found += [Piece(i, int(run[at]), weights[source[run[at:at + axis.length]] - start]) for at in range(0, len(run), axis.length)]
    return tuple(found)


@dataclasses.dataclass(frozen=True)
class EFFGrid:
    """Overlapping windowed patches over an image, R = rows x columns of them, row-major, for `eff_conv` and what belongs to it.

    On a side of L pixels n patches are P = ceil(L / (1 + (n-1)(1-overlap))) long and start at floor(i (L-P)/(n-1) + 1/2) (n = 1: P = L).
    The window is sampled at u = (t + 1/2)/P and divided by the sum of all windows, so that they add up to one at every pixel.

    Args:
        image_size: (H, W).
        grid: (rows, columns) of patches, at most the image size.
        overlap: of neighbouring patches, a fraction in [0, 1).
        window: "hann" sin^2(pi u), "hat" 1 - |2u - 1| or "barthann" 0.62 - 0.48 |u - 1/2| + 0.38 cos(2 pi (u - 1/2)).

    Raises:
        ValueError, TypeError: naming the argument.

    Frozen and hashable; equal grids are equal. Memory: one window per row and one per column of patches, made when they are first needed.

    >>> import svconv
    >>> grid = svconv.EFFGrid((48, 64), (3, 4))
    >>> grid.patches, grid.patch_size, grid.centers[:2].tolist()
    (12, (24, 26), [[11.5, 12.5], [11.5, 25.5]])
    >>> grid.row_windows.shape, bool((grid.row_windows.sum(0) == 1).all())
    (torch.Size([3, 48]), True)
    """

    image_size: tuple
    grid: tuple
    overlap: float = dataclasses.field(default=0.5, kw_only=True)
    window: str = dataclasses.field(default="hann", kw_only=True)

    def __post_init__(self):
        image_size = pair("image_size", self.image_size, least=1, integer=True)
        grid = pair("grid", self.grid, least=1, integer=True)
        self._check_grid(image_size, grid)
        if self.window not in WINDOWS:
            raise ValueError(f"window: expected one of {', '.join(WINDOWS)}, got {self.window!r}")
        overlap = number("overlap", self.overlap, least=0, below=1)
        for name, value in (("image_size", image_size), ("grid", grid), ("overlap", overlap)):
            object.__setattr__(self, name, value)

    def _check_grid(self, image_size, grid):
        if grid[0] > image_size[0] or grid[1] > image_size[1]:
            raise ValueError(f"grid: expected at most as many patches as pixels {image_size}, got {grid}")

    @property
    def rows(self):
        """The side along the rows as a `PatchAxis`."""
        return PatchAxis(self.image_size[0], self.grid[0], self.overlap, self.window)

    @property
    def columns(self):
        """The side along the columns as a `PatchAxis`."""
        return PatchAxis(self.image_size[1], self.grid[1], self.overlap, self.window)

    @property
    def patches(self):
        """R, the number of patches."""
        return self.grid[0] * self.grid[1]

    @property
    def patch_size(self):
        """(rows, columns) of a patch in pixels."""
        return self.rows.length, self.columns.length

    @property
    def row_starts(self):
        """The first row of each row of patches, a tuple."""
        return self.rows.starts

    @property
    def col_starts(self):
        """The first column of each column of patches, a tuple."""
        return self.columns.starts

    @property
    def row_windows(self):
        """float64 [rows, H]; the window of patch (i, j) is row_windows[i][:, None] * col_windows[j]."""
        return _spread(self.rows)

    @property
    def col_windows(self):
        """float64 [columns, W]."""
        return _spread(self.columns)

    @property
    def centers(self):
        """float64 [R, 2]: the centre (row, column) of each patch, its start + (P-1)/2."""
        rows, columns = (torch.tensor(axis.starts, dtype=torch.float64) + (axis.length - 1) / 2 for axis in (self.rows, self.columns))
        return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)

    @property
    def options(self):
        """(rows, columns, overlap, window): what an op is given beside an image, from which `grid_of` makes the same grid."""
        return [self.grid[0]], [self.grid[1]], self.overlap, self.window

    def part(self, rows, columns, used=None):
        """The same patches seen through a rectangle of the image, for work on tiles: an `EFFGridPart`.

        Args:
            rows, columns: (first, stop) of the rectangle in pixels. It may go beyond the image, which goes on periodically there.
            used: (rows, columns) of the pixels, likewise, whose patches are wanted; None: all of the rectangle.
        """
        return EFFGridPart(self, rows, columns, (rows, columns) if used is None else used)


class EFFGridPart(EFFGrid):
    """Those patches of a grid that touch the pixels `used`, on a rectangle of the image: `EFFGrid.part`.

    A grid like any other, but that its windows add up to one only on the pixels used. `indices`, int64 [R], are the patches of the whole
    grid, by which kernels [..., R, kh, kw] are chosen. Patches that the rectangle cuts have what is left of their windows.
    """

    def __init__(self, whole, rows, columns, used):
        axes = [AxisPart(axis, first, stop - first, tuple(where))
                for axis, (first, stop), where in zip((whole.rows, whole.columns), (rows, columns), used)]
        for name, (first, stop), where in zip(("rows", "columns"), (rows, columns), used):
            if not first <= where[0] < where[1] <= stop:
                raise ValueError(f"{name}: expected pixels first < stop with those that are used inside, got {(first, stop)}, "
                                 f"{tuple(where)}")
        object.__setattr__(self, "_axes", tuple(axes))
        super().__init__(tuple(axis.n for axis in axes), tuple(axis.patches for axis in axes), overlap=whole.overlap, window=whole.window)

    def _check_grid(self, image_size, grid):
        """A narrow rectangle may see more patches than it has pixels."""

    @property
    def rows(self):
        return self._axes[0]

    @property
    def columns(self):
        return self._axes[1]

    @property
    def indices(self):
        """int64 [R], the patches of the whole grid that these are."""
        rows, columns = (torch.tensor(axis.indices) for axis in self._axes)
        return (rows[:, None] * self.columns.whole.patches + columns).flatten()

    @property
    def options(self):
        return *([axis.patches, axis.whole.patches, axis.whole.n, axis.first, *axis.used] for axis in self._axes), self.overlap, self.window

    def part(self, rows, columns, used=None):
        raise ValueError("part: expected a whole grid, got a part of one")

    def __eq__(self, other):
        return isinstance(other, EFFGridPart) and self._axes == other._axes

    def __hash__(self):
        return hash(self._axes)

    def __reduce__(self):
        return grid_of, (self.image_size, *self.options)

    def __repr__(self):
        (rows, columns), whole = self._axes, [axis.whole for axis in self._axes]
        return (f"EFFGrid(image_size={whole[0].n, whole[1].n}, grid={whole[0].patches, whole[1].patches}, overlap={self.overlap}, "
                f"window={self.window!r}).part({rows.first, rows.first + rows.n}, {columns.first, columns.first + columns.n}, "
                f"used={rows.used, columns.used})")


def _spread(axis):
    windows = torch.zeros(axis.patches, axis.n, dtype=torch.float64)
    for piece in axis.pieces():
        windows[piece.patch, piece.start:piece.stop] = torch.from_numpy(piece.weights.copy())
    return windows


@functools.lru_cache(maxsize=256)
def _grid(image_size, rows, columns, overlap, window):
    if len(rows) == 1:
        return EFFGrid(image_size, (rows[0], columns[0]), overlap=overlap, window=window)
    whole = EFFGrid((rows[2], columns[2]), (rows[1], columns[1]), overlap=overlap, window=window)
    return whole.part(*((axis[3], axis[3] + n) for axis, n in zip((rows, columns), image_size)), (rows[4:], columns[4:]))


def grid_of(image_size, rows, columns, overlap, window):
    """The grid with these `options` over an image of that size, cached."""
    return _grid(tuple(map(int, image_size)), tuple(rows), tuple(columns), overlap, window)


# planes -------------------------------------------------------------------------------------------------------------

def continued_plane(image, kernel_size, padding):
    """The image and all that a convolution with centre (kh//2, kw//2) reads; `PatchAxis.pieces` counts from its first pixel."""
    (h, w), (kh, kw) = image, kernel_size
    return Plane((h, w), (kh - 1 - kh // 2, kh // 2, kw - 1 - kw // 2, kw // 2), (h + kh - 1, w + kw - 1), padding)


def framed_plane(image, kernel_size):
    """The image with kh - 1 zeros above and below and kw - 1 on the left and right."""
    (h, w), (kh, kw) = image, kernel_size
    return Plane((h, w), (kh - 1, kh - 1, kw - 1, kw - 1), (h + 2 * kh - 2, w + 2 * kw - 2), "zeros")


def halo_size(grid, kernel_size):
    """The plane in which a patch is divided: a kernel on each side, and on to the next fast length."""
    return tuple(fast_length(side + 2 * k) for side, k in zip(grid.patch_size, kernel_size))


def halo_plane(grid, kernel_size, padding):
    """The image and all that its patches see of what lies around them; the plane of a patch starts at the patch's own first pixel."""
    (h, w), (kh, kw), (height, width) = grid.image_size, kernel_size, halo_size(grid, kernel_size)
    bottom, right = (max(piece.start for piece in axis.pieces()) + length - k - n
                     for axis, length, k, n in zip((grid.rows, grid.columns), (height, width), (kh, kw), (h, w)))
    return Plane((h, w), (kh, bottom, kw, right), (h + kh + bottom, w + kw + right), padding)
