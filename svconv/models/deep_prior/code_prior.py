"""Q: an untrained network from noise to the code of a blur."""
from torch import nn

from svconv.models.blur_kernel_space.extractor import CodeLayers

BLOCKS = 6


class CodePrior(nn.Module):
    """Noise [B, width, H/4, W/4] -> code [B, 8 width, H/128, W/128]: the layers of G without its first block, six residual blocks.

    34,787,264 parameters at width 64.
    """

    def __init__(self, width=64):
        super().__init__()
        self.layers = CodeLayers(width, [width * n for n in (1, 2, 4, 8, 8, 8)], BLOCKS, 0, bias=True)

    def forward(self, noise):
        return self.layers(noise)
