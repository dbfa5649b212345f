"""The pixel_filter family on a GPU: every backend that runs there against the reference in float64."""
import pytest
import torch

import oracles
import svconv
from gpu_calls import DTYPES_AND_PADDINGS, two_paddings
from oracles import close
from svconv.ops.pixel_filter import _adjoint, _bwd_filters, _fwd, _gram

pytestmark = pytest.mark.gpu
HAS_GPU = torch.cuda.is_available()
BACKENDS = oracles.usable_backends("pixel_filter", "pixel_filter_fwd", "cuda") if HAS_GPU else ["triton"]


def case(b=2, c=3, m=2, k=(5, 4), hw=(33, 129), fb=None, fc=None, dtype=torch.float64):
    x = torch.randn(b, c, *hw, dtype=torch.float64).to(dtype)
    f = torch.randn(fb or b, fc or c, m, *k, *hw, dtype=torch.float64).to(dtype)
    y = torch.randn(b, c, m, *hw, dtype=torch.float64).to(dtype)
    return x.cuda(), f.cuda(), y.cuda()


def results(x, f, y, padding, backend):
    like = f.shape, f.dtype
    return (_fwd(x, f, padding, backend), _adjoint(y, f, padding, backend),
            _bwd_filters(x, y, *like, padding, backend), _gram(x, f, y.abs(), padding, backend))


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.mark.parametrize("dtype, padding, fb, fc", [(*both, None, None) for both in DTYPES_AND_PADDINGS] + [
    (dtype, padding, 1, 1) for dtype, padding in DTYPES_AND_PADDINGS if padding == "reflect"])
def test_matches_the_reference(backend, dtype, padding, fb, fc):
    x, f, y = case(dtype=dtype, fb=fb, fc=fc)
    expected = results(x.double().cpu(), f.double().cpu(), y.double().cpu(), padding, "reference")
    for actual, e in zip(results(x, f, y, padding, backend), expected):
        assert actual.dtype == dtype and actual.is_contiguous()
        close(actual, e, scale=10 if dtype in (torch.float32, torch.float64) else 2)


@pytest.mark.parametrize("i, k, hw", [(0, (1, 1), (1, 1)), (1, (9, 11), (5, 4)), (2, (31, 31), (70, 65)), (3, (2, 3), (127, 128))])
def test_sizes(backend, i, k, hw):
    x, f, y = case(1, 2, 1, k, hw)
    for padding in two_paddings(i):
        for actual, e in zip(results(x, f, y, padding, backend), results(x.cpu(), f.cpu(), y.cpu(), padding, "reference")):
            close(actual, e, scale=10)


def test_compile_fullgraph():
    torch._dynamo.reset()
    x, f, _ = (t.requires_grad_() for t in case(dtype=torch.float32))

    def loss(x, f):
        return svconv.pixel_filter(x, f).square().sum()

    expected = torch.autograd.grad(loss(x, f), (x, f))
    for a, e in zip(torch.autograd.grad(torch.compile(loss, fullgraph=True)(x, f), (x, f)), expected):
        assert torch.allclose(a, e, rtol=1e-4, atol=1e-4)


def test_two_runs_have_equal_bits(backend):
    x, f, y = case(2, 3, 3, (7, 7), (257, 300), dtype=torch.float32)
    first, second = results(x, f, y, "reflect", backend), results(x, f, y, "reflect", backend)
    assert all(torch.equal(a, b) for a, b in zip(first, second))


def test_runs_on_the_current_stream(backend):
    x, f, _ = case(1, 3, 3, (7, 7), (512, 512), dtype=torch.float32)
    expected = svconv.pixel_filter(x, f, backend=backend)
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        late = torch.zeros_like(x)
        torch.cuda._sleep(20_000_000)
        late.copy_(x)
        y = svconv.pixel_filter(late, f, backend=backend)
    stream.synchronize()
    assert torch.equal(y, expected)


def test_permuted_head_and_nan(backend):
    x, f, y = case(2, 3, 2, (3, 3), (20, 40))
    head = f.flatten(1, 4).contiguous(memory_format=torch.channels_last).view(2, 3, 2, 3, 3, 20, 40)
    close(svconv.pixel_filter(x, head, backend=backend), svconv.pixel_filter(x.cpu(), f.cpu(), backend="reference"), scale=10)
    x[0, 0, 10, 20] = float("nan")
    bad = svconv.pixel_filter(x, f, backend=backend)[:, :, 0].isnan().nonzero()
    assert bad.shape[0] == 9 and bad[:, :2].sum() == 0
