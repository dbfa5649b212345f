"""Barthann, KernelQuotient, ImageQuotient: the ops behind them, parameters, state and errors."""
import pytest
import torch

import svconv
from svconv import nn


def test_barthann_is_the_taper_of_the_kernel_quotient():
    x, y = torch.randn(1, 2, 20, 23, dtype=torch.float64), torch.randn(1, 2, 20, 23, dtype=torch.float64)
    taper = nn.Barthann((5, 3))
    expected = svconv.kernel_quotient(x, y, (5, 3))
    assert torch.allclose(svconv.kernel_quotient(taper(x), taper(y), (5, 3), taper=None), expected, atol=1e-12)
    assert taper(x.bfloat16()).dtype == torch.bfloat16 and "size=(5, 3)" in repr(taper)


def test_kernel_quotient_layer():
    x, y = torch.rand(2, 3, 16, 18), torch.rand(2, 3, 16, 18)
    plain = nn.KernelQuotient(5, beta=1e-3)
    assert torch.equal(plain(x, y), svconv.kernel_quotient(x, y, 5, beta=1e-3)) and not plain.state_dict()
    learned = nn.KernelQuotient(5, beta=1e-3, learnable=True, project=True)
    k = learned(x, y)
    assert torch.allclose(k.sum((-2, -1)), torch.ones(2)) and k.min() >= 0
    k.square().sum().backward()
    assert list(learned.state_dict()) == ["log_beta"] and learned.log_beta.grad.abs() > 0


def test_image_quotient_layer():
    y, k = torch.rand(1, 3, 12, 11), torch.rand(1, 3, 3)
    layer = nn.ImageQuotient(0.05, prior="gradient", padding="edge")
    assert torch.allclose(layer(y, k), svconv.image_quotient(y, k, beta=0.05, prior="gradient", padding="replicate"), atol=1e-5)
    layer(y, k).square().sum().backward()
    assert layer.log_beta.grad.abs() > 0 and list(layer.state_dict()) == ["log_beta"]
    filters = torch.rand(2, 2, 2)
    given = nn.ImageQuotient(0.05, prior=filters, learnable=False)
    assert torch.equal(given(y, k), svconv.image_quotient(y, k, beta=0.05, prior=filters)) and list(given.state_dict()) == ["filters"]


@pytest.mark.parametrize("make,match", [
    (lambda: nn.Barthann(0), "size: expected an integer >= 1"),
    (lambda: nn.KernelQuotient(5, beta=0), "beta: expected a number > 0, got 0"),
    (lambda: nn.ImageQuotient(-1.0), "beta: expected a number > 0, got -1.0"),
    (lambda: nn.ImageQuotient(prior="tv"), 'prior: expected "identity", "gradient"'),
    (lambda: nn.ImageQuotient(padding="odd"), "padding: expected one of"),
])
def test_errors(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize("dynamic", [False, True])
def test_barthann_compiles_in_one_graph(dynamic):
    layer = nn.Barthann((3, 4))
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for hw in ((16, 15), (17, 12)):
        x = torch.rand(1, 2, *hw, requires_grad=True)
        y = compiled(x)
        assert torch.equal(y, layer(x))
        y.sum().backward()
        assert torch.equal(x.grad, layer(torch.ones_like(x)).detach())
