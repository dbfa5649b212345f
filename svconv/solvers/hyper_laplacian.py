"""Deconvolution with a hyper-Laplacian gradient prior by half-quadratic splitting."""
import dataclasses
import math

import torch

from svconv._shapes import Dims, number
from svconv.operators import Conv
from svconv.operators.division import power, prior_power, transform, untransform
from svconv.ops.conv import KERNEL
from svconv.solvers.border import check_border
from svconv.solvers.conjugate_gradients import looks, solve
from svconv.solvers.data_term import continued_term, data_term
from svconv.solvers.derivatives import circular_laplace
from svconv.solvers.hyper_laplacian_shrink import hyper_laplacian_shrink
from svconv.solvers.magnitudes import change
from svconv.solvers.problem import checked, observed
from svconv.solvers.result import Result

FIRST_BETA, LAST_BETA, GROWTH = 1.0, 256.0, 2 * math.sqrt(2)
INNER_TOLERANCE, INNER_STEPS = 1e-4, 60  # of the masked x step


@dataclasses.dataclass(repr=False)
class HyperLaplacianResult(Result):
    """What `svconv.solvers.hyper_laplacian` found.

    Attributes:
        x: the restored image, like y.
        betas: the splitting weight of each step.
        changes: [steps, B], relative change of x in each step.
    """

    betas: tuple
    changes: torch.Tensor


def hyper_laplacian(y, kernel, *, lam=3000, exponent=2 / 3, padding=None, mask=None, border=None, callback=None):
    """Deblurs by `min_x sum_p m (lam/2) (k * x - y)^2 + |x * dx|^a + |x * dy|^a` with half-quadratic splitting.

    Six steps, beta = 1, 2.8, 8, .., 181: `w_d = hyper_laplacian_shrink(x * d, beta, a)`, then x from
    `(conj(K) Y + (beta/lam) sum_d conj(D) W_d) / (|K|^2 + (beta/lam) sum_d |D|^2)`, or by preconditioned CG where pixels are left out.

    Args:
        y: blurred image [B, C, H, W], scaled to about 0..1; float32, float64, bfloat16 or float16 (computed in float32).
        kernel: [B|1, C|1, kh, kw] or [B|1, kh, kw], dtype of y, at most the size of the image.
        lam: weight of the data; 3000 is a compromise: 2000 suits 1 % noise, 8000 a good camera (docs/quality.md).
        exponent: a, 0 < a <= 1; 2/3 and 1/2 in closed form, others by table.
        padding: how the image goes on outside, instead of a border. "circular": at exactly H x W. Others: by one kernel on every side, and
            from there smoothly to the opposite side, at a fast transform length; cropped back.
        mask: [B|1, 1|C, H, W], m: 1 = use the pixel, 0 = leave it out (it may be NaN).
        border: None: as `padding` says, and "mask" without one. "mask": light from outside is unknown and only valid pixels count (about
            four times the time of a division). "replicate": padding "replicate". "taper": edges blended with their circular blur.
        callback: called as callback(step, steps, x) with x [B, C, H, W] after each of the six steps.

    Returns:
        HyperLaplacianResult: .x like y, .betas, .changes. No gradients flow through it.

    Raises:
        ValueError, TypeError: naming the argument; padding beside a border, NaN or infinite pixels that the mask does not leave out, and a
            kernel that is zero, not finite or negative in sum, are a ValueError. Where the host cannot see the kernel (a GPU) its image
            comes back as y.

    Bit-identical from run to run with a fixed number of threads. Memory: about eight images of the extended size. Krishnan and Fergus, Fast
    image deconvolution using hyper-Laplacian priors, 2009.

    >>> import torch, svconv
    >>> x = torch.zeros(1, 1, 24, 24); x[..., 8:16, 8:16] = 1
    >>> k = torch.full((1, 5, 5), 1 / 25)
    >>> y = svconv.conv(x, k)
    >>> restored = svconv.solvers.hyper_laplacian(y, k, padding="circular").x
    >>> bool((restored - x).square().mean() < 0.1 * (y - x).square().mean())
    True
    """
    lam, exponent = number("lam", lam, above=0), number("exponent", exponent, above=0, most=1)
    check_border(border)
    dims = Dims()
    dims.check("y", y, "B C H W")
    dims.check("kernel", kernel, *KERNEL)
    if padding is not None and border is not None:
        raise ValueError(f"padding: expected None beside border={border!r}, got {padding!r}")
    op = Conv(kernel, "circular" if padding is None else padding)
    _check_fits(y, kernel)
    # of one layout: a transform of another one rounds otherwise, and the splitting makes much of it
    given = checked(op, y.contiguous(), mask, name="kernel")
    with torch.no_grad():
        term = data_term(given.op, given.y, given.mask, border or "mask") if padding is None else _continued(given)
        found = _split(term, 1 / lam, exponent, term.cropped(callback))
        found.x = given.finished(found.x)
        return found


