"""Linear deconvolution: by division where that is the minimiser, otherwise by conjugate gradients on the normal equations."""
import dataclasses

import torch

from svconv._plane import image_plane
from svconv._shapes import check_tensor, computed, number, readable, shape_text
from svconv.operators import Operator
from svconv.operators.division import per_sample, power, prior_power, transform, untransform
from svconv.ops import conv, conv_adjoint, pixel_filter
from svconv.solvers.automatic_beta import automatic_beta
from svconv.solvers.border import check_border
from svconv.solvers.cg import cg
from svconv.solvers.conjugate_gradients import looks
from svconv.solvers.data_term import data_term
from svconv.solvers.derivatives import circular_laplace, stencil
from svconv.solvers.implicit import transforming
from svconv.solvers.problem import checked
from svconv.solvers.result import Result

TOLERANCE, STEPS = 1e-5, 300


@dataclasses.dataclass(repr=False)
class WienerResult(Result):
    """What `svconv.solvers.wiener` found.

    Attributes:
        x: the restored image [B, C, H, W].
        iterations: int64 [B], CG steps; 0 for the closed form.
        residuals: [B], relative residual of the normal equations (0 for the closed form).
        converged: bool [B].
        beta: [B], what "auto" found; None where beta was given.
    """

    iterations: torch.Tensor
    residuals: torch.Tensor
    converged: torch.Tensor
    beta: "torch.Tensor | None" = None


class Smoothness(Operator):
    """`sum_j D_j' D_j` of a prior: "identity", "gradient" (differences inside the image, or circular ones) or filters [J, fh, fw]
    (circular)."""

    def __init__(self, prior, size, like, circular):
        self.prior = prior
        inside = isinstance(prior, str) and prior == "gradient" and not circular
        self.inside = inside
        if inside:
            self.tensors = (stencil({"x": 1.0, "y": 1.0}, like.new_empty((1, 1, *size))),)
        else:
            self.tensors = () if isinstance(prior, str) else (prior,)

    def with_tensors(self, tensors):
        other = object.__new__(Smoothness)
        other.prior, other.inside, other.tensors = self.prior, self.inside, tuple(tensors)
        return other

    def _forward(self, x):
        if self.inside:
            return pixel_filter(x, self.tensors[0]).squeeze(2)
        if isinstance(self.prior, str):
            return x if self.prior == "identity" else circular_laplace(x)
        return sum(conv_adjoint(conv(x, f[None]), f[None]) for f in self.tensors[0])

    _adjoint = _forward

    def __repr__(self):
        return f"Smoothness({self.prior if isinstance(self.prior, str) else shape_text(self.prior)})"


def wiener(op, y, *, beta, prior="gradient", border=None, callback=None):
    """Deblurs by `min_x |A x - y|^2 + beta sum_j |d_j * x|^2`.

    Where A is a circular convolution (a `Conv` with padding "circular", products, sums and multiples of such, and with border "replicate"
    or "taper" any operator that is a convolution) by division in Fourier space, as `svconv.image_quotient` does; the differences of the
    prior "gradient" then wrap as A does. Everything else, and border "mask", by conjugate gradients on the normal equations
    `(A' m A + beta sum_j D_j' D_j) x = A' m y` to a relative residual of 1e-5, with differences inside the image, begun at the observation
    or where the operator's `begin` says (`EFFBlur`: at `svconv.eff_image_quotient`).

    Args:
        op: operator from the sharp to the blurred image.
        y: blurred image [B, C, H, W] (with an axis M where op has one); float32, float64, bfloat16 or float16 (computed in float32), the
            precision of op and of a prior's filters.
        beta: > 0; a number, a 0-d tensor of any dtype, or [B], dtype of y. "auto", for operators that are a convolution (`Conv`, products
            and sums of such): of 1e-10 to 1e3 the value, one for each sample, at which y is most likely if noise and differences are
            normal numbers (the marginal likelihood, found to 2 %); no random numbers, no gradient. With a border, or a padding other than
            "circular", y is faded out towards its edges for it.
        prior: "gradient" (differences of neighbours in both directions), "identity" or filters [J, fh, fw] (circular).
        border: None (op's own padding holds), "replicate", "taper" or "mask", as in `svconv.solvers.irls`.
        callback: called as callback(step, steps, x) after every CG step (once for the closed form).

    Returns:
        WienerResult: .x [B, C, H, W], .iterations, .residuals, .converged, .beta. With border=None gradients flow to y, beta, filters of
        the prior and the operator's tensors.

    Raises:
        ValueError, TypeError: naming the argument; NaN or infinite pixels, and a PSF of op that is zero, not finite or negative in sum,
            are a ValueError. Where the host cannot see the PSF (a GPU, torch.compile, torch.func) its image comes back as y.

    Bit-identical from run to run with a fixed number of threads. Memory: six images in closed form, seven and the operator's otherwise.

    >>> import torch, svconv
    >>> x, K = torch.rand(1, 1, 16, 16), svconv.Conv(torch.tensor([[[0.1, 0.8, 0.1]]]))
    >>> torch.allclose(svconv.solvers.wiener(K, K(x), beta=1e-6).x, x, atol=1e-3)
    True
    >>> noisy = K(x) + 0.2 * torch.randn(x.shape)
    >>> bool(svconv.solvers.wiener(K, noisy, beta="auto").beta > 0.01)
    True
    """
    check_border(border)
    _check_prior(prior, y)
    given = checked(op, y)
    op, y, said = given.op, given.y, None
    prior = computed(prior) if isinstance(prior, torch.Tensor) else prior
    if isinstance(beta, str) and beta == "auto":
        beta = said = automatic_beta(op, y, prior, border is not None or not op.wraps)
    beta = _checked_beta(beta, y)
    start = y if y.dim() == 4 else y.mean(2)
    found = _with_padding(op, y, start, beta, prior, callback) if border is None else _with_border(op, y, beta, prior, border, callback)
    found.x, found.beta = given.finished(found.x), said
    return found


