"""The fused vector arithmetic of conjugate gradients under the interpreter, against the solver's own."""
import pytest
import torch

from svconv import backends, solvers
from svconv.solvers import conjugate_gradients, fused_pass
from svconv.solvers.conjugate_gradients import solve

TOLERANCE = {torch.float64: 1e-8, torch.float32: 2e-4}


def spd(batch, n, dtype, worst=0.8):
    """[batch, n]: diagonals of condition numbers that grow along the batch, and a rank-one part that mixes the values."""
    diagonal = torch.stack([torch.logspace(0, worst * i / max(batch - 1, 1), n, dtype=torch.float64) for i in range(batch)])
    mixing = torch.randn(batch, n, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) / n**0.5
    return diagonal.to(dtype), mixing.to(dtype)


def apply_of(diagonal, mixing):
    return lambda x: diagonal * x + mixing * (mixing * x).sum(-1, keepdim=True)


@pytest.fixture
def plain(monkeypatch):
    """plain(run) -> the same without the fused passes."""
    def call(run):
        with monkeypatch.context() as patch:
            patch.setattr(conjugate_gradients, "fused_pass", lambda iteration: None)
            return run()

    return call


@pytest.fixture
def counted(monkeypatch):
    """How many fused passes ran."""
    passes, original = [], fused_pass.FusedPass.__call__
    monkeypatch.setattr(fused_pass.FusedPass, "__call__", lambda self: (passes.append(1), original(self))[1])
    return passes


def compare(run, plain, counted, dtype):
    """The fused result, equal to the plain one within rounding."""
    found = run()
    assert counted
    expected = plain(run)
    assert torch.equal(found.x.isnan(), expected.x.isnan()) and torch.equal(found.converged, expected.converged)
    assert (found.iterations - expected.iterations).abs().max() <= (0 if dtype == torch.float64 else 2)
    scale = expected.x.nan_to_num().abs().max()
    assert (found.x - expected.x).nan_to_num().abs().max() <= TOLERANCE[dtype] * scale
    torch.testing.assert_close(found.residuals, expected.residuals, rtol=0.1, atol=TOLERANCE[dtype], equal_nan=True)
    if dtype == torch.float64 and found.history is not None:
        torch.testing.assert_close(found.history, expected.history, rtol=1e-4, atol=1e-9, equal_nan=True)
    return found


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("n", [7, 5003])
def test_equals_the_plain_solver(plain, counted, nan_memory, dtype, n):
    """Samples that stop at different steps; one and several programs of a problem."""
    apply, b = apply_of(*spd(3, n, dtype)), torch.randn(3, n, dtype=dtype)
    found = compare(lambda: solve(apply, b, tol=1e-3, max_iter=40, history=True), plain, counted, dtype)
    assert found.converged.all() and len(set(found.iterations.tolist())) > 1


@pytest.mark.parametrize("more", [{"x0": True}, {"preconditioner": True}, {"verify": False}, {"max_iter": 3}, {"check_every": 7},
                                  {"tol": 0.0, "max_iter": 6}, {"apart": 2}], ids=str)
def test_options(plain, counted, more):
    more, dtype = dict(more), torch.float64
    diagonal, mixing = spd(2, 40, dtype)
    b = torch.randn(2, 40, dtype=dtype)
    apply = apply_of(diagonal, mixing)
    if more.pop("preconditioner", False):
        more["preconditioner"] = lambda r: r / diagonal
    if more.pop("x0", False):
        more["x0"] = torch.randn(2, 40, dtype=dtype)
    if more.get("apart") == 2:
        b = torch.randn(2, 3, 40, dtype=dtype)
        wide, mix = diagonal[:, None], mixing[:, None]
        apply = apply_of(wide, mix)
    compare(lambda: solve(apply, b, **{"tol": 1e-5, "max_iter": 30, "history": True} | more), plain, counted, dtype)


def test_zero_nan_and_indefinite_samples(plain, counted):
    """b = 0 takes no step, a NaN stays in its sample, a negative curvature ends its sample."""
    diagonal, mixing = spd(4, 30, torch.float64)
    diagonal[3] = -1.0
    b = torch.randn(4, 30, dtype=torch.float64)
    b[0], b[1, 3] = 0, float("nan")
    found = compare(lambda: solve(apply_of(diagonal, mixing), b, tol=1e-5, max_iter=30, history=True), plain, counted, torch.float64)
    assert found.iterations[0] == 0 and found.x[0].eq(0).all() and found.x[1].isnan().all() and found.converged.tolist() == [
        True, False, True, False]


def test_magnitudes(plain, counted):
    apply, b = apply_of(*spd(2, 25, torch.float32)), torch.randn(2, 25) * torch.tensor([[1e-30], [1e30]])
    found = compare(lambda: solve(apply, b, tol=1e-4, max_iter=50), plain, counted, torch.float32)
    assert found.converged.all()


def test_callback_and_strides(plain, counted):
    seen = []
    apply = apply_of(*spd(2, 12, torch.float64))
    b = torch.randn(12, 2, dtype=torch.float64).mT
    found = compare(lambda: solve(apply, b, tol=1e-5, max_iter=30, callback=lambda step, steps, x: seen.append((step, x.clone()))), plain,
                    counted, torch.float64)
    assert [step for step, _ in seen[:3]] == [1, 2, 3] and any(torch.allclose(x, found.x) for _, x in seen)


def test_a_solve_with_gradients(plain, counted):
    diagonal, mixing = spd(2, 20, torch.float64)
    diagonal.requires_grad_()
    b = torch.randn(2, 20, dtype=torch.float64)

    def run():
        result = solvers.cg(lambda x, d: apply_of(d, mixing)(x), b, params=(diagonal,), tol=1e-10, max_iter=40)
        return torch.autograd.grad(result.x.square().sum(), diagonal)[0]

    found = run()
    assert counted
    torch.testing.assert_close(found, plain(run), rtol=0, atol=1e-8)


def test_a_forced_backend_keeps_it_away(counted):
    with backends.use_backend("reference"):
        solve(apply_of(*spd(1, 8, torch.float64)), torch.randn(1, 8, dtype=torch.float64))
    assert not counted


def test_empty():
    assert solve(lambda x: x, torch.empty(0, 4)).x.shape == (0, 4)
