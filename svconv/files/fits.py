"""FITS images (astropy, the extra `astro`): the one image of a file or the one of a number, with its header."""
import math
import os

import numpy as np

from svconv.files.errors import FileError, library, reason
from svconv.files.limits import RAISED

SIGNATURE = b"SIMPLE  ="
BLOCK = 2880    # bytes that a file is a multiple of
_ZEROS = {np.dtype("u2"): 2**15, np.dtype("u4"): 2**31}      # unsigned integers stand in FITS as signed ones, less so much
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
    return np.asarray(a, a.dtype.newbyteorder("=")), _of_the_image(header)


def _of_the_image(header):
    for key in _OF_THE_DATA:
        header.remove(key, ignore_missing=True, remove_all=True)
    return header


def map_fits(path, hdu=None, option="--hdu"):
    """(array that stays in the file, header, what its values are to be raised by) of the image; arguments as in `read_fits`."""
    fits = _astropy(path)
    try:
        with fits.open(path, memmap=True, do_not_scale_image_data=True) as file:
            image = _chosen(path, file, hdu, option)
            if not _is_plain(fits, image):
                raise FileError(f"cannot map {path}: its image is compressed, expected an uncompressed one")
            _check_size(path, fits, image, math.inf)
            kind = np.dtype({8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}[image.header["BITPIX"]])
            zero = image.header.get("BZERO", 0)
            if image.header.get("BSCALE", 1) != 1 or zero and zero != _ZEROS.get(np.dtype(f"u{kind.itemsize}")) or "BLANK" in image.header:
                raise FileError(f"cannot map {path}: its values are scaled (BSCALE, BZERO or BLANK), expected plain ones")
            a = np.memmap(path, kind, "r", image.fileinfo()["datLoc"], image.shape)
            header = image.header.copy()
    except (FileError, MemoryError):
        raise
    except Exception as error:
        raise FileError(f"cannot read {path}: the file is damaged ({reason(error)})") from error
    return a, _of_the_image(header), int(zero)


def begin_fits(file, path, dtype, shape, header=None):
    """Writes the header of an image whose values follow; (their type in the file, what they are to be lowered by, what ends the file)."""
    zero = _ZEROS.get(np.dtype(dtype), 0)
    kind = np.dtype(dtype if not zero else f"i{np.dtype(dtype).itemsize}").newbyteorder(">")
    hdu = _astropy(path).PrimaryHDU(np.broadcast_to(np.zeros((), kind), shape), header)
    hdu.verify("silentfix+ignore")
    if zero:
        hdu.header["BSCALE"], hdu.header["BZERO"] = 1, zero
    file.write(hdu.header.tostring().encode("ascii"))
    return kind, zero, bytes(-math.prod(shape) * kind.itemsize % BLOCK)


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


def _is_plain(fits, image):
    """Whether the values stand in the file as they are; a compressed image is an ImageHDU too."""
    return isinstance(image, (fits.PrimaryHDU, fits.ImageHDU)) and not isinstance(image, fits.CompImageHDU)


def _check_size(path, fits, image, most):
    count = int(np.prod([int(n) for n in image.shape], dtype=object))
    if min(image.shape) < 0 or count > most:
        raise FileError(f"cannot read {path}: its header claims an array {list(image.shape)}, more than the limit of {most // 3} pixels "
                        f"({RAISED})")
    if _is_plain(fits, image):
        start, size = image.fileinfo()["datLoc"], count * abs(image.header["BITPIX"]) // 8
        if start + size > os.stat(path).st_size:
            raise FileError(f"cannot read {path}: the file is damaged (it ends before the {count} values of its header)")
