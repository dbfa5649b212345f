"""The normal equations of one solve of `irls`, made of the tensors that its gradient reaches."""
import torch

from svconv.operators.division import per_sample
from svconv.solvers.cg import differentiable
from svconv.solvers.conjugate_gradients import solve
from svconv.solvers.derivatives import FILTERS, apply, normal, stencil
from svconv.solvers.implicit import Problem, solve_implicitly, transforming


class Reweighted:
    """`A' m A + reg sum_d D_d' W_d D_d` with weights that are a function of a former image, all 1 without one.

    A solve applies the prior many times and nothing is recorded in it: there it is one 5 x 5 stencil, built at the first application.
    Where the graph or a tangent of one application is wanted, it is the five filters and their transposes, which autograd follows.
    """

    def __init__(self, op, penalty, reg, mask=None, former=None):
        self.op, self.penalty, self.reg, self.mask, self.former, self.stencil = op, penalty, reg, mask, former, None

    def apply(self, x):
        """A x."""
        data = self.op.gram(x, self.mask)
        made_of = [t for t in (x, self.former, self.reg) if isinstance(t, torch.Tensor)]
        if torch.is_grad_enabled() or transforming() or differentiable(*made_of):
            return data + normal(x, self._weights()) * per_sample(self.reg)
        if self.stencil is None:
            self.stencil = self._built(x)
        return apply(x, self.stencil).add_(data)

    def _weights(self):
        return dict.fromkeys(FILTERS, 1.0) if self.former is None else self.penalty(self.former)

    def _built(self, x):
        if not isinstance(self.reg, torch.Tensor):
            return stencil(self._weights(), x, scale=self.reg)
        return stencil({name: w * per_sample(self.reg) for name, w in self._weights().items()}, x)


def solve_reweighted(term, b, start, former, penalty, reg, callback, **options):
    """CGResult of one solve of a data term, its gradient implicit where something needs one."""
    tensors, bind = _made_of(term, penalty, reg, former)
    if not transforming() and not differentiable(b, *tensors):
        return solve(bind(tensors).apply, b, start, callback=callback, apart=term.apart, **options)
    problem = Problem(lambda given: bind(given).apply, {"preconditioner": None, **options}, term.apart)
    return solve_implicitly(problem, start.detach(), callback, b, tensors)


def _made_of(term, penalty, reg, former):
    """(tensors, bind): bind(tensors) -> Reweighted. An operator that needs no gradient is kept as it is, with what it has prepared."""
    given = {"mask": term.mask, "former": former, "reg": reg if isinstance(reg, torch.Tensor) else None}
    given = {name: t for name, t in given.items() if t is not None}
    moves = transforming() or differentiable(*term.op.tensors)

    def bind(tensors):
        op = term.op.with_tensors(tensors[len(given):]) if moves else term.op
        return Reweighted(op, penalty, **{"reg": reg, **dict(zip(given, tensors))})

    return [*given.values(), *(term.op.tensors if moves else ())], bind
