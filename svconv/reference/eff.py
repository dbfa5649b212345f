"""Efficient filter flow in plain torch, one patch after the other: the specification of the eff family.

Canonical shapes: images [B, C, H, W], kernels [B|1, C|1, R, kh, kw], feature pairs [B, n, H, W], beta [B|1]; float32 or float64. `grid`
stands for the options of an `EFFGrid`: rows, columns, overlap, window.

Both forms, their adjoints and the gradients in the kernels are three functions on a narrow image, on which the pieces of the patches
stand, and a wide one, which has kh - 1 rows and kw - 1 columns more. Each runs over the pieces (r, a, w), windows w at the place a:

    spread     wide[a + e + d]  += k_r[d] w[e] narrow[a + e]
    collect    narrow[a + e]    += w[e] k_r[d] wide[a + e + d]          the transpose of spread
    estimate   k_r[d]           += w[e] narrow[a + e] wide[a + e + d]

scatter: the narrow image is x continued by the padding, the wide one y with zeros around it. gather: the narrow image is y, the wide one
x continued by the padding, and the kernels are turned by 180 degrees.
"""
import functools

import torch

from svconv._eff_grid import continued_plane, framed_plane, grid_of, halo_plane, halo_size
from svconv._fourier import fast_length, psf_center
from svconv._shapes import sum_to
from svconv.reference.quotient import conj, divide, divide_bwd, kernel_quotient_bwd, kernel_quotient_fwd

# convolution --------------------------------------------------------------------------------------------------------

def _pieces(grid, kernel_size, form, padding):
    """(patch, row piece, column piece) of every piece on the narrow image, in a fixed order."""
    (kh, kw), padding = kernel_size, padding if form == "scatter" else None
    for row in grid.rows.pieces(kh, padding):
        for column in grid.columns.pieces(kw, padding):
            yield row.patch * grid.grid[1] + column.patch, row, column


def _weights(row, column, like):
    rows, columns = (torch.tensor(piece.weights, dtype=like.dtype, device=like.device) for piece in (row, column))
    return rows[:, None] * columns


def _transform(t, size):
    return torch.fft.rfft2(t, s=size)


def _sizes(row, column, kh, kw):
    """The piece on the wide image, and the length of an exact linear convolution."""
    reach = len(row.weights) + kh - 1, len(column.weights) + kw - 1
    return reach, tuple(map(fast_length, reach))


def _spread(narrow, kernels, pieces):
    kh, kw = kernels.shape[-2:]
    wide = narrow.new_zeros((*narrow.shape[:2], narrow.shape[2] + kh - 1, narrow.shape[3] + kw - 1))
    for r, row, column in pieces:
        (height, width), size = _sizes(row, column, kh, kw)
        part = narrow[..., row.start:row.stop, column.start:column.stop] * _weights(row, column, narrow)
        sent = torch.fft.irfft2(_transform(part, size) * _transform(kernels[:, :, r], size), s=size)
        wide[..., row.start:row.start + height, column.start:column.start + width] += sent[..., :height, :width]
    return wide


def _collect(wide, kernels, pieces):
    kh, kw = kernels.shape[-2:]
    narrow = wide.new_zeros((*wide.shape[:2], wide.shape[2] - kh + 1, wide.shape[3] - kw + 1))
    for r, row, column in pieces:
        (height, width), size = _sizes(row, column, kh, kw)
        part = wide[..., row.start:row.start + height, column.start:column.start + width]
        got = torch.fft.irfft2(_transform(part, size) * conj(_transform(kernels[:, :, r], size)), s=size)
        weighted = got[..., :len(row.weights), :len(column.weights)] * _weights(row, column, wide)
        narrow[..., row.start:row.stop, column.start:column.stop] += weighted
    return narrow


def _estimate(narrow, wide, shape, dtype, pieces):
    kh, kw = shape[-2:]
    kernels = narrow.new_zeros(tuple(shape))
    for r, row, column in pieces:
        (height, width), size = _sizes(row, column, kh, kw)
        part = narrow[..., row.start:row.stop, column.start:column.stop] * _weights(row, column, narrow)
        seen = wide[..., row.start:row.start + height, column.start:column.start + width]
        spectrum = sum_to(conj(_transform(part, size)) * _transform(seen, size), shape)
        kernels[:, :, r] += torch.fft.irfft2(spectrum, s=size)[..., :kh, :kw]
    return kernels.to(dtype)


def _turned(kernels):
    return kernels.flip((-2, -1))


def eff_fwd(x, kernels, form, padding, *grid):
    size = kernels.shape[-2:]
    pieces = _pieces(grid_of(x.shape[-2:], *grid), size, form, padding)
    continued = continued_plane(x.shape[-2:], size, padding).enter(x)
    if form == "scatter":
        return framed_plane(x.shape[-2:], size).leave(_spread(continued, kernels, pieces)).contiguous()
    return _collect(continued, _turned(kernels), pieces)


def eff_adjoint(y, kernels, form, padding, *grid):
    size = kernels.shape[-2:]
    pieces = _pieces(grid_of(y.shape[-2:], *grid), size, form, padding)
    if form == "scatter":
        continued = _collect(framed_plane(y.shape[-2:], size).leave_adjoint(y), kernels, pieces)
    else:
        continued = _spread(y, _turned(kernels), pieces)
    return continued_plane(y.shape[-2:], size, padding).enter_adjoint(continued).contiguous()


