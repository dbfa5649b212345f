"""The noise of blurred photographs as `data.estimate_noise` finds it, and what `svconv deblur --reg auto` makes of it.

    python bench/noise_strength.py        prints the tables and writes them into docs/quality.md

Kodak photographs (development data, SVCONV_DATA, by default ../shared/data beside the checkout) under known kernels with white noise.
"""
import argparse
import math
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

from bench import development_data, pages
from svconv import disk_kernel
from svconv.cli import deblur, strength
from svconv.data import degrade, estimate_noise, read_grey
from svconv.data.pairs import valid_convolution

SIDE, MARGIN = 320, 24
NOISES = (0.003, 0.01, 0.02, 0.05)
FIXED = {"irls": 2e-3, "cg": 2e-3, "hyper": 1 / 3000}       # what suits 1 % noise in the solvers' own defaults
SECTION = "noise"


def cases(data):
    """(sharp, blurred without noise, kernel) of every photograph under a measured shake and a disk."""
    shake = torch.from_numpy(np.load(data / "kernels" / "levin09" / "levin09_k1.npy").copy()).float()
    for i, path in enumerate(sorted((data / "images" / "kodak24").iterdir())):
        x = torch.from_numpy(read_grey(path).astype(np.float32)) / 255
        x = x[60:60 + SIDE, 60:60 + SIDE]
        for kernel in (shake, disk_kernel(torch.tensor(3.0 + i % 3), 2 * (3 + i % 3) + 1)):
            blurred, half = valid_convolution(x, kernel), kernel.shape[0] // 2
            yield x[half:half + blurred.shape[0], half:half + blurred.shape[1]][None, None], blurred[None, None], kernel


def psnr(x, truth):
    inner = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    return -10 * math.log10(float((x - truth)[inner].square().mean()))


@torch.no_grad()
def measured(data):
    """{noise: {"blurred": [estimates], "sharp": [estimates], (method, "fixed" | "auto"): [PSNR]}}"""
    found = {}
    for noise in NOISES:
        rows = found.setdefault(noise, {"blurred": [], "sharp": []} | {(m, how): [] for m in FIXED for how in ("fixed", "auto")})
        for i, (sharp, blurred, kernel) in enumerate(cases(data)):
            y = degrade(blurred, gaussian=noise, generator=torch.Generator().manual_seed(i))
            rows["blurred"].append(float(estimate_noise(y)))
            rows["sharp"].append(float(estimate_noise(degrade(sharp, gaussian=noise, generator=torch.Generator().manual_seed(i)))))
            for method, fixed in FIXED.items():
                for how, reg in (("fixed", fixed), ("auto", strength.strength(method, rows["blurred"][-1]))):
                    x = deblur.restore_plane(y, kernel[None, None], method, reg, None)
                    rows[method, how].append(psnr(x, sharp))
    return found


def tables(found):
    lines = ["| noise | found in blurred photographs | in sharp ones |", "| ---: | --- | --- |"]
    for noise, rows in found.items():
        told = [f"{100 * min(rows[kind]):.2f} to {100 * max(rows[kind]):.2f} %, median {100 * np.median(rows[kind]):.2f} %"
                for kind in ("blurred", "sharp")]
        lines.append(f"| {100 * noise:g} % | {told[0]} | {told[1]} |")
    lines += ["", "| noise | method | fixed | auto | gain | least gain of a photograph |", "| ---: | --- | ---: | ---: | ---: | ---: |"]
    for noise, rows in found.items():
        for method in FIXED:
            fixed, auto = (np.array(rows[method, how]) for how in ("fixed", "auto"))
            lines.append(f"| {100 * noise:g} % | {method} | {fixed.mean():.2f} | {auto.mean():.2f} | {(auto - fixed).mean():+.2f} | "
                         f"{(auto - fixed).min():+.2f} |")
    return "\n".join(lines)


def section(found, count):
    return "## Noise\n\n" + pages.paragraph(f"""Written by `python bench/noise_strength.py`. White noise on {count} crops of {SIDE} x {SIDE}
pixels of Kodak photographs under a measured shake and disks of radius 3 to 5: what `data.estimate_noise` finds, and the mean PSNR in dB
with the strength of the smoothing fixed (irls and cg 2e-3, hyper 1/3000) and as `svconv deblur --reg auto` chooses it; {MARGIN} pixels
left out at each border.""") + "\n\n" + tables(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "quality.md")
    arguments = parser.parse_args()
    data = development_data.folder("bench/noise_strength.py", "images/kodak24", "kernels/levin09")
    found = measured(data)
    print(tables(found))
    pages.fill(arguments.output, SECTION, section(found, len(found[NOISES[0]]["blurred"])), "Quality")


if __name__ == "__main__":
    main()
