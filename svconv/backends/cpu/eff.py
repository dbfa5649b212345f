"""Efficient filter flow on the CPU: the tables of the two axes are made here, the patches are the compiled module's.

A table says for each piece of an axis which pixel stands at each place of a patch's plane, where the result of each place goes, and with
which weights; so that windows, boundary rules and their transposes are rows of numbers, and the adjoint swaps two of them.
"""
import functools
import itertools

import numpy as np
import torch

from svconv._boundary import source_indices
from svconv._eff_grid import grid_of
from svconv._fourier import fast_length, psf_center
from svconv.backends.cpu import extension, quotient, tag, view

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


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
    return (np.array([piece.patch for piece in pieces], dtype=np.int64), *maps, *weights, offset)


@functools.lru_cache(maxsize=64)
def _convolution(axis, k, form, padding, dtype):
    """(length of the plane, tables of an axis) of the forward operation."""
    length, n = fast_length(axis.length + k - 1), axis.n
    if form == "scatter":
        source = source_indices(k // 2 + 1 - k, n + k // 2, n, padding)
        pieces = axis.pieces(k, padding)
        reached = [np.arange(piece.start + 1 - k, piece.stop) for piece in pieces]
        return length, _axis_tables(pieces, [source[piece.start:piece.stop] for piece in pieces],
                                    [np.where((q >= 0) & (q < n), q, -1) for q in reached],
                                    [piece.weights for piece in pieces], None, length, 0, dtype)
    pieces = axis.pieces()
    return length, _axis_tables(pieces, [source_indices(piece.start + k // 2 + 1 - k, piece.stop + k // 2, n, padding) for piece in pieces],
                                [np.arange(piece.start, piece.stop) for piece in pieces], None, [piece.weights for piece in pieces],
                                length, k - 1, dtype)


@functools.lru_cache(maxsize=64)
def _division(axis, k, padding, dtype):
    """As `_convolution`, for patches with a halo of k pixels, and on to a fast length."""
    length, pieces = fast_length(axis.length + 2 * k), axis.pieces()
    before = [-1] * k
    return length, _axis_tables(pieces, [source_indices(piece.start - k, piece.start - k + length, axis.n, padding) for piece in pieces],
                                [before + list(range(piece.start, piece.stop)) for piece in pieces], None,
                                [[0.0] * k + list(piece.weights) for piece in pieces], length, k // 2, dtype)


@functools.lru_cache(maxsize=64)
def _windows(axis, k, dtype):
    """As `_convolution`, for patches of two images under their windows."""
    length, pieces = fast_length(axis.length + k - 1), axis.pieces()
    places, weights = [np.arange(piece.start, piece.stop) for piece in pieces], [piece.weights for piece in pieces]
    return length, _axis_tables(pieces, places, places, weights, weights, length, k // 2, dtype)


def _swapped(tables):
    patch, load, store, load_weights, store_weights, offset = tables
    return patch, store, load, store_weights, load_weights, offset


def _plane(grid, rows, columns):
    """The size that the compiled module asks for, and the tables."""
    return (rows[0], columns[0], *grid.grid), rows[1], columns[1]


def _pair(grid, kernel_size, make, *options):
    return _plane(grid, *(make(axis, int(k), *options) for axis, k in zip((grid.rows, grid.columns), kernel_size)))


def _optional(t):
    return None if t is None else view(t.contiguous())


def _apply(x, kernels, mode, size, rows, columns, spectra=None, beta=None, power=None):
    result = torch.zeros(x.shape, dtype=x.dtype)
    extension().eff_apply(view(x), view(kernels), _optional(spectra), view(result), mode, size, rows, columns, _optional(beta),
                          _optional(power), torch.get_num_threads(), tag(x.dtype))
    return result


def eff_fwd(x, kernels, form, padding, *grid, spectra=None):
    grid = grid_of(x.shape[-2:], *grid)
    return _apply(x, kernels, "multiply", *_pair(grid, kernels.shape[-2:], _convolution, form, padding, x.dtype), spectra)


def eff_adjoint(y, kernels, form, padding, *grid, spectra=None):
    grid = grid_of(y.shape[-2:], *grid)
    size, rows, columns = _pair(grid, kernels.shape[-2:], _convolution, form, padding, y.dtype)
    return _apply(y, kernels, "multiply_conjugate", size, _swapped(rows), _swapped(columns), spectra)


def eff_spectra(kernels, form, padding, grid):
    """What `eff_fwd` and `eff_adjoint` take as `spectra`, [B|1, C|1, R, values]; for this instruction set."""
    size, rows, columns = _pair(grid, kernels.shape[-2:], _convolution, form, padding, kernels.dtype)
    spectra = torch.empty((*kernels.shape[:3], extension().eff_values(size, tag(kernels.dtype))), dtype=kernels.dtype)
    extension().eff_spectra(view(kernels), view(spectra), size, (rows[-1], columns[-1]), torch.get_num_threads(), tag(kernels.dtype))
    return spectra


def _estimate(x, y, shape, size, rows, columns, beta=None):
    kernels = torch.empty(tuple(shape), dtype=x.dtype)
    extension().eff_estimate(view(x), view(y), view(kernels), size, rows, columns, _optional(beta), torch.get_num_threads(), tag(x.dtype))
    return kernels


def eff_bwd_kernels(x, g, shape, dtype, form, padding, *grid):
    grid = grid_of(x.shape[-2:], *grid)
    return _estimate(x, g, shape, *_pair(grid, shape[-2:], _convolution, form, padding, x.dtype)).to(dtype)


# quotients ----------------------------------------------------------------------------------------------------------

def eff_image_quotient_fwd(y, kernels, beta, power, padding, *grid):
    grid = grid_of(y.shape[-2:], *grid)
    return _apply(y, kernels, "divide", *_pair(grid, kernels.shape[-2:], _division, padding, y.dtype), beta=beta, power=power)


def eff_kernel_quotient_fwd(x, y, beta, kh, kw, *grid):
    grid = grid_of(x.shape[-2:], *grid)
    shape = x.shape[0], 1, grid.patches, kh, kw
    return _estimate(x, y, shape, *_pair(grid, (kh, kw), _windows, x.dtype), beta).squeeze(1)


# Their gradients: one row of patches at a time is a batch for the quotients of whole images.

class _RowsOfPatches:
    """Cuts rows of patches out of images and adds them to images; `which` names the maps and weights: 0 those of loading, 1 of storing."""

    def __init__(self, size, rows, columns):
        self.rows, self.columns = ([_places(tables, which) for which in (0, 1)] for tables in (rows, columns))
        self.count = len(rows[0])

    def cut(self, t, i, which):
        """t [B, C, H, W] -> the patches of row i, [columns * B, C, height, width]."""
        (rows, row_weights), (columns, column_weights) = self.rows[which], self.columns[which]
        part = t.index_select(2, rows[i]) * row_weights[i, :, None].to(t.dtype)
        patches = part.index_select(3, columns.flatten()).unflatten(3, columns.shape) * column_weights.to(t.dtype)
        return patches.permute(3, 0, 1, 2, 4).flatten(0, 1).contiguous()

    def add(self, patches, i, which, to):
        """The transpose of `cut`, in the order of the patches."""
        (rows, row_weights), (columns, column_weights) = self.rows[which], self.columns[which]
        weighted = (patches * row_weights[i, :, None].to(to.dtype)).unflatten(0, (len(columns), -1))
        for patch, column, weights in zip(weighted, columns, column_weights.to(to.dtype)):
            first, last = int(column.min()), int(column.max()) + 1
            strip = to.new_zeros((*patch.shape[:3], last - first)).index_add_(3, column - first, patch * weights)
            to[..., first:last].index_add_(2, rows[i], strip)


def _places(tables, which):
    """(pixels, weights) of the places; a place without a pixel has one that others have too, and the weight 0."""
    places, weights = tables[1 + which], tables[3 + which]
    inside = places >= 0
    weights = inside * (1.0 if weights is None else weights)
    return torch.from_numpy(np.where(inside, places, places.max(1, keepdims=True))), torch.from_numpy(weights)


def _per_patch(t, batch, patches):
    """beta [B|1] or kernels of a row of patches, one for each of its images."""
    return t if t.shape[0] == 1 else t.repeat(patches)


def eff_image_quotient_bwd(g, y, kernels, beta, power, padding, *options):
    grid, needed = grid_of(y.shape[-2:], *options[:4]), options[4:]
    batch, (kh, kw), columns = y.shape[0], kernels.shape[-2:], grid.grid[1]
    patches = _RowsOfPatches(*_pair(grid, (kh, kw), _division, padding, y.dtype))
    g_y = torch.zeros_like(y, memory_format=torch.contiguous_format) if needed[0] else beta.new_empty(0)
    g_kernels, g_beta, g_power = [], [], []
    for i in range(patches.count):
        own = kernels[:, :, i * columns:(i + 1) * columns].movedim(2, 0).expand(columns, batch, -1, -1, -1).flatten(0, 1)
        found = quotient.image_quotient_bwd(patches.cut(g, i, 1), patches.cut(y, i, 0), own, _per_patch(beta, batch, columns), power,
                                            "circular", *psf_center((kh, kw)), *needed)
        if needed[0]:
            patches.add(found[0], i, 0, g_y)
        if needed[1]:
            row = found[1].unflatten(0, (columns, batch)).movedim(0, 2)
            g_kernels.append(row if kernels.shape[0] == batch else row.sum(0, keepdim=True))
        g_beta.append(found[2])
        g_power.append(found[3])
    return (g_y, torch.cat(g_kernels, 2) if needed[1] else beta.new_empty(0),
            _beta_sum(g_beta, beta, columns) if needed[2] else beta.new_empty(0), sum(g_power[1:], g_power[0]))


def _beta_sum(found, beta, columns):
    total = sum(found[1:], found[0])
    return total if beta.shape[0] == 1 else total.unflatten(0, (columns, -1)).sum(0)


def eff_kernel_quotient_bwd(g, x, y, beta, *options):
    grid, needed = grid_of(x.shape[-2:], *options[:4]), options[4:]
    batch, (kh, kw), columns = x.shape[0], g.shape[-2:], grid.grid[1]
    patches = _RowsOfPatches(*_pair(grid, (kh, kw), _windows, x.dtype))
    results = [torch.zeros_like(t, memory_format=torch.contiguous_format) if need else beta.new_empty(0) for t, need in zip((x, y), needed)]
    g_beta = []
    for i in range(patches.count):
        own = g[:, i * columns:(i + 1) * columns].movedim(1, 0).flatten(0, 1)
        found = quotient.kernel_quotient_bwd(own, patches.cut(x, i, 0), patches.cut(y, i, 0), _per_patch(beta, batch, columns), False,
                                             *psf_center((kh, kw)), *needed)
        for part, result, need in itertools.islice(zip(found, results, needed), 2):
            if need:
                patches.add(part, i, 0, result)
        g_beta.append(found[2])
    return (*results, _beta_sum(g_beta, beta, columns) if needed[2] else beta.new_empty(0))
