"""Scenes captured by the camera of a Pixel 4 with their sharp images and measured defocus, for bench/defocus_quality.py.

Dual pixels see through half of the lens, so the kernels are no disks; here each stands for the disk of equal variance.
"""
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from svconv.files import read_image
from svconv.nn import SSIMLoss

NAMES = "001", "008", "016"
BLACK, WHITE = 1024, 16383
CROP = slice(252, 1260), slice(336, 1680)       # of the left view, where the truth is known
GRID, SLOPE = (6, 8), 0.0054                    # of the kernels; their scale for one unit of the map (the README of the data)
SHRUNK = 3                                      # images are means of 3 x 3 pixels: radii of about 2 to 6 pixels
REACH, MARGIN = 3, 16                           # the shift that is fitted, and the border that is not scored


class Captured(NamedTuple):
    """One scene, [1, 1, H, W] each, in linear light scaled to about 0..1."""

    name: str
    blurry: torch.Tensor
    sharp: torch.Tensor
    scale: torch.Tensor     # of the kernels, at every pixel
    radius: torch.Tensor    # of the disk of equal variance, in pixels of the shrunk images
    valid: torch.Tensor     # 1 where the truth is known
    kernels: torch.Tensor   # [rows, columns, k, k], at scale 1 and in pixels of the camera


def kernels(data):
    """The measured ones, each of sum 1 and moved so that its centre of mass is in the middle."""
    found = torch.from_numpy(np.load(data / "psf_grids" / "pixel4" / "blur_kernels_left.npy")).double()
    found = found / found.sum((-2, -1), keepdim=True)
    return torch.stack([_centred(kernel) for kernel in found]).unflatten(0, GRID)


def _moments(kernel):
    """(mean of the places, variance) along the rows and the columns."""
    places = torch.arange(kernel.shape[-1], dtype=kernel.dtype)
    lines = kernel.sum(1), kernel.sum(0)
    means = [float((line * places).sum()) for line in lines]
    return means, [float((line * (places - mean) ** 2).sum()) for line, mean in zip(lines, means)]


def _centred(kernel):
    (row, column), _ = _moments(kernel)
    half = kernel.shape[-1] // 2
    return kernel.roll((half - round(row), half - round(column)), (0, 1))


def equal_radius(kernel):
    """A disk of radius r has the variance r^2 / 4 along an axis."""
    _, variances = _moments(kernel)
    return 2 * (sum(variances) / 2) ** 0.5


def shrunk(t, valid=None):
    """Means of SHRUNK x SHRUNK pixels, of the valid ones where those are given."""
    if valid is None:
        return functional.avg_pool2d(t, SHRUNK)
    return functional.avg_pool2d(t * valid, SHRUNK) / functional.avg_pool2d(valid, SHRUNK).clamp_min(1e-6)


def captured(data, name):
    folder, measured = data / "defocus" / "pixel4", kernels(data)

    def read(path):
        return torch.from_numpy(read_image(path).pixels[..., 0].astype(np.float32))[None, None]

    blurry = ((read(folder / f"{name}_left.png") - BLACK).clamp_min(0) / (WHITE - BLACK))[..., CROP[0], CROP[1]]
    sharp = read(folder / "gt_all_in_focus_im" / f"{name}_gt.png")
    depth = read(folder / "gt_defocus_map" / f"{name}_gt.png")
    known = (depth > 0).float()
    scale = SLOPE * shrunk(depth, known)
    radii = torch.tensor([[equal_radius(kernel) for kernel in row] for row in measured], dtype=torch.float32)
    radii = functional.interpolate(radii[None, None], size=scale.shape[-2:], mode="bilinear", align_corners=False) / SHRUNK
    blurry, sharp = shrunk(blurry), shrunk(sharp)
    white = torch.quantile(blurry, 0.999)
    return Captured(name, (blurry / white).clamp(0, 1), sharp / torch.quantile(sharp, 0.999), scale, radii * scale,
                    (shrunk(known) == 1).float(), measured)


def measured_blur(scene, steps=0.1):
    """The sharp image under the measured kernel of each patch, resized by the scale at each pixel (in steps)."""
    out, rows, columns = torch.zeros_like(scene.sharp), *GRID
    height, width = (side // n for side, n in zip(scene.sharp.shape[-2:], GRID))
    levels = (scene.scale / steps).round()
    for i in range(rows):
        for j in range(columns):
            place = ..., slice(i * height, (i + 1) * height), slice(j * width, (j + 1) * width)
            for level in levels[place].unique():
                kernel = _resized(scene.kernels[i, j], max(float(level) * steps, steps))
                half = kernel.shape[-1] // 2
                whole = functional.pad(scene.sharp, (half,) * 4, mode="replicate")
                part = whole[..., place[1].start:place[1].stop + 2 * half, place[2].start:place[2].stop + 2 * half]
                made = functional.conv2d(part, kernel.flip(-2, -1)[None, None].to(part.dtype))
                out[place] = torch.where(levels[place] == level, made, out[place])
    return out


def _resized(kernel, scale):
    """On the pixels of the shrunk images: the kernel, enlarged by `scale`, integrated over each of them."""
    factor = scale / SHRUNK
    half = max(1, round(kernel.shape[-1] // 2 * factor))
    fine = 5        # samples of a pixel along an axis
    places = (torch.arange((2 * half + 1) * fine, dtype=torch.float64) + 0.5) / fine - 0.5 - half
    grid = places / factor / (kernel.shape[-1] / 2)
    grid = torch.stack(torch.meshgrid(grid, grid, indexing="ij")[::-1], -1)[None]
    made = functional.avg_pool2d(functional.grid_sample(kernel[None, None], grid, align_corners=False), fine)[0, 0]
    return made / made.sum()


# scores ---------------------------------------------------------------------------------------------------------------

def fitted(image, truth, valid):
    """(image, truth, valid) after the whole-pixel shift, the gain and the offset of the image that fit the truth best."""
    best, inner = None, (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    truth, valid = truth[inner].double(), valid[inner].double()
    for shift in ((i, j) for i in range(-REACH, REACH + 1) for j in range(-REACH, REACH + 1)):
        moved = image.roll(shift, (-2, -1))[inner].double()
        mean_a, mean_b = ((valid * t).sum() / valid.sum() for t in (moved, truth))
        gain = (valid * (moved - mean_a) * (truth - mean_b)).sum() / (valid * (moved - mean_a) ** 2).sum().clamp_min(1e-12)
        made = gain * (moved - mean_a) + mean_b
        error = float((valid * (made - truth) ** 2).sum() / valid.sum())
        if best is None or error < best[0]:
            best = error, made
    return best[1], truth, valid


def scores(image, truth, valid):
    """[SSIM, PSNR in dB] where the truth is known, after `fitted`."""
    made, truth, valid = fitted(image, truth, valid)
    similarity = SSIMLoss("same").similarity_map(made, truth)
    error = (valid * (made - truth) ** 2).sum() / valid.sum()
    return [float((valid * similarity).sum() / valid.sum()), -10 * float(error.log10())]
