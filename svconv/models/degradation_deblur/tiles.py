"""DegradationDeblur on photographs too large for one pass: in overlapping windows, each with its own degradation map."""
import itertools

import torch

from svconv._shapes import number
from svconv.models.degradation_deblur.model import LEAST
from svconv.models.images import check_image

TILE, OVERLAP = 256, 32


def restore_tiled(model, y, *, tile=TILE, overlap=OVERLAP, callback=None):
    """The image that a `DegradationDeblur` makes of y, window by window; where windows overlap, the mean of what they say.

    Every window is an image of its own to the network, with its own map and statistics, so that the result differs from that of one pass.

    Args:
        model: a `DegradationDeblur` in eval mode.
        y: as the model takes it.
        tile: side of the windows in pixels, at least 16; a shorter side of the image is one window.
        overlap: pixels that neighbours share at least, less than `tile`. Windows are spread evenly.
        callback: called as callback(step, steps) after each window.

    Returns:
        [B, 3|1, H, W], without gradients.

    Raises:
        ValueError, TypeError: naming the argument; a model in training mode.

    Memory: the result, and what one window takes.

    >>> import torch
    >>> from svconv.models import DegradationDeblur
    >>> restore_tiled(DegradationDeblur(width=4).eval(), torch.rand(1, 3, 40, 50), tile=32, overlap=8).shape
    torch.Size([1, 3, 40, 50])
    """
    if model.training:
        raise ValueError("model: expected one in eval mode")
    check_image("y", y, next(model.parameters()), LEAST)
    side = number("tile", tile, least=LEAST, integer=True)
    shared = number("overlap", overlap, least=0, below=side, integer=True)
    rows, columns = (starts(length, side, shared) for length in y.shape[-2:])
    total = torch.zeros_like(y, memory_format=torch.contiguous_format)
    count = torch.zeros_like(total[:1, :1])
    steps = len(rows) * len(columns)
    with torch.no_grad():
        for step, (top, left) in enumerate(itertools.product(rows, columns), 1):
            window = (..., slice(top, top + side), slice(left, left + side))
            total[window] += model(y[window]).image
            count[window] += 1
            if callback is not None:
                callback(step, steps)
    return total / count


def starts(length, side, overlap):
    """Where the windows of one axis begin: as few as share `overlap` pixels with their neighbours, spread evenly."""
    if length <= side:
        return [0]
    n = -(-(length - overlap) // (side - overlap))
    return [(length - side) * i // (n - 1) for i in range(n)]
