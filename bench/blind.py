"""Blind deblurring: how much worse than with the true kernel is an image restored with an estimated one?

    python bench/blind.py                     prints the tables and writes them into docs/quality.md, then the verdicts into docs/blind.md
    python bench/blind.py --weights FILE      another file of `svconv train ltd` than the shipped one; writes nothing

Error ratio = SSD(restored with the estimate) / SSD(restored with the true kernel), both by `solvers.hyper_laplacian`, after the best
integer shift.
Test images come from the development data (SVCONV_DATA, by default ../shared/data beside the checkout); the networks are not trained on
them.
"""
import argparse
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

from bench import development_data, pages
from svconv import kernel_quotient, project_kernel, solvers
from svconv.data import degrade, motion_kernel, read_grey
from svconv.data.pairs import valid_convolution
from svconv.models import LearningToDeblur, find_blur

SIZE, KERNEL, NOISE, MARGIN, REACH = 320, 17, 0.01, 20, 4
LAM = 500  # of the deconvolution: lower than for a known kernel, because errors of the kernel act like noise
SECTION = "blind"
FOLDERS = ("kodak24", "mcmaster", "cbsd68", "set5")


def photographs(folder, count=12):
    """Central crops [SIZE + KERNEL - 1] of grey photographs that are large enough, 0..1."""
    side, found = SIZE + KERNEL - 1, []
    for path in sorted(p for f in FOLDERS for p in (folder / f).iterdir() if p.suffix.lower() in (".png", ".bmp", ".tif", ".tiff")):
        image = read_grey(path)
        if min(image.shape) >= side:
            top, left = ((s - side) // 2 for s in image.shape)
            found.append((path.stem, torch.from_numpy(image[top:top + side, left:left + side].astype(np.float32)) / 255))
    return found[:: max(1, len(found) // count)][:count]


def fitted(kernel):
    """A measured kernel in a 17 x 17 box about its centre of mass (nearest pixel)."""
    kernel = torch.as_tensor(np.ascontiguousarray(kernel), dtype=torch.float32)
    centre = [round(float((kernel.sum(1 - a) * torch.arange(kernel.shape[a])).sum() / kernel.sum())) for a in (0, 1)]
    padded = torch.nn.functional.pad(kernel, (KERNEL,) * 4)
    half = KERNEL // 2
    box = padded[KERNEL + centre[0] - half:KERNEL + centre[0] + half + 1, KERNEL + centre[1] - half:KERNEL + centre[1] + half + 1]
    return box / box.sum()


def blurred_photographs(data):
    """(name, sharp, blurry, kernel), each photograph with a sampled and with a measured kernel."""
    generator = torch.Generator().manual_seed(2024)
    measured = [fitted(np.load(data / "kernels" / "levin09" / f"levin09_k{i}.npy")) for i in (2, 3)]
    cases = []
    for i, (name, image) in enumerate(photographs(data / "images")):
        half = KERNEL // 2
        sharp = image[half:half + SIZE, half:half + SIZE][None, None]
        for kind, kernel in (("sampled", motion_kernel(KERNEL, generator=generator)[0]), ("measured", measured[i % 2])):
            blurry = degrade(valid_convolution(image, kernel)[None, None], gaussian=NOISE, generator=generator)
            cases.append((f"{name}, {kind}", sharp, blurry, kernel))
    return cases


def larger_shakes(data):
    """24 photographs of other sets under the published motion kernels of usrnet12 and dpsr, 11 to 35 pixels, noise NOISE."""
    from bench import verdict_cases

    kernels = [(n, torch.from_numpy(np.ascontiguousarray(k)).float()) for n, k in verdict_cases.published_shakes(data / "kernels")[:10]]
    paths = [p for folder in ("mcmaster", "urban100", "sun80", "div2k") for p in sorted((data / "images" / folder).iterdir())]
    generator, cases = torch.Generator().manual_seed(2025), []
    for i in range(24):
        name, kernel = kernels[i % 10]
        path, side = paths[(i + i // 10) % len(paths)], SIZE + kernel.shape[0] - 1
        image = read_grey(path, halve_above=1100)
        top, left = ((s - side) // 2 for s in image.shape)
        image, half = torch.from_numpy(image[top:top + side, left:left + side].astype(np.float32)) / 255, kernel.shape[0] // 2
        kernel = kernel / kernel.sum()
        blurry = degrade(valid_convolution(image, kernel)[None, None], gaussian=NOISE, generator=generator)
        cases.append((f"{path.stem}, {name}", image[half:half + SIZE, half:half + SIZE][None, None], blurry, kernel))
    return cases


def captured_pairs(data):
    """The Levin pairs whose kernel fits 17 pixels; the stored kernel correlates, so it is turned by 180 degrees."""
    from scipy.io import loadmat

    cases = []
    for path in sorted((data / "pairs" / "levin09").glob("im*_ker*.mat")):
        fields = loadmat(path)
        if max(fields["f"].shape) <= KERNEL:
            sharp, blurry = (torch.from_numpy(fields[n].copy()).float()[None, None] for n in "xy")
            cases.append((path.stem, sharp, blurry, fitted(fields["f"][::-1, ::-1])))
    return cases


def gradient_kernel(y):
    """One quotient without learning: all image gradients as the blurry features, the strongest tenth of them as the sharp ones."""
    g = torch.cat([y[..., :-1, 1:] - y[..., :-1, :-1], y[..., 1:, :-1] - y[..., :-1, :-1]], 1)
    strength = g.square().sum(1, keepdim=True)
    strong = strength >= strength.flatten(1).quantile(0.9)
    return project_kernel(kernel_quotient(g * strong, g, KERNEL))


def plain_kernel(y):
    """The same with all gradients on both sides."""
    g = torch.cat([y[..., :-1, 1:] - y[..., :-1, :-1], y[..., 1:, :-1] - y[..., :-1, :-1]], 1)
    return project_kernel(kernel_quotient(g, g, KERNEL))


def smallest_error(x, truth):
    """SSD of the interior after the best integer shift."""
    height, width = truth.shape[-2:]
    m = MARGIN
    inside = truth[..., m:height - m, m:width - m]
    errors = [
        (x[..., m + i : height - m + i, m + j : width - m + j] - inside).square().sum()
        for i in range(-REACH, REACH + 1)
        for j in range(-REACH, REACH + 1)
    ]
    return float(torch.stack(errors).min())


def restore(y, kernel):
    return solvers.hyper_laplacian(y, kernel[None] if kernel.dim() == 2 else kernel, lam=LAM, padding="replicate").x


@torch.no_grad()
def measure(model, cases, say=print):
    """{method: [error ratio of each case]}"""
    methods = {"no deblurring": None, "plain gradients": plain_kernel, "strongest gradients": gradient_kernel}
    methods["`LearningToDeblur`"] = lambda y: model(y).kernel
    methods["`LearningToDeblur`, then `blind_kernel` on two scales"] = lambda y: (
        solvers.blind_kernel(y, KERNEL, start=model(y).kernel, scales=2).x
    )
    methods["`blind_kernel` alone"] = lambda y: solvers.blind_kernel(y, KERNEL).x
    methods["`find_blur`, which tries sizes and methods"] = lambda y: find_blur(y, model=model, force=True).kernel[None]
    ratios = {name: [] for name in methods}
    for name, sharp, blurry, kernel in cases:
        best = smallest_error(restore(blurry, kernel), sharp)
        for method, estimate in methods.items():
            x = blurry if estimate is None else restore(blurry, estimate(blurry))
            ratios[method].append(smallest_error(x, sharp) / best)
        say(f"{name:32s} " + "  ".join(f"{m} {r[-1]:.2f}" for m, r in ratios.items()))
    return ratios


def table(ratios):
    """Markdown: median, mean, and the share of cases up to an error ratio of 2 and 3."""
    lines = ["| kernel | median error ratio | mean | up to 2 | up to 3 |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, values in ratios.items():
        v = np.array(values)
        lines.append(f"| {name} | {np.median(v):.2f} | {v.mean():.2f} | {(v <= 2).mean():.0%} | {(v <= 3).mean():.0%} |")
    return "\n".join(lines)


def section(synthetic, captured, larger, counts):
    return f"""## Blind deblurring

Written by `python bench/blind.py`. Error ratio: squared error of the image restored with the estimated kernel over that of the image
restored with the true kernel; both with `solvers.hyper_laplacian(lam={LAM}, padding="replicate")`, best integer shift within {REACH}
pixels, {MARGIN} pixels left out at each border. The network is the shipped `ltd-17`. "Plain gradients": one kernel quotient of the
image's differences with themselves; "strongest gradients": with the strongest tenth of them. `solvers.blind_kernel` alternates between an
image with few edges and its kernel, without learning; with the network's kernel as its start it is what `svconv deblur --blind --refine`
tries. `models.find_blur` keeps the one among several kernels that explains the spectrum best ([how](blind.md)); it is what
`svconv deblur --blind` does.

{counts[0]} cases: grey {SIZE} x {SIZE} crops of test photographs ({", ".join(FOLDERS)}), each blurred with a sampled {KERNEL}-pixel
kernel and with a measured one (Levin 2009, numbers 2 and 3), noise {NOISE}:

{table(synthetic)}

{counts[1]} captured pairs of Levin et al. 2009, those whose kernel fits {KERNEL} pixels:

{table(captured)}

{counts[2]} crops of photographs of other sets (McMaster, Urban100, Sun 80, DIV2K) under the motion kernels of usrnet12 and dpsr, 11 to 35
pixels, noise {NOISE}; the first methods still look for {KERNEL} pixels:

{table(larger)}"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="weights instead of the shipped ones; then nothing is written")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "quality.md")
    arguments = parser.parse_args()
    data = development_data.folder("bench/blind.py", "images", "kernels", "pairs/levin09", "psf_grids/zemax_lenses")
    model = LearningToDeblur.load(arguments.weights) if arguments.weights else LearningToDeblur.from_pretrained("ltd-17")
    cases = blurred_photographs(data), captured_pairs(data), larger_shakes(data)
    found = [measure(model, c) for c in cases]
    print(*map(table, found), sep="\n\n")
    if not arguments.weights:
        pages.fill(arguments.output, SECTION, section(*found, [len(c) for c in cases]), "Quality")
        from bench import blind_verdict, verdict_cases

        blind_verdict.run(verdict_cases.check(data), arguments.output.with_name("blind.md"))


if __name__ == "__main__":
    main()
