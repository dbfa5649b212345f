"""Per-pixel filter banks as a linear operator."""
import torch

from svconv._boundary import canonical_padding
from svconv._form import check_form
from svconv._plane import image_plane, window_plane
from svconv._shapes import HALF, check_tensor, computed, shape_text, unify
from svconv.operators.base import Operator
from svconv.operators.light import sums
from svconv.ops import pixel_filter, pixel_filter_adjoint, pixel_filter_gram


class PixelFilter(Operator):
    """Every pixel has its own filters: `y[b,c,m,p] = sum_d filters[b,c,m,d,p] x[b,c,p+d]` as an operator.

    In the form "scatter" the filter belongs to the pixel that sends the light out: `y[b,c,m,p] = sum_d filters[b,c,m,d,p+d] x[b,c,p+d]`, so
    that a map that is the same everywhere gives the same in both forms. Outside of the image both image and filters go on by `padding`:
    every pixel of the plane sends out its filter, and the frame is cut out. A PSF per pixel, centre k//2, is its own filter turned by 180
    degrees, `psfs.flip((1, 2))`.

    Args:
        filters: [B|1, C|1, M, kh, kw, H, W] ([B,C,H,W] -> [B,C,M,H,W]) or [B|1, kh, kw, H, W] ([B,C,H,W] -> [B,C,H,W]); held, not copied.
        padding: "zeros", "replicate", "reflect", "symmetric" or "circular".
        form: "gather" (the filter belongs to the output pixel, as in `svconv.pixel_filter`) or "scatter" (to the input pixel).

    Raises:
        ValueError, TypeError: naming the argument.

    Memory of "scatter": one turned and continued copy of the filters, made for each application; `A.kept((H, W))` is the operator that
    holds it, where nothing needs its gradient, as the solvers but `cg` use it. In torch.compile "scatter" with "replicate", "reflect" and
    "symmetric" breaks the graph.

    >>> import torch, svconv
    >>> A = svconv.PixelFilter(torch.rand(1, 1, 4, 3, 3, 16, 16))
    >>> A
    PixelFilter([1, 1, 4, 3, 3, 16, 16], padding='zeros', float32)
    >>> x = torch.rand(2, 3, 16, 16)
    >>> A(x).shape, A.adjoint(A(x)).shape, torch.allclose(A.gram(x), A.adjoint(A(x)), rtol=1e-4)
    (torch.Size([2, 3, 4, 16, 16]), torch.Size([2, 3, 16, 16]), True)
    >>> psfs = torch.zeros(1, 1, 3, 1, 5)
    >>> psfs[0, 0, :, 0, 2] = torch.tensor([0.25, 0.5, 0.25])          # the PSF of the middle pixel
    >>> svconv.PixelFilter(psfs.flip((1, 2)), form="scatter")(torch.ones(1, 1, 1, 5)).flatten().tolist()
    [0.0, 0.25, 0.5, 0.25, 0.0]
    """

    def __init__(self, filters, padding="zeros", form="gather"):
        check_tensor("filters", filters)
        if filters.dim() not in (5, 7) or 0 in filters.shape[-4:]:
            raise ValueError("filters: expected [B|1, kh, kw, H, W] or [B|1, C|1, M, kh, kw, H, W] with sides >= 1, got "
                             + shape_text(filters))
        check_form(form)
        self.filters, self.padding, self.form, self.tensors = filters, canonical_padding(padding), form, (filters,)
        self._kept = None
        many = filters.dim() == 7
        kh, kw, height, width = filters.shape[-4:]
        self.frame = (filters.shape[0], filters.shape[1] if many else 1, height, width)
        self.maps = (None, filters.shape[2] if many else None)
        top, left = (kh - 1) // 2, (kw - 1) // 2
        self.reach = (top, kh - 1 - top, left, kw - 1 - left)

    def _forward(self, x):
        if self.form == "gather":
            return pixel_filter(x, self.filters, padding=self.padding)
        x, filters, plane, rule = self._scattering("x", x, None)
        sent = plane.enter(computed(x)).unsqueeze(2)
        maps = [plane.leave(pixel_filter_adjoint(sent, one, padding=rule)).to(x.dtype) for one in filters.split(1, 2)]
        return torch.stack(maps, 2) if self.filters.dim() == 7 else maps[0].contiguous()

    def _adjoint(self, y):
        if self.form == "gather":
            return pixel_filter_adjoint(y, self.filters, padding=self.padding)
        y, filters, plane, rule = self._scattering("y", y, self.maps[1])
        maps = plane.leave_adjoint(computed(y if self.filters.dim() == 7 else y.unsqueeze(2)))
        sent = sum(pixel_filter(one, f, padding=rule).squeeze(2) for one, f in zip(maps.unbind(2), filters.split(1, 2)))
        return plane.enter_adjoint(sent).to(y.dtype).contiguous()

    def _scattering(self, name, image, maps):
        """(image, filters, plane, padding): the scatter is the transposed gather of those filters with that padding on that plane."""
        self._check_input(name, image, maps)
        image, (filters,) = unify(name, image, {"filters": self.filters}, half_beside_float32=("filters",))
        height, width = self.filters.shape[-2:]
        if self.padding in ("zeros", "circular"):
            plane, rule = image_plane((height, width)), self.padding
        else:
            plane, rule = window_plane((height, width), self.filters.shape[-4:-2], self.padding), "zeros"
        return image, _turned(filters, plane) if self._kept is None else self._kept.to(filters.dtype), plane, rule

    def _gram(self, x, weights=None):
        if self.form == "scatter":
            return super()._gram(x, weights)
        return pixel_filter_gram(x, self.filters, weights=weights, padding=self.padding)

    def kept(self, size):
        if self.form == "gather" or self.filters.requires_grad or torch._C._are_functorch_transforms_active():
            return self
        kept = self.with_tensors(self.tensors)
        _, kept._kept, _, _ = self._scattering("x", self.filters.new_empty((1, 1, 1, 1)).expand(*self.frame[:2], *size), None)
        return kept

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
        return PixelFilter(*tensors, padding=self.padding, form=self.form)

    def with_padding(self, padding):
        return PixelFilter(self.filters, padding=padding, form=self.form)

    def __repr__(self):
        form = "" if self.form == "gather" else f"form={self.form!r}, "
        return f"PixelFilter({shape_text(self.filters)}, {form}padding={self.padding!r}, {str(self.filters.dtype)[6:]})"


def _turned(filters, plane):
    """Filters [B|1, C|1, M, kh, kw, H, W] turned by 180 degrees, a zero after an even side, and continued."""
    filters = filters if filters.dim() == 7 else filters[:, None, None]
    kh, kw = filters.shape[3:5]
    turned = filters.flip((3, 4))
    if not (kh % 2 and kw % 2):
        turned = torch.nn.functional.pad(turned, (0, 0, 0, 0, 0, 1 - kw % 2, 0, 1 - kh % 2))
    return plane.enter(turned)
