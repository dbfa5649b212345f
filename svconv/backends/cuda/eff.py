"""Efficient filter flow in CUDA C++: one block takes a patch from its pixels to its filtered pixels in shared memory.

Patches go in batches (`svconv._eff_pieces`): `eff_transform` makes the spectra of the batch's kernels, `eff_filter` the filtered patches,
`eff_collect` adds those to the result. For the gradient in the kernels both images are transformed, and `eff_estimate` makes the kernels.
Memory beside the result: the patches of a batch and the spectra of its kernels, 32 MiB each where kernels are shared by images and channels
or there is one image. Planes have lengths without a prime factor above 7, those of their rows even. The quotients go the same way; their
gradients are left to Triton.
"""
import functools

import numpy as np
import torch

from svconv import _eff_tables as tables
from svconv._eff_grid import grid_of, halo_size
from svconv._eff_pieces import Pieces
from svconv._fourier import fast_length
from svconv.backends.cuda.launch import TYPES, Launch, Resources, shared_limit

THREADS = 512
COLLECTING = 256
MODES = "kMultiply", "kMultiplyConjugate", "kDivide"
_TYPES = {dtype: TYPES[dtype] for dtype in (torch.float32, torch.float64)}


def _transform(type_):
    return f"svconv::eff_transform<{type_}>"


def _filter(type_, mode):
    return f"svconv::eff_filter<{type_}, svconv::{mode}>"


def _estimate(type_, divide):
    return f"svconv::eff_estimate<{type_}, {str(divide).lower()}>"


def _collect(type_):
    return f"svconv::eff_collect<{type_}>"


def _kernels():
    for dtype, name in _TYPES.items():
        patch = Resources(THREADS, 2 if dtype == torch.float32 else 1, _plane_bytes(160, 160, dtype), holds_on=("sm_90",))
        yield _transform(name), patch
        for mode in MODES:
            yield _filter(name, mode), patch
        for divide in (False, True):
            yield _estimate(name, divide), patch
        yield _collect(name), Resources(COLLECTING, 6)


def why_not(op, *arguments):
    """None, or the reason why these arguments are refused: a plane that is larger than the shared memory of a block, or a quotient's whose
    rows have an odd length (its result depends on the length)."""
    image, grid = arguments[0], grid_of(arguments[0].shape[-2:], *arguments[-4:])
    if image.dtype not in _TYPES:
        return f"computes in float32 and float64, not in {image.dtype}"
    size = _plane_size(op, grid, arguments)
    if size[1] % 2:
        return f"halves rows, and those of the patches' planes have {size[1]} values"
    bytes_, most = _plane_bytes(*size, image.dtype), shared_limit(image.device)
    return f"patches of {bytes_ >> 10} KiB, and a block has {most >> 10} KiB of shared memory" if bytes_ > most else None


def _plane_size(op, grid, arguments):
    """Rows and columns of the planes of a call."""
    if op == "eff_kernel_quotient_fwd":
        kernel_size = arguments[3:5]
    else:
        kernel_size = map(int, (arguments[2] if op == "eff_bwd_kernels" else arguments[1].shape)[-2:])
    if op == "eff_image_quotient_fwd":
        return halo_size(grid, kernel_size)
    height, width = (side + k - 1 for side, k in zip(grid.patch_size, kernel_size))
    return fast_length(height), (fast_length if op == "eff_kernel_quotient_fwd" else _even)(width)


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
    """What all kernels but one end with: tables of a plane's transforms (`plane_fft.cuh`), height, half a row, numbers of passes."""
    height, half = size[0], size[1] // 2
    rows, columns = _radices(half), _radices(height)
    table = np.concatenate([np.array(rows, np.int32), _places(rows), np.array(columns, np.int32), _places(columns)])
    with torch.inference_mode(False):
        return (torch.from_numpy(table).to(device), torch.from_numpy(np.concatenate([_roots(size[1]), _roots(height)])).to(device, dtype),
                (height, half, len(rows), len(columns)))


