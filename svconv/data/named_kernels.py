"""Blur kernels by name: `gaussian:SIGMA`, `disk:RADIUS`, `motion:LENGTH:ANGLE`."""
import math

import torch

from svconv.ops.disk_kernel import disk_kernel

SHAPES = "gaussian:SIGMA, disk:RADIUS or motion:LENGTH:ANGLE"
LARGEST = 512.0             # pixels of a radius, a length or four sigma
_POINTS = 64                # of a streak for every pixel of its length


def is_named(text):
    """Whether a text is meant as a name of a kernel, not as that of a file."""
    return text.partition(":")[0] in _MAKERS and ":" in text


def named_kernel(text):
    """The blur kernel that a text names, as small as it can be.

    `gaussian:SIGMA`: the integral of a Gaussian over each pixel, up to 4 sigma. `disk:RADIUS`: the share of each pixel inside of a disk
    (`svconv.disk_kernel`). `motion:LENGTH:ANGLE`: a straight streak of LENGTH pixels, ANGLE in degrees from right towards up (default 0),
    every point spread over its four neighbours by bilinear weights.

    Args:
        text: the name; SIGMA, RADIUS and LENGTH in pixels, >= 0, at most 128, 512 and 512.

    Returns:
        float64 [kh, kw], odd sides, >= 0, sum 1, centre (kh // 2, kw // 2).

    Raises:
        ValueError: another name, or numbers that do not fit.

    Example:
        >>> named_kernel("motion:2").tolist()
        [[0.25, 0.5, 0.25]]
        >>> named_kernel("disk:1").shape, named_kernel("gaussian:0").tolist()
        (torch.Size([3, 3]), [[1.0]])
    """
    name, *numbers = text.split(":")
    if name not in _MAKERS or not 1 <= len(numbers) <= (2 if name == "motion" else 1):
        raise ValueError(f"kernel: expected {SHAPES}, got {text!r}")
    try:
        values = [float(part) for part in numbers]
    except ValueError:
        values = [math.nan]
    most = LARGEST / 4 if name == "gaussian" else LARGEST
    if not all(map(math.isfinite, values)) or not 0 <= values[0] <= most:
        raise ValueError(f"kernel: expected {SHAPES} with a number from 0 to {most:g} and an angle in degrees, got {text!r}")
    kernel = _MAKERS[name](*values)
    return kernel / kernel.sum()


def _gaussian(sigma):
    half = math.ceil(4 * sigma)
    edges = (torch.arange(2 * half + 2, dtype=torch.float64) - (half + 0.5)) / max(sigma, 1e-9)
    row = torch.special.ndtr(edges).diff()
    return row[:, None] * row


def _disk(radius):
    return disk_kernel(torch.tensor(radius, dtype=torch.float64), 2 * max(0, math.ceil(radius - 0.5)) + 1)


def _motion(length, angle=0.0):
    count = max(1, math.ceil(length * _POINTS))
    along = ((torch.arange(count, dtype=torch.float64) + 0.5) / count - 0.5) * length
    turn = math.radians(angle % 360)
    rows, half_rows = _spread(-along * math.sin(turn))
    columns, half_columns = _spread(along * math.cos(turn))
    kernel = torch.zeros(2 * half_rows + 1, 2 * half_columns + 1, dtype=torch.float64)
    for row, row_weight in rows:
        for column, weight in columns:
            kernel.index_put_((row, column), row_weight * weight, accumulate=True)
    return kernel


def _spread(position):
    """[(pixel, weight)] of the two pixels that share each position, counted from the first of a row of 2 half + 1; and half."""
    position = torch.where(position.abs() < 1e-9, 0.0, position)        # sin(pi) is no zero
    low = position.floor()
    half = int(position.abs().max().ceil())
    upper = position - low
    first = (low + half).long()
    return [(first, 1 - upper), ((first + 1).clamp_max(2 * half), upper)], half


_MAKERS = {"gaussian": _gaussian, "disk": _disk, "motion": _motion}
