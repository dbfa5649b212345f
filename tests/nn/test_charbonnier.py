"""CharbonnierLoss: the formula, gradients, bad input."""
import math

import pytest
import torch

from svconv.nn import CharbonnierLoss


def images(dtype=torch.float64):
    return torch.rand(2, 2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(dtype).unbind(0)


@pytest.mark.parametrize("eps", [1e-6, 0.01])
def test_it_is_the_formula(eps):
    x, y = images()
    values = [math.sqrt((p - q) ** 2 + eps) for p, q in zip(x.flatten().tolist(), y.flatten().tolist())]
    assert float(CharbonnierLoss(eps)(x, y)) == pytest.approx(sum(values) / 120, rel=1e-12)
    assert float(CharbonnierLoss(eps, reduction="sum")(x, y)) == pytest.approx(sum(values), rel=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradients(reduction):
    x, y = images()
    loss = CharbonnierLoss(0.01, reduction=reduction)
    assert torch.autograd.gradcheck(loss, (x.requires_grad_(), y.requires_grad_())) and torch.autograd.gradgradcheck(loss, (x, y))


def test_equal_images_have_a_gradient_of_zero():
    x = images()[0].requires_grad_()
    CharbonnierLoss()(x, x.detach()).backward()
    assert float(x.grad.abs().max()) == 0


def test_half_types_are_computed_in_float32():
    x, y = images(torch.bfloat16)
    assert CharbonnierLoss()(x, y).dtype == torch.float32 and torch.equal(CharbonnierLoss()(x, y), CharbonnierLoss()(x.float(), y.float()))


@pytest.mark.parametrize("bad, named", [(dict(eps=0), "eps"), (dict(eps=-1), "eps"), (dict(reduction="none"), "reduction")])
def test_bad_settings_are_named(bad, named):
    with pytest.raises(ValueError, match=f"^{named}: "):
        CharbonnierLoss(**bad)


@pytest.mark.parametrize("x, y, error, text", [
    (torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 5), ValueError, "y: expected the shape of x"),
    (torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4).double(), TypeError, "y: expected torch.float32"),
    (torch.zeros(3, 4, 4), torch.zeros(3, 4, 4), ValueError, "x: expected"),
    (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, 3, 4, 4), TypeError, "x: expected dtype"),
])
def test_bad_images_are_named(x, y, error, text):
    with pytest.raises(error, match=f"^{text}"):
        CharbonnierLoss()(x, y)


def test_its_settings_are_shown_and_it_has_no_state():
    assert repr(CharbonnierLoss(reduction="sum")) == "CharbonnierLoss(eps=1e-06, reduction='sum')" and not CharbonnierLoss().state_dict()
