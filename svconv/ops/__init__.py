"""The public ops of every family; each is importable from `svconv` too."""
from svconv.ops.conv import conv, conv_adjoint
from svconv.ops.pixel_filter import pixel_filter, pixel_filter_adjoint, pixel_filter_gram
from svconv.ops.quotient import image_quotient, kernel_quotient, project_kernel

__all__ = ["conv", "conv_adjoint", "image_quotient", "kernel_quotient", "project_kernel"] + [
    "pixel_filter",
    "pixel_filter_adjoint",
    "pixel_filter_gram",
]
