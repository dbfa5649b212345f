"""The blocks of the two networks of the blur kernel space."""
import torch
from torch import nn
from torch.nn import functional

from svconv.models.reflection import ReflectedConv2d

SLOPE = 0.1         # of the leaky ReLU outside of the U-net
WEAK = 0.1          # factor of the first weights of the residual blocks


@torch.no_grad()
def begin(conv, slope, gain=1.0):
    """First weights that keep the size of a signal behind a leaky ReLU of this slope, times `gain`; biases 0. From torch's own, which
    shrink it, the code of a pair is so faint behind a dozen layers that F learns to do without it."""
    nn.init.kaiming_normal_(conv.weight, a=slope)
    conv.weight *= gain
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


class Residual(nn.Module):
    """conv3, ReLU, conv3, the input added; border 0, weights Kaiming normal times 0.1."""

    def __init__(self, width):
        super().__init__()
        self.first, self.second = (begin(nn.Conv2d(width, width, 3, padding=1), 0, WEAK) for _ in range(2))

    def forward(self, x):
        return x + self.second(functional.relu(self.first(x)))


class ReflectedResidual(nn.Module):
    """conv3, ReLU, conv3, the input added; the borders reflected."""

    def __init__(self, width, bias):
        super().__init__()
        self.first, self.second = (begin(ReflectedConv2d(width, width, 3, bias=bias), 0, gain) for gain in (1.0, WEAK))

    def forward(self, x):
        return x + self.second(functional.relu(self.first(x)))


class Preprocess(nn.Sequential):
    """An image [B, 3, H, W] as features [B, width, H/4, W/4]: PrB."""

    def __init__(self, width):
        convs = [begin(nn.Conv2d(inputs, width, 3, stride, padding=1), SLOPE) for inputs, stride in ((3, 1), (width, 2), (width, 2))]
        super().__init__(*(layer for conv in convs for layer in (conv, nn.LeakyReLU(SLOPE))), *(Residual(width) for _ in range(10)))


class Postprocess(nn.Sequential):
    """Features [B, width, H/4, W/4] as what is added to an image, [B, 3, H, W]: PoB."""

    def __init__(self, width):
        up = [layer for _ in range(2)
              for layer in (begin(nn.Conv2d(width, 4 * width, 3, padding=1), SLOPE), nn.PixelShuffle(2), nn.LeakyReLU(SLOPE))]
        super().__init__(*(Residual(width) for _ in range(20)), *up, begin(nn.Conv2d(width, width, 3, padding=1), SLOPE),
                         nn.LeakyReLU(SLOPE), begin(nn.Conv2d(width, 3, 3, padding=1), SLOPE, WEAK))
