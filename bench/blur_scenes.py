"""Pairs for bench/blur_spaces.py: photographs and blurs that no training has seen, with fixed seeds."""
import functools

import torch

from svconv.data import VariedPairs
from svconv.files import read_image

# Training saw the photographs below train/ under blurs of other seeds.
PHOTOGRAPHS = ("kodak24/kodim01.png", "kodak24/kodim05.png", "kodak24/kodim08.png", "kodak24/kodim13.png", "kodak24/kodim19.png",
               "kodak24/kodim23.png", "cbsd68/101085.png", "cbsd68/126007.png", "mcmaster/1.tif", "mcmaster/9.tif")
SEED, SIDE, STRENGTH = 70_000, 128, (7, 25)
KINDS = ("motion", "shake", "defocus", "frames")
COUNT = 64                  # pairs of the first two tables, as many of each kind
SEARCHED = tuple(range(8))  # of these, the pairs whose blurry image is deblurred: two of each kind
GOPRO = {"Flower": ("Flower_sharp1.png", "Flower_blur1.png"),
         "GOPR0410": ("GOPR0410_11_00_st_frame-1193_n_avg-8_gt.png", "GOPR0410_11_00_st_frame-1193_n_avg-8.png")}
KOEHLER = "Blurry1_1.png"


@functools.lru_cache(maxsize=4)
def pairs(data, kinds=KINDS, count=COUNT):
    """The `VariedPairs` of the tables."""
    return VariedPairs([data / "images" / name for name in PHOTOGRAPHS], SIDE, kinds=kinds, strength=STRENGTH, length=count, seed=SEED)


def others(data, count=COUNT):
    """Photographs that a blur is transferred to: those of pairs of another seed."""
    return VariedPairs([data / "images" / name for name in PHOTOGRAPHS], SIDE, strength=STRENGTH, length=count, seed=SEED + 1)


def psnr(image, truth):
    """In dB, of images in 0..1."""
    return float(-10 * torch.log10((image.double().clamp(0, 1) - truth).square().mean().clamp_min(1e-12)))


def photograph(path):
    """[1, 3, H, W] in 0..1."""
    picture = read_image(path).with_white()[0]
    return torch.cat([picture.plane(min(c, picture.channels - 1)) for c in range(3)], 1)
