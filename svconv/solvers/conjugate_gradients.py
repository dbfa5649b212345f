"""Conjugate gradients over a batch: every sample has its own steps and its own stop, in place or differentiable step by step."""
import dataclasses

import torch

from svconv._shapes import shape_text
from svconv.solvers import program_loop
from svconv.solvers.fused_pass import fused_pass
from svconv.solvers.magnitudes import column, dots, norms, unit
from svconv.solvers.result import Result

CHECKS = 3  # how often a sample's true residual is computed; it goes on from there after all but the last


@dataclasses.dataclass(repr=False)
class CGResult(Result):
    """What `svconv.solvers.cg` found.

    Attributes:
        x: the solution, like b. A sample whose residual is not a number is NaN as a whole.
        iterations: int64 [B], steps that each sample took.
        residuals: [B], `||b - A x|| / ||b||` at the end (0 for b = 0 and x = 0).
        converged: bool [B], whether `||b - A x|| <= max(tol ||b||, atol)`.
        history: [max_iter + 1, B], the relative residual at the start and after each step; NaN where a sample took no such step. None in
            a program of `torch.export`.
        adjoint: after a backward pass through an implicit solve, the CGResult of the adjoint solve (its x is None); None before.
    """

    iterations: torch.Tensor
    residuals: torch.Tensor
    converged: torch.Tensor
    history: "torch.Tensor | None" = None
    adjoint: "CGResult | None" = None


def looks(t):
    """check_every of the classical solvers: on a GPU a look now and then is cheaper than all the steps it may save."""
    return 1 if on_host(t) else 10


def on_host(t):
    """Whether looking at a value costs no synchronisation and breaks no graph."""
    return t.device.type == "cpu" and not torch.compiler.is_compiling()


def apply_checked(apply, x):
    """A x; ValueError where the result is not like x."""
    y = apply(x)
    if not isinstance(y, torch.Tensor) or y.shape != x.shape or y.dtype != x.dtype:
        got = f"{y.dtype} {shape_text(y)}" if isinstance(y, torch.Tensor) else type(y).__name__
        raise ValueError(f"A: expected A(x) like x, {x.dtype} {shape_text(x)}, got {got}")
    return y


def relative(norm, scale):
    """norm / scale, and 0 / 0 = 0."""
    return torch.where(norm == 0, norm, norm / scale)


