"""DiskBlur as an operator: what solvers ask of it, its errors, and solvers on it."""
import math

import pytest
import torch

import scenes
import svconv
from svconv._form import FORMS
from svconv.solvers.data_term import clear_of_edges


def ramp(h, w, low=0.3, high=3.2, dtype=torch.float64):
    return torch.linspace(low, high, w, dtype=dtype).expand(1, 1, h, w).contiguous()


@pytest.mark.parametrize("form", FORMS)
def test_values_repr_and_copies(form):
    radius = ramp(12, 15)
    op, x = svconv.DiskBlur(radius, form=form, padding="reflect", max_radius=2.6), torch.rand(2, 3, 12, 15, dtype=torch.float64)
    expected = svconv.disk_blur(x, radius, form=form, padding="reflect", max_radius=2.6)
    assert torch.equal(op(x), expected) and op.reach == (3, 3, 3, 3)
    assert repr(op) == f"DiskBlur([1, 1, 12, 15], form='{form}', padding='reflect', max_radius=2.6, float64)"
    assert torch.equal(op.with_padding("zeros")(x), svconv.disk_blur(x, radius, form=form, padding="zeros", max_radius=2.6))
    assert op.to(torch.float32)(x.float()).dtype == torch.float32 and svconv.DiskBlur(radius.float())(x.bfloat16()).dtype == torch.bfloat16
    assert abs(op.norm() - 1) < 0.05


def test_errors_name_the_argument():
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="radius: expected finite values"):
            svconv.DiskBlur(torch.full((1, 1, 4, 5), bad))
    with pytest.raises(ValueError, match=r"radius: expected \[B\|1, 1\|C, H, W\] with sides >= 1, got \[4, 5\]"):
        svconv.DiskBlur(torch.ones(4, 5))
    with pytest.raises(TypeError, match="radius: expected"):
        svconv.DiskBlur(2.0)
    with pytest.raises(ValueError, match="form: expected"):
        svconv.DiskBlur(torch.ones(1, 1, 4, 5), form="x")
    with pytest.raises(ValueError, match="radius: expected at most 16384"):
        svconv.DiskBlur(torch.full((1, 1, 4, 5), 1e5))


def test_a_pixel_is_clear_of_the_edges_where_its_own_disk_is():
    radius = torch.ones(1, 1, 20, 30, dtype=torch.float64)
    radius[..., 2, :] = 6.0
    y = torch.zeros(1, 1, 20, 30, dtype=torch.float64)
    seen = clear_of_edges(2.0 * svconv.DiskBlur(radius), y)
    assert not seen[..., 2, :].any() and bool((seen[..., 1:2, 1:-1] == 1).all()) and not seen[..., 0, :].any()
    one_edge = clear_of_edges(svconv.DiskBlur(radius), y, (False, False, True, False))
    assert bool((one_edge[..., :2, 1:] == 1).all()) and not one_edge[..., 2, :6].any() and bool((one_edge[..., 2, 6:] == 1).all())
    scatter = clear_of_edges(svconv.DiskBlur(radius, form="scatter"), y)
    assert int(scatter.sum()) == (20 - 12) * (30 - 12)


def error(a, b):
    return float((a - b)[..., 8:-8, 8:-8].square().mean())


@pytest.fixture(scope="module")
def defocused():
    x = scenes.picture(72, 88, dtype=torch.float64)
    radius = ramp(72, 88)
    noise = 0.002 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x, radius, svconv.disk_blur(x, radius) + noise


def test_solvers_sharpen(defocused):
    """irls, richardson_lucy, wiener and cg on the normal equations: each well below the error of the input."""
    x, radius, y = defocused
    op = svconv.DiskBlur(radius)
    found = {
        "irls": svconv.solvers.irls(op, y, reg=1e-3).x,
        "wiener": svconv.solvers.wiener(op, y, beta=1e-3).x,
        "richardson_lucy": svconv.solvers.richardson_lucy(op, y.clamp_min(1e-3), max_iter=20).x,
        "cg": svconv.solvers.cg(op.T @ op + 1e-2 * svconv.operators.Identity(), op.adjoint(y), max_iter=60).x,
    }
    before = error(y, x)
    assert {name: error(t, x) < 0.6 * before for name, t in found.items()} == dict.fromkeys(found, True)


def test_gradients_reach_the_radius_through_cg():
    radius = ramp(6, 7, 0.7, 1.4).requires_grad_()
    y = torch.rand(1, 1, 6, 7, dtype=torch.float64, requires_grad=True)

    def solved(y, radius):
        op = svconv.DiskBlur(radius, padding="zeros")
        return svconv.solvers.cg(op.T @ op + 0.1 * svconv.operators.Identity(), op.adjoint(y), tol=1e-12, max_iter=200).x

    assert torch.autograd.gradcheck(solved, (y, radius), fast_mode=True, atol=1e-4)
