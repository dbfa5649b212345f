"""SVMAP and SIMAP on photographs too large for one pass: overlapping tiles, cross-faded."""
import torch

from svconv._shapes import Dims, number as checked_number
from svconv._tiles import plan

WHOLE = 800 * 1024      # pixels of an image that is restored in one pass
TILE = 768
HALO = 48               # pixels that a tile sees beyond its own and a kernel


def restore_tiled(model, y, kernel, *, tile=TILE, whole=WHOLE, callback=None):
    """`model(y, kernel)` of a `SVMAP` or `SIMAP`, computed in tiles where the image has more than `whole` pixels.

    A tile sees a kernel and `HALO` pixels beyond its place, and its own border is unknown light as that of an image is. Conjugate
    gradients couple all pixels, so that tiles and one pass differ a little; neighbours are cross-faded, and nothing is seen of it
    (docs/models/svmap.md has the figures).

    Args:
        model: a `SVMAP` or `SIMAP`.
        y, kernel: as the model takes them.
        tile: side of the tiles in pixels, without what they see beyond.
        whole: the most pixels of an image that is not cut.
        callback: called as callback(step, steps, x) after every CG step, x that of a tile.

    Returns:
        [B, 3, H, W], without gradients.

    Raises:
        ValueError, TypeError: naming the argument.

    Memory: the result, and that of the model on the largest tile with its surroundings, below 4 GB for the defaults.

    >>> import torch
    >>> from svconv.models import SVMAP
    >>> model, y, kernel = SVMAP(width=8), torch.rand(1, 3, 40, 190), torch.full((1, 1, 3, 3), 1 / 9)
    >>> with torch.no_grad():
    ...     restore_tiled(model, y, kernel, tile=100, whole=0).shape
    torch.Size([1, 3, 40, 190])
    """
    Dims().check("y", y, "B 3 H W")
    Dims().check("kernel", kernel, "B? C? kh kw", "B? kh kw")
    side, whole = checked_number("tile", tile, least=1, integer=True), checked_number("whole", whole, least=0, integer=True)
    tiles = tiles_of(y.shape[-2:], kernel.shape[-2:], side, whole)
    out = torch.zeros_like(y, memory_format=torch.contiguous_format)
    with torch.no_grad():
        for number, (rows, columns) in enumerate(tiles):
            part = y[..., slice(*rows[:2]), slice(*columns[:2])].contiguous()
            x = model(part, kernel, callback=_told(callback, number, len(tiles)))[..., rows.inner, columns.inner]
            weights = torch.from_numpy(rows.weights[:, None] * columns.weights).to(y)
            out[..., slice(*rows.kept), slice(*columns.kept)] += weights * x if len(tiles) > 1 else x
    return out


def _told(callback, number, count):
    """The callback of one of the tiles."""
    return None if callback is None else lambda step, steps, x: callback(number * steps + step, count * steps, x)


def tiles_of(size, kernel_size, tile=TILE, whole=WHOLE):
    """The tiles `svconv._tiles` of an image of that size."""
    return plan(size, max(size) if size[0] * size[1] <= whole else tile, HALO + max(kernel_size))
