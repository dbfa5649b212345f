"""A solver on a large image, tile by tile: tiles overlap and are cross-faded, so the memory is that of one tile."""
import itertools


def grid(size, side, halo):
    """The tiles [(rows, columns)] of an image of size (H, W), each axis as `spans` gives it."""
    return list(itertools.product(*(spans(length, side, halo) for length in size)))


def spans(length, side, halo):
    """[(start, stop, first edge, last edge, fade)] along one axis: equal parts of at most `side` pixels, enlarged by `halo` where there
    is a neighbour.

    The part between the edges is the tile's own; weights fall to 0 over `fade` pixels about an edge, which is None at the image's border.
    """
    n = -(-length // side)
    cuts = [length * i // n for i in range(n + 1)]
    fade = min(halo, length // n)
    return [
        (max(0, a - halo), min(length, b + halo), a if a > 0 else None, b if b < length else None, fade) for a, b in zip(cuts, cuts[1:])
    ]


def weights(span):
    """The weights of one tile along one axis; with its neighbours' they sum to 1."""
    import torch

    start, stop, first, last, fade = span
    t = torch.arange(start, stop) + 0.5
    w = torch.ones(stop - start)
    if first is not None:
        w *= ((t - first) / fade + 0.5).clamp(0, 1)
    if last is not None:
        w *= ((last - t) / fade + 0.5).clamp(0, 1)
    return w


def apply(function, y, tiles, mask=None):
    """function(tile, its part of the mask) for every tile of y [1, 1, H, W], put together again."""
    if len(tiles) == 1:
        return function(y, mask)
    x = y.new_zeros(y.shape)
    for rows, columns in tiles:
        part = (..., slice(*rows[:2]), slice(*columns[:2]))
        seen = None if mask is None else mask[part].contiguous()
        x[part] += weights(rows)[:, None] * weights(columns) * function(y[part].contiguous(), seen)
    return x


def filled(y, seen):
    """y [1, 1, H, W] with the pixels outside of `seen` [H, W] replaced by averages of the nearest seen ones, coarse to fine."""
    import torch
    from torch.nn import functional

    seen = torch.as_tensor(seen)[None, None]
    levels = [(torch.where(seen, y, 0), seen.float())]
    while min(levels[-1][1].shape[-2:]) > 1 and not bool(levels[-1][1].all()):
        sums, counts = (functional.avg_pool2d(t, 2, ceil_mode=True) for t in (levels[-1][0] * levels[-1][1], levels[-1][1]))
        levels.append((sums / counts.clamp_min(1e-9), (counts > 0).float()))
    total, count = (levels[-1][0] * levels[-1][1]).sum(), levels[-1][1].sum().clamp_min(1)
    coarse = torch.where(levels[-1][1] > 0, levels[-1][0], total / count)
    for values, known in reversed(levels[:-1]):
        wide = functional.interpolate(coarse, size=values.shape[-2:], mode="bilinear", align_corners=False)
        coarse = torch.where(known > 0, values, wide)
    return coarse
