"""Conjugate gradients over a batch: every sample has its own steps and its own stop, in place or differentiable step by step."""
import dataclasses

import torch

from svconv._shapes import shape_text

ROUNDS = 3  # how often a sample that only seemed converged goes on from its true residual


@dataclasses.dataclass
class CGResult:
    """What `svconv.solvers.cg` found.

    Attributes:
        x: the solution, like b. A sample whose residual is not a number is NaN as a whole.
        iterations: int64 [B], steps that each sample took.
        residuals: [B], `||b - A x|| / ||b||` at the end (0 for b = 0 and x = 0).
        converged: bool [B], whether the residual is at most `tol`.
        adjoint: after a backward pass through an implicit solve, the CGResult of the adjoint solve (its x is None); None before.
    """

    x: torch.Tensor
    iterations: torch.Tensor
    residuals: torch.Tensor
    converged: torch.Tensor
    adjoint: "CGResult | None" = None


def dots(u, v, scratch=None):
    """Inner product per sample, [B]. torch sums in a tree; one long float32 accumulation (bmm, vector_norm) is 1e-3 off for large images."""
    product = u * v if scratch is None else torch.mul(u, v, out=scratch)
    return product.reshape(u.shape[0], u.shape[1:].numel()).sum(1)


def looks(t):
    """check_every of the classical solvers: on a GPU a look now and then is cheaper than all the steps it may save."""
    return 1 if t.device.type == "cpu" else 10


def column(t, like):
    """[B] as a factor of `like`."""
    return t.reshape(-1, *[1] * (like.dim() - 1))


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

    A sample that stopped keeps x because its step length is zero from then on, so neither the others nor `check_every`, which only
    says when the host looks whether anything is left to do, can change its result.
    """

    def __init__(self, apply, b, x0, preconditioner, tol, max_iter, check_every, callback, verify=True):
        self.apply, self.b, self.preconditioner = apply, b, preconditioner
        self.tol, self.max_iter, self.callback, self.verify = tol, max_iter, callback, verify
        self.on_host = b.device.type == "cpu"
        self.check_every = check_every or (1 if self.on_host else 0)
        self.x = torch.zeros_like(b, memory_format=torch.contiguous_format) if x0 is None else x0.clone(memory_format=torch.contiguous_format)
        self.r = b.clone(memory_format=torch.contiguous_format) if x0 is None else b - apply_checked(apply, x0)
        self.scale = dots(b, b).sqrt()
        self.iterations = torch.zeros(b.shape[0], dtype=torch.int64, device=b.device)
        self.failed = torch.zeros(b.shape[0], dtype=torch.bool, device=b.device)
        self.steps_done = 0

    def solve(self):
        """CGResult."""
        residual = dots(self.r, self.r).sqrt()
        active = self._unfinished(residual)
        for _ in range(ROUNDS if self.verify else 1):
            residual = self._round(active, residual)
            if not self.verify:
                break
            r = self.b - apply_checked(self.apply, self.x)
            residual = dots(r, r).sqrt()
            active = self._unfinished(residual) & ~self.stuck
            if not self.on_host or not bool(active.any()):
                break
            self.r = r
        residuals = relative(residual, self.scale)
        residuals = residuals.masked_fill(self.failed, float("nan"))
        self.x.masked_fill_(column(torch.isnan(residuals), self.x), float("nan"))
        return CGResult(self.x, self.iterations, residuals, residuals <= self.tol)

    def _unfinished(self, residual):
        return (residual > self.tol * self.scale) & (self.iterations < self.max_iter)

    def _round(self, active, residual):
        """Steps from the current x and r until no sample is active; returns the residual norms of the recurrence."""
        z = self.r if self.preconditioner is None else self.preconditioner(self.r)
        p, scratch = z.clone(), torch.empty_like(z)
        rz = residual.square() if z is self.r else dots(self.r, z)
        self.stuck = torch.zeros_like(self.failed)
        self._drop(self.failed | torch.isnan(residual), p)
        for _ in range(self.max_iter):
            if self.check_every and self.steps_done % self.check_every == 0 and not bool(active.any()):
                break
            q = apply_checked(self.apply, p)
            pq = dots(p, q, scratch)
            alpha = rz / pq
            good = active & (pq > 0) & torch.isfinite(alpha)
            alpha = torch.where(good, alpha, 0)
            self.x.addcmul_(p, column(alpha, p))
            self.r.addcmul_(q, column(alpha, q), value=-1)
            self.iterations += good
            z = self.r if self.preconditioner is None else self.preconditioner(self.r)
            squared = dots(self.r, self.r, scratch)
            new_rz = squared if z is self.r else dots(self.r, z, scratch)
            broken = torch.isnan(squared) | torch.isnan(pq)
            self.stuck |= active & ~good
            residual = squared.sqrt()
            active = good & self._unfinished(residual)
            torch.addcmul(z, p, column(torch.where(active, new_rz / rz, 0), p), out=p)
            self._drop(broken, p)
            rz = new_rz
            self.steps_done += 1
            if self.callback is not None:
                self.callback(min(self.steps_done, self.max_iter), self.max_iter, self.x)
        return residual

    def _drop(self, broken, p):
        """Keeps NaN samples out of all further arithmetic: 0 * NaN would spread in x."""
        self.failed |= broken
        if not self.on_host or bool(broken.any()):
            p.masked_fill_(column(broken, p), 0)
            self.r.masked_fill_(column(broken, p), 0)


def solve(apply, b, x0=None, preconditioner=None, tol=1e-4, max_iter=50, check_every=None, callback=None, verify=True):
    """CG without a graph; verify=False trusts the residual of the recurrence (one operator application less)."""
    with torch.no_grad():
        return Iteration(apply, b, x0, preconditioner, tol, max_iter, check_every, callback, verify).solve()


def solve_unrolled(apply, b, x0, preconditioner, tol, max_iter, check_every, callback):
    """The same steps, each differentiable."""
    check_every = check_every or (1 if b.device.type == "cpu" else 0)
    x = torch.zeros_like(b) if x0 is None else x0
    r = b if x0 is None else b - apply_checked(apply, x0)
    z = r if preconditioner is None else preconditioner(r)
    p, rz = z, dots(r, z)
    threshold = tol * dots(b.detach(), b.detach()).sqrt()
    iterations = torch.zeros(b.shape[0], dtype=torch.int64, device=b.device)
    active = dots(r.detach(), r.detach()).sqrt() > threshold
    for step in range(max_iter):
        if check_every and step % check_every == 0 and not bool(active.any()):
            break
        q = apply_checked(apply, p)
        pq = dots(p, q)
        active = active & (pq > 0)
        alpha = torch.where(active, rz / torch.where(active, pq, 1), 0)
        x = x + column(alpha, p) * p
        r = r - column(alpha, q) * q
        iterations += active
        z = r if preconditioner is None else preconditioner(r)
        new_rz = dots(r, z)
        active = active & (dots(r.detach(), r.detach()).sqrt() > threshold)
        p = z + column(torch.where(active, new_rz / torch.where(active, rz, 1), 0), p) * p
        rz = new_rz
        if callback is not None:
            callback(step + 1, max_iter, x.detach())
    with torch.no_grad():
        rest = b - apply(x)
        residuals = relative(dots(rest, rest).sqrt(), threshold / tol if tol else dots(b, b).sqrt())
        unknown = torch.isnan(residuals)
    x = torch.where(column(unknown, x), float("nan"), x) if bool(unknown.any()) else x
    return CGResult(x, iterations, residuals, residuals <= tol)
