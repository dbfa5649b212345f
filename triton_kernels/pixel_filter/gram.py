"""The normal operator and its gradient in the filters.

The normal operator writes u = W F x (M planes against the M kh kw of the filters) and applies the adjoint to it, which starts where the
forward ended, so that filters that still lie in L2 come from there. That is two reads of the filters where they do not fit into L2
(50 MB on an H200) and one where they do.
"""
from svconv._triton.pixel_filter.adjoint import adjoint_launches
from svconv._triton.pixel_filter.filter_gradient import bwd_filters_launch
from svconv._triton.pixel_filter.forward import fwd_launch
from svconv._triton.tiles import accumulator


def _maps_at_once(x, filters):
    """How many of the M maps go through u = W F x together: as many as keep u within a tenth of inputs and outputs, at least one."""
    u = x.numel() * accumulator(x.dtype).itemsize
    moved = filters.numel() * filters.element_size() + 2 * x.numel() * x.element_size()
    return min(max(1, moved // (10 * max(u, 1))), filters.shape[2])


def _parts(x, filters, weights):
    """Some maps at a time: their numbers, filters and weights."""
    step = _maps_at_once(x, filters)
    for first in range(0, filters.shape[2], step):
        some = slice(first, first + step)
        yield some, filters[:, :, some], None if weights is None else weights[:, :, some]


def _empty_like_y(x, filters):
    """[B, C, M, H, W] in the accumulator's type."""
    return x.new_empty((x.shape[0], x.shape[1], filters.shape[2], x.shape[2], x.shape[3]), dtype=accumulator(x.dtype))


def pixel_filter_gram(x, filters, weights, padding):
    out = x.new_empty(x.shape)
    m = filters.shape[2]
    if m == 0 or out.numel() == 0:
        return out.zero_()
    total = None
    for some, maps, w in _parts(x, filters, weights):
        u = _empty_like_y(x, maps)
        fwd_launch(x, maps, w, u, padding)(x.device)
        result = out if some.stop >= m else x.new_empty(x.shape, dtype=u.dtype) if total is None else total
        for launch in adjoint_launches(u, maps, result, padding, initial=total, reverse=True):
            launch(x.device)
        total = result
    return out


def pixel_filter_gram_bwd_filters(x, g, filters, weights, padding):
    """df[m, d, p] = (W F g)[m, p] x[p+d] + (W F x)[m, p] g[p+d], summed over a batch or channel axis of size 1."""
    df = filters.new_empty(filters.shape)
    if x.shape[0] == 0 or x.shape[1] == 0:
        return df.zero_()
    if x.stride() != g.stride():
        x, g = x.contiguous(), g.contiguous()
    for some, maps, w in _parts(x, filters, weights):
        of_x, of_g = _empty_like_y(x, maps), _empty_like_y(x, maps)
        fwd_launch(x, maps, w, of_x, padding, (g, of_g))(x.device)
        bwd_filters_launch(x, of_g, df[:, :, some], padding, (g, of_x), filters.shape[2])(x.device)
    return df
