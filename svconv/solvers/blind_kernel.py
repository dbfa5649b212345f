"""Blind estimation of one blur kernel by alternation: an image with few edges, then the kernel that its gradients explain."""
import dataclasses
import math

import torch
from torch.nn import functional as F

from svconv._fourier import fast_length, kernel_spectrum, psf_center
from svconv._shapes import check_image, check_tensor, computed, number
from svconv.ops import kernel_quotient
from svconv.solvers.border import extend_smoothly, wide_plane
from svconv.solvers.magnitudes import unit
from svconv.solvers.result import Result

RATIO, SMALLEST = math.sqrt(0.5), 5  # the pyramid: side of the kernels from one scale to the next, and the first one
LAST_BETA, GROWTH = 1e5, 2.0  # of the splitting
REG_DECAY, LAST_REG = 1 / 1.1, 1e-4
FLOOR = 0.05  # of a kernel's largest value; what is below is noise


@dataclasses.dataclass(repr=False)
class BlindKernelResult(Result):
    """What `blind_kernel` found.

    Attributes:
        x: the kernels [B, k, k], >= 0, sum 1, centre of mass within a pixel of k//2; blurry = conv(sharp, kernel).
        edges: the image with few edges [B, 1, H, W] that the last kernel was estimated from.
    """

    edges: torch.Tensor


def blind_kernel(y, kernel_size, *, reg=1e-2, kernel_reg=2.0, steps=5, scales=None, start=None, callback=None):
    """Estimates the kernel of a uniform blur by alternating, from coarse to fine, between

        x = argmin |k * x - y|^2 + reg |grad x|_0          (half-quadratic splitting, gradients kept or cut)
        k = argmin |k * grad x - grad y|^2 + kernel_reg |k|^2,    cut below 0.05 of its maximum, scaled to sum 1, centred

    Args:
        y: blurred image [B, 1, H, W], 0..1; float32, float64, bfloat16 or float16 (computed in float32); the samples are independent.
        kernel_size: side of the kernel in pixels, odd, at most half the image; a little larger than the blur is right.
        reg: weight of the edges at the start; falls by 1.1 per step down to 1e-4. Larger keeps fewer and stronger edges.
        kernel_reg: weight of |k|^2.
        steps: alternations per scale.
        scales: how many scales of the pyramid (ratio 0.71, down to kernels of 5 pixels), from the finest; None is all.
        start: [B, k, k], a first guess, dtype of y, for example a trained model's; None is two pixels side by side.
        callback: called as callback(step, steps, x) after every alternation, x the image at its scale [1, 1, h, w].

    Returns:
        BlindKernelResult: .x [B, k, k], .edges [B, 1, H, W]. No gradients flow through it.

    Raises:
        ValueError, TypeError: naming the argument; pixels that are not finite and a start that is zero, not finite or negative in sum are
            a ValueError.

    Bit-identical from run to run with a fixed number of threads. Memory: about twenty planes. Xu, Zheng and Jia, Unnatural L0 sparse
    representation for natural image deblurring, 2013.

    >>> import torch, svconv
    >>> x = torch.zeros(1, 1, 64, 64); x[..., 20:44, 16:50] = 1; x[..., 5:12, 30:60] = 0.5
    >>> k = torch.zeros(1, 7, 7); k[:, 3, 1:6] = 0.2
    >>> found = blind_kernel(svconv.conv(x, k, padding="replicate"), 7).x
    >>> t = torch.arange(7) - 3.0
    >>> across, down = (found.sum(1) * t**2).sum().sqrt(), (found.sum(2) * t**2).sum().sqrt()
    >>> found.shape, bool(across > 1.3 * down)      # k is a horizontal bar
    (torch.Size([1, 7, 7]), True)
    """
    reg, kernel_reg = number("reg", reg, above=0), number("kernel_reg", kernel_reg, above=0)
    steps = number("steps", steps, least=1, integer=True)
    scales = scales if scales is None else number("scales", scales, least=1, integer=True)
    kernel_size = _check(y, kernel_size, start)
    sizes, dtype = _sizes(kernel_size)[-(scales or 0):], y.dtype
    y, start = computed(y), None if start is None else computed(start)
    with torch.no_grad():
        found = []
        for b in range(y.shape[0]):
            first = None if start is None else start[b]
            shifted = None if callback is None else lambda step, total, x, b=b: callback(b * total + step, y.shape[0] * total, x)
            found.append(_estimate(y[b:b + 1], sizes, reg, kernel_reg, steps, first, shifted))
        if not found:
            return BlindKernelResult(y.new_empty(0, kernel_size, kernel_size, dtype=dtype), y.new_empty(y.shape, dtype=dtype))
        return BlindKernelResult(torch.stack([k for k, _ in found]).to(dtype), torch.cat([x for _, x in found]).to(dtype))


def _check(y, kernel_size, start):
    check_image("y", y)
    if y.shape[1] != 1:
        raise ValueError(f"y: expected one channel [B, 1, H, W], got {list(y.shape)}")
    kernel_size = number("kernel_size", kernel_size, least=3, integer=True)
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size: expected an odd number >= 3, got {kernel_size!r}")
    if 2 * kernel_size > min(y.shape[-2:]):
        raise ValueError(f"kernel_size: expected at most half the image of {y.shape[-2]} x {y.shape[-1]}, got {kernel_size}")
    if start is not None:
        _check_start(start, y, kernel_size)
    if not bool(torch.isfinite(y).all()):
        raise ValueError("y: expected finite pixels, got NaN or infinity")
    return kernel_size


