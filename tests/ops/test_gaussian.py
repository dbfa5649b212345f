"""The gaussian family on every backend that runs here: battery, dense matrices, what it must agree with, errors."""
import functools
import math

import pytest
import radial_oracles
import torch
from battery import Battery, Call

import oracles
import svconv
from oracles import PADDINGS, close, image
from svconv import gaussian_blur, gaussian_blur_adjoint
from svconv._form import FORMS
from svconv.ops.gaussian import _adjoint, _bwd_sigma, _fwd, _slope_adjoint, _slope_fwd

BACKENDS = oracles.usable_backends("gaussian", "gaussian_blur_fwd")
DOUBLE = torch.float64


def pytest_generate_tests(metafunc):
    if metafunc.cls is None and "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", BACKENDS)


def table(sigma, truncate=4.0):
    """Kernels [..., n, n] by the formula, one pixel after the other."""
    flat = sigma.flatten().tolist()
    halves = [max(0, math.floor(truncate * s + 0.5)) for s in flat]
    n = max([0, *halves])
    t = torch.arange(-n, n + 1, dtype=DOUBLE)
    rows = [torch.where(t.abs() <= h, torch.exp(-0.5 * (t / s) ** 2) if h else (t == 0).double(), 0.0) for s, h in zip(flat, halves)]
    return torch.stack([torch.outer(e, e) / e.sum() ** 2 for e in rows]).reshape(*sigma.shape, 2 * n + 1, 2 * n + 1)


def oracle(x, sigma, padding, form="gather", transposed=False, truncate=4.0):
    return radial_oracles.blur(x, sigma, functools.partial(table, truncate=truncate), form, padding, transposed)


def call(name, function, form, transposed, **options):
    return Call(f"{name}-{form}", functools.partial(radial_oracles.tensors, largest=0.7, per_channel=form == "scatter"),
                functools.partial(function, form=form), functools.partial(oracle, form=form, transposed=transposed), once=(1,), **options)


class TestBattery(Battery):
    stem, op = "gaussian", "gaussian_blur_fwd"
    calls = tuple(entry for form in FORMS for entry in (
        call("gaussian_blur", gaussian_blur, form, False, adjoint=f"gaussian_blur_adjoint-{form}"),
        call("gaussian_blur_adjoint", gaussian_blur_adjoint, form, True, adjoint=f"gaussian_blur-{form}"),
    ))

    def registered(self):
        x, sigma = radial_oracles.tensors(2, 3, (6, 5), 0, 0.7)
        for form in FORMS:
            rest = form, "reflect", math.inf, 3.0, ""
            yield from ((op, (x, sigma, *rest)) for op in (_fwd, _adjoint, _slope_fwd, _slope_adjoint))
            yield _bwd_sigma, (x, x.flip(-1), sigma, *rest)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("truncate", [1.5, 4.0])
