"""Pictures larger than memory: NPY, FITS and uncompressed TIFF files of which a rectangle is read, or some rows are written, at a time."""
import dataclasses
import math
import os

import numpy as np

from svconv.files import arrays, fits, npy, tiff
from svconv.files.errors import FileError, alone_and_quiet, check_regular, reason
from svconv.files.outputs import check_folder, replacing
from svconv.files.picture import BROKEN, BrightLevel, Picture, find_white

ROWS = 256      # that are looked at or written at a time
EXTENSIONS = (".npy", ".fits", ".fit", ".tif", ".tiff")


@dataclasses.dataclass
class MappedPicture:
    """A picture whose pixels stay in its file.

    Attributes:
        array: [H, W, 1|3] in the type of the file.
        like: a Picture of all the rest, without pixels, of the type that a Picture holds them in.
        zero: what the values of the array are to be raised by.
        guessed: white was guessed, so that pixels far above it are taken for defects.
    """

    array: np.ndarray
    like: Picture
    zero: int = 0
    guessed: bool = False

    @property
    def size(self):
        """(height, width)"""
        return self.array.shape[:2]

    @property
    def channels(self):
        return self.array.shape[2]

    @property
    def bits(self):
        return self.like.bits

    @property
    def white(self):
        return self.like.white

    def part(self, rows, columns):
        """The Picture of a rectangle, rows and columns (start, stop) each."""
        a, held = self.array[slice(*rows), slice(*columns)], self.like.pixels.dtype
        if self.zero:
            a = np.add(a, self.zero, dtype=np.int32 if held == np.uint16 else held)
        picture = dataclasses.replace(self.like, pixels=np.ascontiguousarray(a, held))
        if self.guessed:
            with np.errstate(over="ignore"):
                broken = (np.abs(picture.pixels) > BROKEN * self.white).any(2)
            picture.broken = broken if broken.any() else None
        return picture

    def strips(self):
        """((start, stop), Picture) of a few rows after the other."""
        height, width = self.size
        for start in range(0, height, ROWS):
            rows = start, min(start + ROWS, height)
            yield rows, self.part(rows, (0, width))

    def with_white(self, white, level):
        """(this picture with its white, who chose it) as `Picture.with_white`; level: the `bright_level` of its finite pixels."""
        source = "given"
        if white is None:
            white, source = ((level or 1.0), "guess") if self.like.pixels.dtype.kind == "f" else find_white(self.like, level)
        guessed = source == "guess" and self.like.pixels.dtype.kind != "f"      # a star is no defect
        return dataclasses.replace(self, like=dataclasses.replace(self.like, white=float(white)), guessed=guessed), source


def map_image(path, hdu=None):
    """The MappedPicture of an NPY, FITS or uncompressed TIFF file; FileError for anything else. hdu: the number of a FITS image."""
    try:
        check_regular(path)
        with open(path, "rb") as file:
            head = file.read(26)
        with alone_and_quiet():
            if hdu is not None and not head.startswith(fits.SIGNATURE):
                raise FileError(f"cannot read {path}: --hdu chooses an image of a FITS file, this is none")
            if head.startswith(arrays.STARTS):
                picture = _map_array(path, head, hdu)
            elif head[:4] in tiff.STARTS:
                picture = MappedPicture(*tiff.map_tiff(path))
            else:
                raise FileError(f"cannot map {path}: expected NPY, FITS or uncompressed TIFF")
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cannot read {path}: {reason(error)}") from error
    if 0 in picture.array.shape:
        raise FileError(f"cannot read {path}: expected sides >= 1, got {picture.size[0]} x {picture.size[1]}")
    return picture


def _map_array(path, head, hdu):
    is_fits, header, zero = head.startswith(fits.SIGNATURE), None, 0
    if is_fits:
        a, header, zero = fits.map_fits(path, hdu)
    else:
        a = npy.read_npy(path, math.inf, "picture", mapped=True)
    a, held, stored = arrays.arranged(path, a, is_fits)
    if zero:
        unsigned = np.dtype(f"u{a.dtype.itemsize}")
        held, stored = np.dtype(np.uint16 if unsigned.itemsize == 2 else np.float64), stored._replace(dtype=unsigned)
    return MappedPicture(a, Picture(np.empty((0, 0, a.shape[2]), held), stored=stored._replace(header=header)), zero)


def brightness(picture):
    """A `BrightLevel` that awaits all pixels of a mapped picture."""
    return BrightLevel(math.prod(picture.array.shape))


# output -------------------------------------------------------------------------------------------------------------

def check_mapped_output(path):
    """FileError unless `path` can be written by rows."""
    extension = os.path.splitext(path)[1].lower()
    if extension not in EXTENSIONS:
        raise FileError(f"cannot write {path}: expected {', '.join(EXTENSIONS)} by tiles, got {extension or 'no extension'}")
    check_folder(path)


def write_mapped(path, picture, rows_of):
    """Writes a picture like a mapped one; rows_of(start, stop) gives pixels [h, W, C] of the type that a Picture holds.

    The file is the old one or the whole new one. TIFF is written uncompressed, so that it can be mapped again.
    """
    check_mapped_output(path)
    with replacing(path) as file:
        kind, zero, begin, first, end = _begin(file, path, picture)
        height, width = picture.size
        row = width * kind.itemsize * (1 if first else picture.channels)
        for start in range(0, height, ROWS):
            a = rows_of(start, min(start + ROWS, height))
            if picture.like.stored is not None and kind.kind != "f":
                a = arrays.as_stored(a, picture.like.stored.dtype)
            a = (a.astype(np.int64) - zero if zero else a).astype(kind)
            for number, plane in enumerate(np.moveaxis(a, 2, 0) if first else [a]):
                file.seek(begin + (number * height + start) * row)
                file.write(np.ascontiguousarray(plane).tobytes())
        file.seek(0, os.SEEK_END)
        file.write(end)


def _begin(file, path, picture):
    """(type in the file, what is taken off the values, where they begin, whether planes are the first axis, the file's last bytes)"""
    like, stored, extension = picture.like, picture.like.stored, os.path.splitext(path)[1].lower()
    if extension in (".tif", ".tiff"):
        kind, begin = tiff.begin_tiff(file, path, like, picture.size)
        return kind, 0, begin, False, b""
    dtype, as_fits = like.pixels.dtype if stored is None else stored.dtype, extension != ".npy"
    first, shape = as_fits, ((picture.channels, *picture.size) if as_fits else (*picture.size, picture.channels))
    if stored is not None and as_fits == (stored.header is not None):
        first, shape = stored.first, stored.shape
    elif picture.channels == 1:
        first, shape = False, picture.size
    if as_fits:
        dtype = np.dtype(np.float32) if dtype == np.float16 else dtype
        kind, zero, end = fits.begin_fits(file, path, dtype, shape, None if stored is None else stored.header)
        return kind, zero, file.tell(), first, end
    np.lib.format.write_array_header_1_0(file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    return dtype, 0, file.tell(), first, b""
