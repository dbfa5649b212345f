"""The disk family on every backend that runs here: battery, dense matrices, what it must agree with, the gradient in the radius, errors."""
import functools
import math

import pytest
import radial_oracles
import torch
from battery import Battery, Call

import oracles
import svconv
from oracles import PADDINGS, close, image
from svconv import disk_blur, disk_blur_adjoint, disk_kernel
from svconv._form import FORMS
from svconv.ops.disk import _adjoint, _bwd_radius, _fwd, _slope_adjoint, _slope_fwd

BACKENDS = oracles.usable_backends("disk", "disk_blur_fwd")
DOUBLE = torch.float64
LARGEST = 2.9       # pixels, in the battery


def pytest_generate_tests(metafunc):
    if metafunc.cls is None and "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", BACKENDS)


def oracle(x, radius, padding, form="gather", transposed=False):
    largest = max(0, math.ceil(float(radius.max()) - 0.5)) if radius.numel() else 0
    return radial_oracles.blur(x, radius, lambda r: disk_kernel(r, 2 * largest + 1), form, padding, transposed)


def call(name, function, form, transposed, **options):
    return Call(f"{name}-{form}", functools.partial(radial_oracles.tensors, largest=LARGEST, per_channel=form == "scatter"),
                functools.partial(function, form=form), functools.partial(oracle, form=form, transposed=transposed), once=(1,), **options)


class TestBattery(Battery):
    stem, op = "disk", "disk_blur_fwd"
    calls = tuple(entry for form in FORMS for entry in (
        call("disk_blur", disk_blur, form, False, adjoint=f"disk_blur_adjoint-{form}"),
        call("disk_blur_adjoint", disk_blur_adjoint, form, True, adjoint=f"disk_blur-{form}"),
    ))

    def registered(self):
        x, radius = radial_oracles.tensors(2, 3, (6, 5), 0, LARGEST)
        for form in FORMS:
            rest = form, "reflect", math.inf, ""
            yield from ((op, (x, radius, *rest)) for op in (_fwd, _adjoint, _slope_fwd, _slope_adjoint))
            yield _bwd_radius, (x, x.flip(-1), radius, *rest)


# values -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("radius", [0.2, 0.51, 0.75, 1.0, 2.5, 4.3, 11.2])
def test_a_uniform_radius_is_conv_with_its_kernel(backend, form, padding, radius):
    x, kernel = image(1, 2, 9, 12), disk_kernel(torch.tensor(radius, dtype=DOUBLE), 2 * math.ceil(radius + 0.5) + 1)[None, None]
    map_ = torch.full((1, 1, 9, 12), radius, dtype=DOUBLE)
    close(disk_blur(x, map_, form=form, padding=padding, backend=backend), svconv.conv(x, kernel, padding=padding), scale=30)
    close(disk_blur_adjoint(x, map_, form=form, padding=padding, backend=backend), svconv.conv_adjoint(x, kernel, padding=padding),
          scale=30)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("form", FORMS)
