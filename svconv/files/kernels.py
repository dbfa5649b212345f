"""Blur kernels in files: .npy (exact) or an image (grey values)."""
import os

import numpy as np

from svconv.files import fits, npy
from svconv.files.errors import FileError, check_regular, reason
from svconv.files.images import check_output, read_image, write_image
from svconv.files.limits import MAX_KERNEL_PIXELS
from svconv.files.outputs import check_folder, replacing
from svconv.files.picture import Picture

LARGE = 32          # pixels: smaller images are taken for kernels whatever they show, uniform ones too


def read_kernel(path, max_pixels=MAX_KERNEL_PIXELS):
    """The kernel in a file: float64 [1 or 3, kh, kw], each channel of sum 1. Arrays may be [kh, kw], [kh, kw, 3] or [3, kh, kw]."""
    try:
        check_regular(path)
        with open(path, "rb") as file:
            head = file.read(len(fits.SIGNATURE))
        if head == fits.SIGNATURE:
            raise FileError(f"cannot read {path}: it is FITS, which is not an image of a kernel here (expected .npy or grey values)")
        is_array = head.startswith(npy.SIGNATURE)
        k = npy.read_npy(path, 3 * max_pixels) if is_array else _read_picture(path, max_pixels)
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cannot read {path}: {reason(error)}") from error
    if k.dtype.kind not in "buif":
        raise FileError(f"kernel {path}: expected real numbers, got {k.dtype}")
    k = _channels_first(path, k.astype(np.float64))
    if not np.isfinite(k).all():
        raise FileError(f"kernel {path}: it has NaN or infinite values")
    if not (sums := k.sum((1, 2))).min() > 0:
        raise FileError(f"kernel {path}: expected a sum > 0, got {sums.min():g}")
    return with_sum_one(k)


def with_sum_one(k):
    """Kernels [C, kh, kw] as float64, each of sum 1."""
    k = k.astype(np.float64)
    return k / k.sum((1, 2), keepdims=True)


def _read_picture(path, max_pixels):
    """The values of an image, 0 where it is transparent."""
    picture = read_image(path, max_pixels)
    values = picture.pixels if picture.alpha is None else np.where(picture.alpha[..., None] > 0, picture.pixels, 0)
    if min(values.shape[:2]) > LARGE:
        inside, outside = values[1:-1, 1:-1].mean(), np.concatenate([values[[0, -1]].ravel(), values[:, [0, -1]].ravel()]).mean()
        if outside > inside / 3:
            raise FileError(f"kernel {path}: an image of {values.shape[0]} x {values.shape[1]} pixels that does not grow dark towards its "
                            "edges is a photograph rather than a blur kernel (.npy is taken as it is)")
    return values


def off_centre(kernel):
    """(down, right) in pixels from the middle (kh // 2, kw // 2) to the centre of mass of [1 or 3, kh, kw]."""
    weight = kernel.mean(0)
    return tuple(float((weight.sum(1 - axis) * np.arange(n)).sum() / weight.sum() - n // 2) for axis, n in enumerate(weight.shape))


def recentred(kernel):
    """The kernel with its centre of mass within half a pixel of its middle: moved by whole pixels among zeros, odd sides."""
    down, right = (round(shift) for shift in off_centre(kernel))
    for axis, shift in ((1, down), (2, right)):
        n = kernel.shape[axis]
        before, after = max(0, n - 1 - 2 * (n // 2 + shift)), max(0, 2 * (n // 2 + shift) - (n - 1))
        kernel = np.pad(kernel, [(0, 0)] * axis + [(before, after)] + [(0, 0)] * (2 - axis))
    return kernel


def _channels_first(path, k):
    if k.ndim == 3 and k.shape[0] == 3 and k.shape[2] in (1, 3):
        raise FileError(f"kernel {path}: {list(k.shape)} is ambiguous, it could be [kh, kw, {k.shape[2]}] or [3, kh, kw]; "
                        "a margin of zeros around the kernel makes it clear")
    if k.ndim == 2:
        k = k[None]
    elif k.ndim == 3 and k.shape[2] == 3 and k.shape[0] != 3 or k.ndim == 3 and k.shape[2] == 1:
        k = np.moveaxis(k, 2, 0)
    elif k.ndim != 3 or k.shape[0] != 3:
        raise FileError(f"kernel {path}: expected [kh, kw], [kh, kw, 3] or [3, kh, kw], got {list(k.shape)}")
    if 0 in k.shape:
        raise FileError(f"kernel {path}: expected sides >= 1, got {list(k.shape)}")
    return k[:1] if len(k) == 3 and (k == k[:1]).all() else k


def check_fits(path, kernel, picture):
    """FileError unless the kernel is no larger than the image and has one channel or as many as it."""
    size, image = kernel.shape[1:], picture.size
    if size[0] > image[0] or size[1] > image[1]:
        raise FileError(
            f"kernel {path}: {size[0]} x {size[1]} pixels (rows x columns) are larger than the image of {image[0]} x {image[1]}"
        )
    if len(kernel) > picture.channels:
        raise FileError(f"kernel {path}: it has 3 channels but the image is grey")


def check_kernel_output(path):
    if os.path.splitext(path)[1].lower() == ".npy":
        check_folder(path)
    else:
        check_output(path, bits=16)


def write_kernel(path, kernel):
    """Writes [kh, kw] or [kh, kw, 3]: .npy exactly (float32), else as 16-bit image, the largest value full scale, negative values 0."""
    kernel = np.asarray(kernel, np.float32)
    if os.path.splitext(path)[1].lower() == ".npy":
        with replacing(path) as file:
            npy.write_npy(file, kernel)
        return
    grey = np.rint(kernel.clip(0) / kernel.max() * 65535).astype(np.uint16)
    write_image(path, Picture(grey.reshape(*grey.shape[:2], -1)))
