"""Per-pixel filtering in Triton: forward, adjoint, filter gradient and normal operator.

A program owns a tile of output pixels, one per thread, and runs over the window; along W its accesses are contiguous. With one pixel per
thread shifted and unshifted reads have the same layout, so nothing passes through shared memory. Filters that the channels share are
read once for up to four channels. Every sum has a fixed order, there are no atomics: results are bit-identical from run to run.
"""
from svconv._triton.pixel_filter.adjoint import pixel_filter_adjoint
from svconv._triton.pixel_filter.ahead_of_time import aot_launches
from svconv._triton.pixel_filter.filter_gradient import pixel_filter_bwd_filters
from svconv._triton.pixel_filter.forward import pixel_filter_fwd
from svconv._triton.pixel_filter.gram import pixel_filter_gram, pixel_filter_gram_bwd_filters
from svconv._triton.pixel_filter.stencil import pixel_filter_stencil, pixel_filter_stencil_apply

from svconv._triton import boundary

__all__ = ["aot_launches", "pixel_filter_adjoint", "pixel_filter_bwd_filters", "pixel_filter_fwd", "pixel_filter_gram",
           "pixel_filter_gram_bwd_filters", "pixel_filter_stencil", "pixel_filter_stencil_apply", "why_not"]


def why_not(op, *arguments):
    """None, or the reason why these arguments are refused."""
    height, width = arguments[0].shape[-2:]
    if max(height, width) > boundary.LARGEST_SIDE:
        return f"sides above {boundary.LARGEST_SIDE}"
    return None
