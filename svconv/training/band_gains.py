"""How much a blur leaves of each band of frequencies, measured in a pair of images."""
import functools
import math

import torch

RINGS, SECTORS = 5, 4
FLOOR = 1e-3        # of the sharp image's mean power, added to both powers


def band_gains(x, y):
    """log of the power of y over that of x, in rings of doubling frequency and sectors of direction.

    x, y [B, C, H, W], sharp and blurry -> [B, 20], float32: of the mean of the channels, under a Hann window, rings from 2^-6 to 1/2 cycles
    per pixel, sectors of 45 degrees. Nothing of the blur's phase is in it, so that it needs no alignment and holds for blur that varies.
    """
    bands, window = _bands(x.shape[-2], x.shape[-1], x.device)
    powers = []
    for image in (x, y):
        grey = image.float().mean(1)
        spectrum = torch.fft.rfft2((grey - grey.mean((1, 2), keepdim=True)) * window)
        powers.append(spectrum.abs().square().flatten(1) @ bands)
    floor = FLOOR * powers[0].mean(1, keepdim=True) + 1e-12
    return torch.log((powers[1] + floor) / (powers[0] + floor))


@functools.lru_cache(maxsize=8)
def _bands(height, width, device):
    """([frequencies of a half spectrum, bands] of 0 and 1, the window [H, W])."""
    rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
    radius = (rows.square() + columns.square()).sqrt().clamp_min(1e-9)
    ring = (torch.log2(radius) + 6).floor().long()
    sector = ((torch.atan2(rows.expand_as(radius), columns.expand_as(radius)) / math.pi + 0.5) * SECTORS).round().long() % SECTORS
    place = torch.where((ring >= 0) & (ring < RINGS) & (radius <= 0.5), ring * SECTORS + sector, RINGS * SECTORS)
    bands = torch.nn.functional.one_hot(place.flatten(), RINGS * SECTORS + 1)[:, :-1].float()
    window = torch.hann_window(height, periodic=False)[:, None] * torch.hann_window(width, periodic=False)
    return bands.to(device), window.to(device)
