"""Pairs of a blurred and a sharp colour crop under blurs of many kinds, made on the fly from photographs."""
import torch

from svconv._shapes import number
from svconv.data.crops import PhotographCrops, crop_sides, draw, odd_sides, rounded, turned
from svconv.data.degradation import degrade
from svconv.data.varied_blurs import KINDS, LEAST


class VariedPairs(PhotographCrops):
    """Crops of photographs under four kinds of blur by turns; item i is the same on every run, whatever was asked for before.

        motion    one `motion_kernel` everywhere
        shake     camera shake with rotation: `motion_poses` under an `EFFGrid`, `eff_conv`
        defocus   `disk_blur` by a `defocus_map` whose patterns are drawn over the crop, radii up to half of a kernel
        frames    the mean of 7, 9, 11 or 13 frames, the middle one is sharp: the scene moves along a `motion_path`, what lies in a random
                  blob along another one

    A crop is cut with as much more on each side as its blur reaches, flipped and transposed at random. Crops with little gradient are
    drawn again, at most 20 times.

    Args:
        photographs: a folder, or a list of image files.
        size: side of the crops in pixels, or (height, width), of which then none is transposed.
        kinds: different ones of the four above; item i is of kind i modulo their number, so that a batch of neighbours holds all of them.
        strength: (least, most) side of the kernels in pixels, odd, at least 5; each blur draws an odd side k. A shift, a radius or the
            path of frames from its middle one reaches at most k // 2 pixels.
        noise: standard deviation of the Gaussian noise, images in 0..1.
        rounding: to 8 bits, as photographs are stored.
        length: number of pairs; only `__len__` looks at it, the pairs do not depend on it.
        seed: another seed gives other pairs.
        cache_bytes: bound on the memory of decoded photographs (uint8).

    Items:
        (blurry [3, h, w], sharp [3, h, w], kind), float32, the sharp image in 0..1, kind an int64 number, its place in `kinds`.

    Raises:
        ValueError, TypeError: naming the argument; no photograph as large as a crop with its margin. FileError: a photograph that cannot be
            read.

    Memory beside the photographs: the poses of a shake, about 250 k^3 bytes for each side k and nine patches, are kept for 32 sides.
    """

    def __init__(self, photographs, size=128, *, kinds=tuple(KINDS), strength=(7, 21), noise=0.0, rounding=True, length=1_000_000, seed=0,
                 cache_bytes=512 << 20):
        super().__init__("varied/", photographs, length, seed, cache_bytes)
        self.size, self.kinds = crop_sides(size), _checked_kinds(kinds)
        self.strength, self.noise = odd_sides("strength", strength, least=LEAST), number("noise", noise, least=0)
        self.rounding = bool(rounding)

    def __getitem__(self, index):
        generator = self.generator(index)
        blur = self._blur(index, generator)
        window, _ = self.window(self.size, generator, blur.margin)
        window = turned(window, draw(8, generator), self.size[0] == self.size[1])
        blurry = degrade(blur(window), gaussian=self.noise, generator=generator)
        return (rounded(blurry) if self.rounding else blurry), blur.inside(window).clone(), torch.tensor(index % len(self.kinds))

    def blur(self, index):
        """The blur of item i, as a function that puts it on any other window of photographs.

        Returns:
            b with `b.margin` and `b.kind`; `b(window [C, h + 2 margin, w + 2 margin]) -> [C, h, w]`, linear, without noise and rounding.

        Raises:
            IndexError: no such item. b raises ValueError or TypeError when a window does not fit.
        """
        return self._blur(index, self.generator(index))

    def _blur(self, index, generator):
        return KINDS[self.kinds[index % len(self.kinds)]](self.size, self.strength, generator)


def _checked_kinds(kinds):
    kinds = tuple(kinds) if isinstance(kinds, (tuple, list)) else (kinds,)
    if not kinds or len(set(kinds)) < len(kinds) or not all(kind in KINDS for kind in kinds):
        raise ValueError(f"kinds: expected different ones of {', '.join(KINDS)}, got {kinds!r}")
    return kinds
