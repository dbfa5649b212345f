"""PixelFilter2d and FilterPredictor: shapes, views, parameter counts, errors."""
import pytest
import torch

import svconv
from svconv import nn


@pytest.mark.parametrize("filters,size,channels,count", [(3, 5, 3, 279_329), (5, 5, 3, 365_879)])
def test_parameter_counts_of_the_paper(filters, size, channels, count):
    net = nn.FilterPredictor(3, filters, size, channels=channels)
    assert sum(p.numel() for p in net.parameters()) == count


def test_filters_lie_plane_by_plane():
    """The last convolution writes channels last; the filters are read plane by plane."""
    net = nn.FilterPredictor(1, 2, 3, channels=2, width=4, depth=1)
    x = torch.rand(2, 1, 6, 7)
    out = net(x.contiguous(memory_format=torch.channels_last))
    assert out.shape == (2, 2, 2, 3, 3, 6, 7) and out.is_contiguous()
    torch.testing.assert_close(out.flatten(1, 4), net.layers(x))


def test_zero_sum_takes_the_mean_off_every_filter():
    torch.manual_seed(0)
    free, zero = (nn.FilterPredictor(1, 2, 3, channels=2, width=4, depth=1, zero_sum=zero_sum) for zero_sum in (False, True))
    zero.load_state_dict(free.state_dict())
    x = torch.rand(1, 1, 6, 7)
    expected = free(x)
    torch.testing.assert_close(zero(x), expected - expected.mean((3, 4), keepdim=True))


def test_gradient_reaches_the_predictor():
    net = nn.FilterPredictor(1, 2, 3, channels=1, width=4, depth=2)
    x = torch.rand(1, 3, 6, 7)
    nn.PixelFilter2d(padding="reflect")(x, net(x[:, :1])).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    assert sum(float(p.grad.abs().sum()) for p in net.parameters()) > 0


def test_layer_equals_the_op_and_its_adjoint():
    x, f = torch.rand(1, 2, 5, 6), torch.rand(1, 3, 3, 5, 6)
    assert torch.equal(nn.PixelFilter2d("circular")(x, f), svconv.pixel_filter(x, f, padding="circular"))
    assert torch.equal(nn.PixelFilter2d("wrap", adjoint=True)(x, f), svconv.pixel_filter_adjoint(x, f, padding="circular"))
    assert "circular" in repr(nn.PixelFilter2d("wrap")) and not list(nn.PixelFilter2d().state_dict())


@pytest.mark.parametrize(
    "arguments,text", [((0, 1, 3), "in_channels: expected an integer >= 1, got 0"), ((1, 2.0, 3), "filters: .*got 2.0")]
)
def test_bad_hyper_parameters(arguments, text):
    with pytest.raises(ValueError, match=text):
        nn.FilterPredictor(*arguments)
    with pytest.raises(ValueError, match="padding"):
        nn.PixelFilter2d("same")


def test_wrong_guide():
    with pytest.raises(ValueError, match="guide: expected 3 channels, got 1"):
        nn.FilterPredictor(3, 1, 3)(torch.rand(1, 1, 4, 4))
