"""The public ops of every family; each is importable from `svconv` too."""
from svconv.backends.cpu.gradient_memory import GradientMemory as GradientMemory

# not public, but importing this package registers their ops, which exported programs call
from svconv.ops import pixel_filter_stencil as _pixel_filter_stencil, tanh_features as _tanh_features  # noqa: F401
from svconv.ops.conv import conv as conv, conv_adjoint as conv_adjoint
from svconv.ops.disk import disk_blur as disk_blur, disk_blur_adjoint as disk_blur_adjoint
from svconv.ops.disk_kernel import disk_kernel as disk_kernel
from svconv.ops.eff import (
    EFFGrid as EFFGrid,
    eff_conv as eff_conv,
    eff_conv_adjoint as eff_conv_adjoint,
    eff_image_quotient as eff_image_quotient,
    eff_kernel_adjoint as eff_kernel_adjoint,
    eff_kernel_quotient as eff_kernel_quotient,
)
from svconv.ops.gaussian import gaussian_blur as gaussian_blur, gaussian_blur_adjoint as gaussian_blur_adjoint
from svconv.ops.motion_basis import MotionBasis as MotionBasis
from svconv.ops.pixel_filter import (
    pixel_filter as pixel_filter,
    pixel_filter_adjoint as pixel_filter_adjoint,
    pixel_filter_gram as pixel_filter_gram,
)
from svconv.ops.quotient import image_quotient as image_quotient, kernel_quotient as kernel_quotient, project_kernel as project_kernel

__all__ = [name for name, value in globals().items() if callable(value) and not name.startswith("_")]
