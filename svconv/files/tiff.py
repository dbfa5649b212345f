"""TIFF: grey and RGB of any depth with their alpha, further samples and thumbnails (tifffile); Pillow reads the rest."""
import math
import os

import numpy as np

from svconv.files.errors import FileError, library, reason
from svconv.files.limits import check_size
from svconv.files.picture import Picture

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_PAGES = 1000
_WHITE_TAGS = (341, 281)  # SMaxSampleValue, MaxSampleValue
_JPEG = (6, 7)


def read_tiff(path, max_pixels):
    """(Picture, None), or (None, the number of its page) where Pillow should read the file."""
    tifffile = library("tifffile", path)
    try:
        with tifffile.TiffFile(path) as tiff:
            page = _photograph(path, tiff)
            check_size(path, (page.imagelength, page.imagewidth), page.samplesperpixel * 8, max_pixels)
            if _for_pillow(tifffile, page):
                return None, page.index
            return _picture(path, tifffile, page, max_pixels), None
    except (OSError, MemoryError):
        raise
    except Exception as error:  # tifffile and the codecs behind it raise errors of many types for damaged files
        raise FileError(f"cannot read {path}: the file is damaged ({reason(error)})") from error


def _photograph(path, tiff):
    """The one page that is not a smaller copy of another."""
    pages = []
    for number, page in enumerate(tiff.pages):
        if number == MAX_PAGES:
            raise FileError(f"cannot read {path}: it holds {MAX_PAGES} pictures or more (several pages), expected one")
        pages.append(page)
    full = [page for page in pages if not page.subfiletype & 1] or pages[:1]
    if len(full) != 1:
        raise FileError(f"cannot read {path}: it holds {len(full)} pictures (several pages), expected one")
    return full[0]


def _for_pillow(tifffile, page):
    """8 bits and fewer in colours that need a conversion."""
    if page.dtype is None or page.dtype.itemsize > 1:
        return page.dtype is None
    plain = page.photometric in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)
    return not plain or page.dtype != np.uint8 or page.bitspersample != 8 or page.compression in _JPEG


def _picture(path, tifffile, page, max_pixels):
    kind, depth = _sample_type(path, page)
    if page.photometric not in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB):
        name = getattr(page.photometric, "name", page.photometric)
        raise FileError(f"cannot read {path}: colour mode {name} is not supported, expected grey or RGB")
    if page.imagedepth != 1:
        raise FileError(f"cannot read {path}: it is a volume of {page.imagedepth} layers, expected one picture")
    _check_segments(path, page, max_pixels)
    a = page.asarray().astype(kind, copy=False)
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and a.ndim == 3:
        a = np.moveaxis(a, 0, -1)
    a = np.atleast_3d(oriented(a, page.tags["Orientation"].value if "Orientation" in page.tags else 1))
    colours = 3 if page.photometric == tifffile.PHOTOMETRIC.RGB else 1
    if a.ndim != 3 or a.shape[2] < colours:
        raise FileError(f"cannot read {path}: expected grey or RGB with or without alpha, got an array of shape {a.shape}")
    alpha, associated, extra = _further_samples(tifffile, page, a[..., colours:])
    return Picture(np.ascontiguousarray(a[..., :colours]), alpha, page.iccprofile, associated, extra, depth=depth,
                   stated=_stated_white(page, colours))


def _sample_type(path, page):
    """(dtype, packed bits or None)"""
    bits = page.bitspersample
    if page.dtype.kind == "f":
        return (np.float64 if page.dtype.itemsize == 8 else np.float32), None
    if page.dtype in (np.uint8, np.uint16) and isinstance(bits, int):
        return page.dtype.newbyteorder("="), bits if 8 < bits < 16 else None
    raise FileError(f"cannot read {path}: pixels of type {page.dtype} are not supported, expected 8 to 16 bits or float")


