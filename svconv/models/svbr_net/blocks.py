"""The blocks of SVBR-Net: convolutions with batch normalisation, which in eval mode is folded into their weights at every call."""
import torch
from torch import nn
from torch.nn import functional

EPS, MOMENTUM = 1e-3, 0.01      # those of Keras, whose momentum 0.99 is the share of the old mean


class ConvNorm(nn.Module):
    """conv (zero padding of the border, bias), BatchNorm, ReLU.

    While the normalisation is in training mode as it stands; in eval mode one convolution with `w gamma / sqrt(var + eps)`, through which
    gradients reach all of them. The folded weights are not kept, so that nothing can go stale: making them costs little beside a
    convolution over an image.
    """

    def __init__(self, inputs, width, size=3, stride=1, relu=True):
        super().__init__()
        self.conv = nn.Conv2d(inputs, width, size, stride, padding=(size - 1) // 2)
        self.norm = nn.BatchNorm2d(width, eps=EPS, momentum=MOMENTUM)
        self.relu = relu

    def forward(self, x):
        conv, norm = self.conv, self.norm
        if norm.training:
            x = norm(conv(x))
        else:
            scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            bias = norm.bias + (conv.bias - norm.running_mean) * scale
            x = functional.conv2d(x, conv.weight * scale[:, None, None, None], bias, conv.stride, conv.padding)
        return functional.relu(x, inplace=True) if self.relu else x


class Residual(nn.Sequential):
    """Two ConvNorms, the input added: T2."""

    def __init__(self, width):
        super().__init__(ConvNorm(width, width), ConvNorm(width, width))

    def forward(self, x):
        return super().forward(x) + x


class Down(nn.Module):
    """Two ConvNorms and the mean of 2 x 2 pixels, beside a convolution of 2 x 2 with stride 2: T3, half the size."""

    def __init__(self, inputs, width):
        super().__init__()
        self.body = nn.Sequential(ConvNorm(inputs, width), ConvNorm(width, width))
        self.shortcut = ConvNorm(inputs, width, size=2, stride=2, relu=False)

    def forward(self, x):
        return functional.avg_pool2d(self.body(x), 2) + self.shortcut(x)


class Up(nn.Module):
    """Two ConvNorms, a transposed convolution that doubles the size, two ConvNorms: T4.

    Of the 2n + 1 rows and columns of the transposed convolution the last ones are dropped, as "same" does in Keras.
    """

    def __init__(self, inputs, width):
        super().__init__()
        self.before = nn.Sequential(ConvNorm(inputs, width), ConvNorm(width, width))
        self.enlarge = nn.ConvTranspose2d(width, width, 3, stride=2)
        self.after = nn.Sequential(ConvNorm(width, width), ConvNorm(width, width))

    def forward(self, x):
        return self.after(self.enlarge(self.before(x))[..., :-1, :-1])