def test_dense_matrices(backend, form, padding):
    """One column of the op at a time, radii from 0 to larger than the image; the adjoint is its transpose."""
    h, w = 5, 4
    radius = torch.tensor([0, -2, 0.5, 0.6, 0.71, 1, 1.5, 2.2, 3.5, 4.9, 6.3, 7, 0.3, 2.5, 1.2, 0.9, 0.501, 3, 1.9, 0.1], dtype=DOUBLE)
    radius = radius.reshape(1, 1, h, w)
    unit = torch.eye(h * w, dtype=DOUBLE).reshape(h * w, 1, h, w)
    forward = disk_blur(unit, radius, form=form, padding=padding, backend=backend).reshape(h * w, h * w).T
    adjoint = disk_blur_adjoint(unit, radius, form=form, padding=padding, backend=backend).reshape(h * w, h * w)
    expected = radial_oracles.matrix(disk_kernel(radius[0, 0], 15), form, padding)
    torch.testing.assert_close(forward, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(adjoint, forward, atol=1e-13, rtol=0)


def test_scatter_is_the_transpose_of_gather_for_zeros_and_circular(backend):
    x, radius = radial_oracles.tensors(1, 2, (9, 11), 3, 4.0)
    for padding in ("zeros", "circular"):
        close(disk_blur(x, radius, form="scatter", padding=padding, backend=backend),
              disk_blur_adjoint(x, radius, form="gather", padding=padding, backend=backend), scale=10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [DOUBLE, torch.float32, torch.bfloat16])
def test_up_to_half_a_pixel_nothing_changes(backend, form, dtype):
    x = image(2, 3, 7, 6, dtype)
    radius = torch.rand(2, 1, 7, 6, dtype=torch.float32 if dtype == torch.bfloat16 else dtype) * 3 - 2.5
    assert torch.equal(disk_blur(x, radius.clamp(max=0.5), form=form, backend=backend), x)
    assert torch.equal(disk_blur_adjoint(x, radius.clamp(max=0.5), form=form, backend=backend), x)


def test_shared_maps_equal_their_copies(backend):
    x, radius = image(2, 3, 8, 9), 3 * torch.rand(1, 1, 8, 9, dtype=DOUBLE)
    for form in FORMS:
        expected = disk_blur(x, radius.expand(2, 3, 8, 9).contiguous(), form=form, backend=backend)
        close(disk_blur(x, radius, form=form, backend=backend), expected, scale=4)
        g = torch.randn_like(x)
        rest = form, "replicate", math.inf, backend
        whole = _bwd_radius(x, g, radius.expand(2, 3, 8, 9).contiguous(), *rest)
        for shape in ((1, 1), (2, 1), (1, 3)):
            one = _bwd_radius(x, g, radius.expand(*shape, 8, 9).contiguous(), *rest)
            close(one, svconv._shapes.sum_to(whole, one.shape), scale=30)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(16, 150), (3, 5), (70, 40)])
