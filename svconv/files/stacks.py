"""Stacks: many pictures of one size in a file, as pages of a TIFF or as the first axes of a FITS or NPY array."""
import dataclasses
import os
from typing import Any, NamedTuple

import numpy as np

from svconv.files import arrays, fits, images, npy, tiff
from svconv.files.errors import FileError, alone_and_quiet, check_regular, reason
from svconv.files.limits import MAX_PIXELS
from svconv.files.metadata import Metadata
from svconv.files.outputs import replacing
from svconv.files.picture import Picture

KINDS = {".tif": "TIFF", ".tiff": "TIFF", ".fits": "FITS", ".fit": "FITS", ".npy": "NPY"}


class Stack(NamedTuple):
    """Pictures of one size.

    Attributes:
        slices: [N, H, W] or in colour [N, H, W, 3].
        shape: the axes before those of a picture, of N elements in all.
        header: of FITS, or None. depth, icc, metadata: of TIFF, as in `Picture`.
    """

    slices: np.ndarray
    shape: tuple
    header: Any = None
    depth: int | None = None
    icc: bytes | None = None
    metadata: Metadata = Metadata()

    def whole(self):
        """All slices as one high Picture, for what is to be known of them together."""
        return self._picture(self.slices.reshape(-1, *self.slices.shape[2:]))

    def one(self, number):
        """A slice as a Picture."""
        return self._picture(self.slices[number])

    def _picture(self, a):
        a, held, stored = arrays.arranged("a slice", a, False)
        return Picture(np.ascontiguousarray(a, held), depth=self.depth, stored=stored)


def read_stack(path, max_pixels=MAX_PIXELS, hdu=None):
    """The Stack in a TIFF, FITS or NPY file; FileError for other kinds, for one picture, or for more than max_pixels in all."""
    images.check_kind(path)
    try:
        check_regular(path)
        with open(path, "rb") as file:
            head = file.read(9)
        with alone_and_quiet():
            if head[:4] in tiff.STARTS:
                return _checked(path, Stack(*tiff.read_pages(path, max_pixels)))
            if not head.startswith(arrays.STARTS):
                raise FileError(f"cannot read {path}: expected a stack in a TIFF, FITS or NPY file")
            if head.startswith(fits.SIGNATURE):
                a, header = fits.read_fits(path, 3 * max_pixels, hdu)
                return _checked(path, Stack(a.reshape(-1, *a.shape[-2:]), a.shape[:-2], header))
            a = npy.read_npy(path, 3 * max_pixels, "stack")
            own = 3 if a.ndim > 3 and a.shape[-1] == 3 else 2
            return _checked(path, Stack(a.reshape(-1, *a.shape[-own:]), a.shape[:-own]))
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cannot read {path}: {reason(error)}") from error


def _checked(path, stack):
    if not stack.shape or 0 in stack.slices.shape:
        raise FileError(f"cannot read {path}: expected several pictures, got an array {[*stack.shape, *stack.slices.shape[1:]]} (one "
                        "picture needs no --stack)")
    arrays.arranged(path, stack.slices[0], False)      # types that are no numbers
    return stack


def write_slice(path, stack, number):
    """A slice as a file of its own, of the kind that the name of `path` says, with the FITS header but not the texts of the stack."""
    a = stack.slices[number]
    with replacing(path) as file:
        if KINDS[os.path.splitext(path)[1]] == "TIFF":
            tiff.write_tiff(file, path, Picture(np.atleast_3d(a), icc=stack.icc, depth=stack.depth))
        elif stack.header is not None:
            fits.write_fits(file, path, a, stack.header)
        else:
            npy.write_npy(file, a)


def check_stack_output(path):
    """FileError unless a stack can be written there."""
    extension = os.path.splitext(path)[1].lower()
    if extension not in KINDS:
        raise FileError(f"cannot write {path}: a stack is written to {', '.join(KINDS)}, got {extension!r}")
    images.check_output(path)


def write_stack(path, paths, stack):
    """The slices in the files `paths`, which have the extension of `path`, as one file like the one that `stack` was read from."""
    kind = KINDS[os.path.splitext(path)[1].lower()]
    with replacing(path) as file:
        if kind == "TIFF":
            pictures = (images.read_image(name) for name in paths)
            tiff.write_tiff(file, path, *(dataclasses.replace(picture, metadata=stack.metadata) for picture in pictures))
            return
        parts = [fits.read_fits(name, 1 << 62)[0] if kind == "FITS" else npy.read_npy(name, 1 << 62, "slice") for name in paths]
        whole = np.stack(parts).reshape(*stack.shape, *parts[0].shape)
        if kind == "FITS":
            fits.write_fits(file, path, whole, stack.header)
        else:
            npy.write_npy(file, whole)
