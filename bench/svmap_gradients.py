"""Which gradients SVMAP learns from: what few steps of conjugate gradients, the preconditioner and unrolling make of them, and how much
those of single pairs differ.

    python bench/svmap_gradients.py                     prints the tables and writes them into docs/models/svmap_solve.md
    python bench/svmap_gradients.py --weights FILE      weights of another training (default: those that are shipped)
    python bench/svmap_gradients.py --smoke             two tiny pairs, an untrained network; writes nothing
"""
import argparse
import sys
import warnings
from pathlib import Path
from unittest import mock

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))      # last: an installed svconv goes before the checkout

from bench import development_data, measure, pages
from bench.svmap_scene import DATA
from svconv.data import KernelPairs
from svconv.models import SVMAP
from svconv.solvers.map_problem import Step

PAGE = ROOT / "docs" / "models" / "svmap_solve.md"
CASES = ((15, True, True), (30, True, True), (60, True, True), (30, True, False), (30, False, True), (30, False, False))


def pairs(count, size, most):
    photographs = [path for name in ("kodak24", "cbsd68") for path in sorted((DATA / "images" / name).iterdir())]
    return KernelPairs(photographs, size, kernel_sizes=(9, most), length=count, seed=4)


def gradients(model, batch, relative=False):
    """The gradient in all weights of each predictor, flat, {name: tensor}."""
    blurry, sharp, kernel = batch
    model.zero_grad()
    first, *_, last = ((image - sharp).abs().mean((1, 2, 3)) for image in model.images(blurry, kernel))
    (last / first.detach() if relative else last).mean().backward()
    return {f"{part} {step + 1}": torch.cat([p.grad.flatten() for p in net.parameters()])
            for part, nets in model.named_children() for step, net in enumerate(nets)}


def stopped_early(model, batch, reference_steps):
    """The rows of the first table."""
    options, arguments = dict(model.arguments), model.arguments
    arguments.update(max_iter=reference_steps, tol=1e-7)
    exact = gradients(model, batch)
    yield "| steps | gradient | preconditioner | " + " | ".join(exact) + " |\n| ---: | --- | --- |" + " ---: |" * len(exact)
    for steps, implicit, preconditioned in CASES:
        arguments.update(max_iter=steps, tol=0.0, implicit=implicit)
        with mock.patch.object(Step, "spectra", Step.spectra if preconditioned else lambda step: None):
            found = gradients(model, batch)
        cells = [f"{float(torch.dot(g, exact[name]) / (g.norm() * exact[name].norm())):.3f}, {float(g.norm() / exact[name].norm()):.2f}"
                 for name, g in found.items()]
        yield f"| {steps} | {'implicit' if implicit else 'unrolled'} | {'yes' if preconditioned else 'no'} | {' | '.join(cells)} |"
    arguments.update(options)


def single_pairs(model, items):
    """The rows of the second table."""
    yield "| loss | predictor | largest over median norm | signal | signal of unit gradients |\n| --- | --- | ---: | ---: | ---: |"
    for relative in (False, True):
        found = [gradients(model, [t[None] for t in item], relative) for item in items]
        for name in found[0]:
            g = torch.stack([each[name] for each in found])
            norms = g.norm(dim=1)
            signal = [float(t.mean(0).square().sum() / t.square().sum(1).mean()) for t in (g, g / norms[:, None])]
            loss = "relative to x^0" if relative else "absolute"
            yield f"| {loss} | {name} | {float(norms.max() / norms.median()):.1f} | {signal[0]:.3f} | {signal[1]:.3f} |"


def main():
    parser = argparse.ArgumentParser(prog="python bench/svmap_gradients.py", description=__doc__.splitlines()[0])
    parser.add_argument("--weights", help="a file of SVMAP.save (default: the shipped ones)")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, nothing is written")
    given = parser.parse_args()
    development_data.folder("bench/svmap_gradients.py", "images/kodak24", "images/cbsd68")
    torch.manual_seed(0)
    model = SVMAP(width=4) if given.smoke else SVMAP.load(given.weights) if given.weights else SVMAP.from_pretrained()
    model.train()
    count, size, most = (2, 32, 9) if given.smoke else (24, 64, 25)
    source = pairs(count, size, most)
    items = [source[i] for i in range(count)]
    side = max(kernel.shape[-1] for *_, kernel in items)
    items = [(b, s, torch.nn.functional.pad(k, [(side - k.shape[-1]) // 2] * 4)) for b, s, k in items]
    batch = [torch.stack(t) for t in zip(*items[:4])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)     # that adjoint solves stop early is what is measured
        first = list(stopped_early(model, batch, 30 if given.smoke else 400))
        second = list(single_pairs(model, items))
    weights = Path(given.weights).name if given.weights else "untrained" if given.smoke else "shipped"
    text = [f"Printed by `python bench/svmap_gradients.py` on {measure.processor()['name']}, weights {weights}: the gradient of the mean",
            f"absolute error in the weights of each predictor, crops of {size} pixels under kernels up to {most}.", "",
            "Cosine with the gradient of converged solves, and the ratio of the norms, one batch of four:", "", *first, "",
            f"{count} pairs one by one; signal is |mean gradient|^2 over the mean of |gradient|^2, {1 / count:.3f} for random directions:",
            "", *second]
    print("\n".join(text))
    if not given.smoke:
        pages.fill(PAGE, "gradients", "\n".join(text), "What the gradients are worth")


if __name__ == "__main__":
    main()
