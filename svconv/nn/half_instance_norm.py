"""Normalisation of every image by itself, in one half of its channels."""
import torch
from torch import nn

from svconv._shapes import Dims, number


class HalfInstanceNorm2d(nn.Module):
    """The first half of the channels normalised within each image, the rest untouched.

        y_c = weight_c (x_c - mean x_c) / sqrt(var x_c + eps) + bias_c    for c < channels // 2;    y_c = x_c    for the others

    with mean and (biased) variance over the pixels of one channel of one image, so that the result does not depend on the rest of a batch
    and is the same in training and in eval mode. A plane of one pixel becomes `bias`.

    Args:
        channels: of the input, at least 2; of an odd number the smaller half is normalised. eps: added to the variance.

    Shapes:
        forward(x [B, channels, H, W]) -> the same. Half types are summed in float32.

    Raises:
        ValueError, TypeError: naming the argument.

    Gradients of every order through autograd. Bit-identical from run to run with a fixed number of threads. Memory: the result and the
    normalised half. HINet (2021).

    >>> import torch, svconv
    >>> norm = svconv.nn.HalfInstanceNorm2d(4)
    >>> y = norm(5 + torch.rand(2, 4, 8, 8))
    >>> bool(y[:, :2].mean((2, 3)).abs().max() < 1e-4), bool(y[:, 2:].min() >= 5)
    (True, True)
    """

    def __init__(self, channels, eps=1e-5):
        super().__init__()
        self.channels, self.eps = number("channels", channels, least=2, integer=True), number("eps", eps, above=0)
        self.weight, self.bias = nn.Parameter(torch.ones(self.channels // 2)), nn.Parameter(torch.zeros(self.channels // 2))

    def forward(self, x):
        Dims().check("x", x, f"B {self.channels} H W")
        half = self.channels // 2
        normalised = torch.group_norm(x[:, :half], half, self.weight, self.bias, self.eps)      # a group per channel; takes one pixel too
        return torch.cat([normalised.to(x.dtype), x[:, half:]], 1)

    def extra_repr(self):
        return f"{self.channels}, eps={self.eps:g}"
