"""What people write today instead of `solvers.map_filters`: the same preconditioned conjugate gradients by hand, in plain torch.

The normal operators of the filters either by `unfold` and `einsum` or by the in-place shift loop; everything else is the same.
"""
import torch
import torch.nn.functional as F

from svconv.solvers.map_preconditioner import circulant_inverse
from svconv.solvers.map_problem import MAPProblem

from ..measure import require_memory

MODES = {"zeros": "constant", "replicate": "replicate"}


def _pad(x, filters, padding):
    rows, columns = (n // 2 for n in filters.shape[3:5])
    return F.pad(x, (columns, columns, rows, rows), mode=MODES[padding])


def _fold(plane, filters, padding):
    """The transpose of `_pad`."""
    rows, columns = (n // 2 for n in filters.shape[3:5])
    height, width = plane.shape[-2] - 2 * rows, plane.shape[-1] - 2 * columns
    inner = plane[..., rows:rows + height, :].clone()
    if padding == "replicate":
        inner[..., 0, :] += plane[..., :rows, :].sum(-2)
        inner[..., -1, :] += plane[..., rows + height:, :].sum(-2)
    x = inner[..., columns:columns + width].clone()
    if padding == "replicate":
        x[..., 0] += inner[..., :columns].sum(-1)
        x[..., -1] += inner[..., columns + width:].sum(-1)
    return x


def shift_loop_gram(x, filters, padding):
    """One `addcmul_` per tap, and one per tap and filter back."""
    maps, kh, kw, h, w = filters.shape[2:]
    wide = _pad(x, filters, padding)
    y = x.new_zeros((*x.shape[:2], maps, h, w))
    for i in range(kh):
        for j in range(kw):
            y.addcmul_(filters[:, :, :, i, j], wide[..., i:i + h, j:j + w].unsqueeze(2))
    plane = torch.zeros_like(wide)
    for i in range(kh):
        for j in range(kw):
            for m in range(maps):
                plane[..., i:i + h, j:j + w].addcmul_(filters[:, :, m, i, j], y[:, :, m])
    return _fold(plane, filters, padding)


def unfold_gram(x, filters, padding):
    """`unfold` and `einsum`, and `einsum` and `fold` back."""
    b, c, maps, kh, kw, h, w = filters.shape
    require_memory(filters.numel() * 4 + 2 * b * c * kh * kw * h * w * 4, x.device)
    wide, taps = _pad(x, filters, padding), filters.flatten(3, 4)
    columns = F.unfold(wide, (kh, kw)).reshape(b, c, kh * kw, h, w)
    y = torch.einsum("bcmthw,bcthw->bcmhw", taps, columns)
    back = torch.einsum("bcmthw,bcmhw->bcthw", taps, y).reshape(b, c * kh * kw, h * w)
    return _fold(F.fold(back, wide.shape[-2:], (kh, kw)), filters, padding)


GRAMS = {"unfold and einsum": unfold_gram, "shift loop": shift_loop_gram}


def conjugate_gradients(apply, b, x, preconditioner, count):
    """`count` steps, channels apart."""
    def dot(u, v):
        return (u * v).sum((-2, -1), keepdim=True)

    x = x.clone()
    r = b - apply(x)
    z = preconditioner(r)
    p, rz = z, dot(r, z)
    for _ in range(count):
        q = apply(p)
        alpha = rz / dot(p, q)
        x.addcmul_(p, alpha)
        r.addcmul_(q, -alpha)
        z = preconditioner(r)
        rz, before = dot(r, z), rz
        p = z + rz / before * p
    return x


def map_step(problem, data_filters, prior_filters, x0, count, gram):
    """The estimate on the plane after `count` steps from x0."""
    plane, size, spectrum = problem.plane, problem.plane.size, problem.op.spectrum
    prior_filters = problem.continued(prior_filters)

    def blur(x, factor):
        return torch.fft.irfft2(torch.fft.rfft2(x) * factor, s=size)

    def back(r):
        return blur(plane.leave_adjoint(gram(r, data_filters, "zeros")), spectrum.conj())

    def normal(x):
        return back(plane.leave(blur(x, spectrum))) + gram(x, prior_filters, "replicate")

    inverse = circulant_inverse(spectrum, size, data_filters, prior_filters)
    return conjugate_gradients(normal, back(problem.y), x0, lambda r: blur(r, inverse), count)


def restore(model, start, y, k, count, gram):
    """`model(y, k)` with the model's predictors and start."""
    problem = MAPProblem(y, k)
    extended = problem.first(*start)
    for step in range(model.arguments["iterations"]):
        made = model.step_filters(step % model.nets, problem.misfit(extended), problem.plane.leave(extended))
        extended = map_step(problem, made.data_filters, made.prior_filters, extended, count, gram)
    return problem.plane.leave(extended)
