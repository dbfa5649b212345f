"""Non-blind deblurring of captured photographs with their measured kernels: PSNR of every classical solver.

    python bench/quality.py             prints the table and writes it into docs/quality.md
    python bench/quality.py --sweep     the same for many settings on both halves of photographs that are cut in two for choosing
    python bench/quality.py --sweep hyper_laplacian     prints it for one solver alone, writes nothing

The pairs come from the development data (SVCONV_DATA, by default ../shared/data beside the checkout; docs/development_data.md says how it
is laid out). Without it both tables are made of crops of the package's own photograph (CC0) and printed; nothing is written.
"""
import argparse
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

from bench import development_data, pages, solver_settings
from svconv import Conv, solvers

MARGIN, REACH = 15, 5  # pixels left out at each border, and the largest shift tried
SECTION = "non-blind"
CAPTURED, NOISY = "pairs/levin09", ("images/kodak24", "images/mcmaster", "images/cbsd68", "kernels/levin09")     # of the development data

# name in the table: (settings as printed, function of (operator, y))
METHODS = {
    "blurred input": ("", lambda op, y: y),
    "wiener": ("beta=0.003, border='mask'", lambda op, y: solvers.wiener(op, y, beta=0.003, border="mask").x),
    "richardson_lucy": ("max_iter=200, border='mask'",
                        lambda op, y: solvers.richardson_lucy(op, y.clamp_min(0), max_iter=200, border="mask").x),
    "hyper_laplacian": ("lam=8000", lambda op, y: solvers.hyper_laplacian(y, op.kernel, lam=8000).x),
    "hyper_laplacian, closed form": ("lam=2000, padding='replicate'",
                                     lambda op, y: solvers.hyper_laplacian(y, op.kernel, lam=2000, padding="replicate").x),
    "hyper_laplacian, defaults": ("", lambda op, y: solvers.hyper_laplacian(y, op.kernel).x),
    **{f"irls, {n} re-weightings": (f"reg=0.001, reweightings={n}", lambda op, y, n=n: solvers.irls(op, y, reg=1e-3, reweightings=n).x)
       for n in (0, 1, 2, 3, 50)},
    "irls, defaults": ("", lambda op, y: solvers.irls(op, y).x),
}


def load_pairs(folder):
    """(name, sharp, blurred, kernel) of the eight pairs, [1, 1, H, W]; the stored kernel correlates, so it is turned by 180 degrees."""
    from scipy.io import loadmat

    def tensor(a):
        return torch.from_numpy(a.copy()).float()[None, None]

    pairs = []
    for path in sorted(folder.glob("im*_ker*.mat")):
        fields = loadmat(path)
        kernel = fields["f"][::-1, ::-1]
        pairs.append((path.stem, tensor(fields["x"]), tensor(fields["y"]), tensor(kernel / kernel.sum())))
    return pairs


def best_psnr(x, truth):
    """PSNR of the interior after the best integer shift: the kernels are not centred."""
    height, width = truth.shape[-2:]
    inside = truth[..., MARGIN:height - MARGIN, MARGIN:width - MARGIN]
    errors = [(x[..., MARGIN + i:height - MARGIN + i, MARGIN + j:width - MARGIN + j] - inside).square().mean()
              for i in range(-REACH, REACH + 1) for j in range(-REACH, REACH + 1)]
    return -10 * float(torch.stack(errors).min().log10())


def measure(methods, pairs, say=print):
    """{name: [PSNR of each pair]}; one line is said for each method."""
    scores = {}
    for name, (_, method) in methods.items():
        scores[name] = [best_psnr(method(Conv(kernel), y), x) for _, x, y, kernel in pairs]
        say(f"{name:32s} mean {sum(scores[name]) / len(pairs):6.2f} dB   " + " ".join(f"{s:.2f}" for s in scores[name]))
    return scores


def table(methods, pairs, scores):
    """Markdown, best mean first."""
    head = ["solver", "settings", *(name.replace("_", " ") for name, *_ in pairs), "mean"]
    lines = ["| " + " | ".join(head) + " |", "| --- | --- |" + " ---: |" * (len(pairs) + 1)]
    for name in sorted(scores, key=lambda n: -sum(scores[n])):
        row = scores[name]
        settings = f"`{methods[name][0]}`" if methods[name][0] else ""
        lines.append(f"| {name} | {settings} | " + " | ".join(f"{s:.2f}" for s in row) + f" | {sum(row) / len(row):.2f} |")
    return "\n".join(lines)


def section(methods, pairs, scores):
    return f"""## Non-blind deblurring, captured photographs

Written by `python bench/quality.py`. PSNR in dB on the {len(pairs)} pairs of Levin et al. 2009 in the development data: 255 x 255
photographs really captured with camera shake, restored with the kernel measured from the same shake. Best integer shift within {REACH}
pixels, {MARGIN} pixels left out at each border. One setting per solver for all pairs, near the best for captured photographs in the
table of settings on this page; the rows "defaults" are what a call without settings gives.

{table(methods, pairs, scores)}"""


def without_data(absent, sweep=None, say=print):
    """The tables on crops of the package's photograph, printed only, and what the missing data would add."""
    crops = development_data.photograph_crops()
    say(f"{len(crops)} grey crops of {crops[0][1].shape[-1]} pixels of the package's photograph (CC0) under sampled shakes, 1 % noise; "
        "PSNR in dB with the true kernels\n")
    if sweep is None:
        say("\n" + table(METHODS, crops, measure(METHODS, crops, say)))
    else:
        solver_settings.sweep(((crops[::2],), (crops[1::2],)), best_psnr, sweep or None, say, sets=("crops",))
    what = "captured with camera shake" if sweep is None else "captured with camera shake, and of three more sets under measured kernels"
    say(f"\nNothing was written. The table of docs/quality.md, of photographs {what}, {development_data.advice(absent)}.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", nargs="?", const="", choices=["", *solver_settings.GRIDS],
                        help="compare settings instead and write that table; of one solver: print it alone")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "quality.md")
    arguments = parser.parse_args()
    if absent := development_data.missing(CAPTURED, *(() if arguments.sweep is None else NOISY)):
        return without_data(absent, arguments.sweep)
    data = development_data.place()
    pairs = load_pairs(data / CAPTURED)
    if arguments.sweep is not None:
        lines = solver_settings.sweep(solver_settings.halves(pairs, data), best_psnr, arguments.sweep or None)
        if not arguments.sweep:
            pages.fill(arguments.output, "settings", solver_settings.section(lines), "Quality")
        return
    scores = measure(METHODS, pairs)
    pages.fill(arguments.output, SECTION, section(METHODS, pairs, scores), "Quality")


if __name__ == "__main__":
    main()
