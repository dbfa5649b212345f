"""The quotient family on a GPU: every backend that runs there against the reference on the CPU in float64."""
import pytest
import torch

import oracles
import svconv
from oracles import PADDINGS, close

pytestmark = pytest.mark.gpu
BACKENDS = oracles.usable_backends("quotient", "kernel_quotient_fwd", "cuda") if torch.cuda.is_available() else ["triton"]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
SCALE = {torch.float64: 100, torch.float32: 20, torch.bfloat16: 2, torch.float16: 4}


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def case(dtype=torch.float64, hw=(40, 37), k=(5, 4)):
    x = torch.rand(2, 3, *hw, dtype=torch.float64).to(dtype)
    kernel = torch.rand(1, 3, *k, dtype=torch.float64).div_(k[0] * k[1] / 2).to(dtype)
    return x, kernel, torch.rand(2, 3, *hw, dtype=torch.float64).to(dtype)


def results(x, kernel, y, padding, backend):
    return (svconv.conv(x, kernel, padding=padding, backend=backend), svconv.conv_adjoint(x, kernel, padding=padding, backend=backend),
            svconv.kernel_quotient(x, y, (5, 4), beta=1.0, backend=backend),
            svconv.image_quotient(y, kernel, beta=0.1, prior="gradient", padding=padding, backend=backend))


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_matches_the_reference(backend, padding, dtype):
    given = case(dtype)
    expected = results(*(t.double() for t in given), padding, "reference")
    for actual, e in zip(results(*(t.cuda() for t in given), padding, backend), expected):
        assert actual.dtype == dtype and actual.is_contiguous()
        close(actual, e, scale=SCALE[dtype])


def test_two_runs_have_equal_bits(backend):
    given = [t.cuda() for t in case(torch.float32, (255, 300), (17, 16))]
    first, second = (results(*given, "replicate", backend) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second))


def test_runs_on_the_current_stream(backend):
    x, kernel, y = (t.cuda() for t in case(torch.float32, (256, 256)))
    expected = results(x, kernel, y, "circular", backend)
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        late = torch.zeros_like(x)
        torch.cuda._sleep(20_000_000)
        late.copy_(x)
        actual = results(late, kernel, y, "circular", backend)
    stream.synchronize()
    assert all(torch.equal(a, e) for a, e in zip(actual, expected))


def test_compile_fullgraph():
    torch._dynamo.reset()
    x, kernel, _ = (t.cuda().requires_grad_() for t in case(torch.float32))

    def loss(x, kernel):
        return svconv.image_quotient(svconv.conv(x, kernel), kernel, beta=0.1).square().sum()

    expected = torch.autograd.grad(loss(x, kernel), (x, kernel))
    for a, e in zip(torch.autograd.grad(torch.compile(loss, fullgraph=True)(x, kernel), (x, kernel)), expected):
        assert torch.allclose(a, e, rtol=1e-3, atol=1e-3)