class Iteration:
    """One solve in place under no_grad; `solve()` runs it.

    The first `apart` axes count independent problems: samples, or samples and channels. In every pass of the loop each problem either takes
    a step, has its true residual computed (where it seems converged, took its last step or cannot go on; then it goes on from that residual
    or is done), or is done. A is applied once per pass, to the direction of those that step and the solution of those that are checked.
    Nothing that a problem does depends on the others, on the device or on `check_every`, which only says when the host looks whether all
    are done. Each problem is solved in its own power of two `unit`, so that squares neither under- nor overflow.
    """

    def __init__(self, apply, b, x0, preconditioner, tol, max_iter, check_every, callback, atol=0.0, verify=True, apart=1, history=False):
        self.apply, self.b, self.preconditioner, self.apart = apply, b, preconditioner, apart
        self.tol, self.max_iter, self.callback, self.verify, self.most_checks = tol, max_iter, callback, verify, CHECKS
        self.on_host = on_host(b)
        self.check_every = 0 if torch.compiler.is_compiling() else check_every or int(self.on_host)
        plain = {"memory_format": torch.contiguous_format}
        self.r = b.clone(**plain) if x0 is None else b - apply_checked(apply, x0)
        self.unit = unit(*((b,) if x0 is None else (b, self.r)), apart=apart)
        self.r.mul_(column(self.unit, b))
        self.x = torch.zeros_like(b, **plain) if x0 is None else (x0 * column(self.unit, b)).contiguous()
        self.residual = dots(self.r, self.r, apart=apart).sqrt()
        self.scale = self.residual if x0 is None else norms(b, apart) * self.unit
        self.threshold = torch.maximum(self.tol * self.scale, atol * self.unit)
        self.iterations = torch.zeros(self.scale.shape, dtype=torch.int64, device=b.device)
        self.checks = torch.zeros_like(self.iterations)
        self.failed = torch.zeros(self.scale.shape, dtype=torch.bool, device=b.device)
        self.active, self.checked, self.stepped = self._unfinished(), torch.zeros_like(self.failed), 0
        history = history and not torch.compiler.is_exporting()
        self.history = self.residual.new_full((max_iter + 1, *self.residual.shape), float("nan")) if history else None

    def solve(self):
        """CGResult."""
        self._start()
        most = self.max_iter + (CHECKS if self.verify else 0)
        if torch.compiler.is_exporting():
            program_loop.run(self, most)
        else:
            self._passes(most)
        self.note()
        residuals = relative(self.residual, self.scale).masked_fill(self.failed, float("nan"))
        self.x.mul_(column(1 / self.unit, self.x)).masked_fill_(column(torch.isnan(residuals), self.x), float("nan"))
        history = None if self.history is None else relative(self.history, self.scale)
        return CGResult(self.x, self.iterations, residuals, (self.residual <= self.threshold) & ~self.failed, history)

    def _passes(self, most):
        fused = fused_pass(self)
        take_pass = fused or self.take_pass
        for count in range(most):
            if self.check_every and count % self.check_every == 0 and not bool((self.active | self.checked).any()):
                break
            take_pass()
        if fused is not None:
            fused.finish()

    def applied(self, x):
        return apply_checked(self.apply, x)

    def _unfinished(self):
        return (self.residual > self.threshold) & (self.iterations < self.max_iter)

    def note(self):
        if self.history is not None:
            self.history.scatter_(0, self.iterations[None], self.residual[None])

    def _preconditioned(self):
        return self.r if self.preconditioner is None else self.preconditioner(self.r)

    def _start(self):
        z = self._preconditioned()
        self.p, self.scratch = z.clone(), torch.empty_like(z)
        self.rz = self.residual.square() if z is self.r else dots(self.r, z, apart=self.apart)
        self._drop(torch.isnan(self.residual))

    def take_pass(self):
        self.note()
        checking = not self.on_host or bool(self.checked.any())
        q = apply_checked(self.apply, torch.where(column(self.checked, self.p), self.x, self.p) if checking else self.p)
        pq = dots(self.p, q, self.scratch, self.apart)
        alpha = self.rz / pq
        good = self.active & (pq > 0) & torch.isfinite(alpha)
        alpha = torch.where(good, alpha, 0)
        self.x.addcmul_(self.p, column(alpha, self.p))
        self.r.addcmul_(q, column(-alpha, q))
        if checking:
            self.r = torch.where(column(self.checked, q), (self.b * column(self.unit, q)).sub_(q), self.r)
        self.iterations += good
        z = self._preconditioned()
        squared = dots(self.r, self.r, self.scratch, self.apart)
        new_rz = squared if z is self.r else dots(self.r, z, self.scratch, self.apart)
        broken = torch.isnan(squared) | (self.active & torch.isnan(pq))
        self.residual = squared.sqrt()
        self._next(good, broken)
        ratio = torch.where(self.active & good, new_rz / self.rz, 0)
        torch.addcmul(z, self.p, column(ratio, self.p), out=self.p)
        self._drop(broken)
        self.rz = new_rz
        self.tell(good)

    def _next(self, good, broken):
        """Who steps and who is checked in the next pass."""
        stuck = self.active & ~good
        more = self._unfinished() & ~broken
        self.checks += self.checked
        again = self.checked & more & ~self.failed & (self.checks < CHECKS)
        if self.verify:
            self.checked, self.active = self.active & ~broken & (stuck | ~more), (good & more) | again
        else:
            self.active = good & more
        self.failed |= broken

    def _drop(self, broken):
        """Keeps NaN samples out of all further arithmetic: 0 * NaN would spread in x."""
        self.failed |= broken
        if not self.on_host or bool(broken.any()):
            self.p.masked_fill_(column(broken, self.p), 0)
            self.r.masked_fill_(column(broken, self.r), 0)

    def tell(self, good):
        """The callback, after a pass in which somebody took a step."""
        if self.callback is None or self.on_host and not bool(good.any()):
            return
        self.stepped = min(self.stepped + 1, self.max_iter)
        self.callback(self.stepped, self.max_iter, self.x * column(1 / self.unit, self.x))


