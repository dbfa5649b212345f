"""Uniform convolution with a point spread function: forward, exact adjoint, and the gradient in the kernel.

Inside, x is [B, C, H, W] and kernels are [B|1, C|1, kh, kw] in float32 or float64. The family is bilinear, so the three ops are each
other's gradients and every order of derivative exists.
"""
from svconv import backends
from svconv._boundary import canonical_padding
from svconv._plane import Plane
from svconv._shapes import Dims, computed, unify
from svconv.ops._bilinear import bilinear

_ops = bilinear("quotient", "conv", "kernel", lambda x, kernel, padding: x.shape, lambda y, kernel, padding: y.shape, "str padding")
KERNEL = "B? C? kh kw", "B? kh kw"


def with_channels(kernel):
    return kernel if kernel.dim() == 4 else kernel.unsqueeze(1)


def _run(op, name, image, kernel, padding, backend):
    dims = Dims()
    dims.check(name, image, "B C H W")
    dims.check("kernel", kernel, *KERNEL)
    padding, forced = canonical_padding("zeros" if padding == "valid" else padding), backends.requested(backend)
    image, (kernel,) = unify(name, image, {"kernel": kernel})
    return op(computed(image), computed(with_channels(kernel)), padding, forced).to(image.dtype)


def _valid(image, kernel):
    """The plane in which the image stands among zeros and of which "valid" is the inside."""
    (h, w), (kh, kw) = image, kernel.shape[-2:]
    if h < kh or w < kw:
        raise ValueError(f'kernel: expected at most the image {int(h)} x {int(w)} with padding "valid", got {int(kh)} x {int(kw)}')
    margins = kh - 1 - kh // 2, kh // 2, kw - 1 - kw // 2, kw // 2
    return Plane((h - kh + 1, w - kw + 1), margins, (h, w), "zeros")


def conv(x, kernel, *, padding="circular", backend=None):
    """Convolution with one kernel for the whole image: `y[p] = sum_d kernel[d] x[p - (d - c)]`, c = (kh//2, kw//2), even sizes included.

    Computed in Fourier space: at exactly H x W for "circular", otherwise on the continued image at the next length with factors 2, 3, 5, 7.

    Args:
        x: image [B, C, H, W]; float32, float64, bfloat16 or float16 (computed in float32), any strides.
        kernel: [B|1, C|1, kh, kw], or [B|1, kh, kw] shared by the channels; dtype of x. It may be larger than the image.
        padding: "zeros", "replicate", "reflect", "symmetric" or "circular", each defined for any reach as in numpy.pad; or "valid": only
            where the kernel lies inside of the image.
        backend: force "cuda", "triton", "cpu" or "reference"; None chooses.

    Returns:
        [B, C, H, W] ([B, C, H - kh + 1, W - kw + 1] for "valid"), dtype of x, contiguous.

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
    y = _run(_ops.fwd, "x", x, kernel, padding, backend)
    return _valid(x.shape[-2:], kernel).leave(y).contiguous() if padding == "valid" else y


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
    if padding == "valid":
        Dims().check("y", y, "B C H W")
        Dims().check("kernel", kernel, *KERNEL)
        (h, w), (kh, kw) = y.shape[-2:], kernel.shape[-2:]
        y = _valid((h + kh - 1, w + kw - 1), kernel).leave_adjoint(y)
    return _run(_ops.adjoint, "y", y, kernel, padding, backend)
