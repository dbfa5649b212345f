"""The closed-form steps between the learned features: one kernel for the image, or one per patch that a camera motion explains."""
import torch

from svconv._eff_grid import EFFGrid
from svconv._fourier import barthann_taper
from svconv._shapes import number
from svconv.ops import eff_image_quotient, eff_kernel_quotient, image_quotient, kernel_quotient, project_kernel
from svconv.ops.eff import check_grid
from svconv.ops.motion_basis import MotionBasis

KERNEL_BETA = 1e-4  # fixed regularisation of the kernel quotient


class UniformSteps:
    """One kernel [B, k, k]; varied [B, 1, 1, 1]: 0 for a constant image, whose kernel then is the delta."""

    def __init__(self, varied):
        self.varied = varied

    def kernel(self, sharp, blurry, size):
        return project_kernel(kernel_quotient(sharp, blurry, size, beta=KERNEL_BETA) * self.varied[:, 0])

    def image(self, blurry, kernel, beta):
        return image_quotient(blurry, kernel, beta=beta, padding="replicate")


class VaryingSteps:
    """Kernels [B, R, k, k]: a quotient per patch, projected on the motions of `bases`, {kernel size of a scale: its MotionBasis}.

    The features fade out at the border of the image as in the uniform step. A patch from which some poses lead out of the kernel keeps
    the others, scaled to sum one; where none is left it gets the delta.
    """

    def __init__(self, varied, bases, eta, fit_steps):
        self.varied, self.bases, self.eta, self.fit_steps = varied, bases, eta, fit_steps
        self.direct = self.poses = None  # of the last stage that has run

    def kernel(self, sharp, blurry, size):
        basis = self.bases[size]
        rows, columns = (barthann_taper(n, size, sharp.dtype, sharp.device) for n in sharp.shape[-2:])
        taper = rows[:, None] * columns
        self.direct = eff_kernel_quotient(sharp * taper, blurry * taper, basis.grid, size, beta=KERNEL_BETA) * self.varied
        self.poses = basis.pose_weights(self.direct, self.eta, self.fit_steps)
        return with_sum_one(basis.kernels(self.poses))

    def image(self, blurry, kernels, beta):
        size = kernels.shape[-1]
        return eff_image_quotient(blurry, kernels, self.bases[size].grid, beta=beta, prior="identity", padding="replicate")


def with_sum_one(kernels):
    """Kernels >= 0 [..., k, k] scaled to sum one; the delta where nothing is left."""
    total, size = kernels.sum((-2, -1), keepdim=True), kernels.shape[-1]
    delta = torch.zeros_like(kernels)
    delta[..., size // 2, size // 2] = 1
    return torch.where(total > 0, kernels / torch.where(total > 0, total, 1.0), delta)


def bases_of_scales(image_size, sizes, grid, basis, eta):
    """({kernel size: MotionBasis}, eta) for a pyramid of `sizes` = {kernel size: size of the image}, coarsest first, all looked at.

    A given basis is the same motion at every scale: the same angles, shifts that shrink with the image. Otherwise each scale has its
    default basis.
    """
    check_grid(grid)
    if grid.image_size != tuple(image_size):
        raise ValueError(f"grid: expected one over the image {tuple(image_size)}, got one over {grid.image_size}")
    eta, final = number("eta", eta, above=0, most=1), max(sizes)
    if basis is not None:
        if not isinstance(basis, MotionBasis):
            raise TypeError(f"basis: expected a MotionBasis or None, got {type(basis).__name__}")
        if basis.grid != grid or basis.kernel_size != (final, final):
            raise ValueError(f"basis: expected one over the same grid with kernels of {final} x {final}, got {basis!r}")
    bases = {}
    for size, image in sizes.items():
        scaled = EFFGrid(image, grid.grid, overlap=grid.overlap, window=grid.window)
        if basis is None:
            bases[size] = MotionBasis.default(scaled, size)
        else:
            bases[size] = basis if size == final else MotionBasis(scaled, size, shifts=basis.shifts * (size / final), angles=basis.angles)
    return bases, eta
