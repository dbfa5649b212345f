"""The recursive domain transform: smoothing that stops at the edges of a guide."""
import math

import torch

from svconv._shapes import Dims, number


def domain_transform(image, guide=None, *, sigma_s, sigma_r, iterations=5):
    """Edge-preserving smoothing by recursive filters along rows and columns (Gastal and Oliveira 2011).

    At pass i of N the filter `y_n = (1 - a_n) x_n + a_n y_(n-1)`, `a_n = exp(-sqrt(2) / sigma_i)^(d_n)`, runs from left to right, back, and
    so along the columns; `d_n = 1 + sigma_s / sigma_r sum_c |guide_c[n] - guide_c[n-1]|` over all channels of the guide, and
    `sigma_i = sigma_s sqrt(3) 2^(N-i) / sqrt(4^N - 1)`.

    Args:
        image: [B, C, H, W], float32 or float64.
        guide: [B|1, G, H, W], dtype of the image; None: the image itself.
        sigma_s: extent in pixels, > 0. sigma_r: difference of the guide that stops it, > 0, in its units.
        iterations: N, passes.

    Returns:
        [B, C, H, W], a weighted mean of pixels of the image at every pixel.

    Raises:
        ValueError, TypeError: naming the argument.

    Gradients through autograd in image and guide. Bit-identical from run to run. Memory: a few planes for each channel. A NaN spoils its
    rows and columns.

    >>> x = torch.zeros(1, 1, 8, 8); x[..., 4:] = 1
    >>> y = domain_transform(x + 0.1 * torch.rand(1, 1, 8, 8), x, sigma_s=20, sigma_r=0.1)
    >>> bool(y[..., :4].var() < 1e-4), bool((y[..., 4:] - y[..., :4]).min() > 0.8)
    (True, True)
    """
    dims = Dims()
    dims.check("image", image, "B C H W")
    guide = image if guide is None else guide
    dims.check("guide", guide, "B? G H W")
    if guide.dtype != image.dtype or guide.device != image.device:
        raise TypeError(f"guide: expected {image.dtype} on {image.device} like image, got {guide.dtype} on {guide.device}")
    sigma_s, sigma_r = number("sigma_s", sigma_s, above=0), number("sigma_r", sigma_r, above=0)
    iterations = number("iterations", iterations, least=1, integer=True)
    distances = [1 + sigma_s / sigma_r * guide.diff(dim=axis).abs().sum(1, keepdim=True) for axis in (-1, -2)]
    for i in range(1, iterations + 1):
        sigma = sigma_s * math.sqrt(3) * 2 ** (iterations - i) / math.sqrt(4**iterations - 1)
        for axis, distance in zip((-1, -2), distances):
            feedback = torch.exp(-math.sqrt(2) / sigma * distance)
            image = _smoothed(image.transpose(axis, -1), feedback.transpose(axis, -1)).transpose(axis, -1)
    return image.contiguous()


def _smoothed(x, feedback):
    """Along the last axis there and back; feedback [..., n - 1] between neighbours."""
    x = _recursion(x, feedback)
    return _recursion(x.flip(-1), feedback.flip(-1)).flip(-1)


def _recursion(x, feedback):
    """y_0 = x_0, y_n = (1 - a_n) x_n + a_n y_(n-1), in log2(n) steps: each doubles how far back y has been followed."""
    y = torch.cat([x[..., :1], (1 - feedback) * x[..., 1:]], -1)
    a, reach, n = feedback, 1, x.shape[-1]
    while reach < n:
        # y_n so far holds what reaches it over less than `reach` pixels; a[..., n - reach] is the product of the feedbacks over them
        y = torch.cat([y[..., :reach], y[..., reach:] + a * y[..., :-reach]], -1)
        a = a[..., reach:] * a[..., :-reach]
        reach *= 2
    return y
