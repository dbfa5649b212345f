"""The disk family on a GPU: every backend that runs there against the reference on the CPU in float64."""
import math

import pytest
import torch

import oracles
import svconv
from gpu_calls import DTYPES_AND_PADDINGS, two_paddings
from oracles import close
from svconv._form import FORMS
from svconv.ops.disk import _adjoint, _bwd_radius, _fwd, _slope_adjoint, _slope_fwd

pytestmark = pytest.mark.gpu
BACKENDS = oracles.usable_backends("disk", "disk_blur_fwd", "cuda") if torch.cuda.is_available() else ["triton"]
SCALE = {torch.float64: 100, torch.float32: 100, torch.bfloat16: 2, torch.float16: 2}


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def case(dtype=torch.float64, shape=(2, 3, 40, 53), maps=(1, 1), largest=6.0):
    generator = torch.Generator().manual_seed(0)
    x, g = (torch.rand(shape, dtype=torch.float64, generator=generator).to(dtype) for _ in range(2))
    radius = (largest + 0.5) * torch.rand(*maps, *shape[2:], dtype=torch.float64, generator=generator) - 0.5
    return x, g, radius.to(torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype)


def results(x, g, radius, form, padding, backend, max_radius=math.inf):
    rest = radius, form, padding, max_radius, backend
    return _fwd(x, *rest), _adjoint(x, *rest), _bwd_radius(x, g, *rest), _slope_fwd(x, *rest), _slope_adjoint(x, *rest)


def agree(given, form, padding, backend, scale, max_radius=math.inf):
    expected = results(*(t.double() for t in given), form, padding, "reference", max_radius)
    for actual, e, like in zip(results(*(t.cuda() for t in given), form, padding, backend, max_radius), expected, "xxrxx"):
        assert actual.dtype == given["xgr".index(like)].dtype and actual.is_contiguous()
        close(actual, e, scale=scale)


@pytest.mark.parametrize("dtype, padding", DTYPES_AND_PADDINGS)
@pytest.mark.parametrize("form", FORMS)
def test_matches_the_reference(backend, form, dtype, padding):
    agree(case(dtype), form, padding, backend, SCALE[dtype])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("i, shape, maps, largest", [
    (0, (1, 1, 2, 3), (1, 1), 5.0),
    (1, (2, 5, 9, 7), (2, 1), 12.0),
    (2, (1, 2, 70, 90), (1, 2), 9.0)])
def test_sizes(backend, form, i, shape, maps, largest):
    for padding in two_paddings(i + 2 * FORMS.index(form)):
        agree(case(torch.float64, shape, maps, largest), form, padding, backend, 1000)


@pytest.mark.parametrize("form", FORMS)
def test_large_radii_beside_small_ones(backend, form):
    """Beyond what the kernels meet offset by offset."""
    x, g, radius = case(torch.float64, (1, 3, 90, 110), (1, 1), 3.0)
    radius[..., 10, 20], radius[..., 80, 100] = 36.4, 41.0
    radius[..., 40:44, 50:54] = 38.0
    for padding in ("zeros", "reflect" if form == "gather" else "circular"):
        agree((x, g, radius), form, padding, backend, 1000)


@pytest.mark.parametrize("form", FORMS)
def test_max_radius_needs_no_look_at_the_map(backend, form):
    x, g, radius = (t.cuda() for t in case(torch.float32))
    expected = results(x, g, radius, form, "replicate", backend, 6.0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        actual = results(x, g, radius, form, "replicate", backend, 6.0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(torch.equal(a, e) for a, e in zip(actual, expected))
    agree(case(), form, "replicate", backend, 100, max_radius=3.1)


@pytest.mark.parametrize("form", FORMS)
def test_two_runs_have_equal_bits(backend, form):
    given = [t.cuda() for t in case(torch.float32, (2, 3, 255, 300), largest=20.0)]
    first, second = (results(*given, form, "reflect", backend) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second))


def test_runs_on_the_current_stream(backend):
    x, _, radius = (t.cuda() for t in case(torch.float32, (1, 3, 512, 512)))
    for form in FORMS:
        expected = svconv.disk_blur(x, radius, form=form, backend=backend)
        stream = torch.cuda.Stream()
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            late = torch.zeros_like(x)
            torch.cuda._sleep(20_000_000)
            late.copy_(x)
            y = svconv.disk_blur(late, radius, form=form, max_radius=6.0, backend=backend)
        stream.synchronize()
        close(y, expected, scale=10)


def test_bad_radii_and_values(backend):
    x, _, radius = case(torch.float32, (1, 1, 30, 40))
    radius[..., 10, 20] = math.nan
    for form in FORMS:
        bad = svconv.disk_blur(x.cuda(), radius.cuda(), form=form, backend=backend).isnan().nonzero()
        assert bad.tolist() == [[0, 0, 10, 20]]
    x[..., 5, 6] = math.nan
    radius = torch.full_like(radius, 2.0)
    for form in FORMS:
        expected = svconv.disk_blur(x, radius, form=form, backend="reference").isnan()
        assert torch.equal(svconv.disk_blur(x.cuda(), radius.cuda(), form=form, backend=backend).isnan().cpu(), expected)
    with pytest.raises(ValueError, match="radius: expected at most 16384"):
        svconv.disk_blur(x.cuda(), 20000 * radius.cuda(), backend=backend)


def test_compile_fullgraph():
    torch._dynamo.reset()
    x, _, radius = (t.cuda().requires_grad_() for t in case(torch.float32))

    def loss(x, radius):
        return svconv.disk_blur(x, radius, max_radius=6.0).square().sum()

    expected = torch.autograd.grad(loss(x, radius), (x, radius))
    for a, e in zip(torch.autograd.grad(torch.compile(loss, fullgraph=True)(x, radius), (x, radius)), expected):
        assert torch.allclose(a, e, rtol=1e-4, atol=1e-4)
