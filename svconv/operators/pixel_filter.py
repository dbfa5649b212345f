"""Per-pixel filter banks as a linear operator."""
import torch

from svconv._boundary import canonical_padding
from svconv._shapes import HALF, check_tensor, shape_text
from svconv.operators.base import Operator
from svconv.operators.light import sums
from svconv.ops import pixel_filter, pixel_filter_adjoint, pixel_filter_gram


class PixelFilter(Operator):
    """Every pixel has its own filters: `y[b,c,m,p] = sum_d filters[b,c,m,d,p] x[b,c,p+d]` as an operator.

    The transpose of a 5-D filter map (`.T`, padding "zeros" or "circular") is the blur with a PSF per input pixel.

    Args:
        filters: [B|1, C|1, M, kh, kw, H, W] ([B,C,H,W] -> [B,C,M,H,W]) or [B|1, kh, kw, H, W] ([B,C,H,W] -> [B,C,H,W]); held, not copied.
        padding: "zeros", "replicate", "reflect", "symmetric" or "circular".

    Raises:
        ValueError, TypeError: naming the argument.

    >>> import torch, svconv
    >>> A = svconv.PixelFilter(torch.rand(1, 1, 4, 3, 3, 16, 16))
    >>> A
    PixelFilter([1, 1, 4, 3, 3, 16, 16], padding='zeros', float32)
    >>> x = torch.rand(2, 3, 16, 16)
    >>> A(x).shape, A.adjoint(A(x)).shape, torch.allclose(A.gram(x), A.adjoint(A(x)), rtol=1e-4)
    (torch.Size([2, 3, 4, 16, 16]), torch.Size([2, 3, 16, 16]), True)
    """

    def __init__(self, filters, padding="zeros"):
        check_tensor("filters", filters)
        if filters.dim() not in (5, 7) or 0 in filters.shape[-4:]:
            raise ValueError("filters: expected [B|1, kh, kw, H, W] or [B|1, C|1, M, kh, kw, H, W] with sides >= 1, got "
                             + shape_text(filters))
        self.filters, self.padding, self.tensors = filters, canonical_padding(padding), (filters,)
        many = filters.dim() == 7
        kh, kw, height, width = filters.shape[-4:]
        self.frame = (filters.shape[0], filters.shape[1] if many else 1, height, width)
        self.maps = (None, filters.shape[2] if many else None)
        top, left = (kh - 1) // 2, (kw - 1) // 2
        self.reach = (top, kh - 1 - top, left, kw - 1 - left)

    def _forward(self, x):
        return pixel_filter(x, self.filters, padding=self.padding)

    def _adjoint(self, y):
        return pixel_filter_adjoint(y, self.filters, padding=self.padding)

    def _gram(self, x, weights=None):
        return pixel_filter_gram(x, self.filters, weights=weights, padding=self.padding)

    @property
    def wraps(self):
        return self.padding == "circular" or not any(self.reach)

    def misfit(self, dtype):
        kept = self.filters.dtype
        return None if kept == dtype or kept in HALF and dtype == torch.float32 else kept

    def light(self):
        if self.filters.dim() == 5:
            return tuple(t[:, None] for t in sums(self.filters, (1, 2, 3, 4)))
        _, size = sums(self.filters, (2, 3, 4, 5, 6), signed=False)     # a bank of filters may well be negative
        return size, size

    def with_tensors(self, tensors):
        return PixelFilter(*tensors, padding=self.padding)

    def with_padding(self, padding):
        return PixelFilter(self.filters, padding=padding)

    def __repr__(self):
        return f"PixelFilter({shape_text(self.filters)}, padding={self.padding!r}, {str(self.filters.dtype)[6:]})"
