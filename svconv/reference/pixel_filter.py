"""Per-pixel filtering in plain torch: the specification of the pixel_filter family.

Shapes are the canonical ones of the ops: x [B, C, H, W], filters [B|1, C|1, M, kh, kw, H, W], y [B, C, M, H, W].
Half types are accumulated in float32 and rounded once at the end.
"""
import torch

from svconv._plane import window_plane


def accumulator(dtype):
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _apply(x, filters, padding):
    """sum_d filters[d, p] x[p+d] in the accumulator's dtype."""
    acc = accumulator(x.dtype)
    _, _, m, kh, kw, h, w = filters.shape
    extended = window_plane((h, w), (kh, kw), padding).enter(x.to(acc)).unsqueeze(2)
    y = torch.zeros((*x.shape[:2], m, h, w), dtype=acc, device=x.device)
    for i in range(kh):
        for j in range(kw):
            y += filters[:, :, :, i, j].to(acc) * extended[..., i:i + h, j:j + w]
    return y


def _apply_adjoint(y, filters, padding):
    """sum_m sum_d filters[m, d, q-d] y[m, q-d], border terms folded back, in the accumulator's dtype."""
    acc = accumulator(y.dtype)
    _, _, _, kh, kw, h, w = filters.shape
    y = y.to(acc)
    plane = torch.zeros((*y.shape[:2], h + kh - 1, w + kw - 1), dtype=acc, device=y.device)
    for i in range(kh):
        for j in range(kw):
            plane[..., i:i + h, j:j + w] += (filters[:, :, :, i, j].to(acc) * y).sum(2)
    return window_plane((h, w), (kh, kw), padding).enter_adjoint(plane)


def pixel_filter_fwd(x, filters, padding):
    return _apply(x, filters, padding).to(x.dtype)


def pixel_filter_adjoint(y, filters, padding):
    return _apply_adjoint(y, filters, padding).to(y.dtype)


def pixel_filter_bwd_filters(x, g, shape, dtype, padding):
    """df[b, c, m, d, p] = g[b, c, m, p] x[b, c, p+d], summed over a batch or channel axis of size 1."""
    acc = accumulator(x.dtype)
    kh, kw, h, w = shape[3:]
    extended = window_plane((h, w), (kh, kw), padding).enter(x.to(acc)).unsqueeze(2)
    g = g.to(acc)
    summed = [axis for axis in (0, 1) if shape[axis] != g.shape[axis]]
    df = torch.empty(shape, dtype=dtype, device=x.device)
    for i in range(kh):
        for j in range(kw):
            product = g * extended[..., i:i + h, j:j + w]
            df[:, :, :, i, j] = product.sum(summed, keepdim=True) if summed else product
    return df


def pixel_filter_gram_bwd_filters(x, g, filters, weights, padding):
    """df[m, d, p] = (W F g)[m, p] x[p+d] + (W F x)[m, p] g[p+d], summed over a batch or channel axis of size 1."""
    acc = accumulator(x.dtype)
    batch, channels, m, kh, kw, h, w = filters.shape
    weight = 1 if weights is None else weights.to(acc)
    plane = window_plane((h, w), (kh, kw), padding)
    pairs = [(plane.enter(image.to(acc)).unsqueeze(2), weight * _apply(other, filters, padding))
             for image, other in ((x, g), (g, x))]
    summed = [axis for axis in (0, 1) if filters.shape[axis] != x.shape[axis]]
    df = torch.empty(filters.shape, dtype=filters.dtype, device=x.device)
    for i in range(kh):
        for j in range(kw):
            product = sum(image[..., i:i + h, j:j + w] * response for image, response in pairs)
            df[:, :, :, i, j] = product.sum(summed, keepdim=True) if summed else product
    return df


def pixel_filter_gram(x, filters, weights, padding):
    acc = accumulator(x.dtype)
    y = _apply(x, filters, padding)
    if weights is not None:
        y = y * weights.to(acc)
    return _apply_adjoint(y, filters, padding).to(x.dtype)
