"""The feature module of Learning to Deblur: learned filters, tanh, per-pixel recombination."""
import math

import torch
from torch import nn
from torch.nn import functional as F

from svconv.ops.tanh_features import tanh_features


class FeatureModule(nn.Module):
    """h = tanh(f * input); h <- tanh(R h) `hidden` times; yt = alpha h, xt = beta h: `pairs` sharp and blurry feature images.

    Borders are replicated; the result is (xt, yt), each [B, pairs, H, W].
    """

    def __init__(self, channels, pairs, filters=32, size=9, hidden=1, bias=False, fixed_gradients=False, output_tanh=False):
        super().__init__()
        if size < 1 or size % 2 == 0:
            raise ValueError(f"filter_size: expected an odd number, got {size}")
        self.pairs, self.fixed_gradients, self.output_tanh = pairs, fixed_gradients, output_tanh
        self.filters = nn.Parameter(oriented_filters(filters, channels, size))
        mix = torch.eye(filters) + 0.3 * torch.randn(filters, filters) / math.sqrt(filters)
        self.hidden = nn.ParameterList([nn.Parameter(mix.clone()) for _ in range(hidden)])
        self.bias = nn.ParameterList([nn.Parameter(torch.zeros(filters)) for _ in range(hidden + 1)]) if bias else None
        self.sharp = nn.Parameter(torch.randn(pairs, filters) / math.sqrt(filters))
        self.blurry = None if fixed_gradients else nn.Parameter(torch.randn(pairs, filters) / math.sqrt(filters))

    def forward(self, blurry, latent=None):
        """(xt, yt) of the blurry image [B, 1, H, W] and, for a module of two channels, the latent image."""
        hidden = torch.stack(list(self.hidden)) if len(self.hidden) else self.filters.new_empty(0, *[self.filters.shape[0]] * 2)
        biases = None if self.bias is None else torch.stack(list(self.bias))
        last = self.sharp if self.fixed_gradients else torch.cat([self.sharp, self.blurry])
        out = tanh_features(blurry, latent, self.filters, hidden, biases, last)
        if self.output_tanh:
            out = torch.tanh(out)
        if self.fixed_gradients:
            return out, differences(blurry)
        return out[:, : self.pairs], out[:, self.pairs :]

    @torch.no_grad()
    def continue_from(self, former, weak=0.1):
        """Take over the weights of the stage before; what it has not (filters on the latent image, extra features) stays random, scaled
        by `weak`."""
        for name, value in self.named_parameters():
            old = dict(former.named_parameters())[name]
            known = tuple(slice(0, min(a, b)) for a, b in zip(value.shape, old.shape))
            value.mul_(weak)
            value[known] = old[known]


def differences(image):
    """Central x- and y-differences of [B, 1, H, W], borders replicated: [B, 2, H, W]."""
    p = F.pad(image, (1, 1, 1, 1), mode="replicate")
    return torch.cat([p[:, :, 1:-1, 2:] - p[:, :, 1:-1, :-2], p[:, :, 2:, 1:-1] - p[:, :, :-2, 1:-1]], 1) / 2


def oriented_filters(count, channels, size):
    """Random start: first derivatives of Gaussians of random width, direction and gain [count, channels, size, size].

    Gains spread over a decade, so that some filters stay in the linear range of tanh and some saturate at edges; drawn from torch's
    default generator.
    """
    half = size // 2
    t = torch.arange(-half, half + 1, dtype=torch.float32)
    sigma = (max(size, 3) / 9) * torch.exp(torch.empty(count, channels).uniform_(math.log(0.5), math.log(2.0)))[..., None, None]
    angle = torch.empty(count, channels, 1, 1).uniform_(0, 2 * math.pi)
    along = t[:, None] * torch.sin(angle) + t[None, :] * torch.cos(angle)
    shape = along * torch.exp(-(t[:, None] ** 2 + t[None, :] ** 2) / (2 * sigma * sigma))
    shape = (
        shape - shape.mean((2, 3), keepdim=True) + 0.02 * shape.abs().mean((2, 3), keepdim=True) * torch.randn(count, channels, size, size)
    )
    gain = torch.exp(torch.empty(count, 1, 1, 1).uniform_(math.log(1.5), math.log(15.0)))
    return gain * shape / shape.abs().sum((2, 3), keepdim=True).clamp_min(1e-6) * 2 / channels
