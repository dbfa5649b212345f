"""The learned blur spaces on photographs and blurs that no training has seen: what the codes hold, transfer, deep-prior deblurring,
reblurring by a map.

    python bench/blur_spaces.py                         prints all tables and writes them into docs/models/
    python bench/blur_spaces.py --table space           F(x, G(x, y)) beside x, the mean code and the best uniform kernel
    python bench/blur_spaces.py --table transfer        the code of a pair on another photograph
    python bench/blur_spaces.py --table undone          how much of a blur F could undo if its code were known
    python bench/blur_spaces.py --table prior           deep-prior deblurring of eight images, 1000 steps
    python bench/blur_spaces.py --table parts           what its parts are for: two images, 500 steps
    python bench/blur_spaces.py --table reblur          G_r and G_d with a map, a vector and no code, from the logs of their trainings
    python bench/blur_spaces.py --table captured        the pairs of GoPro and a photograph of Koehler et al.
    python bench/blur_spaces.py --pictures FOLDER       writes pictures of these tables, to be looked at
    python bench/blur_spaces.py --smoke                 untrained networks and few steps; writes nothing
    --ebks FILE, --ldr FILE                             weights (default: those that are shipped)
    --run "ROW=FILE"                                    metrics.jsonl of a training, for the table of reblurring; may be repeated

Scores that take long are kept in build/blur_spaces.json as soon as they are known: a run that was stopped goes on where it was.
Photographs come from the development data (SVCONV_DATA, by default ../shared/data beside the checkout).
"""
import argparse
import statistics
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

from bench import blur_captured, blur_scenes as scenes, blur_search, development_data, measure, pages
from bench.eff_quality import OtherRun, Record
from bench.svmap_methods import mark
from svconv import kernel_quotient, project_kernel
from svconv.models import BlurKernelSpace, DegradationDeblur
from svconv.ops import conv

KERNELS, BETAS = (15, 25, 35), (1e-2, 1.0, 100.0)       # tried for the best uniform kernel of a pair
STEPS, DAMPING = 8, 0.7         # of what undoes a known blur
ROWS = {"x itself": "sharp", "F with the mean code": "mean", "best uniform kernel": "uniform", "F with the pair's code": "own"}


def table_by_kind(title, found):
    """({row: mean of all}, lines of a table with a column for each kind) of {row: {kind: [PSNR]}}."""
    mean = {row: statistics.fmean(value for values in parts.values() for value in values) for row, parts in found.items()}
    lines = [f"| {title} | {' | '.join(scenes.KINDS)} | all |", "| --- |" + " ---: |" * (len(scenes.KINDS) + 1)]
    for row, parts in found.items():
        lines.append(f"| {row} | " + " | ".join(f"{statistics.fmean(v):.2f}" for v in parts.values()) + f" | {mean[row]:.2f} |")
    return mean, lines


# what a code holds ----------------------------------------------------------------------------------------------------

def uniform(x, y):
    """The best of some uniform kernels, quotients of the pair itself: x under it, by the truth y."""
    tried = []
    for size in KERNELS:
        for beta in BETAS:
            kernel = project_kernel(kernel_quotient(x.mean(1, keepdim=True), y.mean(1, keepdim=True), size, beta=beta))
            tried.append(conv(x, kernel, padding="replicate"))
    return max(tried, key=lambda made: scenes.psnr(made, y))


@torch.no_grad()
def space_scores(data, space, count=scenes.COUNT):
    """{row: {kind: [PSNR]}}, the mean code being that of all pairs."""
    found = {row: {kind: [] for kind in scenes.KINDS} for row in ROWS}
    items = [scenes.pairs(data)[i] for i in range(count)]
    codes = [space.encode(x[None], y[None]) for y, x, _ in items]
    middle = torch.cat(codes).mean(0, keepdim=True)
    for (y, x, kind), code in zip(items, codes):
        x, y = x[None], y[None]
        made = {"sharp": x, "mean": space.blur(x, middle), "uniform": uniform(x, y), "own": space.blur(x, code)}
        for row, name in ROWS.items():
            found[row][scenes.KINDS[int(kind)]].append(scenes.psnr(made[name], y))
    return found


