"""The gaussian family on a GPU: every backend that runs there against the reference on the CPU in float64."""
import math

import pytest
import torch

import oracles
import svconv
from gpu_calls import DTYPES_AND_PADDINGS, two_paddings
from oracles import close
from svconv._form import FORMS
from svconv.ops.gaussian import _adjoint, _bwd_sigma, _fwd, _slope_adjoint, _slope_fwd

pytestmark = pytest.mark.gpu
BACKENDS = oracles.usable_backends("gaussian", "gaussian_blur_fwd", "cuda") if torch.cuda.is_available() else ["triton"]
SCALE = {torch.float64: 100, torch.float32: 100, torch.bfloat16: 2, torch.float16: 2}


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def case(dtype=torch.float64, shape=(2, 3, 40, 53), maps=(1, 1), largest=2.0):
    generator = torch.Generator().manual_seed(0)
    x, g = (torch.rand(shape, dtype=torch.float64, generator=generator).to(dtype) for _ in range(2))
    sigma = (largest + 0.3) * torch.rand(*maps, *shape[2:], dtype=torch.float64, generator=generator) - 0.3
    return x, g, sigma.to(torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype)


def results(x, g, sigma, form, padding, backend, max_sigma=math.inf):
    rest = sigma, form, padding, max_sigma, 3.0, backend
    return _fwd(x, *rest), _adjoint(x, *rest), _bwd_sigma(x, g, *rest), _slope_fwd(x, *rest), _slope_adjoint(x, *rest)


def agree(given, form, padding, backend, scale, max_sigma=math.inf):
    expected = results(*(t.double() for t in given), form, padding, "reference", max_sigma)
    for actual, e, like in zip(results(*(t.cuda() for t in given), form, padding, backend, max_sigma), expected, "xxsxx"):
        assert actual.dtype == given["xgs".index(like)].dtype and actual.is_contiguous()
        close(actual, e, scale=scale)


@pytest.mark.parametrize("dtype, padding", DTYPES_AND_PADDINGS)
@pytest.mark.parametrize("form", FORMS)
def test_matches_the_reference(backend, form, dtype, padding):
    agree(case(dtype), form, padding, backend, SCALE[dtype])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("i, shape, maps, largest", [
    (0, (1, 1, 2, 3), (1, 1), 2.0),
    (1, (2, 5, 9, 7), (2, 1), 5.0),
    (2, (1, 2, 70, 90), (1, 2), 3.0)])
def test_sizes(backend, form, i, shape, maps, largest):
    for padding in two_paddings(i + 2 * FORMS.index(form)):
        agree(case(torch.float64, shape, maps, largest), form, padding, backend, 1000)


@pytest.mark.parametrize("form", FORMS)
def test_max_sigma_needs_no_look_at_the_map(backend, form):
    x, g, sigma = (t.cuda() for t in case(torch.float32))
    expected = results(x, g, sigma, form, "replicate", backend, 2.0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        actual = results(x, g, sigma, form, "replicate", backend, 2.0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(torch.equal(a, e) for a, e in zip(actual, expected))
    agree(case(), form, "replicate", backend, 100, max_sigma=1.1)


@pytest.mark.parametrize("form", FORMS)
def test_two_runs_have_equal_bits(backend, form):
    given = [t.cuda() for t in case(torch.float32, (2, 3, 255, 300), largest=6.0)]
    first, second = (results(*given, form, "reflect", backend) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second))


def test_bad_sigmas(backend):
    x, _, sigma = case(torch.float32, (1, 1, 30, 40))
    sigma[..., 10, 20] = math.nan
    for form in FORMS:
        bad = svconv.gaussian_blur(x.cuda(), sigma.cuda(), form=form, backend=backend).isnan().nonzero()
        assert bad.tolist() == [[0, 0, 10, 20]]
