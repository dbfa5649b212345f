"""Measured blur kernels from files, as training draws them."""
import pathlib

import torch

from svconv.data.photographs import SUFFIXES
from svconv.files import read_kernel


def measured_kernels(source, most):
    """The kernels of a folder (all below it, sorted by name; hidden ones left out) or of a list of files that have no side above `most`.

    Args:
        source: a folder with .npy files and pictures, or a list of such files; each holds one kernel (`svconv.files.read_kernel`).
        most: largest side in pixels.

    Returns:
        A list of float32 [k, k] of sum 1, k odd: colours averaged, zeros at the ends where a side was even or shorter, the centre k // 2
        where it was.

    Raises:
        ValueError: no such folder, no kernel that is small enough. FileError: a file that holds no kernel.
    """
    files = list(source) if isinstance(source, (list, tuple)) else _listed(pathlib.Path(source))
    kernels = [torch.from_numpy(read_kernel(file).mean(0)) for file in files]
    found = [_squared(k).float() for k in kernels if max(k.shape) <= most]
    if not found:
        raise ValueError(f"measured: expected kernels with sides of at most {most} pixels, got {len(files)} files without one")
    return found


def _listed(folder):
    if not folder.is_dir():
        raise ValueError(f"measured: {folder} is not a folder")
    paths = sorted((p for p in folder.rglob("*") if p.suffix.lower() in (".npy", *SUFFIXES) and p.is_file()),
                   key=lambda p: p.relative_to(folder).as_posix())
    return [p for p in paths if not any(part.startswith(".") for part in p.relative_to(folder).parts)]


def _squared(kernel):
    """A kernel [kh, kw] inside of zeros of its larger side, made odd, its centre (kh // 2, kw // 2) in the middle."""
    side = max(kernel.shape) // 2 * 2 + 1
    top, left = (side // 2 - n // 2 for n in kernel.shape)
    out = kernel.new_zeros(side, side)
    out[top:top + kernel.shape[0], left:left + kernel.shape[1]] = kernel
    return out
