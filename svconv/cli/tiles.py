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


def apply(function, y, tiles):
    """function on every tile of y [1, 1, H, W], put together again."""
    if len(tiles) == 1:
        return function(y)
    x = y.new_zeros(y.shape)
    for rows, columns in tiles:
        part = (..., slice(*rows[:2]), slice(*columns[:2]))
        x[part] += weights(rows)[:, None] * weights(columns) * function(y[part].contiguous())
    return x
