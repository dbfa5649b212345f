"""PSF grids measured on stars: how near to the truth, cell by cell?

    python bench/star_psfs.py        prints the tables and writes them into docs/quality.md

Crowded fields are rendered from the PSF model of a DECam chip of the development data (SVCONV_DATA, by default ../shared/data beside the
checkout), whose 9 x 9 evaluation is the truth, with sky and noise; then `data.star_stamps` and `data.psf_grid` measure it.
"""
import argparse
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

from bench import development_data, pages
from svconv.data import psf_grid, star_stamps

SECTION = "stars"
SIDE, SKY, BOX = 1200, 200.0, 41        # pixels of a field; counts of its sky; side of the box that a star is moved in
FIELDS = {"300 stars": 300, "1,200 stars": 1200}
ORDER = 2


def truth(data):
    """[9, 9, 25, 25] float64, each of sum 1."""
    return torch.from_numpy(np.load(data / "psf_grids" / "decam_psfex" / "DECam_00154912_12_psfcat_grid9x9.npy").astype(np.float64))


def psf_at(grid, row, column):
    """The PSF [25, 25] at a place, bilinear between the middles of the cells."""
    (r, tr), (c, tc) = (_between(place, n) for place, n in ((row, grid.shape[0]), (column, grid.shape[1])))
    return ((1 - tr) * ((1 - tc) * grid[r, c] + tc * grid[r, c + 1]) + tr * ((1 - tc) * grid[r + 1, c] + tc * grid[r + 1, c + 1]))


def _between(place, cells):
    t = min(max(place / SIDE * cells - 0.5, 0), cells - 1)
    low = min(int(t), cells - 2)
    return low, t - low


def moved(psf, down, right):
    """The PSF in a box [BOX, BOX], moved by a fraction of a pixel in the Fourier domain."""
    box, low = torch.zeros(BOX, BOX, dtype=torch.float64), (BOX - psf.shape[0]) // 2
    box[low:low + psf.shape[0], low:low + psf.shape[1]] = psf
    f = torch.fft.fftfreq(BOX, dtype=torch.float64)
    turn = torch.exp(-2j * torch.pi * (down * f[:, None] + right * f))
    return torch.fft.ifft2(torch.fft.fft2(box) * turn).real


def field(grid, count, seed=0):
    """[SIDE, SIDE] counts: stars of 10^3 to 10^5.5 electrons, many faint ones, sky, the noise of the light."""
    generator, half = torch.Generator().manual_seed(seed), BOX // 2
    image = torch.full((SIDE, SIDE), SKY, dtype=torch.float64)
    places = torch.rand(count, 2, generator=generator, dtype=torch.float64) * (SIDE - 2 * half - 2) + half + 1
    lights = 10 ** (3 + 2.5 * torch.rand(count, generator=generator, dtype=torch.float64) ** 2)
    for (row, column), light in zip(places.tolist(), lights.tolist()):
        r, c = round(row), round(column)
        image[r - half:r + half + 1, c - half:c + half + 1] += light * moved(psf_at(grid, row, column), row - r, column - c)
    return torch.poisson(image.clamp_min(0), generator=generator)


def cell_errors(found, grid):
    """[9, 9]: the norm of the difference over that of the truth."""
    return ((found - grid).square().sum((2, 3)) / grid.square().sum((2, 3))).sqrt()


def measured(grid, count):
    """(how many stars served, errors [9, 9] of the fit, of one PSF for the field)"""
    image = field(grid, count)
    stars = star_stamps(image, size=grid.shape[-1])
    fits = [psf_grid(stars.stamps, stars.positions, (9, 9), image_size=(SIDE, SIDE), weights=stars.weights, order=order)
            for order in (ORDER, 0)]
    return len(stars.light), *(cell_errors(fit, grid) for fit in fits)


def table(rows):
    lines = ["| field | stars that serve | median cell | worst cell | one PSF for all: median | worst |",
             "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for name, (served, fit, flat) in rows.items():
        numbers = (fit.median(), fit.max(), flat.median(), flat.max())
        lines.append(f"| {name} | {served} | " + " | ".join(f"{100 * float(v):.1f} %" for v in numbers) + " |")
    return "\n".join(lines)


def by_cell(errors):
    """The errors of all cells."""
    rows = ("| " + " | ".join(f"{100 * float(v):.1f}" for v in row) + " |" for row in errors)
    return "\n".join(["|" + " |" * 9, "|" + " ---: |" * 9, *rows])


def section(rows, flat):
    median, worst = (f"{100 * float(v):.1f} %" for v in (flat.median(), flat.max()))
    return f"""## PSFs from stars

Written by `python bench/star_psfs.py`. Fields of {SIDE} x {SIDE} pixels with stars of 1,000 to 320,000 electrons under the PSF model of a
DECam chip (9 x 9 evaluations, bilinear between them), sky of {SKY:.0f} and Poisson noise; `star_stamps(size=25)`,
`psf_grid(order={ORDER})`. Error: norm of the difference to the true PSF over the norm of that. The true mean PSF everywhere would have
{median} in the median and {worst} in the worst cell: this chip varies little.

{table(rows)}

The field of 1,200 stars cell by cell, in %:

{by_cell(rows["1,200 stars"][1])}"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "quality.md")
    arguments = parser.parse_args()
    grid = truth(development_data.folder("bench/star_psfs.py", "psf_grids/decam_psfex"))
    grid = grid / grid.sum((2, 3), keepdim=True)
    rows = {name: measured(grid, count) for name, count in FIELDS.items()}
    print(table(rows), by_cell(rows["1,200 stars"][1]), sep="\n\n")
    pages.fill(arguments.output, SECTION, section(rows, cell_errors(grid.mean((0, 1), keepdim=True), grid)), "Quality")


if __name__ == "__main__":
    main()
