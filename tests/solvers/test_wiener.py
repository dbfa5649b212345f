"""wiener: closed form and CG agree, gradients, borders, priors, messages."""
import pytest
import torch

import svconv
from oracles import PADDINGS, dense_matrix
from scenes import blur_kernel, photograph, picture, psnr
from svconv import Conv, Identity, PixelFilter
from svconv.solvers import wiener

F64 = torch.float64


def as_filters(k, height, width):
    """The uniform filter map that does what Conv(k) does (odd sides)."""
    return k[:, 0].flip((-2, -1))[..., None, None].expand(-1, *k.shape[-2:], height, width)


def test_a_circular_conv_is_the_image_quotient():
    y, k = picture(), blur_kernel()
    result = wiener(Conv(k), y, beta=0.01)
    assert torch.equal(result.x, svconv.image_quotient(y, k, beta=0.01, prior="gradient"))
    assert result.converged.all() and result.iterations.tolist() == [0]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("prior", ["identity", "gradient"])
def test_it_is_the_minimiser_for_every_padding(padding, prior):
    """Against the dense normal equations; the closed form is not the minimiser beyond "circular"."""
    op, y = Conv(blur_kernel(4, dtype=F64), padding), torch.rand(1, 1, 12, 11, dtype=F64)
    A = dense_matrix(op, (12, 11))
    wraps = prior == "gradient" and padding == "circular"
    differences = [lambda x, d=d: x.roll(-1, d) - x if wraps else x.diff(dim=d) for d in (-2, -1)]
    D = [dense_matrix(d, (12, 11)) for d in (differences if prior == "gradient" else [lambda x: x])]
    expected = torch.linalg.solve(A.T @ A + 0.01 * sum(d.T @ d for d in D), A.T @ y.flatten())
    for same in (op, 1.0 * op, op @ Identity()):
        result = wiener(same, y, beta=0.01, prior=prior)
        assert float((result.x.flatten() - expected).norm() / expected.norm()) < 1e-3
        assert result.converged.all() and (result.iterations < 60).all()


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("prior", ["identity", "gradient"])
@pytest.mark.parametrize("side", [1, 5])
def test_equal_operators_give_equal_pictures(padding, prior, side):
    """However they are written: by division, by CG on a map of filters, as a product, a sum, a transpose of a transpose."""
    y, k = picture(20, 22, channels=2, dtype=F64), blur_kernel(side, dtype=F64)
    K, F = Conv(k, padding), PixelFilter(as_filters(k, 20, 22), padding)
    expected = wiener(K, y, beta=0.05, prior=prior).x
    for op in (F, 1.0 * K, 2.0 * F / 2, K @ Identity(), F @ Identity(), 0.25 * K + 0.75 * F, F.T.T, K + 0 * F):
        torch.testing.assert_close(wiener(op, y, beta=0.05, prior=prior).x, expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("prior", ["identity", "filters"])
def test_other_operators_solve_the_same_equations(prior):
    y, k = picture(20, 22, channels=2, dtype=F64), blur_kernel(dtype=F64)
    filters = torch.tensor([[[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], [[0, 0, 0], [0, 1, -1], [0, 0, 0]]], dtype=F64)
    prior = filters if prior == "filters" else prior
    closed = wiener(Conv(k), y, beta=0.05, prior=prior).x
    iterated = wiener(PixelFilter(as_filters(k, 20, 22), "circular"), y, beta=0.05, prior=prior)
    torch.testing.assert_close(iterated.x, closed, rtol=0, atol=2e-4)
    assert iterated.converged.all() and (iterated.iterations > 0).all()


def test_the_gradient_prior_stays_inside_the_image():
    op, y = PixelFilter(torch.rand(1, 3, 3, 10, 12, dtype=F64) / 5), picture(10, 12, dtype=F64)
    x = wiener(op, y, beta=0.1).x.requires_grad_()
    energy = (op(x) - y).square().sum() + 0.1 * (x.diff(dim=-1).square().sum() + x.diff(dim=-2).square().sum())
    assert torch.autograd.grad(energy, x)[0].norm() < 1e-4 * op.adjoint(y).norm()


def test_gradients_reach_everything():
    f = (torch.rand(1, 3, 3, 5, 6, dtype=F64) / 5).requires_grad_()
    y = torch.rand(2, 1, 5, 6, dtype=F64, requires_grad=True)
    beta = torch.tensor([0.1, 0.3], dtype=F64, requires_grad=True)
    prior = torch.randn(1, 2, 2, dtype=F64, requires_grad=True)
    svconv_wiener = svconv.solvers.wiener

    def solve(f, y, beta, prior):
        return svconv_wiener(PixelFilter(f), y, beta=beta, prior=prior).x

    assert torch.autograd.gradcheck(solve, (f, y, beta, prior), eps=1e-5, atol=1e-3, rtol=1e-3, fast_mode=True)
    k = blur_kernel(3, dtype=F64).requires_grad_()
    assert torch.autograd.gradcheck(lambda k, y, beta: svconv_wiener(Conv(k), y, beta=beta).x, (k, y, beta), fast_mode=True)


@pytest.mark.parametrize("border", [None, "taper", "replicate", "mask"])
def test_every_border_restores_a_photograph(border):
    truth, k = picture(64, 60), blur_kernel(7)
    y = photograph(Conv(k), truth, noise=0.003)
    kept = y.clone()
    if border is not None:
        assert psnr(wiener(Conv(k), y, beta=0.003, border=border).x, truth) > psnr(y, truth) + 2
    assert psnr(wiener(PixelFilter(as_filters(k, 64, 60), "replicate"), y, beta=0.003, border=border).x, truth, 7) > psnr(y, truth, 7) + 2
    assert torch.equal(y, kept)


def test_callback():
    seen = []
    wiener(Conv(blur_kernel()), picture(), beta=0.1, border="mask", callback=lambda i, n, x: seen.append((i, n, tuple(x.shape))))
    assert len(seen) > 3 and {(n, s) for _, n, s in seen} == {(300, (1, 1, 40, 44))}
    seen.clear()
    wiener(Conv(blur_kernel()), picture(), beta=0.1, callback=lambda i, n, x: seen.append((i, n)))
    assert seen == [(1, 1)]


@pytest.mark.parametrize("options, error, message", [
    ({"beta": 0}, ValueError, "beta: expected a number > 0, got 0"),
    ({"beta": torch.tensor([-1.0])}, ValueError, "beta: expected positive"),
    ({"beta": torch.ones(3)}, ValueError, r"beta: expected a number, \[\] or \[B\] = \[1\], got \[3\]"),
    ({"prior": "tv"}, ValueError, "prior: expected 'identity', 'gradient' or filters"),
    ({"prior": torch.ones(3, 3)}, ValueError, r"prior: expected filters \[J, fh, fw\], got \[3, 3\]"),
    ({"y": torch.full((1, 1, 8, 8), float("nan"))}, ValueError, "y: expected finite pixels"),
    ({"border": "wrap"}, ValueError, "border: expected one of"),
])
def test_messages_name_the_argument(options, error, message):
    options = {"y": torch.rand(1, 1, 8, 8), "beta": 0.1, **options}
    with pytest.raises(error, match=message):
        wiener(Conv(blur_kernel(3)), options.pop("y"), **options)
