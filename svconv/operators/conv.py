"""Uniform convolution as a linear operator."""
import torch

from svconv import ops
from svconv._boundary import canonical_padding
from svconv._fourier import fast_length, kernel_spectrum, psf_center
from svconv._shapes import check_tensor, shape_text
from svconv.operators.base import Operator
from svconv.operators.circulant import collapsed
from svconv.operators.light import sums
from svconv.ops.conv import with_channels


class Conv(Operator):
    """Convolution with one blur kernel: `y[p] = sum_d kernel[d] x[p - (d - k//2)]` as an operator; any image size.

    Args:
        kernel: [B|1, C|1, kh, kw], or [B|1, kh, kw] shared by the channels; centre k//2; held, not copied.
        padding: "zeros", "replicate", "reflect", "symmetric" or "circular".

    Raises:
        ValueError, TypeError: naming the argument.

    >>> import torch, svconv
    >>> A = svconv.Conv(torch.full((1, 1, 3, 3), 1 / 9))
    >>> A
    Conv([1, 1, 3, 3], padding='circular', float32)
    >>> round(A.norm((16, 16)), 2), A(torch.ones(1, 3, 8, 8)).shape
    (1.0, torch.Size([1, 3, 8, 8]))
    """

    def __init__(self, kernel, padding="circular"):
        check_tensor("kernel", kernel)
        if kernel.dim() not in (3, 4) or 0 in kernel.shape[-2:]:
            raise ValueError("kernel: expected [B|1, C|1, kh, kw] or [B|1, kh, kw] with sides >= 1, got " + shape_text(kernel))
        self.kernel, self.padding, self.tensors = kernel, canonical_padding(padding), (kernel,)
        kh, kw = kernel.shape[-2:]
        self.frame = (kernel.shape[0], kernel.shape[1] if kernel.dim() == 4 else 1, None, None)
        self.reach = (kh - 1 - kh // 2, kh // 2, kw - 1 - kw // 2, kw // 2)

    def _forward(self, x):
        return ops.conv(x, self.kernel, padding=self.padding)

    def _adjoint(self, y):
        return ops.conv_adjoint(y, self.kernel, padding=self.padding)

    @property
    def wraps(self):
        return self.padding == "circular" or not any(self.reach)

    def light(self):
        return sums(with_channels(self.kernel), (2, 3))

    def _transfer(self, size):
        if not self.wraps or self.kernel.dtype not in (torch.float32, torch.float64):
            return None
        return kernel_spectrum(with_channels(self.kernel), size, psf_center(self.kernel.shape[-2:]))

    def kept(self, size):
        return collapsed(self, size) or self

    def lengths(self, size):
        return tuple(fast_length(n) for n in size)

    def divide(self, y, beta, prior="identity"):
        if self.padding == "circular" and all(k <= n for k, n in zip(self.kernel.shape[-2:], y.shape[-2:])):
            return ops.image_quotient(y, self.kernel, beta=beta, prior=prior)
        return super().divide(y, beta, prior)

    def with_tensors(self, tensors):
        return Conv(*tensors, padding=self.padding)

    def with_padding(self, padding):
        return Conv(self.kernel, padding=padding)

    def __repr__(self):
        return f"Conv({shape_text(self.kernel)}, padding={self.padding!r}, {str(self.kernel.dtype)[6:]})"
