"""The five derivative filters of the image prior and the normal operator `sum_d D_d' W_d D_d` as one per-pixel 5 x 5 stencil.

Derivatives are taken where all their pixels lie inside the image. The operator is symmetric and couples pixels at most two apart, so that
one pass of `pixel_filter` over a map of 25 planes applies all five filters and their transposes.
"""
import torch
from torch.nn.functional import pad

from svconv.ops import pixel_filter

# name: taps (row, column, coefficient)
FILTERS = {
    "x": ((0, 0, -1.0), (0, 1, 1.0)),
    "y": ((0, 0, -1.0), (1, 0, 1.0)),
    "xx": ((0, 0, -1.0), (0, 1, 2.0), (0, 2, -1.0)),
    "yy": ((0, 0, -1.0), (1, 0, 2.0), (2, 0, -1.0)),
    "xy": ((0, 0, -1.0), (0, 1, 1.0), (1, 0, 1.0), (1, 1, -1.0)),
}
RADIUS = 2


def _valid(taps, height, width):
    """Number of rows and columns in which the filter lies inside."""
    return max(0, height - max(t[0] for t in taps)), max(0, width - max(t[1] for t in taps))


def derivative(x, name):
    """d * x where the filter lies inside, [..., H - rows, W - columns]."""
    taps = FILTERS[name]
    rows, columns = _valid(taps, *x.shape[-2:])
    (i, j, c), *others = taps
    d = x[..., i:i + rows, j:j + columns] * c
    for i, j, c in others:
        d.add_(x[..., i:i + rows, j:j + columns], alpha=c)
    return d


def derivative_adjoint(v, name, height, width):
    """The transpose of `derivative` on images of height x width."""
    rows, columns = v.shape[-2:]
    return sum(pad(c * v, (j, width - columns - j, i, height - rows - i)) for i, j, c in FILTERS[name])


def normal(x, weights):
    """sum_d D_d' W_d D_d x, filter by filter, with gradients in x and weights; weights: as in `stencil`."""
    total, (height, width) = torch.zeros_like(x), x.shape[-2:]
    for name, w in weights.items():
        if 0 not in _valid(FILTERS[name], height, width):
            total = total + derivative_adjoint(w * derivative(x, name), name, height, width)
    return total


def stencil(weights, like, scale=1.0):
    """[B|1, C|1, 1, 5, 5, H, W] with `pixel_filter(x, stencil) = scale * sum_d D_d' W_d D_d x`, without gradients.

    weights: name -> a tensor that broadcasts to the derivative's shape, or a number. A plane p of the map holds, at pixel q, the factor of
    x[q + offset].
    """
    side = 2 * RADIUS + 1
    height, width = like.shape[-2:]
    b, c = torch.broadcast_shapes((1, 1), *(w.shape[:2] for w in weights.values() if isinstance(w, torch.Tensor)))
    f = like.new_zeros((b, c, 1, side, side, height, width))
    for name, w in weights.items():
        taps = FILTERS[name]
        rows, columns = _valid(taps, height, width)
        for i, j, at_output in taps:
            for k, m, at_input in taps:
                plane = f[:, :, 0, k - i + RADIUS, m - j + RADIUS, i:i + rows, j:j + columns]
                factor = scale * at_output * at_input
                plane.add_(w, alpha=factor) if isinstance(w, torch.Tensor) else plane.add_(w * factor)
    return f


def apply(x, f):
    """The normal operator of a stencil."""
    return pixel_filter(x, f).squeeze(2)


def circular_laplace(v):
    """sum_d D_d' D_d v with circular differences of neighbours."""
    out = 4 * v
    for axis in (-2, -1):
        out = out - v.roll(1, axis) - v.roll(-1, axis)
    return out
