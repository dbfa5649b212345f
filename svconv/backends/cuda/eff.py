"""Efficient filter flow in CUDA C++: one block takes a patch from its pixels to its filtered pixels in shared memory.

Patches go in batches (`svconv._eff_pieces`): `eff_transform` makes the spectra of the batch's kernels, `eff_filter` the filtered patches,
`eff_collect` adds those to the result. For the gradient in the kernels both images are transformed, and `eff_estimate` makes the kernels.
Memory beside the result: the patches of a batch and the spectra of its kernels, 32 MiB each where kernels are shared by images and channels
or there is one image. Planes have lengths without a prime factor above 7, those of their rows even; the quotients are left to Triton.
"""
import functools

import numpy as np
import torch

from svconv import _eff_tables as tables
from svconv._eff_grid import grid_of
from svconv._eff_pieces import Pieces
from svconv._fourier import fast_length
from svconv.backends.cuda.launch import TYPES, Launch, Resources, shared_limit

THREADS = 512
COLLECTING = 256
_TYPES = {dtype: TYPES[dtype] for dtype in (torch.float32, torch.float64)}


def _kernels():
    for dtype, name in _TYPES.items():
        patch = Resources(THREADS, 2 if dtype == torch.float32 else 1, _plane_bytes(160, 160, dtype))
        yield f"svconv::eff_transform<{name}>", patch
        yield f"svconv::eff_filter<{name}, false>", patch
        yield f"svconv::eff_filter<{name}, true>", patch
        yield f"svconv::eff_estimate<{name}>", patch
        yield f"svconv::eff_collect<{name}>", Resources(COLLECTING, 6)


def why_not(op, *arguments):
    """None, or the reason why these arguments are refused: a plane that is larger than the shared memory of a block."""
    image, kernel_size = arguments[0], (arguments[2] if op == "eff_bwd_kernels" else arguments[1].shape)[-2:]
    if image.dtype not in _TYPES:
        return f"computes in float32 and float64, not in {image.dtype}"
    grid, reach = grid_of(image.shape[-2:], *arguments[-4:]), [int(k) - 1 for k in kernel_size]
    height = fast_length(grid.rows.length + reach[0])
    bytes_ = _plane_bytes(height, _even(grid.columns.length + reach[1]), image.dtype)
    most = shared_limit(image.device)
    return f"patches of {bytes_ >> 10} KiB, and a block has {most >> 10} KiB of shared memory" if bytes_ > most else None


# planes -------------------------------------------------------------------------------------------------------------

def _even(n):
    """The smallest even length >= n without a prime factor above 7."""
    n = fast_length(n)
    while n % 2:
        n = fast_length(n + 1)
    return n


def _plane_bytes(height, width, dtype):
    return height * (width // 2 | 1) * 2 * dtype.itemsize


@functools.lru_cache(maxsize=64)
def _even_columns(axis, k, form, padding, dtype):
    found = tables.convolution(axis, k, form, padding, dtype)
    return found.lengthened(_even(found.length))


def _radices(n):
    """The factors of n in the order of the passes."""
    found = []
    for radix in (4, 2, 3, 5, 7):
        while n % radix == 0:
            n //= radix
            found.append(radix)
    return found


def _places(radices):
    """int32 [n]: where the passes leave each frequency; the first pass's digit counts least in a frequency and most in a place."""
    places, n = np.zeros(1, dtype=np.int32), int(np.prod(radices, dtype=np.int64))
    for radix in reversed(radices):
        places = (places[:, None] + np.arange(radix, dtype=np.int32) * len(places)).ravel()
    assert len(places) == n
    return places


def _roots(n):
    """e^(-2 pi i t / n) for all t, interleaved, float64."""
    angles = -2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(angles), np.sin(angles)], 1).ravel()


@functools.lru_cache(maxsize=64)
def _plan(size, dtype, device):
    """The last arguments of all kernels but one: tables of a plane's transforms (`plane_fft.cuh`), height, half a row, numbers of passes."""
    height, half = size[0], size[1] // 2
    rows, columns = _radices(half), _radices(height)
    table = np.concatenate([np.array(rows, np.int32), _places(rows), np.array(columns, np.int32), _places(columns)])
    with torch.inference_mode(False):
        return (torch.from_numpy(table).to(device), torch.from_numpy(np.concatenate([_roots(size[1]), _roots(height)])).to(device, dtype),
                (height, half, len(rows), len(columns)))