def space_section(data, space, count=scenes.COUNT):
    found = space_scores(data, space, count)
    mean, lines = table_by_kind("PSNR to y", found)
    wishes = "; ".join(f"{gain:+.2f} dB over {row}, wanted 3{'' if gain >= 3 else ', **missed**'}"
                       for row in ("x itself", "F with the mean code") for gain in [mean["F with the pair's code"] - mean[row]])
    text = pages.paragraph(f"""
Written by `python bench/blur_spaces.py --table space`. {count} pairs of {scenes.SIDE} x {scenes.SIDE} pixels, as many of each kind, from
{", ".join(scenes.PHOTOGRAPHS)}; `data.VariedPairs` with seed {scenes.SEED}, blurs of {scenes.STRENGTH[0]} to {scenes.STRENGTH[1]} pixels.
Mean PSNR in dB to the blurry image. The mean code is that of these pairs. The best uniform kernel is `kernel_quotient` of the pair,
projected: for each pair the best, by the truth, of sides {", ".join(map(str, KERNELS))} and beta {", ".join(f"{b:g}" for b in BETAS)}.
F with the pair's code: {wishes}.""")
    return f"## What a code holds\n\n{text}\n\n" + "\n".join(lines)


# transfer -------------------------------------------------------------------------------------------------------------

@torch.no_grad()
def transfer_scores(data, space, count=scenes.COUNT):
    """{row: {kind: [PSNR]}} to the operator's own blur on the other photograph."""
    pairs, targets = scenes.pairs(data), scenes.others(data)
    found = {row: {kind: [] for kind in scenes.KINDS} for row in ("left sharp", "transferred")}
    for i in range(count):
        y, x, kind = pairs[i]
        blur = pairs.blur(i)
        window, _ = targets.window((scenes.SIDE, scenes.SIDE), targets.generator(i), blur.margin)
        truth, sharp = blur(window), blur.inside(window)
        made = space.transfer(x[None], y[None], sharp[None].contiguous())[0]
        for row, image in zip(found, (sharp, made)):
            found[row][scenes.KINDS[int(kind)]].append(scenes.psnr(image, truth))
    return found


def transfer_section(data, space, count=scenes.COUNT):
    found = transfer_scores(data, space, count)
    mean, lines = table_by_kind("PSNR to the operator's blur", found)
    gain = mean["transferred"] - mean["left sharp"]
    text = pages.paragraph(f"""
Written by `python bench/blur_spaces.py --table transfer`. The code of each of these pairs on a crop of another photograph
(seed {scenes.SEED + 1}), against what the pair's own operator makes of that crop. {gain:+.2f} dB over leaving it sharp, wanted
1{"" if gain >= 1 else ", **missed**"}.""")
    return f"## Transfer\n\n{text}\n\n" + "\n".join(lines)


# what can be undone ---------------------------------------------------------------------------------------------------

@torch.no_grad()
def undone_scores(data, space, images=scenes.SEARCHED):
    """(PSNR of the blurry image, of F(x, k) to y, of the best step of x <- x + 0.7 (y - F(x, k)) from y) of each pair, k its own code."""
    found = []
    for i in images:
        y, x, _ = (t[None] for t in scenes.pairs(data)[i])
        code, step, tried = space.encode(x, y), y, [scenes.psnr(y, x)]
        for _ in range(STEPS):
            step = (step + DAMPING * (y - space.blur(step, code))).clamp(0, 1)
            tried.append(scenes.psnr(step, x))
        found.append((tried[0], scenes.psnr(space.blur(x, code), y), max(tried)))
    return found


def undone_section(data, space, images=scenes.SEARCHED):
    found = undone_scores(data, space, images)
    names = [f"{scenes.KINDS[i % len(scenes.KINDS)]} {i // len(scenes.KINDS) + 1}" for i in images]
    rows = dict(zip(("blurry, PSNR to x", "F(x, k), PSNR to y", "the best step, PSNR to x"), zip(*found)))
    lines = [f"| | {' | '.join(names)} | mean |", "| --- |" + " ---: |" * (len(names) + 1)]
    lines += [f"| {row} | " + " | ".join(f"{v:.2f}" for v in (*values, statistics.fmean(values))) + " |" for row, values in rows.items()]
    gain = statistics.fmean(best - before for before, _, best in found)
    text = pages.paragraph(f"""
Written by `python bench/blur_spaces.py --table undone`. Deblurring by F asks that what F cannot explain is less than what blur takes away.
Here both the code, that of the pair itself, and the number of steps of `x <- x + {DAMPING} (y - F(x, k))` from y, at most {STEPS}, are
chosen with the truth at hand: even so these steps gain {gain:+.2f} dB. The photograph itself under no blur explains it better than the
sharp image under its own code does, so that a search, deep priors or not, ends near the photograph.""")
    return f"## Why a small space does not sharpen\n\n{text}\n\n" + "\n".join(lines)


# reblurring -----------------------------------------------------------------------------------------------------------

