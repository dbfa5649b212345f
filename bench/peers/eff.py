"""What people write today instead of the eff family: patches cut out, transformed in batches by torch.fft and added up; deepinv's layer."""
import functools

import torch

from bench.measure import Skip


def lengths(grid, taps):
    """The plane of a patch."""
    from svconv._fourier import fast_length

    return tuple(fast_length(side + taps - 1) for side in grid.patch_size)


def rows_of_patches(x, grid, i):
    """The windowed patches of row i, [B, C, columns, P, Q]."""
    p, q = grid.patch_size
    row = grid.row_starts[i]
    window = grid.row_windows[i, row:row + p].to(x)
    columns = [grid.col_windows[j, start:start + q].to(x) for j, start in enumerate(grid.col_starts)]
    return torch.stack([x[..., row:row + p, start:start + q] * window[:, None] * columns[j] for j, start in enumerate(grid.col_starts)], 2)


def conv(x, kernels, grid):
    """Scatter with zeros around the image; a row of patches is one batch."""
    taps, size, columns = kernels.shape[-1], lengths(grid, kernels.shape[-1]), grid.grid[1]
    p, q = (side + taps - 1 for side in grid.patch_size)
    h, w = x.shape[-2:]
    out = x.new_zeros((*x.shape[:2], h + taps - 1, w + taps - 1))
    for i, row in enumerate(grid.row_starts):
        own = torch.fft.rfft2(kernels[:, :, i * columns:(i + 1) * columns], s=size)
        sent = torch.fft.irfft2(torch.fft.rfft2(rows_of_patches(x, grid, i), s=size) * own, s=size)
        for j, column in enumerate(grid.col_starts):
            out[..., row:row + p, column:column + q] += sent[:, :, j, :p, :q]
    return out[..., taps // 2:taps // 2 + h, taps // 2:taps // 2 + w]


def transforms(x, kernels, grid):
    """The bare transforms of all patches, in batches of a row of them."""
    size = lengths(grid, kernels.shape[-1])
    patches = torch.rand(*x.shape[:2], grid.grid[1], *size)
    for _ in grid.row_starts:
        torch.fft.irfft2(torch.fft.rfft2(patches), s=size)


@functools.cache
def _deepinv():
    """deepinv's tiled blur; the operators of torchvision that it registers are declared without torchvision's compiled part."""
    try:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms(Tensor dets, Tensor scores, float iou_threshold)", "qnms(Tensor dets, Tensor scores, float iou_threshold)"):
            library.define(f"{name} -> Tensor")
    except RuntimeError:
        library = None      # torchvision has declared them
    try:
        from deepinv.physics import TiledSpaceVaryingBlur
    except ImportError as error:
        raise Skip(f"deepinv: {error}") from None
    return TiledSpaceVaryingBlur, library
