"""The boundary rules of `padding=` as index maps, and the extension and folding built on them."""
import functools

import torch

PADDINGS = ("zeros", "replicate", "reflect", "symmetric", "circular")
ALIASES = {"constant": "zeros", "edge": "replicate", "nearest": "replicate", "wrap": "circular", "mirror": "reflect"}


def canonical_padding(padding):
    """The name of DESIGN for `padding`, aliases resolved; ValueError for anything else."""
    name = ALIASES.get(padding, padding) if isinstance(padding, str) else padding
    if name not in PADDINGS:
        raise ValueError(f"padding: expected one of {', '.join(PADDINGS)} (or {', '.join(sorted(ALIASES))}), got {padding!r}")
    return name


def source_index(i, n, padding):
    """The pixel of 0..n-1 that stands at position `i` of an axis continued by `padding`; -1 for a zero."""
    if 0 <= i < n:
        return i
    if padding == "zeros":
        return -1
    if padding == "replicate":
        return 0 if i < 0 else n - 1
    if padding == "circular":
        return i % n
    if padding == "symmetric":
        i %= 2 * n
        return i if i < n else 2 * n - 1 - i
    if n == 1:
        return 0
    i %= 2 * n - 2
    return i if i < n else 2 * n - 2 - i


@functools.lru_cache(maxsize=256)
def index_map(n, before, after, padding):
    """Source pixels of positions -before .. n+after-1, a tuple of ints."""
    return tuple(source_index(i, n, padding) for i in range(-before, n + after))


def extend(x, margins, padding):
    """x [..., H, W] continued by (top, bottom, left, right) pixels."""
    top, bottom, left, right = margins
    for axis, before, after in ((-2, top, bottom), (-1, left, right)):
        if before or after:
            x = _extend_axis(x, axis, before, after, padding)
    return x


def _extend_axis(x, axis, before, after, padding):
    if padding == "zeros":
        return torch.nn.functional.pad(x, (0, 0, before, after) if axis == -2 else (before, after))
    index = torch.tensor(index_map(int(x.shape[axis]), int(before), int(after), padding), device=x.device)
    return x.index_select(axis, index)


def fold(y, margins, padding):
    """The transpose of `extend`: what stands outside is added to the pixel it came from, in a fixed order."""
    top, bottom, left, right = margins
    for axis, before, after in ((-2, top, bottom), (-1, left, right)):
        if before or after:
            y = _fold_axis(y, axis, before, after, padding)
    return y


def _fold_axis(y, axis, before, after, padding):
    n = y.shape[axis] - before - after
    inside = y.narrow(axis, before, n).clone()
    for position, source in enumerate(index_map(int(n), int(before), int(after), padding)):
        if source >= 0 and not before <= position < before + n:
            inside.select(axis, source).add_(y.select(axis, position))
    return inside