def reblur_section(runs):
    """runs: {row: metrics.jsonl}; equal steps are those that all of the runs have reached."""
    from svconv.training.metrics import MetricsLog

    logs = {row: MetricsLog(path).read() for row, path in runs.items()}
    steps = min(max(r["step"] for r in records) for records in logs.values())
    lines = ["| training | reblurred: L1 | reblurred: PSNR | deblurred: PSNR |", "| --- | ---: | ---: | ---: |"]
    for row, records in logs.items():
        last = next(r for r in reversed(records) if r["step"] <= steps and "psnr" in r)
        told = next(r["settings"] for r in records if "settings" in r)
        blurred = next(r["psnr_blurred"] for r in records if "psnr_blurred" in r)
        deblurs = told["deblurring"] or last.get("part") == "deblur"
        lines.append(f"| {row} | {last['error_reblurred']:.5f} | {last['psnr_reblurred']:.2f} | "
                     f"{format(last['psnr'], '.2f') if deblurs else 'not trained'} |")
    text = pages.paragraph(f"""
Written by `python bench/blur_spaces.py --table reblur --run "ROW=FILE" ...` from the logs of the trainings, after {steps:,} steps each, on
their held-out pairs. Between the blurry and the sharp crops: {blurred:.2f} dB.""")
    return f"## A map, a vector, no code\n\n{text}\n\n" + "\n".join(lines)


# program --------------------------------------------------------------------------------------------------------------

def loaded(kind, path):
    """Weights of a file, the shipped ones, or None where there are none."""
    if path:
        return kind.load(path)
    return kind.from_pretrained() if kind.known_weights() else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=("space", "transfer", "undone", "prior", "parts", "reblur", "captured"), help="only this one")
    parser.add_argument("--ebks", metavar="FILE", help="weights of BlurKernelSpace")
    parser.add_argument("--ldr", metavar="FILE", help="weights of DegradationDeblur")
    parser.add_argument("--run", action="append", default=[], metavar="ROW=FILE", help="metrics.jsonl of a training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="write pictures there, and nothing else")
    parser.add_argument("--smoke", action="store_true", help="untrained networks, few steps; writes nothing")
    parser.add_argument("--records", type=Path, default=ROOT / "build", help="the folder where scores are kept")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "models", help="the folder of the pages")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = development_data.folder("bench/blur_spaces.py", "images", *(["pairs/gopro", "pairs/kohler12"] if arguments.pictures else []))
    if arguments.smoke:
        return smoke(data)
    space, ldr = loaded(BlurKernelSpace, arguments.ebks), loaded(DegradationDeblur, arguments.ldr)
    runs = dict(text.split("=", 1) for text in arguments.run)
    settings = {"sources": measure.versions_of("svconv/models/deep_prior", "svconv/models/blur_kernel_space", "bench/blur_scenes.py",
                                               "bench/blur_search.py"), "torch": torch.__version__}
    try:
        record = Record(arguments.records / "blur_spaces.json", settings)
    except OtherRun as error:
        sys.exit(f"bench/blur_spaces.py: {error}")
    if arguments.pictures:
        return blur_captured.write_pictures(arguments.pictures, data, space, ldr)
    ebks = "blur_kernel_space.md", "Encoded blur kernel space"
    degradation = "degradation_deblur.md", "Learned degradation representations"
    tables = {"space": (ebks, space, lambda: space_section(data, space)), "transfer": (ebks, space, lambda: transfer_section(data, space)),
              "undone": (ebks, space, lambda: undone_section(data, space)),
              "prior": (ebks, space, lambda: blur_search.prior_section(data, space, blur_search.Run(record, mark(space)))),
              "parts": (ebks, space, lambda: blur_search.parts_section(data, space, blur_search.Run(record, mark(space)))),
              "reblur": (degradation, runs, lambda: reblur_section(runs)),
              "captured": (ebks, space or ldr, lambda: blur_captured.section(data, space, ldr))}
    for name, ((page, title), needed, make) in tables.items():
        if arguments.table not in (None, name):
            continue
        if not needed:
            print(f"{name}: left out, no weights or runs are named or shipped")
            continue
        text = make()
        print(text)
        pages.fill(arguments.output / page, f"blur_spaces:{name}", text, title)


def smoke(data):
    torch.manual_seed(0)
    space, ldr = BlurKernelSpace(width=4).eval(), DegradationDeblur(width=4).eval()
    print(space_section(data, space, 4))
    print(transfer_section(data, space, 4))
    print(undone_section(data, space, (0, 1)))
    run = blur_search.Run(Record(None, {}), "untrained", steps={"prior": 2, "parts": 2}, warmup=1, images=1)
    print(blur_search.prior_section(data, space, run))
    print(blur_search.parts_section(data, space, run))
    print(blur_captured.section(data, space, ldr, side=128, steps=2))


if __name__ == "__main__":
    main()
