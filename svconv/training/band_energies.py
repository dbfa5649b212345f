"""The energy of an image in bands of frequency and direction, by place: what a code is asked about in the beginning of a training."""
import torch
from torch import nn
from torch.nn import functional

from svconv.nn import FilterBankFeatures

SCALES, DIRECTIONS = 4, 4
BANDS = SCALES * DIRECTIONS
FLOOR = 1e-6        # added to the mean squares


class BandEnergies(nn.Module):
    """log of the mean squared responses of a filter bank.

    forward(image [B, C, H, W], cells) -> [B, 16, rows, columns], float32: of the mean of the channels, at four scales in four directions,
    `nn.FilterBankFeatures`, averaged over each of `cells` (rows, columns) equal parts.
    """

    def __init__(self):
        super().__init__()
        self.bank = FilterBankFeatures(SCALES)

    def forward(self, image, cells):
        grey = image.float().mean(1, keepdim=True)
        energies = [functional.adaptive_avg_pool2d(maps[:, -DIRECTIONS:].square(), cells) for maps in self.bank(grey)]
        return torch.log(torch.cat(energies, 1) + FLOOR)
