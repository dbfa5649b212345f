"""What bench/models/ltd_studies.py writes into docs/models/learning_to_deblur.md: its numbers as tables with the budgets of the rows."""
import statistics

from bench import blind, pages
from bench.models import ltd_estimates as estimates
from bench.models.ltd_trainings import AGAIN, BUILDINGS, COMMON, EVERYTHING, FILTERS, HIDDEN

SECTION, TITLE = "bench:ltd_studies", "Learning to Deblur"
STAGES = {n: f"{n} stages" for n in (1, 2, 3)}       # the rows of the tables and the names of their nets; None: the shipped one
LAYERS = {(f, h): f"{f} filters, {h} hidden" for f in FILTERS for h in HIDDEN}
FEATURES = {"1 pair": "1 pairs", "2 pairs": "32 filters, 1 hidden", "2 pairs, another seed": "another seed", "4 pairs": "4 pairs",
            "2 pairs, blurry features fixed to the x- and y-differences": "gradients"}
NOISE_ROWS = {"shipped weights (1 %)": None, "1 %, the net of three stages above": "3 stages", "5 %": "3 stages, noisy"}
CONTENT_ROWS = {"all photographs, the net of three stages above": "3 stages", "buildings": "3 stages, buildings",
                "all photographs, then all photographs": EVERYTHING, "all photographs, then buildings": BUILDINGS}
LOST = "not measured"


def write(path, scores, seed):
    """Puts the section into the page; returns it."""
    text = section(scores, seed)
    pages.fill(path, SECTION, text, TITLE)
    return text


def section(scores, seed):
    """The section of the page for scores by key, as `ltd_studies.Studies` makes them; what is missing is called so."""
    parts = [part(scores) for part in (stages, layers, features, noise, content, crops, sizes)]
    return "\n\n".join(["## The paper's studies", introduction(scores, seed), *parts])


def table(head, rows, cells):
    """A table; rows: [(name, score or None)], cells: score -> the other cells of its row."""
    lines = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
    for name, score in rows:
        found = cells(score) if score else [LOST] + [""] * (len(head) - 2)
        lines.append(f"| {name} | {' | '.join(found)} |")
    return "\n".join(lines)


def part(title, text, *tables):
    return "\n\n".join([f"### {title}", pages.paragraph(text), *tables])


def introduction(scores, seed):
    guess = scores.get("held-out pairs")
    known = "" if guess is None else (f" A guess that knows the mean kernel of these pairs has {guess['error_of_mean_kernel']:.4f} and "
                                      f"{guess['relative_of_mean_kernel']:.3f}, the delta {guess['error_of_delta']:.2f} and "
                                      f"{guess['relative_of_delta']:.1f}.")
    return pages.paragraph(f"""Written by `python bench/models/ltd_studies.py`, seed {seed}. The budgets are small, a few minutes of one
core per net where the paper has two days per stage. Each net is trained once; how much of a difference is chance shows the row with
another seed, and a standard error over pairs does not include it. All trainings are those of
`svconv train ltd` with `--average {COMMON["average"]} --warmup {COMMON["warmup"]}`, otherwise as it is by default:
{COMMON["batch"]} crops of
{COMMON["size"]} x {COMMON["size"]} pixels per step, noise 0.01, kernels of 9 to 17 pixels. A step is a step of the whole net, whatever its
size, so all nets of a table have seen equally many pairs. Errors are those of the held-out pairs (128 crops of 192 x 192): sum of squared
kernel differences, and relative: the same divided by the true kernel's sum of squares.{known}""")


def trained_cells(score):
    counts = [f"{score[name]:,}" for name in ("steps", "parameters", "seconds")]
    return [*counts, ", ".join(f"{error:.4f}" for error in score["error"]), f"{score['relative'][-1]:.3f}"]


TRAINED_HEAD = ("steps", "parameters", "processor seconds", "kernel error", "relative")


def stages(scores):
    head = ("stages", *TRAINED_HEAD[:3], "error of stage 1, 2, 3", "of the last, relative")
    rows = [(str(n), scores.get(f"stages | {n}")) for n in STAGES]
    return part("Stages (Fig. 3)", f"""Equal steps in all, shared equally by the stages: each stage is added when it is its turn,
{COMMON["frozen_steps"]} steps with the older ones frozen, then all together.""", table(head, rows, trained_cells))