def _check_start(start, y, kernel_size):
    check_tensor("start", start)
    if tuple(start.shape) != (y.shape[0], kernel_size, kernel_size):
        raise ValueError(f"start: expected [{y.shape[0]}, {kernel_size}, {kernel_size}], got {list(start.shape)}")
    if start.dtype != y.dtype or start.device != y.device:
        raise TypeError(f"start: expected {y.dtype} on {y.device} like y, got {start.dtype} on {start.device}")
    total = computed(start).sum((-2, -1))
    if not bool((torch.isfinite(total) & (total > 0)).all()):
        raise ValueError("start: expected kernels with finite values and a sum > 0, got one without")


def _sizes(last):
    """Odd kernel sides from coarse to fine."""
    sizes = [last]
    while sizes[0] > SMALLEST:
        smaller = int(sizes[0] * RATIO)
        sizes.insert(0, max(smaller + 1 - smaller % 2 if smaller + 1 - smaller % 2 < sizes[0] else sizes[0] - 2, 3))
    return sizes


def _estimate(y, sizes, reg, kernel_reg, steps, start, callback):
    """(kernel [k, k], edges [1, 1, H, W]) of one sample."""
    k = _pair(sizes[0], y) if start is None else start
    for scale, size in enumerate(sizes):
        blurry = y if size == sizes[-1] else _resized(y, [max(2 * size, round(n * size / sizes[-1])) for n in y.shape[-2:]])
        if k.shape[-1] != size:
            k = _cleaned(_resized(k[None, None], (size, size))[0, 0])
        gradients = _gradients(blurry)
        for step in range(steps):
            x = _few_edges(blurry, k, reg)
            k = _cleaned(_explained(_gradients(x), gradients, size, kernel_reg))
            reg = max(reg * REG_DECAY, LAST_REG)
            if callback is not None:
                callback(scale * steps + step + 1, len(sizes) * steps, x)
    return k, x


def _explained(sharp, blurry, size, kernel_reg):
    """argmin |k * sharp - blurry|^2 + kernel_reg |k|^2, [size, size]; both in the unit in which no square under- or overflows. What is
    beyond 1e30 there changes nothing but the scale of k."""
    scale = float(unit(sharp, blurry))
    beta = min(max(kernel_reg * scale * scale, 1e-30), 1e30)
    return kernel_quotient(sharp * scale, blurry * scale, size, beta=beta)[0]


def _pair(size, like):
    """Two pixels side by side: the simplest kernel that is no delta, from which the alternation would not move."""
    k = like.new_zeros(size, size)
    k[size // 2, size // 2 - 1 : size // 2 + 1] = 0.5
    return k


def _resized(x, size):
    return F.interpolate(x, size=list(size), mode="bicubic", antialias=True, align_corners=False)


def _gradients(x):
    """Forward differences along columns and rows, the last ones 0: [B, 1, H, W] -> [B, 2, H, W]."""
    p = F.pad(x, (0, 1, 0, 1), mode="replicate")
    return torch.cat([p[..., :-1, 1:] - x, p[..., 1:, :-1] - x], 1)


def _cleaned(k):
    """Non-negative, without weak values, sum 1, the centre of mass within half a pixel of the middle; nothing positive: the delta."""
    k = torch.where(k > FLOOR * k.max(), k, 0).clamp_min(0)
    middle, total = k.shape[-1] // 2, k.sum()
    if not bool(total > 0):
        k = torch.zeros_like(k)
        k[middle, middle] = 1
        return k
    k = k / total
    at = torch.arange(k.shape[-1], dtype=k.dtype, device=k.device) - middle
    return _shifted(k, -round(float((k.sum(1) * at).sum())), -round(float((k.sum(0) * at).sum())))


def _shifted(k, down, right):
    """k moved by whole pixels; only empty rows and columns leave the window."""
    rows, columns = k.any(1).nonzero(), k.any(0).nonzero()
    last = k.shape[-1] - 1
    down = max(-int(rows.min()), min(down, last - int(rows.max())))
    right = max(-int(columns.min()), min(right, last - int(columns.max())))
    return k.roll((down, right), (0, 1))


def _few_edges(y, k, reg):
    """argmin |k * x - y|^2 + reg |grad x|_0 by splitting: gradients kept where their square is above reg / beta, which doubles each
    step."""
    size = [fast_length(n + 2 * k.shape[-1]) for n in y.shape[-2:]]
    top, left = ((length - n) // 2 for length, n in zip(size, y.shape[-2:]))
    plane = wide_plane(y.shape[-2:], top, left, size)
    wide = extend_smoothly(y, plane)
    blur = kernel_spectrum(k[None, None], plane.size, psf_center(k.shape))
    across = _spectrum(plane.size, (0, -1), y)
    down = _spectrum(plane.size, (-1, 0), y)
    data, power = blur.conj() * torch.fft.rfft2(wide), blur.abs().square()
    smooth = across.abs().square() + down.abs().square()
    x, beta = wide, 2 * reg
    while beta < LAST_BETA:
        gx, gy = x.roll(-1, -1) - x, x.roll(-1, -2) - x
        keep = gx.square() + gy.square() >= reg / beta
        edges = across.conj() * torch.fft.rfft2(gx * keep) + down.conj() * torch.fft.rfft2(gy * keep)
        x = torch.fft.irfft2((data + beta * edges) / (power + beta * smooth), s=plane.size)
        beta *= GROWTH
    return plane.leave(x).contiguous()


def _spectrum(plane, neighbour, like):
    """The transform of the circular forward difference towards the pixel that `roll` by `neighbour` brings."""
    d = like.new_zeros(plane)
    d[0, 0] = -1
    d[neighbour] += 1
    return torch.fft.rfft2(d)