@pytest.mark.parametrize("fast", [name for name in BACKENDS if name != "reference"])
def test_large_radii(fast, form, size):
    """Larger than tiles, than vectors and than the image, beside small ones."""
    g = torch.Generator().manual_seed(5)
    x, radius = image(1, 2, *size), 3 * torch.rand(1, 1, *size, generator=g, dtype=DOUBLE)
    radius[..., 1, size[1] // 2], radius[..., -1, -1], radius[..., 0, 0] = 13.3, 11.0, 9.5
    for padding in ("zeros", "reflect"):
        expected = disk_blur(x, radius, form=form, padding=padding, backend="reference")
        close(disk_blur(x, radius, form=form, padding=padding, backend=fast), expected, scale=100)
        for name in (_adjoint, _slope_fwd, _slope_adjoint):
            close(name(x, radius, form, padding, math.inf, fast), name(x, radius, form, padding, math.inf, "reference"), scale=100)
        close(_bwd_radius(x, expected, radius, form, padding, math.inf, fast),
              _bwd_radius(x, expected, radius, form, padding, math.inf, "reference"), scale=100)


def test_float32_is_near_float64(backend):
    x, radius = image(1, 3, 60, 70, torch.float32), 8 * torch.rand(1, 1, 60, 70)
    for form in FORMS:
        for function in (disk_blur, disk_blur_adjoint):
            exact = function(x.double(), radius.double(), form=form, backend=backend)
            assert float((function(x, radius, form=form, backend=backend) - exact).abs().max()) < 1e-5 * float(exact.abs().max())


def test_one_bright_pixel_does_not_spoil_others(backend):
    x, radius = image(1, 1, 24, 200, torch.float32), torch.full((1, 1, 24, 200), 6.0)
    radius[..., ::3] = 3.3
    for bright in (1e30, math.inf, math.nan):
        star = x.clone()
        star[..., 12, 100] = bright
        for form in FORMS:
            for function in (disk_blur, disk_blur_adjoint):
                before, after = (function(t, radius, form=form, backend=backend) for t in (x, star))
                for part in (slice(0, 93), slice(108, None)):
                    assert torch.equal(before[..., part], after[..., part])


def test_one_large_radius_changes_its_own_neighbourhood_only(backend):
    x, radius = image(1, 1, 20, 200, torch.float32), torch.full((1, 1, 20, 200), 1.7)
    large = radius.clone()
    large[..., 10, 20] = 15.0
    for form, function in ((f, o) for f in FORMS for o in (disk_blur, disk_blur_adjoint)):
        before, after = (function(x, r, form=form, backend=backend)[..., 36:] for r in (radius, large))
        close(after, before.double(), scale=4)


# special radii ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("form", FORMS)
def test_a_radius_that_is_no_number_spoils_its_own_pixel(backend, form, bad):
    x, radius = image(1, 2, 9, 10), 2 * torch.rand(1, 1, 9, 10, dtype=DOUBLE)
    spoiled = radius.clone()
    spoiled[..., 4, 5] = bad
    radius[..., 4, 5] = 0.0
    for function in (disk_blur, disk_blur_adjoint):
        y = function(x, spoiled, form=form, padding="zeros", backend=backend)
        assert bool(y[..., 4, 5].isnan().all()) and int(y.isnan().sum()) == 2
        expected = function(x, radius, form=form, padding="zeros", backend=backend)
        y[..., 4, 5] = expected[..., 4, 5]
        close(y, expected, scale=10)


def test_max_radius_clamps_with_gradient_zero(backend):
    x = image(1, 2, 9, 10)
    radius = (5 * torch.rand(1, 1, 9, 10, dtype=DOUBLE)).requires_grad_()
    for form in FORMS:
        y = disk_blur(x, radius, form=form, max_radius=2.2, backend=backend)
        clamped = radius.detach().clamp(max=2.2).requires_grad_()
        expected = disk_blur(x, clamped, form=form, backend=backend)
        close(y.detach(), expected.detach(), scale=4)
        found, = torch.autograd.grad(y.square().sum(), radius)
        wanted, = torch.autograd.grad(expected.square().sum(), clamped)
        assert not found[radius > 2.2].any()
        close(found, torch.where(radius.detach() > 2.2, 0.0, wanted), scale=30)
        generous = disk_blur(x, radius, form=form, max_radius=40, backend=backend)
        close(generous.detach(), disk_blur(x, radius, form=form, backend=backend).detach(), scale=4)


def test_signed_maps_work_through_abs(backend):
    x, defocus = image(1, 1, 6, 7), (4 * torch.rand(1, 1, 6, 7, dtype=DOUBLE) - 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: disk_blur(x, d.abs(), backend=backend), defocus, fast_mode=True)


# gradients ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("form", FORMS)
def test_the_gradient_in_the_radius(backend, form):
    """Away from n + 1/2 by finite differences, at n + 1/2 by those from below; 0 up to 1/2."""
    x, g = image(1, 2, 9, 8), image(1, 2, 9, 8, seed=4)
    for value, low, high, limit in ((0.8, 1e-6, 1e-6, 1e-6), (1.7, 1e-6, 1e-6, 1e-6), (3.2, 1e-6, 1e-6, 1e-6), (0.5, 1e-6, 0, 1e-12),
                                    (1.5, 1e-6, 0, 1e-5), (2.5, 1e-6, 0, 1e-5), (0.3, 1e-3, 1e-3, 1e-12), (-1.0, 1e-3, 1e-3, 1e-12)):
        radius = torch.full((1, 1, 9, 8), value, dtype=DOUBLE)
        found = _bwd_radius(x, g, radius, form, "symmetric", math.inf, backend)
        for row, column in ((4, 4), (0, 0), (8, 3)):
            ends = []
            for step in (-low, high):
                moved = radius.clone()
                moved[..., row, column] += step
                ends.append((disk_blur(x, moved, form=form, padding="symmetric", backend=backend) * g).sum())
            assert abs(float((ends[1] - ends[0]) / (low + high) - found[0, 0, row, column])) < limit * 10, (value, row, column)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("function", [disk_blur, disk_blur_adjoint])
def test_mixed_derivatives_and_the_second_in_the_radius(backend, form, function):
    x, g = image(1, 2, 4, 5).requires_grad_(), image(1, 2, 4, 5, seed=4).requires_grad_()
    radius = (3 * torch.rand(1, 1, 4, 5, generator=torch.Generator().manual_seed(2), dtype=DOUBLE)).requires_grad_()

    def gradients(x, radius, g):
        y = function(x, radius, form=form, padding="reflect", backend=backend)
        return torch.autograd.grad(y, (x, radius), g, create_graph=True)

    held = radius.detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, g: gradients(x, held, g)[1], (x, g), fast_mode=True)
    assert torch.autograd.gradcheck(lambda r: gradients(x, r, g)[0], radius, fast_mode=True)
    assert torch.autograd.grad(gradients(x, radius, g)[1].square().sum(), (x, g))[0].abs().sum() > 0
    with pytest.raises(NotImplementedError, match="disk_blur: the gradient in radius is of first order"):
        gradients(x, radius, g)[1].sum().backward()
    with pytest.raises(NotImplementedError, match="radius is of first order"):
        torch.func.jvp(torch.func.grad(lambda r: (function(x, r, form=form, backend=backend) * g).sum()), (held,), (torch.ones_like(held),))


