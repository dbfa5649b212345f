"""cg inside of torch.compile: one graph as far as there is nothing to look at, and an error that says so where there is not."""
import pytest
import torch

import svconv
from svconv import Identity, PixelFilter
from svconv.solvers import cg

FILTERS, B = torch.rand(1, 3, 3, 8, 9, generator=torch.Generator().manual_seed(0)) / 9, torch.rand(2, 1, 8, 9)


def A(x, filters):
    return svconv.pixel_filter_gram(x, filters) + 0.1 * x


def compiled(f, fullgraph=True):
    torch._dynamo.reset()
    return torch.compile(f, backend="eager", fullgraph=fullgraph)


@pytest.mark.parametrize("options", [{}, {"implicit": False}, {"check_every": 3, "atol": 1e-3}, {"preconditioner": lambda r: 2 * r}])
def test_one_graph_where_nothing_needs_a_gradient(options):
    K = PixelFilter(FILTERS)
    op = K.T @ K + 0.1 * Identity()
    for f in (lambda b: cg(A, b, params=(FILTERS,), max_iter=4, **options).x, lambda b: cg(op, b, max_iter=4, **options).x,
              lambda b: cg(PixelFilter(FILTERS) + 3 * Identity(), b, x0=b, max_iter=4, **options).x):
        torch.testing.assert_close(compiled(f)(B), f(B), rtol=1e-5, atol=1e-5)
    report = compiled(lambda b: cg(A, b, params=(FILTERS,), max_iter=4))(B)
    looked = cg(A, B, params=(FILTERS,), max_iter=4)
    assert torch.equal(report.iterations, looked.iterations) and torch.equal(report.converged, looked.converged)
    torch.testing.assert_close(report.history, looked.history, equal_nan=True)


def loss(filters, implicit):
    return cg(A, B, params=(filters,), max_iter=6, implicit=implicit).x.square().sum()


def gradient(f, *more):
    filters = FILTERS.clone().requires_grad_()
    return torch.autograd.grad(f(filters, *more), filters)[0]


def test_one_graph_of_unrolled_steps_with_their_gradient():
    torch.testing.assert_close(gradient(compiled(loss), False), gradient(loss, False), rtol=1e-3, atol=1e-3)


def test_the_implicit_gradient_breaks_the_graph_and_says_so():
    torch.testing.assert_close(gradient(compiled(loss, fullgraph=False), True), gradient(loss, True), rtol=1e-3, atol=1e-4)
    with pytest.raises(torch._dynamo.exc.Unsupported, match="the implicit gradient of cg runs uncompiled .implicit=False unrolls"):
        gradient(compiled(loss), True)


def test_a_captured_tensor_is_refused_there_too():
    filters = FILTERS.clone().requires_grad_()
    with pytest.raises(Exception, match="params: .*still requires gradients"):
        compiled(lambda b: cg(lambda x: A(x, filters), b).x, fullgraph=False)(B)
