"""EFFBlur: it is eff_conv, it enters every solver, wiener returns the minimiser and begins at the quotient; errors."""
import pytest
import torch

import svconv
from oracles import dense_matrix
from scenes import picture, psnr
from svconv import EFFBlur, EFFGrid, solvers

F64 = torch.float64
GRID = EFFGrid((30, 34), (2, 3))


def kernels(grid=GRID, size=5, dtype=F64):
    """Gaussians that grow from patch to patch."""
    t = torch.arange(size, dtype=F64) - size // 2
    width = torch.linspace(0.6, 1.3, grid.patches, dtype=F64)[:, None, None]
    k = torch.exp(-(t[:, None].square() + t.square()) / (2 * width.square()))
    return (k / k.sum((-2, -1), keepdim=True))[None].to(dtype)


@pytest.mark.parametrize("form", ["scatter", "gather"])
def test_it_is_eff_conv(form):
    A, x = EFFBlur(kernels(), GRID, form=form, padding="mirror"), torch.randn(2, 3, 30, 34, dtype=F64)
    options = {"form": form, "padding": "reflect"}
    assert torch.equal(A(x), svconv.eff_conv(x, kernels(), GRID, **options))
    assert torch.equal(A.adjoint(x), svconv.eff_conv_adjoint(x, kernels(), GRID, **options))
    assert A.form == A.to(torch.float32).form == A.with_padding("zeros").form == form and A.to(torch.float32).padding == "reflect"
    assert A.certify((2, 3, 30, 34)) < 1e-12 and A.input_shape() == (1, 1, 30, 34) and A.reach == (2, 2, 2, 2)
    assert not EFFBlur(kernels(), GRID, cache=False).detach().cache and 0.9 < A.norm() < 1.1


def test_a_change_of_the_kernels_in_place_is_seen():
    k, x = kernels(), torch.randn(1, 1, 30, 34, dtype=F64)
    A = EFFBlur(k, GRID)
    before = A(x)
    k.mul_(2)
    torch.testing.assert_close(A(x), 2 * before)
    torch.testing.assert_close(A.adjoint(before), 2 * svconv.eff_conv_adjoint(before, kernels(), GRID))


@pytest.mark.parametrize("padding", ["zeros", "replicate", "circular"])
@pytest.mark.parametrize("form", ["scatter", "gather"])
@pytest.mark.parametrize("prior", ["identity", "gradient"])
def test_wiener_is_the_minimiser(form, padding, prior):
    grid = EFFGrid((12, 11), (2, 2))
    op, y = EFFBlur(kernels(grid, 4), grid, form=form, padding=padding), torch.rand(1, 1, 12, 11, dtype=F64)
    A = dense_matrix(op, (12, 11))
    differences = [lambda x: x.diff(dim=-2), lambda x: x.diff(dim=-1)] if prior == "gradient" else [lambda x: x]
    D = [dense_matrix(d, (12, 11)) for d in differences]
    expected = torch.linalg.solve(A.T @ A + 0.01 * sum(d.T @ d for d in D), A.T @ y.flatten())
    result = solvers.wiener(op, y, beta=0.01, prior=prior)
    assert result.converged.all() and float((result.x.flatten() - expected).norm() / expected.norm()) < 1e-3


def test_wiener_begins_at_the_quotient():
    truth = picture(30, 34, dtype=F64)
    A = EFFBlur(kernels(), GRID, padding="replicate")
    y, first = A(truth), []
    quotient = svconv.eff_image_quotient(y, kernels(), GRID, beta=0.01)
    assert torch.equal(A.begin(y, 0.01, "gradient"), quotient) and A.divide(y, 0.01) is None
    for border in (None, "mask"):
        solvers.wiener(A, y, beta=0.01, border=border, callback=lambda step, steps, x: first.append(x.clone()))
    one_step = (first[0] - quotient).norm() / quotient.norm()
    assert float(one_step) < 0.02 < float((first[0] - y).norm() / y.norm())
    filters = torch.randn(1, 40, 2, dtype=F64)
    assert A.begin(y, 0.01, filters) is None and EFFBlur(torch.rand(1, 6, 31, 3, dtype=F64), GRID).begin(y, 0.01) is None


@pytest.mark.parametrize("border", ["mask", "replicate", "taper", None])
@pytest.mark.parametrize("solver", [
    lambda A, y, border: solvers.wiener(A, y, beta=2e-3, border=border),
    lambda A, y, border: solvers.irls(A, y, cg_iter=60, border=border),
    lambda A, y, border: solvers.richardson_lucy(A, y.clamp_min(0), max_iter=20, border=border)])
def test_every_solver_sharpens(solver, border):
    truth = picture(30, 34, dtype=F64)
    for form in ("scatter", "gather"):
        A = EFFBlur(kernels(), GRID, form=form, padding="replicate")
        y = A(truth) + 0.002 * torch.randn(truth.shape, dtype=F64)
        assert psnr(solver(A, y, border).x, truth, 4) > psnr(y, truth, 4) + 2


def test_gradients_reach_the_kernels_through_a_solver():
    k, y = kernels().requires_grad_(), picture(30, 34, dtype=F64)
    for result in (solvers.wiener(EFFBlur(k, GRID), y, beta=0.01),
                   solvers.cg(EFFBlur(k, GRID).T @ EFFBlur(k, GRID) + 0.1 * svconv.Identity(), y)):
        (g,) = torch.autograd.grad(result.x.square().sum(), k)
        assert g.shape == k.shape and bool((g.abs().sum((-2, -1)) > 0).all())


@pytest.mark.parametrize("call,error,match", [
    (lambda: EFFBlur(kernels(), (2, 3)), TypeError, "grid: expected an EFFGrid, got tuple"),
    (lambda: EFFBlur(kernels()[:, :4], GRID), ValueError,
     r"kernels: expected \[B\|1, C\|1, R, kh, kw\] or \[B\|1, R, kh, kw\] with R = 6 of the grid and sides >= 1, got \[1, 4, 5, 5\]"),
    (lambda: EFFBlur(kernels()[0], GRID), ValueError, r"kernels: expected .*got \[6, 5, 5\]"),
    (lambda: EFFBlur(kernels().long(), GRID), TypeError, "kernels: expected dtype float32"),
    (lambda: EFFBlur(kernels(), GRID, form="both"), ValueError, 'form: expected "scatter" or "gather", got \'both\''),
    (lambda: EFFBlur(kernels(), GRID, padding="odd"), ValueError, "padding: expected one of zeros"),
    (lambda: EFFBlur(kernels(), GRID)(torch.zeros(1, 1, 30, 33, dtype=F64)), ValueError,
     r"x: expected an image of the grid's size \(30, 34\)"),
    (lambda: solvers.wiener(EFFBlur(kernels(), GRID), torch.zeros(1, 1, 9, 9, dtype=F64), beta=1.0), ValueError, "y: expected"),
])
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()
