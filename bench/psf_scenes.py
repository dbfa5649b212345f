"""Photographs blurred by measured PSF grids, for bench/eff_quality.py: the grids, their errors, the photographs, the scores."""
import dataclasses

import numpy as np
import torch

from svconv import EFFGrid, eff_conv
from svconv.data import degrade
from svconv.files import read_image

CHOSEN = "kodim01", "kodim08", "kodim19"        # strengths are chosen on these
REPORTED = "kodim05", "kodim13", "kodim23"      # and reported on these
NOISE, WRONG, BOX, MARGIN = 0.01, 0.05, 21, 32  # MARGIN: pixels at each border that are not scored


@dataclasses.dataclass(frozen=True)
class Lens:
    """A measured grid of PSFs: kernels [1, C|1, R, kh, kw] that sum to one, (rows, columns) of patches."""

    name: str
    kernels: torch.Tensor
    patches: tuple

    def grid(self, image):
        return EFFGrid(tuple(image.shape[-2:]), self.patches)

    def central(self):
        """The indices of the patches nearest to the middle, one to four."""
        rows, columns = ({(n - 1) // 2, n // 2} for n in self.patches)
        return sorted(i * self.patches[1] + j for i in rows for j in columns)


def lens(name, array):
    """array [rows, columns, kh, kw] or with colours behind."""
    kernels = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    kernels = kernels[..., None] if kernels.dim() == 4 else kernels
    kernels = kernels.clamp_min(0).flatten(0, 1).permute(3, 0, 1, 2)[None].contiguous()
    return Lens(name, kernels / kernels.sum((-2, -1), keepdim=True), array.shape[:2])


def fibre_spots(image, count=15):
    """The focal spots of the microscope, each in a box about its centre of mass, without its background, [15, 15, BOX, BOX]."""
    half, pitch = BOX // 2, image.shape[0] / count
    padded, spots = np.pad(image.astype(float), BOX), np.empty((count, count, BOX, BOX))

    def box(centre):
        top, left = (round(c) - half + BOX for c in centre)
        part = padded[top:top + BOX, left:left + BOX]
        return np.maximum(part - np.median(part), 0)

    for i in range(count):
        for j in range(count):
            centre = [(n + 0.5) * pitch + (7 - n) * 1.15 for n in (i, j)]       # the spots stand a little closer than image.shape / count
            for _ in range(2):
                part = box(centre)
                centre = [round(c) + float((part.sum(1 - a) * (np.arange(BOX) - half)).sum() / part.sum()) for a, c in enumerate(centre)]
            spots[i, j] = box(centre)
    return spots


def lenses(data):
    folder = data / "psf_grids"
    illumination = read_image(folder / "multimode_fibre" / "Illumination.tif").pixels[..., 0]
    return [lens("Pixel 4", np.load(folder / "pixel4" / "blur_kernels_left.npy").reshape(6, 8, 61, 61)),
            lens("Edmund", np.load(folder / "edmund63762" / "edmund63762_psf_9x12x25x25x3.npy")),
            lens("DECam", np.load(folder / "decam_psfex" / "DECam_00154912_12_psfcat_grid9x9.npy")),
            lens("fibre", fibre_spots(illumination))]


def noisy(given, seed=3):
    """Kernels with noise, not negative, of sum one, so strong that each then differs by WRONG of its norm from what it was."""
    noise = torch.randn(given.kernels.shape, generator=torch.Generator().manual_seed(seed))
    norm = given.kernels.norm(dim=(-2, -1), keepdim=True)
    size = WRONG * norm / noise.norm(dim=(-2, -1), keepdim=True)
    for _ in range(12):     # clipping and scaling change what the noise amounts to
        kernels = (given.kernels + size * noise).clamp_min(0)
        kernels = kernels / kernels.sum((-2, -1), keepdim=True)
        size = size * WRONG * norm / (kernels - given.kernels).norm(dim=(-2, -1), keepdim=True)
    return dataclasses.replace(given, kernels=kernels)


def shifted(given):
    """Every patch has the kernel of its neighbour on the right: patches overlap by half, so the grid is off by half a patch."""
    rows, columns = given.patches
    kernels = given.kernels.unflatten(2, (rows, columns))
    kernels = torch.cat([kernels[:, :, :, 1:], kernels[:, :, :, -1:]], 3).flatten(2, 3)
    return dataclasses.replace(given, kernels=kernels)


def photograph(data, name):
    """[1, 3, H, W] in 0..1; a portrait is turned to landscape."""
    pixels = read_image(data / "images" / "kodak24" / f"{name}.png").pixels.astype(np.float32) / 255
    x = torch.from_numpy(pixels).movedim(-1, 0)[None]
    return (x if x.shape[-1] >= x.shape[-2] else x.rot90(1, (-2, -1))).contiguous()


def blurred(x, given, seed):
    y = eff_conv(x, given.kernels, given.grid(x), form="scatter", padding="symmetric")
    return degrade(y, gaussian=NOISE, generator=torch.Generator().manual_seed(seed))


# scores -------------------------------------------------------------------------------------------------------------

def _inside(t):
    return t[..., MARGIN:t.shape[-2] - MARGIN, MARGIN:t.shape[-1] - MARGIN].double()


def psnr(x, truth):
    return -10 * float((_inside(x) - _inside(truth)).square().mean().log10())


def ssim(x, truth):
    """Wang et al. 2004: Gaussian window of 11 pixels and deviation 1.5, constants 0.01 and 0.03, mean over pixels and channels."""
    taps = torch.exp(-torch.arange(-5, 6, dtype=torch.float64).square() / (2 * 1.5**2))
    taps = taps / taps.sum()

    def smooth(t):
        t = t.flatten(0, 1)[:, None]
        return torch.nn.functional.conv2d(torch.nn.functional.conv2d(t, taps[None, None, :, None]), taps[None, None, None])

    a, b = _inside(x), _inside(truth)
    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b, both = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2, smooth(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    return float(((2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())
