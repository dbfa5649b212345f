"""The picture of docs/cli.md: the package's photograph (CC0), out of focus by a radius that grows to the right, and restored.

    python bench/defocus_pictures.py                    writes docs/defocus.jpg and prints the PSNR of its panels
    python bench/defocus_pictures.py --output FOLDER    elsewhere

What `svbr` restores is there once its weights are shipped.
"""
import argparse
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

from bench.eff_pictures import COLUMNS, GAP, panel, psnr
from svconv.cli import blurmap, defocus, defocus_map, map_picture
from svconv.cli.demo import photograph
from svconv.models import SVBRNet

LARGEST, NOISE = 5.0, 0.005     # pixels of radius at the right border; of 0..1
CAREFUL = 3e-3      # --reg with an estimated map


def tensor(picture):
    """[1, 3, H, W] in 0..1 of a Picture."""
    return torch.cat([picture.plane(c) for c in range(3)], 1)


def ramp(size):
    """[1, 1, H, W], from 0 at the left to LARGEST at the right."""
    return torch.linspace(0, LARGEST, size[1]).expand(1, 1, *size).contiguous()


def blurred(sharp, radius):
    """As `svconv defocus`, with noise, in 8 bits."""
    y = tensor(defocus.blurred(sharp, radius, quiet=True))
    y = y + NOISE * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    result = sharp.empty()
    for c in range(3):
        result.set_plane(c, y[:, c], sharp.white)
    return result


def restorations(y, true):
    """(title, image) of everything that is restored, and the estimated map."""
    found = torch.from_numpy(blurmap.estimated(y, quiet=True)[0])[None, None]
    runs = [("layered, true map", true, "layered", None), ("irls, true map", true, "irls", None),
            (f"layered --reg {CAREFUL:g}, estimated", found, "layered", CAREFUL)]
    model = None
    if SVBRNet.known_weights():
        model = SVBRNet.from_pretrained()
        runs += [("svbr, true map", true, "svbr", None), ("svbr, estimated map", found, "svbr", None)]
    images = [(title, tensor(defocus_map.restore(y, radius, method, reg or defocus_map.REG.get(method), model=model, quiet=True)))
              for title, radius, method, reg in runs]
    return images, found


def in_colours(radius):
    return torch.from_numpy(np.moveaxis(map_picture.coloured(radius[0, 0].numpy(), LARGEST), 2, 0)[None] / np.float32(255))


def make(sharp, path, quality=80):
    """Writes the JPEG and returns {title: PSNR}."""
    from PIL import Image

    from svconv.files.outputs import replacing

    true, truth = ramp(sharp.size), tensor(sharp)
    y = blurred(sharp, true)
    images, found = restorations(y, true)
    images = [("blurred", tensor(y)), *images]
    scores = {title: psnr(x, truth) for title, x in images}
    error = float((found - true).abs().mean())
    panels = [panel(f"{title}   {scores[title]:.2f} dB", x) for title, x in images]
    panels.insert(1, panel(f"true map, 0 to {LARGEST:g} pixels", in_colours(true)))
    panels += [panel(f"estimated map, {error:.2f} pixels off", in_colours(found)), panel("truth", truth)]
    wide, tall = (n + GAP for n in panels[0].size)
    canvas = Image.new("RGB", (GAP + COLUMNS * wide, GAP + -(-len(panels) // COLUMNS) * tall), "white")
    for i, picture in enumerate(panels):
        canvas.paste(picture, (GAP + i % COLUMNS * wide, GAP + i // COLUMNS * tall))
    with replacing(path) as file:
        canvas.save(file, "JPEG", quality=quality, optimize=True)
    return scores | {"estimated map, mean error in pixels": error}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="the folder (default: docs)")
    arguments = parser.parse_args()
    path = arguments.output / "defocus.jpg"
    for title, value in make(photograph().with_white()[0], path).items():
        print(f"{path.name}   {title:36s} {value:.2f}")


if __name__ == "__main__":
    main()
