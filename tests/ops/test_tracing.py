"""A tensor of beta is not read by the host where that would break a trace, a transform or a fake tensor."""
import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

import svconv

CALLS = {
    "image_quotient": lambda y, k, beta: svconv.image_quotient(y, k, beta=beta, prior="gradient", padding="reflect"),
    "kernel_quotient": lambda y, k, beta: svconv.kernel_quotient(y, y.flip(-1), 3, beta=beta),
}


@pytest.fixture(params=CALLS)
def call(request):
    return CALLS[request.param]


def arguments():
    return torch.rand(2, 2, 9, 8), torch.rand(1, 3, 3), torch.tensor([0.1, 0.2])


def test_vmap_over_beta(call):
    y, k, _ = arguments()
    betas = torch.tensor([[0.1], [0.5], [2.0]])
    together = torch.vmap(lambda beta: call(y, k, beta))(betas)
    assert torch.equal(together, torch.stack([call(y, k, beta) for beta in betas]))


def test_fake_tensors(call):
    with FakeTensorMode() as mode:
        fakes = [mode.from_tensor(t) for t in arguments()]
        shape, strides = call(*fakes).shape, call(*fakes).stride()
    real = call(*arguments())
    assert shape == real.shape and strides == real.stride()


@pytest.mark.parametrize("mode", ["real", "fake"])
def test_make_fx(call, mode):
    traced = make_fx(call, tracing_mode=mode)(*arguments())
    y, k, beta = arguments()
    assert torch.equal(traced(y, k, beta * 3), call(y, k, beta * 3))


def test_values_are_still_checked_where_they_can_be_seen(call):
    y, k, _ = arguments()
    with pytest.raises(ValueError, match="beta: expected values > 0, got a smallest value of -1"):
        call(y, k, torch.tensor([1.0, -1.0]))
    with pytest.raises(ValueError, match="beta: expected values > 0"):
        torch.vmap(lambda beta: svconv.kernel_quotient(y, y, 3, beta=torch.tensor(-1.0), check=True))(torch.ones(2))
