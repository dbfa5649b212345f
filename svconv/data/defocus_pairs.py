"""Pairs of a defocused and a sharp colour crop with the radius at every pixel, made on the fly from photographs."""
import math

import torch
from torch.nn import functional

from svconv._shapes import number
from svconv.data.crops import PhotographCrops, crop_sides, draw, rounded, turned
from svconv.data.defocus_maps import PATTERNS, REFERENCE, defocus_map, nearest_radius
from svconv.ops import disk_blur


class DefocusPairs(PhotographCrops):
    """Crops of photographs blurred by disks whose radius changes over them; item i is the same on every run.

    A map is drawn in one of the patterns of `defocus_map`, set to the nearest of the 22 radii and cut; a crop is flipped and transposed at
    random and blurred by `disk_blur` with light from outside of it, the photograph going on by replication. Crops with little gradient are
    drawn again, at most 20 times.

    Args:
        photographs: a folder, or a list of image files.
        size: side of the crops in pixels, or (height, width), of which then none is transposed.
        length: number of pairs; only `__len__` looks at it, the pairs do not depend on it.
        seed: another seed gives other pairs.
        map_size: side of the map that the crop's is cut from, at least the crop's (smaller ones count as that): a small one changes faster.
        noise: largest standard deviation of Gaussian noise, 0..1; each pair draws its own between 0 and this.
        rounding: to 8 bits, as photographs are stored.
        linear: blur light: photographs are decoded by the curve of sRGB, blurred, and encoded again.
        patterns: the patterns to draw from.
        cache_bytes: bound on the memory of decoded photographs (uint8).

    Items:
        (blurry [3, h, w], sharp [3, h, w], radius [1, h, w] in pixels), float32, the images in 0..1.

    Raises:
        ValueError, TypeError: naming the argument; no photograph as large as a crop. FileError: a photograph that cannot be read.

    SVBR-Net (2023), training data.
    """

    def __init__(self, photographs, size=96, *, length=1_000_000, seed=0, map_size=REFERENCE, noise=0.0, rounding=True, linear=False,
                 patterns=PATTERNS, cache_bytes=512 << 20):
        super().__init__("defocus/", photographs, length, seed, cache_bytes)
        self.size = crop_sides(size)
        self.map_size, self.noise = number("map_size", map_size, least=1, integer=True), number("noise", noise, least=0)
        self.rounding, self.linear = bool(rounding), bool(linear)
        self.patterns = tuple(number("patterns", p, least=1, most=PATTERNS[-1], integer=True) for p in patterns)
        if not self.patterns:
            raise ValueError("patterns: expected at least one")

    def __getitem__(self, index):
        generator = self.generator(index)
        radius = nearest_radius(self._map(generator))
        window, (top, left) = self.window(self.size, generator, more=math.ceil(float(radius.max())))
        window, top, left = _turned(window, top, left, self.size, draw(8, generator))
        blurry, sharp = _blurred(window, radius, top, left, self.linear)
        blurry = blurry + self.noise * torch.rand((), generator=generator) * torch.randn(blurry.shape, generator=generator)
        return rounded(blurry) if self.rounding else blurry, sharp, radius

    def _map(self, generator):
        height, width = (max(self.map_size, side) for side in self.size)
        pattern = self.patterns[draw(len(self.patterns), generator)]
        radius = defocus_map(pattern, height, width, generator=generator)[0]
        top, left = (draw(whole - side + 1, generator) for whole, side in zip((height, width), self.size))
        return radius[:, top:top + self.size[0], left:left + self.size[1]]


def _turned(window, top, left, size, turn):
    """The window turned as by `turned`, and where its crop then begins."""
    square = size[0] == size[1]
    top = window.shape[1] - top - size[0] if turn & 1 else top
    left = window.shape[2] - left - size[1] if turn & 2 else left
    return turned(window, turn, square), *((left, top) if turn & 4 and square else (top, left))


def _blurred(window, radius, top, left, linear):
    """(blurry, sharp) of the crop that stands in a window; radius [1, h, w] is that of the crop."""
    (rows, columns), (height, width) = radius.shape[-2:], window.shape[-2:]
    whole = functional.pad(radius[None], (left, width - columns - left, top, height - rows - top), mode="constant")
    light = srgb_decoded(window) if linear else window
    blurry = disk_blur(light[None], whole)[0]
    blurry = srgb_encoded(blurry) if linear else blurry
    inside = ..., slice(top, top + rows), slice(left, left + columns)
    return blurry[inside], window[inside].clone()


def srgb_decoded(x):
    """Linear light of sRGB values, both in 0..1."""
    return torch.where(x <= 0.04045, x / 12.92, ((x.clamp_min(0) + 0.055) / 1.055) ** 2.4)


def srgb_encoded(x):
    """sRGB values of linear light, both in 0..1."""
    return torch.where(x <= 0.0031308, 12.92 * x, 1.055 * x.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)