def _check_fits(y, kernel):
    if kernel.dtype != y.dtype or kernel.device != y.device:
        raise TypeError(f"kernel: expected {y.dtype} on {y.device} like y, got {kernel.dtype} on {kernel.device}")
    if kernel.shape[-2] > y.shape[-2] or kernel.shape[-1] > y.shape[-1]:
        raise ValueError(f"kernel: expected at most the image's {y.shape[-2]} x {y.shape[-1]}, got {kernel.shape[-2]} x {kernel.shape[-1]}")


def _continued(given):
    """The data term of an image that goes on as the padding of op says."""
    if given.op.padding == "circular":
        return data_term(given.op, given.y, given.mask, None)
    _, start, mask = observed(given.y, given.mask)
    return continued_term(given.op, start, mask, given.op.padding)


def _split(term, weight, exponent, callback):
    """The steps over beta; weight = 1 / lam."""
    size, spectrum = term.y.shape[-2:], term.op.spectrum
    blur, laplace = power(spectrum), prior_power("gradient", size, term.y)
    data = term.right_hand_side()
    if term.mask is None:
        data = transform(data)
    betas = tuple(FIRST_BETA * GROWTH ** i for i in range(math.ceil(math.log(LAST_BETA / FIRST_BETA, GROWTH) - 1e-9)))
    x, changes = term.start, []
    for step, beta in enumerate(betas):
        pull = _divergence(x, beta, exponent)
        ratio = beta * weight
        divisor = blur + ratio * laplace
        divisor.masked_fill_(divisor == 0, float("inf"))        # a kernel without a sum says nothing of the mean, nor do the differences
        if term.mask is None:
            new = untransform(data.add(transform(pull), alpha=ratio) / divisor, size)
        else:
            new = _masked_step(term, data.add(pull, alpha=ratio), x, ratio, divisor)
        changes.append(change(new, x))
        x = new
        if callback is not None:
            callback(step + 1, len(betas), x)
    return HyperLaplacianResult(term.crop(x).contiguous(), betas, torch.stack(changes))


def _divergence(x, beta, exponent):
    """sum_d D_d' w_d with circular differences d and their shrunk values w_d."""
    total = None
    for axis in (-2, -1):
        w = hyper_laplacian_shrink(x.roll(-1, axis).sub_(x), beta, exponent)
        part = w.roll(1, axis).sub_(w)
        total = part if total is None else total.add_(part)
    return total


def _masked_step(term, b, x, ratio, denominator):
    """The step in x with a mask in the data term; the unmasked solution operator is the preconditioner."""
    def normal(v):
        return term.normal(v).add_(circular_laplace(v), alpha=ratio)

    def precondition(r):
        return untransform(transform(r) / denominator, r.shape[-2:])

    return solve(normal, b, x, precondition, tol=INNER_TOLERANCE, max_iter=INNER_STEPS, check_every=looks(b), verify=False,
                 apart=term.apart).x
