"""Pictures that are arrays of numbers, as NPY and FITS hold them: [H, W], or with 1 or 3 planes before or behind."""
from typing import Any, NamedTuple

import numpy as np

from svconv.files import fits, npy
from svconv.files.errors import FileError
from svconv.files.limits import check_size
from svconv.files.picture import Picture

STARTS = (npy.SIGNATURE, fits.SIGNATURE)
# what a Picture holds in place of the types that it does not
_HELD = {"i1": np.float32, "i2": np.float32, "f2": np.float32, "i4": np.float64, "u4": np.float64, "i8": np.float64, "u8": np.float64}
_SAME = ("u1", "u2", "f4", "f8")


class Stored(NamedTuple):
    """How the numbers of a picture stood in its file.

    Attributes:
        dtype: their type. shape: of the array. first: whether the planes are its first axes. header: of FITS, or None.
    """

    dtype: np.dtype
    shape: tuple
    first: bool
    header: Any = None


def read_array(path, head, max_pixels, hdu):
    """The Picture in an NPY or FITS file, values as they are."""
    is_fits, header = head.startswith(fits.SIGNATURE), None
    if is_fits:
        a, header = fits.read_fits(path, 3 * max_pixels, hdu)
    else:
        a = npy.read_npy(path, 3 * max_pixels, "picture")
    a, held, stored = arranged(path, a, is_fits)
    check_size(path, a.shape[:2], 12, max_pixels)
    return Picture(np.ascontiguousarray(a, held), stored=stored._replace(header=header))


def arranged(path, a, is_fits):
    """(a as [H, W, C], the type that a Picture holds it in, `Stored`)"""
    shape, kind = a.shape, a.dtype.newbyteorder("=").str[1:]
    if kind not in (*_SAME, *_HELD):
        raise FileError(f"cannot read {path}: expected integers or floats of at most 64 bits, got {a.dtype}")
    while a.ndim > 3 and a.shape[0] == 1:
        a = a[0]
    first = a.ndim == 3 and a.shape[0] in (1, 3) and (is_fits or a.shape[2] not in (1, 3))
    a = np.moveaxis(a, 0, 2) if first else a[..., None] if a.ndim == 2 else a
    if a.ndim != 3 or a.shape[2] not in (1, 3):
        planes = "[H, W] or [3, H, W]" if is_fits else "[H, W], [H, W, 3] or [3, H, W]"
        raise FileError(f"cannot read {path}: expected an array {planes}, got {list(shape)}")
    return a, np.dtype(_HELD.get(kind, a.dtype.newbyteorder("="))), Stored(np.dtype(kind), shape, first)


def as_stored(a, dtype):
    """Values in the type of a file; integers are rounded and clipped."""
    if dtype == a.dtype:
        return a
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        top = np.nextafter(float(limits.max), 0) if float(limits.max) > limits.max else limits.max
        a = np.rint(a).clip(limits.min, top)
    return a.astype(dtype)


def write_array(file, path, picture, as_fits):
    """Writes a Picture into an open file in the type that it came in; as an array of the shape it came in if it came from such a file."""
    a, stored = picture.pixels, picture.stored
    if stored is not None:
        a = as_stored(a, stored.dtype)
    if stored is not None and as_fits == (stored.header is not None):
        a = (np.moveaxis(a, 2, 0) if stored.first else a).reshape(stored.shape)
    else:
        a = a[..., 0] if a.shape[2] == 1 else np.moveaxis(a, 2, 0) if as_fits else a
    if as_fits:
        wide = np.float32 if a.dtype == np.float16 else a.dtype
        fits.write_fits(file, path, np.ascontiguousarray(a, wide), None if stored is None else stored.header)
    else:
        npy.write_npy(file, np.ascontiguousarray(a))
