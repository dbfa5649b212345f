"""One list of operators to try: certify, tests and benchmarks read it; a new family adds an entry."""
from collections.abc import Callable
from typing import NamedTuple

import torch

from svconv import operators
from svconv.ops import EFFGrid


class Example(NamedTuple):
    """An operator on an awkward shape.

    Attributes:
        name: as a table prints it. make: padding -> the operator, float64. shape: of its input; None where its tensors fix it.
    """

    name: str
    make: Callable[[str], "operators.Operator"]
    shape: "tuple | None"


def _random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _radii(largest, *shape):
    return largest * torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


EXAMPLES = [
    Example("PixelFilter 5x4, shared by channels", lambda p: operators.PixelFilter(_random(1, 5, 4, 31, 26), padding=p), (2, 3, 31, 26)),
    Example("PixelFilter 3x5, M = 4, per channel", lambda p: operators.PixelFilter(_random(2, 3, 4, 3, 5, 23, 30), padding=p), None),
    Example("PixelFilter 9x11 on 5x4", lambda p: operators.PixelFilter(_random(1, 9, 11, 5, 4), padding=p), None),
    Example("PixelFilter 4x5 scatter, M = 2, per channel",
            lambda p: operators.PixelFilter(_random(2, 3, 2, 4, 5, 11, 14), padding=p, form="scatter"), None),
    Example("PixelFilter 8x7 scatter on 5x4", lambda p: operators.PixelFilter(_random(1, 8, 7, 5, 4), padding=p, form="scatter"),
            (2, 3, 5, 4)),
    Example("Conv 7x6", lambda p: operators.Conv(_random(1, 1, 7, 6), padding=p), (2, 3, 33, 28)),
    Example("Conv 9x8 on 5x4, per channel", lambda p: operators.Conv(_random(1, 3, 9, 8), padding=p), (1, 3, 5, 4)),
    Example("EFFBlur 4x5, shared by channels",
            lambda p: operators.EFFBlur(_random(1, 6, 4, 5), EFFGrid((23, 26), (2, 3)), padding=p), (2, 3, 23, 26)),
    Example("EFFBlur 6x3 gather, per channel",
            lambda p: operators.EFFBlur(_random(2, 3, 4, 6, 3), EFFGrid((19, 14), (4, 1), overlap=0.7), form="gather", padding=p), None),
    Example("EFFBlur 9x8 on 5x4",
            lambda p: operators.EFFBlur(_random(1, 20, 9, 8), EFFGrid((5, 4), (5, 4), overlap=0), padding=p), None),
    Example("DiskBlur up to 3.2, shared by channels",
            lambda p: operators.DiskBlur(_radii(3.2, 1, 1, 19, 22), padding=p), (2, 3, 19, 22)),
    Example("DiskBlur up to 2.4 scatter, per channel",
            lambda p: operators.DiskBlur(_radii(2.4, 2, 3, 17, 11), form="scatter", padding=p), None),
    Example("DiskBlur up to 7 on 5x4", lambda p: operators.DiskBlur(_radii(7, 1, 1, 5, 4), padding=p), None),
    Example("Conv @ PixelFilter",
            lambda p: operators.Conv(_random(1, 1, 4, 3), padding=p) @ operators.PixelFilter(_random(1, 3, 3, 16, 17), padding=p), None),
    Example("Conv + 0.5", lambda p: operators.Conv(_random(1, 1, 4, 5), padding=p) + 0.5 * operators.Identity(), (1, 2, 12, 11)),
    Example("stack of Conv and PixelFilter",
            lambda p: operators.stack([operators.Conv(_random(1, 1, 2, 5), padding=p),
                                       operators.PixelFilter(_random(1, 1, 2, 3, 3, 14, 9), padding=p)]), None),
]
