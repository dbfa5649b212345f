"""Photographs whose blur is known, for bench/blind_verdict.py: those that set the thresholds and others that check them."""
import math
from typing import NamedTuple

import numpy as np
import torch

from svconv import EFFGrid, MotionBasis, disk_kernel, eff_conv
from svconv.data import degrade, jpeg_round_trip, motion_kernel, motion_poses, read_grey
from svconv.data.pairs import valid_convolution

HEIGHT, WIDTH = 440, 600        # the largest crops
SIZES = (5, 7, 9, 13, 17, 21, 25, 31, 35)
NOISES = (0.0, 0.005, 0.01, 0.02)
STRONG = (0.05, 0.04)
JPEG, QUALITY = 0.35, 92        # share of the photographs that were JPEG files


class Case(NamedTuple):
    """A photograph and what its verdict should be."""

    name: str
    truth: str                  # "sharp", "restored", "varying", "defocus", "noisy"
    blur: str                   # words for it
    noise: float
    sharp: torch.Tensor         # [1, 1, H, W]
    blurry: torch.Tensor


class Maker:
    """Cases one after the other, with one generator for noise, kernels and JPEG."""

    def __init__(self, seed):
        self.generator, self.cases = torch.Generator().manual_seed(seed), []

    def add(self, name, truth, blur, sharp, blurry, noise):
        y = degrade(blurry[None, None].clamp(0, 1), gaussian=noise, generator=self.generator).clamp(0, 1)
        if float(torch.rand(1, generator=self.generator)) < JPEG:
            y, blur = jpeg_round_trip(y, QUALITY), f"{blur}, JPEG".removeprefix(", ")
        else:
            y = (y * 255).round() / 255
        self.cases.append(Case(name, truth, blur, noise, sharp[None, None].clone(), y))

    def blurred(self, photograph, name, truth, blur, kernel, noise):
        """By a kernel, with real borders."""
        kernel = torch.as_tensor(kernel).float()
        kernel = kernel / kernel.sum()
        rows, columns = (n // 2 for n in kernel.shape)
        blurry = valid_convolution(photograph, kernel)
        sharp = photograph[rows:rows + blurry.shape[0], columns:columns + blurry.shape[1]]
        self.add(name, truth, blur, sharp, blurry, noise)

    def shaken(self, photograph, name, size, rotation, noise):
        """By a camera that shifts and rolls."""
        basis = MotionBasis.default(EFFGrid(tuple(photograph.shape), (4, 6)), size)
        kernels = basis.kernels(motion_poses(basis, 1, rotation=rotation, generator=self.generator))
        blurry = eff_conv(photograph[None, None], kernels, basis.grid, padding="symmetric")[0, 0]
        self.add(name, "varying", f"shake with rotation, up to {size} pixels", photograph, blurry, noise)


def photograph(path, height=HEIGHT, width=WIDTH):
    """The middle of a grey photograph, halved while its longer side exceeds 1100 pixels, 0..1."""
    x = torch.from_numpy(read_grey(path, halve_above=1100).astype(np.float32)) / 255
    top, left = (max(0, (n - m) // 2) for n, m in zip(x.shape, (height, width)))
    return x[top:top + height, left:left + width]


def calibration(data):
    """132 cases from the photographs for training, sampled shakes and exact disks."""
    paths = sorted((data / "train" / "bsds400" / "train").iterdir())[::16][:12] + sorted((data / "train" / "large").iterdir())[::2][:10]
    made = Maker(7)
    for i, path in enumerate(paths):
        x, name = photograph(path), path.stem
        made.add(name, "sharp", "", x, x, NOISES[i % 4])
        for j in range(2):
            size = SIZES[(2 * i + j) % 9]
            kernel = motion_kernel(size, generator=made.generator)[0]
            made.blurred(x, name, "restored", f"shake, {size} pixels", kernel, NOISES[(i + j) % 4])
        made.shaken(x, name, (13, 17, 21, 25, 31)[i % 5], (1.0, 1.5, 2.0)[i % 3], NOISES[(i + 1) % 4])
        radius = (1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)[i % 8]
        made.blurred(x, name, "defocus", f"disk of radius {radius:g}", disk(radius), NOISES[(i + 2) % 4])
        if i % 2:
            size = SIZES[(2 * i + 3) % 9]
            made.blurred(x, name, "noisy", f"shake, {size} pixels", motion_kernel(size, generator=made.generator)[0], 0.05)
        else:
            made.add(name, "noisy", "no blur", x, x, (0.05, 0.06)[i // 2 % 2])
    return made.cases


def disk(radius):
    return disk_kernel(torch.tensor(float(radius)), 2 * math.ceil(radius) + 1)


CHECKED = ("kodak24", "mcmaster", "cbsd68", "urban100", "sun80", "div2k")


def check(data):
    """54 cases, none of whose photographs or kernels is among the others: test photographs, measured and published kernels, real
    apertures and lenses, four captured pairs."""
    paths = [p for folder in CHECKED for p in sorted((data / "images" / folder).iterdir())]
    photographs = [(p.stem.split("_SRF")[0], photograph(p)) for p in paths]
    shakes, blurs, made = published_shakes(data / "kernels"), defocus_shapes(data), Maker(12)
    for i in range(10):
        name, x = photographs[(2 * i + 1) % len(photographs)]
        made.add(name, "sharp", "", x, x, NOISES[i % 4])
    for i, (blur, kernel) in enumerate(shakes):
        name, x = photographs[(3 * i + 5) % len(photographs)]
        made.blurred(x, name, "restored", blur, kernel, NOISES[(i + 1) % 4])
    for i in range(10):
        name, x = photographs[(2 * i + 1 - (i % 2)) % len(photographs)]
        made.shaken(x, name, (15, 19, 23, 27, 35)[i % 5], (1.2, 1.8)[i % 2], NOISES[(i + 3) % 4])
    for i, (blur, kernel) in enumerate(blurs):
        name, x = photographs[(2 * i + 4) % len(photographs)]
        made.blurred(x, name, "defocus", blur, kernel, NOISES[(i + 2) % 4])
    for i in range(8):
        name, x = photographs[(5 * i + 3) % len(photographs)]
        if i % 2:
            made.blurred(x, name, "noisy", *shakes[2 * i - 1], STRONG[i // 2 % 2])
        else:
            made.add(name, "noisy", "no blur", x, x, STRONG[i // 2 % 2])
    return made.cases + captured(data)


def published_shakes(folder):
    """[(words, kernel)]: the four motions of usrnet12, the six of dpsr, the four of Levin 2009, 11 to 35 pixels."""
    found = [(f"usrnet12, number {i}", k) for i, k in enumerate(np.load(folder / "usrnet12" / "usrnet12.npy")) if i >= 8]
    found += [(f"dpsr {p.stem}", np.load(p)) for p in sorted((folder / "dpsr").glob("m_*.npy"))]
    return found + [(f"Levin 2009, number {i}", np.load(folder / "levin09" / f"levin09_k{i}.npy")) for i in (1, 2, 3, 4)]


def defocus_shapes(data):
    """[(words, kernel)]: two published disks, photographed apertures, simulated lenses out of focus."""
    from PIL import Image

    found = [(f"dpsr {name}", np.load(data / "kernels" / "dpsr" / f"{name}.npy")) for name in ("d_04", "d_06")]
    for name, radius in (("circle1", 3), ("circle1", 5), ("circle2", 4), ("circle2", 6), ("poly7", 3.5), ("poly7", 6)):
        shape = np.array(Image.open(data / "kernels" / "aperture_syndof" / f"{name}_kernel.tif").convert("L"), dtype=np.float32)
        found.append((f"aperture {name}, radius {radius:g}", shrunk(shape, 2 * radius / shape.shape[0])))
    for path, width in zip(sorted((data / "psf_grids" / "zemax_lenses").glob("*f3.npz")), (3.0, 4.0)):
        with np.load(path) as archive:
            psf = archive["psf"].astype(np.float32)
        found.append((f"lens {path.stem.split('__')[0]}, standard deviation {width:g}", shrunk(psf, width / spread(psf))))
    return found


def spread(kernel):
    """The standard deviation of a kernel, both axes together, in pixels."""
    kernel = kernel / kernel.sum()
    rows, columns = np.mgrid[:kernel.shape[0], :kernel.shape[1]]
    return math.sqrt(sum(float((kernel * (at - (kernel * at).sum()) ** 2).sum()) for at in (rows, columns)))


def shrunk(kernel, factor):
    """A kernel made smaller, on an odd number of pixels."""
    k = torch.from_numpy(np.ascontiguousarray(kernel))[None, None]
    side = 2 * math.ceil(kernel.shape[0] * factor / 2) + 1
    theta = torch.tensor([[[side / (kernel.shape[0] * factor), 0, 0], [0, side / (kernel.shape[0] * factor), 0]]])
    fine = torch.nn.functional.affine_grid(theta, [1, 1, 8 * side, 8 * side], align_corners=False)
    small = torch.nn.functional.avg_pool2d(torch.nn.functional.grid_sample(k, fine, align_corners=False), 8)[0, 0].clamp_min(0)
    return small / small.sum()


def captured(data):
    """The four Levin pairs of his first image: really shaken, taken with a camera."""
    from scipy.io import loadmat

    cases = []
    for path in sorted((data / "pairs" / "levin09").glob("im01_ker*.mat")):
        fields = loadmat(path)
        sharp, blurry = (torch.from_numpy(fields[n].copy()).float()[None, None] for n in "xy")
        cases.append(Case(path.stem, "restored", f"captured, {fields['f'].shape[0]} pixels", math.nan, sharp, blurry))
    return cases
