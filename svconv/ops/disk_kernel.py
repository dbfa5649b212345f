"""The kernel of a disk of any real radius, as a table."""
import math

import torch

from svconv._disk_area import pixel_area
from svconv._shapes import check_tensor, computed, number, pair, readable


def disk_kernel(radius, size):
    """The blur kernel of a disk: `k[d] = area of the unit pixel about d inside the disk / area of the disk`, exact, of sum 1.

    Args:
        radius: in pixels, a number (float32) or a tensor [...]; float32, float64, bfloat16 or float16 (computed in float32). At most 0.5
            is the identity, a single 1.
        size: side of the kernel, an int or (kh, kw), each at least `2 ceil(radius - 0.5) + 1`.

    Returns:
        [..., kh, kw], dtype of radius, centre (kh//2, kw//2).

    Raises:
        ValueError: a size that does not hold the disk, a radius that is NaN or infinite (of tensors where the host can look at them: not
            under torch.compile, torch.func and on other devices). TypeError: no number or floating tensor.

    Gradient of first order in radius, 0 up to 0.5; it jumps where the circle begins to touch further pixels, and is there that of the
    smaller radius. Bit-identical from run to run. Memory: a few tables. SVBR-Net (2023), Eq. (1).

    >>> import svconv
    >>> k = svconv.disk_kernel(0.75, 3)
    >>> [round(float(v), 4) for v in k[1]], round(float(k.sum()), 6)
    ([0.1075, 0.5659, 0.1075], 1.0)
    >>> svconv.disk_kernel(torch.tensor([0.5, 1.0, 6.0]), 13).shape
    torch.Size([3, 13, 13])
    """
    if not isinstance(radius, torch.Tensor):
        radius = torch.tensor(number("radius", radius))
    check_tensor("radius", radius)
    height, width = size = pair("size", size, least=1, integer=True)
    if readable(radius) and radius.numel():
        _check_size(float(radius.detach().max()) if not bool(torch.isnan(radius).any()) else math.nan, size)
    exact = computed(radius)[..., None, None]
    rows, columns = (torch.arange(n, dtype=exact.dtype, device=exact.device) - n // 2 for n in (height, width))
    return _DiskTable.apply(exact, rows[:, None], columns)[0].to(radius.dtype)


def _check_size(radius, size):
    if not math.isfinite(radius):
        raise ValueError(f"radius: expected finite numbers, got {radius}")
    least = 2 * math.ceil(max(radius - 0.5, 0)) + 1
    if min(size) < least:
        raise ValueError(f"size: expected at least {least} for a radius of {radius:.6g}, got {size}")


class _DiskTable(torch.autograd.Function):
    """(k, its derivative in the radius) for radius [..., 1, 1], rows [kh, 1], columns [kw]."""

    generate_vmap_rule = True

    @staticmethod
    def forward(radius, rows, columns):
        identity = radius <= 0.5
        r = torch.where(identity, 1.0, radius)
        area, arc = pixel_area(r, rows, columns)
        disk = math.pi * r * r
        centre = ((rows == 0) & (columns == 0)).to(radius.dtype)
        return torch.where(identity, centre, area / disk), torch.where(identity, 0.0, (arc - 2 * area / r) / disk)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])
        ctx.save_for_forward(output[1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g, _):
        slope, = ctx.saved_tensors
        return (g * slope).sum((-2, -1), keepdim=True), None, None

    @staticmethod
    def jvp(ctx, tangent, *_):
        slope, = ctx.saved_tensors
        return tangent * slope, None
