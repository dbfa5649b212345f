"""Uniform convolution with a point spread function: forward, exact adjoint, and the gradient in the kernel.

Inside, x is [B, C, H, W] and kernels are [B|1, C|1, kh, kw] in float32 or float64. The family is bilinear, so the three ops are each other's
gradients and every order of derivative exists.
"""
import torch

from svconv import backends
from svconv._boundary import canonical_padding
from svconv._checks import HALF, check_axis, check_image, check_tensor, shape_text, unify
from svconv.ops._library import register


def _setup(ctx, inputs, output):
    x, kernel, ctx.padding, ctx.backend = inputs
    ctx.save_for_backward(x, kernel)


# y = k * x ----------------------------------------------------------------------------------------------------------

def _fwd_backward(ctx, g):
    x, kernel = ctx.saved_tensors
    rest = ctx.padding, ctx.backend
    gx = _adjoint(g, kernel, *rest) if ctx.needs_input_grad[0] else None
    gk = _bwd_kernel(x, g, *kernel.shape, *rest) if ctx.needs_input_grad[1] else None
    return gx, gk, None, None


_fwd = register(
    "quotient", "conv_fwd(Tensor x, Tensor kernel, str padding, str backend) -> Tensor",
    lambda x, kernel, padding: x.new_empty(x.shape), _setup, _fwd_backward)


# x = K' y -----------------------------------------------------------------------------------------------------------

def _adjoint_backward(ctx, g):
    y, kernel = ctx.saved_tensors
    rest = ctx.padding, ctx.backend
    gy = _fwd(g, kernel, *rest) if ctx.needs_input_grad[0] else None
    gk = _bwd_kernel(g, y, *kernel.shape, *rest) if ctx.needs_input_grad[1] else None
    return gy, gk, None, None


_adjoint = register(
    "quotient", "conv_adjoint(Tensor y, Tensor kernel, str padding, str backend) -> Tensor",
    lambda y, kernel, padding: y.new_empty(y.shape), _setup, _adjoint_backward)


# dk[d] = sum_p g[p] x[p - d] ------------------------------------------------------------------------------------------

def _bwd_kernel_setup(ctx, inputs, output):
    x, g, *_, ctx.padding, ctx.backend = inputs
    ctx.save_for_backward(x, g)


def _bwd_kernel_backward(ctx, upstream):
    x, g = ctx.saved_tensors
    rest = ctx.padding, ctx.backend
    gx = _adjoint(g, upstream, *rest) if ctx.needs_input_grad[0] else None
    gg = _fwd(x, upstream, *rest) if ctx.needs_input_grad[1] else None
    return gx, gg, *[None] * 6


_bwd_kernel = register(
    "quotient",
    "conv_bwd_kernel(Tensor x, Tensor g, SymInt batch, SymInt channels, SymInt kh, SymInt kw, str padding, str backend) -> Tensor",
    lambda x, g, batch, channels, kh, kw, padding: x.new_empty((batch, channels, kh, kw)),
    _bwd_kernel_setup, _bwd_kernel_backward)


# public -------------------------------------------------------------------------------------------------------------

def check_kernel(image_name, image, kernel):
    """Raises unless `kernel` is [B|1, C|1, kh, kw] or [B|1, kh, kw] for this image."""
    check_tensor("kernel", kernel)
    if kernel.dim() not in (3, 4):
        raise ValueError("kernel: expected [B|1, C|1, kh, kw] or [B|1, kh, kw], got " + shape_text(kernel))
    check_axis("kernel", kernel, 0, (1, image.shape[0]), f"a batch of 1 or that of {image_name},")
    if kernel.dim() == 4:
        check_axis("kernel", kernel, 1, (1, image.shape[1]), f"channels of 1 or those of {image_name},")
    if kernel.shape[-1] == 0 or kernel.shape[-2] == 0:
        raise ValueError("kernel: expected kh >= 1 and kw >= 1, got " + shape_text(kernel))


def with_channels(kernel):
    return kernel if kernel.dim() == 4 else kernel.unsqueeze(1)


def computed(t):
    """The tensor in the dtype that transforms compute in: half types in float32."""
    return t.float() if t.dtype in HALF else t


def _run(op, name, image, kernel, padding, backend):
    check_image(name, image)
    check_kernel(name, image, kernel)
    padding, forced = canonical_padding(padding), backends.requested(backend)
    image, (kernel,) = unify(name, image, {"kernel": kernel})
    if image.numel() == 0:
        return torch.zeros_like(image, memory_format=torch.contiguous_format)
    return op(computed(image), computed(with_channels(kernel)), padding, forced).to(image.dtype)


def conv(x, kernel, *, padding="circular", backend=None):
    """Convolution with one kernel for the whole image: `y[p] = sum_d kernel[d] x[p - (d - c)]`, c = (kh//2, kw//2), even sizes included.

    Computed in Fourier space: at exactly H x W for "circular", otherwise on the continued image at the next length with factors 2, 3, 5, 7.

    Args:
        x: image [B, C, H, W]; float32, float64, bfloat16 or float16 (computed in float32), any strides.
        kernel: [B|1, C|1, kh, kw], or [B|1, kh, kw] shared by the channels; dtype of x. It may be larger than the image.
        padding: "zeros", "replicate", "reflect", "symmetric" or "circular", each defined for any reach as in numpy.pad.
        backend: force "cuda", "triton", "cpu" or "reference"; None chooses.

    Returns:
        [B, C, H, W], dtype of x, contiguous.

    Raises:
        ValueError: a shape or padding that does not fit. TypeError: a dtype or device that does not fit.
        RuntimeError: the forced backend cannot run.

    Gradients of every order in x and kernel. Bit-identical from run to run. Extra memory: the continued image and its spectrum.
    A NaN spoils its own channel of its own image.

    >>> import torch, svconv
    >>> x = torch.zeros(1, 1, 1, 6)
    >>> x[..., 2] = 1
    >>> y = svconv.conv(x, torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]))
    >>> [round(v) for v in y.flatten().tolist()]
    [1, 2, 3, 4, 0, 0]
    """
    return _run(_fwd, "x", x, kernel, padding, backend)


def conv_adjoint(y, kernel, *, padding="circular", backend=None):
    """The exact transpose of `conv`: correlation with the kernel; what was read outside of the image is folded back.

    Args:
        y: image [B, C, H, W].
        kernel, padding, backend: as in `conv`.

    Returns:
        [B, C, H, W], dtype of y, contiguous.

    Raises, gradients, determinism and memory as in `conv`.

    >>> import torch, svconv
    >>> x, y, k = torch.rand(1, 1, 5, 6), torch.rand(1, 1, 5, 6), torch.rand(1, 4, 3)
    >>> left = (svconv.conv(x, k, padding="reflect") * y).sum()
    >>> torch.allclose(left, (x * svconv.conv_adjoint(y, k, padding="reflect")).sum())
    True
    """
    return _run(_adjoint, "y", y, kernel, padding, backend)
