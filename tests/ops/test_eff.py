"""The eff family on every backend that runs here: battery, dense matrices, what it must agree with, gradients, registration."""
import eff_oracles
import numpy as np
import pytest
import torch
from battery import Battery, Call
from eff_oracles import grid_for

import oracles
import svconv
from oracles import PADDINGS, close, image, psf
from svconv import EFFGrid, eff_conv, eff_conv_adjoint, eff_image_quotient, eff_kernel_adjoint, eff_kernel_quotient
from svconv._form import FORMS
from svconv._shapes import sum_to
from svconv.ops.eff import _image_bwd, _image_fwd, _kernel_bwd, _kernel_fwd, _ops

BACKENDS = oracles.usable_backends("eff", "eff_fwd")
DOUBLE = torch.float64


def pytest_generate_tests(metafunc):
    if metafunc.cls is None and "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", BACKENDS)


# battery ------------------------------------------------------------------------------------------------------------

def shared_kernels(b, c, hw, seed):
    return image(b, c, *hw, seed=seed), psf(1, grid_for(hw).patches, 4, 3, seed=seed + 1)


def kernels_per_channel(b, c, hw, seed):
    return image(b, c, *hw, seed=seed), psf(b, c, grid_for(hw).patches, 3, 4, seed=seed + 1)


def two_images(b, c, hw, seed):
    return image(b, c, *hw, seed=seed), image(b, c, *hw, seed=seed + 7)


def blurred(b, c, hw, seed):
    size = min(4, hw[0]), min(3, hw[1])
    beta = torch.rand(b, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE) + 0.2
    return image(b, c, *hw, seed=seed), psf(1, c, grid_for(hw).patches, *size, seed=seed + 1), beta


def feature_pairs(b, n, hw, seed):
    beta = torch.rand(b, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE) + 0.5
    return image(b, n, *hw, seed=seed), image(b, n, *hw, seed=seed + 7), beta


def run(op, form):
    return lambda x, k, padding, backend: op(x, k, grid_for(x.shape[-2:]), form=form, padding=padding, backend=backend)


def expect(oracle, form):
    return lambda x, k, padding: oracle(x, k, grid_for(x.shape[-2:]), form, padding)


def run_kernel_quotient(x, y, beta, padding, backend):
    size = tuple(min(3, max(1, n)) for n in x.shape[-2:])
    return eff_kernel_quotient(x, y, grid_for(x.shape[-2:]), size, beta=beta, backend=backend)


def pair_of_transposes(form, kernels, paddings=PADDINGS):
    names = [f"{name} {form}" for name in ("eff_conv", "eff_conv_adjoint")]
    for name, other, op, oracle in zip(names, names[::-1], (eff_conv, eff_conv_adjoint), (eff_oracles.conv, eff_oracles.conv_adjoint)):
        yield Call(name, kernels, run(op, form), expect(oracle, form), paddings, other, scale=40, spread=True, computes=torch.float32)


class TestConvolution(Battery):
    stem, op = "eff", "eff_fwd"
    calls = (*pair_of_transposes("scatter", shared_kernels), *pair_of_transposes("gather", kernels_per_channel, ("zeros", "reflect")))

    def registered(self):
        x, y, k = image(dtype=torch.float32), image(dtype=torch.float32, seed=2), psf(1, 3, 6, 3, 4, dtype=torch.float32)
        yield _ops.fwd, (x, k, "scatter", "reflect", [2], [3], 0.5, "hann", "")
        yield _ops.adjoint, (y, k, "gather", "zeros", [2], [3], 0.3, "hat", "")
        yield _ops.bwd, (x, y, (1, 3, 6, 3, 4), torch.float32, "scatter", "circular", [3], [2], 0.5, "barthann", "")


class TestKernelAdjoint(Battery):
    stem, op = "eff", "eff_bwd_kernels"
    calls = tuple(Call(f"eff_kernel_adjoint {form}", two_images, scale=100, spread=True, computes=torch.float32, paddings=paddings,
                       run=lambda x, y, padding, backend, form=form:
                       eff_kernel_adjoint(x, y, grid_for(x.shape[-2:]), (3, 2), form=form, padding=padding, backend=backend),
                       oracle=lambda x, y, padding, form=form:
                       eff_oracles.kernel_adjoint(x, y, grid_for(x.shape[-2:]), (3, 2), form, padding))
                  for form, paddings in (("scatter", ("zeros", "circular")), ("gather", ("reflect", "symmetric"))))

    def registered(self):
        yield _ops.bwd, (image(), image(seed=2), (2, 1, 6, 2, 3), DOUBLE, "gather", "reflect", [2], [3], 0.5, "hann", "")


