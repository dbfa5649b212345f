"""The photographs, kernels and PSF grids that many tables are made of: a folder of its own, which cannot be handed on with the repository.

docs/development_data.md says what lies where in it. `folder` gives it to a program, or ends the program with one line that says what is
missing; `photograph_crops` is what the package itself has: its photograph (CC0) under seeded kernels.
"""
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAYOUT = "docs/development_data.md"


def place():
    """The folder that SVCONV_DATA names, by default ../shared/data beside the checkout."""
    return Path(os.environ.get("SVCONV_DATA", ROOT.parent / "shared" / "data"))


def missing(*needed):
    """Those of the needed folders, such as "kernels/levin09", that are not there or empty."""
    return [name for name in needed if not any((place() / name).glob("*"))]


def folder(program, *needed):
    """The folder of the data; where one of the needed folders is not in it the program ends: a line on stderr, exit status 2."""
    if absent := missing(*needed):
        print(f"{program}: {advice(absent)}", file=sys.stderr)
        sys.exit(2)
    return place()


def advice(absent):
    """The line about what is missing."""
    names = ", ".join(f"{name}/" for name in absent)
    return f"needs {names} of the development data, not found in {place()}; set SVCONV_DATA to a folder that is laid out as {LAYOUT} says"


def photograph_crops(side=224, noise=0.01, sizes=(11, 15, 19, 25)):
    """(name, sharp, blurred, kernel), the last three [1, 1, H, W]: grey crops of the package's photograph (CC0), each blurred by a
    sampled shake of its own size, with real light from outside of the crop, and white noise."""
    import torch

    from svconv.cli.demo import photograph
    from svconv.data import degrade, motion_kernel
    from svconv.data.pairs import valid_convolution

    picture = photograph()
    grey = sum(weight * picture.plane(c)[0, 0] for c, weight in enumerate((0.299, 0.587, 0.114)))
    generator, made = torch.Generator().manual_seed(5), []
    bottom, right = (n - side - max(sizes) + 1 for n in grey.shape)
    corners = (0, 60), (0, right), (bottom, 60), (bottom, right)
    for (top, left), size in zip(corners, sizes, strict=True):
        kernel = motion_kernel(size, generator=generator)[0]
        wide = grey[top:top + side + size - 1, left:left + side + size - 1]
        first = size - 1 - size // 2
        sharp = wide[first:first + side, first:first + side]
        blurred = degrade(valid_convolution(wide, kernel)[None, None], gaussian=noise, generator=generator)
        made.append((f"shake of {size} pixels", sharp[None, None], blurred, kernel[None, None]))
    return made
