"""Photographs blurred by a camera that shifts and rolls, for bench/shake_quality.py: the scenes, errors of kernels, scores."""
import math
from typing import NamedTuple

import torch

from bench import psf_scenes
from svconv import EFFGrid, MotionBasis, eff_conv
from svconv.data import degrade, motion_poses

PATHS, KERNEL, PATCHES, NOISE = 3, 17, (4, 6), 0.01
REACH = 4       # pixels: kernels and images are compared after the best common whole-pixel shift up to this


class Scene(NamedTuple):
    """One photograph and one path of the camera."""

    photograph: str
    path: int
    sharp: torch.Tensor     # [1, 1, H, W]
    blurry: torch.Tensor
    kernels: torch.Tensor   # [1, R, KERNEL, KERNEL], the true ones
    basis: MotionBasis

    @property
    def name(self):
        return f"{self.photograph}, path {self.path + 1}"

    @property
    def grid(self):
        return self.basis.grid


def luminance(image):
    """[1, 1, H, W] of [1, 3, H, W]."""
    return (image * image.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def scenes(images, paths=PATHS, patches=PATCHES):
    """A scene for every photograph {name: [1, 3, H, W]} and every path; the paths are the same for photographs of one size."""
    made = []
    for i, (name, image) in enumerate(images.items()):
        sharp = luminance(image)
        basis = MotionBasis.default(EFFGrid(tuple(sharp.shape[-2:]), patches), KERNEL)
        poses = motion_poses(basis, paths, generator=torch.Generator().manual_seed(17))
        for path, kernels in enumerate(basis.kernels(poses)):
            kernels = kernels[None]
            y = eff_conv(sharp, kernels, basis.grid, padding="symmetric")
            y = degrade(y, gaussian=NOISE, generator=torch.Generator().manual_seed(paths * i + path))
            made.append(Scene(name, path, sharp, y, kernels, basis))
    return made


# scores ---------------------------------------------------------------------------------------------------------------

def shifts():
    return [(i, j) for i in range(-REACH, REACH + 1) for j in range(-REACH, REACH + 1)]


def kernel_error(found, truth):
    """|found - truth| / |truth| over all patches at once. An image may move and all kernels move the other way, which no blurred image
    tells: the best common shift is taken off."""
    found, truth = (torch.nn.functional.pad(k.double(), (REACH,) * 4) for k in (found, truth))
    least = min(float((found.roll(shift, (-2, -1)) - truth).square().sum()) for shift in shifts())
    return math.sqrt(least / float(truth.square().sum()))


def psnr(x, truth):
    """After the best shift of the whole image, the border of bench/psf_scenes.py left out."""
    return max(psf_scenes.psnr(x.roll(shift, (-2, -1)), truth) for shift in shifts())
