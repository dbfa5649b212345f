"""Tensors of more than 2^31 elements, whose addresses need 64 bits: the far end of a result against the reference on a cut of its input."""
import fcntl
import os
import pathlib
import tempfile

import pytest
import torch

import gpu_calls
import svconv
from oracles import close

pytestmark = pytest.mark.gpu
GIB = 1 << 30


@pytest.fixture
def memory():
    """A function that skips the test unless the GPU has so many GiB free. Tests of other processes wait; what was taken is given back."""
    lock = open(pathlib.Path(tempfile.gettempdir()) / f"svconv-large-tests-{os.getuid()}", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)

    def require(gibibytes):
        torch.cuda.empty_cache()
        free = torch.cuda.mem_get_info()[0]
        if free < gibibytes * GIB:
            pytest.skip(f"needs an NVIDIA GPU with {gibibytes} GiB of free memory, {free / GIB:.0f} are free")
    yield require
    torch.cuda.empty_cache()
    lock.close()


def backends(stem):
    found = {backend for battery in gpu_calls.batteries() if battery.stem == stem for backend in gpu_calls.gpu_backends(battery)}
    return pytest.mark.parametrize("backend", sorted(found))


def noise(*shape, dtype=torch.bfloat16):
    return torch.empty(shape, dtype=dtype, device="cuda").uniform_(-1, 1)


def cut(t, margin):
    """The last rows and columns, `margin` beyond the eight that are compared."""
    return t[..., -8 - margin:, -8 - margin:]


@backends("pixel_filter")
def test_pixel_filter(backend, memory):
    memory(20)
    k, half, side = 31, 15, 1504
    f, x, y = noise(1, 1, 1, k, k, side, side), noise(1, 1, side, side), noise(1, 1, 1, side, side)
    assert f.numel() > 2**31
    options = {"padding": "zeros", "backend": "reference"}

    def reference(function, given, margin):
        return function(cut(given, margin).double().cpu(), cut(f, margin).double().cpu(), **options)[..., -8:, -8:]

    close(svconv.pixel_filter(x, f, backend=backend)[..., -8:, -8:], reference(svconv.pixel_filter, x, half), scale=2)
    close(svconv.pixel_filter_adjoint(y, f, backend=backend)[..., -8:, -8:], reference(svconv.pixel_filter_adjoint, y, half), scale=2)
    close(svconv.pixel_filter_gram(x, f, backend=backend)[..., -8:, -8:], reference(svconv.pixel_filter_gram, x, 2 * half), scale=2)
    f.requires_grad_()
    (df,) = torch.autograd.grad(svconv.pixel_filter(x, f, backend=backend), f, y)
    expected = x.new_zeros(1, 1, 1, k, k, 8, 8, dtype=torch.float64)
    far = torch.nn.functional.pad(cut(x, half).double(), (0, half, 0, half))
    for i in range(k):
        for j in range(k):
            expected[0, 0, 0, i, j] = far[0, 0, i:i + 8, j:j + 8] * y[0, 0, 0, -8:, -8:].double()
    close(df[..., -8:, -8:], expected.cpu(), scale=2)


@pytest.mark.parametrize("form", ["gather", "scatter"])
@backends("disk")
def test_disk(backend, form, memory):
    memory(24)
    x, radius = noise(1, 33, 8192, 8192), 4 * torch.rand(1, 1, 8192, 8192, device="cuda")
    assert x.numel() > 2**31
    for function in (svconv.disk_blur, svconv.disk_blur_adjoint):
        options = {"form": form, "padding": "zeros", "max_radius": 4.0}
        y = function(x, radius, **options, backend=backend)
        expected = function(cut(x[:, -1:], 5).double().cpu(), cut(radius, 5).double().cpu(), **options, backend="reference")
        close(y[:, -1:, -8:, -8:], expected[..., -8:, -8:], scale=2)


@pytest.mark.parametrize("form", ["gather", "scatter"])
@backends("gaussian")
def test_gaussian(backend, form, memory):
    memory(24)
    x, sigma = noise(1, 33, 8192, 8192), 0.3 + torch.rand(1, 1, 8192, 8192, device="cuda")
    for function in (svconv.gaussian_blur, svconv.gaussian_blur_adjoint):
        options = {"form": form, "padding": "zeros", "max_sigma": 1.3}
        y = function(x, sigma, **options, backend=backend)
        # a sum of weights runs over a window that the cut has whole only where the map within reach has its own whole too
        expected = function(cut(x[:, -1:], 12).double().cpu(), cut(sigma, 12).double().cpu(), **options, backend="reference")
        close(y[:, -1:, -8:, -8:], expected[..., -8:, -8:], scale=2)


@backends("quotient")
def test_convolution(backend, memory):
    memory(60)
    x, kernel = noise(33, 1, 8192, 8192, dtype=torch.float32), torch.rand(1, 1, 5, 4, device="cuda") / 20
    assert x.numel() > 2**31
    y = svconv.conv(x, kernel, padding="circular", backend=backend)
    close(y[-1:], svconv.conv(x[-1:].double(), kernel.double(), padding="circular", backend="reference").cpu(), scale=20)
