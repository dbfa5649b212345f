"""PSF grids in files: a measured or computed PSF for each of rows x columns patches of the image, .npy or FITS."""
import math

import numpy as np

from svconv.files import fits, npy
from svconv.files.errors import FileError, alone_and_quiet, check_regular, reason
from svconv.files.limits import MAX_KERNEL_PIXELS

LAYOUTS = "[rows, columns, kh, kw], [R, kh, kw] with --grid, or with 3 colours as the last axis, or the first of [3, rows, columns, kh, kw]"


def read_psf_grid(path, grid=None, hdu=None, max_pixels=MAX_KERNEL_PIXELS):
    """(PSFs float64 [1 or 3, R, kh, kw], (rows, columns)), R = rows x columns, row by row, each PSF of sum 1.

    Args:
        grid: (rows, columns), which an array [R, kh, kw] does not say itself; must fit any other.
        hdu: the number of the image of a FITS file.
    """
    try:
        check_regular(path)
        with open(path, "rb") as file:
            head = file.read(len(fits.SIGNATURE))
        with alone_and_quiet():
            psfs = _array(path, head, 3 * max_pixels, hdu)
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cannot read {path}: {reason(error)}") from error
    except MemoryError as error:
        raise FileError(f"cannot read {path}: it needs more memory than there is") from error
    if psfs.dtype.kind not in "buif":
        raise FileError(f"PSF grid {path}: expected real numbers, got {psfs.dtype}")
    psfs, grid = _arranged(path, psfs.astype(np.float64, copy=False), grid)
    sums = psfs.sum((-2, -1))
    _check_values(path, psfs, sums, grid)
    psfs /= sums[..., None, None]
    return (psfs[:1] if (psfs == psfs[:1]).all() else psfs), grid


def _array(path, head, most, hdu):
    if head.startswith(npy.SIGNATURE):
        return npy.read_npy(path, most, "PSF grid")
    if head == fits.SIGNATURE:
        return fits.read_fits(path, most, hdu, "--psf-hdu")[0]
    raise FileError(f"cannot read {path}: expected a PSF grid as .npy or FITS, got neither")


def _arranged(path, a, grid):
    """([1 or 3, R, kh, kw], (rows, columns))"""
    found = _readings(a, grid)
    if len(found) > 1:
        raise FileError(f"PSF grid {path}: {list(a.shape)} is ambiguous, " + (
            "--grid says how many rows and columns there are" if grid is None else "its last axis may be colours or the PSFs' width"))
    if not found:
        if a.ndim == 3 and grid is None:
            raise FileError(f"PSF grid {path}: {len(a)} PSFs, expected --grid RxC, which says how they stand")
        text = "" if grid is None else f" for {grid[0]} x {grid[1]} patches"
        raise FileError(f"PSF grid {path}: expected {LAYOUTS}{text}, got {list(a.shape)}")
    (a, grid), = found
    if 0 in a.shape:
        raise FileError(f"PSF grid {path}: expected sides >= 1, got {list(a.shape)}")
    return a.reshape(len(a), grid[0] * grid[1], *a.shape[-2:]), grid


def _readings(a, grid):
    """Every ([colours, R or rows, columns, kh, kw], (rows, columns)) that the shape and the grid allow."""
    n, found = a.ndim, []
    if n == 2:
        found.append((a[None, None], (1, 1)))
    elif n == 3 and (grid or len(a) == 1):
        found.append((a[None], grid or (1, 1)))
    elif n == 4:
        found.append((a[None], a.shape[:2]))
        if a.shape[3] == 3 and grid != a.shape[:2]:
            found.append((np.moveaxis(a, 3, 0), grid))
    elif n == 5:
        if a.shape[4] == 3:
            found.append((np.moveaxis(a, 4, 0), a.shape[:2]))
        if a.shape[0] == 3:
            found.append((a, a.shape[1:3]))
    if grid is not None:
        found = [(psfs, own) for psfs, own in found if tuple(own) == grid and psfs.size == len(psfs) * math.prod((*grid, *psfs.shape[-2:]))]
    return found


def _check_values(path, psfs, sums, grid):
    for wrong, expected in ((~np.isfinite(psfs).all((-2, -1)), "finite values, got NaN or infinity"), (~(sums > 0), "a sum > 0, got {:g}")):
        if wrong.any():
            colour, patch = np.argwhere(wrong)[0]
            place = f"patch {patch} (row {patch // grid[1]}, column {patch % grid[1]}{f', colour {colour}' if len(psfs) > 1 else ''})"
            raise FileError(f"PSF grid {path}: {place}: expected {expected.format(sums[colour, patch])}")


def check_fits(path, psfs, grid, picture):
    """FileError unless patches and PSFs are no larger than the image, and there is one colour or as many as it has."""
    size, image = psfs.shape[-2:], picture.size
    if grid[0] > image[0] or grid[1] > image[1]:
        raise FileError(f"PSF grid {path}: expected at most as many patches as pixels ({image[0]} x {image[1]} rows x columns), got "
                        f"{grid[0]} x {grid[1]}")
    if size[0] > image[0] or size[1] > image[1]:
        raise FileError(f"PSF grid {path}: PSFs of {size[0]} x {size[1]} pixels (rows x columns) are larger than the image of "
                        f"{image[0]} x {image[1]}")
    if len(psfs) > picture.channels:
        raise FileError(f"PSF grid {path}: it has 3 colours but the image is grey")
