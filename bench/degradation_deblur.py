"""Seconds and memory of restoring a photograph with DegradationDeblur.

    python bench/degradation_deblur.py              prints the table and writes it into docs/models/degradation_deblur.md
    python bench/degradation_deblur.py --smoke      a narrow network and a small image; writes nothing

1280 x 720 pixels at the paper's width, by windows of 256 pixels and in one pass. Each row in a process of its own, whose peak is its
resident set, torch and the model included, as the system counts it. Weights are random: neither time nor memory depends on them.
"""
import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))      # last: an installed svconv goes before the checkout

from bench import measure, pages

DOCUMENT, SECTION = ROOT / "docs" / "models" / "degradation_deblur.md", "bench:degradation_deblur"
SIZE, WIDTH, SMOKE = (720, 1280), 64, ((72, 128), 4)
WANTED = 6.0            # GB, by windows
ROWS = (("version 1, windows of 256", 1, True), ("version 2, windows of 256", 2, True), ("version 1, one pass", 1, False))


def run(version, tiled, width, height, columns):
    """Restores here and prints peak and seconds."""
    import torch

    from svconv.models import DegradationDeblur
    from svconv.models.degradation_deblur import restore_tiled

    torch.manual_seed(0)
    model, y = DegradationDeblur(version=version, width=width).eval(), torch.rand(1, 3, height, columns)
    begun = time.perf_counter()
    with torch.no_grad():
        restore_tiled(model, y) if tiled else model(y)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps({"gigabytes": peak, "seconds": seconds, "threads": torch.get_num_threads()}))


def measured(version, tiled, size, width):
    """What `run` printed, or the last line of what went wrong."""
    numbers = map(str, (version, int(tiled), width, *size))
    done = subprocess.run(measure.python("-W", "ignore", __file__, "--here", *numbers), capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1]
    return json.loads(done.stdout.splitlines()[-1])


def table(found, size, width):
    megapixels = size[0] * size[1] / 1e6
    lines = ["| | seconds per megapixel | peak, GB |", "| --- | ---: | ---: |"]
    for row, one in found.items():
        lines.append(f"| {row} | not measured | {one} |" if isinstance(one, str)
                     else f"| {row} | {one['seconds'] / megapixels:.1f} | {one['gigabytes']:.2f} |")
    tiled = next(iter(found.values()))
    judged = "not measured" if isinstance(tiled, str) else "reached" if tiled["gigabytes"] < WANTED else "**missed**"
    threads = next((one["threads"] for one in found.values() if isinstance(one, dict)), None)
    text = pages.paragraph(f"""
Written by `python bench/degradation_deblur.py`: {size[1]} x {size[0]} pixels, width {width}, float32, {threads} threads of
{measure.processor()["name"]}, load average {measure.load_average():.1f} when it ended. Wanted by windows:
less than {WANTED:g} GB, {judged}.""")
    return f"{text}\n\n" + "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="python bench/degradation_deblur.py", description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a narrow network and a small image; writes nothing")
    parser.add_argument("--here", nargs=5, type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        version, tiled, width, *size = given.here
        return run(version, bool(tiled), width, *size)
    size, width = SMOKE if given.smoke else (SIZE, WIDTH)
    body = table({row: measured(version, tiled, size, width) for row, version, tiled in ROWS}, size, width)
    print(body)
    if not given.smoke:
        pages.fill(DOCUMENT, SECTION, body, "DegradationDeblur")


if __name__ == "__main__":
    main()
