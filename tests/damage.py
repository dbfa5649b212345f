"""Tiny files of every readable type, damaged copies of them, and how far the memory of this process rose."""
import io
import struct
import threading
import zlib

import imagecodecs
import numpy as np
import tifffile
import torch
from PIL import Image

Y, X = np.mgrid[:24, :32]
PHOTO = np.stack([128 + 100 * np.sin(X / 4 + c) * np.cos(Y / 5) for c in range(3)], 2).astype(np.uint8)
DEEP = PHOTO.astype(np.uint16) * 257
CLAIMS = (0, 1, 2, 3, 16, 255, 65535, 100_000, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63)


def saved(kind, mode="RGB", **options):
    """The bytes of PHOTO by Pillow; mode "P" is a palette of 16 colours."""
    image, buffer = Image.fromarray(PHOTO), io.BytesIO()
    image = image.quantize(16) if mode == "P" else image.convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(PHOTO[..., 0]))
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(a, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, a, photometric=options.pop("photometric", "rgb" if a.ndim == 3 else "minisblack"), **options)
    return buffer.getvalue()


def npy(a):
    buffer = io.BytesIO()
    np.save(buffer, a)
    return buffer.getvalue()


def archive():
    buffer = io.BytesIO()
    torch.save({"a": torch.rand(20), "b": [1, "x"], "c": {"d": torch.ones(3, 4)}}, buffer)
    return buffer.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved("JPEG", exif=exif)


SAMPLES = {
    "rgb.png": lambda: saved("PNG"), "alpha.png": lambda: saved("PNG", "RGBA"), "palette.png": lambda: saved("PNG", "P", transparency=3),
    "one-bit.png": lambda: saved("PNG", "1"), "deep.png": lambda: imagecodecs.png_encode(DEEP),
    "deep-alpha.png": lambda: imagecodecs.png_encode(np.dstack([DEEP, DEEP[..., :1]])),
    "deep-grey.png": lambda: imagecodecs.png_encode(DEEP[..., 0].copy()),
    "rgb.jpg": lambda: saved("JPEG"), "progressive.jpg": lambda: saved("JPEG", progressive=True), "grey.jpg": lambda: saved("JPEG", "L"),
    "turned.jpg": turned, "two.mpo": lambda: saved("MPO", save_all=True, append_images=[Image.fromarray(PHOTO[::2, ::2])]),
    "rgb.tif": lambda: tiff(PHOTO), "deflate.tif": lambda: tiff(DEEP, compression="zlib"),
    "packed.tif": lambda: tiff(DEEP[..., 0] >> 4, bitspersample=12), "tiled.tif": lambda: tiff(DEEP, tile=(16, 16)),
    "four-bits.tif": lambda: tiff(PHOTO[..., 0] >> 4, bitspersample=4), "lzw.tif": lambda: saved("TIFF", compression="tiff_lzw"),
    "float.tif": lambda: tiff((PHOTO / 255).astype(np.float32), predictor=True, compression="zlib"),
    "jpeg.tif": lambda: tiff(PHOTO, photometric="ycbcr", compression="jpeg"), "palette.tif": lambda: saved("TIFF", "P"),
    "fax.tif": lambda: saved("TIFF", "1", compression="group4"), "zstandard.tif": lambda: tiff(DEEP, compression="zstd"),
    "jpeg2000.tif": lambda: tiff(DEEP, compression="jpeg2000"), "big.tif": lambda: tiff(DEEP, bigtiff=True),
    "planar.tif": lambda: tiff(np.moveaxis(DEEP, 2, 0).copy(), photometric="rgb", planarconfig="separate", byteorder=">"),
    "rgb.bmp": lambda: saved("BMP"), "palette.bmp": lambda: saved("BMP", "P"), "palette.gif": lambda: saved("GIF", "P"),
    "lossy.webp": lambda: saved("WEBP"), "lossless.webp": lambda: saved("WEBP", lossless=True), "alpha.webp": lambda: saved("WEBP", "RGBA"),
    "kernel.npy": lambda: npy(np.eye(5, 7) + 1), "colour.npy": lambda: npy(np.ones((5, 7, 3), np.float32)),
    "fortran.npy": lambda: npy(np.asfortranarray(np.ones((5, 7), np.uint8))), "archive.pt": archive,
}


def damaged(data, rng, checksums):
    """One damaged copy: cut, up to 8 bits flipped, or a field, more often one near the beginning, replaced.

    checksums: those of a PNG are mostly made to fit again, so that what they protect is looked at.
    """
    kind, out = rng.integers(4), bytearray(data)
    if kind == 0:
        return data[: rng.integers(len(data))]
    if kind == 1:
        for _ in range(rng.integers(1, 9)):
            out[rng.integers(len(out))] ^= 1 << rng.integers(8)
    else:
        width, order = int(rng.choice([1, 2, 4, 8])), "little" if rng.integers(2) else "big"
        place = int(rng.integers(min(len(out), 400) if rng.integers(2) else len(out)))
        field = (int(rng.choice(np.array(CLAIMS, np.uint64))) % 256**width).to_bytes(width, order)
        out[place : place + width] = field[: len(out) - place]
    return checked(out) if checksums and rng.integers(4) else bytes(out)


def checked(data):
    """A PNG with the right checksums."""
    out, at = bytearray(data), 8
    while at + 12 <= len(out) and (end := at + 8 + int.from_bytes(out[at : at + 4], "big")) + 4 <= len(out):
        out[end : end + 4] = struct.pack(">I", zlib.crc32(out[at + 4 : end]))
        at = end + 4
    return bytes(out)


class Peak:
    """with Peak() as peak: ...; peak.bytes is then how far the memory of this process rose, 0 where Linux does not say."""

    def __enter__(self):
        self.bytes = 0
        try:
            with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
                file.write("5")
            self.start = self._status("VmRSS")
        except OSError:
            self.start = None
        return self

    def __exit__(self, *_):
        if self.start is not None:
            self.bytes = self._status("VmHWM") - self.start

    def _status(self, name):
        with open("/proc/self/status", encoding="ascii") as file:
            return 1024 * next(int(line.split()[1]) for line in file if line.startswith(name))


class AnonymousPeak(Peak):
    """As `Peak`, of the memory that is no file's; looked at every few milliseconds."""

    def __enter__(self):
        self.bytes, self.start, self._end = 0, self._status("RssAnon"), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _watch(self):
        while not self._end.wait(0.003):
            self.bytes = max(self.bytes, self._status("RssAnon") - self.start)
