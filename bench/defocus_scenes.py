"""Photographs with synthetic defocus, and captured ones, for bench/defocus_quality.py: scenes, maps of their blur, scores."""
from typing import NamedTuple

import numpy as np
import torch

from svconv import disk_blur
from svconv.data import defocus_map, degrade, estimate_blur, interpolated_map, nearest_radius, propagate_blur, spoiled_map
from svconv.files import read_image
from svconv.nn import SSIMLoss

# None of them is among the photographs that SVBR-Net learned from; weights of the other methods are chosen on CHOSEN.
REPORTED = ("kodak24/kodim01.png", "kodak24/kodim05.png", "kodak24/kodim13.png", "kodak24/kodim19.png", "mcmaster/1.tif", "mcmaster/17.tif",
            "urban100/img_012_SRF_4_HR.png", "sun80/img_024_SRF_8_HR.png")
CHOSEN = "kodak24/kodim08.png", "kodak24/kodim23.png", "mcmaster/9.tif", "mcmaster/18.tif"
PATTERNS = 1, 6, 9, 11      # a ramp from left to right, stairs from top to bottom, one radius, a slanted ramp
CHOICE = 6, 11              # those of CHOSEN
SIZE, NOISE = (340, 360), 0.005
LARGEST = 6.0               # pixels: no map says more
MAP_NOISE, MAP_SCALE = 0.5, 1.2
MARGIN = 12                 # pixels at each border that are not scored
MAPS = {"true": "true map", "matting": "matting", "domain": "domain transform", "two-scale": "two-scale estimate",
        "noise": f"+ {MAP_NOISE} px noise", "scale": f"x {MAP_SCALE}"}


class Scene(NamedTuple):
    """One photograph and one pattern of blur."""

    photograph: str
    pattern: int
    sharp: torch.Tensor     # [1, 3, H, W]
    blurry: torch.Tensor
    maps: dict              # {name of MAPS: [1, 1, H, W]}

    @property
    def name(self):
        return f"{self.photograph}, pattern {self.pattern}"


def photograph(data, name, size=SIZE):
    """Its middle, [1, 3, height + 2 LARGEST, width + 2 LARGEST] in 0..1."""
    pixels = read_image(data / "images" / name).pixels.astype(np.float32) / 255
    height, width = (side + 2 * round(LARGEST) for side in size)
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return torch.from_numpy(pixels[top:top + height, left:left + width]).permute(2, 0, 1)[None].contiguous()


def scene(name, image, pattern, seed, estimated=True):
    """Blurred with light from outside, noise added, rounded to 8 bits; the true map has the 22 radii of the training, and is the only one
    where `estimated` is not asked for."""
    margin = round(LARGEST)
    sharp = image[..., margin:-margin, margin:-margin].contiguous()
    generator = torch.Generator().manual_seed(seed)
    true = nearest_radius(defocus_map(pattern, *sharp.shape[-2:], generator=generator))
    whole = torch.nn.functional.pad(true, (margin,) * 4, mode="replicate")
    blurry = disk_blur(image, whole)[..., margin:-margin, margin:-margin]
    blurry = (degrade(blurry, gaussian=NOISE, generator=generator).clamp(0, 1) * 255).round() / 255
    return Scene(name, pattern, sharp, blurry, maps_of(true, blurry, generator) if estimated else {"true": true})


def maps_of(true, blurry, generator):
    estimated, edges = estimate_blur(blurry)
    found = {"true": true, **{method: interpolated_map(true, blurry, method=method) for method in ("matting", "domain")},
             "two-scale": propagate_blur(estimated, edges, blurry),
             "noise": spoiled_map(true, noise=MAP_NOISE, generator=generator), "scale": spoiled_map(true, scale=MAP_SCALE)}
    return {name: radius.clamp_max(LARGEST) for name, radius in found.items()}


def scenes(data, names, patterns=None, size=SIZE, estimated=True):
    """One after the other; their seeds depend on their places in the lists alone. patterns: None for PATTERNS, without estimates CHOICE."""
    patterns = patterns or (PATTERNS if estimated else CHOICE)
    for i, name in enumerate(names):
        image = photograph(data, name, size)
        for j, pattern in enumerate(patterns):
            yield scene(name, image, pattern, 100 * i + j, estimated)


# scores ---------------------------------------------------------------------------------------------------------------

def inside(t):
    return t[..., MARGIN:-MARGIN, MARGIN:-MARGIN].double()


def scores(image, sharp):
    """[SSIM, PSNR in dB], the border left out."""
    a, b = inside(image.clamp(0, 1)), inside(sharp)
    return [float(SSIMLoss().similarity(a, b)), -10 * float((a - b).square().mean().log10())]


def map_error(radius, true):
    """Mean absolute difference in pixels."""
    return float((inside(radius) - inside(true)).abs().mean())
