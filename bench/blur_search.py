"""Deep-prior deblurring for bench/blur_spaces.py: eight images in distribution, and what the parts of the search are for."""
import statistics
import time

import torch

from bench import blur_scenes as scenes, pages
from svconv.models import deep_prior_deblur

STEPS, WARMUP, SEED, PRECISION = {"prior": 1000, "parts": 500}, 100, 0, "bfloat16"
FORMS = {"joint": {}, "alternating": {"mode": "alternating"}, "pixels in the place of networks": {"image_prior": "pixels"},
         "without the hyper-Laplacian prior": {"hyper_laplacian": 0.0}, "without the norm of the code": {"code_norm": 0.0}}


class Run:
    """PSNR of searches, kept in the record by weights, image, form and steps."""

    def __init__(self, record, weights, steps=None, warmup=WARMUP, images=None):
        self.record, self.weights, self.steps, self.warmup = record, weights, steps or STEPS, warmup
        self.images = images or len(scenes.SEARCHED)

    def score(self, data, space, index, form, steps):
        """[PSNR of the image that was found, seconds]"""
        def compute():
            start = time.monotonic()
            blurry, sharp, _ = scenes.pairs(data)[index]
            found = deep_prior_deblur(blurry[None], space, steps=steps, warmup=self.warmup, precision=PRECISION,
                                      generator=torch.Generator().manual_seed(SEED), **FORMS[form])
            result = [scenes.psnr(found.x[0], sharp), time.monotonic() - start]
            print(f"{form}, image {index}: {result[0]:.2f} dB   ({result[1]:.0f} s)", flush=True)
            return result

        return self.record.get(f"{self.weights} | {index} | {form} | {steps} | {self.warmup}", compute)


def blurred(data, index):
    """PSNR of the blurry image of a pair."""
    blurry, sharp, _ = scenes.pairs(data)[index]
    return scenes.psnr(blurry, sharp)


def prior_section(data, space, run):
    steps, images = run.steps["prior"], scenes.SEARCHED[:run.images]
    before = [blurred(data, i) for i in images]
    after = [run.score(data, space, i, "joint", steps) for i in images]
    gain = statistics.fmean(a[0] for a in after) - statistics.fmean(before)
    names = [f"{scenes.KINDS[i % len(scenes.KINDS)]} {i // len(scenes.KINDS) + 1}" for i in images]
    lines = [f"| PSNR | {' | '.join(names)} | mean |", "| --- |" + " ---: |" * (len(images) + 1)]
    for row, values in (("blurry", before), (f"joint, {steps:,} steps", [a[0] for a in after])):
        lines.append(f"| {row} | " + " | ".join(f"{v:.2f}" for v in (*values, statistics.fmean(values))) + " |")
    text = pages.paragraph(f"""
Written by `python bench/blur_spaces.py --table prior`. The first {len(images)} of these pairs, {scenes.SIDE} x {scenes.SIDE} pixels,
deblurred by `deep_prior_deblur` with {run.warmup} steps of warm-up, `nn.FilterBankFeatures` in the place of VGG-19, networks in
{PRECISION}, seed {SEED}; PSNR in dB to the sharp image. On the mean {gain:+.2f} dB over the blurry image, wanted above
0{"" if gain > 0 else ", **missed**"}.
{statistics.fmean(a[1] for a in after):.0f} s for an image on this machine, which was not quiet.""")
    return f"## Deep-prior deblurring\n\n{text}\n\n" + "\n".join(lines)


def parts_section(data, space, run):
    steps, images = run.steps["parts"], scenes.SEARCHED[:min(2, run.images)]
    lines = [f"| PSNR, {steps} steps | {' | '.join(f'image {i + 1}' for i in images)} | mean |", "| --- |" + " ---: |" * (len(images) + 1)]
    rows = {"blurry": [blurred(data, i) for i in images]}
    rows |= {form: [run.score(data, space, i, form, steps)[0] for i in images] for form in FORMS}
    for row, values in rows.items():
        lines.append(f"| {row} | " + " | ".join(f"{v:.2f}" for v in (*values, statistics.fmean(values))) + " |")
    text = pages.paragraph(f"""
Written by `python bench/blur_spaces.py --table parts`. The first {len(images)} of these images, {steps} steps in every row; otherwise as
above.""")
    return f"## What the parts are for\n\n{text}\n\n" + "\n".join(lines)
