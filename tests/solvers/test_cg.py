"""cg: solutions, per-sample stopping, implicit and unrolled gradients, gradients that reach a network, reports and messages."""
import gc
import weakref

import pytest
import torch

import svconv
from svconv import Conv, PixelFilter
from svconv.operators import Identity
from svconv.solvers import cg, conjugate_gradients
from svconv.solvers.conjugate_gradients import dots

F64 = torch.float64


def spd(batch=3, n=12, dtype=F64):
    """Symmetric positive definite matrices with condition numbers that grow along the batch."""
    q, _ = torch.linalg.qr(torch.randn(batch, n, n, dtype=F64))
    eigenvalues = torch.stack([torch.logspace(0, 0.5 * i, n, dtype=F64) for i in range(batch)])
    return (q @ torch.diag_embed(eigenvalues) @ q.mT).to(dtype)


def apply(x, matrix):
    return (matrix @ x.unsqueeze(-1)).squeeze(-1)


def image_operator(dtype=F64, batch=2, size=8):
    F = PixelFilter(torch.randn(batch, 1, 2, 3, 3, size, size, dtype=dtype) / 3)
    return F.T @ F + 0.3 * Identity()


def test_it_solves_and_reports_per_sample():
    matrix, b = spd(), torch.randn(3, 12, dtype=F64)
    result = cg(apply, b, params=(matrix,), tol=1e-10)
    torch.testing.assert_close(result.x, torch.linalg.solve(matrix, b), rtol=0, atol=1e-8)
    assert result.converged.all() and result.converged.dtype == torch.bool
    assert result.iterations.dtype == torch.int64 and result.iterations.tolist() == sorted(result.iterations.tolist())
    residual = (b - apply(result.x, matrix)).norm(dim=1) / b.norm(dim=1)
    torch.testing.assert_close(result.residuals, residual)
    assert (residual <= 1e-10).all()


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("check_every", [None, 1, 7])
def test_each_sample_is_what_it_would_be_alone(dtype, check_every):
    torch.manual_seed(3)
    scale = torch.tensor([0.1, 0.3, 1.0, 3.0], dtype=dtype).reshape(4, 1, 1, 1, 1, 1, 1)
    F = PixelFilter(torch.randn(4, 1, 2, 3, 3, 10, 11, dtype=dtype) * scale)
    b = torch.randn(4, 2, 10, 11, dtype=dtype)
    options = {"tol": 1e-3, "max_iter": 60, "check_every": check_every}
    together = cg(F.T @ F + 0.1 * Identity(), b, **options)
    assert len(set(together.iterations.tolist())) > 1
    for i in range(4):
        one = PixelFilter(F.filters[i:i + 1])
        alone = cg(one.T @ one + 0.1 * Identity(), b[i:i + 1], **options)
        assert alone.iterations.tolist() == [together.iterations[i].item()]
        torch.testing.assert_close(alone.x[0], together.x[i], rtol=0, atol=2e-5 if dtype == torch.float32 else 1e-11)


def test_float32_stops_at_the_true_residual():
    matrix = spd(4, 40, torch.float32)
    b = torch.randn(4, 40)
    result = cg(apply, b, params=(matrix,), tol=1e-6, max_iter=400)
    residual = (b - apply(result.x, matrix)).norm(dim=1) / b.norm(dim=1)
    assert (residual[result.converged] <= 1.01e-6).all() and result.converged[:3].all()


@pytest.mark.parametrize("check_every", [None, 7])
def test_the_steps_are_the_same_where_the_host_never_looks(monkeypatch, check_every):
    """As on a GPU: bits, reports and restarts from the true residual, also beside samples that fail."""
    matrix = spd(6, 40, torch.float32)
    matrix[1], matrix[2, 0, 0] = -matrix[1], float("nan")
    b = torch.randn(6, 40)
    b[3] = 0
    options = {"params": (matrix,), "tol": 3e-7, "max_iter": 200, "preconditioner": lambda r: 0.5 * r}
    looking = cg(apply, b, **options)
    calls = []
    monkeypatch.setattr(conjugate_gradients, "on_host", lambda t: False)
    blind = cg(lambda x, m: calls.append(1) or apply(x, m), b, check_every=check_every, **options)
    for name in ("x", "iterations", "residuals", "converged"):
        one, other = getattr(looking, name), getattr(blind, name)
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    if check_every is None:
        assert len(calls) == 200 + conjugate_gradients.CHECKS
    residual = (b - apply(blind.x, matrix)).norm(dim=1) / b.norm(dim=1)
    assert (residual[blind.converged & (b[:, 0] != 0)] <= 3.1e-7).all() and blind.converged.tolist()[:4] == [True, False, False, True]