def solve(apply, b, x0=None, preconditioner=None, tol=1e-4, max_iter=50, check_every=None, callback=None, coordinates=None, **more):
    """CG without a graph; more: atol, apart, history, verify=False trusts the residual of the recurrence (one application less).

    coordinates: other vectors with the same inner products, `enter(x)`, `leave(v)`, on which `operator(apply)` is A and `preconditioner`
    what takes the place of the argument.
    """
    with torch.no_grad():
        if coordinates is None:
            return Iteration(apply, b, x0, preconditioner, tol, max_iter, check_every, callback, **more).solve()
        told = None if callback is None else lambda step, steps, v: callback(step, steps, coordinates.leave(v))
        found = Iteration(coordinates.operator(apply), coordinates.enter(b), None if x0 is None else coordinates.enter(x0),
                          coordinates.preconditioner, tol, max_iter, check_every, told, **more).solve()
        x = coordinates.leave(found.x)
        if x0 is not None:      # where no step was taken x is x0, to the bit
            x = torch.where(column((found.iterations == 0) & ~torch.isnan(found.residuals), x), x0, x)
        found.x = x
        return found


def worst_channel(result):
    """The CGResult of a solve with samples and channels apart, [B, C] -> [B]: the most steps, the largest residual, all converged."""
    if result.iterations.dim() == 1:
        return result
    none = result.iterations.new_zeros((result.iterations.shape[0], 1))
    iterations, residuals = (torch.cat([none.to(t.dtype), t], 1).amax(1) for t in (result.iterations, result.residuals))
    return CGResult(result.x, iterations, residuals, result.converged.all(1))


def solve_unrolled(apply, b, x0, preconditioner, tol, max_iter, check_every, callback, atol=0.0, apart=1):
    """The same steps, each differentiable."""
    look = on_host(b) and not torch._C._are_functorch_transforms_active()       # a transform has no single value to look at
    check_every = check_every if check_every and not torch.compiler.is_compiling() else int(look)
    r = b if x0 is None else b - apply_checked(apply, x0)
    scale = unit(b.detach(), r.detach(), apart=apart)
    back, r = 1 / scale, r * column(scale, r)
    x = torch.zeros_like(b) if x0 is None else x0 * column(scale, b)
    z = r if preconditioner is None else preconditioner(r)
    p, rz = z, dots(r, z, apart=apart)
    norm = norms(b.detach(), apart) * scale
    residual, threshold = dots(r.detach(), r.detach(), apart=apart).sqrt(), torch.maximum(tol * norm, atol * scale)
    active = residual > threshold
    iterations = torch.zeros_like(active, dtype=torch.int64)
    history = [residual]
    for step in range(max_iter):
        if check_every and step % check_every == 0 and not bool(active.any()):
            break
        q = apply_checked(apply, p)
        pq = dots(p, q, apart=apart)
        active = active & (pq > 0)
        alpha = torch.where(active, rz / torch.where(active, pq, 1), 0)
        x = x + column(alpha, p) * p
        r = r - column(alpha, q) * q
        iterations = iterations + active
        z = r if preconditioner is None else preconditioner(r)
        new_rz = dots(r, z, apart=apart)
        residual = dots(r.detach(), r.detach(), apart=apart).sqrt()
        history.append(torch.where(active, residual, float("nan")))
        active = active & (residual > threshold)
        p = z + column(torch.where(active, new_rz / torch.where(active, rz, 1), 0), p) * p
        rz = new_rz
        if callback is not None:
            callback(step + 1, max_iter, x.detach() * column(back, x))
    return _told(apply, b.detach() * column(scale, b), x, back, iterations, norm, threshold, history, max_iter, apart)


def _told(apply, b, x, back, iterations, norm, threshold, history, max_iter, apart):
    """CGResult of unrolled steps, whose x and b are in units of their own."""
    with torch.no_grad():
        rest = b - apply(x.detach())
        residual = dots(rest, rest, apart=apart).sqrt()
        history += [torch.full_like(norm, float("nan"))] * (max_iter + 1 - len(history))
        residuals, history = relative(residual, norm), relative(torch.stack(history), norm)
    x = torch.where(column(torch.isnan(residuals), x), float("nan"), x * column(back, x))
    return CGResult(x, iterations, residuals, residual <= threshold, history)
