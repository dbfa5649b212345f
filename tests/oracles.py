"""Slow NumPy oracles, tolerances and the backends to test, shared by the tests."""
import os

import numpy as np
import torch

from svconv import backends

PADDINGS = ("zeros", "replicate", "reflect", "symmetric", "circular")
NUMPY_MODE = {"zeros": "constant", "replicate": "edge", "reflect": "reflect", "symmetric": "symmetric", "circular": "wrap"}

# relative to the largest magnitude of the expected result
TOLERANCE = {torch.float64: 1e-13, torch.float32: 2e-6, torch.bfloat16: 4e-3, torch.float16: 5e-4}


def image(b=2, c=3, h=9, w=8, dtype=torch.float64, seed=0):
    return torch.randn(b, c, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def psf(*shape, dtype=torch.float64, seed=1):
    """Positive kernels of sum one."""
    k = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.05
    return (k / k.sum((-2, -1), keepdim=True)).to(dtype)


def usable_backends(stem, op, device="cpu"):
    """Backends that can run `op` here; the slow Triton interpreter has a test folder of its own."""
    names = [n for n in backends.NAMES if backends.why_not(n, stem, op, device) is None]
    return [n for n in names if n != "triton" or device != "cpu" or os.environ.get("SVCONV_TEST_INTERPRETER") == "1"]


def pad(x, margins, padding):
    """numpy.pad of the last two axes by (top, bottom, left, right)."""
    top, bottom, left, right = margins
    return np.pad(x, [(0, 0)] * (x.ndim - 2) + [(top, bottom), (left, right)], mode=NUMPY_MODE[padding])


def pixel_filter(x, f, padding):
    """y[b,c,m,p] = sum_d f[b,c,m,d,p] x[b,c,p+d] by explicit loops over taps, float64."""
    x, f = np.asarray(x, np.float64), np.asarray(f, np.float64)
    kh, kw, h, w = f.shape[3:]
    top, left = (kh - 1) // 2, (kw - 1) // 2
    extended = pad(x, (top, kh - 1 - top, left, kw - 1 - left), padding)
    y = np.zeros((*x.shape[:2], f.shape[2], h, w))
    for i in range(kh):
        for j in range(kw):
            y += f[:, :, :, i, j] * extended[:, :, None, i:i + h, j:j + w]
    return y


def fold(plane, margins, padding):
    """The transpose of `pad`: every place of the plane is added to the pixel that stands there."""
    top, bottom, left, right = margins
    h, w = plane.shape[-2] - top - bottom, plane.shape[-1] - left - right
    place = pad(np.arange(1, h * w + 1).reshape(1, h, w), margins, padding).ravel()      # 0: a zero of the border
    image = np.zeros((*plane.shape[:-2], h * w + 1))
    np.add.at(image, (..., place), plane.reshape(*plane.shape[:-2], -1))
    return image[..., 1:].reshape(*plane.shape[:-2], h, w)


def pixel_filter_adjoint(y, f, padding):
    """x[q] = sum of f[d, p] y[p] over all p, d with p + d standing at q, float64."""
    y, f = np.asarray(y, np.float64), np.asarray(f, np.float64)
    kh, kw, h, w = f.shape[3:]
    top, left = (kh - 1) // 2, (kw - 1) // 2
    plane = np.zeros((*y.shape[:2], h + kh - 1, w + kw - 1))
    for i in range(kh):
        for j in range(kw):
            plane[..., i:i + h, j:j + w] += (f[:, :, :, i, j] * y).sum(2)
    return fold(plane, (top, kh - 1 - top, left, kw - 1 - left), padding)


def conv(x, k, padding):
    """y[p] = sum_d k[d] x[p - d + c], c = (kh//2, kw//2), by explicit loops over taps, float64."""
    x, k = np.asarray(x, np.float64), np.asarray(k, np.float64)
    k = k if k.ndim == 4 else k[:, None]
    (kh, kw), (h, w) = k.shape[-2:], x.shape[-2:]
    extended = pad(x, (kh - 1 - kh // 2, kh // 2, kw - 1 - kw // 2, kw // 2), padding)
    return sum((k[..., i, j, None, None] * extended[..., kh - 1 - i:kh - 1 - i + h, kw - 1 - j:kw - 1 - j + w]
                for i in range(kh) for j in range(kw)), np.zeros(x.shape))


def conv_adjoint(y, k, padding):
    """The transpose of `conv`."""
    y, k = np.asarray(y, np.float64), np.asarray(k, np.float64)
    k = k if k.ndim == 4 else k[:, None]
    (kh, kw), (h, w) = k.shape[-2:], y.shape[-2:]
    plane = np.zeros((*y.shape[:2], h + kh - 1, w + kw - 1))
    for i in range(kh):
        for j in range(kw):
            plane[..., kh - 1 - i:kh - 1 - i + h, kw - 1 - j:kw - 1 - j + w] += k[..., i, j, None, None] * y
    return fold(plane, (kh - 1 - kh // 2, kh // 2, kw - 1 - kw // 2, kw // 2), padding)


def dense_matrix(function, shape):
    """The matrix of a linear function of a [1, 1, H, W] image, column by column, float64."""
    columns = []
    for i in range(shape[0] * shape[1]):
        unit = torch.zeros(shape[0] * shape[1], dtype=torch.float64)
        unit[i] = 1
        columns.append(function(unit.reshape(1, 1, *shape)).flatten())
    return torch.stack(columns, 1)


def close(actual, expected, scale=1.0):
    """Asserts equality within the dtype's tolerance, relative to the largest magnitude of `expected`."""
    expected = torch.as_tensor(expected, dtype=torch.float64)
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    bound = scale * TOLERANCE[actual.dtype] * max(1e-30, float(expected.abs().max()) if expected.numel() else 1.0)
    error = float((actual.double().cpu() - expected).abs().max()) if expected.numel() else 0.0
    assert error <= bound, f"error {error:.3e} > {bound:.3e}"
