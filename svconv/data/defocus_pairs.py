"""Pairs of a defocused and a sharp colour crop with the radius at every pixel, made on the fly from photographs."""
import hashlib
import math

import torch
from torch.nn import functional

from svconv._shapes import number
from svconv.data.defocus_maps import PATTERNS, REFERENCE, defocus_map, nearest_radius
from svconv.data.pairs import TRIES, enough_gradient
from svconv.data.photographs import PhotographCache, list_photographs
from svconv.ops import disk_blur


class DefocusPairs(torch.utils.data.Dataset):
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
        sides = size if isinstance(size, (tuple, list)) else (size, size)
        self.size = tuple(number("size", side, least=1, integer=True) for side in sides)
        self.files = list(photographs) if isinstance(photographs, (list, tuple)) else list_photographs(photographs)
        self.length, self.seed = number("length", length, least=0, integer=True), number("seed", seed, integer=True)
        self.map_size, self.noise = number("map_size", map_size, least=1, integer=True), number("noise", noise, least=0)
        self.rounding, self.linear = bool(rounding), bool(linear)
        self.patterns = tuple(number("patterns", p, least=1, most=PATTERNS[-1], integer=True) for p in patterns)
        if not self.patterns:
            raise ValueError("patterns: expected at least one")
        self.cache = PhotographCache(cache_bytes, colour=True)

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if not 0 <= index < self.length:
            raise IndexError(f"index: expected 0..{self.length - 1}, got {index}")
        digest = hashlib.sha256(f"defocus/{self.seed}/{index}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        radius = nearest_radius(self._map(generator))
        window, (top, left) = self._crop(generator, math.ceil(float(radius.max())))
        blurry, sharp = _blurred(window, radius, top, left, self.linear)
        blurry = blurry + self.noise * torch.rand((), generator=generator) * torch.randn(blurry.shape, generator=generator)
        if self.rounding:
            blurry = (blurry.clamp(0, 1) * 255).round() / 255
        return blurry, sharp, radius

    def _map(self, generator):
        height, width = (max(self.map_size, side) for side in self.size)
        pattern = self.patterns[int(torch.randint(len(self.patterns), (), generator=generator))]
        radius = defocus_map(pattern, height, width, generator=generator)[0]
        top, left = (int(torch.randint(whole - side + 1, (), generator=generator)) for whole, side in zip((height, width), self.size))
        return radius[:, top:top + self.size[0], left:left + self.size[1]]

    def _crop(self, generator, reach):
        """(A crop [3, H, W] with `reach` pixels more on each side where the photograph has them, what is there at its top and left)."""
        height, width = self.size
        found = None
        for _ in range(TRIES):
            photograph = self.cache.get(self.files[int(torch.randint(len(self.files), (), generator=generator))])
            row, column = torch.rand(2, generator=generator, dtype=torch.float32).tolist()
            if photograph.shape[0] < height or photograph.shape[1] < width:
                continue
            first, left = int(row * (photograph.shape[0] - height + 1)), int(column * (photograph.shape[1] - width + 1))
            above, before = min(first, reach), min(left, reach)
            part = photograph[first - above:first + height + reach, left - before:left + width + reach]
            found = torch.from_numpy(part.astype("float32")).permute(2, 0, 1) / 255, above, before
            if enough_gradient(found[0][:, above:above + height, before:before + width].mean(0)):
                break
        if found is None:
            raise ValueError(f"photographs: none of {TRIES} drawn ones is as large as a crop of {height} x {width} pixels")
        return _turned(*found, self.size, int(torch.randint(8, (), generator=generator)))


def _turned(window, top, left, size, turn):
    """The window flipped along the rows (1), the columns (2) and, if square, transposed (4), and where its crop then begins."""
    if turn & 1:
        window, top = window.flip(1), window.shape[1] - top - size[0]
    if turn & 2:
        window, left = window.flip(2), window.shape[2] - left - size[1]
    if turn & 4 and size[0] == size[1]:
        window, top, left = window.transpose(1, 2), left, top
    return window.contiguous(), (top, left)


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