def _check_segments(path, page, max_pixels):
    """FileError unless the strips or tiles are as large as the picture needs and lie in the file."""
    rows = min(page.rowsperstrip or page.imagelength, page.imagelength)
    sides = (page.tilelength, page.tilewidth) if page.is_tiled else (rows, page.imagewidth)
    most = min(max(max_pixels, 1 << 20), 4 * max(page.imagelength * page.imagewidth, 1 << 20))
    if min(sides) < 1 or math.prod(sides) > most:
        raise FileError(f"cannot read {path}: the file is damaged (tiles of {sides[0]} x {sides[1]} pixels)")
    expected = math.ceil(page.imagelength / sides[0]) * math.ceil(page.imagewidth / sides[1])
    expected *= page.samplesperpixel if page.planarconfig == 2 else 1
    size, offsets, counts = os.stat(path).st_size, page.dataoffsets, page.databytecounts
    if len(offsets) != len(counts) or len(offsets) < expected:
        raise FileError(f"cannot read {path}: the file is damaged ({len(offsets)} strips or tiles, expected {expected})")
    if any(count <= 0 or offset + count > size for offset, count in zip(offsets, counts)):
        raise FileError(f"cannot read {path}: the file is damaged (pixels beyond its end)")


def _further_samples(tifffile, page, a):
    """(alpha, whether the colours are multiplied by it, the samples of unspecified meaning) from the samples behind the colours."""
    kinds = list(page.extrasamples)[: a.shape[2]]
    if not kinds and a.shape[2] == 1:  # many writers leave the tag out beside an alpha channel
        kinds = [tifffile.EXTRASAMPLE.UNASSALPHA]
    meant = [i for i, kind in enumerate(kinds) if kind in (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)][:1]
    rest = [i for i in range(a.shape[2]) if i not in meant]
    alpha = a[..., meant[0]].copy() if meant else None
    return alpha, bool(meant) and kinds[meant[0]] == tifffile.EXTRASAMPLE.ASSOCALPHA, a[..., rest].copy() if rest else None


def _stated_white(page, colours):
    for code in _WHITE_TAGS:
        if code in page.tags:
            values = np.atleast_1d(page.tags[code].value)[:colours]
            if values.dtype.kind in "uif" and len(values) and 0 < values.max() < float("inf"):
                return float(values.max())
    return None


def oriented(a, orientation):
    """The upright image of an array with EXIF orientation 1..8."""
    if orientation in (2, 7):
        a = a[:, ::-1]
    if orientation in (4, 5):
        a = a[::-1]
    turns = {3: 2, 5: 3, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.rot90(a, turns)


def write_tiff(file, path, picture):
    """Writes a Picture into an open file."""
    tifffile = library("tifffile", path)
    parts, kinds = [picture.pixels], []
    if picture.alpha is not None:
        parts.append(picture.alpha[..., None])
        kinds.append("assocalpha" if picture.associated else "unassalpha")
    if picture.extra is not None:
        parts.append(picture.extra)
        kinds += ["unspecified"] * picture.extra.shape[2]
    a = np.concatenate(parts, 2) if len(parts) > 1 else picture.pixels
    samples = a.shape[2]
    a = a[..., 0] if samples == 1 else a
    tifffile.imwrite(file, a, photometric="rgb" if picture.channels == 3 else "minisblack", planarconfig="contig" if samples > 1 else None,
                     extrasamples=kinds or None, compression=None if picture.depth else "zlib", bitspersample=picture.depth,
                     iccprofile=picture.icc or None, metadata=None, extratags=_white_tags(picture, samples))


def _white_tags(picture, samples):
    if picture.stated is None:
        return ()
    if picture.pixels.dtype.kind == "f":
        code, value = (12 if picture.pixels.itemsize == 8 else 11), picture.stated
    else:
        code, value = (3 if picture.pixels.itemsize == 2 else 1), int(min(picture.stated, picture.full))
    return [(_WHITE_TAGS[0], code, samples, (value,) * samples if samples > 1 else value, True)]
