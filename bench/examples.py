"""The networks of examples/, plain and with svconv: seconds and memory of forward + backward.

    python bench/examples.py              about two minutes; prints the table and writes it into docs/examples.md
    python bench/examples.py --smoke      tiny, writes nothing

Seconds are medians of rounds in turn, the ratio is the median over the rounds. Memory is what the peak rises above network and inputs, each
in a process of its own. Networks, not layers: the convolutions around the changed lines are in both columns.
"""
import argparse
import importlib
import pathlib
import sys

import torch

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout
sys.path.append(str(ROOT / "examples"))

import side_by_side

from bench import measure, pages

PAGE, SECTION = ROOT / "docs" / "examples.md", "table"
HEAD = ("example", "image", "plain, s", "svconv, s", "ratio", "plain, MiB", "svconv, MiB", "outputs differ by")


def rows(side, rounds, budget, say=print):
    """The cells of each case of each example."""
    size, found = (side, side), []
    for stem in side_by_side.NAMES:
        example = importlib.import_module(stem)
        for name, case in side_by_side.cases(example).items():
            taken = side_by_side.seconds(example, size, rounds, budget, **case)
            medians = [f"{measure.summary(samples)['median']:.3g}" for samples in taken.values()]
            peaks = [f"{side_by_side.extra_memory(example, size, which, **case) / measure.MIB:.0f}" for which in taken]
            differ = side_by_side.differences(example, size, torch.float32, **case)["output"]
            found.append((name, f"{side} x {side}", *medians, f"{measure.ratio(*taken.values()):.1f}x", *peaks, f"{differ:.0e}"))
            say("  ".join(found[-1]), flush=True)
    return found


def section(found, load):
    cpu, threads = measure.processor(), f"{torch.get_num_threads()} thread" + "s" * (torch.get_num_threads() > 1)
    text = pages.paragraph(f"""Written by `python bench/examples.py`: forward + backward of a batch of one, gradients to the parameters,
        float32, {threads} of {cpu["name"]} (family {cpu["family"]}, model {cpu["model"]}), torch {torch.__version__}. Load average
        {load:.1f} at the start, {measure.load_average():.1f} at the end: where it is above the threads, trust the ratios, not the seconds.
        Medians of rounds in turn; the ratio is the median over the rounds. Memory: the peak above network and inputs, in a process of its
        own. Outputs: the largest difference, as a part of the largest value.""")
    lines = ["| " + " | ".join(HEAD) + " |", "| --- | --- |" + " ---: |" * (len(HEAD) - 2)]
    return "\n".join([text, "", *lines, *("| " + " | ".join(row) + " |" for row in found)])


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="tiny images, one round; writes nothing")
    options = parser.parse_args(argv)
    load = measure.load_average()
    sides, rounds = ((40,), 1) if options.smoke else ((64, 256), 9)
    text = section([row for side in sides for row in rows(side, rounds, budget=4.0)], load)
    print(f"\n{text}")
    if not options.smoke:
        pages.fill(PAGE, SECTION, text, "Drop-in layers in others' models")


if __name__ == "__main__":
    main()
