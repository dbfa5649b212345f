"""The Triton kernels of the quotient family under the interpreter, against the reference."""
import importlib

import pytest
import torch

from svconv._boundary import PADDINGS
from svconv._plane import division_plane
from svconv.reference import quotient as reference

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}     # relative to the largest value of the result


@pytest.fixture
def kernels(nan_memory):
    """The kernels; every buffer they allocate is full of NaN."""
    return importlib.import_module("svconv._triton.quotient")


def random(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def check(kernels, op, *args):
    """Equal to the reference evaluated in float64."""
    results = getattr(kernels, op)(*args)
    exact = [a.double() if isinstance(a, torch.Tensor) else a for a in args]
    expected = getattr(reference, op)(*exact)
    pairs = zip(results, expected) if isinstance(results, tuple) else [(results, expected)]
    for result, wanted in pairs:
        assert result.shape == wanted.shape and result.dtype == args[0].dtype and result.is_contiguous()
        if wanted.numel():
            assert (result.double() - wanted).abs().max() <= TOLERANCE[result.dtype] * wanted.abs().max().clamp_min(1e-6)


SIZES = [(5, 7), (6, 8), (33, 35)]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", [(2, 3, 3, 4), (1, 3, 2, 3), (2, 1, 3, 3), (1, 1, 9, 8)])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_conv(kernels, padding, kernel, dtype):
    x, g, k = random(2, 3, 6, 5, dtype=dtype), random(2, 3, 6, 5, dtype=dtype, seed=1), random(*kernel, dtype=dtype, seed=2)
    check(kernels, "conv_fwd", x, k, padding)
    check(kernels, "conv_adjoint", x, k, padding)
    check(kernels, "conv_bwd_kernel", x, g, kernel, x.dtype, padding)


@pytest.mark.parametrize("hw", SIZES)
@pytest.mark.parametrize("taper", [True, False])
@pytest.mark.parametrize("beta", [1, 2])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_kernel_quotient(kernels, hw, taper, beta, dtype):
    x, y, g = random(2, 3, *hw, dtype=dtype), random(2, 3, *hw, dtype=dtype, seed=1), random(2, 3, 4, dtype=dtype, seed=2)
    beta = torch.rand(beta, dtype=dtype) + 1
    check(kernels, "kernel_quotient_fwd", x, y, beta, 3, 4, taper, 1.0, 1.6)
    for need in ((True, True, True), (False, True, False), (True, False, False), (False, False, True)):
        check(kernels, "kernel_quotient_bwd", g, x, y, beta, taper, 1.0, 1.6, *need)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", [(2, 3, 3, 4), (1, 1, 2, 3)])
@pytest.mark.parametrize("with_power", [True, False])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_image_quotient(kernels, padding, kernel, with_power, dtype):
    y, g, k = random(2, 3, 6, 7, dtype=dtype), random(2, 3, 6, 7, dtype=dtype, seed=1), random(*kernel, dtype=dtype, seed=2)
    rows, columns = division_plane((6, 7), kernel[2:], padding).size
    power = torch.rand(rows, columns // 2 + 1, dtype=dtype) if with_power else None
    beta = torch.rand(2, dtype=dtype) + 1
    check(kernels, "image_quotient_fwd", y, k, beta, power, padding, 1.0, 1.6)
    check(kernels, "image_quotient_bwd", g, y, k, beta, power, padding, 1.0, 1.6, True, True, True, False)
    check(kernels, "image_quotient_bwd", g, y, k, beta, power, padding, 1.0, 1.6, True, False, False, with_power)
    check(kernels, "image_quotient_bwd", g, y, k, beta, power, padding, 1.0, 1.6, True, False, False, False)
    check(kernels, "image_quotient_bwd", g, y, k, beta, power, padding, 1.0, 1.6, False, True, False, False)
    check(kernels, "image_quotient_bwd", g, y, k, beta, power, padding, 1.0, 1.6, False, False, True, False)
