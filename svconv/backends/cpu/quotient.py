"""The quotient family on the CPU: torch transforms the rows, the compiled module does all that happens along the columns in one pass.

The transforms along the columns, the products and the division between them, the boundary rule of the rows, the taper, and the pruning of the
inverse transform to the kernel's rows never leave a strip of neighbouring columns that fits the cache.
"""
import functools
import math

import numpy as np
import torch

from svconv._boundary import _extend_axis, _fold_axis, index_map
from svconv._fourier import barthann_taper, kernel_rows, psf_center, shift_ramp, values_of_rows
from svconv.backends.cpu import extension, tag, view
from svconv.reference import quotient as reference
from svconv.reference.quotient import division_margins, frame


@functools.lru_cache(maxsize=64)
def _extend_map(n, before, after, padding, plane):
    """The image's row at each row of the plane, -1 where there is none; None if plane and image are the same."""
    if plane == n and before == 0:
        return None
    rows = index_map(n, before, after, padding)
    return np.array(rows + (-1,) * (plane - len(rows)), dtype=np.int64)


def _place_map(n, before, plane):
    """As `_extend_map` with zeros all around: for gradients and for cutting out the result."""
    return _extend_map(n, before, plane - before - n, "zeros", plane)


def _parts(spectrum):
    return view(torch.view_as_real(spectrum))


def _table_view(t):
    return None if t is None else view(t.contiguous())


def _rows(x, left, right, width, padding):
    """Row transforms of x continued to the left and right."""
    if left or right:
        x = _extend_axis(x, -1, left, right, padding)
    return torch.fft.rfft(x.contiguous(), n=width)


def _placed_rows(g, left, width):
    if left:
        g = torch.nn.functional.pad(g, (left, width - g.shape[-1] - left))
    return torch.fft.rfft(g.contiguous(), n=width)


def _rows_back(spectrum, width, left, w):
    image = torch.fft.irfft(spectrum, n=width)
    return image if width == w else image[..., left:left + w].contiguous()


def _folded_back(spectrum, width, left, right, w, padding):
    image = torch.fft.irfft(spectrum, n=width)
    if left or right:
        return _fold_axis(image[..., :w + left + right], -1, left, right, padding)
    return image if width == w else image[..., :w].contiguous()


def _spectrum(b, c, rows, columns, like):
    return torch.empty((b, c, rows, columns), dtype=like.dtype.to_complex(), device=like.device)


def _out_of(spectrum, rows):
    """The input itself where the output has its shape: a strip is read before it is written."""
    return spectrum if spectrum.shape[-2] == rows else _spectrum(*spectrum.shape[:2], rows, spectrum.shape[-1], spectrum.real)


def _split(center):
    whole = math.floor(center)
    return whole, center - whole


# convolution --------------------------------------------------------------------------------------------------------

def _apply(spectrum, kernel, mode, plane, center, rows, load, store, beta=None, power=None):
    offset, shift = _split(center[0])
    out = _out_of(spectrum, rows)
    transfer = kernel_rows(kernel, plane[1], center[1])
    ramp = shift_ramp(plane[0], shift, kernel.dtype, kernel.device)
    extension().quotient_apply(_parts(spectrum), _parts(transfer), _parts(out), mode, plane[0], offset, load, store, _table_view(ramp),
                               _table_view(beta), _table_view(power), torch.get_num_threads(), tag(kernel.dtype))
    return out


def conv_fwd(x, kernel, padding):
    h, w = x.shape[-2:]
    kh, kw = kernel.shape[-2:]
    (top, bottom, left, right), plane = frame(h, w, kh, kw, padding)
    spectrum = _rows(x, left, right, plane[1], padding)
    spectrum = _apply(spectrum, kernel, "multiply", plane, psf_center((kh, kw)), h,
                      _extend_map(h, top, bottom, padding, plane[0]), _place_map(h, top, plane[0]))
    return _rows_back(spectrum, plane[1], left, w)


def conv_adjoint(y, kernel, padding):
    h, w = y.shape[-2:]
    kh, kw = kernel.shape[-2:]
    (top, bottom, left, right), plane = frame(h, w, kh, kw, padding)
    spectrum = _placed_rows(y, left, plane[1])
    spectrum = _apply(spectrum, kernel, "multiply_conjugate", plane, psf_center((kh, kw)), h,
                      _place_map(h, top, plane[0]), _extend_map(h, top, bottom, padding, plane[0]))
    return _folded_back(spectrum, plane[1], left, right, w, padding)


def _estimate(x, y, shape, plane, center, load_x, load_y, taper=None, beta=None):
    """Kernel values [*shape] of sum conj(X) Y (over sum |X|^2 + beta) from row spectra."""
    offset, shift = _split(center[0])
    rows = _spectrum(*shape[:3], x.shape[-1], x.real)
    extension().quotient_estimate(_parts(x), _parts(y), _parts(rows), plane[0], offset, load_x, load_y, _table_view(taper),
                                  _table_view(shift_ramp(plane[0], shift, x.dtype.to_real(), x.device)), _table_view(beta),
                                  torch.get_num_threads(), tag(x.dtype.to_real()))
    return values_of_rows(rows, plane[1], shape[3], center[1])