def _with_padding(op, y, start, beta, prior, callback):
    x = op.divide(y, beta, prior)
    if x is not None:
        return _closed(x, callback)
    start = _start(op, y, start, beta, prior)
    circular = None if transforming() else op.on(image_plane(y.shape[-2:]))     # a preconditioner would keep tensors of the transform
    smoothness = Smoothness(prior, start.shape[-2:], start, op.wraps)
    return _iterated(op.T @ op, op.adjoint(y), start, beta, smoothness, _division(circular, start, beta, prior), callback)


def _with_border(op, y, beta, prior, border, callback):
    term = data_term(op, y, None, border)
    x = None if term.mask is not None else term.op.divide(term.y, beta, prior)
    if x is not None:
        return _closed(term.crop(x).contiguous(), callback)
    smoothness = Smoothness(prior, term.start.shape[-2:], term.start, term.mask is None and term.op.wraps)
    with torch.no_grad():
        start = _start(term.op, term.start, term.start, beta, prior)
        found = _iterated(_Normal(term), term.right_hand_side(), start, beta, smoothness, _division(term.op, start, beta, prior),
                          term.cropped(callback))
        found.x = term.crop(found.x).contiguous()
        return found


def _checked_beta(beta, y):
    if not isinstance(beta, torch.Tensor) or beta.dim() == 0 and not beta.is_floating_point():
        return number("beta", beta, above=0)
    if beta.dim() > 1 or (beta.dim() == 1 and beta.shape[0] not in (1, y.shape[0])):
        raise ValueError(f"beta: expected a number, [] or [B] = [{y.shape[0]}], got {shape_text(beta)}")
    if readable(beta) and not bool((beta > 0).all()):
        raise ValueError("beta: expected positive numbers, got one that is not")
    if beta.dim() == 1 and computed(beta[:0]).dtype != y.dtype:
        raise TypeError(f"beta: expected {y.dtype} like y, got {beta.dtype}")
    return beta.to(y.dtype)


def _check_prior(prior, y):
    if isinstance(prior, str):
        if prior not in ("identity", "gradient"):
            raise ValueError(f"prior: expected 'identity', 'gradient' or filters [J, fh, fw], got {prior!r}")
        return
    check_tensor("prior", prior)
    if prior.dim() != 3 or 0 in prior.shape:
        raise ValueError(f"prior: expected filters [J, fh, fw], got {shape_text(prior)}")
    if prior.dtype != y.dtype or prior.device != y.device:
        raise TypeError(f"prior: expected {y.dtype} on {y.device} like y, got {prior.dtype} on {prior.device}")


def _closed(x, callback):
    if callback is not None:
        callback(1, 1, x.detach())
    residuals = x.new_zeros(x.shape[0])
    return WienerResult(x, residuals.long(), residuals, residuals == 0)


class _Normal(Operator):
    """A' m A of a data term."""

    def __init__(self, term):
        self.term = term

    def _forward(self, x):
        return self.term.normal(x)

    _adjoint = _forward


def _start(op, y, otherwise, beta, prior):
    """Where the iterations begin: where op says, otherwise at the observation."""
    with torch.no_grad():
        start = op.begin(y, beta, prior) if y.dim() == 4 else None
    return otherwise if start is None else start


def _division(circular, like, beta, prior):
    """The solution with circular boundaries as preconditioner r -> M^-1 r, where `circular` is a convolution; None otherwise."""
    if circular is None or circular.spectrum is None:
        return None
    size = tuple(like.shape[-2:])
    with torch.no_grad():
        divisor = power(circular.spectrum) + per_sample(beta) * prior_power(prior, size, like)
        divisor = torch.maximum(divisor, torch.finfo(like.dtype).eps * divisor.amax((-2, -1), keepdim=True))
    return lambda r: untransform(transform(r) / divisor, size)


def _iterated(normal, b, start, beta, smoothness, precondition, callback):
    result = cg(normal + beta * smoothness, b, x0=start, preconditioner=precondition, tol=TOLERANCE, max_iter=STEPS, check_every=looks(b),
                callback=callback)
    return WienerResult(result.x, result.iterations, result.residuals, result.converged)
