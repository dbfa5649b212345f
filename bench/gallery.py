"""Before and after of every command that makes a picture, on photographs that may be shown: docs/gallery.md and docs/gallery/*.jpg.

    python bench/gallery.py                    all cases, some minutes; writes docs/gallery/*.jpg and their sections of docs/gallery.md
    python bench/gallery.py --case blind       one of them; may be given again
    python bench/gallery.py --out FOLDER       elsewhere: FOLDER/gallery.md and FOLDER/gallery/

Every case writes its inputs (the photograph of the package, CC0, with a seeded degradation) into an empty folder and runs there the very
commands that the page shows. What the page says of the pictures stands outside of the sections and is kept.
"""
import argparse
import contextlib
import dataclasses
import functools
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

from bench import eff_pictures, pages
from svconv import EFFGrid, conv, eff_conv
from svconv.cli import main as svconv
from svconv.cli.demo import photograph
from svconv.data import motion_kernel, named_kernel
from svconv.files import read_image
from svconv.files.images import write_image
from svconv.files.kernels import write_kernel

MARGIN, REACH = 16, 8           # pixels left out at each border; the largest whole-pixel shift that the PSNR takes off
WINDOW = 150, 230               # rows and columns of a crop
ONE, TWO = ((120, 170),), ((40, 10), (120, 170))    # upper left corners of the crops
SKY, BACKGROUND, STARS = (160, 200), 100.0, 90


@dataclasses.dataclass(frozen=True)
class Case:
    """One section of the page.

    make() writes the inputs into the current folder; commands run there one after the other.
    panels: (title, file) from left to right; those of `scored` get their PSNR against truth.png. crops: what is shown of photographs.
    quoted: the lines of the output that begin so are shown too, without the seconds.
    """
    make: Callable
    commands: tuple
    panels: tuple
    scored: tuple = ()
    crops: tuple = ONE
    quoted: tuple = ()


# inputs ----------------------------------------------------------------------------------------------------------------

def pixels(picture):
    """[1, 3, H, W] in 0..1."""
    return torch.cat([picture.plane(min(c, picture.channels - 1)) for c in range(3)], 1)


def sharp(picture=None):
    """Writes truth.png; returns it."""
    picture = picture or photograph()
    write_image("truth.png", picture)
    return pixels(picture.with_white()[0])


