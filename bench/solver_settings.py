"""Settings of the solvers chosen on one half of the photographs and scored on the other; `python bench/quality.py --sweep` runs it.

Photographs, kernels and seeds are fixed here: the captured pairs of Levin et al. 2009 in two halves that both hold both images, and central
crops of photographs with the measured kernels of the same authors and 1 % noise.
"""
import numpy as np
import torch

from svconv import Conv, solvers
from svconv.data import degrade, read_grey
from svconv.data.pairs import valid_convolution

SIDE, NOISE, SEED = 224, 0.01, 11
FIRST = ("im01_ker01", "im01_ker03", "im02_ker02", "im02_ker04")    # of the captured pairs; the other half are the rest
PHOTOGRAPHS = {    # (first half, other half)
    "kodak24": (("kodim01", "kodim08", "kodim19"), ("kodim05", "kodim13", "kodim23")),
    "mcmaster": (("1", "18"), ("17", "9")),
    "cbsd68": (("101085", "126007"), ("102061", "253027")),
}
GRIDS = {    # solver: (the name of its setting, values, function of (operator, y, value))
    "wiener": ("beta", (0.001, 0.002, 0.003, 0.005, 0.01, 0.02), lambda op, y, v: solvers.wiener(op, y, beta=v, border="mask").x),
    "richardson_lucy": ("max_iter", (25, 50, 100, 200),
                        lambda op, y, v: solvers.richardson_lucy(op, y.clamp_min(0), max_iter=v, border="mask").x),
    "hyper_laplacian": ("lam", (1000, 2000, 3000, 4000, 6000, 8000, 12000),
                        lambda op, y, v: solvers.hyper_laplacian(y, op.kernel, lam=v).x),
    "irls": ("reg", (5e-4, 1e-3, 2e-3, 4e-3), lambda op, y, v: solvers.irls(op, y, reg=v).x),
}


def noisy_photographs(data):
    """Two lists of (name, sharp, blurred, kernel): each crop blurred by one of the four measured kernels in turn."""
    stored = [np.load(data / "kernels" / "levin09" / f"levin09_k{i}.npy") for i in (1, 2, 3, 4)]
    kernels = [torch.from_numpy(np.ascontiguousarray(k)).float() for k in stored]
    generator, halves = torch.Generator().manual_seed(SEED), ([], [])
    for folder, names in PHOTOGRAPHS.items():
        for half, stems in zip(halves, names):
            for stem in stems:
                path, = (data / "images" / folder).glob(f"{stem}.*")
                k = kernels[len(half) % 4]
                k, (kh, kw) = k / k.sum(), k.shape
                image = torch.from_numpy(read_grey(path).astype(np.float32)) / 255
                top, left = ((n - SIDE - m + 1) // 2 for n, m in zip(image.shape, k.shape))
                image = image[top:top + SIDE + kh - 1, left:left + SIDE + kw - 1]
                sharp = image[kh - 1 - kh // 2:, kw - 1 - kw // 2:][:SIDE, :SIDE]
                blurred = degrade(valid_convolution(image, k)[None, None], gaussian=NOISE, generator=generator)
                half.append((stem, sharp[None, None], blurred, k[None, None]))
    return halves


def halves(pairs, data):
    """((captured pairs, noisy photographs) of the first half, the same of the other)."""
    captured = [p for p in pairs if p[0] in FIRST], [p for p in pairs if p[0] not in FIRST]
    return tuple(zip(captured, noisy_photographs(data)))


def sweep(parts, score, wanted=None, say=print, sets=("captured", "noisy")):
    """The lines of a table of every setting in GRIDS, or of one solver, each also said: mean PSNR of each of the sets in both halves
    (`halves`), and the best on the first."""
    lines, count = [], len(sets)

    def row(text):
        lines.append(text)
        say(text)

    row("| solver | setting | " + " | ".join(f"{half} half: {' | '.join(sets)} | mean" for half in ("first", "other")) + " |")
    row("| --- | --- |" + " ---: |" * 2 * (count + 1))
    for name, (setting, values, method) in GRIDS.items():
        if wanted not in (None, name):
            continue
        rows = {}
        for v in values:
            means = [[sum(score(method(Conv(k), y, v), x) for _, x, y, k in cases) / len(cases) for cases in half] for half in parts]
            rows[v] = [n for pair in means for n in (*pair, sum(pair) / count)]
            row(f"| {name} | `{setting}={v:g}` | " + " | ".join(f"{n:.2f}" for n in rows[v]) + " |")
        row(f"| {name} | chosen on the first half: `{setting}={max(rows, key=lambda v: rows[v][count]):g}` |" + " |" * 2 * (count + 1))
    return lines


def section(lines):
    captured, noisy = len(FIRST), sum(len(first) for first, _ in PHOTOGRAPHS.values())
    table = "\n".join(lines)
    return f"""## Settings, chosen on one half and scored on the other

Written by `python bench/quality.py --sweep`. Mean PSNR in dB of {captured} captured pairs and of {noisy} crops of {SIDE} x {SIDE} pixels
with measured kernels and {NOISE:.0%} noise, and the mean of both, in each half; scored as above, border "mask". The best on the first half
stands under each solver. The default of `hyper_laplacian` is that choice, `lam=3000`: captured pairs alone would want
8000, noise alone 2000.

{table}"""
