"""Learned features in plain torch: h_0 = tanh(f * x + b_0), h_i = tanh(R_i h_{i-1} + b_i), y = last h; borders replicated.

In strips of rows, so that the maps are never stored for the whole image. Inside, x and latent stand behind each other as `[B, C, H, W]`.
"""
import torch
from torch.nn import functional as F

_PIXELS = 1 << 17  # of one strip


def tanh_features_fwd(x, latent, filters, hidden, biases, last):
    """x [B, C0, H, W], latent [B, C1, H, W] or None, filters [N, C0 + C1, k, k], hidden [L, N, N], biases [L + 1, N] or None, last [O, N]
    -> [B, O, H, W]."""
    padded = with_border(x, latent, filters.shape[-1])
    out = x.new_empty(x.shape[0], last.shape[0], *x.shape[2:])
    for top, bottom in _strips(x):
        out[:, :, top:bottom] = F.conv2d(_maps(_window(padded, top, bottom, filters), filters, hidden, biases)[-1], last[:, :, None, None])
    return out


def tanh_features_bwd(g, x, latent, filters, hidden, biases, last, need):
    """Gradients in x, latent, filters, hidden, biases and last for the upstream gradient g [B, O, H, W]; `need`: a flag for each, the
    others come back empty.

    The maps of a strip are computed anew. With d_L = (last' g) (1 - h_L^2) and d_{i-1} = (R_i' d_i) (1 - h_{i-1}^2): dlast = g h_L', dR_i
    = d_i h_{i-1}', db_i = sum d_i, df = d_0 correlated with the padded image, dx = the transpose of the padding of f' d_0.
    """
    padded = with_border(x, latent, filters.shape[-1])
    g_padded = torch.zeros_like(padded)
    g_filters, g_last = (
        torch.zeros_like(filters, memory_format=torch.contiguous_format),
        torch.zeros_like(last, memory_format=torch.contiguous_format),
    )
    g_hidden = [last.new_zeros(mix.shape) for mix in hidden]
    g_biases = [last.new_zeros(filters.shape[0]) for _ in range(hidden.shape[0] + 1)]
    for top, bottom in _strips(x):
        window, d = _window(padded, top, bottom, filters), g[:, :, top:bottom]
        levels = _maps(window, filters, hidden, biases)
        g_last = g_last + torch.einsum("bohw,bnhw->on", d, levels[-1])
        mix = last
        for i in range(len(levels) - 1, -1, -1):
            d = F.conv2d(d, mix.T[:, :, None, None]) * (1 - levels[i].square())
            g_biases[i] = g_biases[i] + d.sum((0, 2, 3))
            if i:
                mix = hidden[i - 1]
                g_hidden[i - 1] = g_hidden[i - 1] + torch.einsum("bmhw,bnhw->mn", d, levels[i - 1])
        g_filters = g_filters + torch.nn.grad.conv2d_weight(window, filters.shape, d)
        g_padded[:, :, top:bottom + filters.shape[-1] - 1] += F.conv_transpose2d(d, filters)
    images = [without_border(part, filters.shape[-1]) for part in g_padded.split([x.shape[1], padded.shape[1] - x.shape[1]], 1)]
    found = *images, g_filters, torch.stack(g_hidden) if g_hidden else torch.zeros_like(hidden), torch.stack(g_biases), g_last
    return tuple(t if wanted else g.new_empty(0) for t, wanted in zip(found, need))


def with_border(x, latent, size):
    """[B, C0 + C1, H + size - 1, W + size - 1], borders replicated."""
    return F.pad(x if latent is None else torch.cat([x, latent], 1), (size // 2,) * 4, mode="replicate")


def without_border(g, size):
    """The transpose of the padding, in a fixed order: what stands outside is added to the border pixel that it came from. A new tensor."""
    half = size // 2
    for dim in (-2, -1):
        n = g.shape[dim] - 2 * half
        inside = g.narrow(dim, half, n).clone(memory_format=torch.contiguous_format)
        if half:
            inside.narrow(dim, 0, 1).add_(g.narrow(dim, 0, half).sum(dim, keepdim=True))
            inside.narrow(dim, n - 1, 1).add_(g.narrow(dim, half + n, half).sum(dim, keepdim=True))
        g = inside
    return g


def _strips(x):
    """(first row, last row) of every strip; none for an empty batch."""
    batch, _, height, width = x.shape
    rows = max(1, _PIXELS // max(1, batch * width))
    return [(top, min(top + rows, height)) for top in range(0, height, rows)] if batch else []


def _window(padded, top, bottom, filters):
    return padded[:, :, top:bottom + filters.shape[-1] - 1]


def _maps(window, filters, hidden, biases):
    """[h_0, ..., h_L] of a strip."""
    bias = [None] * (hidden.shape[0] + 1) if biases is None else biases.unbind()
    levels = [torch.tanh(F.conv2d(window, filters, bias[0]))]
    for mix, b in zip(hidden, bias[1:]):
        levels.append(torch.tanh(F.conv2d(levels[-1], mix[:, :, None, None], b)))
    return levels
