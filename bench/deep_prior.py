"""Seconds of a step of deep-prior deblurring: `python bench/deep_prior.py`.

    python bench/deep_prior.py                  prints the table and writes it into docs/models/blur_kernel_space.md
    python bench/deep_prior.py --width 64       a space of the paper's width
    python bench/deep_prior.py --smoke          a narrow space and image prior, few rounds; writes nothing

A joint step of `deep_prior_deblur` in its first part (features, structural similarity, norm of the code, hyper-Laplacian) beside
the same step as it stands in eager torch: contiguous memory, the features of the photograph in every step, the parameters of F frozen in
both. One after the other in every round. Weights are random: time does not depend on them.
"""
import argparse
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))     # last: an installed svconv goes before the checkout

import torch

from bench import measure, pages
from svconv.models import BlurKernelSpace
from svconv.models.deep_prior import deblur, variables
from svconv.models.deep_prior.image_prior import ImagePrior
from svconv.models.deep_prior.search import Search

DOCUMENT = measure.ROOT / "docs" / "models" / "blur_kernel_space.md"
SECTION, WANTED, NAMED = "bench:deep_prior", 1.5, 1.2
OURS, PLAIN, LOW = "svconv", "eager torch", "svconv, bfloat16"
PUBLISHED = 209.53      # seconds for 256 x 256 pixels and 5000 steps, V100


def search(space, y, precision="float32", plain=False):
    """A `Search` behind its warm-up."""
    options = deblur.checked_options(y, space, steps=10_000, warmup=0, precision=precision)
    found = Search(y, space, options, deblur.start_code(None, space, y), torch.Generator().manual_seed(0))
    if plain:
        for part in (found.image, found.code, space):
            part.to(memory_format=torch.contiguous_format)
        found.features = options.features
    return found


def record(width, side, rounds, budget):
    torch.manual_seed(0)
    y = torch.rand(1, 3, side, side)
    spaces = [BlurKernelSpace(width=width).eval().requires_grad_(False) for _ in range(3)]
    found = {OURS: search(spaces[0], y), PLAIN: search(spaces[1], y, plain=True), LOW: search(spaces[2], y, "bfloat16")}
    samples, failures = measure.interleave({name: one.step for name, one in found.items()}, measure.CPUStopwatch(), rounds=rounds,
                                           budget=budget)
    if failures:
        sys.exit(f"bench/deep_prior.py: {failures}")
    return {name: {"seconds": measure.summary(seconds)["median"], "gain": measure.ratio(samples[PLAIN], seconds)}
            for name, seconds in samples.items()}


@torch.enable_grad()
def parts(width, side, rounds=5):
    """{part: share of the time of a step}: forward and backward of each network alone, and of the losses."""
    y = torch.rand(1, 3, side, side)
    one = search(BlurKernelSpace(width=width).eval().requires_grad_(False), y)
    image, code = one.image(one.generator).detach().requires_grad_(), one.code(one.generator).detach().requires_grad_()
    made = one.space.blurred(image, code).detach().requires_grad_()
    weights = one.options.weights[0]
    calls = {
        "X, the image prior": lambda: one.image(one.generator).sum().backward(),
        "Q, the code prior": lambda: one.code(one.generator).sum().backward(),
        "F": lambda: one.space.blurred(image, code).sum().backward(),
        "losses": lambda: (weights.features * one.features(made, y) + one.similarity(made, y) + one.prior(image)).backward(),
        "Adam": lambda: [optimiser.step() for optimiser in one.optimisers],
        "a step": one.step,
    }
    samples, failures = measure.interleave(calls, measure.CPUStopwatch(), rounds=rounds, budget=60.0)
    if failures:
        sys.exit(f"bench/deep_prior.py: {failures}")
    medians = {name: measure.summary(seconds)["median"] for name, seconds in samples.items()}
    return {name: value / medians["a step"] for name, value in medians.items() if name != "a step"}


def section(found, shares, width, side):
    processor, gain = measure.processor(), found[OURS]["gain"]
    lines = ["| a step | s | times as fast as eager torch |", "| --- | ---: | ---: |",
             *(f"| {name} | {row['seconds']:.3f} | {row['gain']:.2f} |" for name, row in found.items())]
    where = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    text = pages.paragraph(f"""
Measured by `python bench/deep_prior.py --width {width} --side {side}`: {processor["name"]} (family {processor["family"]}),
{torch.get_num_threads()} threads, torch {torch.__version__}, one image of {side} x {side} pixels, a space of width {width}; load average
{measure.load_average()}. Median of the rounds; the ratios are medians of neighbours in time. Parameters of F are frozen in all rows.
Wanted: {WANTED} times as fast{"" if gain >= WANTED else "; **missed** in float32"}. Forward and backward of the parts alone take these
shares of a step: {where}. The paper: {PUBLISHED} s for 5000 steps at 256 x 256 on a V100; on a GPU: not measured.""")
    return f"## Speed\n\n{text}\n\n" + "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="python bench/deep_prior.py", description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=16, help="of the space (default 16)")
    parser.add_argument("--side", type=int, default=128, help="of the image (default 128)")
    parser.add_argument("--threads", type=int, help="of torch (default: as many as it takes itself)")
    parser.add_argument("--rounds", type=int, default=9, help="most timed runs of each (default 9)")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds (default 60)")
    parser.add_argument("--smoke", action="store_true", help="a narrow space and image prior, few rounds; writes nothing")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.smoke:
        variables.ImagePrior = lambda: ImagePrior(width=8)
        print(section(record(4, 128, 2, 10.0), parts(4, 128, 2), 4, 128))
        return
    text = section(record(arguments.width, arguments.side, arguments.rounds, arguments.budget), parts(arguments.width, arguments.side),
                   arguments.width, arguments.side)
    print(text)
    pages.fill(DOCUMENT, SECTION, text, "Encoded blur kernel space")


if __name__ == "__main__":
    main()
