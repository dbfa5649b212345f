"""Closed-form division in Fourier space: the blur kernel of feature pairs, or the latent image of a blurry one.

Inside, images are [B, C, H, W], kernels [B|1, C|1, kh, kw], beta [B|1], all float32 or float64. The quotients are not bilinear: their
gradients are one fused op each, and the gradient of that op goes through the differentiable formulas of the reference.
"""
import math

import torch

from svconv import backends
from svconv._boundary import canonical_padding
from svconv._plane import division_plane
from svconv._shapes import HALF, Dims, check_device, check_like, check_tensor, computed, number, pair, readable, shape_text, unify
from svconv.ops._formula import save, second_order
from svconv.ops._library import register
from svconv.ops.conv import KERNEL, with_channels
from svconv.reference import quotient as reference


def like_if(needed, t, shape=None):
    return t.new_empty((t.shape if shape is None else shape) if needed else 0)


# kernel quotient ----------------------------------------------------------------------------------------------------

_kernel_bwd = register(
    "quotient",
    "kernel_quotient_bwd(Tensor g, Tensor x, Tensor y, Tensor beta, bool taper, float cy, float cx, bool need_x, bool need_y, "
    "bool need_beta, str backend) -> (Tensor, Tensor, Tensor)",
    lambda g, x, y, beta, taper, cy, cx, need_x, need_y, need_beta:
        (like_if(need_x, x), like_if(need_y, y), like_if(need_beta, beta)),
    save(4), second_order(reference.kernel_quotient_bwd), formula=reference.kernel_quotient_bwd,
    batched={"folds": False})


def _kernel_backward(ctx, g):
    x, y, beta = ctx.saved_tensors
    kh, kw, taper, cy, cx = ctx.rest
    needed = ctx.needs_input_grad[:3]
    grads = _kernel_bwd(g, x, y, beta, taper, cy, cx, *needed, ctx.backend)
    return *(t if need else None for t, need in zip(grads, needed)), *[None] * 6


_kernel_fwd = register(
    "quotient",
    "kernel_quotient_fwd(Tensor x, Tensor y, Tensor beta, SymInt kh, SymInt kw, bool taper, float cy, float cx, str backend) -> Tensor",
    lambda x, y, beta, kh, kw, taper, cy, cx: x.new_empty((x.shape[0], kh, kw)), save(3), _kernel_backward,
    formula=reference.kernel_quotient_fwd, batched={"images": 2})


# image quotient -----------------------------------------------------------------------------------------------------

_image_bwd = register(
    "quotient",
    "image_quotient_bwd(Tensor g, Tensor y, Tensor kernel, Tensor beta, Tensor? power, str padding, float cy, float cx, bool need_y, "
    "bool need_kernel, bool need_beta, bool need_power, str backend) -> (Tensor, Tensor, Tensor, Tensor)",
    lambda g, y, kernel, beta, power, padding, cy, cx, need_y, need_kernel, need_beta, need_power:
        (like_if(need_y, y), like_if(need_kernel, kernel), like_if(need_beta, beta),
         like_if(need_power, y, power.shape if need_power else None)),
    save(5), second_order(reference.image_quotient_bwd), formula=reference.image_quotient_bwd,
    batched={"folds": False})


def _image_backward(ctx, g):
    y, kernel, beta, power = ctx.saved_tensors
    needed = ctx.needs_input_grad[:4]
    grads = _image_bwd(g, y, kernel, beta, power, *ctx.rest, *needed, ctx.backend)
    return *(t if need else None for t, need in zip(grads, needed)), *[None] * 4


_image_fwd = register(
    "quotient",
    "image_quotient_fwd(Tensor y, Tensor kernel, Tensor beta, Tensor? power, str padding, float cy, float cx, str backend) -> Tensor",
    lambda y, kernel, beta, power, padding, cy, cx: y.new_empty(y.shape), save(4), _image_backward, formula=reference.image_quotient_fwd,
    batched={"plain": (3,)})


# arguments ----------------------------------------------------------------------------------------------------------

