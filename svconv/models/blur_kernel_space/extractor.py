"""G behind its first block: from the features of a sharp and a blurry image to the code of the blur between them."""
import torch
from torch import nn

from svconv.models.blur_kernel_space.blocks import SLOPE, ReflectedResidual, begin
from svconv.models.reflection import ReflectedConv2d

BLOCKS = 4
GAIN, UNEVEN = 8.0, 0.1        # of the start: of the differences of features, of weights that differ within a kernel


class CodeLayers(nn.Sequential):
    """A reflected conv7, five convolutions of stride 2, residual blocks: [B, inputs, H, W] -> [B, last, H/32, W/32].

    Args:
        inputs: channels of the input. widths: of the six convolutions. blocks: residual blocks of the last width.
        slope: of the leaky ReLU behind each of the six, 0: ReLU. bias: of all convolutions.
    """

    def __init__(self, inputs, widths, blocks, slope, bias):
        convs = [ReflectedConv2d(inputs, widths[0], 7, bias=bias)]
        convs += [nn.Conv2d(before, width, 3, 2, padding=1, bias=bias) for before, width in zip(widths, widths[1:])]
        layers = [layer for conv in convs for layer in (begin(conv, slope), nn.LeakyReLU(slope) if slope else nn.ReLU())]
        super().__init__(*layers, *(ReflectedResidual(widths[-1], bias) for _ in range(blocks)))


class Extractor(nn.Module):
    """G(x, y) from the features of both; a variational one gives mean and deviation, twice the channels."""

    def __init__(self, width, paper, variational):
        super().__init__()
        last = 16 * width if variational else 8 * width
        widths = (width, 2 * width, 4 * width, 8 * width, last, last)
        self.layers = CodeLayers(2 * width, widths, BLOCKS, SLOPE if paper else 0, bias=paper)
        self._compare()

    @torch.no_grad()
    def _compare(self):
        """The start: what the first layer sees is the difference of the features, and the others add up over the image. From random layers
        the code tells of the image, of which F knows everything, and hardly of the blur: both learn to do without it."""
        first, width = self.layers[0], self.layers[0].in_channels // 2
        first.weight *= GAIN
        first.weight[:, width:] = -first.weight[:, :width]
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d) and layer.stride[0] == 2:
                layer.weight.copy_(layer.weight.mean((2, 3), keepdim=True) + UNEVEN * layer.weight)

    def forward(self, x, y):
        return self.layers(torch.cat([x, y], 1))