class _Planes(Pieces):
    """The pieces of a call and the kernels on them."""

    def __init__(self, grid, kernel_size, make, *options, image):
        super().__init__(grid, kernel_size, make, *options, image.dtype, image=image)
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
        Launch("eff.cuh", kernel, blocks, THREADS if plan else COLLECTING, (*tensors, *table, *numbers, *plan),
               self.shared if plan else 0)(self.device)

    def _firsts(self, batch):
        return self.rows.parts[batch[0]][0], self.columns.parts[batch[1]][0]

    def spectra(self, images, batch, side):
        """Of the pieces of images [B, C, H, W] by "load" or "store": [n, B, C, values]."""
        rows, columns = (getattr(axis, side) for axis in (self.rows, self.columns))
        down, across = self.counts(batch)
        found = images.new_empty((down * across, *images.shape[:2], self.values))
        b, c, h, w = images.stride()
        tables_ = rows.places, columns.places, rows.weights, columns.weights, None, None
        self._launch(_transform(self.type), found[..., 0].numel(), images, found, *tables_, *self._firsts(batch), across,
                     images.shape[0] * images.shape[1], images.shape[1], b, c, 0, h, w, 0, *self.size)
        return found

    def kernel_spectra(self, kernels, batch):
        """Of the kernels [B, C, R, kh, kw] of a batch of pieces: [n, B, C, values]."""
        down, across = self.counts(batch)
        found = kernels.new_empty((down * across, *kernels.shape[:2], self.values))
        b, c, r, h, w = kernels.stride()
        tables_ = self.kernel_rows[0], self.kernel_columns[0], None, None, self.rows.patch, self.columns.patch
        self._launch(_transform(self.type), found[..., 0].numel(), kernels, found, *tables_, *self._firsts(batch), across,
                     kernels.shape[0] * kernels.shape[1], kernels.shape[1], b, c, r, h, w, self.grid[1], 0, 0)
        return found

    def filtered(self, x, kernels, batch, load, store, mode, beta=None, power=None):
        """The pieces of x by `load` under their kernels, [n, B, C, height, width], weighted by `store`; what `add` does not read is not
        written."""
        down, across = self.counts(batch)
        transfer = self.kernel_spectra(kernels, batch)
        patches = x.new_empty((down * across, *x.shape[:2], *self.size))
        sides = [getattr(axis, side) for side in (load, store) for axis in (self.rows, self.columns)]
        b, c, h, w = x.stride()
        tensors = [t for pair in (sides[:2], sides[2:]) for name in ("places", "weights") for t in (getattr(one, name) for one in pair)]
        self._launch(_filter(self.type, mode), down * across * x.shape[0] * x.shape[1], x, transfer, patches, *tensors, beta, power,
                     *self._firsts(batch), across, x.shape[0] * x.shape[1], x.shape[1], b, c, h, w, *kernels.shape[:2], _step(beta))
        return patches

    def add(self, patches, batch, store, result):
        rows, columns = (getattr(axis, store) for axis in (self.rows, self.columns))
        (row_first, down), (column_first, across) = rows.bounds[batch[0]], columns.bounds[batch[1]]
        planes = result.shape[0] * result.shape[1]

        def entries(side, first):
            return side.pixel[first:], side.begin[first:], side.end[first:], side.piece, side.place

        self._launch(_collect(self.type), -(-down * across * planes // COLLECTING), patches, result, *entries(rows, row_first),
                     *entries(columns, column_first), down, across, self.counts(batch)[1], planes, *self.size, *result.shape[-2:],
                     plan=False)

    def estimate(self, x, g, batch, sides, kernels, beta=None):
        """Adds to kernels [B|1, C|1, R, kh, kw] what x and g, cut by `sides`, say of those of a batch."""
        (row_first, row_last), (column_first, column_last) = self.rows.parts[batch[0]], self.columns.parts[batch[1]]
        spectra = (self.spectra(t, batch, side) for t, side in zip((x, g), sides))
        self._launch(_estimate(self.type, beta is not None), kernels.shape[0] * kernels.shape[1] * kernels.shape[2], *spectra, kernels,
                     self.rows.patch, self.columns.patch, self.kernel_rows[1], self.kernel_columns[1], beta, row_first, row_last,
                     column_first, column_last, *x.shape[:2], *kernels.shape[:2], *self.grid, *self.kernel_size, _step(beta))


def _step(beta):
    """From one image's beta [B|1] to the next one's."""
    return 0 if beta is None or beta.shape[0] == 1 else beta.stride(0)


@functools.lru_cache(maxsize=256)
def _kernel_places(k, offset, length, device):
    """int32: the kernel's value at each place of an axis, -1 for none [length], and the place of each value [k]."""
    at = (np.arange(k) - offset) % length
    values = np.full(length, -1, dtype=np.int32)
    values[at] = np.arange(k)
    with torch.inference_mode(False):
        return torch.from_numpy(values).to(device), torch.from_numpy(at.astype(np.int32)).to(device)


# ops ----------------------------------------------------------------------------------------------------------------

_CONVOLUTION = tables.convolution, _even_columns


def _filtered(x, kernels, planes, *how):
    result = torch.zeros_like(x, memory_format=torch.contiguous_format)
    for batch in planes.batches if x.numel() else ():
        planes.add(planes.filtered(x, kernels, batch, *how), batch, how[1], result)
    return result


def eff_fwd(x, kernels, form, padding, *grid):
    planes = _Planes(grid_of(x.shape[-2:], *grid), kernels.shape[-2:], _CONVOLUTION, form, padding, image=x)
    return _filtered(x, kernels, planes, "load", "store", "kMultiply")


def eff_adjoint(y, kernels, form, padding, *grid):
    planes = _Planes(grid_of(y.shape[-2:], *grid), kernels.shape[-2:], _CONVOLUTION, form, padding, image=y)
    return _filtered(y, kernels, planes, "store", "load", "kMultiplyConjugate")


def eff_bwd_kernels(x, g, shape, dtype, form, padding, *grid):
    kernels = x.new_zeros(tuple(shape))
    planes = _Planes(grid_of(x.shape[-2:], *grid), shape[-2:], _CONVOLUTION, form, padding, image=x)
    for batch in planes.batches if x.numel() else ():
        planes.estimate(x, g, batch, ("load", "store"), kernels)
    return kernels.to(dtype)


def eff_image_quotient_fwd(y, kernels, beta, power, padding, *grid):
    planes = _Planes(grid_of(y.shape[-2:], *grid), kernels.shape[-2:], (tables.division, tables.division), padding, image=y)
    return _filtered(y, kernels, planes, "load", "store", "kDivide", beta, None if power is None else power.contiguous())


def eff_kernel_quotient_fwd(x, y, beta, kh, kw, *grid):
    grid = grid_of(x.shape[-2:], *grid)
    planes = _Planes(grid, (kh, kw), (tables.windows, tables.windows), image=x)
    kernels = x.new_zeros((x.shape[0], 1, grid.patches, kh, kw))
    for batch in planes.batches if x.numel() else ():
        planes.estimate(x, y, batch, ("load", "load"), kernels, beta)
    return kernels.squeeze(1)


KERNELS = dict(_kernels())
