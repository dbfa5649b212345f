"""The data term `sum m (A x - y)^2` of the solvers with a border option and a mask, on a plane that may be larger than the image."""
import torch

from svconv._shapes import check_tensor, shape_text
from svconv._fourier import fast_length, kernel_spectrum, psf_center
from svconv.operators import Conv, Operator, PixelFilter
from svconv.solvers.border import check_border, continued, extend_smoothly, taper_edges


def transform(x):
    """Half spectrum of real planes; the transform libraries refuse an empty batch."""
    if x.numel() == 0:
        return x.new_zeros((*x.shape[:-1], x.shape[-1] // 2 + 1), dtype=x.dtype.to_complex())
    return torch.fft.rfft2(x)


def untransform(spectrum, size):
    """Real planes of `size` from their half spectrum."""
    if spectrum.numel() == 0:
        return spectrum.new_zeros((*spectrum.shape[:-2], *size), dtype=spectrum.dtype.to_real())
    return torch.fft.irfft2(spectrum, s=size)


class CircularConv:
    """Circular convolution on one plane size that keeps its spectrum."""

    def __init__(self, kernel, plane):
        kernel = kernel if kernel.dim() == 4 else kernel.unsqueeze(1)
        self.plane, self.spectrum = plane, kernel_spectrum(kernel, plane, psf_center(kernel.shape[-2:]))

    def filter(self, x, factor):
        return untransform(transform(x) * factor, self.plane)

    def __call__(self, x):
        return self.filter(x, self.spectrum)

    def adjoint(self, y):
        return self.filter(y, self.spectrum.conj())

    def gram(self, x, weights=None):
        if weights is None:
            return self.filter(x, self.spectrum.abs().square())
        return self.adjoint(self(x) * weights)


class DataTerm:
    """Build it with `data_term`.

    Attributes:
        op: has `op(x)`, `op.adjoint(y)` on the plane.
        y: the observation on the plane, 0 where it is not used.
        mask: None (all ones) or the weights m, broadcastable to y.
        start: [B, C, H', W'], the observation continued over the plane, unused pixels filled with the mean of the used ones.
    """

    def __init__(self, op, y, mask, start, crop):
        self.op, self.y, self.mask, self.start, self._crop = op, y, mask, start, crop

    def right_hand_side(self):
        """A' m y."""
        return self.op.adjoint(self.y if self.mask is None else self.mask * self.y)

    def normal(self, x):
        """A' m A x."""
        if isinstance(self.op, CircularConv):
            return self.op.gram(x, self.mask)
        if isinstance(self.op, PixelFilter):
            weights = self.mask
            if weights is not None and self.op.maps[1] is not None:
                weights = weights.expand(*weights.shape[:2], self.op.maps[1], *weights.shape[-2:])
            return self.op.gram(x, weights=weights)
        if self.mask is None:
            return self.op.gram(x)
        return self.op.adjoint(self.mask * self.op(x))

    def crop(self, x):
        """The image part of a plane, a view."""
        top, left, height, width = self._crop
        return x[..., top:top + height, left:left + width]

    def cropped(self, callback):
        """The user's callback, called with the image part of the plane."""
        return None if callback is None else lambda step, steps, x: callback(step, steps, self.crop(x))


def check_problem(op, y, mask):
    """Raises unless op is an operator and y and mask fit it; a used pixel that is not finite is an error. Returns mask in y's dtype."""
    if not isinstance(op, Operator):
        raise TypeError(f"op: expected an operator such as svconv.Conv or svconv.PixelFilter, got {type(op).__name__}")
    if op.maps[0] is not None:
        raise ValueError(f"op: expected an operator on images [B, C, H, W], got {op!r}")
    check_tensor("y", y)
    if y.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"y: expected dtype float32 or float64, got {y.dtype}")
    op._check_input("y", y, op.maps[1])
    if mask is not None:
        mask = _check_mask(mask, y)
    used = y if mask is None else torch.where(mask > 0, y, 0)
    bad = int((~torch.isfinite(used)).sum())
    if bad:
        raise ValueError(f"y: expected finite pixels, got {bad} that are NaN or infinite (mask= leaves bad pixels out)")
    return mask


def _check_mask(mask, y):
    if not isinstance(mask, torch.Tensor):
        raise TypeError(f"mask: expected a torch.Tensor, got {type(mask).__name__}")
    if mask.device != y.device:
        raise TypeError(f"mask: expected device {y.device} like y, got {mask.device}")
    fits = mask.dim() == 4 and mask.shape[0] in (1, y.shape[0]) and mask.shape[1] in (1, y.shape[1]) and mask.shape[-2:] == y.shape[-2:]
    if not fits:
        raise ValueError(f"mask: expected [B|1, C|1, H, W] for y {shape_text(y)}, got {shape_text(mask)}")
    mask = mask.to(y.dtype)
    if not bool((mask >= 0).all()):
        raise ValueError("mask: expected weights >= 0 (1 = use the pixel), got a negative one or NaN")
    return mask if y.dim() == 4 else mask.unsqueeze(2)


def data_term(op, y, mask, border):
    """DataTerm of checked arguments; docs/solvers.md has the table of `border`."""
    check_border(border)
    mask = check_problem(op, y, mask)
    start = y
    if mask is not None:
        count = mask.expand_as(y).sum((-2, -1), keepdim=True).clamp_min(torch.finfo(y.dtype).tiny)
        clean = torch.where(mask > 0, y, 0)
        start = torch.where(mask > 0, y, (clean * mask).sum((-2, -1), keepdim=True) / count)
        y = clean
    if y.dim() == 5:
        if border not in ("mask", None):
            raise ValueError(f"border: expected 'mask' or None beside an operator with an axis M, got {border!r}")
        start = start.mean(2)
    size = y.shape[-2:]
    if border == "mask":
        build = _masked_plane if op.frame[2] is None and y.dim() == 4 else _masked_image
        return build(op, y, mask, start)
    if border == "replicate" and isinstance(op, Conv):
        return replicated_plane(op, start, mask)
    if border == "replicate":
        op = op.with_padding("replicate")
    if border == "taper":
        y = start = taper_edges(start, op)
        op = op.with_padding("circular")
    return DataTerm(_kept(op, size), y, mask, start, (0, 0, *size))


def _kept(op, size):
    return CircularConv(op.kernel, size) if isinstance(op, Conv) and op.padding == "circular" else op


def _plane(op, size, margins):
    """Margins made larger, at the bottom and right, up to a fast length."""
    top, bottom, left, right = margins
    if not isinstance(op, Conv):
        return margins
    height, width = size
    return top, fast_length(height + top + bottom) - height - top, left, fast_length(width + left + right) - width - left


def _masked_plane(op, y, mask, start):
    """The plane holds every pixel that an output pixel reads; only the output pixels of the image count."""
    margins = _plane(op, y.shape[-2:], op.reach)
    top, bottom, left, right = margins
    size, crop = y.shape[-2:], (top, left, *y.shape[-2:])
    if isinstance(op, Conv):
        op = CircularConv(op.kernel, (size[0] + top + bottom, size[1] + left + right))
    pad = (left, right, top, bottom)
    if mask is None:
        mask = y.new_ones((1, 1, *size))
    return DataTerm(op, torch.nn.functional.pad(y, pad), torch.nn.functional.pad(mask, pad), extend_smoothly(start, margins), crop)


def _masked_image(op, y, mask, start):
    """The image keeps its size; output pixels whose kernel reaches over the edge do not count."""
    height, width = y.shape[-2:]
    top, bottom, left, right = op.reach
    if top + bottom >= height or left + right >= width:
        raise ValueError(f"border: no pixel of {height} x {width} has its kernel inside the image; expected a smaller kernel or border=None")
    inside = y.new_zeros((1, 1, *([] if y.dim() == 4 else [1]), height, width))
    inside[..., top:height - bottom, left:width - right] = 1
    return DataTerm(op, y, inside if mask is None else mask * inside, start, (0, 0, height, width))


def replicated_plane(op, y, mask, padding="replicate"):
    """The image continued by `padding`, one kernel on every side, and smoothly beyond; what is outside of the image counts as seen."""
    (height, width), (kh, kw) = y.shape[-2:], op.kernel.shape[-2:]
    plane = continued(y, (kh, kw), padding)
    rows, columns = plane.shape[-2:]
    if mask is not None:
        mask = torch.nn.functional.pad(mask, (kw, columns - width - kw, kh, rows - height - kh), value=1.0)
    return DataTerm(CircularConv(op.kernel, (rows, columns)), plane, mask, plane, (kh, kw, height, width))
