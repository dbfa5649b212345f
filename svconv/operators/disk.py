"""A disk of its own radius for every pixel as a linear operator."""
import torch

from svconv._boundary import canonical_padding
from svconv._disk_area import disk_reach
from svconv._form import check_form
from svconv._shapes import HALF, check_tensor, readable, shape_text
from svconv.operators.base import Operator
from svconv.ops import disk_blur, disk_blur_adjoint
from svconv.ops.disk import most


class DiskBlur(Operator):
    """Defocus: every pixel is blurred by a disk of its own radius, `svconv.disk_blur` as an operator.

    Args:
        radius: [B|1, 1|C, H, W] in pixels, finite; held, not copied. It fixes the size of the image. float32 maps also serve bfloat16 and
            float16 images.
        form: "gather" (the disk belongs to the output pixel) or "scatter" (to the input pixel, a physical defocus).
        padding: "zeros", "replicate", "reflect", "symmetric" or "circular".
        max_radius: larger radii count as this one.

    Raises:
        ValueError, TypeError: naming the argument; a radius that is NaN or infinite.

    >>> import torch, svconv
    >>> A = svconv.DiskBlur(torch.full((1, 1, 16, 24), 2.5))
    >>> A
    DiskBlur([1, 1, 16, 24], form='gather', padding='replicate', float32)
    >>> y = A(torch.ones(2, 3, 16, 24))
    >>> bool((y - 1).abs().max() < 1e-5), A.reach
    (True, (2, 2, 2, 2))
    """

    def __init__(self, radius, *, form="gather", padding="replicate", max_radius=None):
        check_tensor("radius", radius)
        if radius.dim() != 4 or 0 in radius.shape[-2:]:
            raise ValueError(f"radius: expected [B|1, 1|C, H, W] with sides >= 1, got {shape_text(radius)}")
        check_form(form)
        self.form, self.padding, self.max_radius = form, canonical_padding(padding), max_radius
        most("max_radius", max_radius)
        self.radius, self.tensors, self.frame = radius, (radius,), tuple(radius.shape)
        if readable(radius):
            self._farthest()

    def _forward(self, x):
        return disk_blur(x, self.radius, form=self.form, padding=self.padding, max_radius=self.max_radius)

    def _adjoint(self, y):
        return disk_blur_adjoint(y, self.radius, form=self.form, padding=self.padding, max_radius=self.max_radius)

    def _farthest(self):
        values = self.radius.detach()
        if not bool(torch.isfinite(values).all()):
            raise ValueError("radius: expected finite values, got NaN or infinite ones")
        return disk_reach(values, most("max_radius", self.max_radius))

    @property
    def reach(self):
        """(top, bottom, left, right): the same on every side, that of the largest radius; waits for a GPU."""
        return (self._farthest(),) * 4

    @property
    def reaches(self):
        if self.form == "scatter":
            return self.reach
        radius = self.radius.detach().clamp(max=most("max_radius", self.max_radius))
        return (torch.ceil(radius - 0.5).clamp_min(0),) * 4

    @property
    def wraps(self):
        return self.padding == "circular" or not any(self.reach)

    def misfit(self, dtype):
        kept = self.radius.dtype
        return None if kept == dtype or kept == torch.float32 and dtype in HALF else kept

    def with_tensors(self, tensors):
        return DiskBlur(*tensors, form=self.form, padding=self.padding, max_radius=self.max_radius)

    def with_padding(self, padding):
        return DiskBlur(self.radius, form=self.form, padding=padding, max_radius=self.max_radius)

    def __repr__(self):
        limit = "" if self.max_radius is None else f"max_radius={self.max_radius}, "
        return f"DiskBlur({shape_text(self.radius)}, form={self.form!r}, padding={self.padding!r}, {limit}{str(self.radius.dtype)[6:]})"