class TestQuotients(Battery):
    stem, op = "eff", "eff_image_quotient_fwd"
    calls = (
        Call("eff_image_quotient", blurred, scale=500, spread=True, computes=torch.float32, paddings=("replicate", "circular"),
             run=lambda y, k, beta, padding, backend:
             eff_image_quotient(y, k, grid_for(y.shape[-2:]), beta=beta, padding=padding, backend=backend),
             oracle=lambda y, k, beta, p: eff_oracles.image_quotient(y, k, grid_for(y.shape[-2:]), beta, "gradient", p)),
        Call("eff_kernel_quotient", feature_pairs, run_kernel_quotient, scale=500, spread=True, computes=torch.float32, linear=False,
             paddings=("none",), oracle=lambda x, y, beta, _:
             eff_oracles.kernel_quotient(x, y, grid_for(x.shape[-2:]), tuple(min(3, n) for n in x.shape[-2:]), beta)),
    )

    def registered(self):
        x, y, k = image(dtype=torch.float32), image(dtype=torch.float32, seed=2), psf(1, 3, 2, 3, 4, dtype=torch.float32)
        beta, g, grid = torch.tensor([0.1, 0.2]), torch.randn(2, 2, 3, 4), ([2], [1], 0.5, "hann")
        power = torch.rand(eff_oracles.fast(6 + 6), eff_oracles.fast(8 + 8) // 2 + 1)
        yield _kernel_fwd, (x, y, beta, 3, 4, *grid, "")
        yield _kernel_bwd, (g, x, y, beta, *grid, False, False, True, "")
        yield _image_fwd, (x, k, beta, None, "zeros", *grid, "")
        yield _image_bwd, (y, x, k, beta, power, "circular", *grid, False, True, False, False, "")


# what it must agree with ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("form", FORMS)
def test_dense_matrices(backend, form, padding):
    """On tiny images, in every form and padding: kernels in a patch, larger than a patch, larger than the image; even and odd."""
    for hw, most, size in (((5, 4), (2, 2), (3, 2)), ((4, 5), (3, 2), (4, 5)), ((3, 2), (3, 2), (7, 6)), ((4, 1), (1, 1), (2, 3))):
        grid = EFFGrid(hw, most, overlap=0.6, window="hat")
        k = torch.randn(1, grid.patches, *size, dtype=DOUBLE)
        expected = oracles.dense_matrix(lambda x: torch.as_tensor(eff_oracles.conv(x, k, grid, form, padding)), hw)
        forward = oracles.dense_matrix(lambda x: eff_conv(x, k, grid, form=form, padding=padding, backend=backend), hw)
        adjoint = oracles.dense_matrix(lambda y: eff_conv_adjoint(y, k, grid, form=form, padding=padding, backend=backend), hw)
        assert torch.allclose(forward, expected, atol=1e-12, rtol=0) and torch.allclose(adjoint, expected.T, atol=1e-12, rtol=0)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("form", FORMS)
def test_equal_kernels_and_one_patch_give_conv(backend, form, padding):
    x, k = image(2, 3, 11, 13), psf(2, 1, 1, 4, 5)
    expected, transposed = (op(x, k[:, :, 0], padding=padding) for op in (svconv.conv, svconv.conv_adjoint))
    for grid in (EFFGrid((11, 13), (3, 4)), EFFGrid((11, 13), (2, 5), overlap=0.8, window="barthann"), EFFGrid((11, 13), (1, 1))):
        same = k.expand(-1, -1, grid.patches, -1, -1)
        close(eff_conv(x, same, grid, form=form, padding=padding, backend=backend), expected, scale=20)
        close(eff_conv_adjoint(x, same, grid, form=form, padding=padding, backend=backend), transposed, scale=20)


@pytest.mark.parametrize("size", [(3, 3), (4, 2), (1, 5)])
@pytest.mark.parametrize("padding", PADDINGS)
def test_a_patch_per_pixel_is_a_filter_per_pixel(backend, size, padding):
    hw = (6, 5)
    x, grid, k = image(2, 3, *hw), EFFGrid(hw, hw, overlap=0), psf(1, 30, *size)
    per_pixel = k.permute(0, 2, 3, 1).unflatten(-1, hw)
    expected = svconv.pixel_filter(x, per_pixel.flip((1, 2)), padding=padding)
    close(eff_conv(x, k, grid, form="gather", padding=padding, backend=backend), expected, scale=20)
    if padding == "zeros":                # one row and column more where k//2 is not (k-1)//2
        odd = torch.nn.functional.pad(per_pixel, (0, 0, 0, 0, *(n for side in size[::-1] for n in (0, 1 - side % 2))))
        close(eff_conv(x, k, grid, backend=backend), svconv.pixel_filter_adjoint(x, odd), scale=20)


@pytest.mark.parametrize("boundary,padding", [("fill", "zeros"), ("wrap", "circular"), ("symm", "symmetric")])
@pytest.mark.parametrize("form", FORMS)
def test_one_patch_is_scipys_convolution(backend, form, boundary, padding):
    signal = pytest.importorskip("scipy.signal")
    x, k, grid = image(1, 1, 12, 11), psf(1, 1, 5, 3), EFFGrid((12, 11), (1, 1))
    expected = signal.convolve2d(x[0, 0].numpy(), k[0, 0].numpy(), mode="same", boundary=boundary)
    close(eff_conv(x, k, grid, form=form, padding=padding, backend=backend)[0, 0], expected, scale=10)


@pytest.mark.parametrize("form", FORMS)
def test_many_patches_are_scipys_convolutions(backend, form):
    signal = pytest.importorskip("scipy.signal")
    x, grid = image(1, 1, 21, 18), EFFGrid((21, 18), (3, 2), overlap=0.35)
    k, expected = psf(1, 6, 6, 5), np.zeros((21, 18))
    for r, w in enumerate(eff_oracles.windows(grid)):
        sent = w * x[0, 0].numpy() if form == "scatter" else x[0, 0].numpy()
        full = signal.convolve(sent, k[0, r].numpy(), method="direct")[3:3 + 21, 2:2 + 18]
        expected += full if form == "scatter" else w * full
    close(eff_conv(x, k, grid, form=form, backend=backend)[0, 0], expected, scale=10)


def test_scatter_and_gather_are_transposes_with_turned_kernels(backend):
    x, k, grid = image(2, 3, 12, 14), psf(1, 3, 6, 5, 3), EFFGrid((12, 14), (2, 3))
    for padding in ("zeros", "circular"):
        gathered = eff_conv(x, k.flip((-2, -1)), grid, form="gather", padding=padding, backend=backend)
        close(eff_conv_adjoint(x, k, grid, form="scatter", padding=padding, backend=backend), gathered, scale=10)


@pytest.mark.parametrize("prior", ["identity", "gradient", "filters"])
@pytest.mark.parametrize("padding", PADDINGS[:-1])
def test_one_patch_gives_the_image_quotient(backend, padding, prior):
    y, k, grid, beta = image(2, 3, 14, 11), psf(2, 1, 1, 4, 5), EFFGrid((14, 11), (1, 1)), torch.tensor([0.1, 0.4], dtype=DOUBLE)
    prior = torch.randn(2, 2, 3, dtype=DOUBLE) if prior == "filters" else prior
    expected = svconv.image_quotient(y, k[:, :, 0], beta=beta, prior=prior, padding=padding)
    close(eff_image_quotient(y, k, grid, beta=beta, prior=prior, padding=padding, backend=backend), expected, scale=100)


@pytest.mark.parametrize("prior", ["identity", "gradient"])
@pytest.mark.parametrize("padding", PADDINGS)
def test_the_image_quotient_is_one_division_per_patch(backend, padding, prior):
    for hw, most, size in (((13, 17), (2, 3), (4, 3)), ((6, 5), (3, 2), (5, 4)), ((7, 7), (7, 1), (1, 7))):
        y, grid = image(2, 2, *hw), EFFGrid(hw, most, overlap=0.4, window="barthann")
        k = psf(2, 1, grid.patches, *size)
        expected = eff_oracles.image_quotient(y, k, grid, 0.2, prior, padding)
        close(eff_image_quotient(y, k, grid, beta=0.2, prior=prior, padding=padding, backend=backend), expected, scale=200)


@pytest.mark.parametrize("size", [(3, 3), (5, 4), (2, 7)])
def test_one_patch_recovers_the_kernel(backend, size):
    """From data without noise that are zero near the border."""
    x, k, grid = image(2, 2, 30, 27), psf(2, 1, *size), EFFGrid((30, 27), (1, 1))
    inside = torch.zeros(30, 27, dtype=DOUBLE)
    inside[8:-8, 8:-8] = 1
    y = eff_conv(inside * x, k, grid, backend=backend)
    found = eff_kernel_quotient(inside * x, y, grid, size, beta=1e-12, backend=backend)
    assert float((found - k).abs().max()) < 1e-6


def test_kernels_without_a_channel_axis_are_shared_by_the_channels(backend):
    x, k, grid = image(2, 3, 12, 14), psf(2, 6, 5, 3), EFFGrid((12, 14), (2, 3))
    for op in (eff_conv, eff_conv_adjoint, lambda *a, **o: eff_image_quotient(*a, beta=0.1, **o)):
        assert torch.equal(op(x, k, grid, backend=backend), op(x, k[:, None], grid, backend=backend))
    assert torch.equal(eff_kernel_adjoint(x, x, grid, 5, backend=backend), eff_kernel_adjoint(x, x, grid, (5, 5), backend=backend))


@pytest.mark.parametrize("b,c", [(2, 3), (1, 3), (2, 1), (1, 1)])
@pytest.mark.parametrize("form", FORMS)
def test_dot_products_agree(backend, form, b, c):
    grid = EFFGrid((13, 8), (3, 2))
    x, g, k = image(h=13), image(h=13, seed=3), psf(b, c, 6, 5, 4)
    for padding in PADDINGS:
        dot = (eff_conv(x, k, grid, form=form, padding=padding, backend=backend) * g).sum()
        back = eff_conv_adjoint(g, k, grid, form=form, padding=padding, backend=backend)
        dk = _ops.bwd(x, g, k.shape, DOUBLE, form, padding, *grid.options, backend)
        assert torch.isclose(dot, (x * back).sum(), rtol=1e-12) and torch.isclose(dot, (k * dk).sum(), rtol=1e-12)
        full = eff_kernel_adjoint(x, g, grid, (5, 4), form=form, padding=padding, backend=backend)
        close(sum_to(full, k.shape), dk, scale=100)


# gradients -----------------------------------------------------------------------------------------------------------

def check_gradients(function, *inputs):
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kernels", [(2, 3, 4, 3, 2), (1, 1, 4, 2, 3), (2, 4, 7, 4)])
def test_gradients(backend, form, kernels):
    x, k, grid = image(2, 3, 5, 4).requires_grad_(), psf(*kernels).requires_grad_(), EFFGrid((5, 4), (2, 2))
    for padding in ("zeros", "symmetric"):
        options = {"form": form, "padding": padding, "backend": backend}
        for op in (eff_conv, eff_conv_adjoint):
            check_gradients(lambda x, k: op(x, k, grid, **options), x, k)
        check_gradients(lambda x, g: eff_kernel_adjoint(x, g, grid, kernels[-2:], **options), x, image(2, 3, 5, 4, seed=9).requires_grad_())


@pytest.mark.parametrize("kernels", [(2, 3, 4, 3, 2), (1, 1, 4, 2, 3), (2, 4, 2, 2)])
@pytest.mark.parametrize("prior", ["identity", "gradient", "filters"])
def test_image_quotient_gradients(backend, kernels, prior):
    beta, grid = (torch.rand(2, dtype=DOUBLE) + 0.2).requires_grad_(), EFFGrid((4, 5), (2, 2))
    inputs = [image(2, 3, 4, 5).requires_grad_(), psf(*kernels).requires_grad_(), beta]
    if prior == "filters":
        inputs.append(torch.randn(2, 2, 2, dtype=DOUBLE, requires_grad=True))
    for padding in ("replicate", "circular"):
        check_gradients(lambda y, k, beta, prior=prior:
                        eff_image_quotient(y, k, grid, beta=beta, prior=prior, padding=padding, backend=backend), *inputs)


@pytest.mark.parametrize("beta", [(), (1,), (2,)])
def test_kernel_quotient_gradients(backend, beta):
    x, y, grid = image(2, 2, 6, 5).requires_grad_(), image(2, 2, 6, 5, seed=4).requires_grad_(), EFFGrid((6, 5), (2, 2))
    beta = (torch.rand(beta, dtype=DOUBLE) + 0.5).requires_grad_()
    check_gradients(lambda x, y, beta: eff_kernel_quotient(x, y, grid, (2, 3), beta=beta, backend=backend), x, y, beta)
    check_gradients(lambda x: eff_kernel_quotient(x, x * x, grid, (2, 3), beta=0.5, backend=backend), x)


def test_the_fused_gradients_agree_with_the_reference(backend):
    """At a size with many patches, each output asked for alone and together."""
    grid = EFFGrid((50, 45), (4, 3))
    x, y, g, beta = image(2, 3, 50, 45), image(2, 3, 50, 45, seed=2), psf(2, 12, 5, 4), torch.tensor([0.4], dtype=DOUBLE)
    k, power = psf(1, 3, 12, 5, 4), torch.rand(eff_oracles.fast(grid.patch_size[0] + 10), eff_oracles.fast(grid.patch_size[1] + 8) // 2 + 1)
    for need in ((True,) * 4, (True, False, False, False), (False, True, False, False), (False, False, True, False)):
        for ours, expected in zip(*(_kernel_bwd(g, x, y, beta, *grid.options, *need[:3], name) for name in (backend, "reference"))):
            close(ours, expected, scale=100)
        for ours, expected in zip(*(_image_bwd(y, x, k, beta, power.double(), "reflect", *grid.options, *need, name)
                                    for name in (backend, "reference"))):
            close(ours, expected, scale=100)