def test_zero_right_hand_side_and_start():
    matrix = spd()
    b = torch.randn(3, 12, dtype=F64)
    b[1] = 0
    result = cg(apply, b, params=(matrix,))
    assert (result.x[1] == 0).all() and result.iterations[1] == 0 and result.residuals[1] == 0 and result.converged.all()
    exact = torch.linalg.solve(matrix, b)
    again = cg(apply, b, params=(matrix,), x0=exact)
    assert again.iterations.tolist() == [0, 0, 0] and again.converged.all()
    nothing = cg(apply, b, params=(matrix,), max_iter=0)
    assert (nothing.x == 0).all() and nothing.converged.tolist() == [False, True, False]
    empty = cg(apply, b[:0], params=(matrix[:0],))
    assert empty.x.shape == (0, 12) and empty.converged.shape == (0,)


def test_not_converging_is_reported():
    matrix, b = spd(), torch.randn(3, 12, dtype=F64)
    result = cg(apply, b, params=(matrix,), tol=1e-12, max_iter=4)
    assert result.converged.tolist() == [True, False, False] and result.iterations.tolist()[1:] == [4, 4]


@pytest.mark.parametrize("check_every", [None, 5])
def test_a_nan_sample_stops_and_leaves_the_others_alone(check_every):
    matrix, b = spd(4), torch.randn(4, 12, dtype=F64)
    clean = cg(apply, b, params=(matrix,), tol=1e-9, max_iter=60)
    b[0, 3] = float("nan")
    matrix = matrix.clone()
    matrix[2, 0, 0] = float("nan")
    result = cg(apply, b, params=(matrix,), tol=1e-9, max_iter=60, check_every=check_every)
    assert result.converged.tolist() == [False, True, False, True]
    assert result.x[0].isnan().all() and result.x[2].isnan().all() and result.residuals[[0, 2]].isnan().all()
    assert torch.equal(result.x[[1, 3]], clean.x[[1, 3]])


def test_an_indefinite_sample_stops_finite():
    matrix, b = spd(), torch.randn(3, 12, dtype=F64)
    matrix[1] = -matrix[1]
    result = cg(apply, b, params=(matrix,), tol=1e-9, max_iter=60)
    assert result.converged.tolist() == [True, False, True] and result.x.isfinite().all()


def test_semidefinite_and_consistent():
    matrix, b = spd(1), torch.randn(1, 12, dtype=F64)
    projector = torch.eye(12, dtype=F64)
    projector[0, 0] = 0
    singular = projector @ matrix @ projector
    result = cg(apply, apply(b, singular), params=(singular,), tol=1e-10)
    assert result.converged.all()


