"""The pictures of docs/quality.md: the package's photograph (CC0) blurred by a lens and by a camera that shifts and rolls, and restored.

    python bench/eff_pictures.py                    writes docs/eff-lens.jpg and docs/eff-shake.jpg and prints their PSNR
    python bench/eff_pictures.py --output FOLDER    elsewhere
"""
import argparse
import math
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

from bench import shake_scenes
from svconv import Conv, EFFBlur, EFFGrid, MotionBasis, eff_conv, eff_image_quotient, solvers
from svconv.cli.demo import photograph
from svconv.data import degrade, motion_poses
from svconv.models import LearningToDeblur

NOISE, MARGIN = 0.01, 32
KNOWN, BLIND, BETA = 2e-3, 1e-2, 3e-2       # the strengths of `svconv deblur`
SHORT = dict(reweightings=2, cg_iter=60)    # likewise
LENS_GRID, LENS_SIZE = (5, 7), 25
SHAKE_GRID, SHAKE_SIZE, SHAKE_SEED = (3, 4), 17, 5


# blurs ----------------------------------------------------------------------------------------------------------------

def lens(grid, size=LENS_SIZE):
    """PSFs [1, R, size, size] of a lens with coma and astigmatism: a small spot in the middle; towards the corners a tail that points
    outwards (five pixels wide bundles of rays, further out the wider they are) and a spot that grows along the radius."""
    centre = torch.tensor([(n - 1) / 2 for n in grid.image_size], dtype=torch.float64)
    places = (grid.centers - centre) / centre.norm()
    offsets = torch.arange(size, dtype=torch.float64) - size // 2
    down, right = offsets[:, None], offsets[None, :]
    found = []
    for row, column in places.tolist():
        radius = math.hypot(row, column)
        along_row, along_column = (row / radius, column / radius) if radius else (1.0, 0.0)
        along, across = down * along_row + right * along_column, right * along_row - down * along_column
        psf = torch.zeros(size, size, dtype=torch.float64)
        for t in torch.linspace(0, 1, 12).tolist():
            wide, long = 0.8 + 2.4 * radius * t, 0.8 + 1.6 * radius * radius + 1.2 * radius * t
            psf += torch.exp(-0.5 * (((along - 8 * radius * radius * t) / long) ** 2 + (across / wide) ** 2)) / (wide * long)
        found.append(psf / psf.sum())
    return torch.stack(found)[None].float()


def shake(grid, seed=SHAKE_SEED):
    """The kernels of a random path of shifts and turns."""
    basis = MotionBasis.default(grid, SHAKE_SIZE)
    return basis.kernels(motion_poses(basis, generator=torch.Generator().manual_seed(seed)))


# restorations: {title: image [1, 3, H, W]} and the kernels that are drawn ------------------------------------------------

def noisy(y):
    return degrade(y, gaussian=NOISE, generator=torch.Generator().manual_seed(0))


