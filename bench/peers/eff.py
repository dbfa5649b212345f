"""What people write today instead of the eff family: patches cut out, transformed in batches by torch.fft and added up; deepinv's layer.

A row of patches is one batch. Everything is for zeros around the image, as deepinv's blur: `gather`, y = sum_r w_r conv(x, k_r).
"""
import functools

import torch

from svconv._eff_grid import halo_size
from svconv._fourier import fast_length

from ..measure import Skip

BATCH = 8       # patches that the bare transforms take at once, so that they stay in the cache


def length(grid, taps):
    """The plane of a patch for an exact linear convolution."""
    return tuple(fast_length(side + taps - 1) for side in grid.patch_size)


def windows(grid, i, like):
    """The windows of the patches of row i, [columns, P, Q]."""
    rows, columns = (torch.tensor(axis.weights, dtype=like.dtype, device=like.device) for axis in (grid.rows, grid.columns))
    return rows[i, :, None] * columns[:, None, :]


def row_of(t, grid, i, height, width):
    """The parts [height, width] of t from the first pixel of each patch of row i on, [B, C, columns, height, width]."""
    row = grid.row_starts[i]
    return torch.stack([t[..., row:row + height, start:start + width] for start in grid.col_starts], 2)


def placed(parts, grid, size):
    """The sum of the rows of patches [B, C, columns, h, w], each patch at its first pixel, on a plane of that size."""
    out = parts[0].new_zeros((*parts[0].shape[:2], *size))
    for row, part in zip(grid.row_starts, parts):
        for j, column in enumerate(grid.col_starts):
            out[..., row:row + part.shape[-2], column:column + part.shape[-1]] += part[:, :, j]
    return out


def kernels_of(kernels, grid, i, size):
    columns = grid.grid[1]
    return torch.fft.rfft2(kernels[:, :, i * columns:(i + 1) * columns], s=size)


def conv(x, kernels, grid):
    """Gather: every patch sees its surroundings."""
    taps, (p, q), size = kernels.shape[-1], grid.patch_size, length(grid, kernels.shape[-1])
    before, after = taps - 1 - taps // 2, taps // 2
    wide, parts = torch.nn.functional.pad(x, (before, after, before, after)), []
    for i in range(grid.grid[0]):
        seen = torch.fft.rfft2(row_of(wide, grid, i, p + taps - 1, q + taps - 1), s=size)
        made = torch.fft.irfft2(seen * kernels_of(kernels, grid, i, size), s=size)
        parts.append(made[..., taps - 1:taps - 1 + p, taps - 1:taps - 1 + q] * windows(grid, i, x))
    return placed(parts, grid, x.shape[-2:])


def adjoint(y, kernels, grid):
    """The transpose of `conv`."""
    taps, (p, q), size = kernels.shape[-1], grid.patch_size, length(grid, kernels.shape[-1])
    before, (h, w), parts = taps - 1 - taps // 2, y.shape[-2:], []
    turned = kernels.flip((-2, -1))
    for i in range(grid.grid[0]):
        sent = torch.fft.rfft2(row_of(y, grid, i, p, q) * windows(grid, i, y), s=size)
        parts.append(torch.fft.irfft2(sent * kernels_of(turned, grid, i, size), s=size)[..., :p + taps - 1, :q + taps - 1])
    return placed(parts, grid, (h + taps - 1, w + taps - 1))[..., before:before + h, before:before + w]


def gradient_power(size):
    """sum |D|^2 of the differences of neighbours on the half spectrum of a plane."""
    rows, columns = torch.fft.fftfreq(size[0]), torch.fft.rfftfreq(size[1])
    return 4 * (torch.sin(torch.pi * rows).square()[:, None] + torch.sin(torch.pi * columns).square())


