"""`filter2d` as kornia has it, by `svconv.conv`: for kernels that are large, and borders of any reach. kornia is not needed."""
import torch

from svconv._shapes import Dims, shape_text
from svconv.ops import conv

BORDERS = {"constant": "zeros", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def filter2d(input: torch.Tensor, kernel: torch.Tensor, border_type: str = "reflect", normalized: bool = False, padding: str = "same",
             behaviour: str = "corr", *, backend: str | None = None) -> torch.Tensor:
    """`kornia.filters.filter2d`: every channel correlated with a kernel, the place ((kh-1)//2, (kw-1)//2) of which lies on the pixel.

    Args:
        input: image [B, C, H, W]; float32, float64, bfloat16, float16, or bool and integers, which are computed in float32.
        kernel: [1, kh, kw], or [B, kh, kw], one for each sample; brought to the dtype and the device of the image. It may be larger than
            the image, which kornia's may not.
        border_type: "constant" (zeros), "reflect" (edge not repeated), "replicate" or "circular".
        normalized: divide each kernel by the sum of its magnitudes.
        padding: "same", or "valid": only where the kernel lies inside of the image.
        behaviour: "corr", or "conv": the kernel is turned round, and its place on the pixel stays.
        backend: as in `svconv.conv`.

    Returns:
        [B, C, H, W] ([B, C, H - kh + 1, W - kw + 1] for "valid"), dtype of the image.

    Raises:
        ValueError, TypeError: naming the argument. As in kornia border_type, padding and behaviour may be written in capitals.

    Gradients of every order in input and kernel. In Fourier space, so that errors are relative to the largest magnitude of the image, and a
    NaN spoils its channel. Memory: as `svconv.conv`.

    >>> import torch, svconv
    >>> x = torch.zeros(1, 1, 3, 5)
    >>> x[..., 1, 2] = 5
    >>> y = svconv.interop.kornia.filter2d(x, torch.tensor([[[1.0, 2.0, 7.0]]]), normalized=True)
    >>> [abs(round(v, 4)) for v in y[0, 0, 1].tolist()]
    [0.0, 3.5, 1.0, 0.5, 0.0]
    """
    border = _choice("border_type", border_type, BORDERS)
    valid = _choice("padding", padding, ("same", "valid")) == "valid"
    turned = _choice("behaviour", behaviour, ("corr", "conv")) == "corr"
    if isinstance(input, torch.Tensor) and not input.is_floating_point() and not input.is_complex():
        input = input.float()
    dims = Dims()
    dims.check("input", input, "B C H W")
    if not isinstance(kernel, torch.Tensor) or kernel.dim() != 3 or kernel.is_complex():
        raise ValueError("kernel: expected a real tensor [1, kh, kw] or [B, kh, kw], got "
                         + (f"{kernel.dtype} {shape_text(kernel)}" if isinstance(kernel, torch.Tensor) else type(kernel).__name__))
    kernel = kernel.to(input)
    dims.check("kernel", kernel, "B? kh kw")
    if normalized:
        kernel = kernel / kernel.abs().sum((-2, -1), keepdim=True)
    return conv(input, kernel.flip((-2, -1)) if turned else kernel, padding="valid" if valid else BORDERS[border], backend=backend)


def _choice(name, value, names):
    if not isinstance(value, str) or value.lower() not in names:
        raise ValueError(f"{name}: expected one of {', '.join(names)}, got {value!r}")
    return value.lower()
