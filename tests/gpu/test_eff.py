"""The eff family on a GPU: every backend that runs there against the reference on the CPU in float64."""
import pytest
import torch

import oracles
import svconv
from oracles import PADDINGS, close, image, psf
from svconv._form import FORMS

pytestmark = pytest.mark.gpu
BACKENDS = oracles.usable_backends("eff", "eff_fwd", "cuda") if torch.cuda.is_available() else ["triton"]
SCALE = {torch.float64: 200, torch.float32: 40, torch.bfloat16: 2, torch.float16: 4}
GRID = svconv.EFFGrid((70, 91), (3, 4), overlap=0.4)


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def case(dtype=torch.float64, grid=GRID, k=(5, 4), kernels=(1, 3)):
    return (image(2, 3, *grid.image_size, dtype=dtype), psf(*kernels, grid.patches, *k, dtype=dtype),
            image(2, 3, *grid.image_size, seed=2, dtype=dtype))


def results(x, kernels, y, padding, backend, grid=GRID):
    options = {"padding": padding, "backend": backend}
    for form in FORMS:
        yield svconv.eff_conv(x, kernels, grid, form=form, **options)
        yield svconv.eff_conv_adjoint(x, kernels, grid, form=form, **options)
        yield svconv.eff_kernel_adjoint(x, y, grid, kernels.shape[-2:], form=form, **options)
    yield svconv.eff_image_quotient(y, kernels, grid, beta=0.1, **options)
    yield svconv.eff_kernel_quotient(x, y, grid, kernels.shape[-2:], beta=1.0, backend=backend)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("dtype", SCALE)
def test_matches_the_reference(backend, padding, dtype):
    given = case(dtype)
    expected = results(*(t.double() for t in given), padding, "reference")
    for actual, e in zip(results(*(t.cuda() for t in given), padding, backend), expected, strict=True):
        assert actual.dtype == dtype and actual.is_contiguous()
        close(actual, e, scale=SCALE[dtype])


@pytest.mark.parametrize("kernels", [(2, 3), (1, 3), (2, 1), (1, 1)])
def test_shared_kernels(backend, kernels):
    given = case(kernels=kernels)
    for actual, e in zip(results(*(t.cuda() for t in given), "reflect", backend), results(*given, "reflect", "reference"), strict=True):
        close(actual, e, scale=SCALE[torch.float64])


def test_two_runs_have_equal_bits(backend):
    grid = svconv.EFFGrid((500, 700), (9, 12))
    given = [t.cuda() for t in case(torch.float32, grid, (17, 21))]     # quotients on planes of even length, which cuda asks for
    first, second = (tuple(results(*given, "replicate", backend, grid)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second))


def test_several_batches(backend):
    grid = svconv.EFFGrid((900, 1100), (20, 24))
    x, kernels, _ = case(torch.float32, grid, (21, 20), (1, 1))
    for form in FORMS:
        expected = svconv.eff_conv(x.double(), kernels.double(), grid, form=form, padding="symmetric", backend="reference")
        close(svconv.eff_conv(x.cuda(), kernels.cuda(), grid, form=form, padding="symmetric", backend=backend), expected, scale=40)


def test_runs_on_the_current_stream(backend):
    grid = svconv.EFFGrid((256, 256), (4, 4))
    x, kernels, y = (t.cuda() for t in case(torch.float32, grid))
    expected = tuple(results(x, kernels, y, "circular", backend, grid))
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        late = torch.zeros_like(x)
        torch.cuda._sleep(20_000_000)
        late.copy_(x)
        actual = tuple(results(late, kernels, y, "circular", backend, grid))
    stream.synchronize()
    assert all(torch.equal(a, e) for a, e in zip(actual, expected))


def test_compile_fullgraph():
    torch._dynamo.reset()
    x, kernels, _ = (t.cuda().requires_grad_() for t in case(torch.float32))

    def loss(x, kernels):
        return svconv.eff_image_quotient(svconv.eff_conv(x, kernels, GRID), kernels, GRID, beta=0.1).square().sum()

    expected = torch.autograd.grad(loss(x, kernels), (x, kernels))
    for a, e in zip(torch.autograd.grad(torch.compile(loss, fullgraph=True)(x, kernels), (x, kernels)), expected):
        assert torch.allclose(a, e, rtol=1e-3, atol=1e-3)
