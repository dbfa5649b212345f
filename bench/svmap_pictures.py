"""The picture of docs/models/svmap.md: what SVMAP makes of the photograph of the package, and the filters of its pixels.

    python bench/svmap_pictures.py                      writes docs/svmap-filters.png with the shipped weights
    python bench/svmap_pictures.py --weights FILE       with others
    python bench/svmap_pictures.py --output FOLDER
"""
import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

import svconv
from svconv.cli import demo, main
from svconv.data import degrade, motion_kernel
from svconv.files import images, kernels, outputs

SIDE, SEED, NOISE = 17, 21, 0.01
WINDOW = "262,354,14,24"    # the spoon, whose lights reach white


def blurred():
    """(the photograph of the demo, CC0, blurred, as a Picture; the kernel [k, k])"""
    generator = torch.Generator().manual_seed(SEED)
    kernel = motion_kernel(SIDE, 1, generator=generator)
    sharp = demo.photograph().with_white()[0]
    x = torch.cat([sharp.plane(channel) for channel in range(3)], 1)
    y = degrade(svconv.conv(x, kernel, padding="replicate"), gaussian=NOISE, generator=generator)
    return images.Picture((y[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255).round().astype(np.uint8)), kernel[0].numpy()


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", metavar="NAME|FILE", help="instead of the default ones")
    parser.add_argument("--window", default=WINDOW, metavar="R,C,H,W", help="pixels whose filters are drawn (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", metavar="FOLDER")
    arguments = parser.parse_args()
    picture, kernel = blurred()
    with tempfile.TemporaryDirectory() as folder:
        photo, psf = Path(folder) / "photo.png", Path(folder) / "psf.npy"
        images.write_image(photo, picture)
        kernels.write_kernel(psf, kernel)
        weights = [] if arguments.weights is None else ["--weights", arguments.weights]
        drawn = Path(folder) / "filters.png"
        status = main(["filters", str(photo), "--kernel", str(psf), "--window", arguments.window, "--colour", "green", *weights,
                       "-o", str(drawn)])
        if status == 0:
            with Image.open(drawn) as found, outputs.replacing(arguments.output / "svmap-filters.png") as file:
                found.quantize(192).save(file, "PNG", optimize=True)      # a third of the size
    return status


if __name__ == "__main__":
    sys.exit(run())