def layers(scores):
    rows = [(f"{f} filters, {h} recombination{'s' * (h != 1)}", scores.get(f"layers | {f}, {h}")) for f, h in LAYERS]
    return part("Filters and hidden levels (Fig. 4)", """One stage. Without a hidden recombination the features are those of the paper's
Eq. (2), one level of tanh; each recombination adds a level.""", table(("net", *TRAINED_HEAD), rows, trained_cells))


def features(scores):
    return part("Feature pairs (Fig. 5)", "One stage, 32 filters, one recombination.",
                table(("features", *TRAINED_HEAD), [(row, scores.get(f"features | {row}")) for row in FEATURES], trained_cells))


def compared(study, rows, kinds, scores):
    """The table of nets that are measured on several kinds of pairs, and a sentence about the last two."""
    def cells(score):
        errors = [f"{score[kind][name]:.{digits}f}" for kind in kinds for name, digits in (("error", 4), ("relative", 3))]
        return [" + ".join(f"{steps:,}" for steps in score.get("steps", [])), *errors]

    head = ["net", "steps", *(f"{shown}: {name}" for shown in kinds.values() for name in ("error", "relative"))]
    found = scores.get(f"{study} | difference")
    said = "" if found is None else "Last row minus the one before, relative errors: " + "; ".join(
        f"{shown} {found[kind][0]:+.3f} (standard error over the pairs {found[kind][1]:.3f})" for kind, shown in kinds.items()) + "."
    return table(head, [(row, scores.get(f"{study} | {row}")) for row in rows], cells), said


def weights_of(scores, key):
    found = scores.get(key, {}).get("weights")
    return f"Weights {found}." if found else ""


def noise(scores):
    shown, said = compared("noise", NOISE_ROWS, {"0.01": "1 % noise", "0.05": "5 % noise"}, scores)
    return part("Noise", f"""Nets of three stages that have learned with 1 % and with 5 % noise, trained as in the first table, on both.
{said} {weights_of(scores, "noise | shipped weights (1 %)")}""", shown)


def content(scores):
    shown, said = compared("content", CONTENT_ROWS, {BUILDINGS: "buildings", EVERYTHING: "all kinds"}, scores)
    return part("One kind of content", f"""Nets of three stages that have learned from a folder of buildings (BSDS500, chosen by eye) and
from all photographs, trained as in the first table; then that of all photographs gone on for equally many steps with either, `--rate
{AGAIN}`, which leaves less to chance. All are measured on pairs of buildings that are in no training, and on the held-out pairs of all
kinds. {said}""", shown)


def crops(scores):
    found = scores.get("crops")
    sides = sorted(map(int, found.keys() - {"weights"})) if found else estimates.SIDES
    rows = [(f"{side} x {side}", found and found[str(side)]) for side in sides]
    count = f"{rows[0][1]['pairs']} pairs" if found else "Pairs"
    return part("Size of the image (Fig. 19)", f"""The shipped net, without training. {count}: windows of test photographs
({", ".join(estimates.LARGE)}) under 17-pixel kernels, noise 0.01; the smaller crops are the middles of the largest.
{weights_of(scores, "crops")}""", table(("crop", "kernel error", "relative", "standard error of it"), rows, crop_cells))


def crop_cells(score):
    return [f"{score['error']:.4f}", f"{score['relative']:.3f}", f"{score['spread']:.3f}"]


def sizes(scores):
    found = {int(key.split(" | ")[1]): score for key, score in scores.items() if key.startswith("sizes | ")}
    shown = estimates.SIZES if set(found) <= set(estimates.SIZES) else sorted(found)
    head = ["kernel", *(f"{method}: {word}" for method in estimates.METHODS for word in ("median", "mean"))]
    count = next((len(score[estimates.METHODS[0]]) for score in found.values()), estimates.COUNT)
    return part("Size of the kernel", f"""Error ratio, as in [quality](../quality.md#blind-deblurring): squared error of the image that is
restored with the estimate over that with the true kernel. {count} test photographs, a sampled kernel each, noise {blind.NOISE}. The net is
the shipped one for 17 pixels: it cannot show what lies outside of them. `solvers.blind_kernel`, which learns nothing, is told the size.
{weights_of(scores, f"sizes | {shown[0]}")}""", table(head, [(f"{n} pixels", found.get(n)) for n in shown], size_cells))


def size_cells(score):
    return [f"{mean(score[method]):.2f}" for method in estimates.METHODS for mean in (statistics.median, statistics.fmean)]