def _center(center, size):
    return tuple(float(n // 2) for n in size) if center is None else pair("center", center)


def check_fits(name, size, plane, of="image size"):
    if size[0] > plane[0] or size[1] > plane[1]:
        raise ValueError(f"{name}: expected at most the {of} {tuple(plane)}, got {tuple(size)}")


def checked_beta(beta, image, check):
    """[1] or [B] in the dtype of the computation; the values are looked at where that costs no synchronisation."""
    dtype = torch.float32 if image.dtype in HALF else image.dtype
    if not isinstance(beta, torch.Tensor):
        try:
            value = number("beta", beta, above=0)
        except TypeError:
            raise TypeError(f"beta: expected a number or a tensor, got {type(beta).__name__}") from None
        return torch.full((1,), value, dtype=dtype, device=image.device)
    check_tensor("beta", beta)
    check_device("the image", image, "beta", beta)
    if beta.dim() > 1 or beta.dim() == 1 and beta.shape[0] not in (1, image.shape[0]):
        raise ValueError(f"beta: expected a 0-d tensor or [B] with B = {int(image.shape[0])}, got {shape_text(beta)}")
    if beta.dtype != image.dtype and not (beta.dtype == torch.float32 and image.dtype in HALF):
        if not (torch.is_autocast_enabled(image.device.type) and torch.float64 not in (beta.dtype, image.dtype)):
            raise TypeError(f"beta: expected dtype {image.dtype} like the image (float32 beside half types), got {beta.dtype}")
    if check or readable(beta):
        if not bool((beta > 0).all()):
            raise ValueError(f"beta: expected values > 0, got a smallest value of {beta.detach().amin().item()}")
    return beta.reshape(-1).to(dtype)


def prior_power(prior, kernel, plane):
    """sum |D|^2 on the half spectrum [H, W//2+1], None for ones."""
    dtype = computed(kernel[:0]).dtype
    if isinstance(prior, torch.Tensor):
        Dims().check("prior", prior, "J fh fw", noun="filters ")
        check_fits("prior", prior.shape[-2:], plane, "size of the divided plane")
        check_device("kernel", kernel, "prior", prior)
        if prior.dtype != kernel.dtype and computed(prior[:0]).dtype != dtype:
            raise TypeError(f"prior: expected dtype {kernel.dtype} like kernel, got {prior.dtype}")
        spectrum = torch.fft.rfft2(computed(prior), s=plane)
        return (spectrum.real.square() + spectrum.imag.square()).sum(0)
    if prior == "identity":
        return None
    if prior == "gradient":
        rows, columns = (4 * torch.sin(torch.arange(m, dtype=dtype, device=kernel.device) * (math.pi / n)).square()
                         for m, n in ((plane[0], plane[0]), (plane[1] // 2 + 1, plane[1])))
        return rows[:, None] + columns
    raise ValueError(f'prior: expected "identity", "gradient" or filters [J, fh, fw], got {prior!r}')


# public -------------------------------------------------------------------------------------------------------------

def kernel_quotient(x, y, kernel_size, *, beta=1e-4, taper="barthann", center=None, backend=None, check=False):
    """The blur kernel of n feature pairs: `F^-1[ sum_i conj(X_i) Y_i / (sum_i |X_i|^2 + beta) ]`, cropped to kernel_size.

    It minimises sum_i |k * x_i - y_i|^2 + beta |k|^2 over circular convolutions (transform of exactly H x W, unnormalised forward). The
    result is raw: it may be negative and does not sum to one (see `project_kernel`).

    Args:
        x, y: sharp and blurry features [B, n, H, W]; float32, float64, bfloat16 or float16 (computed in float32).
        kernel_size: an int or (kh, kw), at most the image.
        beta: > 0; a number, a 0-d tensor or [B], dtype of x (float32 also beside half types).
        taper: "barthann" weights both sides of x and y by the halves of a Barthann window of length 2 kh (2 kw), sampled at n/(2 kh - 1),
        with ones
            between (kh is capped at half the side); None leaves them.
        center: the position of shift zero in the result, (kh//2, kw//2) by default; may be fractional (a phase ramp).
        backend: force "cuda", "triton", "cpu" or "reference"; None chooses.
        check: look at the values of a beta tensor also where that synchronises or breaks a graph.

    Returns:
        [B, kh, kw], dtype of x, contiguous.

    Raises:
        ValueError: a shape or value that does not fit. TypeError: a dtype or device that does not fit.

    First and second order gradients in x, y and beta. Bit-identical from run to run. Extra memory: the spectra of x and y. Features that
    are all zero give the zero kernel; a NaN spoils the kernel of its own sample. Learning to Deblur (2016), Eq. (4).

    >>> import torch, svconv
    >>> x = torch.randn(1, 1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> k = torch.tensor([[[0.0, 1, 0], [2, 3, 1], [0, 1, 0]]], dtype=torch.float64)
    >>> estimate = svconv.kernel_quotient(x, svconv.conv(x, k), 3, beta=1e-9, taper=None)
    >>> torch.allclose(estimate, k, atol=1e-6)
    True
    """
    Dims().check("x", x, "B n H W")
    Dims().check("y", y, "B n H W")
    check_like("y", y, "x", x)
    size = pair("kernel_size", kernel_size, least=1, integer=True)
    check_fits("kernel_size", size, x.shape[-2:])
    if taper not in (None, "barthann"):
        raise ValueError(f'taper: expected None or "barthann", got {taper!r}')
    center, forced = _center(center, size), backends.requested(backend)
    x, (y,) = unify("x", x, {"y": y})
    beta = checked_beta(beta, x, check)
    return _kernel_fwd(computed(x), computed(y), beta, *size, taper is not None, *center, forced).to(x.dtype)


def image_quotient(y, kernel, *, beta, prior="identity", padding="circular", center=None, backend=None, check=False):
    """The latent image of a blurry one: `F^-1[ conj(K) Y / (|K|^2 + beta sum_j |D_j|^2) ]`.

    It minimises |k * x - y|^2 + beta sum_j |d_j * x|^2 over circular convolutions, at exactly H x W for "circular". For the other
    paddings y is continued by that rule, (kh, kw) on each side and at the far side on to the next length with factors 2, 3, 5, 7,
    divided, and cropped.

    Args:
        y: image [B, C, H, W]; float32, float64, bfloat16 or float16 (computed in float32).
        kernel: [B|1, C|1, kh, kw], or [B|1, kh, kw] shared by the channels; dtype of y, at most the size of the image.
        beta: > 0; a number, a 0-d tensor or [B], dtype of y (float32 also beside half types).
        prior: "identity" (sum |D|^2 = 1), "gradient" (differences of neighbours in both directions) or filters [J, fh, fw].
        padding: "zeros", "replicate", "reflect", "symmetric" or "circular".
        center: the position in the kernel that stands for shift zero, (kh//2, kw//2) by default; may be fractional (a phase ramp).
        backend: force "cuda", "triton", "cpu" or "reference"; None chooses.
        check: look at the values of a beta tensor also where that synchronises or breaks a graph.

    Returns:
        [B, C, H, W], dtype of y, contiguous.

    Raises:
        ValueError: a shape or value that does not fit. TypeError: a dtype or device that does not fit.

    First and second order gradients in y, kernel, beta and prior filters. Bit-identical from run to run. Extra memory: at most six images.
    An all-zero kernel gives the zero image; a NaN spoils its own channel of its own image. Learning to Deblur (2016), Eq. (5).

    >>> import torch, svconv
    >>> x = torch.rand(1, 1, 16, 16, dtype=torch.float64)
    >>> k = torch.tensor([[[0.1, 0.8, 0.1]]], dtype=torch.float64)
    >>> restored = svconv.image_quotient(svconv.conv(x, k), k, beta=1e-12)
    >>> torch.allclose(restored, x, atol=1e-6)
    True
    """
    dims = Dims()
    dims.check("y", y, "B C H W")
    dims.check("kernel", kernel, *KERNEL)
    size = kernel.shape[-2:]
    check_fits("kernel", size, y.shape[-2:])
    center, padding, forced = _center(center, size), canonical_padding(padding), backends.requested(backend)
    y, (kernel,) = unify("y", y, {"kernel": kernel})
    beta = checked_beta(beta, y, check)
    # without a prior no size is looked for: a program that is exported is for any
    plain = isinstance(prior, str) and prior == "identity"
    power = None if plain else prior_power(prior, kernel, division_plane(y.shape[-2:], size, padding).size)
    return _image_fwd(computed(y), computed(with_channels(kernel)), beta, power, padding, *center, forced).to(y.dtype)


def project_kernel(k, *, backend=None):
    """The nearest thing to a blur kernel: `max(k, 0)` scaled to sum one.

    Args:
        k: [..., kh, kw]; float32, float64, bfloat16 or float16 (computed in float32).
        backend: accepted like in every op; all backends run the same torch code.

    Returns:
        [..., kh, kw], dtype of k. Where nothing is positive: one at (kh//2, kw//2), zeros elsewhere, with zero gradient.

    Raises:
        ValueError: fewer than two axes or an empty side. TypeError: not a floating tensor.

    Gradients of every order; they pass only where k is positive. A NaN spoils its own kernel.

    >>> import torch, svconv
    >>> svconv.project_kernel(torch.tensor([[1.0, -2.0, 3.0]])).tolist()
    [[0.25, 0.0, 0.75]]
    >>> svconv.project_kernel(torch.zeros(1, 3)).tolist()
    [[0.0, 1.0, 0.0]]
    """
    Dims().check("k", k, "... kh kw")
    backends.requested(backend)
    clipped = torch.relu(computed(k))
    total = clipped.sum((-2, -1), keepdim=True)
    empty = total == 0
    delta = torch.zeros_like(clipped[(0,) * (k.dim() - 2)]) if k.numel() else clipped
    if k.numel():
        delta[k.shape[-2] // 2, k.shape[-1] // 2] = 1
    return torch.where(empty, delta, clipped / torch.where(empty, 1.0, total)).to(k.dtype)
