"""Weights that make an untrained net the l2 solve: one delta for the data term, five derivative filters for the prior."""
import math

import torch

from svconv._shapes import number
from svconv.solvers.derivatives import FILTERS

SMALL = 0.02        # factor of the last weights, beside the biases that make the start
STRENGTH = 0.002    # of the l2 prior at the start
GAIN = 10.0         # of the first weights of what sees the residual, which is as small as the noise


def delta_bank(filters, size):
    """[filters, size, size]: a delta, and zeros."""
    bank = torch.zeros(filters, size, size)
    bank[0, (size - 1) // 2, (size - 1) // 2] = 1
    return bank


def derivative_bank(filters, size, strength=STRENGTH):
    """[filters, size, size]: the derivatives x, y, xx, yy and xy of the prior of `svconv.solvers.irls`, in turn until there are `filters`,
    with `sum_j |g_j * x|^2 = strength sum_d |d * x|^2`. Those that do not fit into the size are left out; where none does, it is a delta."""
    fitting = [taps for taps in FILTERS.values() if max(max(t[:2]) for t in taps) < size]
    if not fitting:
        return math.sqrt(strength) * delta_bank(filters, size)
    names = [fitting[i % len(fitting)] for i in range(filters)]
    bank = torch.zeros(filters, size, size)
    for place, taps in zip(bank, names):
        scale = math.sqrt(strength / names.count(taps))
        for row, column, coefficient in taps:
            middle = (size - 1) // 2
            shift = 1 if max(max(t[:2]) for t in taps) > size // 2 else 0       # centre what is wider than half the window
            place[middle + row - shift, middle + column - shift] = scale * coefficient
    return bank


@torch.no_grad()
def start_from(predictor, bank, gain=1.0):
    """Makes `bank` [filters, size, size] what a `FilterPredictor` predicts for every pixel and colour, up to small differences by which it
    begins to learn."""
    last, first = predictor.layers[-1], predictor.layers[0]
    last.weight.mul_(SMALL)
    last.bias.mul_(SMALL).add_(bank.expand(predictor.channels, *bank.shape).flatten())
    first.weight.mul_(number("gain", gain, above=0))
