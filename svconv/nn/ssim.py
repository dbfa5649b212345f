"""The structural similarity of images, and the loss that is made of it."""
import math

import torch
from torch import nn
from torch.nn import functional

from svconv._shapes import image_pair, number

PADDINGS = ("valid", "same")
K1, K2 = 0.01, 0.03


class SSIMLoss(nn.Module):
    """One minus the structural similarity, averaged over pixels, channels and images.

        loss = 1 - mean( (2 mx my + C1) (2 sxy + C2) / ((mx^2 + my^2 + C1) (sx^2 + sy^2 + C2)) )

    with means, variances and covariance of x and y under a Gaussian window about every pixel, C1 = (0.01 range)^2, C2 = (0.03 range)^2.

    Args:
        padding: "valid", only windows that lie inside of the images, or "same", all pixels; there a window at the border is the part of it
            that lies inside, scaled to sum 1.
        window: side of the window in pixels, odd. sigma: of its Gaussian, in pixels.
        data_range: of the images, 1 for 0..1.

    Shapes:
        forward(x, y [B, C, H, W]) -> a number, 0 for equal images, at most 2. bfloat16 and float16 are computed in float32, and so is the
        result. An empty batch gives NaN, as every mean does.

    Raises:
        ValueError, TypeError: naming the argument: shapes that differ, images smaller than the window ("valid").

    Gradients of every order through autograd. Bit-identical from run to run with a fixed number of threads. Memory: about 15 images. Wang,
    Bovik, Sheikh and Simoncelli 2004, "valid" as in TensorFlow's `ssim`.

    >>> import torch, svconv
    >>> loss, x = svconv.nn.SSIMLoss(), torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> float(loss(x, x)), 0.9 < float(loss(x, 1 - x)) < 2
    (0.0, True)
    """

    def __init__(self, padding="valid", *, window=11, sigma=1.5, data_range=1.0):
        super().__init__()
        if padding not in PADDINGS:
            raise ValueError(f"padding: expected one of {', '.join(PADDINGS)}, got {padding!r}")
        self.padding, self.window = padding, number("window", window, least=1, integer=True)
        if self.window % 2 == 0:
            raise ValueError(f"window: expected an odd side, got {self.window}")
        self.sigma, self.data_range = number("sigma", sigma, above=0), number("data_range", data_range, above=0)

    def forward(self, x, y):
        return 1 - self.similarity(x, y).mean()

    def similarity(self, x, y):
        """The mean structural similarity of each image, [B]."""
        return self.similarity_map(x, y).mean((1, 2, 3))

    def similarity_map(self, x, y):
        """The structural similarity under each window, [B, C, H, W], for "valid" without half a window at each border."""
        x, y = image_pair(x, y)
        if self.padding == "valid" and min(x.shape[-2:]) < self.window:
            raise ValueError(f"x: expected sides of at least {self.window} pixels, the window, got {tuple(x.shape[-2:])}")
        c1, c2 = (K1 * self.data_range) ** 2, (K2 * self.data_range) ** 2
        mx, xx, xy = self._smoothed(torch.stack([x, x * x, x * y]))
        my, yy = self._smoothed(torch.stack([y, y * y]))      # apart: the one that is the truth needs no gradient
        product, squares = mx * my, mx * mx + my * my
        return (2 * product + c1) * (2 * (xy - product) + c2) / ((squares + c1) * (xx + yy - squares + c2))

    def _smoothed(self, t):
        """Under the window along both axes of [..., H, W]: sums of shifted images, on a CPU many times faster than a `conv2d` of one
        channel."""
        reach = self.window // 2
        taps = [math.exp(-((n - reach) ** 2) / (2 * self.sigma**2)) for n in range(self.window)]
        taps = [tap / sum(taps) for tap in taps]
        for axis in (-1, -2):
            length = t.shape[axis]
            if self.padding == "same":
                inside = functional.pad(t.new_ones(length), (reach, reach)).unfold(0, self.window, 1) @ t.new_tensor(taps)
                t = functional.pad(t, (reach, reach) if axis == -1 else (0, 0, reach, reach))
            else:
                length -= self.window - 1
            parts = [tap * t.narrow(axis, n, length) for n, tap in enumerate(taps)]
            t = sum(parts[1:], parts[0])
            if self.padding == "same":
                t = t / (inside if axis == -1 else inside[:, None])
        return t

    def extra_repr(self):
        return f"padding={self.padding!r}, window={self.window}, sigma={self.sigma:g}, data_range={self.data_range:g}"
