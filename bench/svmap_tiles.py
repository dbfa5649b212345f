"""What tiles cost: SVMAP on a photograph in one pass and in tiles, and how far the results are apart where tiles meet.

    python bench/svmap_tiles.py                     prints a table and writes it into docs/models/svmap.md
    python bench/svmap_tiles.py --weights FILE      other weights than those that are shipped
    python bench/svmap_tiles.py --smoke             a small image, an untrained network; writes nothing

The photograph comes from the development data (SVCONV_DATA, by default ../shared/data beside the checkout).
"""
import argparse
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

import svconv
from bench import development_data, pages, svmap_methods
from svconv.data import degrade, motion_kernel
from svconv.files import read_image
from svconv.models import SVMAP
from svconv.models.svmap import restore_tiled, tiles

PHOTOGRAPH, SIZE, TILE, SIDE, SEED, NOISE = "kodak24/kodim19.png", (400, 400), 208, 21, 5, 0.01
HALOS = 0, 16, 48
NEAR = 4        # pixels on either side of a cut


def scene(data, size):
    """(blurred, kernel)"""
    pixels = read_image(data / "images" / PHOTOGRAPH).pixels[:size[0], :size[1]].astype(np.float32) / 255
    generator = torch.Generator().manual_seed(SEED)
    kernel = motion_kernel(SIDE, 1, generator=generator)
    sharp = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()
    return degrade(svconv.conv(sharp, kernel, padding="replicate"), gaussian=NOISE, generator=generator), kernel


def rms(t):
    return float(t.square().mean().sqrt())


def measured(model, y, kernel, tile):
    """[(halo, RMS difference everywhere, within NEAR pixels of a cut, largest)], and what the restoration changes."""
    with torch.no_grad():
        whole = model(y, kernel)
    rows, usual = [], tiles.HALO
    for halo in HALOS:
        tiles.HALO = halo
        try:
            difference = restore_tiled(model, y, kernel, tile=tile, whole=0) - whole
            cuts = tiles.tiles_of(y.shape[-2:], kernel.shape[-2:], tile, 0)
        finally:
            tiles.HALO = usual
        near = torch.zeros(y.shape[-2:], dtype=torch.bool)
        for spans in cuts:
            for axis, span in enumerate(spans):
                if span.last is not None:
                    near.narrow(axis, span.last - NEAR, 2 * NEAR).fill_(True)
        inner = (..., slice(SIDE, -SIDE), slice(SIDE, -SIDE))
        difference, near = difference[inner], near[inner]
        rows.append((halo, rms(difference), rms(difference[..., near]), float(difference.abs().max())))
    return rows, rms(whole - y)


def section(rows, change, size, tile):
    text = pages.paragraph(f"""
Written by `python bench/svmap_tiles.py`: {size[1]} x {size[0]} pixels of {PHOTOGRAPH} under a motion kernel of {SIDE} pixels, 1 % noise,
in one pass and in tiles of at most {tile} pixels that see a kernel and so many pixels more. The difference of the two, root mean square,
{SIDE} pixels left out at the border, and within {NEAR} pixels of a cut, and its largest value; the restoration itself changes
{change:.4f}. Default: {tiles.HALO} pixels. At the border of the photograph itself it is larger: light from outside is the last that
conjugate gradients find.""")
    lines = ["| pixels beyond a kernel | RMS difference | near the cuts | largest |", "| ---: | ---: | ---: | ---: |",
             *(f"| {halo} | {everywhere:.5f} | {near:.5f} | {largest:.4f} |" for halo, everywhere, near, largest in rows)]
    return f"## Tiles\n\n{text}\n\n" + "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", metavar="NAME|FILE", default="gaussian1", help="default: those that are shipped")
    parser.add_argument("--smoke", action="store_true", help="a small image, an untrained network; writes nothing")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "models" / "svmap.md")
    arguments = parser.parse_args()
    data = development_data.folder("bench/svmap_tiles.py", "images")
    size, tile = ((96, 64), 48) if arguments.smoke else (SIZE, TILE)
    torch.manual_seed(0)
    model = SVMAP(width=4, max_iter=3) if arguments.smoke else svmap_methods.loaded(arguments.weights)[0]
    text = section(*measured(model, *scene(data, size), tile), size, tile)
    print(text)
    if not arguments.smoke:
        pages.fill(arguments.output, "tiles", text, "SVMAP and SIMAP")


if __name__ == "__main__":
    main()
