"""EFFConv2d: it is eff_conv with learnable kernels."""
import copy

import pytest
import torch

import svconv
from svconv import EFFGrid
from svconv.nn import EFFConv2d

GRID = EFFGrid((20, 18), (2, 3))


def test_it_starts_as_the_identity_and_is_eff_conv():
    x = torch.rand(2, 3, 20, 18)
    for size in (5, (4, 3), 1):
        for form in ("scatter", "gather"):
            torch.testing.assert_close(EFFConv2d(GRID, size, form=form)(x), x, atol=1e-5, rtol=0)
    layer = EFFConv2d(GRID, (4, 3), channels=3, form="gather", padding="edge")
    torch.nn.init.normal_(layer.kernels)
    assert torch.equal(layer(x), svconv.eff_conv(x, layer.kernels, GRID, form="gather", padding="replicate"))
    assert repr(layer) == ("EFFConv2d(EFFGrid(image_size=(20, 18), grid=(2, 3), overlap=0.5, window='hann'), kernel_size=(4, 3), "
                           "channels=3, form='gather', padding='replicate')")


def test_state_copies_and_types():
    layer = EFFConv2d(GRID, 3)
    torch.nn.init.normal_(layer.kernels)
    other = EFFConv2d(GRID, 3)
    other.load_state_dict(layer.state_dict())
    x = torch.rand(1, 1, 20, 18, dtype=torch.float64)
    assert list(layer.state_dict()) == ["kernels"] and torch.equal(other.double()(x), copy.deepcopy(layer).double()(x))
    torch.testing.assert_close(layer.double()(x), svconv.eff_conv(x, layer.kernels, GRID))


def test_it_learns_the_kernels_of_a_blur():
    generator = torch.Generator().manual_seed(0)
    true = svconv.project_kernel(torch.rand(1, 6, 3, 3, generator=generator))
    layer = EFFConv2d(GRID, 3)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(80):
        x = torch.randn(4, 1, 20, 18, generator=generator)
        loss = (layer(x) - svconv.eff_conv(x, true, GRID)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float((layer.kernels.detach()[0] - true).abs().max()) < 0.05


def test_it_compiles_in_one_graph():
    layer, x = EFFConv2d(GRID, 3, padding="reflect"), torch.rand(2, 1, 20, 18)
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="aot_eager")(x), layer(x))


@pytest.mark.parametrize("call,error,match", [
    (lambda: EFFConv2d((2, 3), 3), TypeError, "grid: expected an EFFGrid, got tuple"),
    (lambda: EFFConv2d(GRID, 0), ValueError, "kernel_size: expected sides >= 1"),
    (lambda: EFFConv2d(GRID, 3, channels=0), ValueError, "channels: expected an integer >= 1, got 0"),
    (lambda: EFFConv2d(GRID, 3, form="x"), ValueError, "form: expected"),
    (lambda: EFFConv2d(GRID, 3, padding="x"), ValueError, "padding: expected"),
    (lambda: EFFConv2d(GRID, 3, channels=3)(torch.rand(1, 2, 20, 18)), ValueError, "kernels: expected channels of 1 or those of x"),
])
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()