def eff_bwd_kernels(x, g, shape, dtype, form, padding, *grid):
    """Summed over a leading axis of `shape` [B|1, C|1, R, kh, kw] that is 1."""
    image, size = x.shape[-2:], shape[-2:]
    pieces = _pieces(grid_of(image, *grid), size, form, padding)
    continued = continued_plane(image, size, padding).enter(x)
    if form == "scatter":
        return _estimate(continued, framed_plane(image, size).leave_adjoint(g), shape, dtype, pieces)
    return _turned(_estimate(g, continued, shape, dtype, pieces))


# quotients ----------------------------------------------------------------------------------------------------------
#
# Written without a change in place, so that every torch.func transform goes through. Sides are made numbers: patches depend on them, so
# that a trace holds for one size.

def _patches(grid):
    """(row piece, [(patch, column piece)]) of every row of patches."""
    for row in grid.rows.pieces():
        yield row, [(row.patch * grid.grid[1] + column.patch, column) for column in grid.columns.pieces()]


def _assembled(grid, size, part):
    """The sum of part(patch, row piece, column piece) [..., h, w], each from the patch's first pixel on, on a plane of `size`."""
    total = None
    for row, patches in _patches(grid):
        strip = None
        for r, column in patches:
            t = part(r, row, column)
            t = torch.nn.functional.pad(t, (column.start, size[1] - column.start - t.shape[-1]))
            strip = t if strip is None else strip + t
        strip = torch.nn.functional.pad(strip, (0, 0, row.start, size[0] - row.start - strip.shape[-2]))
        total = strip if total is None else total + strip
    return total.contiguous()


def _cut(t, row, column, size=None):
    """The patch, or `size` from its first pixel on."""
    height, width = (len(row.weights), len(column.weights)) if size is None else size
    return t[..., row.start:row.start + height, column.start:column.start + width]


def eff_image_quotient_fwd(y, kernels, beta, power, padding, *grid):
    """power: sum |D|^2 on the half spectrum of a patch's plane; None for ones."""
    grid, (kh, kw) = grid_of(y.shape[-2:], *grid), map(int, kernels.shape[-2:])
    size, wide = halo_size(grid, (kh, kw)), halo_plane(grid, (kh, kw), padding).enter(y)

    def part(r, row, column):
        x = divide(_cut(wide, row, column, size), kernels[:, :, r], beta, power, psf_center((kh, kw)))
        return x[..., kh:kh + len(row.weights), kw:kw + len(column.weights)] * _weights(row, column, y)

    return _assembled(grid, y.shape[-2:], part)


def eff_image_quotient_bwd(g, y, kernels, beta, power, padding, *options):
    """Gradients in y, kernels, beta and power; what is not needed comes back empty. options: the grid, need_y, need_kernels, need_beta,
    need_power."""
    grid, needed, (kh, kw) = grid_of(y.shape[-2:], *options[:4]), options[4:], map(int, kernels.shape[-2:])
    size, plane = halo_size(grid, (kh, kw)), halo_plane(grid, (kh, kw), padding)
    wide, others = plane.enter(y), []

    def part(r, row, column):
        upstream = _cut(g, row, column) * _weights(row, column, y)
        height, width = (n - len(piece.weights) - k for n, piece, k in zip(size, (row, column), (kh, kw)))
        upstream = torch.nn.functional.pad(upstream, (kw, width, kh, height))
        g_y, *found = divide_bwd(upstream, _cut(wide, row, column, size), kernels[:, :, r], beta, power, psf_center((kh, kw)), *needed)
        others.append(found)
        return g_y if needed[0] else upstream

    g_wide = _assembled(grid, plane.size, part)
    g_kernels, g_beta, g_power = zip(*others)
    return (plane.enter_adjoint(g_wide).contiguous() if needed[0] else beta.new_empty(0),
            torch.stack(g_kernels, 2) if needed[1] else beta.new_empty(0),
            _sum(g_beta) if needed[2] else beta.new_empty(0), _sum(g_power) if needed[3] else beta.new_empty(0))


def _sum(terms):
    return functools.reduce(torch.add, terms)


def _windowed(t, row, column, grid, kernel_size):
    """The patch under its window, with zeros up to the length of an exact linear convolution."""
    part = _cut(t, row, column) * _weights(row, column, t)
    size = [fast_length(side + k - 1) for side, k in zip(grid.patch_size, kernel_size)]
    return torch.nn.functional.pad(part, (0, size[1] - part.shape[-1], 0, size[0] - part.shape[-2]))


def eff_kernel_quotient_fwd(x, y, beta, kh, kw, *grid):
    grid, size = grid_of(x.shape[-2:], *grid), (kh, kw)
    return torch.stack([kernel_quotient_fwd(_windowed(x, row, column, grid, size), _windowed(y, row, column, grid, size), beta, *size,
                                            False, *psf_center(size))
                        for row, patches in _patches(grid) for _, column in patches], 1)


def eff_kernel_quotient_bwd(g, x, y, beta, *options):
    """Gradients in x, y and beta for the upstream gradient g [B, R, kh, kw]; what is not needed comes back empty. options: the grid,
    need_x, need_y, need_beta."""
    grid, needed, (kh, kw) = grid_of(x.shape[-2:], *options[:4]), options[4:], map(int, g.shape[-2:])
    found = {r: kernel_quotient_bwd(g[:, r], _windowed(x, row, column, grid, (kh, kw)), _windowed(y, row, column, grid, (kh, kw)), beta,
                                    False, *psf_center((kh, kw)), *needed)
             for row, patches in _patches(grid) for r, column in patches}

    def back(i):
        if not needed[i]:
            return beta.new_empty(0)
        return _assembled(grid, x.shape[-2:], lambda r, row, column:
                          found[r][i][..., :len(row.weights), :len(column.weights)] * _weights(row, column, x))

    return back(0), back(1), _sum([grads[2] for grads in found.values()]) if needed[2] else beta.new_empty(0)
