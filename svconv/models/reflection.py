"""A convolution whose border is reflected, on any size."""
import torch
from torch import nn
from torch.nn import functional

from svconv._boundary import source_indices


class ReflectedConv2d(nn.Conv2d):
    """A convolution that keeps the size, the border continued by reflection, on any size as `numpy.pad` does: a side of one pixel goes on
    by itself, as the code of a small image has."""

    def __init__(self, inputs, outputs, size, bias=True):
        super().__init__(inputs, outputs, size, bias=bias)
        self.reach = size // 2

    def forward(self, x):
        return super().forward(reflected(x, self.reach))


def reflected(x, reach):
    """x [B, C, H, W] with so many more pixels on each side."""
    if min(x.shape[-2:]) > reach:
        return functional.pad(x, (reach,) * 4, mode="reflect")
    rows, columns = (torch.from_numpy(source_indices(-reach, side + reach, side, "reflect")).to(x.device) for side in x.shape[-2:])
    return x[:, :, rows[:, None], columns]
