"""Blur by a disk of each pixel's own radius in Triton.

Two primitives, `gather.py` (every pixel sums over its own disk) and `spread.py` (every pixel sums over the disks that reach it), make both
forms and their adjoints. Where image and map go on beyond the edges an adjoint is computed on the whole plane that the disks reach and
folded back by `svconv._plane`. Memory beside the result: there the plane (the image and a margin of the largest radius, or of max_radius)
in the accumulator's type and what folding copies of it, about three images; otherwise three numbers for a block of the map. Every sum has
a fixed order, there are no atomics: results are bit-identical from run to run.
"""
from svconv._triton.disk.ahead_of_time import aot_launches
from svconv._triton.disk.plans import Blur
from svconv._triton.radial import why_not

from svconv._shapes import sum_to

__all__ = ["aot_launches", "disk_blur_adjoint", "disk_blur_bwd_radius", "disk_blur_fwd", "disk_slope_adjoint", "disk_slope_fwd", "why_not"]


def _blur(x, radius, form, padding, max_radius, transposed, slope):
    return Blur(radius, form, padding, max_radius, slope, transposed).run(x).to(x.dtype).contiguous()


def disk_blur_fwd(x, radius, form, padding, max_radius):
    """Every pixel blurred by its disk."""
    return _blur(x, radius, form, padding, max_radius, False, False)


def disk_blur_adjoint(y, radius, form, padding, max_radius):
    """The transpose of `disk_blur_fwd`."""
    return _blur(y, radius, form, padding, max_radius, True, False)


def disk_slope_fwd(x, radius, form, padding, max_radius):
    """The blur with dw/dr in the place of w."""
    return _blur(x, radius, form, padding, max_radius, False, True)


def disk_slope_adjoint(y, radius, form, padding, max_radius):
    """The transpose of `disk_slope_fwd`."""
    return _blur(y, radius, form, padding, max_radius, True, True)


def disk_blur_bwd_radius(x, g, radius, form, padding, max_radius):
    """The gradient of <g, blur of x> in the radius, like it: the products are summed over shared channels in the kernel, groups of them
    and a shared batch after it."""
    if x.shape[0] == 0 or x.shape[1] == 0:
        return radius.new_zeros(radius.shape)
    blur = Blur(radius, form, padding, max_radius, slope=True, transposed=form == "scatter")
    products = blur.run(x, g) if form == "gather" else blur.run(g, x)
    return sum_to(products, radius.shape).to(radius.dtype).contiguous()
