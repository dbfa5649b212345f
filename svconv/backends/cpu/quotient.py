"""The quotient family on the CPU: the transforms along rows and columns, and all that happens between them, in the compiled module.

The boundary rule and the taper are applied where a row is read. The transforms along the columns, the products and the division between
them, and the pruning of the inverse transform to the kernel's rows never leave a strip of neighbouring columns that fits the cache.
"""
import functools
import math

import numpy as np
import torch

from svconv._fourier import barthann_taper, column_ramp, psf_center, shift_ramp, values_of_rows
from svconv._plane import convolution_plane, division_plane
from svconv.backends.cpu import extension, tag, view
from svconv.reference import quotient as reference

_convolution_plane = functools.lru_cache(maxsize=256)(convolution_plane)
_division_plane = functools.lru_cache(maxsize=256)(division_plane)


def _parts(spectrum):
    return view(torch.view_as_real(spectrum))


def _table_view(t):
    return None if t is None else view(t.contiguous())


def _spectrum(b, c, rows, columns, like):
    return torch.empty((b, c, rows, columns), dtype=like.dtype.to_complex(), device=like.device)


# rows ---------------------------------------------------------------------------------------------------------------

def _forward(x, length, load, taper=None):
    """Transforms of the rows of x [B, C, H, W]; column load[e] of x stands at place e (-1: zero; None: all columns), times taper[e]."""
    out = _spectrum(*x.shape[:3], length // 2 + 1, x)
    extension().rows_forward(view(x), _parts(out), length, load, _table_view(taper), torch.get_num_threads(), tag(x.dtype))
    return out


def _backward(spectrum, length, store, width, taper=None):
    """The way back: place e, times taper[e], is added to column store[e] of the result (-1: dropped), which is `width` wide."""
    out = torch.empty((*spectrum.shape[:3], width), dtype=spectrum.dtype.to_real(), device=spectrum.device)
    extension().rows_backward(_parts(spectrum), view(out), length, store, _table_view(taper), torch.get_num_threads(), tag(out.dtype))
    return out


def _rows(x, axis):
    """Row transforms of x continued along `axis` to the width of the plane."""
    return _forward(x, axis.length, axis.enter_map)


def _placed_rows(g, axis):
    return _forward(g, axis.length, axis.leave_map)


def _folded_back(spectrum, axis):
    return _backward(spectrum, axis.length, axis.enter_map, axis.n)


@functools.lru_cache(maxsize=64)
def _kernel_map(size, width, center):
    """int64 [width]: the kernel's column that stands at each place of the plane, -1 for none."""
    columns = np.full(width, -1, dtype=np.int64)
    columns[(np.arange(size) - center) % width] = np.arange(size)
    return columns


def _kernel_rows(kernel, width, center):
    """`kernel_rows` in the compiled module."""
    (whole, shift), kernel = _split(center), _folded(kernel, width)
    spectrum = _forward(kernel, width, _kernel_map(kernel.shape[-1], width, whole))
    return spectrum.mul_(column_ramp(width, shift, kernel)) if shift else spectrum


def _values_of_rows(rows, width, size, center):
    """`values_of_rows` in the compiled module; overwrites `rows`."""
    whole, shift = _split(center)
    if size > width:
        return values_of_rows(rows, width, size, center)
    if shift:
        rows.mul_(column_ramp(width, shift, rows.real).conj())
    return _backward(rows, width, _kernel_map(size, width, whole), size)


def _out_of(spectrum, rows):
    """The input itself where the output has its shape: a strip is read before it is written."""
    return spectrum if spectrum.shape[-2] == rows else _spectrum(*spectrum.shape[:2], rows, spectrum.shape[-1], spectrum.real)


def _split(center):
    whole = math.floor(center)
    return whole, center - whole


def _folded(kernel, width):
    """A kernel wider than the plane lies on itself, which a map cannot say."""
    if kernel.shape[-1] <= width:
        return kernel
    columns = torch.arange(kernel.shape[-1]) % width
    return kernel.new_zeros((*kernel.shape[:-1], width)).index_add_(-1, columns, kernel)


def _standing(columns, plane, center, like):
    """How a kernel of so many columns stands on the plane: (its first row, the map of its columns, the ramps of rows and of columns)."""
    (offset, shift), (across, column_shift) = map(_split, center)
    ramp = _parts(column_ramp(plane[1], column_shift, like)) if column_shift else None
    return offset, _kernel_map(columns, plane[1], across), _table_view(shift_ramp(plane[0], shift, like.dtype, like.device)), ramp


# convolution --------------------------------------------------------------------------------------------------------

def _filter(image, kernel, mode, plane, center, enters, leaves, beta=None, power=None):
    """The image, placed on the plane by the maps `enters`, times or over the kernel's spectrum, and back by the maps `leaves`."""
    kernel = _folded(kernel, plane.size[1])
    offset, columns, *ramps = _standing(kernel.shape[-1], plane.size, center, kernel)
    out = torch.empty_like(image, memory_format=torch.contiguous_format)
    extension().quotient_filter(
        view(image), view(kernel), view(out), mode, *plane.size, offset, enters[0], leaves[0], enters[1], leaves[1], columns, *ramps,
        _table_view(beta), _table_view(power), torch.get_num_threads(), tag(image.dtype))
    return out


def conv_fwd(x, kernel, padding):
    plane = _convolution_plane(x.shape[-2:], kernel.shape[-2:], padding)
    return _filter(x, kernel, "multiply", plane, psf_center(kernel.shape[-2:]), plane.enter_maps, plane.leave_maps)


def conv_adjoint(y, kernel, padding):
    plane = _convolution_plane(y.shape[-2:], kernel.shape[-2:], padding)
    return _filter(y, kernel, "multiply_conjugate", plane, psf_center(kernel.shape[-2:]), plane.leave_maps, plane.enter_maps)


def _estimate(x, y, shape, plane, center, load_x, load_y):
    """Kernel values [*shape] of sum conj(X) Y from row spectra; plane: its two lengths."""
    offset, shift = _split(center[0])
    rows = _spectrum(*shape[:3], x.shape[-1], x.real)
    extension().quotient_estimate(_parts(x), _parts(y), _parts(rows), plane[0], offset, load_x, load_y,
                                  _table_view(shift_ramp(plane[0], shift, x.dtype.to_real(), x.device)), torch.get_num_threads(),
                                  tag(x.dtype.to_real()))
    return _values_of_rows(rows, plane[1], shape[3], center[1])


def conv_bwd_kernel(x, g, shape, dtype, padding):
    plane = _convolution_plane(x.shape[-2:], tuple(shape[-2:]), padding)
    rows = plane.rows
    return _estimate(
        _rows(x, plane.columns), _placed_rows(g, plane.columns), shape, plane.size, psf_center(shape[-2:]), rows.enter_map, rows.leave_map
    )


# kernel quotient ----------------------------------------------------------------------------------------------------

def _tapers(plane, kh, kw, taper, like):
    """The tapers of the rows and of the columns; None for none."""
    return tuple(barthann_taper(n, k, like.dtype, like.device) if taper else None for n, k in zip(plane, (kh, kw)))


def kernel_quotient_fwd(x, y, beta, kh, kw, taper, cy, cx):
    plane = tuple(x.shape[-2:])
    offset, columns, *ramps = _standing(kw, plane, (cy, cx), x)
    weights, column_weights = _tapers(plane, kh, kw, taper, x)
    out = x.new_empty(x.shape[0], 1, kh, kw)
    extension().quotient_kernel(
        view(x), view(y), view(out), offset, columns, _table_view(weights), _table_view(column_weights), *ramps, view(beta),
        torch.get_num_threads(), tag(x.dtype))
    return out.squeeze(1)


def kernel_quotient_bwd(g, x, y, beta, taper, cy, cx, need_x, need_y, need_beta):
    plane, (kh, kw) = tuple(x.shape[-2:]), g.shape[-2:]
    offset, shift = _split(cy)
    dtype = x.dtype
    weights, across = _tapers(plane, kh, kw, taper, x)
    x, y = _forward(x, plane[1], None, across), _forward(y, plane[1], None, across)
    slope = torch.empty(x.shape[0], dtype=torch.float64, device=x.device)
    g = _kernel_rows(g.unsqueeze(1), plane[1], cx)
    extension().quotient_kernel_bwd(
        _parts(g),
        _parts(x),
        _parts(y),
        _parts(x) if need_x else None,
        _parts(y) if need_y else None,
        view(slope),
        plane[1],
        offset,
        _table_view(weights),
        _table_view(shift_ramp(plane[0], shift, dtype, x.device)),
        _table_view(beta),
        torch.get_num_threads(),
        tag(dtype),
    )

    return (_backward(x, plane[1], None, plane[1], across) if need_x else beta.new_empty(0),
            _backward(y, plane[1], None, plane[1], across) if need_y else beta.new_empty(0),
            _beta_gradient(slope, beta, plane) if need_beta else beta.new_empty(0))


def _beta_gradient(slope, beta, plane):
    slope = slope / (-plane[0] * plane[1])
    return (slope if beta.shape[0] == slope.shape[0] else slope.sum(0, keepdim=True)).to(beta.dtype)


# image quotient -----------------------------------------------------------------------------------------------------

def image_quotient_fwd(y, kernel, beta, power, padding, cy, cx):
    plane = _division_plane(y.shape[-2:], kernel.shape[-2:], padding)
    return _filter(y, kernel, "divide", plane, (cy, cx), plane.enter_maps, plane.leave_maps, beta, power)


def image_quotient_bwd(g, y, kernel, beta, power, padding, cy, cx, need_y, need_kernel, need_beta, need_power):
    if need_power:
        return reference.image_quotient_bwd(g, y, kernel, beta, power, padding, cy, cx, need_y, need_kernel, need_beta, need_power)
    plane = _division_plane(y.shape[-2:], kernel.shape[-2:], padding)
    size, extend, place = plane.size, plane.rows.enter_map, plane.rows.leave_map
    offset, shift = _split(cy)
    g = _placed_rows(g, plane.columns)
    y = _rows(y, plane.columns) if need_kernel or need_beta else None
    rows = _spectrum(*kernel.shape[:3], g.shape[-1], kernel) if need_kernel else None
    out_y = _out_of(g, plane.image[0]) if need_y else None
    slope = torch.empty(g.shape[0], dtype=torch.float64, device=g.device)
    extension().quotient_image_bwd(
        _parts(g), None if y is None else _parts(y), _parts(_kernel_rows(kernel, size[1], cx)), None if out_y is None else _parts(out_y),
        None if rows is None else _parts(rows), view(slope), size[0], size[1], offset, place, extend,
        _table_view(shift_ramp(size[0], shift, kernel.dtype, kernel.device)), _table_view(beta), _table_view(power),
        torch.get_num_threads(), tag(kernel.dtype))
    return (_folded_back(out_y, plane.columns) if need_y else beta.new_empty(0),
            _values_of_rows(rows, size[1], kernel.shape[3], cx) if need_kernel else beta.new_empty(0),
            _beta_gradient(slope, beta, size) if need_beta else beta.new_empty(0), beta.new_empty(0))
