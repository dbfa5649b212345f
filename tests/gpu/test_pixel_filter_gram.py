"""The normal operator in CUDA C++ on a GPU, against the reference on the CPU in float64."""
import pytest
import torch

from oracles import PADDINGS, close
from svconv import backends
from svconv.ops.pixel_filter import _gram

pytestmark = pytest.mark.gpu
TYPES = [(torch.float64, torch.float64), (torch.float32, torch.float32), (torch.float32, torch.bfloat16), (torch.float16, torch.float16)]


@pytest.fixture(autouse=True)
def cuda():
    reason = backends.why_not("cuda", "pixel_filter", "pixel_filter_gram", "cuda")
    if reason:
        pytest.skip(reason)


def case(side, dtype=torch.float32, filters_dtype=torch.float32, shape=(2, 3, 37, 70), filters_of=(2, 1)):
    x = torch.randn(shape, dtype=torch.float64).to(dtype)
    filters = torch.randn(*filters_of, 2, side, side, *shape[2:], dtype=torch.float64).to(filters_dtype) / side
    weights = torch.rand(1, shape[1], 2, *shape[2:], dtype=torch.float64).to(dtype)
    return x.cuda(), filters.cuda(), weights.cuda()


def agree(given, padding):
    expected = _gram(*(t.double().cpu() for t in given), padding, "reference")
    close(_gram(*given, padding, "cuda"), expected, scale=10)


@pytest.mark.parametrize("side", [3, 5, 7])
@pytest.mark.parametrize("dtype, filters_dtype", TYPES)
def test_matches_the_reference(side, dtype, filters_dtype):
    agree(case(side, dtype, filters_dtype), "reflect")


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("shape", [(2, 3, 37, 70), (1, 2, 1, 1), (1, 1, 2, 33)])
def test_paddings_and_sizes(padding, shape):
    agree(case(7, shape=shape, filters_of=(1, 1)), padding)


def test_a_large_plane_twice_and_on_another_stream():
    given = case(7, shape=(1, 1, 1024, 1024), filters_of=(1, 1))
    agree(given, "zeros")
    first = _gram(*given, "zeros", "cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10_000_000)
        late = given[0] * 1.0
        second = _gram(late, *given[1:], "zeros", "cuda")
    stream.synchronize()
    assert torch.equal(first, second)


def test_in_a_graph():
    x, filters, weights = case(5)
    static, graph = x.clone(), torch.cuda.CUDAGraph()
    _gram(static, filters, weights, "symmetric", "cuda")
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        result = _gram(static, filters, weights, "symmetric", "cuda")
    static.copy_(2 * x)
    graph.replay()
    assert torch.equal(result, _gram(2 * x, filters, weights, "symmetric", "cuda"))
