"""Images from 1e-30 to 1e25: a solver that is linear on paper scales with the image, and the others solve the problem as stated."""
import math

import pytest
import torch

from scenes import blur_kernel, picture
from svconv import Conv, PixelFilter, solvers
from svconv.operators import Identity
from svconv.solvers.magnitudes import change, norms, unit

F64 = torch.float64
SCALES = [1e-30, 1e-24, 1e-22, 1e-20, 1e-18, 1e-15, 1e15, 1e18, 1e20, 1e25]
every_scale = pytest.mark.parametrize("scale", SCALES)
every_padding = pytest.mark.parametrize("padding", ["zeros", "circular", "reflect"])


def filters(dtype=torch.float32):
    return torch.rand(1, 3, 3, 20, 22, generator=torch.Generator().manual_seed(1), dtype=dtype) / 9


def scene():
    return picture(20, 22, channels=2, batch=2)


HOMOGENEOUS = {
    "cg": lambda op, y, border: solvers.cg(op.T @ op + 0.1 * Identity(), y, tol=1e-5, max_iter=300).x,
    "cg, from x0": lambda op, y, border: solvers.cg(op.T @ op + 0.1 * Identity(), y, x0=0.5 * y, tol=1e-5, max_iter=300).x,
    "cg, unrolled": lambda op, y, border: solvers.cg(op.T @ op + 0.1 * Identity(), y, tol=1e-5, max_iter=300, implicit=False).x,
    "wiener": lambda op, y, border: solvers.wiener(op, y, beta=0.05, border=border).x,
    "irls without re-weightings": lambda op, y, border: solvers.irls(op, y, reg=0.05, reweightings=0, border=border).x,
    "richardson_lucy": lambda op, y, border: solvers.richardson_lucy(op, y, max_iter=10, border=border).x,
    "richardson_lucy, background": lambda op, y, border: solvers.richardson_lucy(op, y, max_iter=10, border=border, background=0.1 * y).x,
}


@every_scale
@every_padding
@pytest.mark.parametrize("name", list(HOMOGENEOUS))
def test_results_scale_with_the_image(name, padding, scale):
    """Also sample by sample: the two of a batch differ by 1e10."""
    y, solve = scene(), HOMOGENEOUS[name]
    factors = torch.tensor([scale, scale * (1e10 if scale < 1 else 1e-10)]).reshape(2, 1, 1, 1)
    for op in (Conv(blur_kernel(), padding), PixelFilter(filters(), padding)):
        for border in (None,) if name.startswith("cg") else (None, "mask"):
            expected, found = solve(op, y, border), solve(op, y * factors, border)
            torch.testing.assert_close(found / factors, expected, rtol=0, atol=5e-4 if name.startswith("cg") else 2e-5)


@every_scale
def test_the_report_scales_with_the_image(scale):
    op = PixelFilter(filters())
    A, b = op.T @ op + 0.1 * Identity(), scene()
    one, other = (solvers.cg(A, s * b, tol=1e-5, max_iter=300) for s in (1, scale))
    assert other.converged.all() and abs(int((one.iterations - other.iterations).abs().max())) <= 1
    torch.testing.assert_close(other.history[:10], one.history[:10], rtol=1e-2, atol=0)
    poor = solvers.cg(A, scale * b, tol=1e-5, max_iter=3)
    assert not poor.converged.any() and (poor.residuals > 1e-3).all() and (poor.residuals < 1).all()
    assert solvers.cg(A, scale * b, tol=0, atol=2 * scale * float(b.norm()), max_iter=3).iterations.tolist() == [0, 0]


@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e15, 1e25])
@pytest.mark.parametrize("name, solve", [
    ("irls", lambda y, k: solvers.irls(Conv(k), y, border=None, cg_iter=10).x),
    ("irls, mask", lambda y, k: solvers.irls(Conv(k), y, cg_iter=10).x),
    ("hyper_laplacian", lambda y, k: solvers.hyper_laplacian(y, k, padding="reflect").x),
    ("hyper_laplacian, 1/2", lambda y, k: solvers.hyper_laplacian(y, k, exponent=0.5, padding="circular").x),
    ("hyper_laplacian, 0.8", lambda y, k: solvers.hyper_laplacian(y, k, exponent=0.8, border="taper").x),
    ("blind_kernel", lambda y, k: solvers.blind_kernel(y, 7, steps=2).x),
])
def test_penalties_of_a_fixed_size_get_their_own_answer(name, solve, scale):
    """In float32 as in float64, whose squares have room."""
    y, k = scale * picture(dtype=F64), blur_kernel(dtype=F64)
    found, expected = solve(y.float(), k.float()), solve(y, k)
    assert found.isfinite().all()
    size = float(expected.abs().max())
    torch.testing.assert_close(found.double() / size, expected / size, rtol=0, atol=2e-3)


@every_scale
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_changes_are_relative(scale, dtype):
    y = scale * picture(dtype=dtype)
    for solve in (lambda y: solvers.richardson_lucy(Conv(blur_kernel(dtype=dtype)), y, max_iter=4),
                  lambda y: solvers.hyper_laplacian(y, blur_kernel(dtype=dtype), padding="circular")):
        changes = solve(y).changes
        assert changes.isfinite().all() and (changes < 1.5).all() and (changes[0] > 1e-3).all()


@pytest.mark.parametrize("dtype, scales", [(torch.float32, SCALES), (F64, [1e-250, 1e-160, *SCALES, 1e160, 1e250])])
def test_norms_of_any_magnitude(dtype, scales):
    t = torch.randn(3, 2, 5, 7, dtype=dtype)
    exact = t.double().flatten(1).norm(dim=1).to(dtype)
    for scale in scales:
        torch.testing.assert_close(norms(t * scale) / scale, exact, rtol=1e-5, atol=0)
        assert change(t * scale, t * scale * 1.5).tolist() == pytest.approx([0.5] * 3, rel=1e-5)


def test_a_unit_is_a_power_of_two_and_one_where_there_is_nothing():
    t = torch.tensor([[3e-30, 1e-31], [0.0, 0.0], [float("nan"), 1e30], [float("inf"), 1], [1e-42, 0], [3e38, 0]])
    scales = unit(t)
    assert [math.log2(s) % 1 for s in scales.tolist()] == [0] * 6 and scales[1:4].tolist() == [1, 1, 1]
    assert 0.5 <= float(scales[0] * 3e-30) < 1 and scales.isfinite().all() and (1 / scales).isfinite().all()
    assert unit(torch.zeros(0, 3)).shape == (0,) and unit(torch.zeros(2, 0)).tolist() == [1, 1]
    assert unit(torch.zeros(2, 3, 4), apart=2).shape == (2, 3)


def test_a_start_far_from_a_faint_solution():
    """b is 1e-25 of A x0."""
    b, x0 = 1e-25 * torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8)
    result = solvers.cg(2 * Identity(), b, x0=x0, max_iter=20)
    assert result.residuals.isfinite().all() and (result.x.abs() < 1e-6).all()
