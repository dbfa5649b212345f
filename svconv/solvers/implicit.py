"""Gradients of `x = A(params)^-1 b` through one adjoint solve, differentiable twice.

With g the gradient in x, `lam = A^-1 g` is the gradient in b, and the gradient in the params is the partial derivative of
`-<lam, A(params) x>` at fixed x and lam. That partial derivative is a Function of its own: its backward returns the gradients in x and
lam too, which is what
the second order needs and what detaching x alone would lose.
"""
import dataclasses
import warnings
import weakref
from collections.abc import Callable

import torch

from svconv.solvers.conjugate_gradients import CGResult, solve


@dataclasses.dataclass
class Problem:
    """What does not change between a solve and its adjoint solves; bind(params) gives x -> A x."""

    bind: Callable
    options: dict


class Solve(torch.autograd.Function):
    """x = A(params)^-1 b; fills everything but x into `report`, a CGResult, which it does not keep alive (it would hold its own graph)."""

    @staticmethod
    def forward(ctx, problem, report, x0, callback, b, *params):
        result = solve(problem.bind(params), b, x0, callback=callback, **problem.options)
        report.iterations, report.residuals, report.converged = result.iterations, result.residuals, result.converged
        ctx.problem, ctx.report = problem, weakref.ref(report)
        ctx.save_for_backward(result.x, *params)
        return result.x

    @staticmethod
    def backward(ctx, g):
        x, *params = ctx.saved_tensors
        adjoint = CGResult(None, None, None, None)
        lam = Solve.apply(ctx.problem, adjoint, None, None, g, *params)
        _tell(ctx.report(), adjoint)
        wanted = ctx.needs_input_grad[5:]
        found = iter(ParameterTerm.apply(ctx.problem, wanted, x, lam, *params) if any(wanted) else ())
        gradients = [next(found) if want else None for want in wanted]
        return None, None, None, None, lam if ctx.needs_input_grad[4] else None, *gradients


def _tell(report, adjoint):
    if report is not None:
        report.adjoint = adjoint
    if adjoint.converged.device.type == "cpu" and not bool(adjoint.converged.all()):
        worst = float(adjoint.residuals.nan_to_num(nan=float("inf")).max())
        warnings.warn(f"cg: the adjoint solve of the backward pass did not converge (relative residual {worst:.1e}); the gradient is "
                      "as inexact", RuntimeWarning, stacklevel=2)


class ParameterTerm(torch.autograd.Function):
    """The partial gradients of `-<lam, A(params) x>` in the wanted params."""

    @staticmethod
    def forward(ctx, problem, wanted, x, lam, *params):
        ctx.problem, ctx.wanted = problem, wanted
        ctx.save_for_backward(x, lam, *params)
        with torch.enable_grad():
            leaves = [p.detach().requires_grad_(want) for p, want in zip(params, wanted)]
            return tuple(_partial(problem, x.detach(), lam.detach(), leaves, wanted, create_graph=False))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *upstream):
        with torch.enable_grad():
            x, lam, *params = (t.detach().requires_grad_(want) for t, want in zip(ctx.saved_tensors, (True, True, *ctx.wanted)))
            gradients = _partial(ctx.problem, x, lam, params, ctx.wanted, create_graph=True)
            total = sum((g * v).sum() for g, v in zip(gradients, upstream))
            inputs = [x, lam, *(p for p, want in zip(params, ctx.wanted) if want)]
            if not total.requires_grad:
                found = [None] * len(inputs)
            else:
                found = torch.autograd.grad(total, inputs, allow_unused=True)
        gx, glam, *rest = found
        rest = iter(rest)
        return None, None, gx, glam, *(next(rest) if want else None for want in ctx.wanted)


def _partial(problem, x, lam, params, wanted, create_graph):
    value = -(lam * problem.bind(params)(x)).sum()
    inputs = [p for p, want in zip(params, wanted) if want]
    if not value.requires_grad:
        return [torch.zeros_like(p) for p in inputs]
    found = torch.autograd.grad(value, inputs, create_graph=create_graph, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(inputs, found)]
