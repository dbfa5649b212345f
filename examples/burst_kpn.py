"""A kernel-prediction network for bursts: a filter for every pixel of every frame, then the mean of the filtered frames.

A network looks at N noisy frames of one scene and predicts K x K weights for each pixel of each frame. The usual code makes the patches of
all frames by `F.unfold`, multiplies them by the weights and sums: N * K * K copies of the image, kept for the backward pass. Only `merge`
changes: `svconv.pixel_filter` with the same head, viewed as filters. Nothing else, and no parameter, is touched.

    python examples/burst_kpn.py --size 256
"""
import sys

import side_by_side
import torch
from torch import nn
from torch.nn import functional as F

import svconv

FRAMES, TAPS = 8, 5


class Plain(nn.Module):
    def __init__(self, frames=FRAMES, taps=TAPS, width=24):
        super().__init__()
        self.taps = taps
        self.predict = nn.Sequential(
            nn.Conv2d(3 * frames, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, frames * taps * taps, 1))

    def forward(self, burst):
        """burst [B, N, 3, H, W] -> [B, 3, H, W]"""
        return self.merge(burst, self.predict(burst.flatten(1, 2)))

    def merge(self, burst, head):
        b, n, c, h, w = burst.shape
        patches = F.unfold(burst.flatten(0, 1), self.taps, padding=self.taps // 2).view(b, n, c, -1, h, w)
        return (patches * head.view(b, n, 1, -1, h, w)).sum(3).mean(1)


class WithSvconv(Plain):
    def merge(self, burst, head):
        b, n, c, h, w = burst.shape
        filters = head.view(b * n, self.taps, self.taps, h, w)
        return svconv.pixel_filter(burst.flatten(0, 1), filters).view(b, n, c, h, w).mean(1)


def inputs(size, seed, batch=1):
    """One burst of noisy frames of one scene."""
    generator = torch.Generator().manual_seed(seed)
    scene = torch.rand(batch, 1, 3, *size, generator=generator)
    return (scene + 0.1 * torch.randn(batch, FRAMES, 3, *size, generator=generator),)


def main(argv=None):
    side_by_side.main(sys.modules[__name__], argv)


if __name__ == "__main__":
    main()
