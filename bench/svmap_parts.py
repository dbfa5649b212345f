"""Where the time of SVMAP goes: the predictors in both layouts and precisions, the MAP steps, the transforms in them.

    python bench/svmap_parts.py                   800 x 1024 RGB, T = 2, 30 steps of conjugate gradients each
    python bench/svmap_parts.py --size 400x512
    python bench/svmap_parts.py --smoke           tiny sizes
"""
import argparse
import copy
import statistics
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))      # last: an installed svconv goes before the checkout

from bench import measure
from bench.cases import svmap as cases

FEWER = 10      # iterations of a shorter MAP step: the difference is what iterations take without their assembly


def laid_out(model, layout):
    other = copy.deepcopy(model)
    for module in other.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.to(memory_format=layout)
    return other


def predict(model, y, precision):
    """The filters of one iteration."""
    model.precision = precision
    with torch.no_grad(), model.casting(y.device):
        return model.step_filters(0, y, y)


def one_iteration(v, budget):
    """Seconds of an iteration without the assembly before the first, and of one read of the filters."""
    candidates = {"whole": cases.step(v), "shorter": cases.step(v, steps=FEWER), "reading": cases.reading(v)}
    samples, _ = measure.interleave(candidates, measure.CPUStopwatch(), rounds=7, budget=budget, least=1, prime=True)
    whole, shorter, reading = (statistics.median(samples[name]) for name in candidates)
    return (whole - shorter) / (cases.COUNT - FEWER), reading


def main():
    parser = argparse.ArgumentParser(prog="python bench/svmap_parts.py", description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="800x1024", help="HxW (default 800x1024)")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds (default 120)")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    given = parser.parse_args()
    size = cases.SMOKE if given.smoke else tuple(map(int, given.size.split("x")))
    v, model = cases.with_filters(size, "cpu"), cases.model()
    iteration, reading = one_iteration(v, 1 if given.smoke else given.budget)
    half = v | {name: v[name].bfloat16() for name in ("data_filters", "prior_filters")}
    contiguous = laid_out(model, torch.contiguous_format)
    candidates = {"predictors, float32, channels_last": lambda: predict(model, v["y"], "float32"),
                  "predictors, float32, contiguous": lambda: predict(contiguous, v["y"], "float32"),
                  "predictors, bfloat16, channels_last": lambda: predict(model, v["y"], "bfloat16"),
                  "MAP step, filters float32": cases.step(v), "MAP step, filters bfloat16": cases.step(half),
                  "the transforms of a MAP step": cases.transforms(v)}
    samples, failed = measure.interleave(candidates, measure.CPUStopwatch(), rounds=5, budget=1 if given.smoke else given.budget, least=1)
    if failed:
        sys.exit(f"bench/svmap_parts.py: {failed}")
    median = {name: statistics.median(seconds) for name, seconds in samples.items()}
    machine = measure.processor()["name"]
    print(f"one iteration at {size[0]} x {size[1]} RGB, {torch.get_num_threads()} threads, {machine}, load {measure.load_average()}\n")
    print("| part | s |\n| --- | ---: |")
    for name, seconds in median.items():
        print(f"| {name} | {seconds:.3g} |")
    print(f"\none iteration of conjugate gradients: {1e3 * iteration:.1f} ms, {iteration / reading:.2f} times one read of the filters")
    for precision in ("float32", "bfloat16"):
        nets, step = median[f"predictors, {precision}, channels_last"], median[f"MAP step, filters {precision}"]
        share = 100 * nets / (nets + step)
        print(f"\nT = 2, predictors in {precision}: {2 * (nets + step):.1f} s, {share:.0f} % of them in the predictors")


if __name__ == "__main__":
    main()
