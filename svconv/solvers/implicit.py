"""Derivatives of `x = A(params)^-1 b` through further solves, of any order, in reverse and forward mode and under torch.func.

With g the gradient in x, `lam = A^-1 g` is the gradient in b, and the gradient in the params is the partial derivative of
`-<lam, A(params) x>` at fixed x and lam, or of `<lam, b(params) - A(params) x>` where the right-hand side is made of the params. In reverse
mode that partial derivative is a Function of its own: its backward returns the gradients in x and lam too, which is what the second order
needs and what detaching x alone would lose. A tangent is `dx = A^-1 (db - dA x)`.
"""
import contextlib
import dataclasses
import warnings
import weakref
from collections.abc import Callable

import torch
from torch.autograd import forward_ad

from svconv._forward_mode import outer_levels, primal
from svconv.solvers.conjugate_gradients import CGResult, solve


def transforming():
    """Whether a torch.func transform is active."""
    return torch._C._are_functorch_transforms_active()


def dual():
    """Whether a level of dual numbers is active."""
    return forward_ad._current_level >= 0


@contextlib.contextmanager
def _naming_what_was_made_inside():
    """A solve leaves the levels of the transforms; a captured tensor that belongs to one makes torch fail without a word of it."""
    try:
        yield
    except RuntimeError as error:
        if transforming() and "aten/src/ATen/functorch" in str(error):
            raise ValueError("params: A or the preconditioner uses a tensor that was made inside of the torch.func transform; "
                             "expected it in params, or made outside") from error
        raise


@dataclasses.dataclass
class Problem:
    """What does not change between a solve and its further solves; bind(params) gives x -> A x.

    Where b is made of the params, right(params) is b and defect(params) gives x -> b - A x, which may share work; the b of the solve is
    None.
    """

    bind: Callable
    options: dict
    apart: int = 1
    right: "Callable | None" = None
    defect: "Callable | None" = None

    def rest(self, params, x):
        """`b - A x` as far as it depends on the params: `-A x` where b is an input of its own."""
        return -self.bind(params)(x) if self.defect is None else self.defect(params)(x)

    def vmapped(self, in_dims):
        """The problems of a vmapped axis, which stands first in every tensor for which in_dims says 0."""
        def several(bind):
            if bind is None:
                return None

            def bound(params):
                one = torch.vmap(lambda x, *each: bind(each)(x), in_dims=(0, *in_dims))
                return lambda x: one(x, *params)
            return bound

        def right(params):
            return torch.vmap(lambda *each: self.right(each), in_dims=tuple(in_dims))(*params)

        options = self.options | {"coordinates": None}
        if options["preconditioner"] is not None:
            options["preconditioner"] = torch.vmap(options["preconditioner"])
        return Problem(several(self.bind), options, self.apart + 1, self.right and right, several(self.defect))


def solve_implicitly(problem, x0, callback, b, params, watched=None):
    """CGResult of a differentiable solve. watched: the same as `problem.bind` in the first application, see `svconv.solvers.cg`."""
    report = CGResult(None, None, None, None)
    with _naming_what_was_made_inside():
        found = Solve.apply(problem, weakref.ref(report), watched, x0, callback, b, *params)
    report.x, report.iterations, report.residuals, report.converged, report.history = found
    return report


