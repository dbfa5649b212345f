"""Kernel estimation by Learning to Deblur beside the paper's seconds: `python bench/learning_to_deblur.py`.

    python bench/learning_to_deblur.py                    the whole table; writes bench/results and docs/models/learning_to_deblur_speed.md
    python bench/learning_to_deblur.py --side 2048        some image sides; records of the others stay in the file
    python bench/learning_to_deblur.py --kernel 17        some kernel sizes
    python bench/learning_to_deblur.py --smoke            one tiny image, seconds; checks the machinery, writes nothing

Each cell: `LearningToDeblur.estimate` with three stages per scale on one grey image, beside the same model in plain torch (conv2d, tanh,
rfft2, irfft2) with the same weights, one after the other in every round. Weights are random: time does not depend on them.
"""
import argparse
import functools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))     # last: an installed svconv goes before the checkout

import torch

from bench import measure, pages
from bench.plain_learning_to_deblur import estimate as plain_estimate

PAPER = {17: {255: 1.1, 800: 5.2, 1024: 9.5, 2048: 53.1},         # seconds, Matlab on an Intel i5, 32 filters
         25: {255: 1.2, 800: 14.3, 1024: 18.5, 2048: 89.1},
         33: {255: 1.6, 800: 10.7, 1024: 22.6, 2048: 91.9}}
SIZES = {17: (17,), 25: (17, 25), 33: (17, 25, 33)}
SIDES = (255, 800, 1024, 2048)
DOCUMENT = measure.ROOT / "docs" / "models" / "learning_to_deblur_speed.md"
SECTION = "bench:learning_to_deblur"
PARTS = {"features": "features.FeatureModule.forward", "kernel quotient": "steps.kernel_quotient", "image quotient": "steps.image_quotient"}


def arguments():
    parser = argparse.ArgumentParser(prog="python bench/learning_to_deblur.py", description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, action="append", choices=SIDES, help="image side; may be given again (default: all)")
    parser.add_argument("--kernel", type=int, action="append", choices=SIZES, help="kernel size; may be given again (default: all)")
    parser.add_argument("--rounds", type=int, default=9, help="most timed runs of each (default 9)")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds per cell (default 20)")
    parser.add_argument("--smoke", action="store_true", help="one tiny image, writes nothing")
    parser.add_argument("--render", action="store_true", help="only write the document from the result file")
    parser.add_argument("--memory-of", nargs=2, type=int, metavar=("KERNEL", "SIDE"), help=argparse.SUPPRESS)
    return parser.parse_args()


def inputs(kernel, side):
    """(model in eval mode with random weights, grey image [1, 1, side, side])."""
    from svconv.models import LearningToDeblur
    torch.manual_seed(0)
    model = LearningToDeblur(SIZES[kernel], stages=3).eval()
    image = torch.nn.functional.interpolate(torch.rand(1, 1, side // 8 + 2, side // 8 + 2), (side, side), mode="bicubic")
    return model, (image + 0.01 * torch.randn_like(image)).clamp(0, 1)


# parts --------------------------------------------------------------------------------------------------------------

class Shares:
    """Seconds spent in the parts of one estimate: inside the `with` block the functions that the model calls are timed."""

    def __enter__(self):
        from svconv.models import learning_to_deblur as package
        self.seconds, self.saved = dict.fromkeys(PARTS, 0.0), []
        for part, path in PARTS.items():
            *owner, name = path.split(".")
            target = functools.reduce(getattr, owner, package)
            original = getattr(target, name)
            self.saved.append((target, name, original))
            setattr(target, name, self.timed(part, original))
        self.start = time.perf_counter()
        return self

    def timed(self, part, function):
        def call(*args, **kwargs):
            start = time.perf_counter()
            result = function(*args, **kwargs)
            self.seconds[part] += time.perf_counter() - start
            return result
        return call

    def __exit__(self, *_):
        self.seconds["rest"] = time.perf_counter() - self.start - sum(self.seconds.values())
        for target, name, original in self.saved:
            setattr(target, name, original)


def shares(model, image, runs=3):
    """Median seconds of every part."""
    found = []
    for _ in range(runs):
        with Shares() as part:
            model.estimate(image)
        found.append(part.seconds)
    return {name: statistics.median(f[name] for f in found) for name in found[0]}


# cells --------------------------------------------------------------------------------------------------------------

def measure_cell(kernel, side, rounds, budget):
    """The record of one kernel size and image side."""
    model, image = inputs(kernel, side)
    ours, plain = model.estimate(image)[0], plain_estimate(model, image)
    deviations = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, plain, strict=True)]
    candidates = {"svconv": lambda: model.estimate(image), "plain torch": lambda: plain_estimate(model, image)}
    samples, failures = measure.interleave(candidates, measure.CPUStopwatch(), rounds=rounds, budget=budget)
    if failures:
        sys.exit(f"kernel {kernel}, {side} x {side}: {failures}")
    record = {"kernel": kernel, "side": side, "commit": measure.commit(), "load_average": measure.load_average(),
              "times": {name: measure.summary(seconds) for name, seconds in samples.items()},
              "over plain torch": measure.ratio(samples["plain torch"], samples["svconv"]), "deviations": deviations,
              "parts": shares(model, image)}
    if side in PAPER[kernel]:
        record |= {"paper": PAPER[kernel][side], "over the paper": PAPER[kernel][side] / record["times"]["svconv"]["median"]}
    return record


def memory_here(kernel, side):
    """Peak memory of one estimate in this process, the image included, and of the whole process."""
    model, image = inputs(kernel, 255)
    model.estimate(image)                                 # loads code and starts threads
    model, image = inputs(kernel, side)
    extra = measure.peak_extra_memory(lambda: model.estimate(image))
    print(json.dumps({"estimate": extra + measure.tensor_bytes(image), "process": measure._status("VmHWM")}))


