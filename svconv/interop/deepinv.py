"""svconv operators as the forward models of DeepInverse (deepinv): its optimisers, unfolded networks and losses run on them.

The adjoint is exact, A'A is one pass where the operator has one, and the proximal step and the pseudo-inverse run through
`svconv.solvers.cg`, with gradients in every tensor that the operator is made of. Needs `pip install svconv[interop]`.
"""
import copy
import functools
from typing import TYPE_CHECKING, Any

import torch

from svconv._shapes import number, shape_text
from svconv.operators.base import Identity, Operator
from svconv.operators.composites import Composite
from svconv.solvers import cg

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics as _Base
else:
    _Base = object

SOLVERS = ("CG", "lsqr", "BiCGStab", "minres")      # of deepinv; here each is conjugate gradients


def as_physics(op: Operator, *, padding: str | None = None, img_size: tuple[int, ...] | None = None, **options: Any) -> Any:
    """An operator as a `deepinv.physics.LinearPhysics`.

    Args:
        op: an operator of `svconv.operators`, products, sums and transposes included.
        padding: None keeps the operator's own boundary rule; the name of another one; or "valid", the part of "zeros" whose inputs all lie
            inside of the image, as deepinv's Blur gives it: smaller by k - 1, (k-1-k//2, k//2) on the two sides.
        img_size: (C, H, W), or (C, M, H, W), of one input; needed only where the operator's tensors do not fix it and deepinv asks for it.
        options: of `LinearPhysics`: noise_model, sensor_model, max_iter, tol, implicit_backward_solver.

    Returns:
        A module with the operator's tensors as buffers under their own names ("kernel", "kernels", "filters", "radius", "factor"; "_1",
        "_2" ... are added where a name occurs more than once). `state_dict`, `to`, `clone`, `update_parameters(kernel=...)` and
        `A(x, kernel=...)` work on them; a tensor that a network made keeps its gradient. `A_adjoint_A` is `op.gram`. `prox_l2` and
        `A_dagger` solve by `svconv.solvers.cg`, whichever of deepinv's solvers is asked for (a circular convolution has its proximal step
        in closed form); gamma is a number, [], [B] or [B, 1, 1, 1]. implicit_backward_solver is the `implicit` of cg.

    Raises:
        ValueError, TypeError: naming the argument. ImportError: no deepinv.

    >>> import torch, svconv
    >>> blur = svconv.EFFBlur(torch.full((1, 6, 5, 5), 1 / 25), svconv.EFFGrid((64, 96), (2, 3)))
    >>> physics = svconv.interop.deepinv.as_physics(blur)                                             # doctest: +SKIP
    >>> y = physics(torch.rand(2, 3, 64, 96))                                                         # doctest: +SKIP
    >>> x = physics.prox_l2(torch.zeros_like(y), y, gamma=10.0)                                       # doctest: +SKIP
    >>> list(physics.state_dict()), physics.A_adjoint(y).shape                                        # doctest: +SKIP
    (['kernels'], torch.Size([2, 3, 64, 96]))
    """
    if not isinstance(op, Operator):
        raise TypeError(f"op: expected an operator of svconv.operators, got {type(op).__name__}")
    if padding == "valid":
        op = Valid(op.with_padding("zeros"))
    elif padding is not None:
        op = op.with_padding(padding)
    return physics_class()(op, img_size, options)


@functools.cache
def physics_class() -> type:
    """`OperatorPhysics`, a LinearPhysics; made when it is first needed, since it is a class of deepinv's."""
    try:
        from deepinv.physics import LinearPhysics
    except (ImportError, RuntimeError) as error:       # a torchvision that does not fit torch is a RuntimeError
        raise ImportError(f"svconv.interop.deepinv needs deepinv (pip install svconv[interop]): {error}") from error
    return type("OperatorPhysics", (_OperatorPhysics, LinearPhysics), {"__module__": __name__, "__doc__": _OperatorPhysics.__doc__})


def __getattr__(name: str) -> Any:
    if name == "OperatorPhysics":
        return physics_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# the operator -------------------------------------------------------------------------------------------------------

class Valid(Composite):
    """The output pixels of an operator whose inputs all lie inside of the image; the output is smaller by the reach."""

    def __init__(self, of):
        super().__init__(of)
        self.of, self.maps, self.reach = of, of.maps, of.reach
        self.crop = tuple(of.reach)

    def _inside(self, size):
        """(rows, columns) of the pixels that stay."""
        top, bottom, left, right = self.crop
        if size[0] <= top + bottom or size[1] <= left + right:
            raise ValueError(f'x: expected more than {top + bottom} x {left + right} pixels with padding "valid", got '
                             f"{size[0]} x {size[1]}")
        return slice(top, size[0] - bottom), slice(left, size[1] - right)

    def _forward(self, x):
        return self.of._forward(x)[(..., *self._inside(x.shape[-2:]))]

    def _adjoint(self, y):
        top, bottom, left, right = self.crop
        return self.of._adjoint(torch.nn.functional.pad(y, (left, right, top, bottom)))

    def _gram(self, x, weights=None):
        many = () if self.maps[1] is None else (self.maps[1],)
        whole = x.new_zeros((1, 1, *many, *x.shape[-2:])) if weights is None else x.new_zeros((*weights.shape[:-2], *x.shape[-2:]))
        whole[(..., *self._inside(x.shape[-2:]))] = 1 if weights is None else weights
        return self.of._gram(x, whole)

    def on(self, plane):
        return None

    def __repr__(self):
        return f"Valid({self.of!r})"


