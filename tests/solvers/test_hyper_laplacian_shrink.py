"""hyper_laplacian_shrink against brute force, its threshold, scaling, gradients and messages."""
import pytest
import torch

from svconv.solvers import hyper_laplacian_shrink as shrink

EXPONENTS = [0.5, 2 / 3, 0.8, 0.3, 0.05, 0.95, 1.0]


def objective(w, v, beta, a):
    return w.abs() ** a + 0.5 * beta * (w - v) ** 2


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("beta", [1e-3, 1.0, 181.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_on_a_fine_grid_is_better(exponent, beta, dtype):
    unit = beta ** (-1 / (2 - exponent))
    v = (torch.linspace(-8, 8, 321, dtype=torch.float64) * unit).to(dtype)
    w = shrink(v, beta, exponent)
    assert w.dtype == dtype
    v, w = v.double(), w.double()
    grid = torch.linspace(-0.1, 1.1, 24001, dtype=torch.float64) * v[:, None]
    best = objective(grid, v[:, None], beta, exponent).amin(1)
    slack = (2e-6 if dtype == torch.float32 else 1e-13) * (1 + beta * v * v)
    assert (objective(w, v, beta, exponent) <= best + slack).all()


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_the_root_is_stationary_also_far_out(exponent):
    v = torch.tensor([4.0, 50.0, 1e4, 1e6, 1e9], dtype=torch.float64)
    w = shrink(v, 1.0, exponent)
    torch.testing.assert_close(w + exponent * w ** (exponent - 1), v, rtol=1e-13, atol=0)
    assert torch.equal(shrink(-v, 1.0, exponent), -w)


@pytest.mark.parametrize("exponent", EXPONENTS[:-1])
def test_it_jumps_at_the_threshold(exponent):
    a = exponent
    c = 2 * (1 - a) / (2 - a)
    t = ((2 - a) * c ** (a - 1) / 7.0) ** (1 / (2 - a))
    below, above = shrink(torch.tensor([t * (1 - 1e-9), t * (1 + 1e-9)], dtype=torch.float64), 7.0, a)
    assert below == 0 and above.item() == pytest.approx(c * t, rel=1e-6)


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_gradients(exponent):
    v = torch.tensor([-5.0, 0.01, 2.5, 9.0], dtype=torch.float64, requires_grad=True)
    beta = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v, beta: shrink(v, beta, exponent), (v, beta))


def test_beta_may_differ_between_elements_and_nan_passes_on():
    v, beta = torch.tensor([2.0, 3.0, float("nan"), 0.0]), torch.tensor([1.0, 4.0, 1.0, 1.0])
    w = shrink(v, beta, 0.5)
    assert torch.equal(w[:2], torch.cat([shrink(v[:1], 1.0, 0.5), shrink(v[1:2], 4.0, 0.5)]))
    assert w[2].isnan() and w[3] == 0


@pytest.mark.parametrize("arguments, error, message", [
    ((torch.zeros(3), 0.0, 0.5), ValueError, "beta: expected a number > 0, got 0.0"),
    ((torch.zeros(3), float("nan"), 0.5), ValueError, "beta: "),
    ((torch.zeros(3), torch.tensor([1.0, -1.0, 1.0]), 0.5), ValueError, "beta: expected positive numbers"),
    ((torch.zeros(3), 1.0, 1.5), ValueError, r"exponent: expected a number in \(0, 1\], got 1.5"),
    ((torch.zeros(3), 1.0, 0), ValueError, "exponent: "),
    ((torch.zeros(3, dtype=torch.int32), 1.0, 0.5), TypeError, "v: expected dtype"),
])
def test_messages_name_the_argument(arguments, error, message):
    with pytest.raises(error, match=message):
        shrink(*arguments)