def write(name, y, noise=0.0, seed=0):
    """8 bits, with white noise of that deviation."""
    y = y + noise * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))
    image = np.rint(y[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255).astype(np.uint8)
    picture = photograph().empty()
    picture.pixels = image
    write_image(name, picture)


def shaken(noise):
    """The photograph under one kernel of a hand that shakes: shaken.png and kernel.png."""
    kernel = motion_kernel(17, generator=torch.Generator().manual_seed(6))[0]
    write_kernel("kernel.png", kernel.numpy())
    write("shaken.png", conv(sharp(), kernel[None, None], padding="symmetric"), noise)


def out_of_focus(radius, noise):
    """The same disk everywhere: soft.png."""
    write("soft.png", conv(sharp(), named_kernel(f"disk:{radius}").float()[None, None], padding="symmetric"), noise)


def compressed():
    """Shaken without noise, as JPEG of quality 30."""
    from PIL import Image

    shaken(0)
    Image.open("shaken.png").save("shaken.jpg", quality=30)


def rolled():
    """A camera that shifted and rolled, a kernel for each of 3 x 4 patches."""
    by_patch(eff_pictures.SHAKE_GRID, eff_pictures.shake, "true.npy", "rolled.png")


def lens():
    """A computed lens with coma and astigmatism, a PSF for each of 5 x 7 patches."""
    by_patch(eff_pictures.LENS_GRID, eff_pictures.lens, "psfs.npy", "lens.png")


def by_patch(size, kernels_of, stored, name):
    """The photograph under kernels_of(grid), one for each patch of a grid of that size, which are stored beside it; noise of 1 %."""
    truth = sharp()
    grid = EFFGrid(tuple(truth.shape[-2:]), size)
    kernels = kernels_of(grid)
    np.save(stored, kernels.reshape(*grid.grid, *kernels.shape[-2:]).numpy())
    write(name, eff_conv(truth, kernels, grid, padding="symmetric"), 0.01)


def depth(noise=0.005):
    """Radii that grow from 0 at the left to 5 pixels at the right: radius.npy; soft.png is what `svconv defocus` makes of it, and noise."""
    height, width = sharp().shape[-2:]
    np.save("radius.npy", np.broadcast_to(np.linspace(0, 5, width, dtype=np.float32), (height, width)))
    svconv("defocus truth.png --map radius.npy -o soft.png --quiet".split())
    write("soft.png", pixels(read_image("soft.png").with_white()[0]), noise)


def pair_and_other():
    """A pair, blurred by a streak, and another photograph: a cat (Chelsea, CC0 by Stefan van der Walt, of scikit-image)."""
    import skimage
    from PIL import Image

    truth = sharp()
    write("blurry.png", conv(truth, named_kernel("motion:11:30").float()[None, None], padding="symmetric"))
    Image.open(Path(skimage.__file__).parent / "data" / "chelsea.png").save("cat.png")


def star_field():
    """Counts of stars under a PSF that widens and leans over the field, with the sky taken off and the noise of the light: sky.npy."""
    generator = torch.Generator().manual_seed(3)
    truth = torch.zeros(1, 1, *SKY)
    places = torch.rand(STARS, 2, generator=generator) * (torch.tensor(SKY) - 20.0) + 10
    for (row, column), light in zip(places.long().tolist(), torch.rand(STARS, generator=generator).tolist()):
        truth[0, 0, row, column] += 400 + 30000 * light**3
    grid = EFFGrid(SKY, (3, 4))
    psfs = torch.stack([elongated(1.1 + 0.3 * (i % 4), 1.1 + 0.2 * (i // 4)) for i in range(grid.patches)])
    y = eff_conv(truth, psfs[None], grid, padding="zeros").clamp_min(0) + BACKGROUND
    np.save("sky.npy", (torch.poisson(y, generator=generator) - BACKGROUND)[0, 0].numpy())
    np.save("stars.npy", truth[0, 0].numpy())


def elongated(sigma_x, sigma_y, size=25):
    """[size, size], a Gaussian of two widths, sum 1."""
    t = torch.arange(size, dtype=torch.float32) - size // 2
    k = torch.exp(-0.5 * (t / sigma_y) ** 2)[:, None] * torch.exp(-0.5 * (t / sigma_x) ** 2)
    return k / k.sum()


# cases -----------------------------------------------------------------------------------------------------------------

VERDICT = "verdict", "kernel", "score", "photograph"      # what begins the lines about a blur that is not known
CASES = {
    "demo": Case(lambda: None, ("svconv demo -o demo --quiet",),
                 (("blurred, a PSF per pixel", "demo/before.png"), ("restored", "demo/after.png"), ("truth", "demo/truth.png")),
                 ("demo/before.png", "demo/after.png"), TWO),
    "kernel": Case(functools.partial(shaken, 0.01),
                   ("svconv deblur shaken.png --kernel kernel.png -o irls.png",
                    "svconv deblur shaken.png --kernel kernel.png --method svmap -o svmap.png"),
                   (("shaken, 1 % noise", "shaken.png"), ("irls", "irls.png"), ("svmap", "svmap.png"), ("truth", "truth.png")),
                   ("shaken.png", "irls.png", "svmap.png")),
    "blind": Case(functools.partial(shaken, 0.005),
                  ("svconv deblur shaken.png --blind -o sharp.png --save-kernel found.png",
                   "svconv psf kernel.png --gamma 0.5 -o true-look.png", "svconv psf found.png --gamma 0.5 -o found-look.png"),
                  (("shaken, 0.5 % noise", "shaken.png"), ("restored", "sharp.png"), ("truth", "truth.png"),
                   ("kernel", "true-look.png"), ("found", "found-look.png")), ("shaken.png", "sharp.png"), ONE, VERDICT),
    "blind-grid": Case(rolled,
                       ("svconv deblur rolled.png --blind --grid 3x4 -o sharp.png --save-kernel grid.npy",
                        "svconv deblur rolled.png --blind -o one.png", "svconv psf grid.npy -o found-look.png",
                        "svconv psf true.npy -o true-look.png"),
                       (("shifted and rolled", "rolled.png"), ("a kernel per patch", "sharp.png"), ("one kernel", "one.png"),
                        ("kernels", "true-look.png"), ("found", "found-look.png")), ("rolled.png", "sharp.png", "one.png"), TWO),
    "psf-grid": Case(lens, ("svconv deblur lens.png --psf-grid psfs.npy -o quotient.png",
                            "svconv deblur lens.png --psf-grid psfs.npy --method irls -o irls.png",
                            "svconv psf psfs.npy -o psfs-look.png"),
                     (("blurred by a lens", "lens.png"), ("quotient", "quotient.png"), ("irls", "irls.png"), ("truth", "truth.png"),
                      ("PSFs", "psfs-look.png")), ("lens.png", "quotient.png", "irls.png"), TWO),
    "stars": Case(star_field, ("svconv psf --from-stars sky.npy --grid 3x4 --size 15 -o psfs.npy --picture look.png",
                               "svconv deblur sky.npy --psf-grid psfs.npy --method rl --background 100 -o sharp.npy"),
                  (("sky.npy", "sky.npy"), ("rl, measured PSFs", "sharp.npy"), ("the stars", "stars.npy"),
                   ("PSFs and residuals", "look.png")), (), ((5, 0),), ("psfs.npy", "sharp.npy")),
    "defocus": Case(depth, ("svconv defocus truth.png --map radius.npy -o made.png",
                            "svconv blurmap soft.png -o map.png --picture map-in-colours.png",
                            "svconv deblur soft.png --defocus-map radius.npy -o with-true-map.png",
                            "svconv deblur soft.png --defocus-map map.png --reg 3e-3 -o with-estimated-map.png"),
                    (("0 to 5 pixels, 0.5 % noise", "soft.png"), ("the true map", "with-true-map.png"),
                     ("the estimated map", "with-estimated-map.png"), ("truth", "truth.png"), ("estimated map", "map-in-colours.png")),
                    ("soft.png", "with-true-map.png", "with-estimated-map.png"), ((120, 170), (200, 360))),
    "transfer": Case(pair_and_other, ("svconv transfer --pair truth.png blurry.png --to cat.png -o blurred-cat.png",),
                     (("sharp", "truth.png"), ("blurred by a streak", "blurry.png"), ("another photograph", "cat.png"),
                      ("its blur put on it", "blurred-cat.png")), (), ((70, 130),)),
    "filters": Case(functools.partial(shaken, 0.01),
                    ("svconv filters shaken.png --kernel kernel.png --window 205,270,10,14 -o filters.png",),
                    (("filters of SVMAP", "filters.png"),)),
    "wrong-kernel": Case(functools.partial(out_of_focus, 3, 0.005),
                         ("svconv deblur soft.png --kernel disk:3 -o right.png", "svconv deblur soft.png --kernel disk:4.5 -o wide.png",
                          "svconv deblur soft.png --kernel disk:2 -o narrow.png"),
                         (("a disk of radius 3", "soft.png"), ("restored with 3", "right.png"), ("with 4.5", "wide.png"),
                          ("with 2", "narrow.png")), ("soft.png", "right.png", "wide.png", "narrow.png")),
    "noise": Case(functools.partial(shaken, 0.1), ("svconv deblur shaken.png --kernel kernel.png -o known.png",
                                                   "svconv deblur shaken.png --blind -o sharp.png"),
                  (("shaken, 10 % noise", "shaken.png"), ("the true kernel", "known.png"), ("blind", "sharp.png"), ("truth", "truth.png")),
                  ("shaken.png", "known.png", "sharp.png"), ONE, VERDICT),
    "jpeg": Case(compressed, ("svconv deblur shaken.jpg --kernel kernel.png -o sharp.png",
                              "svconv deblur shaken.jpg --kernel kernel.png --reg 0.01 -o smooth.png"),
                 (("JPEG of quality 30", "shaken.jpg"), ("the true kernel", "sharp.png"), ("--reg 0.01", "smooth.png"),
                  ("truth", "truth.png")), ("shaken.jpg", "sharp.png", "smooth.png"), ONE, ("sharp.png", "smooth.png")),
    "already-sharp": Case(sharp, ("svconv deblur truth.png --blind -o same.png", "svconv deblur truth.png --blind --force -o forced.png"),
                          (("sharp", "truth.png"), ("blind: unchanged", "same.png"), ("with --force", "forced.png")),
                          ("same.png", "forced.png"), ONE, VERDICT),
    "strong-defocus": Case(functools.partial(out_of_focus, 9, 0.005),
                           ("svconv deblur soft.png --blind -o sharp.png", "svconv deblur soft.png --kernel disk:9 -o known.png"),
                           (("a disk of radius 9", "soft.png"), ("blind", "sharp.png"), ("with disk:9", "known.png"),
                            ("truth", "truth.png")), ("soft.png", "sharp.png", "known.png"), ONE, VERDICT),
}


# drawing ---------------------------------------------------------------------------------------------------------------

def psnr(x, truth):
    """The largest over whole-pixel shifts, which a blind estimate leaves open; infinite where the bits are those of the truth."""
    height, width = truth.shape[-2:]
    inside = truth[..., MARGIN:height - MARGIN, MARGIN:width - MARGIN]
    least = min(float((x[..., MARGIN + i:height - MARGIN + i, MARGIN + j:width - MARGIN + j] - inside).square().mean())
                for i in range(-REACH, REACH + 1) for j in range(-REACH, REACH + 1))
    return -10 * float(np.log10(least)) if least else float("inf")


def opened(path):
    """As an RGB picture; an array of counts by its square root, up to 5,000."""
    from PIL import Image

    if path.endswith(".npy"):
        grey = np.sqrt(np.load(path).clip(0, 5000) / 5000)
        return Image.fromarray(np.rint(grey * 255).astype(np.uint8)).convert("RGB")
    return Image.open(path).convert("RGB")


def column(path, crops):
    """The crops of a photograph below each other; of a picture that is none (small, or drawn) all of it, to the same height."""
    from PIL import Image

    picture, gap = opened(path), eff_pictures.GAP
    tall = len(crops) * (WINDOW[0] + gap) - gap
    if path.endswith(("-look.png", "look.png", "in-colours.png", "filters.png")):
        scale = tall / picture.height if "filters" not in path else 900 / picture.width
        kind = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
        return picture.resize((int(picture.width * scale), int(picture.height * scale)), kind)
    canvas = Image.new("RGB", (min(WINDOW[1], picture.width), tall), "white")
    for i, (top, left) in enumerate(crops):
        canvas.paste(picture.crop((left, top, left + canvas.width, top + WINDOW[0])), (0, i * (WINDOW[0] + gap)))
    return canvas


def strip(case, scores):
    """The panels from left to right, each with its title and PSNR above."""
    from PIL import Image, ImageDraw

    gap, bar = eff_pictures.GAP, eff_pictures.BAR
    columns = [column(path, case.crops) for _, path in case.panels]
    canvas = Image.new("RGB", (sum(c.width + gap for c in columns) + gap, max(c.height for c in columns) + bar + gap), "white")
    draw, left = ImageDraw.Draw(canvas), gap
    for (title, path), picture in zip(case.panels, columns):
        titled(draw, left, f"{title}  {decibels(scores[path])}" if path in scores else title)
        canvas.paste(picture, (left, bar))
        left += picture.width + gap
    return canvas


def titled(draw, left, text):
    from PIL import ImageFont

    draw.text((left, eff_pictures.BAR // 2), text, fill="black", font=ImageFont.load_default(size=14), anchor="lm")


def decibels(value):
    return f"{value:.2f} dB" if np.isfinite(value) else "bit for bit"


# the page --------------------------------------------------------------------------------------------------------------

def run(case):
    """(output of the commands, {file: PSNR}) of a case in the current folder."""
    case.make()
    said = io.StringIO()
    for command in case.commands:
        with contextlib.redirect_stdout(said):
            if svconv(shlex.split(command)[1:]):
                raise RuntimeError(f"{command} failed: {said.getvalue()}")
    truth = "demo/truth.png" if case.crops is TWO and os.path.isdir("demo") else "truth.png"
    return said.getvalue(), {path: psnr(*(pixels(read_image(p).with_white()[0]) for p in (path, truth))) for path in case.scored}


def section(name, case, said, scores):
    """The commands, what they said, the picture and its numbers."""
    titles = {path: title for title, path in case.panels}
    lines = [re.sub(r", [\d.]+ s$", "", line.rstrip()) for line in said.splitlines() if case.quoted and line.startswith(case.quoted)]
    found = ["```sh", *case.commands, "```", "", *(["```text", *lines, "```", ""] if lines else []),
             f"![{', '.join(title for title, _ in case.panels)}](gallery/{name}.jpg)"]
    if scores:
        found += ["", "| " + " | ".join(titles[p] for p in scores) + " |", "|" + " ---: |" * len(scores),
                  "| " + " | ".join(map(decibels, scores.values())) + " |"]
    return "\n".join(found)


def make(name, folder, quality=85):
    """Runs a case, writes its picture and its section, prints its numbers."""
    from svconv.files.outputs import make_folder, replacing

    case, here = CASES[name], os.getcwd()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        try:
            said, scores = run(case)
            canvas = strip(case, scores)
        finally:
            os.chdir(here)
    make_folder(folder / "gallery")
    with replacing(folder / "gallery" / f"{name}.jpg") as file:
        canvas.save(file, "JPEG", quality=quality, optimize=True)
    pages.fill(folder / "gallery.md", f"gallery:{name}", section(name, case, said, scores), "Gallery")
    print(f"{name:16s} " + "  ".join(f"{path} {decibels(value)}" for path, value in scores.items()), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="the folder of gallery.md (default: docs)")
    parser.add_argument("--case", action="append", choices=list(CASES), help="only this one; may be given again")
    arguments = parser.parse_args()
    for name in arguments.case or CASES:
        make(name, arguments.out.resolve())


if __name__ == "__main__":
    main()
