"""Folders of photographs: listing, splitting, and a cache of decoded images with a bound on its memory."""
import collections
import pathlib

import numpy as np

from svconv._shapes import number
from svconv.files import read_image
from svconv.files.limits import MAX_PIXELS

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def list_photographs(folder):
    """All image files below `folder`, as paths sorted by their name relative to it (so that the order is the same on every machine).

    Hidden files and folders, whose names begin with a dot, are left out: macOS keeps `._photo.jpg`, no picture, beside `photo.jpg`.

    Raises:
        ValueError: the folder does not exist or holds no image.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: not a folder")
    files = [p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not _hidden(p.relative_to(folder)) and p.is_file()]
    if not files:
        raise ValueError(f"{folder}: no photographs ({', '.join(SUFFIXES)})")
    return sorted(files, key=lambda p: p.relative_to(folder).as_posix())


def _hidden(path):
    return any(part.startswith(".") for part in path.parts)


def split_photographs(files, every=20):
    """(training, validation): every `every`-th file of the sorted list is held out, at least one."""
    every = number("every", every, least=1, integer=True)
    if len(files) < 2:
        raise ValueError(f"photographs: at least 2 are needed to hold one out, got {len(files)}")
    step = max(2, min(every, len(files)))
    held = files[step - 1 :: step]
    return [f for i, f in enumerate(files) if i % step != step - 1], held


class PhotographCache:
    """Photographs as uint8, grey [H, W] or with `colour` [H, W, 3], the least recently used ones dropped beyond `max_bytes`.

    Pictures whose longer side exceeds `halve_above` are reduced by two until it does not: large photographs are rarely sharp at pixel
    scale. `read(path, halve_above)` takes the place of `read_colour` and `read_grey`.
    """

    def __init__(self, max_bytes=512 << 20, halve_above=1000, *, colour=False, read=None):
        self.max_bytes = number("max_bytes", max_bytes, least=0, integer=True)
        self.read = (read_colour if colour else read_grey) if read is None else read
        self.halve_above = None if halve_above is None else number("halve_above", halve_above, least=1)
        self._images, self._bytes = collections.OrderedDict(), 0

    def __len__(self):
        return len(self._images)

    def get(self, path):
        """The decoded photograph; raises FileError naming the file when it cannot be read."""
        key = str(path)
        if key in self._images:
            self._images.move_to_end(key)
            return self._images[key]
        image = self.read(path, self.halve_above)
        self._images[key] = image
        self._bytes += image.nbytes
        while self._bytes > self.max_bytes and len(self._images) > 1:
            self._bytes -= self._images.popitem(last=False)[1].nbytes
        return image


def read_grey(path, halve_above=None, max_pixels=MAX_PIXELS):
    """A photograph as uint8 [H, W] (ITU-R 601 luma), turned by its EXIF tag, halved while its longer side exceeds `halve_above`.

    16 bits and floats are scaled so that their white is 255 (`svconv.files.picture.find_white`). FileError naming the file: not a
    photograph, damaged, or of more than `max_pixels`.
    """
    return _read(path, "L", halve_above, max_pixels)


def read_colour(path, halve_above=None, max_pixels=MAX_PIXELS):
    """The same as uint8 [H, W, 3]; a grey photograph has three equal channels."""
    return _read(path, "RGB", halve_above, max_pixels)


def read_as_stored(path, halve_above=None, max_pixels=MAX_PIXELS):
    """The same as uint8 [H, W] when the file is grey, otherwise [H, W, 3]."""
    return _read(path, None, halve_above, max_pixels)


def _read(path, mode, halve_above, max_pixels):
    from PIL import Image

    picture = read_image(path, max_pixels).unassociated()
    pixels = picture.pixels
    if picture.bits != 8:
        pixels = np.rint(np.divide(pixels, picture.scale / 255).clip(0, 255)).astype(np.uint8)
    image = Image.fromarray(pixels[..., 0] if picture.channels == 1 else pixels)
    image = image.convert(mode or ("L" if picture.channels == 1 else "RGB"))
    while halve_above and max(image.size) > halve_above:
        image = image.reduce(2)
    return np.asarray(image)
