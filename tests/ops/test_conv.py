"""conv and conv_adjoint on every backend that runs here: oracles, scipy, gradients, registration, errors."""
import numpy as np
import pytest
import torch
from battery import Battery, Call

import oracles
import svconv
from oracles import PADDINGS, close, image, psf
from svconv.ops.conv import _ops

signal = pytest.importorskip("scipy.signal")
BACKENDS = oracles.usable_backends("quotient", "conv_fwd")
SIZES = [(1, 1), (3, 3), (4, 5), (2, 6), (7, 4)]
DOUBLE = torch.float64


def pytest_generate_tests(metafunc):
    if metafunc.cls is None and "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", BACKENDS)


def shared_kernel(b, c, hw, seed):
    return image(b, c, *hw, seed=seed), psf(1, 4, 3, seed=seed + 1)


def kernel_per_channel(b, c, hw, seed):
    return image(b, c, *hw, seed=seed), psf(b, c, 3, 4, seed=seed + 1)


class TestBattery(Battery):
    stem, op = "quotient", "conv_fwd"
    calls = tuple(Call(f"{name} with {kernel.__name__}", kernel, getattr(svconv, name), getattr(oracles, name), scale=20, spread=True,
                       computes=torch.float32, adjoint=f"{other} with {kernel.__name__}")
                  for kernel in (shared_kernel, kernel_per_channel) for name, other in (("conv", "conv_adjoint"), ("conv_adjoint", "conv")))

    def registered(self):
        x, y, k = image(dtype=torch.float32), image(dtype=torch.float32, seed=2), psf(1, 3, 3, 4, dtype=torch.float32)
        yield _ops.fwd, (x, k, "zeros", "")
        yield _ops.adjoint, (y, k, "reflect", "")
        yield _ops.bwd, (x, y, (1, 3, 3, 4), torch.float32, "circular", "")


def scipy_conv(x, k, padding):
    """scipy's full convolution of the extended image; output p stands at p + k//2 of the full one."""
    (kh, kw), (h, w) = k.shape, x.shape
    extended = oracles.pad(x, (kh, kh, kw, kw), padding)
    return signal.convolve2d(extended, k, mode="full")[kh + kh // 2:, kw + kw // 2:][:h, :w]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_conv_is_scipys_convolution(backend, padding, size, dtype, nan_memory):
    x, k = image(dtype=dtype), psf(2, 3, *size, dtype=dtype)
    y = svconv.conv(x, k, padding=padding, backend=backend)
    expected = [[scipy_conv(x[b, c].double().numpy(), k[b, c].double().numpy(), padding) for c in range(3)] for b in range(2)]
    close(y, np.array(expected), scale=10)


@pytest.mark.parametrize("boundary,padding", [("fill", "zeros"), ("wrap", "circular"), ("symm", "symmetric")])
def test_conv_equals_convolve2d_same_for_odd_kernels(backend, boundary, padding):
    x, k = image(1, 1, 12, 11), psf(1, 5, 3)
    expected = signal.convolve2d(x[0, 0].numpy(), k[0].numpy(), mode="same", boundary=boundary)
    close(svconv.conv(x, k, padding=padding, backend=backend)[0, 0], expected, scale=10)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("hw", [(1, 1), (1, 3), (2, 3)])
def test_conv_with_a_kernel_larger_than_the_image(backend, padding, hw):
    x, k = image(1, 1, *hw), psf(1, 1, 5, 8)
    expected = scipy_conv(x[0, 0].numpy(), k[0, 0].numpy(), padding)
    close(svconv.conv(x, k, padding=padding, backend=backend)[0, 0], expected, scale=20)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("size,hw", [((4, 3), (6, 5)), ((5, 8), (3, 4)), ((3, 3), (1, 1))])
def test_conv_adjoint_is_the_transpose(backend, padding, size, hw):
    k = psf(1, 1, *size)
    forward = oracles.dense_matrix(lambda u: svconv.conv(u, k, padding=padding, backend=backend), hw)
    adjoint = oracles.dense_matrix(lambda u: svconv.conv_adjoint(u, k, padding=padding, backend=backend), hw)
    assert torch.allclose(adjoint, forward.T, atol=1e-13)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", [(2, 3), (1, 3), (2, 1), (1, 1)])
def test_conv_dot_products_agree(backend, padding, kernel):
    x, g, k = image(h=13), image(h=13, seed=3), psf(*kernel, 5, 4)
    y = svconv.conv(x, k, padding=padding, backend=backend)
    dk = _ops.bwd(x, g, k.shape, k.dtype, padding, backend)
    assert torch.isclose((y * g).sum(), (x * svconv.conv_adjoint(g, k, padding=padding, backend=backend)).sum(), rtol=1e-10)
    assert torch.isclose((y * g).sum(), (k * dk).sum(), rtol=1e-10)


def check_gradients(function, *inputs):
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", [(2, 3, 3, 2), (1, 1, 2, 3), (2, 7, 4)])
def test_conv_gradients(backend, padding, kernel):
    x, k = image(2, 3, 5, 4).requires_grad_(), psf(*kernel).requires_grad_()
    for op in (svconv.conv, svconv.conv_adjoint):
        check_gradients(lambda x, k, op=op: op(x, k, padding=padding, backend=backend), x, k)
    k4 = k if k.dim() == 4 else k[:, None]
    check_gradients(lambda x, g: _ops.bwd(x, g, k4.shape, k4.dtype, padding, backend), x, image(2, 3, 5, 4, seed=9).requires_grad_())


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (4, 5), (9, 8)])
def test_valid_keeps_only_where_the_kernel_lies_inside(backend, size):
    x, k = image(), psf(2, 3, *size)
    y = svconv.conv(x, k, padding="valid", backend=backend)
    close(y, np.array([[signal.convolve2d(x[b, c].numpy(), k[b, c].numpy(), mode="valid") for c in range(3)] for b in range(2)]), scale=10)
    g = torch.randn_like(y)
    assert torch.isclose((y * g).sum(), (x * svconv.conv_adjoint(g, k, padding="valid", backend=backend)).sum())
    check_gradients(lambda x, k: svconv.conv(x, k, padding="valid", backend=backend), x.requires_grad_(), k.requires_grad_())
    with pytest.raises(ValueError, match=r'kernel: expected at most the image 9 x 8 with padding "valid", got 10 x 3'):
        svconv.conv(x, psf(1, 10, 3), padding="valid")
