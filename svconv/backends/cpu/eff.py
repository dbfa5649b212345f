"""Efficient filter flow on the CPU: the patches are the compiled module's, by the tables of the two axes (`svconv._eff_tables`)."""
import itertools

import numpy as np
import torch

from svconv import _eff_tables as tables
from svconv._eff_grid import grid_of
from svconv._fourier import psf_center
from svconv.backends.cpu import extension, quotient, tag, view


def _pair(grid, kernel_size, make, *options):
    """The size that the compiled module asks for, and the tables of the two axes."""
    rows, columns = (make(axis, int(k), *options) for axis, k in zip((grid.rows, grid.columns), kernel_size))
    return (rows.length, columns.length, *grid.grid), rows, columns


def _optional(t):
    return None if t is None else view(t.contiguous())


def _apply(x, kernels, mode, size, rows, columns, spectra=None, beta=None, power=None):
    result = torch.zeros(x.shape, dtype=x.dtype)
    extension().eff_apply(view(x), view(kernels), _optional(spectra), view(result), mode, size, rows, columns, _optional(beta),
                          _optional(power), torch.get_num_threads(), tag(x.dtype))
    return result


def eff_fwd(x, kernels, form, padding, *grid, spectra=None):
    grid = grid_of(x.shape[-2:], *grid)
    return _apply(x, kernels, "multiply", *_pair(grid, kernels.shape[-2:], tables.convolution, form, padding, x.dtype), spectra)


def eff_adjoint(y, kernels, form, padding, *grid, spectra=None):
    grid = grid_of(y.shape[-2:], *grid)
    size, rows, columns = _pair(grid, kernels.shape[-2:], tables.convolution, form, padding, y.dtype)
    return _apply(y, kernels, "multiply_conjugate", size, rows.transposed, columns.transposed, spectra)


def eff_spectra(kernels, form, padding, grid):
    """What `eff_fwd` and `eff_adjoint` take as `spectra`, [B|1, C|1, R, values]; for this instruction set."""
    size, rows, columns = _pair(grid, kernels.shape[-2:], tables.convolution, form, padding, kernels.dtype)
    spectra = torch.empty((*kernels.shape[:3], extension().eff_values(size, tag(kernels.dtype))), dtype=kernels.dtype)
    extension().eff_spectra(view(kernels), view(spectra), size, (rows.offset, columns.offset), torch.get_num_threads(), tag(kernels.dtype))
    return spectra


def _estimate(x, y, shape, size, rows, columns, beta=None):
    kernels = torch.empty(tuple(shape), dtype=x.dtype)
    extension().eff_estimate(view(x), view(y), view(kernels), size, rows, columns, _optional(beta), torch.get_num_threads(), tag(x.dtype))
    return kernels


def eff_bwd_kernels(x, g, shape, dtype, form, padding, *grid):
    grid = grid_of(x.shape[-2:], *grid)
    return _estimate(x, g, shape, *_pair(grid, shape[-2:], tables.convolution, form, padding, x.dtype)).to(dtype)


# quotients ----------------------------------------------------------------------------------------------------------

def eff_image_quotient_fwd(y, kernels, beta, power, padding, *grid):
    grid = grid_of(y.shape[-2:], *grid)
    return _apply(y, kernels, "divide", *_pair(grid, kernels.shape[-2:], tables.division, padding, y.dtype), beta=beta, power=power)


def eff_kernel_quotient_fwd(x, y, beta, kh, kw, *grid):
    grid = grid_of(x.shape[-2:], *grid)
    shape = x.shape[0], 1, grid.patches, kh, kw
    return _estimate(x, y, shape, *_pair(grid, (kh, kw), tables.windows, x.dtype), beta).squeeze(1)


# Their gradients: one row of patches at a time is a batch for the quotients of whole images.

class _RowsOfPatches:
    """Cuts rows of patches out of images and adds them to images, by the maps and weights of "load" or of "store"."""

    def __init__(self, size, rows, columns):
        self.rows, self.columns = ({which: _places(axis, which) for which in ("load", "store")} for axis in (rows, columns))
        self.count = len(rows.patch)

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


def _places(axis, which):
    """(pixels, weights) of the places; a place without a pixel has one that others have too, and the weight 0."""
    places, weights = getattr(axis, which), getattr(axis, which + "_weights")
    inside = places >= 0
    weights = inside * (1.0 if weights is None else weights)
    return torch.from_numpy(np.where(inside, places, places.max(1, keepdims=True))), torch.from_numpy(weights)


def _per_patch(t, batch, patches):
    """beta [B|1] or kernels of a row of patches, one for each of its images."""
    return t if t.shape[0] == 1 else t.repeat(patches)


def eff_image_quotient_bwd(g, y, kernels, beta, power, padding, *options):
    grid, needed = grid_of(y.shape[-2:], *options[:4]), options[4:]
    batch, (kh, kw), columns = y.shape[0], kernels.shape[-2:], grid.grid[1]
    patches = _RowsOfPatches(*_pair(grid, (kh, kw), tables.division, padding, y.dtype))
    g_y = torch.zeros_like(y, memory_format=torch.contiguous_format) if needed[0] else beta.new_empty(0)
    g_kernels, g_beta, g_power = [], [], []
    for i in range(patches.count):
        own = kernels[:, :, i * columns:(i + 1) * columns].movedim(2, 0).expand(columns, batch, -1, -1, -1).flatten(0, 1)
        found = quotient.image_quotient_bwd(patches.cut(g, i, "store"), patches.cut(y, i, "load"), own, _per_patch(beta, batch, columns),
                                            power, "circular", *psf_center((kh, kw)), *needed)
        if needed[0]:
            patches.add(found[0], i, "load", g_y)
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
    patches = _RowsOfPatches(*_pair(grid, (kh, kw), tables.windows, x.dtype))
    results = [torch.zeros_like(t, memory_format=torch.contiguous_format) if need else beta.new_empty(0) for t, need in zip((x, y), needed)]
    g_beta = []
    for i in range(patches.count):
        own = g[:, i * columns:(i + 1) * columns].movedim(1, 0).flatten(0, 1)
        found = quotient.kernel_quotient_bwd(own, patches.cut(x, i, "load"), patches.cut(y, i, "load"), _per_patch(beta, batch, columns),
                                             False, *psf_center((kh, kw)), *needed)
        for part, result, need in itertools.islice(zip(found, results, needed), 2):
            if need:
                patches.add(part, i, "load", result)
        g_beta.append(found[2])
    return (*results, _beta_sum(g_beta, beta, columns) if needed[2] else beta.new_empty(0))
