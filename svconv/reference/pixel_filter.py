"""Per-pixel filtering in plain torch: the specification of the pixel_filter family.

Shapes are the canonical ones of the ops: x [B, C, H, W], filters [B|1, C|1, M, kh, kw, H, W], y [B, C, M, H, W].
Half types are accumulated in float32 and rounded once at the end.
"""
import torch

from svconv._boundary import source_indices
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


def pixel_filter_stencil(filters, weights, shape, dtype, padding):
    """S[n(e), q] = sum over all m, p, d, d' with p + d at q and p + d' at q + e of w_m[p] f_m[d, p] f_m[d', p], for n(e) >= 0.

    n(e) counts the offsets of the window of (2 kh - 1) x (2 kw - 1) in the order of reading, from its centre on.
    """
    acc = accumulator(filters.dtype)
    _, _, _, kh, kw, h, w = filters.shape
    rows, columns = (_places(n, k, padding, filters.device) for n, k in ((h, kh), (w, kw)))
    f = filters.to(acc).expand(*shape[:2], *filters.shape[2:])
    weighted = f if weights is None else f * weights.to(acc)[:, :, :, None, None]
    taps = [(i, j) for i in range(kh) for j in range(kw)]
    total = torch.zeros((*shape[:2], shape[2] * h * w), dtype=acc, device=filters.device)
    for i, j in taps:
        for k, m in taps:
            (y0, dy), (x0, dx) = _pair(rows, i, k, padding), _pair(columns, j, m, padding)
            number = dy[:, None] * (2 * kw - 1) + dx
            used = (y0[:, None] >= 0) & (x0 >= 0) & (dy[:, None] > -kh) & (dx > -kw) & (number >= 0)
            place = torch.where(used, (number * h + y0[:, None]) * w + x0, 0).flatten()
            product = torch.where(used, (weighted[:, :, :, i, j] * f[:, :, :, k, m]).sum(2), 0)
            total.index_add_(2, place, product.flatten(2))
    return total.reshape(shape).to(dtype)


def _places(n, k, padding, device):
    """int64 [k, n]: the pixel at which tap i of pixel p stands, -1 for a zero."""
    top = (k - 1) // 2
    found = torch.from_numpy(source_indices(-top, n + k - 1 - top, n, padding))
    return torch.stack([found[i:i + n] for i in range(k)]).to(device)


def _pair(places, i, k, padding):
    """(where tap i stands, how far tap k is from there), [n] each; far below zero where tap k stands nowhere."""
    distance = torch.full_like(places[i], k - i) if padding == "circular" else places[k] - places[i]
    return places[i], torch.where(places[k] >= 0, distance, -len(places))


def pixel_filter_stencil_apply(x, stencil, side, padding):
    """y[q] = sum_e S[e, q] x[q + e] + sum_{e > 0} S[e, q - e] x[q - e], zeros or circular."""
    acc = accumulator(x.dtype)
    (kh, kw), (h, w) = side, x.shape[-2:]
    plane = window_plane((h, w), (2 * kh - 1, 2 * kw - 1), padding)
    dtype, x = x.dtype, x.to(acc)
    extended = plane.enter(x)
    y = torch.zeros(x.shape, dtype=acc, device=x.device)
    spread = torch.zeros_like(extended)
    for n in range(stencil.shape[2]):
        number = n + (kh - 1) * (2 * kw - 1) + kw - 1
        i, j = divmod(number, 2 * kw - 1)
        values = stencil[:, :, n].to(acc)
        y += values * extended[..., i:i + h, j:j + w]
        if n:
            spread[..., i:i + h, j:j + w] += values * x
    return (y + plane.enter_adjoint(spread)).to(dtype)
