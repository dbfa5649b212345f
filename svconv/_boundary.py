"""The boundary rules of `padding=`: their names, and which pixel stands at a position outside of an image."""
import functools

import numpy as np

PADDINGS = ("zeros", "replicate", "reflect", "symmetric", "circular")
ALIASES = {"constant": "zeros", "edge": "replicate", "nearest": "replicate", "wrap": "circular", "mirror": "reflect"}


def canonical_padding(padding):
    """The name of DESIGN for `padding`, aliases resolved; ValueError for anything else."""
    name = ALIASES.get(padding, padding) if isinstance(padding, str) else padding
    if name not in PADDINGS:
        raise ValueError(f"padding: expected one of {', '.join(PADDINGS)} (or {', '.join(sorted(ALIASES))}), got {padding!r}")
    return name


def source_indices(first, last, n, padding):
    """The pixels of 0..n-1 that stand at the positions first..last-1 of an axis continued by `padding`, int64; -1 for a zero."""
    i = np.arange(first, last, dtype=np.int64)
    if padding == "zeros":
        return np.where((i >= 0) & (i < n), i, -1)
    if padding == "replicate":
        return i.clip(0, n - 1)
    if padding == "circular":
        return i % n
    period = 2 * n if padding == "symmetric" else max(2 * n - 2, 1)
    i = i % period
    return np.where(i < n, i, period - (padding == "symmetric") - i)


@functools.lru_cache(maxsize=1024)
def stretches(first, last, n, padding):
    """`source_indices` as a tuple of runs (first pixel, length, step), step 1, -1 or 0; `padding` is not "zeros"."""
    runs = []
    for pixel in source_indices(first, last, n, padding).tolist():
        if runs:
            start, count, step = runs[-1]
            if count == 1 and abs(pixel - start) <= 1:
                runs[-1] = start, 2, pixel - start
                continue
            if count > 1 and pixel == start + count * step:
                runs[-1] = start, count + 1, step
                continue
        runs.append((pixel, 1, 1))
    return tuple(runs)
