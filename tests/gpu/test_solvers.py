"""Operators and solvers on a GPU: the same results as on the CPU, per-sample stopping without a look, gradients."""
import pytest
import torch

from scenes import blur_kernel, picture
from svconv import Conv, PixelFilter, solvers
from svconv.operators import Identity

pytestmark = pytest.mark.gpu


def both(run, *tensors):
    """The result on the CPU and, moved back, on the GPU."""
    return run(*tensors), run(*(t.cuda() for t in tensors)).cpu()


def close(pair, atol):
    torch.testing.assert_close(*pair, rtol=0, atol=atol)


def test_operators():
    f = torch.randn(2, 1, 2, 3, 4, 12, 13) / 4
    op = PixelFilter(f.cuda(), "reflect") @ Conv(blur_kernel().cuda(), "symmetric")
    assert op.certify() < 1e-12
    assert op.norm() == pytest.approx((PixelFilter(f, "reflect") @ Conv(blur_kernel(), "symmetric")).norm(), rel=0.01)


def test_cg_and_its_gradients():
    f, b = torch.randn(2, 1, 2, 3, 3, 12, 13, dtype=torch.float64) / 4, torch.randn(2, 3, 12, 13, dtype=torch.float64)

    def run(f, b):
        f = f.clone().requires_grad_()
        F = PixelFilter(f)
        result = solvers.cg(F.T @ F + 0.3 * Identity(), b, tol=1e-10, max_iter=80)
        assert result.converged.all() and (result.iterations < 80).all()
        gradient, = torch.autograd.grad(result.x.square().sum(), f)
        return torch.cat([result.x.detach().flatten(), gradient.flatten()])

    close(both(run, f, b), 1e-7)


def test_a_nan_sample_leaves_the_others_alone():
    b = torch.randn(3, 1, 8, 8, device="cuda")
    b[1, 0, 0, 0] = float("nan")
    result = solvers.cg(2 * Identity(), b)
    assert result.converged.tolist() == [True, False, True] and result.x[1].isnan().all()
    torch.testing.assert_close(result.x[::2], b[::2] / 2)


@pytest.mark.parametrize("border", ["mask", "taper", "replicate", None])
def test_classical_solvers(border):
    y, k = picture(dtype=torch.float64), blur_kernel(dtype=torch.float64)
    f = torch.rand(1, 3, 3, 40, 44, dtype=torch.float64) / 9
    close(both(lambda y, k: solvers.irls(Conv(k), y, border=border).x, y, k), 2e-2)
    close(both(lambda y, f: solvers.irls(PixelFilter(f), y, border=border, reweightings=0, cg_iter=20).x, y, f), 1e-2)
    close(both(lambda y, k: solvers.richardson_lucy(Conv(k), y, max_iter=10, border=border).x, y, k), 1e-6)
    close(both(lambda y, k: solvers.wiener(Conv(k), y, beta=0.01, border=border).x, y, k), 1e-3)


@pytest.mark.parametrize("exponent", [0.5, 2 / 3, 0.8])
def test_shrinkage(exponent):
    v = 8 * torch.randn(1000, dtype=torch.float64)
    close(both(lambda v: solvers.hyper_laplacian_shrink(v, 1.5, exponent), v), 1e-12)