def image_quotient(y, kernels, grid, beta):
    """Every patch with its halo, divided; the image is continued by its border pixels."""
    taps, (p, q), size = kernels.shape[-1], grid.patch_size, halo_size(grid, kernels.shape[-2:])
    bottom, right = size[0] - p - taps, size[1] - q - taps
    wide, parts = torch.nn.functional.pad(y, (taps, right, taps, bottom), mode="replicate"), []
    power = beta * gradient_power(size).to(y)
    for i in range(grid.grid[0]):
        k = kernels_of(kernels, grid, i, size)
        seen = torch.fft.rfft2(row_of(wide, grid, i, *size))
        made = torch.fft.irfft2(k.conj() * seen / (k.abs().square() + power), s=size)
        made = made.roll((taps // 2, taps // 2), (-2, -1))      # a kernel's centre stands at the first pixel
        parts.append(made[..., taps:taps + p, taps:taps + q] * windows(grid, i, y))
    return placed(parts, grid, y.shape[-2:])


def kernel_quotient(x, y, grid, taps, beta):
    """A kernel per patch from features under its window."""
    (p, q), size, kernels = grid.patch_size, length(grid, taps), []
    for i in range(grid.grid[0]):
        fx, fy = (torch.fft.rfft2(row_of(t, grid, i, p, q) * windows(grid, i, t), s=size) for t in (x, y))
        quotient = (fx.conj() * fy).sum(1) / (fx.abs().square().sum(1) + beta)
        kernels.append(torch.fft.irfft2(quotient, s=size).roll((taps // 2, taps // 2), (-2, -1))[..., :taps, :taps])
    return torch.cat(kernels, 1)


def transforms(like, images, patches, size, inverse=True):
    """The bare transforms of all patches of that many images, in batches that stay in the cache."""
    batch = torch.rand(BATCH, *size, device=like.device)
    for _ in range(-(-images * patches // BATCH)):
        spectrum = torch.fft.rfft2(batch)
        if inverse:
            torch.fft.irfft2(spectrum, s=size)


# deepinv ------------------------------------------------------------------------------------------------------------

@functools.cache
def _declared():
    """The operators of torchvision that deepinv's imports name, declared without torchvision's compiled part; to be kept alive."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def _deepinv():
    """deepinv's class."""
    _declared()
    try:
        import einops  # noqa: F401  deepinv asks for it only when the blur is made
        from deepinv.physics import TiledSpaceVaryingBlur
    except ImportError as error:
        raise Skip(f"deepinv: {error}") from None
    return TiledSpaceVaryingBlur


def deepinv_blur(kernels, grid, *, crop=True):
    """`TiledSpaceVaryingBlur` with the grid's patches and windows; without `crop` it keeps the frame that it would cut off."""
    kind = _deepinv()
    (first, *others), side = grid.col_starts, grid.patch_size[0]
    stride = others[0] - first
    if grid.image_size[0] != grid.image_size[1] or list(grid.col_starts) != list(range(0, grid.image_size[1] - side + 1, stride)):
        raise Skip("deepinv: patches that a stride of whole pixels does not place")
    blur = kind(filters=kernels, patch_size=grid.patch_size, stride=stride)
    blur.multipliers = torch.cat([windows(grid, i, kernels) for i in range(grid.grid[0])])[None, None]
    blur._dynamic_img_size = grid.image_size        # otherwise it makes windows of its own
    if not crop:
        blur._crop = lambda result, pad: result
    return blur


def deepinv_conv(kernels, grid):
    """function(x, kernels)"""
    blur = deepinv_blur(kernels, grid, crop=False)
    return lambda x, kernels: blur.A(x, filters=kernels)


def deepinv_adjoint(kernels, grid):
    """function(y), for a y that is zero on the frame that deepinv's blur cuts off."""
    blur, taps = deepinv_blur(kernels, grid), kernels.shape[-1]
    before, after = taps // 2, taps - taps // 2 - 1
    return lambda y: blur.A_adjoint(y[..., before:y.shape[-2] - after, before:y.shape[-1] - after])
