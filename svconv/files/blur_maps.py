"""Blur maps in files: the radius of the disk of defocus at every pixel."""
import math
import os

import numpy as np

from svconv.files import png
from svconv.files.errors import FileError, reason
from svconv.files.images import check_output, read_image, write_image
from svconv.files.limits import MAX_PIXELS
from svconv.files.picture import Picture

STEP = 1 / 256      # pixels of radius that a PNG file counts in
LARGEST = 16384.0   # pixels of radius, as in `svconv.disk_blur`
KEYWORD = "svconv:radius-scale"     # of the text in a PNG that says what its values are to be multiplied by
EXACT = (".tif", ".tiff", ".fits", ".fit", ".npy")


def read_blur_map(path, scale=None, max_pixels=MAX_PIXELS, hdu=None):
    """The radii in pixels in a file, float32 [H, W]: scale x the stored value. Any format of `read_image`, in grey and without alpha.

    Args:
        scale: None: what the file says (`stored_scale`), else 1.
        hdu: the number of the image of a FITS file.
    """
    if scale is not None and not 0 < scale < math.inf:
        raise ValueError(f"scale: expected a number > 0, got {scale}")
    picture = read_image(path, max_pixels, hdu=hdu)
    if picture.channels != 1:
        raise FileError(f"blur map {path}: it has colours or a palette, expected grey values")
    if picture.alpha is not None or picture.extra is not None:
        raise FileError(f"blur map {path}: it has alpha or further samples beside its grey values, expected none")
    scale = (stored_scale(path) or 1.0) if scale is None else scale
    radius = (picture.pixels[..., 0].astype(np.float64) * scale).astype(np.float32)
    low, high = float(radius.min()), float(radius.max())
    if low < 0 or not high <= LARGEST:
        raise FileError(f"blur map {path}: expected radii of 0 to {LARGEST:g} pixels, got {low:g} to {high:g}")
    return radius


def stored_scale(path):
    """What the file says that its values are to be multiplied by, or None: only PNG files that `write_blur_map` wrote say it."""
    try:
        with open(path, "rb") as file:
            if file.read(len(png.SIGNATURE)) != png.SIGNATURE:
                return None
        text = png.read_text(path, KEYWORD)
    except OSError as error:
        raise FileError(f"cannot read {path}: {reason(error)}") from error
    if text is None:
        return None
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if not 0 < scale < math.inf:
        raise FileError(f"blur map {path}: its text {KEYWORD} is {text!r}, expected a number > 0")
    return scale


def check_fits(path, radius, picture):
    """FileError unless the map has the size of the picture."""
    if radius.shape != picture.size:
        (height, width), (rows, columns) = picture.size, radius.shape
        raise FileError(f"blur map {path}: expected {width} x {height} pixels like the photograph, got {columns} x {rows} "
                        "(--resize-map resamples it)")


def check_map_output(path):
    """FileError unless `write_blur_map` can write there."""
    extension = os.path.splitext(path)[1].lower()
    if extension not in (".png", *EXACT):
        raise FileError(f"cannot write {path}: unknown extension {extension!r} of a blur map, expected one of .png, {', '.join(EXACT)}")
    check_output(path, bits=16 if extension == ".png" else 32)


def write_blur_map(path, radius):
    """Writes radii [H, W] >= 0: .png as 16-bit grey in 1/256 pixel (coarser if they do not fit), with that scale in it; TIFF, FITS and
    .npy as they are, in float32."""
    radius = np.asarray(radius, np.float32)
    check_map_output(path)
    if os.path.splitext(path)[1].lower() != ".png":
        write_image(path, Picture(radius[..., None]))
        return
    scale = STEP
    while radius.max(initial=0) > 65535 * scale:
        scale *= 2
    values = np.rint(radius / np.float32(scale)).clip(0, 65535).astype(np.uint16)
    write_image(path, Picture(values[..., None], chunks=(png.text_chunk(KEYWORD, repr(scale)),)))
