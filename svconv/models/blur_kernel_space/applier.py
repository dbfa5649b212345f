"""F behind its first block: features of a sharp image and a code become what the blur adds to that image."""
import torch
from torch import nn
from torch.nn import functional

from svconv.models.blur_kernel_space.blocks import SLOPE, Postprocess, begin

INNER = 0.2         # slope of the leaky ReLU before a convolution of stride 2, reference form


class UNet(nn.Module):
    """Five halvings and five doublings with the code beside the smallest features; skips join features of equal size.

    The paper's form: conv3 and transposed conv3, leaky ReLU 0.1 behind each. The reference's: both of size 4 without biases (the last one
    has one), leaky ReLU 0.2 before each halving but the first, ReLU before each doubling, tanh at the end; its skips are activated.
    """

    def __init__(self, width, paper):
        super().__init__()
        self.paper = paper
        down = (width, width, 2 * width, 4 * width, 8 * width, 8 * width)
        up = (8 * width, 4 * width, 2 * width, width, width)
        size = dict(kernel_size=3 if paper else 4, stride=2, padding=1)
        more = dict(output_padding=1) if paper else {}
        self.down = nn.ModuleList(begin(nn.Conv2d(a, b, **size, bias=paper), SLOPE) for a, b in zip(down, down[1:]))
        inputs = [2 * channels for channels in reversed(down[1:])]
        self.up = nn.ModuleList(begin(nn.ConvTranspose2d(a, b, **size, **more, bias=paper or i == 4), SLOPE)
                                for i, (a, b) in enumerate(zip(inputs, up)))

    def forward(self, x, code):
        before, behind, last = (self._none, self._leaky, self._leaky) if self.paper else (self._inner, self._none, torch.tanh)
        skips = []
        for level, layer in enumerate(self.down):
            if level:
                x = before(x)
                skips.append(x)
            x = behind(layer(x))
        for level, layer in enumerate(self.up):
            x = torch.cat([x, code if level == 0 else skips.pop()], 1)
            x = layer(x if self.paper else functional.relu(x))
            x = last(x) if level == len(self.up) - 1 else behind(x)
        return x

    @staticmethod
    def _none(x):
        return x

    @staticmethod
    def _leaky(x):
        return functional.leaky_relu(x, SLOPE)

    @staticmethod
    def _inner(x):
        return functional.leaky_relu(x, INNER)


class Applier(nn.Module):
    """F(x, k) - x from the features of x."""

    def __init__(self, width, paper):
        super().__init__()
        self.inner, self.post = UNet(width, paper), Postprocess(width)

    def forward(self, features, code):
        return self.post(self.inner(features, code))
