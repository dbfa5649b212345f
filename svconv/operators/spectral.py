"""Spectral norm by Lanczos iteration and the float64 dot test, for any operator."""
import math

import torch

STEPS, LOOK_EVERY, RESIDUAL = 120, 10, 2e-3


def _device(op):
    return op.tensors[0].device if op.tensors else torch.device("cpu")


def _seeded(shape, dtype, device, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype).to(device)


def _per_sample(t, like):
    return t.reshape(-1, *[1] * (like.dim() - 1))


def _dots(u, v):
    """Inner product per sample, accumulated in float64."""
    return (u * v).flatten(1).sum(1, dtype=torch.float64)


@torch.no_grad()
def spectral_norm(op, shape):
    """sqrt of the largest Ritz value of A'A, over all samples; see `Operator.norm`.

    A random start of n pixels misses the largest eigenvalue by 0.1 (ln(n k^4) / k)^2 on average after k steps (Kuczynski and
    Wozniakowski 1992), under 1 % of it for k = 120 and a million pixels; a Ritz pair with a small residual ends the iteration earlier.
    """
    wide = torch.float64 if any(t.dtype == torch.float64 for t in op.tensors) else torch.float32
    op = op.to(wide)
    v = _seeded(shape, wide, _device(op), seed=1)
    v = v / _per_sample(_dots(v, v).sqrt(), v).to(wide)
    gram, scale = _scaled_gram(op, v)
    previous, beta = torch.zeros_like(v), torch.zeros(shape[0], dtype=torch.float64, device=v.device)
    diagonal, off = [], []
    steps = min(STEPS, v[0].numel())
    for step in range(1, steps + 1):
        w = gram(v)
        alpha = _dots(v, w)
        w = w - _per_sample(alpha, v).to(wide) * v - _per_sample(beta, v).to(wide) * previous
        beta = _dots(w, w).sqrt()
        diagonal.append(alpha)
        off.append(beta)
        if step % LOOK_EVERY == 0 or step == steps:
            largest, residual = _ritz(diagonal, off)
            if bool((residual <= RESIDUAL * largest).all()):
                break
        previous, v = v, w / _per_sample(beta.clamp_min(torch.finfo(wide).tiny), w).to(wide)
    return float(largest.clamp_min(0).sqrt().max()) * scale


def _scaled_gram(op, v):
    """(v -> A'A v / scale^2, scale): the fused gram with scale 1, unless its squares would under- or overflow."""
    size = float(op(v).abs().amax())
    if not 0 < size < math.inf or 1e-6 < size * v.numel() ** 0.5 < 1e9:
        return op._gram, 1.0
    scale = 2.0 ** math.frexp(size)[1]
    return lambda v: op.adjoint(op(v) / scale) / scale, scale


def _ritz(diagonal, off):
    """Largest eigenvalue of each sample's tridiagonal matrix and the residual of its Ritz vector."""
    a, b = torch.stack(diagonal, -1).cpu(), torch.stack(off, -1).cpu()
    if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
        return torch.full_like(a[:, 0], float("nan")), torch.zeros_like(a[:, 0])
    matrix = torch.diag_embed(a) + torch.diag_embed(b[:, :-1], 1) + torch.diag_embed(b[:, :-1], -1)
    values, vectors = torch.linalg.eigh(matrix)
    return values[:, -1], b[:, -1] * vectors[:, -1, -1].abs()


@torch.no_grad()
def dot_error(op, shape):
    """|<Ax,y> - <x,A'y>| / (||Ax|| ||y||) in float64 on seeded normal numbers."""
    op = op.to(torch.float64)
    x = _seeded(shape, torch.float64, _device(op), seed=2)
    ax = op(x)
    y = _seeded(ax.shape, torch.float64, _device(op), seed=3)
    difference = float(((ax * y).sum() - (x * op.adjoint(y)).sum()).abs())
    largest = float(ax.abs().amax())
    scale = float((ax / largest).norm() * y.norm()) * largest if largest else 0.0
    if scale == 0:
        return 0.0 if difference == 0 else float("inf")
    return difference / scale