def lens_panels(truth, patches=LENS_GRID):
    grid = EFFGrid(tuple(truth.shape[-2:]), patches)
    psfs = lens(grid)
    y = noisy(eff_conv(truth, psfs, grid, padding="symmetric"))
    middle = psfs[:, grid.patches // 2][:, None]
    return {"blurred": y,
            "the PSF of the middle": solvers.irls(Conv(middle), y, reg=KNOWN, **SHORT).x,
            "a PSF per patch, quotient": eff_image_quotient(y, psfs, grid, beta=BETA),
            "a PSF per patch, irls": solvers.irls(EFFBlur(psfs, grid), y, reg=KNOWN, border="replicate", **SHORT).x,
            "truth": truth}, [("PSFs", psfs, grid)]


def shake_panels(truth, patches=SHAKE_GRID):
    grid = EFFGrid(tuple(truth.shape[-2:]), patches)
    kernels, model = shake(grid), LearningToDeblur.from_pretrained("ltd-17").eval()
    y = noisy(eff_conv(truth, kernels, grid, padding="symmetric"))
    grey = shake_scenes.luminance(y)
    with torch.no_grad():
        found, uniform = model.estimate_varying(grey, grid).kernels, model(grey).kernel[:, None]

    def restored(k, reg):
        return solvers.irls(EFFBlur(k, grid), y, reg=reg, border="replicate", **SHORT).x

    return {"blurred": y,
            "blind, one kernel": solvers.irls(Conv(uniform), y, reg=BLIND, **SHORT).x,
            "blind, a kernel per patch": restored(found, BLIND),
            "the true kernels": restored(kernels, KNOWN),
            "truth": truth}, [("true", kernels, grid), ("found", found, grid)]


# drawing --------------------------------------------------------------------------------------------------------------

COLUMNS, WIDTH, GAP, BAR, DETAIL = 3, 360, 8, 26, 72    # width of a panel, between panels, height of a title; side of a detail
PLACES = (0.16, 0.12), (0.62, 0.57)         # centres of the details, fractions of height and width


def as_image(x):
    from PIL import Image

    return Image.fromarray(np.rint(x[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255).astype(np.uint8))


def panel(title, x):
    """A photograph with its title above and two magnified details below."""
    from PIL import Image, ImageDraw

    height, width = x.shape[-2:]
    tall, zoomed, scale, photo = WIDTH * height // width, (WIDTH - GAP) // 2, WIDTH / width, as_image(x)
    canvas = Image.new("RGB", (WIDTH, BAR + tall + GAP + zoomed), "white")
    draw = ImageDraw.Draw(canvas)
    written(draw, 0, title)
    canvas.paste(photo.resize((WIDTH, tall), Image.Resampling.LANCZOS), (0, BAR))
    for j, (row, column) in enumerate(PLACES):
        top, left = int(row * height) - DETAIL // 2, int(column * width) - DETAIL // 2
        detail = photo.crop((left, top, left + DETAIL, top + DETAIL))
        canvas.paste(detail.resize((zoomed, zoomed), Image.Resampling.NEAREST), (j * (WIDTH - zoomed), BAR + tall + GAP))
        draw.rectangle([left * scale, BAR + top * scale, (left + DETAIL) * scale, BAR + (top + DETAIL) * scale], outline="yellow")
    return canvas


def kernels_panel(kernels, size):
    """[(title, kernels, grid)] below each other, as `svconv psf` draws them."""
    from PIL import Image, ImageDraw

    from svconv.cli.psf import drawn

    canvas = Image.new("RGB", size, "white")
    draw, room = ImageDraw.Draw(canvas), size[1] // len(kernels)
    for i, (title, k, grid) in enumerate(kernels):
        written(draw, i * room, title)
        picture = Image.fromarray(drawn(k.numpy(), grid.grid)[..., 0]).convert("RGB")
        scale = min(size[0] / picture.width, (room - BAR - GAP) / picture.height)
        canvas.paste(picture.resize((int(picture.width * scale), int(picture.height * scale)), Image.Resampling.BOX), (0, i * room + BAR))
    return canvas


def written(draw, top, title):
    from PIL import ImageFont

    draw.text((0, top + BAR // 2), title, fill="black", font=ImageFont.load_default(size=16), anchor="lm")


def sheet(panels, kernels, notes):
    """Photographs in rows of three, the kernels in the last place."""
    from PIL import Image

    found = [panel(f"{title}   {notes.get(title, '')}".rstrip(), x) for title, x in panels.items()]
    found.append(kernels_panel(kernels, found[0].size))
    wide, tall = (n + GAP for n in found[0].size)
    canvas = Image.new("RGB", (GAP + COLUMNS * wide, GAP + -(-len(found) // COLUMNS) * tall), "white")
    for i, picture in enumerate(found):
        canvas.paste(picture, (GAP + i % COLUMNS * wide, GAP + i // COLUMNS * tall))
    return canvas


def psnr(x, truth):
    """After the best common whole-pixel shift up to 4 pixels, the border left out."""
    return shake_scenes.psnr(x, truth)


PICTURES = {"eff-lens": lens_panels, "eff-shake": shake_panels}


def make(name, truth, path, quality=80):
    """Writes the JPEG and returns {title: PSNR}."""
    from svconv.files.outputs import replacing

    panels, kernels = PICTURES[name](truth)
    found = {title: psnr(x, truth) for title, x in panels.items() if title != "truth"}
    canvas = sheet(panels, kernels, {title: f"{value:.2f} dB" for title, value in found.items()})
    with replacing(path) as file:
        canvas.save(file, "JPEG", quality=quality, optimize=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="the folder (default: docs)")
    arguments = parser.parse_args()
    picture = photograph()
    truth = torch.cat([picture.plane(c) for c in range(3)], 1)
    for name in PICTURES:
        path = arguments.output / f"{name}.jpg"
        for title, value in make(name, truth, path).items():
            print(f"{path.name}   {title:28s} {value:.2f} dB")


if __name__ == "__main__":
    main()
