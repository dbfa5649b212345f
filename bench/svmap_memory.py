"""Peak memory of SVMAP: one training step, and restoring one large image, each in a process of its own.

    python bench/svmap_memory.py              256 x 256, batch 8, and 800 x 1024; one line for each way to compute it
    python bench/svmap_memory.py --smoke      tiny sizes

The peak is that of the whole process (its resident set, torch and the model included), as the system counts it.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))      # last: an installed svconv goes before the checkout

from bench import measure

LIMITS = {"training": 6.0, "inference": 4.0}        # GB, wanted
SIZES = {"training": (8, 256, 256), "inference": (1, 800, 1024)}
WAYS = {"training": (("bfloat16", True), ("float32", True), ("bfloat16", False)), "inference": (("float32", False), ("bfloat16", False))}
SMOKE = {"training": (2, 32, 32), "inference": (1, 40, 48)}


def run(what, precision, recompute, batch, height, width, kernel):
    """Runs it here and prints its peak and its seconds."""
    import torch

    import svconv

    torch.manual_seed(0)
    model, y = svconv.models.SVMAP(), torch.rand(batch, 3, height, width)
    model.precision, model.recompute = precision, bool(recompute)
    k = svconv.data.motion_kernel(kernel, generator=torch.Generator().manual_seed(1))[None]
    begun = time.perf_counter()
    if what == "training":
        (model(y, k) - y).abs().mean().backward()
    else:
        with torch.no_grad():
            model(y, k)
    seconds = time.perf_counter() - begun
    print(json.dumps({"gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, "seconds": seconds}))


def main():
    parser = argparse.ArgumentParser(prog="python bench/svmap_memory.py", description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--here", nargs=7, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        return run(*given.here[:2], *map(int, given.here[2:]))
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    for what, size in (SMOKE if given.smoke else SIZES).items():
        for precision, recompute in WAYS[what]:
            numbers = map(str, (int(recompute), *size, 7 if given.smoke else 31))
            command = measure.python("-W", "ignore", __file__, "--here", what, precision, *numbers)
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            text = f"{what}, {' x '.join(map(str, size))}, predictors {precision}{', predicted again' if recompute else ''}: "
            if done.returncode:
                print(text + (done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1], flush=True)
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            print(text + f"peak {found['gigabytes']:.2f} GB (wanted < {LIMITS[what]:g}), {found['seconds']:.1f} s", flush=True)


if __name__ == "__main__":
    main()
