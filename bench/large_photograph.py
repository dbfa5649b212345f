"""Seconds and memory of `svconv deblur` on a photograph of 12 megapixels.

    python bench/large_photograph.py            prints the table and writes it into docs/cli.md
    python bench/large_photograph.py --smoke    a small photograph; writes nothing

The photograph of the package (CC0), enlarged to 4000 x 3000 pixels with fine grain, shaken by a sampled kernel, JPEG of quality 92. Every
row is a process of its own, whose peak is its resident set, torch included.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

from bench import measure, pages

DOCUMENT, SECTION = ROOT / "docs" / "cli.md", "bench:large_photograph"
SIZE, SMOKE = (3000, 4000), (240, 320)
ROWS = {"`--kernel`, irls": (("--kernel", "kernel.npy", "--method", "irls"), 120),
        "`--kernel`, hyper": (("--kernel", "kernel.npy", "--method", "hyper"), None),
        "`--blind --kernel-size 17`": (("--blind", "--kernel-size", "17", "--force"), 60),
        "`--blind`": (("--blind", "--force"), 120)}
CHILD = ("import json, resource, sys, time; from svconv.cli import main; begun = time.perf_counter(); status = main(sys.argv[1:]); "
         "print(json.dumps([status, time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20]))")


def photograph(folder, size):
    """Writes shaken.jpg and kernel.npy."""
    from svconv.cli import demo
    from svconv.data import motion_kernel
    from svconv.data.pairs import valid_convolution

    kernel, generator = motion_kernel(15, generator=torch.Generator().manual_seed(1))[0], torch.Generator().manual_seed(0)
    sharp = torch.cat([demo.photograph().plane(c) for c in range(3)], 1)
    sharp = torch.nn.functional.interpolate(sharp, [side + 14 for side in size], mode="bicubic", antialias=True)[0]
    grain = 0.04 * torch.nn.functional.avg_pool2d(torch.randn(1, *sharp.shape[1:], generator=generator), 3, 1, 1)
    blurred = torch.stack([valid_convolution(plane, kernel) for plane in sharp + grain])
    Image.fromarray((blurred.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()).save(folder / "shaken.jpg", quality=92)
    np.save(folder / "kernel.npy", kernel.numpy())


def measured(folder, options):
    """[status, seconds, GiB] of the command in a process of its own, or what it said at last."""
    command = measure.python("-W", "ignore", "-c", CHILD, "deblur", "shaken.jpg", *options, "-o", "out.jpg", "--quiet")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1]
    return json.loads(done.stdout.splitlines()[-1])


def table(found):
    lines = ["| | seconds | wanted | peak, GiB |", "| --- | ---: | ---: | ---: |"]
    for row, one in found.items():
        limit = ROWS[row][1]
        seconds, peak = ("not measured", one) if isinstance(one, str) else (f"{one[1]:.0f}", f"{one[2]:.2f}")
        lines.append(f"| {row} | {seconds} | {limit or ''} | {peak} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a small photograph, writes nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        photograph(folder, SMOKE if arguments.smoke else SIZE)
        found = {row: measured(folder, options) for row, (options, _) in ROWS.items()}
    print(table(found))
    if not arguments.smoke:
        pages.fill(DOCUMENT, SECTION, f"""### Seconds and memory

Written by `python bench/large_photograph.py`: 4000 x 3000 pixels in colour, JPEG, {torch.get_num_threads()} threads of
{measure.processor()["name"]}, load average {measure.load_average():.1f} when it ended. `--force`, so that a verdict does not end the
work early.

{table(found)}""", "Command line")


if __name__ == "__main__":
    main()