def memory(kernel, side):
    """The same in a fresh process whose allocator returns every large block at once."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(measure.python(__file__, "--memory-of", kernel, side), env=environment, capture_output=True, text=True,
                          timeout=600, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def show(record):
    times, parts = record["times"], record["parts"]
    own = times["svconv"]
    print(
        f"kernel {record['kernel']}, {record['side']} x {record['side']}: {own['median']:.3f} s "
        f"({own['min']:.3f} least, {own['runs']} runs), "
        f"plain torch {times['plain torch']['median']:.3f} s, {record['over plain torch']:.1f}x; "
        + (f"paper {record['paper']} s, {record['over the paper']:.0f}x; " if "paper" in record else "")
        + ", ".join(f"{name} {seconds / sum(parts.values()):.0%}" for name, seconds in parts.items())
        + f"; kernels differ by {record['deviations'][0]:.0e} (first) to {max(record['deviations']):.0e}"
        + (f"; peak memory {record['memory']['estimate'] / 2**30:.2f} GiB" if "memory" in record else ""),
        flush=True,
    )


# the document -------------------------------------------------------------------------------------------------------

def section(data):
    """The lines between the markers."""
    cpu, records = data["cpu"], data["records"]
    cells = {(r["kernel"], r["side"]): r for r in records}
    loads = [r["load_average"] for r in records if r["load_average"] is not None]
    head = (
        f"{cpu['name']} (family {cpu['family']}, model {cpu['model']}), {cpu['cores']} cores, "
        f"{cpu['isa']}, {data['threads']} threads, torch "
        f"{data['torch']}, float32; commit {', '.join(sorted({r['commit'] for r in records}))}; load average {min(loads)} to {max(loads)}. "
        "Measured by `python bench/learning_to_deblur.py`."
    )
    sides = sorted({side for _, side in cells})
    lines = [head, "", "Seconds of a kernel estimate, in brackets the paper's (Matlab, Intel i5) and how many times less ours are:", "",
             "| kernel | " + " | ".join(f"{s} x {s}" for s in sides) + " |", "| --- |" + " ---: |" * len(sides)]
    for kernel in SIZES:
        row = [cells.get((kernel, s)) for s in sides]
        lines.append(
            f"| {kernel} | "
            + " | ".join(
                "not measured" if r is None else f"{r['times']['svconv']['median']:.3g} ({r['paper']}: {r['over the paper']:.0f}x)"
                for r in row
            )
            + " |"
        )
    lines += [
        "",
        "The same model in plain torch (conv2d, tanh, rfft2, irfft2), seconds, and how many times slower it is in the same run:",
        "",
        "| kernel | " + " | ".join(f"{s} x {s}" for s in sides) + " |",
        "| --- |" + " ---: |" * len(sides),
    ]
    for kernel in SIZES:
        row = [cells.get((kernel, s)) for s in sides]
        lines.append(
            f"| {kernel} | "
            + " | ".join(
                "not measured" if r is None else f"{r['times']['plain torch']['median']:.3g} ({r['over plain torch']:.1f}x)" for r in row
            )
            + " |"
        )
    largest = [cells[k, sides[-1]] for k in SIZES if (k, sides[-1]) in cells]
    lines += ["", f"Where the time goes at {sides[-1]} x {sides[-1]}, and the peak memory of an estimate, its image included:", "",
              "| kernel | features | kernel quotient | image quotient | rest | memory |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for r in largest:
        total = sum(r["parts"].values())
        shown = " | ".join(f"{r['parts'][name] / total:.0%}" for name in [*PARTS, "rest"])
        lines.append(
            f"| {r['kernel']} | {shown} | " + (f"{r['memory']['estimate'] / 2**30:.2f} GiB |" if "memory" in r else "not measured |")
        )
    first, all_stages = max(r["deviations"][0] for r in records), max(max(r["deviations"]) for r in records)
    return [
        *lines,
        "",
        f"The kernel of the first stage agrees with that of plain torch to {first:.0e} of its largest value in every cell, those of all "
        f"stages to {all_stages:.0e}: the weights are random, and every stage divides by what "
        "the one before it estimated, which amplifies rounding.",
    ]


def write_document(data):
    """Replaces the section in the document."""
    pages.fill(DOCUMENT, SECTION, "\n".join(section(data)), "Learning to Deblur: speed of the kernel estimate")


@torch.no_grad()
def main():
    options = arguments()
    if options.memory_of:
        return memory_here(*options.memory_of)
    if options.smoke:
        return show(measure_cell(25, 96, 2, 0.5))
    if options.kernel or options.side:
        print("other cells stay as the result file has them")
    path = measure.RESULTS / f"learning_to_deblur-{measure.cpu_slug()}.json"
    data = json.loads(path.read_text()) if path.exists() else {"records": []}
    if not options.render:
        data = {
            "kind": "learning_to_deblur",
            **measure.metadata(),
            "command": "python bench/learning_to_deblur.py",
            "records": data["records"],
        }
        for side in options.side or SIDES:
            for kernel in options.kernel or SIZES:
                record = measure_cell(kernel, side, options.rounds, options.budget)
                if side == max(SIDES):
                    record["memory"] = memory(kernel, side)
                show(record)
                kept = [r for r in data["records"] if (r["kernel"], r["side"]) != (kernel, side)]
                data["records"] = sorted([*kept, record], key=lambda r: (r["kernel"], r["side"]))
                measure.write_json(path, data)
    write_document(data)


if __name__ == "__main__":
    main()
