"""The noise of a photograph, from its quietest blocks."""
import torch
from torch.nn import functional

from svconv._shapes import Dims

BLOCK, QUIET = 16, 0.1          # pixels; the share of the blocks that are quietest
STRIP = 512                     # rows at a time, whole blocks
_BIAS = 0.891                   # what that share gives on white noise of deviation 1 (tests/data/test_estimate_noise.py)
_CLIPPED = 0.02                 # so near to 0 and 1 a value may have been cut off, and its noise with it
_MASK = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))


def estimate_noise(image, *, mask=None):
    """The standard deviation of white noise in photographs: that of the difference of two Laplacians, in the quietest tenth of the blocks.

        s = quantile_0.1 over blocks of 16 x 16 of  sqrt(mean (m * x)^2) / 0.891,    m = [1 -2 1]' [1 -2 1] / 6

    The mask m takes off planes and straight edges along rows and columns and leaves the deviation of white noise as it is. Blocks with
    more than one in twenty values below 0.02 or above 0.98 do not count as long as others are there. In blurred
    photographs noise of 1 to 5 % is found within 11 %; in sharp ones their texture is added, a third of noise of 1 % in the median
    (docs/quality.md#noise). JPEG takes noise away, and the estimate follows.

    Args:
        image: [B, C, H, W], floating, 0..1; the channels are told apart. Sides of at least 3 pixels.
        mask: [H, W], 0 where a pixel means nothing; blocks with such pixels do not count as long as others are there.

    Returns:
        [B, C], dtype of the image, at least 0.

    Raises:
        ValueError, TypeError: naming the argument.

    Deterministic. Memory: a few megabytes. Immerkaer, Fast noise variance estimation, 1996 (the mask).

    >>> x = 0.5 + 0.02 * torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    >>> round(float(estimate_noise(x)), 3)
    0.02
    """
    Dims().check("image", image, "B C H W")
    if min(image.shape[-2:]) < 3:
        raise ValueError(f"image: expected sides of at least 3 pixels, got {list(image.shape)}")
    if mask is not None and tuple(mask.shape) != tuple(image.shape[-2:]):
        raise ValueError(f"mask: expected {list(image.shape[-2:])}, got {list(mask.shape)}")
    hidden = None if mask is None else (mask == 0).to(image.device)
    found = [_of_plane(plane, hidden) for plane in image.detach().flatten(0, 1)]
    return torch.tensor(found, dtype=torch.float64).reshape(image.shape[:2]).to(image)


def _of_plane(plane, hidden):
    """The estimate of [H, W], strip by strip of whole blocks."""
    parts = [slice(top, top + STRIP + 2) for top in range(0, max(plane.shape[0] - 2 - BLOCK, 0) + 1, STRIP)]
    strips = [_blocks(plane[part], None if hidden is None else hidden[part]) for part in parts]
    power, clipped = (torch.cat(t) for t in zip(*strips))
    whole = power[clipped <= 1 / 20]
    return float((whole if len(whole) else power).quantile(QUIET).sqrt()) / _BIAS


def _blocks(strip, hidden):
    """(mean square behind the mask, share of values that may be clipped or mean nothing), of every block."""
    x = strip.double()[None, None]
    power = functional.conv2d(x, x.new_tensor(_MASK)[None, None] / 6).square()
    inner = x[..., 1:-1, 1:-1]
    clipped = ((inner < _CLIPPED) | (inner > 1 - _CLIPPED)).double()
    if hidden is not None:      # one such pixel is too many, beside the block too: the mask m reaches it
        clipped = torch.maximum(clipped, BLOCK**2 * functional.max_pool2d(hidden.double()[None, None], 3, 1))
    block = [min(BLOCK, n) for n in power.shape[-2:]]
    return tuple(functional.avg_pool2d(t, block).flatten() for t in (power, clipped))
