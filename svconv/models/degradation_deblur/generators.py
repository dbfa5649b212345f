"""The generators: U-nets of five scales which take in the pyramid of a degradation on their skips."""
import torch
from torch import nn

from svconv.models.degradation_deblur.blocks import Block
from svconv.nn import Modulation, SupervisedAttention

SCALES = (1, 2, 4, 8)       # channels of the skips, in widths; those of the deepest level: 16


class Down(nn.Module):
    """The encoder of a U-net: five blocks, a convolution of 4 x 4 with stride 2 between each two."""

    def __init__(self, width, middle):
        super().__init__()
        widths = [width * n for n in (1, *SCALES, 16)]
        self.blocks = nn.ModuleList(Block(inputs, outputs, half_norm=True, middle=middle) for inputs, outputs in zip(widths, widths[1:]))
        self.halve = nn.ModuleList(nn.Conv2d(width * n, width * n, 4, 2, padding=1, bias=False) for n in SCALES)

    def forward(self, x, added=(0, 0, 0, 0)):
        """(deepest features, those of the four levels above, finest first); `added` is added to the latter."""
        levels = []
        for block, halve, more in zip(self.blocks, self.halve, added):
            levels.append(block(x) + more)
            x = halve(levels[-1])
        return self.blocks[-1](x), levels


class Up(nn.Module):
    """The decoder of a U-net: transposed convolutions of 2 x 2, each joined to its skip and followed by a block."""

    def __init__(self, width, middle):
        super().__init__()
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(2 * width * n, width * n, 2, stride=2) for n in SCALES)
        self.blocks = nn.ModuleList(Block(2 * width * n, width * n, half_norm=False, middle=middle) for n in SCALES)

    def forward(self, x, skips):
        """The features of the four levels, finest first."""
        levels = []
        for enlarge, block, skip in reversed(list(zip(self.enlarge, self.blocks, skips))):
            x = block(torch.cat([enlarge(x), skip], 1))
            levels.insert(0, x)
        return levels


def modulations(width, plain):
    return nn.ModuleList(Modulation(width * n, width=2 * width, plain=plain) for n in SCALES)


class OneStage(nn.Module):
    """One U-net; its input is added to what it makes. G_r and G_d of version 2.

    forward(image [B, 3, H, W], sides multiples of 16; pyramid) -> (image,). Without `injected` there is no pyramid.
    """

    def __init__(self, width, injected):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)
        self.down, self.up = Down(width, middle=False), Up(width, middle=False)
        self.inject = modulations(width, plain=True) if injected else None

    def forward(self, image, pyramid=None):
        deepest, skips = self.down(self.first(image))
        if self.inject is not None:
            skips = [inject(skip, z) for inject, skip, z in zip(self.inject, skips, pyramid)]
        return (image + self.last(self.up(deepest, skips)[0]),)


class TwoStage(nn.Module):
    """Two U-nets; the first, with the injections, gives an image and features for the second. G_d of version 1.

    forward(image [B, 3, H, W], sides multiples of 16; pyramid) -> (image of the first stage, image of the second).
    """

    def __init__(self, width, injected):
        super().__init__()
        same = dict(half_norm=True, middle=True)
        wide = [width * n for n in SCALES]
        self.first, self.down, self.up = nn.Conv2d(3, width, 3, padding=1), Down(width, middle=True), Up(width, middle=True)
        self.before, self.after = (nn.ModuleList(Block(n, n, **same) for n in wide) for _ in range(2))
        self.inject = modulations(width, plain=False) if injected else None
        self.attention = SupervisedAttention(width)
        self.second, self.join = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(2 * width, width, 1)
        self.from_down, self.from_up = (nn.ModuleList(nn.Conv2d(n, n, 1, bias=False) for n in wide) for _ in range(2))
        self.second_down, self.second_up = Down(width, middle=True), Up(width, middle=True)
        self.skips = nn.ModuleList(nn.Sequential(*(Block(n, n, **same) for _ in range(4))) for n in wide)
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, image, pyramid=None):
        deepest, levels = self.down(self.first(image))
        skips = [before(level) for before, level in zip(self.before, levels)]
        if self.inject is not None:
            skips = [inject(skip, z) for inject, skip, z in zip(self.inject, skips, pyramid)]
        back = self.up(deepest, [after(skip) for after, skip in zip(self.after, skips)])
        features, first_image = self.attention(back[0], image)
        added = [a(level) + b(other) for a, level, b, other in zip(self.from_down, levels, self.from_up, back)]
        deepest, levels = self.second_down(self.join(torch.cat([self.second(image), features], 1)), added)
        back = self.second_up(deepest, [skip(level) for skip, level in zip(self.skips, levels)])
        return first_image, image + self.last(back[0])
