"""SVBR-Net on photographs too large for one pass: tile by tile, each with all the pixels around it that its result depends on."""
import itertools

import torch

from svconv._shapes import number
from svconv._tiles import spans_between
from svconv.models.svbr_net.model import MULTIPLE, check_input

HALO = 88       # pixels, a multiple of 4; no pixel of the result depends on one farther away along the rows or the columns
TILE = 768


def restore_tiled(model, image, radius, *, tile=TILE, callback=None):
    """`model(image, radius)` of a `SVBRNet` in eval mode, computed in tiles.

    Every tile sees `HALO` pixels more on each side, the receptive field of the network, and begins at a multiple of 4, so that the result
    is that of one pass; only rounding differs, since convolutions of another size may be summed in another order.

    Args:
        model: a `SVBRNet` in eval mode.
        image, radius: as the model takes them.
        tile: side of the tiles in pixels, rounded up to a multiple of 4.
        callback: called as callback(step, steps) after each tile.

    Returns:
        [B, 3, H, W], without gradients.

    Raises:
        ValueError, TypeError: naming the argument; a model in training mode.

    Memory: the result, and about 200 float32 planes of the size of a tile with its halo: 0.7 GB for the default.

    >>> import torch
    >>> from svconv.models import SVBRNet
    >>> model = SVBRNet().eval()
    >>> image, radius = torch.rand(1, 3, 40, 50), torch.full((1, 1, 40, 50), 2.0)
    >>> with torch.no_grad():
    ...     bool((restore_tiled(model, image, radius, tile=16) - model(image, radius)).abs().max() < 1e-5)
    True
    """
    if model.training:
        raise ValueError("model: expected one in eval mode")
    check_input(image, radius)
    side = number("tile", tile, least=1, integer=True)
    side += -side % MULTIPLE
    out = torch.empty_like(image, memory_format=torch.contiguous_format)
    tiles = list(itertools.product(*(_spans(length, side) for length in image.shape[-2:])))
    with torch.no_grad():
        for step, tile in enumerate(tiles, 1):
            seen = (..., *(slice(span.start, span.stop) for span in tile))
            own = (..., *(slice(*span.own) for span in tile))
            inside = (..., *(slice(span.own[0] - span.start, span.own[1] - span.start) for span in tile))
            out[own] = model(image[seen], radius[seen])[inside]
            if callback is not None:
                callback(step, len(tiles))
    return out


def _spans(length, side):
    """Nearly equal parts of at most `side` pixels, cut at multiples of 4: at other places the means of 2 x 2 pixels would be others."""
    count = -(-length // side)
    cuts = [length * i // count // MULTIPLE * MULTIPLE for i in range(count)]
    return spans_between([*cuts, length], HALO)