def test_a_preconditioner_saves_steps():
    scale = torch.logspace(0, 2, 12, dtype=F64)
    matrix = scale[:, None] * spd(2) * scale
    b = torch.randn(2, 12, dtype=F64)
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    plain = cg(apply, b, params=(matrix,), tol=1e-8, max_iter=500)
    better = cg(apply, b, params=(matrix,), tol=1e-8, max_iter=500, preconditioner=lambda r: r / diagonal)
    assert (better.iterations < plain.iterations).all() and better.converged.all()
    torch.testing.assert_close(better.x, torch.linalg.solve(matrix, b), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("implicit", [True, False])
def test_callback_sees_every_step(implicit):
    seen = []
    b = torch.randn(2, 1, 8, 8, dtype=F64, requires_grad=True)
    result = cg(image_operator(), b, tol=1e-6, max_iter=40, implicit=implicit, callback=lambda i, n, x: seen.append((i, n, x.clone())))
    assert [i for i, _, _ in seen] == list(range(1, int(result.iterations.max()) + 1)) and {n for _, n, _ in seen} == {40}
    torch.testing.assert_close(seen[-1][2], result.x.detach())


@pytest.mark.parametrize("implicit", [True, False])
def test_the_history_is_the_residual_after_every_step(implicit):
    matrix, b, seen = spd(), torch.randn(3, 12, dtype=F64, requires_grad=True), []
    b.data[0] = 0
    result = cg(apply, b, params=(matrix,), tol=1e-8, max_iter=30, implicit=implicit, callback=lambda i, n, x: seen.append(x.clone()))
    assert result.history.shape == (31, 3) and not result.history.requires_grad
    for sample, steps in enumerate(result.iterations.tolist()):
        column = result.history[:, sample]
        assert column[steps + 1:].isnan().all() and column[0] == float(sample > 0)
        for step in range(1, steps + 1):
            rest = (b - apply(seen[step - 1], matrix))[sample].norm() / b[sample].norm()
            torch.testing.assert_close(column[step], rest.detach(), rtol=1e-4, atol=1e-12)
        if implicit:
            torch.testing.assert_close(column[steps], result.residuals[sample])
    result.x.sum().backward()
    assert not implicit or result.adjoint.history.shape == (31, 3)


@pytest.mark.parametrize("implicit", [True, False])
def test_atol_stops_whatever_b_is(implicit):
    matrix = spd()
    b = torch.randn(3, 12, dtype=F64) * torch.tensor([1e-6, 1.0, 1e3], dtype=F64)[:, None]
    options = {"params": (matrix.requires_grad_(),), "max_iter": 60, "implicit": implicit}
    result = cg(apply, b, tol=0, atol=1e-4, **options)
    residual = (b - apply(result.x, matrix)).norm(dim=1)
    assert (residual <= 1e-4).all() and residual[1] > 1e-8 and result.converged.all() and result.iterations[0] == 0
    both = cg(apply, b, tol=1e-2, atol=1e-4, **options)
    assert both.converged.all() and (both.residuals[1:] <= 1e-2).all() and (both.iterations <= result.iterations).all()
    none = cg(apply, b, tol=1e-2, **options)
    assert torch.equal(none.iterations[1:], both.iterations[1:]) and none.iterations[0] > 0
    assert not cg(apply, b, tol=0, atol=1e-4, **{**options, "max_iter": 1}).converged[1:].any()


def test_a_is_applied_for_steps_and_checks_alone():
    """No look for captured tensors costs an application, whether something needs a gradient or not."""
    matrix, calls = spd(), []

    def counted(x, matrix):
        calls.append(1)
        return apply(x, matrix)

    for b in (torch.randn(3, 12, dtype=F64), torch.randn(3, 12, dtype=F64).requires_grad_()):
        calls.clear()
        result = cg(counted, b, params=(matrix,), tol=1e-8, max_iter=60)
        assert len(calls) == int(result.iterations.max()) + 1       # the last check
        with torch.no_grad():
            calls.clear()
            cg(counted, b, params=(matrix,), tol=1e-8, max_iter=60, x0=result.x)
            assert len(calls) == 1
        calls.clear()
        cg(counted, 0 * b.detach(), params=(matrix,))
        assert not calls


# gradients ----------------------------------------------------------------------------------------------------------

def converged(A, b, params=(), **options):
    return cg(A, b, params=params, tol=1e-12, max_iter=60, **options).x


@pytest.mark.parametrize("implicit", [True, False])
def test_gradients_of_first_and_second_order_in_b_and_params(implicit):
    root = torch.randn(2, 3, 3, dtype=F64, requires_grad=True)
    shift = torch.tensor(0.5, dtype=F64, requires_grad=True)
    b = torch.randn(2, 3, dtype=F64, requires_grad=True)

    def A(x, root, shift):
        return apply(x, root @ root.mT) + (1 + shift * shift) * x

    def f(b, root, shift):
        return converged(A, b, (root, shift), implicit=implicit)

    assert torch.autograd.gradcheck(f, (b, root, shift))
    assert torch.autograd.gradgradcheck(f, (b, root, shift), atol=1e-4)


def test_gradients_reach_the_tensors_of_a_composite_operator():
    filters = (torch.randn(1, 1, 1, 3, 3, 3, 4, dtype=F64) / 3).requires_grad_()
    kernel = torch.rand(1, 1, 3, 2, dtype=F64, requires_grad=True)
    lam = torch.tensor([0.5, 0.8], dtype=F64, requires_grad=True)
    b = torch.randn(2, 1, 3, 4, dtype=F64, requires_grad=True)

    def f(filters, kernel, lam, b, implicit=True):
        FK = PixelFilter(filters, "replicate") @ Conv(kernel, "reflect")
        return converged(FK.T @ FK + lam * Identity(), b, implicit=implicit)

    inputs = (filters, kernel, lam, b)
    assert torch.autograd.gradcheck(f, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(f, inputs, atol=1e-4, fast_mode=True)
    upstream = torch.randn(2, 1, 3, 4, dtype=F64)
    unrolled = torch.autograd.grad(f(*inputs, implicit=False), inputs, upstream)
    for one, other in zip(torch.autograd.grad(f(*inputs), inputs, upstream), unrolled):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("as_operator", [True, False])
def test_the_gradient_reaches_the_weights_of_the_network_that_made_the_filters(as_operator):
    """Finite differences on every weight of a small convolutional predictor of per-pixel filters."""
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv2d(2, 2 * 9, 3, padding=1)).to(F64)
    y, truth = torch.randn(2, 1, 6, 5, dtype=F64), torch.randn(2, 1, 6, 5, dtype=F64)

    def loss():
        filters = net(y).reshape(2, 1, 2, 3, 3, 6, 5)
        if as_operator:
            F = PixelFilter(filters)
            x = converged(F.T @ F + 0.2 * Identity(), y)
        else:
            x = converged(lambda x, f: svconv.pixel_filter_gram(x, f) + 0.2 * x, y, (filters,))
        return (x - truth).square().mean()

    weights = list(net.parameters())
    gradients = torch.autograd.grad(loss(), weights)
    step = 1e-6
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients):
            flat = weight.view(-1)
            for i in range(0, flat.numel(), max(1, flat.numel() // 3)):
                old = flat[i].item()
                flat[i] = old + step
                high = loss()
                flat[i] = old - step
                low = loss()
                flat[i] = old
                assert gradient.view(-1)[i].item() == pytest.approx(((high - low) / (2 * step)).item(), rel=1e-5, abs=1e-8)


def test_a_shared_tensor_gets_the_sum_of_its_parts():
    f = (torch.randn(1, 3, 3, 6, 6, dtype=F64) / 3).requires_grad_()
    b = torch.randn(1, 1, 6, 6, dtype=F64)
    one, two = PixelFilter(f), PixelFilter(f)
    x = converged(one.T @ two + 0.5 * Identity(), b)
    y = converged(lambda x, f: svconv.pixel_filter_gram(x, f) + 0.5 * x, b, (f,))
    torch.testing.assert_close(torch.autograd.grad(x.square().sum(), f)[0], torch.autograd.grad(y.square().sum(), f)[0])


def test_a_captured_tensor_is_refused():
    f = torch.randn(1, 1, 1, 3, 3, 6, 6, requires_grad=True)
    b = torch.randn(1, 1, 6, 6)

    def A(x):
        return svconv.pixel_filter_gram(x, f) + x

    with pytest.raises(ValueError, match="params: .*still requires gradients"):
        cg(A, b)
    assert cg(A, b, implicit=False).x.requires_grad
    with torch.no_grad():
        assert not cg(A, b).x.requires_grad


def test_an_unused_param_gets_a_zero_gradient():
    unused = torch.ones(3, dtype=F64, requires_grad=True)
    b = torch.randn(2, 12, dtype=F64, requires_grad=True)
    x = cg(lambda x, u: 2 * x, b, params=(unused,)).x
    gb, gu = torch.autograd.grad(x.sum(), (b, unused))
    assert (gu == 0).all()
    torch.testing.assert_close(gb, torch.full_like(b, 0.5))


def test_adjoint_solve_is_reported_and_warned_about():
    op, b = image_operator(), torch.randn(2, 1, 8, 8, dtype=F64, requires_grad=True)
    good = cg(op, b, tol=1e-8, max_iter=100)
    assert good.adjoint is None
    good.x.sum().backward()
    assert good.adjoint.converged.all() and (good.adjoint.iterations > 0).all()
    poor = cg(op, b, tol=1e-8, max_iter=2)
    with pytest.warns(RuntimeWarning, match="adjoint solve of the backward pass did not converge"):
        poor.x.sum().backward()
    assert not poor.adjoint.converged.any()


def test_memory_does_not_grow_with_the_steps():
    """What the graph of an implicit solve keeps: x and the params, whatever the number of steps."""
    kept = []

    def pack(t):
        kept.append(t.numel())
        return t

    filters = torch.randn(1, 1, 2, 3, 3, 8, 8, dtype=F64, requires_grad=True)
    F, b = PixelFilter(filters), torch.randn(1, 1, 8, 8, dtype=F64)
    counts = []
    for steps in (2, 20):
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            cg(F.T @ F + 0.1 * Identity(), b, tol=0, max_iter=steps)
        counts.append(sum(kept))
    assert counts[0] == counts[1] <= 2 * (filters.numel() + b.numel())


def test_the_graph_is_freed_with_the_result():
    b = torch.randn(2, 1, 8, 8, dtype=F64, requires_grad=True)
    result = cg(image_operator(), b)
    alive = weakref.ref(result.x)
    gc.disable()
    try:
        del result
        assert alive() is None
    finally:
        gc.enable()


# messages -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("options, error, message", [
    ({"b": torch.zeros(1, 1, 4, 4).long()}, TypeError, "b: expected dtype float32, float64, bfloat16 or float16, got torch.int64"),
    ({"b": [1.0]}, TypeError, "b: expected a torch.Tensor, got list"),
    ({"A": 3}, TypeError, "A: expected an operator or a callable, got int"),
    ({"A": PixelFilter(torch.zeros(1, 1, 2, 3, 3, 4, 4))}, ValueError, "A: expected a square operator"),
    ({"A": PixelFilter(torch.zeros(1, 3, 3, 5, 4))}, ValueError, r"b: expected \[B, C, 5, 4\], got \[1, 1, 4, 4\]"),
    ({"A": lambda x: x[..., :2], "b": torch.ones(1, 1, 4, 4)}, ValueError,
     r"A: expected A\(x\) like x, .*got torch.float32 \[1, 1, 4, 2\]"),
    ({"x0": torch.zeros(1, 1, 4, 5)}, ValueError, r"x0: expected \[1, 1, 4, 4\] like b, got \[1, 1, 4, 5\]"),
    ({"x0": torch.zeros(1, 1, 4, 4, dtype=F64)}, TypeError, "x0: expected torch.float32"),
    ({"params": torch.zeros(3)}, TypeError, "params: expected a sequence of tensors, got Tensor"),
    ({"params": (torch.zeros(3),)}, ValueError, "params: expected none beside an operator"),
    ({"tol": -1}, ValueError, "tol: expected a number >= 0, got -1"),
    ({"tol": float("nan")}, ValueError, "tol: "),
    ({"atol": -1}, ValueError, "atol: expected a number >= 0, got -1"),
    ({"max_iter": 2.5}, ValueError, "max_iter: expected an integer >= 0, got 2.5"),
    ({"check_every": 0}, ValueError, "check_every: expected an integer >= 1 or None, got 0"),
])
def test_messages_name_the_argument(options, error, message):
    options = {"A": Identity(), "b": torch.zeros(1, 1, 4, 4), **options}
    with pytest.raises(error, match=message):
        cg(options.pop("A"), options.pop("b"), **options)


def test_inner_products_of_large_images_are_accurate():
    u = torch.rand(2, 3, 500, 700)
    torch.testing.assert_close(dots(u, u).double(), u.double().square().sum((1, 2, 3)), rtol=1e-6, atol=0)
    assert dots(u[:0], u[:0]).shape == (0,) and dots(u[:, :0], u[:, :0]).tolist() == [0, 0]
