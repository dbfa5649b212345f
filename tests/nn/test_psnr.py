"""PSNRLoss: the formula, gradients, bad input."""
import math

import pytest
import torch

from svconv.nn import PSNRLoss


def images(dtype=torch.float64):
    return torch.rand(2, 3, 2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(dtype).unbind(0)


@pytest.mark.parametrize("eps", [1e-8, 0.01])
def test_it_is_the_formula(eps):
    x, y = images()
    errors = [sum((p - q) ** 2 for p, q in zip(a.flatten().tolist(), b.flatten().tolist())) / 40 for a, b in zip(x, y)]
    values = [10 * math.log10(error + eps) for error in errors]
    assert float(PSNRLoss(eps)(x, y)) == pytest.approx(sum(values) / 3, rel=1e-12)


def test_it_is_the_negative_of_the_measure_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    x, y = images()
    expected = sum(metrics.peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=1) for a, b in zip(x, y)) / 3
    assert float(PSNRLoss(1e-14)(x, y)) == pytest.approx(-expected, abs=1e-9) and float(PSNRLoss()(x, x)) == pytest.approx(-80, abs=1e-9)


def test_gradients():
    x, y = images()
    assert torch.autograd.gradcheck(PSNRLoss(), (x.requires_grad_(), y.requires_grad_()))
    assert torch.autograd.gradgradcheck(PSNRLoss(), (x, y))


def test_equal_images_have_a_gradient_of_zero():
    x = images()[0].requires_grad_()
    PSNRLoss()(x, x.detach()).backward()
    assert float(x.grad.abs().max()) == 0


def test_half_types_are_computed_in_float32():
    x, y = images(torch.float16)
    assert PSNRLoss()(x, y).dtype == torch.float32 and torch.equal(PSNRLoss()(x, y), PSNRLoss()(x.float(), y.float()))


def test_what_does_not_fit_is_named():
    x = torch.zeros(1, 3, 4, 4)
    for eps in (0, -1):
        with pytest.raises(ValueError, match="^eps: "):
            PSNRLoss(eps)
    with pytest.raises(ValueError, match="^y: expected the shape of x"):
        PSNRLoss()(x, x[:, :1])
    with pytest.raises(TypeError, match="^y: expected torch.float32"):
        PSNRLoss()(x, x.double())
    with pytest.raises(TypeError, match="^x: expected dtype"):
        PSNRLoss()(x.long(), x)
    assert repr(PSNRLoss()) == "PSNRLoss(eps=1e-08)" and not PSNRLoss().state_dict()
