"""Learned features in plain torch: h = tanh(f * x + b), h <- tanh(R h + b), y = last h; borders replicated.

In strips of rows, so that the maps are never stored for the whole image.
"""
import torch
from torch.nn import functional as F

_PIXELS = 1 << 17  # of one strip


def tanh_features_fwd(x, latent, filters, hidden, biases, last):
    """x [B, C0, H, W], latent [B, C1, H, W] or None, filters [N, C0 + C1, k, k], hidden [L, N, N], biases [L + 1, N] or None, last [O, N] -> [B, O, H, W]."""
    size = filters.shape[-1]
    stacked = x if latent is None else torch.cat([x, latent], 1)
    padded = F.pad(stacked, (size // 2,) * 4, mode="replicate")
    batch, _, height, width = x.shape
    out = x.new_empty(batch, last.shape[0], height, width)
    rows = max(1, _PIXELS // max(1, batch * width))
    bias = [None] * (hidden.shape[0] + 1) if biases is None else biases.unbind()
    for top in range(0, height, rows):
        h = torch.tanh(F.conv2d(padded[:, :, top:min(top + rows, height) + size - 1], filters, bias[0]))
        for mix, b in zip(hidden, bias[1:]):
            h = torch.tanh(F.conv2d(h, mix[:, :, None, None], b))
        out[:, :, top:top + rows] = F.conv2d(h, last[:, :, None, None])
    return out
