"""Efficient filter flow: patches are cut out and added up by the kernels of `patches.py`, and filtered by those of `spectra.py`.

The transforms are torch.fft's, of a batch of patches at a time; a kernel's spectrum and the kernel's values of an inverse transform are
thin matrix products (`svconv._fourier`), so that the inverse of an estimate is pruned to kh x kw outputs.
"""
import torch
from svconv._triton.patches import Patches
from svconv._triton.spectra import division_gradients, divisor_gradients, estimate_gradients, estimated, transferred

from svconv import _eff_tables as tables
from svconv._eff_grid import grid_of
from svconv._fourier import kernel_spectrum, kernel_values


def _patches(image, kernel_size, grid, make, *options):
    return Patches(grid_of(image.shape[-2:], *grid), kernel_size, make, *options, image.dtype, image=image)


def _cut_spectrum(patches, image, batch, side):
    return torch.fft.rfft2(patches.cut(image, batch, side))


def _kernel_spectrum(patches, kernels, batch):
    return kernel_spectrum(patches.of_pieces(kernels, batch), patches.size, patches.center)


def _add_image(patches, spectrum, batch, side, result):
    patches.add(torch.fft.irfft2(spectrum, s=patches.size).contiguous(), batch, side, result)


def _add_kernels(patches, spectrum, batch, result):
    patches.add(kernel_values(spectrum, patches.size, patches.kernel_size, patches.center).contiguous(), batch, "kernel", result)


def _kernel_sums(patches, batch, channels, like):
    """What `_add_kernels` adds to."""
    return like.new_zeros((batch, channels, *(n * k for n, k in zip(patches.grid, patches.kernel_size))))


def _zeros(image):
    return torch.zeros_like(image, memory_format=torch.contiguous_format)


# convolution --------------------------------------------------------------------------------------------------------

def _filtered(x, kernels, patches, load, store, **filtering):
    result = _zeros(x)
    for batch in patches.batches:
        spectrum = _cut_spectrum(patches, x, batch, load)
        _add_image(patches, transferred(spectrum, _kernel_spectrum(patches, kernels, batch), **filtering), batch, store, result)
    return result


def eff_fwd(x, kernels, form, padding, *grid):
    return _filtered(x, kernels, _patches(x, kernels.shape[-2:], grid, tables.convolution, form, padding), "load", "store")


def eff_adjoint(y, kernels, form, padding, *grid):
    return _filtered(y, kernels, _patches(y, kernels.shape[-2:], grid, tables.convolution, form, padding), "store", "load", conjugate=True)


def eff_bwd_kernels(x, g, shape, dtype, form, padding, *grid):
    own_batch, own_channels = (shape[axis] == x.shape[axis] for axis in (0, 1))
    patches = _patches(x, shape[-2:], grid, tables.convolution, form, padding)
    kernels = _kernel_sums(patches, *shape[:2], x)
    if own_channels and not own_batch:          # `estimated` sums over the last axis
        x, g = x.transpose(0, 1), g.transpose(0, 1)
    for batch in patches.batches:
        pair = (_cut_spectrum(patches, t, batch, side) for t, side in ((x, "load"), (g, "store")))
        if own_batch and own_channels:
            pair = (t.unsqueeze(3) for t in pair)
        elif not (own_batch or own_channels):
            pair = (t.flatten(1, 2) for t in pair)
        _add_kernels(patches, estimated(*pair), batch, kernels)
    return patches.per_patch(kernels).to(dtype)


# quotients ----------------------------------------------------------------------------------------------------------

def eff_image_quotient_fwd(y, kernels, beta, power, padding, *grid):
    patches = _patches(y, kernels.shape[-2:], grid, tables.division, padding)
    return _filtered(y, kernels, patches, "load", "store", conjugate=True, beta=beta, power=power)


def eff_image_quotient_bwd(g, y, kernels, beta, power, padding, *options):
    grid, (need_y, need_kernels, need_beta, need_power) = options[:4], options[4:]
    patches, need_slope = _patches(y, kernels.shape[-2:], grid, tables.division, padding), need_beta or need_power
    g_y, g_kernels, g_beta, g_power = (beta.new_empty(0) for _ in range(4))
    g_y, slope = _zeros(y) if need_y else g_y, 0
    sums = _kernel_sums(patches, *kernels.shape[:2], y) if need_kernels else None
    for batch in patches.batches:
        upstream = _cut_spectrum(patches, g, batch, "store")
        seen = _cut_spectrum(patches, y, batch, "load") if need_kernels or need_slope else None
        transfer = _kernel_spectrum(patches, kernels, batch)
        d_y, d_k, new_slope = division_gradients(upstream, seen, transfer, beta, power, need_y, need_kernels, need_slope)
        if need_y:
            _add_image(patches, d_y, batch, "load", g_y)
        if need_kernels:
            shared = [1 + axis for axis in (0, 1) if kernels.shape[axis] != y.shape[axis]]
            _add_kernels(patches, d_k.sum(shared, keepdim=True) if shared else d_k, batch, sums)
        if need_slope:
            slope = slope + new_slope.sum((0, 2))
    if need_kernels:
        g_kernels = patches.per_patch(sums)
    if need_slope:
        g_beta, g_power = divisor_gradients(slope, beta, power, patches.size, need_beta, need_power)
    return g_y, g_kernels, g_beta, g_power


def eff_kernel_quotient_fwd(x, y, beta, kh, kw, *grid):
    patches = _patches(x, (kh, kw), grid, tables.windows)
    kernels = _kernel_sums(patches, x.shape[0], 1, x)
    for batch in patches.batches:
        _add_kernels(patches, estimated(*(_cut_spectrum(patches, t, batch, "load") for t in (x, y)), beta), batch, kernels)
    return patches.per_patch(kernels).squeeze(1)


def eff_kernel_quotient_bwd(g, x, y, beta, *options):
    grid, (need_x, need_y, need_beta) = options[:4], options[4:]
    patches = _patches(x, g.shape[-2:], grid, tables.windows)
    results, slope = [_zeros(t) if need else beta.new_empty(0) for t, need in ((x, need_x), (y, need_y))], 0
    for batch in patches.batches:
        upstream = _kernel_spectrum(patches, g.unsqueeze(1), batch).squeeze(2)
        pair = (_cut_spectrum(patches, t, batch, "load") for t in (x, y))
        *spectra, new_slope = estimate_gradients(upstream, *pair, beta, need_x, need_y, need_beta)
        for spectrum, result in zip(spectra, results):
            if spectrum is not None:
                _add_image(patches, spectrum, batch, "load", result)
        if need_beta:
            slope = slope + new_slope.sum(0)
    return *results, divisor_gradients(slope, beta, None, patches.size, need_beta, False)[0]
