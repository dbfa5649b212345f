"""FITS images (astropy, the extra `astro`): the one image of a file or the one of a number, with its header."""
import os

import numpy as np

from svconv.files.errors import FileError, library, reason
from svconv.files.limits import RAISED

SIGNATURE = b"SIMPLE  ="
_OF_THE_DATA = ("BSCALE", "BZERO", "BLANK", "CHECKSUM", "DATASUM")     # they are wrong or made anew beside other data


def read_fits(path, most, hdu=None, option="--hdu"):
    """(array in the byte order of the machine, header) of the image; integers with a scale become floats.

    Args:
        most: values at most. hdu: the number of the image, None: there must be one. option: what chooses it, for errors.
    """
    fits = _astropy(path)
    try:
        with fits.open(path, memmap=False) as file:
            image = _chosen(path, file, hdu, option)
            _check_size(path, fits, image, most)
            a = image.data
            header = image.header.copy()
    except (FileError, MemoryError):
        raise
    except Exception as error:  # astropy raises errors of many types for damaged files
        raise FileError(f"cannot read {path}: the file is damaged ({reason(error)})") from error
    for key in _OF_THE_DATA:
        header.remove(key, ignore_missing=True, remove_all=True)
    return np.asarray(a, a.dtype.newbyteorder("=")), header


def write_fits(file, path, a, header=None):
    """Writes an array as the primary image of an open file, with the cards of a header that speak not of the form of its data."""
    hdu = _astropy(path).PrimaryHDU(a, header)
    hdu.verify("silentfix+ignore")
    hdu.writeto(file, output_verify="ignore")


def _astropy(path):
    library("astropy", path)
    from astropy.io import fits

    return fits


def _chosen(path, file, hdu, option):
    images = [number for number, part in enumerate(file) if part.is_image and part.shape and 0 not in part.shape]
    if not images:
        raise FileError(f"cannot read {path}: it holds no image")
    if hdu is None and len(images) > 1:
        raise FileError(f"cannot read {path}: it holds {len(images)} images, {option} chooses one of {', '.join(map(str, images))}")
    if hdu is not None and hdu not in images:
        raise FileError(f"cannot read {path}: {option}: expected one of its images {', '.join(map(str, images))}, got {hdu}")
    return file[images[0] if hdu is None else hdu]


def _check_size(path, fits, image, most):
    count = int(np.prod([int(n) for n in image.shape], dtype=object))
    if min(image.shape) < 0 or count > most:
        raise FileError(f"cannot read {path}: its header claims an array {list(image.shape)}, more than the limit of {most // 3} pixels "
                        f"({RAISED})")
    if isinstance(image, (fits.PrimaryHDU, fits.ImageHDU)):
        start, size = image.fileinfo()["datLoc"], count * abs(image.header["BITPIX"]) // 8
        if start + size > os.stat(path).st_size:
            raise FileError(f"cannot read {path}: the file is damaged (it ends before the {count} values of its header)")
