"""Photographs under known kernels for bench/svmap_quality.py: what is listed here nobody has seen in training, and the seeds are fixed."""
from typing import NamedTuple

import numpy as np
import torch

import svconv
from svconv.data import degrade, motion_kernel
from svconv.files import read_image, read_kernel
from svconv.nn import SSIMLoss

# Training saw the photographs below train/ and kernels of kernels/usrnet12 and of other seeds of motion_kernel.
REPORTED = ("kodak24/kodim01.png", "kodak24/kodim05.png", "kodak24/kodim13.png", "kodak24/kodim19.png", "cbsd68/101085.png",
            "cbsd68/126007.png", "mcmaster/1.tif", "set5/butterfly_GT.bmp")
CHOSEN = "kodak24/kodim08.png", "kodak24/kodim23.png", "mcmaster/9.tif", "set5/head_GT.bmp"
MEASURED = ("levin09/levin09_k1.npy", "levin09/levin09_k2.npy", "levin09/levin09_k3.npy", "levin09/levin09_k4.npy")
SYNTHETIC = "dpsr/m_21.npy", "motion 13", "dpsr/m_26.npy", "motion 35", "dpsr/m_32.npy", "motion 21", "motion 29", "dpsr/m_24.npy"
FOR_CHOOSING = "levin09/levin09_k1.npy", "motion 17", "dpsr/m_29.npy", "motion 25"
SEED = 90_000           # of the motion kernels, plus their side
SIDE, MARGIN, WIDEST = 192, 12, 41      # pixels: of a scene, left out of the score at each border, and of a kernel at most

BRIGHTER = 3            # times, of what is saturated
CASES = {
    "1 % noise": dict(gaussian=0.01),
    "5 % noise": dict(gaussian=0.05),
    "1 % noise, JPEG 90": dict(gaussian=0.01, jpeg=90),
    "saturated": dict(saturated=0.04, gaussian=0.01),
    "1 % impulse noise": dict(gaussian=0.01, impulse=0.01),
}


class Scene(NamedTuple):
    """One photograph under one kernel."""

    name: str
    sharp: torch.Tensor         # [1, 3, SIDE, SIDE]
    blurred: torch.Tensor
    kernel: torch.Tensor        # [1, 1, kh, kw]


def kernel(data, name):
    """[1, 1, k, k] of sum 1."""
    if name.startswith("motion "):
        side = int(name.split()[1])
        return motion_kernel(side, 1, generator=torch.Generator().manual_seed(SEED + side))[None]
    return torch.from_numpy(read_kernel(data / "kernels" / name)).float()[None]


def photograph(data, name, margin):
    """The middle SIDE + 2 margin pixels square, [1, 3, H, W] in 0..1."""
    pixels = read_image(data / "images" / name).pixels.astype(np.float32) / 255
    side = min(SIDE + 2 * margin, *pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return torch.from_numpy(pixels[top:top + side, left:left + side]).permute(2, 0, 1)[None].contiguous()


def scene(data, photo, kernel_name, seed, case="1 % noise"):
    """Blurred with light from outside of the frame, which is cut away; then noise, clipping and JPEG in that order."""
    k = kernel(data, kernel_name)
    margin = WIDEST // 2
    wide = photograph(data, photo, margin)
    options = dict(CASES[case])
    inner = (..., slice(margin, wide.shape[-2] - margin), slice(margin, wide.shape[-1] - margin))
    share = options.pop("saturated", None)
    gain = 1.0 if share is None else 1 / float(torch.quantile(wide[inner].amax(1), 1 - share))
    light = wide * gain
    if share is not None:       # a light is brighter than the white that stands for it
        light = torch.where(light.amax(1, keepdim=True) >= 1, BRIGHTER * light, light)
    blurred = svconv.conv(light, k, padding="replicate")
    clipped = {} if share is None else dict(saturation=1.0)
    y = degrade(blurred[inner].contiguous(), **options, **clipped, generator=torch.Generator().manual_seed(seed))
    return Scene(f"{photo}, {kernel_name}", light.clamp(0, 1)[inner].contiguous(), y, k)


def reported(data, case="1 % noise", both=True):
    """Every photograph under a measured and a synthetic kernel, or under one of them in turn; one after the other."""
    for i, photo in enumerate(REPORTED):
        pair = MEASURED[i % len(MEASURED)], SYNTHETIC[i]
        for j, name in enumerate(pair if both else pair[i // 4:i // 4 + 1]):
            yield scene(data, photo, name, 100 * i + j, case)


def for_choosing(data, case="1 % noise"):
    for i, (photo, name) in enumerate(zip(CHOSEN, FOR_CHOOSING)):
        yield scene(data, photo, name, 10_000 + i, case)


def scores(x, sharp):
    """[PSNR in dB, SSIM], the border left out."""
    a, b = (t[..., MARGIN:-MARGIN, MARGIN:-MARGIN].double() for t in (x.clamp(0, 1), sharp))
    return [-10 * float((a - b).square().mean().log10()), float(SSIMLoss().similarity(a, b))]