def test_derivatives_of_the_slope(backend):
    x, radius = image(1, 2, 4, 5).requires_grad_(), 3 * torch.rand(1, 1, 4, 5, dtype=DOUBLE)
    for form in FORMS:
        rest = form, "circular", math.inf, backend
        for op in (_slope_fwd, _slope_adjoint):
            assert torch.autograd.gradcheck(lambda x: op(x, radius, *rest), x, fast_mode=True, check_forward_ad=True)
            assert torch.autograd.gradgradcheck(lambda x: op(x, radius, *rest), x, fast_mode=True)


def test_gradients_come_in_their_own_dtypes(backend):
    for dtype, other in ((torch.bfloat16, torch.float32), (torch.float16, torch.float16), (torch.float32, torch.float32)):
        x, radius = image(1, 2, 6, 7, dtype).requires_grad_(), (2 * torch.rand(1, 1, 6, 7)).to(other).requires_grad_()
        y = disk_blur(x, radius, backend=backend)
        y.float().sum().backward()
        assert y.dtype == dtype and x.grad.dtype == dtype and radius.grad.dtype == other
        close(y.detach(), disk_blur(x.detach().double(), radius.detach().double()), scale=2)


# errors -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("function, name", [(disk_blur, "x"), (disk_blur_adjoint, "y")])
def test_errors_name_the_argument(function, name):
    x, radius = torch.rand(2, 3, 6, 7), torch.rand(1, 1, 6, 7)

    def refused(error, match, *tensors, **options):
        with pytest.raises(error, match=match):
            function(*(tensors or (x, radius)), **options)

    refused(ValueError, "radius: expected W of .* = 7 at axis -1", x, radius[..., :5])
    refused(ValueError, r"radius: expected \[B\|1, C\|1, H, W\], got \[6, 7\]", x, radius[0, 0])
    refused(ValueError, "radius: expected a batch of 1 or that", x, torch.rand(3, 1, 6, 7))
    refused(ValueError, "radius: expected channels of 1 or those", x, torch.rand(1, 2, 6, 7))
    refused(TypeError, f"radius: expected dtype torch.float32 like {name}", x, radius.double())
    refused(TypeError, "radius: expected dtype torch.float64 like", x.double(), radius)
    refused(TypeError, "radius: expected a torch.Tensor, got float", x, 2.0)
    refused(ValueError, "form: expected \"scatter\" or \"gather\", got 'both'", form="both")
    refused(ValueError, "padding: expected one of", padding="same")
    refused(ValueError, "max_radius: expected a number >= 0, got -1", max_radius=-1)
    refused(ValueError, "max_radius: expected a number >= 0, got nan", max_radius=math.nan)
    for value in (-1.0, math.nan, math.inf):
        bad = radius.clone()
        bad[..., 2, 3] = value
        refused(ValueError, "radius: expected finite values >= 0, got values from", x, bad, check=True)
        function(x, bad)
    function(x, radius, check=True)


def test_a_radius_beyond_all_measure_is_an_error(backend):
    x, radius = torch.rand(1, 1, 4, 5), torch.full((1, 1, 4, 5), 1e6)
    for function in (disk_blur, disk_blur_adjoint):
        with pytest.raises(ValueError, match=r"radius: expected at most 16384 pixels \(max_radius= clamps\), got 1e\+06"):
            function(x, radius, backend=backend)
        function(x, radius, max_radius=3, backend=backend)
