"""Random crops of photographs, and what the data sets that are made of them have in common: every index has one fixed item."""
import hashlib

import torch

from svconv._shapes import number
from svconv.data.photographs import PhotographCache, list_photographs

GRADIENT, SHARE, TRIES = 0.05, 0.06, 20


class PhotographCrops(torch.utils.data.Dataset):
    """The base of data sets of crops of photographs: the arguments, the generator of an index, and windows of photographs.

    Args:
        kind: the name of the data set, which its random numbers depend on. photographs: a folder, or a list of image files.
        length, seed, cache_bytes: as in `KernelPairs`. colour: of the photographs, or grey.
    """

    judged = slice(None)    # the channels whose gradient counts

    def __init__(self, kind, photographs, length, seed, cache_bytes, colour=True):
        self.files = list(photographs) if isinstance(photographs, (list, tuple)) else list_photographs(photographs)
        self.length, self.seed = number("length", length, least=0, integer=True), number("seed", seed, integer=True)
        self.cache, self._kind = PhotographCache(cache_bytes, colour=colour), kind

    def __len__(self):
        return self.length

    def generator(self, index):
        """The random numbers of an item; IndexError when there is no such item."""
        return seeded(f"{self._kind}{self.seed}/{checked_index(index, self.length)}")

    def window(self, size, generator, margin=0, more=0):
        """(A window [C, H, W] of a photograph, 0..1; how many of its rows and how many columns come before the crop.)

        It is a crop of `size`, (height, width), with `margin` pixels more on each side, and beyond these up to `more` where the
        photograph has them. Crops with little gradient are drawn again, at most 20 times.
        """
        height, width = (side + 2 * margin for side in size)
        reach, found = margin + more, None
        for _ in range(TRIES):
            photograph = self.cache.get(self.files[draw(len(self.files), generator)])
            row, column = torch.rand(2, generator=generator, dtype=torch.float32).tolist()
            if photograph.shape[0] < height or photograph.shape[1] < width:
                continue
            top = int(row * (photograph.shape[0] - height + 1)) + margin
            left = int(column * (photograph.shape[1] - width + 1)) + margin
            above, before = min(top, reach), min(left, reach)
            part = photograph[top - above:top + size[0] + reach, left - before:left + size[1] + reach]
            found = channels_first(part), (above, before)
            if enough_gradient(found[0][self.judged, above:above + size[0], before:before + size[1]].mean(0)):
                break
        if found is None:
            raise ValueError(f"photographs: none of {TRIES} drawn ones is as large as a crop of {height} x {width} pixels")
        return found


def seeded(text):
    """A generator that the text determines."""
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1)


def checked_index(index, length):
    if not 0 <= index < length:
        raise IndexError(f"index: expected 0..{length - 1}, got {index}")
    return index


def crop_sides(size):
    """(height, width) of an argument that is one side or both."""
    sides = size if isinstance(size, (tuple, list)) else (size, size)
    if len(sides) != 2:
        raise ValueError(f"size: expected a side or (height, width), got {size!r}")
    return tuple(number("size", side, least=1, integer=True) for side in sides)


def odd_sides(name, sides, least=1):
    """(least, most) of an argument that is two odd numbers."""
    if not isinstance(sides, (tuple, list)) or len(sides) != 2:
        raise ValueError(f"{name}: expected two odd numbers, least and most, got {sides!r}")
    low = number(name, sides[0], least=least, integer=True)
    high = number(name, sides[1], least=low, integer=True)
    if low % 2 == 0 or high % 2 == 0:
        raise ValueError(f"{name}: expected two odd numbers, least and most, got {tuple(sides)}")
    return low, high


def draw(count, generator):
    """A random integer of 0 .. count - 1."""
    return int(torch.randint(count, (), generator=generator))


def odd_side(sides, generator):
    """A random odd number between two, both included."""
    least, most = sides
    return least + 2 * draw((most - least) // 2 + 1, generator)


def turned(x, turn, square):
    """[..., H, W] flipped along the rows (1), the columns (2) and, if square, transposed (4)."""
    x = x.flip([axis for axis, bit in ((-2, 1), (-1, 2)) if turn & bit])
    return (x.transpose(-2, -1) if turn & 4 and square else x).contiguous()


def channels_first(pixels):
    """uint8 [H, W] or [H, W, C] as float32 [C, H, W], 0..1."""
    image = torch.from_numpy(pixels.astype("float32")) / 255
    return image[None] if image.dim() == 2 else image.permute(2, 0, 1)


def rounded(x):
    """As 8 bits hold it: clipped to 0..1, the nearest of 256 values."""
    return (x.clamp(0, 1) * 255).round() / 255


def enough_gradient(image):
    """True unless under 6 % of the pixels have a gradient magnitude (forward differences in x and y) of at least 0.05; image [H, W],
    0..1."""
    dy = image[1:, :-1] - image[:-1, :-1]
    dx = image[:-1, 1:] - image[:-1, :-1]
    return bool((dx.square() + dy.square() >= GRADIENT**2).float().mean() >= SHARE)