def conv_bwd_kernel(x, g, batch, channels, kh, kw, padding):
    h, w = x.shape[-2:]
    (top, bottom, left, right), plane = frame(h, w, kh, kw, padding)
    return _estimate(_rows(x, left, right, plane[1], padding), _placed_rows(g, left, plane[1]), (batch, channels, kh, kw), plane,
                     psf_center((kh, kw)), _extend_map(h, top, bottom, padding, plane[0]), _place_map(h, top, plane[0]))


# kernel quotient ----------------------------------------------------------------------------------------------------

def _tapered_rows(x, y, kw, taper):
    """Row transforms of x and y times the taper of the columns; one temporary image serves both."""
    if not taper:
        return torch.fft.rfft(x.contiguous()), torch.fft.rfft(y.contiguous())
    weights = barthann_taper(x.shape[-1], kw, x.dtype, x.device)
    tapered = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    first = torch.fft.rfft(torch.mul(x, weights, out=tapered))
    return first, torch.fft.rfft(torch.mul(y, weights, out=tapered))


def kernel_quotient_fwd(x, y, beta, kh, kw, taper, cy, cx):
    plane = tuple(x.shape[-2:])
    weights = barthann_taper(plane[0], kh, x.dtype, x.device) if taper else None
    x, y = _tapered_rows(x, y, kw, taper)
    return _estimate(x, y, (x.shape[0], 1, kh, kw), plane, (cy, cx), None, None, weights, beta).squeeze(1)


def kernel_quotient_bwd(g, x, y, beta, taper, cy, cx, need_x, need_y, need_beta):
    plane, (kh, kw) = tuple(x.shape[-2:]), g.shape[-2:]
    offset, shift = _split(cy)
    dtype, empty = x.dtype, x.new_empty(0)
    weights = barthann_taper(plane[0], kh, dtype, x.device) if taper else None
    x, y = _tapered_rows(x, y, kw, taper)
    slope = torch.empty(x.shape[0], dtype=torch.float64, device=x.device)
    g = kernel_rows(g, plane[1], cx).unsqueeze(1)
    extension().quotient_kernel_bwd(_parts(g), _parts(x), _parts(y), _parts(x) if need_x else None, _parts(y) if need_y else None, view(slope),
                                    plane[1], offset, _table_view(weights), _table_view(shift_ramp(plane[0], shift, dtype, x.device)),
                                    _table_view(beta), torch.get_num_threads(), tag(dtype))

    def back(spectrum):
        image = torch.fft.irfft(spectrum, n=plane[1])
        return image.mul_(barthann_taper(plane[1], kw, dtype, image.device)) if taper else image

    return back(x) if need_x else empty, back(y) if need_y else empty, _beta_gradient(slope, beta, plane) if need_beta else empty


def _beta_gradient(slope, beta, plane):
    slope = slope / (-plane[0] * plane[1])
    return (slope if beta.shape[0] == slope.shape[0] else slope.sum(0, keepdim=True)).to(beta.dtype)


# image quotient -----------------------------------------------------------------------------------------------------

def _division_frame(y, kernel, padding):
    h, w = y.shape[-2:]
    top, bottom, left, right = division_margins(*kernel.shape[-2:], padding)
    return h, w, (top, bottom, left, right), (h + top + bottom, w + left + right)


def image_quotient_fwd(y, kernel, beta, power, padding, cy, cx):
    h, w, (top, bottom, left, right), plane = _division_frame(y, kernel, padding)
    spectrum = _rows(y, left, right, plane[1], padding)
    spectrum = _apply(spectrum, kernel, "divide", plane, (cy, cx), h, _extend_map(h, top, bottom, padding, plane[0]),
                      _place_map(h, top, plane[0]), beta, power)
    return _rows_back(spectrum, plane[1], left, w)


def image_quotient_bwd(g, y, kernel, beta, power, padding, cy, cx, need_y, need_kernel, need_beta, need_power):
    if need_power:
        return reference.image_quotient_bwd(g, y, kernel, beta, power, padding, cy, cx, need_y, need_kernel, need_beta, need_power)
    h, w, (top, bottom, left, right), plane = _division_frame(y, kernel, padding)
    kh, kw = kernel.shape[-2:]
    offset, shift = _split(cy)
    empty = y.new_empty(0)
    extend = _extend_map(h, top, bottom, padding, plane[0])
    g = _placed_rows(g, left, plane[1])
    y = _rows(y, left, right, plane[1], padding) if need_kernel or need_beta else None
    rows = _spectrum(*kernel.shape[:3], g.shape[-1], kernel) if need_kernel else None
    slope = torch.empty(g.shape[0], dtype=torch.float64, device=g.device)
    extension().quotient_image_bwd(
        _parts(g), None if y is None else _parts(y), _parts(kernel_rows(kernel, plane[1], cx)), _parts(g) if need_y else None,
        None if rows is None else _parts(rows), view(slope), plane[0], plane[1], offset, _place_map(h, top, plane[0]), extend,
        _table_view(shift_ramp(plane[0], shift, kernel.dtype, kernel.device)), _table_view(beta), _table_view(power),
        torch.get_num_threads(), tag(kernel.dtype))
    g_y = _folded_back(g, plane[1], left, right, w, padding) if need_y else empty
    g_kernel = values_of_rows(rows, plane[1], kw, cx) if need_kernel else empty
    return g_y, g_kernel, _beta_gradient(slope, beta, plane) if need_beta else empty, empty
