"""Per-pixel filtering of one image as a linear operator in the filters."""
from svconv import backends
from svconv._boundary import canonical_padding
from svconv._shapes import check_image, number, pair, shape_text, unify
from svconv.operators.base import Operator
from svconv.ops import pixel_filter
from svconv.ops.pixel_filter import _bwd_filters


class FilterGradient(Operator):
    """`svconv.pixel_filter(x, filters)` of a fixed image as an operator in the filters; its adjoint is the gradient in them.

    `y[b,c,m,p] = sum_d f[b,c,m,d,p] x[b,c,p+d]`. The filters [B, C, M, kh, kw, H, W] are the input as [B, C, M kh kw, H, W], the view
    `filters.flatten(2, 4)`, so that products, tests and `svconv.solvers.cg` take them: `A.T @ A + beta * Identity(A.maps[0])`
    is the normal operator of the filters that turn x into y.

    Args:
        x: image [B, C, H, W], held, not copied; with B = 1 or C = 1 for filters of any B or C.
        kernel_size: int or pair, sides of the filters; centre ((kh-1)//2, (kw-1)//2).
        maps: M, or None for one filter per pixel: f [B, C, kh kw, H, W] -> [B, C, H, W].
        padding: how x goes on: "zeros", "replicate", "reflect", "symmetric" or "circular".

    Raises:
        ValueError, TypeError: naming the argument.

    Gradients of every order in f and x.

    >>> import torch, svconv
    >>> x, filters = torch.rand(1, 2, 8, 9), torch.rand(1, 2, 4, 3, 3, 8, 9)
    >>> A = svconv.FilterGradient(x, 3, maps=4)
    >>> A
    FilterGradient([1, 2, 8, 9], 3x3, M = 4, padding='zeros', float32)
    >>> torch.allclose(A(filters.flatten(2, 4)), svconv.pixel_filter(x, filters))
    True
    >>> A.adjoint(torch.ones(1, 2, 4, 8, 9)).unflatten(2, (4, 3, 3)).shape
    torch.Size([1, 2, 4, 3, 3, 8, 9])
    """

    wraps = True        # an output pixel depends on its own filter alone

    def __init__(self, x, kernel_size, maps=None, padding="zeros"):
        check_image("x", x)
        self.x, self.kernel_size, self.tensors = x, pair("kernel_size", kernel_size, least=1, integer=True), (x,)
        self.count = None if maps is None else number("maps", maps, least=1, integer=True)
        self.padding, self.frame = canonical_padding(padding), tuple(x.shape)
        kh, kw = self.kernel_size
        self.maps = ((self.count or 1) * kh * kw, self.count)

    def _forward(self, f):
        self._check_input("f", f, self.maps[0])
        x, filters = self._image(f), f.unflatten(2, (self.count or 1, *self.kernel_size))
        y = pixel_filter(x, filters, padding=self.padding)
        return y if self.count else y.squeeze(2)

    def _adjoint(self, y):
        self._check_input("y", y, self.maps[1])
        x, (y,) = unify("x", self._image(y), {"y": y})
        shape = [*y.shape[:2], self.count or 1, *self.kernel_size, *y.shape[-2:]]
        y = y if self.count else y.unsqueeze(2)
        return _bwd_filters(x, y, shape, x.dtype, self.padding, backends.requested(None)).flatten(2, 4)

    def _image(self, like):
        return self.x.expand(*like.shape[:2], -1, -1)

    def with_tensors(self, tensors):
        return FilterGradient(*tensors, self.kernel_size, self.count, self.padding)

    def with_padding(self, padding):
        return FilterGradient(self.x, self.kernel_size, self.count, padding)

    def __repr__(self):
        kh, kw = self.kernel_size
        many = "" if self.count is None else f"M = {self.count}, "
        return f"FilterGradient({shape_text(self.x)}, {kh}x{kw}, {many}padding={self.padding!r}, {str(self.x.dtype)[6:]})"
