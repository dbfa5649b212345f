"""FeatureDistance: the formula, maps that were computed before, presets, gradients, bad input."""
import pytest
import torch
from torch import nn

from svconv.nn import FeatureDistance, FilterBankFeatures


class Powers(nn.Module):
    """The image, its square in half size, its cube in one number."""

    def forward(self, x):
        return [x, x[..., ::2, ::2].square(), x.pow(3).mean((2, 3), keepdim=True)]


def images(dtype=torch.float64):
    return torch.rand(2, 2, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(dtype).unbind(0)


def test_it_is_the_weighted_sum():
    x, y = images()
    parts = [float((p - q).abs().sum()) / p.numel() for p, q in zip(Powers()(x), Powers()(y))]
    distance = FeatureDistance(Powers(), (0.5, 2, 3))
    assert float(distance(x, y)) == pytest.approx(0.5 * parts[0] + 2 * parts[1] + 3 * parts[2], rel=1e-12)
    assert torch.equal(distance(x, y), distance(x, Powers()(y))) and float(distance(x, x)) == 0


def test_the_presets_are_those_of_the_papers():
    assert FeatureDistance(Powers()).weights == FeatureDistance.DEBLURRING == (0.2, 0.4, 0.8, 1.0, 3.0)
    assert FeatureDistance.REBLURRING == (0.03125, 0.0625, 0.125, 0.25, 1.0)


def test_gradients():
    x, y = images()
    for distance in (FeatureDistance(Powers(), (0.5, 2, 3)), FeatureDistance(FilterBankFeatures(2), (1, 2))):
        assert torch.autograd.gradcheck(distance, (x[:1].requires_grad_(), y[:1].requires_grad_()))


def test_it_grows_with_blur():
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    blurred = [nn.functional.avg_pool2d(x, 2 * n + 1, 1, n, count_include_pad=False) for n in range(4)]
    values = [float(FeatureDistance(FilterBankFeatures())(b, x)) for b in blurred]
    assert values[0] == 0 and all(low < high for low, high in zip(values, values[1:]))


@pytest.mark.parametrize("bad, error, named", [
    (dict(features=abs), TypeError, "features"), (dict(weights=()), ValueError, "weights"), (dict(weights=1.0), ValueError, "weights"),
    (dict(weights=(1, -1)), ValueError, "weights")])
def test_bad_settings_are_named(bad, error, named):
    with pytest.raises(error, match=f"^{named}: "):
        FeatureDistance(**{"features": Powers(), **bad})


def test_what_does_not_fit_is_named():
    x, y = images()
    distance = FeatureDistance(Powers(), (1, 1, 1))
    with pytest.raises(ValueError, match="^weights: expected one for each map, got 5 with 3 maps of x and 3 of y"):
        FeatureDistance(Powers())(x, y)
    with pytest.raises(ValueError, match="^weights: expected one for each map, got 3 with 3 maps of x and 2 of y"):
        distance(x, Powers()(y)[:2])
    with pytest.raises(ValueError, match=r"^y\[1\]: expected the shape of map 1 of x"):
        distance(x, [y, y, y])
    with pytest.raises(TypeError, match=r"^y\[2\]: expected a torch.Tensor"):
        distance(x, [*Powers()(y)[:2], 1.0])
    with pytest.raises(ValueError, match="^y: expected the shape of x"):
        distance(x, y[..., :4])
    assert repr(distance).splitlines()[1].strip() == "weights=(1, 1, 1)" and not distance.state_dict()
