"""What a pixel of disk_blur costs for a growing radius: nanoseconds per pixel, and the exponent of the growth.

    python bench/disk_radius.py                 one thread, 3 x 512 x 512; writes docs/ops/disk_radius.svg and a section of docs/ops/disk.md
    python bench/disk_radius.py --print         on the terminal only
    python bench/disk_radius.py --side 64 --most 12

Uniform radii, a smooth map between r / 2 and r, and one of independent random radii between r / 2 and r.
"""
import argparse
import functools
import io
import math
import pathlib
import statistics
import sys
import time

import torch

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

import svconv
from bench import measure, pages
from svconv.ops.disk import _bwd_radius

RADII = (0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 25, 35, 50, 70, 100)
FIT = (12, 50)      # where the exponent is asked for
CHANNELS = 3


def maps(radius, side):
    generator = torch.Generator().manual_seed(0)
    wave = torch.linspace(0, 3 * math.pi, side).sin()
    smooth = (2 + wave[:, None] + wave.flip(0)) / 4
    return {"uniform": torch.full((1, 1, side, side), float(radius)), "smooth map": (radius * (1 + smooth) / 2)[None, None],
            "random map": radius * (1 + torch.rand(1, 1, side, side, generator=generator)) / 2}


def lines():
    """name -> (map, function of (x, g, radius))"""
    def gradient(x, g, r):
        return _bwd_radius(x, g, r, "gather", "replicate", math.inf, "")
    return {
        "forward": ("uniform", lambda x, g, r: svconv.disk_blur(x, r)),
        "adjoint": ("uniform", lambda x, g, r: svconv.disk_blur_adjoint(g, r)),
        "gradient in the radius": ("uniform", gradient),
        "forward, smooth map": ("smooth map", lambda x, g, r: svconv.disk_blur(x, r)),
        "forward, random map": ("random map", lambda x, g, r: svconv.disk_blur(x, r)),
        "adjoint, random map": ("random map", lambda x, g, r: svconv.disk_blur_adjoint(g, r)),
    }


def nanoseconds(call, pixels, rounds=3):
    call()
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
        if sum(taken) > 4:
            break
    return 1e9 * statistics.median(taken) / pixels


def measured(side, most):
    generator = torch.Generator().manual_seed(1)
    x, g = (torch.rand(1, CHANNELS, side, side, generator=generator) for _ in range(2))
    found = {name: {} for name in lines()}
    for radius in (r for r in RADII if r <= most):
        made = maps(radius, side)
        for name, (kind, function) in lines().items():
            found[name][radius] = nanoseconds(functools.partial(function, x, g, made[kind]), side * side)
        print(f"r = {radius:g}: " + ", ".join(f"{name} {values[radius]:.1f}" for name, values in found.items()), flush=True)
    return found


def exponent(values):
    """The slope of the line through the logarithms over FIT."""
    points = [(math.log(r), math.log(v)) for r, v in values.items() if FIT[0] <= r <= FIT[1]]
    return statistics.linear_regression(*zip(*points)).slope if len(points) > 1 else math.nan


def table(found):
    radii = list(next(iter(found.values())))
    rows = ["| | " + " | ".join(f"r = {r:g}" for r in radii) + " | exponent |", "| --- " * (len(radii) + 2) + "|"]
    for name, values in found.items():
        rows.append(f"| {name} | " + " | ".join(f"{values[r]:.3g}" for r in radii) + f" | {exponent(values):.2f} |")
    return "\n".join(rows)


def cpu_text():
    cpu = measure.processor()
    return f"{cpu['name']} (family {cpu['family']}, model {cpu['model']})"


def plot(found, path):
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "svconv"
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for name, values in found.items():
        axes.loglog(values.keys(), values.values(), marker="o", markersize=3, label=f"{name} ({exponent(values):.2f})")
    axes.set(xlabel="radius in pixels", ylabel="ns per pixel (3 channels)", title="disk_blur, one thread")
    axes.set_xticks([0.5, 1, 2, 5, 10, 20, 50, 100], ["0.5", "1", "2", "5", "10", "20", "50", "100"])
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(title=f"exponent over r = {FIT[0]}..{FIT[1]}", fontsize=8)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    pages.write(path, "".join(f"{line.rstrip()}\n" for line in drawn.getvalue().splitlines()))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--most", type=float, default=100.0, help="largest radius")
    parser.add_argument("--print", action="store_true", help="write no file")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    found = measured(options.side, options.most)
    text = table(found)
    print(text)
    if not options.print:
        plot(found, ROOT / "docs" / "ops" / "disk_radius.svg")
        head = (f"Nanoseconds per pixel, {CHANNELS} x {options.side} x {options.side}, float32, one thread of {cpu_text()}; load average "
                f"{measure.load_average():.1f};\n`python bench/disk_radius.py`. Exponent: of the growth over r = {FIT[0]}..{FIT[1]}.")
        pages.fill(ROOT / "docs" / "ops" / "disk.md", "radius",
                   f"{head}\n\n{text}\n\n![cost against radius](disk_radius.svg)", "disk")


if __name__ == "__main__":
    main()
