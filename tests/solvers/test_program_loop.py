"""Conjugate gradients in a program of `torch.export`: one loop, that ends for every sample where the loop of the host does."""
import io

import pytest
import torch

import svconv


class Solve(torch.nn.Module):
    """`A x = b` for a blur and a smoothness term; `options` are those of `solvers.cg`."""

    def __init__(self, precondition=False, **options):
        super().__init__()
        self.options, self.precondition = options, precondition

    def forward(self, b, kernel, x0=None):
        def normal(x, kernel):
            return svconv.conv_adjoint(svconv.conv(x, kernel, padding="zeros"), kernel, padding="zeros") + 0.01 * x

        preconditioner = (lambda r: r * 0.5) if self.precondition else None
        found = svconv.solvers.cg(normal, b, params=(kernel,), x0=x0, preconditioner=preconditioner, **self.options)
        return found.x, found.iterations, found.residuals, found.converged


def problem():
    """Samples that take different numbers of steps: noise, a smooth one, nothing, one with a NaN."""
    b = torch.rand(4, 1, 12, 10, generator=torch.Generator().manual_seed(2))
    b[1] = 0.1
    b[2] = 0
    b[3, 0, 2, 2] = float("nan")
    return b, torch.rand(1, 1, 3, 3, generator=torch.Generator().manual_seed(3)) / 5


def exported(module, arguments):
    """The program, from a file."""
    file = io.BytesIO()
    with torch.no_grad():
        torch.export.save(torch.export.export(module, arguments), file)
    file.seek(0)
    return torch.export.load(file)


CASES = {"plain": dict(tol=1e-4), "preconditioned": dict(tol=1e-4, precondition=True), "too few steps": dict(tol=1e-7, max_iter=5),
         "exact": dict(tol=0.0, max_iter=12), "no steps": dict(max_iter=0), "looked at now and then": dict(tol=1e-3, check_every=7),
         "atol": dict(tol=0.0, atol=1e-2)}


@pytest.mark.parametrize("case", CASES)
def test_the_bits_of_the_model(case):
    module, arguments = Solve(**CASES[case]), problem()
    program = exported(module, arguments)
    with torch.no_grad():
        for one, other in zip(program.module()(*arguments), module(*arguments)):
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    assert [node.target for node in program.graph.nodes].count(torch.ops.higher_order.while_loop) == 1


def test_samples_end_each_by_itself():
    module, arguments = Solve(tol=1e-4), problem()
    with torch.no_grad():
        _, iterations, residuals, converged = exported(module, arguments).module()(*arguments)
    assert len(set(iterations.tolist())) >= 3 and iterations[2] == 0 and converged.tolist() == [True, True, True, False]
    assert residuals[3].isnan()


def test_from_a_start_that_solves_it():
    module, (b, kernel) = Solve(tol=1e-3), problem()
    b = b[:2]
    with torch.no_grad():
        x = Solve(tol=1e-5)(b, kernel)[0]
        found, iterations, *_ = exported(module, (b, kernel, x)).module()(b, kernel, x)
        assert iterations.tolist() == [0, 0] and torch.equal(found, module(b, kernel, x)[0])


def test_the_inputs_do_not_change():
    module, arguments = Solve(tol=1e-4), problem()
    before = [t.clone() for t in arguments]
    with torch.no_grad():
        program = exported(module, arguments).module()
        first, second = program(*arguments)[0], program(*arguments)[0]
    for one, other in ((first, second), *zip(arguments, before)):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