class Solve(torch.autograd.Function):
    """(x, iterations, residuals, converged, history); keeps a weak reference to the result, which would hold its own graph."""

    @staticmethod
    def forward(problem, report, watched, x0, callback, b, *params):
        if any(t is not None and vectorised(t) for t in (b, *params)):
            return _solve_vectorised(problem, x0, b, params)
        with torch.no_grad():
            apply = (problem.bind if watched is None else watched)(params)
            b = b if problem.right is None else problem.right(params)
        result = solve(apply, b, x0, callback=callback, apart=problem.apart, history=True, **problem.options)
        return result.x, result.iterations, result.residuals, result.converged, result.history

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.problem, ctx.report, *_ = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(output[0], *inputs[6:])
        ctx.save_for_forward(output[0], *inputs[6:])

    @staticmethod
    def backward(ctx, g, *_):
        x, *params = ctx.saved_tensors
        adjoint = solve_implicitly(_further(ctx.problem), None, None, g, params)
        lam, adjoint.x = adjoint.x, None
        _tell(ctx.report(), adjoint)
        wanted = ctx.needs_input_grad[6:]
        found = iter(_parameter_gradients(ctx.problem, wanted, x, lam, params) if any(wanted) else ())
        gradients = [next(found) if want else None for want in wanted]
        return None, None, None, None, None, lam if ctx.needs_input_grad[5] else None, *gradients

    @staticmethod
    def jvp(ctx, *tangents):
        db, *dparams = tangents[5:]
        with outer_levels():
            x, *params = map(primal, ctx.saved_tensors)
            change = _operator_tangent(ctx.problem, x, params, dparams)
            right = change if db is None else db if change is None else db + change
            if right is None:
                right = torch.zeros_like(x)
            return solve_implicitly(_further(ctx.problem), None, None, right, params).x, None, None, None, None

    @staticmethod
    def vmap(info, in_dims, problem, report, watched, x0, callback, b, *params):
        def leading(t, dim):
            return t if dim is None else t.movedim(dim, 0)

        def everywhere(t, dim):
            if t is None:
                return None
            return t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)

        places = [None if dim is None else 0 for dim in in_dims[6:]]
        x0, b = everywhere(x0, in_dims[3]), everywhere(b, in_dims[5])
        params = [leading(p, dim) for p, dim in zip(params, in_dims[6:])]
        if b is None and 0 not in places:       # the start alone is batched: so is the right-hand side, by one of its tensors
            places[0], params[0] = 0, everywhere(params[0], None)
        found = Solve.apply(problem.vmapped(places), report, None, x0, callback, b, *params)
        return found, (0, 0, 0, 0, 1)


def vectorised(t):
    """Whether t belongs to `is_grads_batched` or a vectorised Jacobian, whose vmap is not that of torch.func and passes a Function as it
    is."""
    return torch._C._functorch.is_legacy_batchedtensor(t)


def _unbatched(*tensors):
    """(level of their vmap, for each tensor 0 or None where it is not batched, the tensors with the vmapped axis first)."""
    level = torch._C._vmapmode_increment_nesting() - 1
    torch._C._vmapmode_decrement_nesting()
    batched = tuple(0 if vectorised(t) else None for t in tensors)
    return level, batched, [t if has is None else torch._remove_batch_dim(t, level, 1, 0) for t, has in zip(tensors, batched)]


def _solve_vectorised(problem, x0, b, params):
    level, batched, (b, *params) = _unbatched(params[0] if b is None else b, *params)
    if problem.right is not None:
        b = problem.vmapped(batched[1:]).right(params)
    elif batched[0] is None:
        size = next(p.shape[0] for p, has in zip(params, batched[1:]) if has == 0)
        b = b.expand(size, *b.shape)
    x0 = None if x0 is None else x0.expand(b.shape)
    several = problem.vmapped(batched[1:])
    result = solve(several.bind(params), b, x0, apart=several.apart, history=True, **several.options)
    found = result.x, result.iterations, result.residuals, result.converged
    return *(torch._add_batch_dim(t, 0, level) for t in found), torch._add_batch_dim(result.history, 1, level)


def _further(problem):
    """The problem of an adjoint or tangent solve, whose right-hand side is another, in units of its own: atol means nothing there."""
    return dataclasses.replace(problem, options={**problem.options, "atol": 0.0}, right=None, defect=None)


