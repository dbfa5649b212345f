"""Blurs with a kernel per pixel as dense matrices, pixel by pixel, and what the tests of disk and gaussian share."""
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


def blur(x, r, table, form, padding, transposed=False):
    """Each channel by its own matrix; table(map) -> kernels."""
    y = torch.empty_like(x)
    for b in range(x.shape[0]):
        for c in range(x.shape[1]):
            own = r[min(b, len(r) - 1), min(c, r.shape[1] - 1)]
            m = matrix(table(own), form, padding)
            y[b, c] = ((m.T if transposed else m) @ x[b, c].flatten()).reshape(x.shape[2:])
    return y


def tensors(b, c, hw, seed, largest, per_channel=False):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(b, c, *hw, generator=g, dtype=torch.float64)
    return x, largest * torch.rand(1 if per_channel else b, c if per_channel else 1, *hw, generator=g, dtype=torch.float64)
