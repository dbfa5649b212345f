"""HyperLaplacianLoss: the formula with SciPy's Sobel filters, gradients, bad input."""
import numpy as np
import pytest
import torch
from scipy.ndimage import sobel

from svconv.nn import HyperLaplacianLoss


def image(*shape, dtype=torch.float64):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("padding, mode", [("zeros", "constant"), ("replicate", "nearest")])
@pytest.mark.parametrize("options", [{}, {"exponent": 0.8, "eps": 0.01}])
@pytest.mark.parametrize("shape", [(2, 3, 6, 7), (1, 1, 1, 5), (1, 2, 1, 1)])
def test_it_is_the_formula(padding, mode, options, shape):
    x = image(*shape)
    gx, gy = (sum(np.stack([sobel(plane, axis, mode=mode) for plane in planes]) for planes in x.numpy().swapaxes(0, 1)) for axis in (1, 0))
    expected = ((gx**2 + gy**2 + options.get("eps", 1e-6)) ** (options.get("exponent", 0.66) / 2)).mean()
    assert float(HyperLaplacianLoss(padding=padding, **options)(x)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
def test_gradients(padding):
    loss, x = HyperLaplacianLoss(eps=0.01, padding=padding), image(2, 3, 5, 4).requires_grad_()
    assert torch.autograd.gradcheck(loss, (x,)) and torch.autograd.gradgradcheck(loss, (x,))


def test_flat_images_have_a_finite_gradient():
    x = torch.full((1, 3, 8, 8), 0.5).requires_grad_()
    loss = HyperLaplacianLoss(padding="replicate")(x)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(1e-6**0.33, rel=1e-4) and float(x.grad.abs().max()) == 0


def test_half_types_are_computed_in_float32():
    x = image(1, 3, 8, 8, dtype=torch.bfloat16)
    assert HyperLaplacianLoss()(x).dtype == torch.float32 and torch.equal(HyperLaplacianLoss()(x), HyperLaplacianLoss()(x.float()))


@pytest.mark.parametrize("bad, named", [(dict(exponent=0), "exponent"), (dict(eps=0), "eps"), (dict(padding="reflect"), "padding")])
def test_bad_settings_are_named(bad, named):
    with pytest.raises(ValueError, match=f"^{named}: "):
        HyperLaplacianLoss(**bad)


def test_bad_images_are_named_and_settings_are_shown():
    with pytest.raises(ValueError, match="^x: expected"):
        HyperLaplacianLoss()(torch.zeros(3, 8, 8))
    with pytest.raises(TypeError, match="^x: expected dtype"):
        HyperLaplacianLoss()(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    assert repr(HyperLaplacianLoss()) == "HyperLaplacianLoss(exponent=0.66, eps=1e-06, padding='zeros')"
    assert not HyperLaplacianLoss().state_dict()