def _tell(report, adjoint):
    if transforming() or vectorised(adjoint.converged):
        return      # a result of its own for each of what is batched
    if report is not None:
        report.adjoint = adjoint
    if adjoint.converged.device.type != "cpu" or bool(adjoint.converged.all()):
        return
    worst = float(adjoint.residuals.nan_to_num(nan=float("inf")).max())
    warnings.warn(f"cg: the adjoint solve of the backward pass did not converge (relative residual {worst:.1e}); the gradient is "
                  "as inexact", RuntimeWarning, stacklevel=2)


def _operator_tangent(problem, x, params, dparams):
    """`db - dA x` for the tangents dparams, None where all are None."""
    moving = [i for i, d in enumerate(dparams) if d is not None]
    if not moving:
        return None

    def apply(*moved):
        given = list(params)
        for i, p in zip(moving, moved):
            given[i] = p
        return problem.rest(given, x)

    primals, tangents = tuple(params[i] for i in moving), tuple(dparams[i] for i in moving)
    if transforming():
        return torch.func.jvp(apply, primals, tangents)[1]
    duals = [forward_ad.make_dual(p, d) for p, d in zip(primals, tangents)]         # a level of plain dual numbers cannot be nested
    return forward_ad.unpack_dual(apply(*duals)).tangent


def _parameter_gradients(problem, wanted, x, lam, params):
    """The partial gradients of `<lam, b - A(params) x>` in the wanted params."""
    if not transforming() and not dual():
        return ParameterTerm.apply(problem, wanted, x, lam, *params)
    return _by_vjp(problem, wanted, x, lam, params)


def _by_vjp(problem, wanted, x, lam, params):
    free = [i for i, want in enumerate(wanted) if want]

    def apply(*moved):
        given = list(params)
        for i, p in zip(free, moved):
            given[i] = p
        return problem.rest(given, x)

    with _naming_what_was_made_inside():
        return torch.func.vjp(apply, *(params[i] for i in free))[1](lam)


class ParameterTerm(torch.autograd.Function):
    """The partial gradients of `<lam, b - A(params) x>` in the wanted params, without torch.func, which not every callable bears."""

    @staticmethod
    def forward(ctx, problem, wanted, x, lam, *params):
        ctx.problem, ctx.wanted = problem, wanted
        ctx.save_for_backward(x, lam, *params)
        if any(map(vectorised, (x, lam, *params))):
            level, batched, (x, lam, *params) = _unbatched(x, lam, *params)
            each = torch.vmap(lambda x, lam, *params: _by_vjp(problem, wanted, x, lam, params), in_dims=batched)
            return tuple(torch._add_batch_dim(t, 0, level) for t in each(x, lam, *params))
        with torch.enable_grad():
            leaves = [p.detach().requires_grad_(want) for p, want in zip(params, wanted)]
            return tuple(_partial(problem, x.detach(), lam.detach(), leaves, wanted, create_graph=False))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *upstream):
        if any(map(vectorised, upstream)):
            return None, None, *_second_vectorised(ctx.problem, ctx.wanted, ctx.saved_tensors, upstream)
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


def _second_vectorised(problem, wanted, tensors, upstream):
    """What `ParameterTerm.backward` returns, for upstream gradients that belong to a vectorised Jacobian."""
    free = [True, True, *wanted]

    def each(*upstream):
        def gradients(*moved):
            given = iter(moved)
            x, lam, *params = (next(given) if move else t for t, move in zip(tensors, free))
            return _by_vjp(problem, wanted, x, lam, params)

        return torch.func.vjp(gradients, *(t for t, move in zip(tensors, free) if move))[1](upstream)

    level, batched, upstream = _unbatched(*upstream)
    found = iter(torch.vmap(each, in_dims=batched)(*upstream))
    return [torch._add_batch_dim(next(found), 0, level) if move else None for move in free]


def _partial(problem, x, lam, params, wanted, create_graph):
    value = (lam * problem.rest(params, x)).sum()
    inputs = [p for p, want in zip(params, wanted) if want]
    if not value.requires_grad:
        return [torch.zeros_like(p) for p in inputs]
    found = torch.autograd.grad(value, inputs, create_graph=create_graph, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(inputs, found)]
