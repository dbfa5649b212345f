"""Pairs of a blurred and a sharp colour crop from pictures that somebody took: two folders, or the layout of GoPro."""
import pathlib

import numpy as np
import torch

from svconv.data.crops import PhotographCrops, crop_sides, draw, turned
from svconv.data.photographs import PhotographCache, list_photographs, read_as_stored
from svconv.files import FileError


class FolderPairs(PhotographCrops):
    """Random crops at the same place of two pictures, flipped and transposed alike; item i is the same on every run.

    Crops whose sharp image has little gradient are drawn again, at most 20 times. Pictures are never reduced in size.

    Args:
        sharp, blurry: two folders in which the pictures of a pair stand under one relative name, whatever its suffix. blurry=None: one
            folder in which a pair is `.../sharp/NAME` and `.../blur/NAME`, as in GoPro.
        size: side of the crops in pixels, or (height, width), of which then none is transposed.
        files: those of the sharp pictures that are used; None: all.
        length: number of items; only `__len__` looks at it, the items do not depend on it.
        seed: another seed gives other crops.
        cache_bytes: bound on the memory of decoded pictures (uint8).

    Items:
        (blurry [3, h, w], sharp [3, h, w], kind), float32, 0..1, grey pictures in three equal channels; kind is an int64 zero, as in
        `VariedPairs`.

    Raises:
        ValueError, TypeError: naming the argument; a picture without its other, naming it; no picture as large as a crop. FileError, when
        an item is read: a picture that cannot be read, or whose size or channels differ from its other's.

    Attributes:
        pairs: [(file of the sharp picture, file of the blurry one)].
    """

    judged = slice(0, 3)

    def __init__(self, sharp, blurry=None, size=128, *, files=None, length=1_000_000, seed=0, cache_bytes=512 << 20):
        self.size = crop_sides(size)
        self.pairs = _in_one_folder(sharp) if blurry is None else _in_two_folders(sharp, blurry)
        if files is not None:
            wanted = {pathlib.Path(path) for path in files}
            self.pairs = [pair for pair in self.pairs if pair[0] in wanted]
            if len(self.pairs) < len(wanted) or not wanted:
                raise ValueError(f"files: expected sharp pictures of {sharp}, got {len(wanted) - len(self.pairs)} others of {len(wanted)}")
        self._other = dict(self.pairs)
        super().__init__("folders/", list(self._other), length, seed, cache_bytes)
        self.cache = PhotographCache(cache_bytes, None, read=self._read)

    def __getitem__(self, index):
        generator = self.generator(index)
        window, _ = self.window(self.size, generator)
        sharp, blurry = turned(window, draw(8, generator), self.size[0] == self.size[1]).split(3)
        return blurry, sharp, torch.tensor(0)

    def _read(self, path, halve_above):
        """uint8 [H, W, 6], the sharp picture and the blurry one."""
        sharp, blurry = read_as_stored(path, halve_above), read_as_stored(self._other[path], halve_above)
        if sharp.shape != blurry.shape:
            raise FileError(f"{self._other[path]}: expected {_text(sharp)} as in {path}, got {_text(blurry)}")
        return np.concatenate([image if image.ndim == 3 else np.repeat(image[..., None], 3, 2) for image in (sharp, blurry)], 2)


def _text(pixels):
    return f"{pixels.shape[0]} x {pixels.shape[1]} pixels, {'colour' if pixels.ndim == 3 else 'grey'}"


def _in_two_folders(sharp, blurry):
    first, second = _named(sharp, list_photographs(sharp)), _named(blurry, list_photographs(blurry))
    _check_complete("blurry", first, second, blurry)
    _check_complete("sharp", second, first, sharp)
    return [(path, second[name]) for name, path in first.items()]


def _in_one_folder(folder):
    files = list_photographs(folder)
    first, second = ({name.parent.parent / name.name: path for name, path in _named(folder, files).items() if path.parent.name == part}
                     for part in ("sharp", "blur"))
    if not first:
        raise ValueError(f"{folder}: expected pairs of pictures .../sharp/NAME and .../blur/NAME, or a second folder")
    _check_complete("blurry", first, second, folder)
    _check_complete("sharp", second, first, folder)
    return [(path, second[name]) for name, path in first.items()]


def _named(folder, files):
    """{relative name without suffix: file}"""
    found = {}
    for path in files:
        name = path.relative_to(folder).with_suffix("")
        if name in found:
            raise ValueError(f"{path}: {found[name]} has the same name, expected one picture of each name")
        found[name] = path
    return found


def _check_complete(kind, needed, present, folder):
    for name, path in needed.items():
        if name not in present:
            raise ValueError(f"{path}: no {kind} picture of this name in {folder}")
