"""Photographs in and out: 8 and 16 bit, grey and colour, alpha, colour profile.

Pillow reads and writes what has 8 bits; 16-bit PNG (imagecodecs) and 16-bit or float TIFF (tifffile) go past it, because it keeps 8 bits
of their colours.
"""
import dataclasses
import os
import struct
import zlib

import numpy as np

from svconv.files.errors import FileError, reason
from svconv.files.outputs import check_folder, replacing

READABLE = ("PNG", "JPEG", "MPO", "TIFF", "BMP", "GIF", "WEBP")
_READS = "PNG, JPEG, TIFF, BMP, GIF or WebP"
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# extension -> (Pillow's format, bits it can hold, holds alpha, options)
_WRITABLE = {
    ".png": ("PNG", (8, 16), True, {}),
    ".tif": ("TIFF", (8, 16, 32), True, {"compression": "tiff_deflate"}),
    ".tiff": ("TIFF", (8, 16, 32), True, {"compression": "tiff_deflate"}),
    ".jpg": ("JPEG", (8,), False, {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", (8,), False, {"quality": 95, "subsampling": 0}),
    ".bmp": ("BMP", (8,), False, {}),
}


@dataclasses.dataclass
class Picture:
    """An image as stored: pixels [H, W, 1|3] and alpha [H, W] or None, both uint8, uint16 or float32; icc: colour profile or None."""

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    icc: bytes | None = None

    @property
    def bits(self):
        return 8 * self.pixels.itemsize

    @property
    def channels(self):
        return self.pixels.shape[2]

    @property
    def size(self):
        """(height, width)"""
        return self.pixels.shape[:2]

    @property
    def scale(self):
        """The stored value that becomes 1.0: full scale of the integers; the largest value of a float image."""
        if self.pixels.dtype.kind == "u":
            return float(np.iinfo(self.pixels.dtype).max)
        return float(np.abs(self.pixels).max()) or 1.0

    def plane(self, channel):
        """One channel as a float32 tensor [1, 1, H, W], full scale = 1."""
        import torch

        return torch.from_numpy(np.multiply(self.pixels[..., channel], np.float32(1 / self.scale), dtype=np.float32))[None, None]

    def empty(self):
        """A picture like this one whose pixels are still to be filled with `set_plane`."""
        return dataclasses.replace(self, pixels=np.empty_like(self.pixels))

    def set_plane(self, channel, x, scale):
        """Stores a float tensor of H x W values; integers are rounded and clipped."""
        values = x.detach().reshape(self.size).cpu().numpy() * np.float32(scale)
        if not np.isfinite(values).all():
            raise FloatingPointError("the restored image has NaN or infinite pixels")
        if self.pixels.dtype.kind == "u":
            values = np.rint(values.clip(0, np.iinfo(self.pixels.dtype).max))
        self.pixels[..., channel] = values


def read_image(path):
    """The Picture in a file, upright; palettes become RGB. FileError for anything that is not one still image in grey or RGB."""
    try:
        with open(path, "rb") as file:
            head = file.read(26)
        if head[:4] in _TIFF and (picture := _read_deep_tiff(path)):
            return picture
        return _read_with_pillow(path, deep=head[:8] == _PNG and head[24:25] == b"\x10")
    except FileError:
        raise
    except OSError as error:
        text = "not an image" if type(error).__name__ == "UnidentifiedImageError" else reason(error)
        hint = f" (svconv reads {_READS})" if text == "not an image" else ""
        raise FileError(f"cannot read {path}: {text}{hint}") from error
    except (SyntaxError, ValueError, EOFError, zlib.error, struct.error) as error:  # what Pillow's plugins raise for damaged files
        raise FileError(f"cannot read {path}: the file is damaged ({reason(error)})") from error


def _read_with_pillow(path, deep):
    from PIL import Image, ImageOps

    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # large photographs are what people have; the file is their own
    try:
        Image.init()
        # an open file, not its name: Pillow maps a named plain TIFF into memory and then mixes up the sides of one that lies on its side
        with open(path, "rb") as file, Image.open(file, formats=[f for f in READABLE if f in Image.OPEN]) as image:
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":  # MPO: a camera's JPEG with previews behind the photograph
                raise FileError(f"cannot read {path}: it holds {frames} pictures (an animation or several pages), expected one")
            icc, mode = image.info.get("icc_profile"), image.mode
            if deep:
                return _picture(path, _oriented(_decode_png(path), image.getexif().get(0x0112, 1)), icc)
            if mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
                raise FileError(f"cannot read {path}: colour mode {mode} is not supported, expected grey or RGB")
            alpha = mode.endswith("A") or "transparency" in image.info
            upright = ImageOps.exif_transpose(image)
            grey = mode in ("1", "L", "LA")
            return _picture(path, np.asarray(upright.convert(("LA" if alpha else "L") if grey else ("RGBA" if alpha else "RGB"))), icc)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _decode_png(path):
    codecs = _library("imagecodecs", path)
    with open(path, "rb") as file:
        data = file.read()
    try:
        return codecs.png_decode(data)
    except codecs.PngError as error:
        raise FileError(f"cannot read {path}: the file is damaged ({reason(error)})") from error


def _read_deep_tiff(path):
    """The Picture of a TIFF with more than 8 bits, None for the others (Pillow reads them)."""
    tifffile = _library("tifffile", path)
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            if page.dtype is None or page.dtype.itemsize == 1:
                return None
            if len(tiff.pages) > 1:
                raise FileError(f"cannot read {path}: it holds {len(tiff.pages)} pictures (several pages), expected one")
            if page.dtype.kind == "f":
                kind = np.float32
            elif page.dtype == np.uint16:
                kind = np.uint16
            else:
                raise FileError(f"cannot read {path}: pixels of type {page.dtype} are not supported, expected 8 or 16 bits or float")
            if page.photometric not in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB):
                raise FileError(f"cannot read {path}: colour mode {page.photometric.name} is not supported, expected grey or RGB")
            a = page.asarray().astype(kind, copy=False)
            if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and a.ndim == 3:
                a = np.moveaxis(a, 0, -1)
            orientation = page.tags["Orientation"].value if "Orientation" in page.tags else 1
            return _picture(path, _oriented(a, orientation), page.iccprofile)
    except OSError:
        raise
    except Exception as error:  # tifffile and the codecs behind it raise errors of many types for damaged files
        raise FileError(f"cannot read {path}: the file is damaged ({reason(error)})") from error


def _library(name, path):
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise FileError(f"{path}: this kind of file needs the package {name} (pip install {name})") from error


def _picture(path, a, icc):
    a = a[..., None] if a.ndim == 2 else a
    if a.ndim != 3 or a.shape[2] not in (1, 2, 3, 4) or 0 in a.shape:
        raise FileError(f"cannot read {path}: expected grey or RGB with or without alpha, got an array of shape {a.shape}")
    if a.dtype.kind == "f" and not np.isfinite(a).all():
        raise FileError(f"cannot read {path}: it has NaN or infinite pixels")
    colours = 1 if a.shape[2] < 3 else 3
    return Picture(np.ascontiguousarray(a[..., :colours]), a[..., colours].copy() if a.shape[2] > colours else None, icc)


def _oriented(a, orientation):
    """The upright image of an array with EXIF orientation 1..8."""
    if orientation in (2, 7):
        a = a[:, ::-1]
    if orientation in (4, 5):
        a = a[::-1]
    turns = {3: 2, 5: 3, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.rot90(a, turns)


def check_output(path, bits=8, alpha=False):
    """FileError unless `path` can be written and its format holds such a picture."""
    extension = os.path.splitext(path)[1].lower()
    if extension not in _WRITABLE:
        raise FileError(f"cannot write {path}: unknown extension {extension!r}, expected one of {', '.join(_WRITABLE)}")
    name, depths, holds_alpha, _ = _WRITABLE[extension]
    fitting = [e for e, (_, d, a, _) in _WRITABLE.items() if bits in d and (a or not alpha)]
    if bits not in depths:
        raise FileError(f"cannot write {path}: {name} does not hold {bits} bits per channel as the input has, use {' or '.join(fitting)}")
    if alpha and not holds_alpha:
        raise FileError(f"cannot write {path}: {name} does not hold the alpha channel of the input, use {' or '.join(fitting)}")
    check_folder(path)


def write_image(path, picture):
    """Writes a Picture; the file is the old one or the whole new one, never a part."""
    check_output(path, picture.bits, picture.alpha is not None)
    name, _, _, options = _WRITABLE[os.path.splitext(path)[1].lower()]
    a = picture.pixels if picture.alpha is None else np.concatenate([picture.pixels, picture.alpha[..., None]], 2)
    a = a[..., 0] if a.shape[2] == 1 else a
    with replacing(path) as file:
        if picture.bits == 8:
            from PIL import Image

            if picture.icc:
                options = {**options, "icc_profile": picture.icc}
            Image.fromarray(a).save(file, name, **options)
        elif name == "PNG":
            file.write(_with_profile(_library("imagecodecs", path).png_encode(a), picture.icc))
        else:
            tifffile = _library("tifffile", path)
            tifffile.imwrite(
                file,
                a,
                photometric="rgb" if picture.channels == 3 else "minisblack",
                planarconfig="contig" if a.ndim == 3 else None,
                extrasamples=None if picture.alpha is None else ["unassalpha"],
                compression="zlib",
                iccprofile=picture.icc or None,
                metadata=None,
            )


def _with_profile(png, icc):
    """A PNG file with an iCCP chunk behind its header."""
    if not icc:
        return png
    body = b"iCCP" + b"ICC profile\0\0" + zlib.compress(icc)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:33] + chunk + png[33:]
