"""The layer of the disk family against its op."""
import pytest
import torch

import svconv
from oracles import image
from svconv._form import FORMS


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("adjoint", [False, True])
def test_it_is_the_op(form, adjoint):
    x, radius = image(2, 3, 9, 8), 4 * torch.rand(1, 1, 9, 8, dtype=torch.float64)
    layer = svconv.nn.DiskBlur(form=form, padding="reflect", max_radius=3, adjoint=adjoint)
    function = svconv.disk_blur_adjoint if adjoint else svconv.disk_blur
    assert torch.equal(layer(x, radius), function(x, radius, form=form, padding="reflect", max_radius=3))
    assert form in repr(layer) and "max_radius=3" in repr(layer) and not layer.state_dict()
    assert torch.autograd.gradcheck(layer, (x[:1, :1, :4, :5].requires_grad_(), radius[..., :4, :5].requires_grad_()), fast_mode=True)


def test_errors_come_at_construction():
    with pytest.raises(ValueError, match="form: expected"):
        svconv.nn.DiskBlur(form="both")
    with pytest.raises(ValueError, match="padding: expected"):
        svconv.nn.DiskBlur(padding="same")
    with pytest.raises(ValueError, match="max_radius: expected"):
        svconv.nn.DiskBlur(max_radius=-1)