class _Planes(Pieces):
    """The pieces of a call and the kernels on them."""

    def __init__(self, grid, kernel_size, *options, image):
        super().__init__(grid, kernel_size, (tables.convolution, _even_columns), *options, image.dtype, image=image)
        self.type, self.device, self.dtype = _TYPES[image.dtype], image.device, image.dtype
        self.table, self.roots, self.plan = _plan(self.size, image.dtype, image.device)
        self.values = self.size[0] * (self.size[1] // 2 | 1) * 2        # of a spectrum
        self.shared = _plane_bytes(*self.size, image.dtype)
        self.kernel_rows, self.kernel_columns = (
            _kernel_places(k, center, n, image.device) for k, center, n in zip(self.kernel_size, self.center, self.size))

    def _launch(self, kernel, blocks, *arguments, plan=True):
        plan, table = (self.plan, (self.table, self.roots)) if plan else ((), ())
        tensors = [a for a in arguments if a is None or isinstance(a, torch.Tensor)]
        numbers = [a for a in arguments if not (a is None or isinstance(a, torch.Tensor))]
        Launch("eff.cuh", f"svconv::{kernel}", blocks, THREADS if plan else COLLECTING, (*tensors, *table, *numbers, *plan),
               self.shared if plan else 0)(self.device)

    def _firsts(self, batch):
        return self.rows.parts[batch[0]][0], self.columns.parts[batch[1]][0]

    def spectra(self, images, batch, side):
        """Of the pieces of images [B, C, H, W] by "load" or "store": [n, B, C, values]."""
        rows, columns = (getattr(axis, side) for axis in (self.rows, self.columns))
        down, across = self.counts(batch)
        found = images.new_empty((down * across, *images.shape[:2], self.values))
        b, c, h, w = images.stride()
        self._launch(f"eff_transform<{self.type}>", found[..., 0].numel(), images, found, rows.places, columns.places, rows.weights,
                     columns.weights, None, None, *self._firsts(batch), across, images.shape[0] * images.shape[1], images.shape[1], b, c,
                     0, h, w, 0, self.size[0], self.size[1])
        return found

    def kernel_spectra(self, kernels, batch):
        """Of the kernels [B, C, R, kh, kw] of a batch of pieces: [n, B, C, values]."""
        down, across = self.counts(batch)
        found = kernels.new_empty((down * across, *kernels.shape[:2], self.values))
        b, c, r, h, w = kernels.stride()
        self._launch(f"eff_transform<{self.type}>", found[..., 0].numel(), kernels, found, self.kernel_rows[0], self.kernel_columns[0],
                     None, None, self.rows.patch, self.columns.patch, *self._firsts(batch), across,
                     kernels.shape[0] * kernels.shape[1], kernels.shape[1], b, c, r, h, w, self.grid[1], 0, 0)
        return found

    def filtered(self, x, kernels, batch, load, store, conjugate):
        """The pieces of x by `load` under their kernels, [n, B, C, height, width], weighted by `store`; what `add` does not read is not
        written."""
        down, across = self.counts(batch)
        transfer = self.kernel_spectra(kernels, batch)
        patches = x.new_empty((down * across, *x.shape[:2], *self.size))
        sides = [getattr(axis, side) for side in (load, store) for axis in (self.rows, self.columns)]
        b, c, h, w = x.stride()
        tensors = [t for pair in (sides[:2], sides[2:]) for name in ("places", "weights") for t in (getattr(one, name) for one in pair)]
        self._launch(f"eff_filter<{self.type}, {str(conjugate).lower()}>", down * across * x.shape[0] * x.shape[1], x, transfer, patches,
                     *tensors, *self._firsts(batch), across, x.shape[0] * x.shape[1], x.shape[1], b, c, h, w, *kernels.shape[:2])
        return patches

    def add(self, patches, batch, store, result):
        rows, columns = (getattr(axis, store) for axis in (self.rows, self.columns))
        (row_first, down), (column_first, across) = rows.bounds[batch[0]], columns.bounds[batch[1]]
        planes = result.shape[0] * result.shape[1]

        def entries(side, first):
            return side.pixel[first:], side.begin[first:], side.end[first:], side.piece, side.place

        self._launch(f"eff_collect<{self.type}>", -(-down * across * planes // COLLECTING), patches, result, *entries(rows, row_first),
                     *entries(columns, column_first), down, across, self.counts(batch)[1], planes, *self.size, *result.shape[-2:], plan=False)

    def estimate(self, x, g, batch, kernels):
        """Adds to kernels [B|1, C|1, R, kh, kw] what x and g say of those of a batch."""
        (row_first, row_last), (column_first, column_last) = self.rows.parts[batch[0]], self.columns.parts[batch[1]]
        self._launch(f"eff_estimate<{self.type}>", kernels.shape[0] * kernels.shape[1] * kernels.shape[2], self.spectra(x, batch, "load"),
                     self.spectra(g, batch, "store"), kernels, self.rows.patch, self.columns.patch, self.kernel_rows[1],
                     self.kernel_columns[1], row_first, row_last, column_first, column_last, *x.shape[:2], *kernels.shape[:2], *self.grid,
                     *self.kernel_size)


@functools.lru_cache(maxsize=256)
def _kernel_places(k, offset, length, device):
    """int32: the kernel's value at each place of an axis, -1 for none [length], and the place of each value [k]."""
    at = (np.arange(k) - offset) % length
    values = np.full(length, -1, dtype=np.int32)
    values[at] = np.arange(k)
    with torch.inference_mode(False):
        return torch.from_numpy(values).to(device), torch.from_numpy(at.astype(np.int32)).to(device)


# ops ----------------------------------------------------------------------------------------------------------------

def _filtered(x, kernels, form, padding, grid, load, store, conjugate):
    result = torch.zeros_like(x, memory_format=torch.contiguous_format)
    if x.numel() == 0:
        return result
    planes = _Planes(grid_of(x.shape[-2:], *grid), kernels.shape[-2:], form, padding, image=x)
    for batch in planes.batches:
        planes.add(planes.filtered(x, kernels, batch, load, store, conjugate), batch, store, result)
    return result


def eff_fwd(x, kernels, form, padding, *grid):
    return _filtered(x, kernels, form, padding, grid, "load", "store", False)


def eff_adjoint(y, kernels, form, padding, *grid):
    return _filtered(y, kernels, form, padding, grid, "store", "load", True)


def eff_bwd_kernels(x, g, shape, dtype, form, padding, *grid):
    kernels = x.new_zeros(tuple(shape))
    if x.numel():
        planes = _Planes(grid_of(x.shape[-2:], *grid), shape[-2:], form, padding, image=x)
        for batch in planes.batches:
            planes.estimate(x, g, batch, kernels)
    return kernels.to(dtype)


KERNELS = dict(_kernels())
