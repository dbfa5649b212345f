"""The weight of the prior that a picture itself speaks for: `beta="auto"` of `svconv.solvers.wiener`."""
import torch

from svconv._plane import image_plane
from svconv.operators.division import power, prior_power, transform

DECADES = -10.0, 3.0                        # between which beta is looked for
ROUNDS = (27, 9, 9, 9)                      # how many values are looked at; each round between the neighbours of the best so far


def automatic_beta(op, y, prior, windowed):
    """beta [B] of the largest marginal likelihood, dtype of y, without a gradient; of a sample's channels together.

    Noise is white, of variance s, and the image has independent frequencies of variance s / (beta sum_j |D_j|^2): so every frequency of y
    is a normal number of variance `s (|K|^2 / (beta sum_j |D_j|^2) + 1)`. The best s of a beta is known; beta is searched. The mean of the
    image says nothing and is left out.

    windowed: the image does not go on as on a torus, so that it is faded out towards its edges.
    """
    with torch.no_grad():
        size = tuple(y.shape[-2:])
        circular = op.on(image_plane(size)) if op.maps == (None, None) else None
        if circular is None or circular.spectrum is None:
            raise ValueError(f"beta: expected a number, because \"auto\" is for convolutions such as svconv.Conv, not {op!r}")
        double = y.detach().double()
        seen = power(transform(_faded(double) if windowed else double))
        smooth = torch.as_tensor(prior_power(prior, size, y), dtype=torch.float64, device=y.device)
        ratio = torch.where(smooth > 0, power(circular.spectrum.detach()).double() / smooth, 0)
        weights = _weights(size, smooth)
        if ratio.shape[1] == 1:
            seen = seen.mean(1, keepdim=True)
        return _searched(seen, ratio, weights).to(y.dtype)


def _faded(y):
    """Times a Hann window, without the mean that is seen through it."""
    rows, columns = (torch.sin(torch.pi * (torch.arange(n, dtype=y.dtype, device=y.device) + 0.5) / n).square() for n in y.shape[-2:])
    window = rows[:, None] * columns
    return window * (y - (window * y).sum((-2, -1), keepdim=True) / window.sum())


def _weights(size, smooth):
    """How often a frequency of the half spectrum stands in the whole, in parts of all; 0 for the mean and what the prior does not see."""
    columns = torch.full((size[1] // 2 + 1,), 2.0, dtype=torch.float64, device=smooth.device)
    columns[0] = 1
    if size[1] % 2 == 0:
        columns[-1] = 1
    weights = (smooth > 0) * columns.expand(size[0], -1).clone()
    weights[0, 0] = 0
    return weights / weights.sum().clamp_min(1)


def _searched(seen, ratio, weights):
    """[B]"""
    low, high = (seen.new_full((seen.shape[0],), decade) for decade in DECADES)
    for count in ROUNDS:
        steps = torch.linspace(0, 1, count, dtype=torch.float64, device=seen.device)
        decades = low + (high - low) * steps[:, None]
        costs = torch.stack([_cost(seen, ratio, weights, at) for at in decades])
        best = costs.argmin(0)
        step = (high - low) / (count - 1)
        middle = decades.gather(0, best[None])[0]
        low, high = ((middle + sign * step).clamp(*DECADES) for sign in (-1, 1))
    return 10 ** middle


def _cost(seen, ratio, weights, decades):
    """Minus the logarithm of the likelihood per frequency, of the best variance of the noise, [B]."""
    spread = ratio / (10 ** decades).reshape(-1, 1, 1, 1) + 1
    variance = (weights * seen / spread).sum((-2, -1)).mean(1)
    return variance.clamp_min(torch.finfo(torch.float64).tiny).log() + (weights * spread.log()).sum((-2, -1)).mean(1)
