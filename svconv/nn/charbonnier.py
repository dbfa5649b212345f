"""The Charbonnier loss: a distance between images that is smooth where they are equal."""
from torch import nn

from svconv._shapes import image_pair, number

REDUCTIONS = ("mean", "sum")


class CharbonnierLoss(nn.Module):
    """The absolute difference of two images, rounded off at zero.

        loss = sum_p sqrt((x_p - y_p)^2 + eps)        "sum";  divided by the number of values for "mean"

    Args:
        eps: > 0; the loss of equal values is its root.
        reduction: "mean" or "sum", over pixels, channels and images.

    Shapes:
        forward(x, y [B, C, H, W]) -> a number. bfloat16 and float16 are computed in float32, and so is the result.

    Raises:
        ValueError, TypeError: naming the argument; shapes, dtypes or devices that differ.

    Gradients of every order through autograd. Bit-identical from run to run with a fixed number of threads. Memory: about two images.
    Encoded blur kernel space (2021), the loss of its training with "sum".

    >>> import torch, svconv
    >>> loss, x = svconv.nn.CharbonnierLoss(), torch.zeros(1, 1, 2, 2)
    >>> round(float(loss(x, x)), 6), round(float(loss(x, x + 0.5)), 6)
    (0.001, 0.500001)
    """

    def __init__(self, eps=1e-6, *, reduction="mean"):
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction: expected one of {', '.join(REDUCTIONS)}, got {reduction!r}")
        self.eps, self.reduction = number("eps", eps, above=0), reduction

    def forward(self, x, y):
        x, y = image_pair(x, y)
        values = ((x - y).square() + self.eps).sqrt()
        return values.mean() if self.reduction == "mean" else values.sum()

    def extra_repr(self):
        return f"eps={self.eps:g}, reduction={self.reduction!r}"
