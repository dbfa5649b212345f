"""Weights that make an untrained net the l2 solve: one delta for the data term, five derivative filters for the prior."""
import math

import torch
from torch.nn import functional

from svconv._shapes import number
from svconv.solvers.derivatives import FILTERS
from svconv.solvers.irls import levin_weights

SMALL = 0.02        # factor of the last weights, beside the biases that make the start
STRENGTH = 0.002    # of the l2 prior at the start
GAIN = 10.0         # of the first weights of what sees the residual, which is as small as the noise


def delta_bank(filters, size):
    """[filters, size, size]: a delta, and zeros."""
    bank = torch.zeros(filters, size, size)
    bank[0, (size - 1) // 2, (size - 1) // 2] = 1
    return bank


def derivative_names(filters, size):
    """The derivatives that `derivative_bank` holds, empty where none fits into the size."""
    fitting = [name for name, taps in FILTERS.items() if max(max(t[:2]) for t in taps) < size]
    return [fitting[i % len(fitting)] for i in range(filters)] if fitting else []


def reweighted_bank(x, filters, size, strength=STRENGTH):
    """[B, C, filters, size, size, H, W]: the derivatives with the weights that re-weighted least squares gives them for the image x, as the
    filters of a prior `sum_j |G_j x|^2`."""
    weights = levin_weights(x)
    maps = torch.stack([_edge_continued(weights[name], x.shape[-2:]) for name in derivative_names(filters, size)], 2).mul_(strength).sqrt_()
    return maps[:, :, :, None, None] * derivative_bank(filters, size, 1.0).to(x)[..., None, None]


def _edge_continued(t, size):
    """[B, C, *size] of derivatives that are missing in the last rows and columns."""
    return functional.pad(t, (0, size[1] - t.shape[-1], 0, size[0] - t.shape[-2]), mode="replicate")


def derivative_bank(filters, size, strength=STRENGTH):
    """[filters, size, size]: the derivatives x, y, xx, yy and xy of the prior of `svconv.solvers.irls`, in turn until there are `filters`,
    with `sum_j |g_j * x|^2 = strength sum_d |d * x|^2`. Those that do not fit into the size are left out; where none does, a delta."""
    names = derivative_names(filters, size)
    if not names:
        return math.sqrt(strength) * delta_bank(filters, size)
    bank = torch.zeros(filters, size, size)
    for place, name in zip(bank, names):
        taps, scale = FILTERS[name], math.sqrt(strength / names.count(name))
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
