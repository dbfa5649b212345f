"""A loss that is the negative peak signal-to-noise ratio."""
import math

from torch import nn

from svconv._shapes import image_pair, number


class PSNRLoss(nn.Module):
    """The negative peak signal-to-noise ratio in decibels of images in 0..1, averaged over the images.

        loss = mean_b (10 / ln 10) ln(MSE_b + eps),   MSE_b = mean over pixels and channels of (x_b - y_b)^2

    Args:
        eps: > 0; equal images have the loss 10 log10(eps), -80 for the default.

    Shapes:
        forward(x, y [B, C, H, W]) -> a number. bfloat16 and float16 are computed in float32, and so is the result. An empty batch gives
        NaN, as every mean does.

    Raises:
        ValueError, TypeError: naming the argument; shapes, dtypes or devices that differ.

    Gradients of every order through autograd. Bit-identical from run to run with a fixed number of threads. Memory: about two images.
    Learning degradation representations (2022), the loss of its deblurring network.

    >>> import torch, svconv
    >>> round(float(svconv.nn.PSNRLoss()(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.1))), 3)
    -20.0
    """

    def __init__(self, eps=1e-8):
        super().__init__()
        self.eps = number("eps", eps, above=0)

    def forward(self, x, y):
        x, y = image_pair(x, y)
        return 10 / math.log(10) * ((x - y).square().mean((1, 2, 3)) + self.eps).log().mean()

    def extra_repr(self):
        return f"eps={self.eps:g}"
