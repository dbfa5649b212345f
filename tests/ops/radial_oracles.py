"""Blurs with a kernel per pixel as dense matrices, pixel by pixel, and what the tests of disk and gaussian share."""
import itertools

import numpy as np
import torch

import oracles


def matrix(kernels, form, padding):
    """[H*W, H*W] of kernels [H, W, n, n], n odd: `y[p] = sum k_p[d] x[p - d]` (gather) or of x[q] to q + d (scatter), the plane as
    numpy.pad makes it."""
    kernels = np.asarray(kernels, np.float64)
    (h, w), n = kernels.shape[:2], kernels.shape[-1] // 2
    place = oracles.pad(np.arange(1, h * w + 1).reshape(1, h, w), (n,) * 4, padding)[0] - 1      # -1: a zero of the border
    result = np.zeros((h * w, h * w + 1))
    for row in range(-n, h + n):
        for column in range(-n, w + n):
            here = place[row + n, column + n]       # a pixel of the plane, which sends out light and receives it
            for i in range(-n, n + 1):
                for j in range(-n, n + 1):
                    to = row + i, column + j
                    if 0 <= to[0] < h and 0 <= to[1] < w:
                        kernel = kernels[to] if form == "gather" else kernels.reshape(h * w, *kernels.shape[2:])[here]
                        result[to[0] * w + to[1], here] += kernel[n + i, n + j]
    return torch.from_numpy(result[:, :-1])


def _one(x, kernels, form, padding, transposed):
    """A channel [H, W] by its kernels [H, W, n, n], offset by offset."""
    (h, w), n = x.shape, kernels.shape[-1] // 2
    margins, kernels = (n,) * 4, kernels.transpose(2, 3, 0, 1)
    source = np.pad(x, n) if transposed else oracles.pad(x[None], margins, padding)[0]
    kernels = kernels if form == "gather" else oracles.pad(kernels, margins, padding)
    result = np.zeros(source.shape if transposed else x.shape)
    for i, j in itertools.product(range(2 * n + 1), repeat=2):
        away = slice(2 * n - i, 2 * n - i + h), slice(2 * n - j, 2 * n - j + w)     # the sources of the image's pixels for this offset
        if form == "gather" and transposed:
            result[away] += kernels[i, j] * x
        elif form == "gather":
            result += kernels[i, j] * source[away]
        elif transposed:
            result[away] += kernels[i, j][away] * x
        else:
            result += kernels[i, j][away] * source[away]
    return oracles.fold(result[None], margins, padding)[0] if transposed else result


def blur(x, r, table, form, padding, transposed=False):
    """Each channel by its own kernels; table(map) -> kernels."""
    y = torch.empty_like(x)
    for b in range(x.shape[0]):
        for c in range(x.shape[1]):
            kernels = table(r[min(b, len(r) - 1), min(c, r.shape[1] - 1)]).double().numpy()
            y[b, c] = torch.from_numpy(_one(x[b, c].numpy(), kernels, form, padding, transposed))
    return y


def tensors(b, c, hw, seed, largest, per_channel=False):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(b, c, *hw, generator=g, dtype=torch.float64)
    return x, largest * torch.rand(1 if per_channel else b, c if per_channel else 1, *hw, generator=g, dtype=torch.float64)
