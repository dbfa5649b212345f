"""Values as they are, or light decoded by the curve of sRGB: which restores captured photographs better?

    python bench/linear_light.py        prints the table and writes it into docs/quality.md

Captured pairs of the development data (SVCONV_DATA, by default ../shared/data beside the checkout): Levin et al. 2009 with their measured
kernels and with estimated ones, GoPro with estimated ones.
"""
import argparse
import math
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

from bench import blind, development_data, pages
from svconv.cli import deblur, strength
from svconv.data import degrade, estimate_noise, read_grey
from svconv.data.pairs import valid_convolution
from svconv.files.picture import decoded, encoded
from svconv.models import find_blur

SECTION = "linear"
WAYS = ("the photograph itself", "values", "light", "kernel of the values, light restored")
SIDE = 512          # of the crops of GoPro
TASKS = ("captured: Levin, measured kernel", "captured: Levin, blind", "captured: GoPro, blind", "made: light blurred, noise 1 %",
         "made: light blurred, noise 0.2 %")


def levin(data):
    """(sharp, blurry, kernel) of the eight pairs; the stored kernel correlates, so it is turned by 180 degrees."""
    from scipy.io import loadmat

    for path in sorted((data / "pairs" / "levin09").glob("im*_ker*.mat")):
        fields = loadmat(path)
        sharp, blurry = (torch.from_numpy(fields[n].copy()).float()[None, None] for n in "xy")
        kernel = torch.from_numpy(fields["f"][::-1, ::-1].copy()).float()
        yield sharp, blurry, kernel / kernel.sum()


def gopro(data):
    """(sharp, blurry) grey crops of both pairs."""
    names = sorted(path.name for path in (data / "pairs" / "gopro").iterdir())
    for first, second in zip(names[::2], names[1::2]):
        grey = {name: torch.from_numpy(read_grey(data / "pairs" / "gopro" / name).astype(np.float32)) / 255 for name in (first, second)}
        top, left = ((s - SIDE) // 2 for s in grey[first].shape)
        crop = {name: image[top:top + SIDE, left:left + SIDE][None, None] for name, image in grey.items()}
        blurry = first if "blur" in first.lower() or "_gt" in second.lower() else second
        yield crop[second if blurry == first else first], crop[blurry]


def made(data, noise):
    """(sharp, blurry, kernel): photographs whose light was blurred, then encoded with noise in 8 bits."""
    kernel = torch.from_numpy(np.load(data / "kernels" / "levin09" / "levin09_k1.npy").copy()).float()
    generator, half = torch.Generator().manual_seed(3), kernel.shape[0] // 2
    for path in sorted((data / "images" / "kodak24").iterdir()):
        x = torch.from_numpy(read_grey(path).astype(np.float32))[60:380, 60:380] / 255
        y = degrade(encoded(valid_convolution(decoded(x), kernel))[None, None], gaussian=noise, generator=generator)
        yield x[half:-half, half:-half][None, None], (y.clamp(0, 1) * 255).round() / 255, kernel


def psnr(x, truth):
    inner = truth[..., blind.MARGIN:-blind.MARGIN, blind.MARGIN:-blind.MARGIN]
    return -10 * math.log10(blind.smallest_error(x, truth) / inner.numel())


def restore(y, kernel, estimated):
    """As `svconv deblur` does it, with the strength of --reg auto."""
    reg = strength.strength("irls", float(estimate_noise(y)), estimated)
    return deblur.restore_plane(y, kernel[None, None], "irls", reg, None)


@torch.no_grad()
def measured(sharp, blurry, kernel=None):
    """PSNR of every one of `WAYS`; kernel: the known one, None: it is estimated."""
    def found(y):
        return find_blur(y, force=True).kernel if kernel is None else kernel

    light, known = decoded(blurry), found(blurry)
    results = (blurry, restore(blurry, known, kernel is None), encoded(restore(light, found(light), kernel is None)),
               encoded(restore(light, known, kernel is None)))
    return [psnr(x, sharp) for x in results]


def table(rows):
    """Markdown; rows: {task: [PSNR of every way, one list for each pair]}."""
    lines = ["| mean PSNR, dB | pairs | " + " | ".join(WAYS) + " | light ahead of values on |",
             "| --- | ---: |" + " ---: |" * (len(WAYS) + 1)]
    for task, values in rows.items():
        values = np.array(values)
        lines.append(f"| {task} | {len(values)} | " + " | ".join(f"{v:.2f}" for v in values.mean(0))
                     + f" | {int((values[:, 2] > values[:, 1]).sum())} |")
    return "\n".join(lines)


def section(rows):
    return f"""## Light or values

Written by `python bench/linear_light.py`. Blur acts on light, and the values of a photograph are its light under a curve. `--linear`
decodes them by the curve of sRGB, restores, and encodes again; a camera's own curve is another one. Grey, irls, strength of `--reg auto`,
best integer shift within {blind.REACH} pixels, {blind.MARGIN} pixels left out at each border; GoPro: central {SIDE} x {SIDE} crops; made:
Kodak crops of 320 pixels under the first of Levin's kernels, which is known, 8 bits. On every captured pair the values are ahead, so
`--no-linear` is the default; `--linear` is for photographs with little noise whose curve is that of sRGB.

{table(rows)}"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "quality.md")
    arguments = parser.parse_args()
    data = development_data.folder("bench/linear_light.py", "pairs/levin09", "pairs/gopro", "images/kodak24", "kernels/levin09")
    rows = {task: [] for task in TASKS}
    for sharp, blurry, kernel in levin(data):
        rows[TASKS[0]].append(measured(sharp, blurry, kernel))
        rows[TASKS[1]].append(measured(sharp, blurry))
        print(*(f"{v:.2f}" for v in rows[TASKS[0]][-1] + rows[TASKS[1]][-1]))
    rows[TASKS[2]] = [measured(*pair) for pair in gopro(data)]
    for task, noise in zip(TASKS[3:], (0.01, 0.002)):
        rows[task] = [measured(*case) for case in made(data, noise)]
    print(table(rows))
    pages.fill(arguments.output, SECTION, section(rows), "Quality")


if __name__ == "__main__":
    main()
