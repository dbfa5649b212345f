"""Photographs in and out: 8 and 16 bit, float, grey and colour, alpha, colour profile.

Pillow reads and writes what has 8 bits; 16-bit PNG (imagecodecs) and TIFF (tifffile) go past it, because it keeps 8 bits of their colours.
"""
import contextlib
import io
import os
import struct
import zlib

import numpy as np

from svconv.files import arrays, metadata, png, tiff
from svconv.files.errors import FileError, alone_and_quiet, check_regular, library, reason, without_stderr
from svconv.files.limits import MAX_PIXELS, check_size
from svconv.files.outputs import check_folder, replacing
from svconv.files.picture import Picture

READABLE = ("PNG", "JPEG", "MPO", "TIFF", "BMP", "GIF", "WEBP")
_READS = "PNG, JPEG, TIFF, BMP, GIF, WebP, FITS or NPY"
_RAW = frozenset(f".{name}" for name in ("3fr arw cr2 cr3 crw dng erf iiq kdc mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw "
                                         "x3f").split())
_LOSSY = ("JPEG", "MPO", "WEBP")
_HEIF = frozenset((".heic", ".heif", ".hif", ".avif"))
DAMAGED = (     # what the plugins of Pillow raise for damaged files
    SyntaxError, ValueError, EOFError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, zlib.error, struct.error
)
_PACKED = tuple(range(9, 16))
_JPEG_SIDE = 65500
_WITHOUT_PROFILE = ("BMP", "FITS", "NPY")
# extension -> (Pillow's format, bits it can hold, holds alpha, options)
_WRITABLE = {
    ".png": ("PNG", (8, *_PACKED, 16), True, {}),
    ".tif": ("TIFF", (8, *_PACKED, 16, 32, 64), True, {}),
    ".tiff": ("TIFF", (8, *_PACKED, 16, 32, 64), True, {}),
    ".jpg": ("JPEG", (8,), False, {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", (8,), False, {"quality": 95, "subsampling": 0}),
    ".bmp": ("BMP", (8,), False, {}),
    ".fits": ("FITS", (8, *_PACKED, 16, 32, 64), False, {}),
    ".fit": ("FITS", (8, *_PACKED, 16, 32, 64), False, {}),
    ".npy": ("NPY", (8, *_PACKED, 16, 32, 64), False, {}),
}


def read_image(path, max_pixels=MAX_PIXELS, finite=True, hdu=None):
    """The Picture in a file, upright; palettes become RGB. finite: NaN and infinite pixels are an error; hdu: the number of a FITS image.

    FileError for anything that is not one still image in grey or RGB, has more than max_pixels, or does not fit into memory.
    """
    check_kind(path)
    try:
        check_regular(path)
        with open(path, "rb") as file:
            head = file.read(26)
        with alone_and_quiet():
            page = picture = None
            if hdu is not None and not head.startswith(arrays.fits.SIGNATURE):
                raise FileError(f"cannot read {path}: --hdu chooses an image of a FITS file, this is none")
            if head.startswith(arrays.STARTS):
                return _checked(path, arrays.read_array(path, head, max_pixels, hdu), finite)
            if head[:4] in tiff.STARTS:
                picture, page = tiff.read_tiff(path, max_pixels)
            if picture is None:
                with without_stderr() if page is not None else contextlib.nullcontext():  # libtiff prints
                    picture = _read_with_pillow(path, head, page, max_pixels)
            return _checked(path, picture, finite)
    except FileError:
        raise
    except OSError as error:
        text = "not an image" if type(error).__name__ == "UnidentifiedImageError" else reason(error)
        hint = f" (svconv reads {_READS})" if text == "not an image" else ""
        raise FileError(f"cannot read {path}: {text}{hint}") from error
    except DAMAGED as error:
        raise FileError(f"cannot read {path}: the file is damaged ({reason(error)})") from error
    except MemoryError as error:
        raise FileError(f"cannot read {path}: it needs more memory than there is") from error


def check_kind(path):
    """FileError for names of photographs that other programs have to convert first; a camera's raw file would pass for a TIFF."""
    extension = os.path.splitext(path)[1].lower()
    if extension in _RAW:
        raise FileError(f"cannot read {path}: a camera's raw file, convert it first, for example: darktable-cli {path} photo.tif")
    if extension in _HEIF:
        raise FileError(f"cannot read {path}: HEIF, convert it first, for example: heif-convert {path} photo.png")


def _read_with_pillow(path, head, page, max_pixels):
    from PIL import Image

    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # check_size looks at it instead, and names the file
    try:
        Image.init()
        # an open file, not its name: Pillow maps a named plain TIFF into memory and then mixes up the sides of one that lies on its side
        with open(path, "rb") as file, Image.open(file, formats=[f for f in READABLE if f in Image.OPEN]) as image:
            check_size(path, image.size[::-1], 12, max_pixels)
            if page is not None:
                image.seek(page)
                check_size(path, image.size[::-1], 12, max_pixels)
            frames = getattr(image, "n_frames", 1) if page is None else 1
            if frames > 1 and image.format != "MPO":  # MPO: a camera's JPEG with previews behind the photograph
                raise FileError(f"cannot read {path}: it holds {frames} pictures (an animation or several pages), expected one")
            return _picture(path, image, deep=head[:8] == png.SIGNATURE and head[24:25] == b"\x10")
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _picture(path, image, deep):
    """The Picture in an open file of Pillow."""
    chunks = png.read_chunks(path) if image.format == "PNG" else {}
    icc, mode, exif = image.info.get("icc_profile"), image.mode, metadata.exif_of(image)
    orientation = exif.get(metadata.ORIENTATION, 1)
    if deep:
        a = np.atleast_3d(tiff.oriented(png.decode_16_bit(path, chunks), orientation))
    elif mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        raise FileError(f"cannot read {path}: colour mode {mode} is not supported, expected grey or RGB")
    else:
        alpha = mode.endswith("A") or "transparency" in image.info
        grey = mode in ("1", "L", "LA")
        a = np.asarray(image.convert(("LA" if alpha else "L") if grey else ("RGBA" if alpha else "RGB")))
        a = np.atleast_3d(tiff.oriented(a, orientation))
    if a.ndim != 3 or a.shape[2] not in (1, 2, 3, 4):
        raise FileError(f"cannot read {path}: expected grey or RGB with or without alpha, got an array of shape {a.shape}")
    colours = 1 if a.shape[2] < 3 else 3
    return Picture(np.ascontiguousarray(a[..., :colours]), a[..., colours].copy() if a.shape[2] > colours else None, icc,
                   chunks=png.colour_chunks(chunks), significant=png.significant_bits(chunks, colours) if deep else None,
                   lossy=image.format in _LOSSY, metadata=metadata.of_pillow(image, exif))


def _checked(path, picture, finite):
    if 0 in picture.pixels.shape:
        raise FileError(f"cannot read {path}: expected sides >= 1, got {picture.size[0]} x {picture.size[1]}")
    if finite and picture.pixels.dtype.kind == "f":
        for samples in (picture.pixels, picture.alpha):
            if samples is not None and not np.isfinite(samples).all():
                raise FileError(f"cannot read {path}: it has NaN or infinite pixels")
    return picture


def check_output(path, bits=8, alpha=False, size=(1, 1)):
    """FileError unless `path` can be written and its format holds such a picture of size (height, width)."""
    extension = os.path.splitext(path)[1].lower()
    if extension not in _WRITABLE:
        raise FileError(f"cannot write {path}: unknown extension {extension!r}, expected one of {', '.join(_WRITABLE)}")
    name, depths, holds_alpha, _ = _WRITABLE[extension]
    fitting = [e for e, (_, d, a, _) in _WRITABLE.items() if bits in d and (a or not alpha)]
    if bits not in depths:
        raise FileError(f"cannot write {path}: {name} does not hold {bits} bits per channel as the input has, use {' or '.join(fitting)}")
    if alpha and not holds_alpha:
        raise FileError(f"cannot write {path}: {name} does not hold the alpha channel of the input, use {' or '.join(fitting)}")
    if name == "JPEG" and max(size) > _JPEG_SIDE:
        raise FileError(f"cannot write {path}: JPEG holds at most {_JPEG_SIDE} pixels a side, got {size[0]} x {size[1]}, use .png or .tif")
    check_folder(path)


def losses(path, picture):
    """What the format of `path` cannot hold of the picture and may be lost, one text each."""
    name = _WRITABLE[os.path.splitext(path)[1].lower()][0]
    if picture.icc and name in _WITHOUT_PROFILE:
        yield f"{name} does not hold the colour profile of the input"
    yield from metadata.losses(picture.metadata, name)
    if picture.stored is not None and picture.stored.header is not None and name != "FITS":
        yield f"{name} does not hold the FITS header of the input"
    if picture.extra is not None and name != "TIFF":
        count = picture.extra.shape[2]
        yield f"{name} does not hold the {'sample' if count == 1 else f'{count} samples'} of unspecified meaning of the input"
    chunks = dict(picture.chunks)
    chunks.pop(b"sBIT", None)
    if b"cICP" not in chunks and (picture.icc or b"sRGB" in chunks):  # the profile goes before the others; sRGB is what everybody assumes
        chunks = {}
    chunks.pop(b"sRGB", None)
    if chunks and name != "PNG":
        yield f"{name} does not hold the {', '.join(c.decode('ascii') for c in chunks)} of the input, which say what its colours mean"


def write_image(path, picture):
    """Writes a Picture; the file is the old one or the whole new one, never a part."""
    check_output(path, picture.bits, picture.alpha is not None, picture.size)
    name, _, _, options = _WRITABLE[os.path.splitext(path)[1].lower()]
    with replacing(path) as file:
        if name == "TIFF":
            tiff.write_tiff(file, path, picture)
        elif name in ("FITS", "NPY"):
            arrays.write_array(file, path, picture, name == "FITS")
        elif name == "PNG":
            file.write(_png(path, picture.unassociated()))
        else:
            if picture.icc and name not in _WITHOUT_PROFILE:
                options = {**options, "icc_profile": picture.icc}
            if name == "JPEG":
                options = {**options, **metadata.jpeg_options(picture.metadata)}
            elif picture.metadata.resolution is not None:
                options = {**options, "dpi": picture.metadata.resolution}
            file.write(_encoded(picture.pixels, name, options))


def _encoded(a, name, options):
    """The bytes of a file by Pillow; on the way to a file of its own it loses the reason why that cannot be written."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(a[..., 0] if a.shape[2] == 1 else a).save(buffer, name, **options)
    return buffer.getbuffer()


def _png(path, picture):
    a = picture.pixels if picture.alpha is None else np.concatenate([picture.pixels, picture.alpha[..., None]], 2)
    chunks = picture.chunks
    if picture.depth:  # a PNG of so many bits has its values spread over all 16, and says how many count
        a = (a << (16 - picture.depth)) | (a >> (2 * picture.depth - 16))
        chunks = (*chunks, (b"sBIT", bytes([picture.depth] * picture.channels)))
    chunks = [*png.fitting(chunks, picture.channels, a.shape[2]), *metadata.png_chunks(picture.metadata)]
    if picture.pixels.itemsize == 2:
        a = np.ascontiguousarray(a[..., 0] if a.shape[2] == 1 else a)
        return png.with_chunks(library("imagecodecs", path).png_encode(a), chunks, picture.icc)
    return png.with_chunks(_encoded(a, "PNG", {}), chunks, picture.icc)