def _names(op: Operator) -> list[str]:
    """A name for each of its tensors: the attribute of the part that holds it; one name for a tensor that occurs several times."""
    found = {id(t): "tensor" for t in op.tensors}
    parts = [op]
    while parts:
        part = parts.pop()
        parts += getattr(part, "parts", ())
        found |= {id(value): name for name, value in vars(part).items() if id(value) in found and isinstance(value, torch.Tensor)}
    every, seen = list(found.values()), dict[str, int]()
    for key, name in found.items():
        seen[name] = seen.get(name, 0) + 1
        found[key] = f"{name}_{seen[name]}" if every.count(name) > 1 else name
    return [found[id(t)] for t in op.tensors]


# the physics --------------------------------------------------------------------------------------------------------

class _OperatorPhysics(_Base):
    """An operator of svconv as a LinearPhysics; see `svconv.interop.deepinv.as_physics`."""

    def __init__(self, op: Operator, img_size: tuple[int, ...] | None, options: dict[str, Any]):
        if img_size is None:
            fixed = op.frame[2] is not None
            img_size = tuple(op.input_shape()[1:]) if fixed else None
        else:
            img_size = tuple(op.input_shape((op.frame[0], *img_size))[1:])
        super().__init__(img_size=img_size, device=op.device or "cpu", **options)
        self._operator, self._tensor_names = op, _names(op)
        for name, t in dict(zip(self._tensor_names, op.tensors)).items():
            self.register_buffer(name, t)

    @property
    def operator(self):
        """The operator, made of the buffers as they are now."""
        tensors = [getattr(self, name) for name in self._tensor_names]
        if any(new is not old for new, old in zip(tensors, self._operator.tensors)):
            self._operator = self._operator.with_tensors(tensors)
        return self._operator

    def __deepcopy__(self, memo):
        """Tensors that a network made are copied without their graph."""
        memo |= {id(t): t.detach().clone() for t in self.operator.tensors if not t.is_leaf}
        new = self.__new__(type(self))
        memo[id(self)] = new
        new.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return new

    def clone(self):
        """As of LinearPhysics, which looks for random generators in everything that Python holds; here in the modules."""
        memo = {}
        for generator in [g for module in self.modules() for g in vars(module).values() if isinstance(g, torch.Generator)]:
            memo[id(generator)] = torch.Generator(generator.device)
            memo[id(generator)].set_state(generator.get_state())
        return copy.deepcopy(self, memo)

    def A(self, x, **tensors):
        self.update_parameters(**tensors)
        return self.operator(x)

    def A_adjoint(self, y, **tensors):
        self.update_parameters(**tensors)
        return self.operator.adjoint(y)

    def A_adjoint_A(self, x, **tensors):
        self.update_parameters(**tensors)
        return self.operator.gram(x)

    def compute_sqnorm(self, x0, **options):
        """As of LinearPhysics, with `op.gram`; x0 may lack the batch."""
        return super().compute_sqnorm(x0 if x0.dim() == (4 if self._operator.maps[0] is None else 5) else x0.unsqueeze(0), **options)

    def prox_l2(self, z, y, gamma, solver="CG", max_iter=None, tol=None, verbose=False, **tensors):
        """`argmin_x gamma/2 |A x - y|^2 + 1/2 |x - z|^2`: (A'A + I/gamma) x = A'y + z/gamma, started at z.

        Args:
            z: like x, a number or None (0). y: the observation. gamma: > 0; a number, [], [B] or [B, 1, 1, 1].
            solver: any of deepinv's names; conjugate gradients all the same. max_iter, tol: those of the physics if None.
            tensors: new ones for the operator.
        """
        self.update_parameters(**tensors)
        op, factor = self.operator, 1 / _checked_gamma(gamma, y)
        if z is None or not isinstance(z, torch.Tensor):
            z = torch.full_like(op.adjoint(y), 0.0 if z is None else float(z))
        change = op.divide(y - op(z), factor)
        if change is not None:
            return z + change
        per_sample = factor.reshape(-1, *[1] * (z.dim() - 1)) if isinstance(factor, torch.Tensor) else factor
        return self._solved(op.T @ op + factor * Identity(), op.adjoint(y) + per_sample * z, z, solver, max_iter, tol, verbose)

    def A_dagger(self, y, solver="CG", max_iter=None, tol=None, verbose=False, **tensors):
        """The least squares solution of A x = y: A'A x = A'y, started at 0; arguments as in `prox_l2`."""
        self.update_parameters(**tensors)
        op = self.operator
        return self._solved(op.T @ op, op.adjoint(y), None, solver, max_iter, tol, verbose)

    def _solved(self, A, b, x0, solver, max_iter, tol, verbose):
        if solver is not None and solver not in SOLVERS:
            raise ValueError(f"solver: expected one of {', '.join(SOLVERS)}, got {solver!r}")
        result = cg(A, b, x0=x0, tol=self.tol if tol is None else tol, max_iter=self.max_iter if max_iter is None else max_iter,
                    implicit=self.implicit_backward_solver)
        if verbose:
            print(f"svconv.solvers.cg: {int(result.iterations.max())} steps, relative residual {float(result.residuals.max()):.1e}")
        return result.x

    def extra_repr(self):
        return repr(self.operator)


def _checked_gamma(gamma, y):
    """A number, or a tensor [] or [B] of the dtype of y."""
    if not isinstance(gamma, torch.Tensor):
        return number("gamma", gamma, above=0)
    if gamma.numel() not in (1, y.shape[0]) or gamma.dim() > 1 and gamma.shape[0] != gamma.numel():
        raise ValueError(f"gamma: expected a number, [], [B] or [B, 1, 1, 1] with B = {y.shape[0]}, got {shape_text(gamma)}")
    return gamma.to(y).reshape(() if gamma.numel() == 1 else -1)