def test_dense_matrices(backend, form, padding, truncate):
    h, w = 5, 4
    sigma = torch.tensor([0, -2, 0.1, 0.3, 0.51, 1, 1.1, 0.7, 1.7, 0.2], dtype=DOUBLE).repeat(2).reshape(1, 1, h, w)
    unit = torch.eye(h * w, dtype=DOUBLE).reshape(h * w, 1, h, w)
    options = dict(form=form, padding=padding, truncate=truncate, backend=backend)
    forward = gaussian_blur(unit, sigma, **options).reshape(h * w, h * w).T
    adjoint = gaussian_blur_adjoint(unit, sigma, **options).reshape(h * w, h * w)
    torch.testing.assert_close(forward, radial_oracles.matrix(table(sigma[0, 0], truncate), form, padding), atol=1e-13, rtol=0)
    torch.testing.assert_close(adjoint, forward, atol=1e-14, rtol=0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sigma", [0.05, 0.4, 1.3, 3.0])
def test_a_uniform_sigma_is_conv(backend, form, sigma):
    x, map_ = image(1, 2, 20, 23), torch.full((1, 1, 20, 23), sigma, dtype=DOUBLE)
    kernel = table(torch.tensor([[sigma]], dtype=DOUBLE))
    for padding in ("zeros", "reflect"):
        close(gaussian_blur(x, map_, form=form, padding=padding, backend=backend), svconv.conv(x, kernel, padding=padding), scale=30)


@pytest.mark.parametrize("form", FORMS)
def test_the_gradient_in_sigma(backend, form):
    """By finite differences inside of a window's range; 0 where the window is one pixel."""
    x, g = image(1, 2, 9, 8), image(1, 2, 9, 8, seed=4)
    for value in (0.3, 0.9, 1.6, 0.1, 0.0, -1.0):
        sigma, step = torch.full((1, 1, 9, 8), value, dtype=DOUBLE), 1e-6
        found = _bwd_sigma(x, g, sigma, form, "symmetric", math.inf, 4.0, backend)
        for row, column in ((4, 4), (0, 0), (8, 3)):
            change = torch.zeros_like(sigma)
            change[..., row, column] = step
            low, high = ((gaussian_blur(x, s, form=form, padding="symmetric", backend=backend) * g).sum() for s in (sigma - change,
                                                                                                                    sigma + change))
            assert abs(float((high - low) / (2 * step) - found[0, 0, row, column])) < 1e-6


def test_the_second_derivative_in_sigma_is_an_error():
    x, sigma = image(1, 1, 4, 5).requires_grad_(), (torch.rand(1, 1, 4, 5, dtype=DOUBLE) + 0.3).requires_grad_()
    g_x, g_sigma = torch.autograd.grad(gaussian_blur(x, sigma).square().sum(), (x, sigma), create_graph=True)
    assert torch.autograd.grad(g_x.sum(), sigma, retain_graph=True)[0].abs().sum() > 0
    assert torch.autograd.grad(g_sigma.sum(), x, retain_graph=True)[0].abs().sum() > 0
    with pytest.raises(NotImplementedError, match="gaussian_blur: the gradient in sigma is of first order"):
        g_sigma.sum().backward()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("form", FORMS)
def test_a_sigma_that_is_no_number_spoils_its_own_pixel(backend, form, bad):
    x, sigma = image(1, 2, 9, 10), torch.rand(1, 1, 9, 10, dtype=DOUBLE)
    sigma[..., 4, 5] = bad
    for function in (gaussian_blur, gaussian_blur_adjoint):
        y = function(x, sigma, form=form, padding="zeros", backend=backend)
        assert bool(y[..., 4, 5].isnan().all()) and int(y.isnan().sum()) == 2


def test_max_sigma_clamps_with_gradient_zero(backend):
    x, sigma = image(1, 2, 9, 10), (2 * torch.rand(1, 1, 9, 10, dtype=DOUBLE)).requires_grad_()
    for form in FORMS:
        y = gaussian_blur(x, sigma, form=form, max_sigma=1.1, backend=backend)
        close(y.detach(), gaussian_blur(x, sigma.detach().clamp(max=1.1), form=form, backend=backend), scale=4)
        found, = torch.autograd.grad(y.square().sum(), sigma)
        assert not found[sigma > 1.1].any() and found[sigma <= 1.1].any()


def test_one_bright_pixel_does_not_spoil_others(backend):
    x, sigma = image(1, 1, 24, 100, torch.float32), torch.full((1, 1, 24, 100), 1.4)
    for bright in (1e30, math.nan):
        star = x.clone()
        star[..., 12, 50] = bright
        for form in FORMS:
            for function in (gaussian_blur, gaussian_blur_adjoint):
                before, after = (function(t, sigma, form=form, backend=backend) for t in (x, star))
                assert torch.equal(before[..., :43], after[..., :43]) and torch.equal(before[..., 57:], after[..., 57:])


@pytest.mark.parametrize("function, name", [(gaussian_blur, "x"), (gaussian_blur_adjoint, "y")])
def test_errors_name_the_argument(function, name):
    x, sigma = torch.rand(2, 3, 6, 7), torch.rand(1, 1, 6, 7)

    def refused(error, match, *tensors, **options):
        with pytest.raises(error, match=match):
            function(*(tensors or (x, sigma)), **options)

    refused(ValueError, "sigma: expected W of .* = 7 at axis -1", x, sigma[..., :5])
    refused(TypeError, f"sigma: expected dtype torch.float32 like {name}", x, sigma.double())
    refused(ValueError, "form: expected", form=None)
    refused(ValueError, "truncate: expected a number > 0, got 0", truncate=0)
    refused(ValueError, "max_sigma: expected a number >= 0, got -1", max_sigma=-1)
    refused(ValueError, "sigma: expected finite values >= 0, got values from -1", x, sigma - 1 - sigma, check=True)
    refused(ValueError, r"sigma: expected truncate \* sigma of at most 16384 pixels", x, 1e6 * sigma + 1e6)
