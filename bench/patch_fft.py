"""Transforms of patches: those of the compiled module beside torch.fft in batches, at the lengths that patches of the eff family have.

    python bench/patch_fft.py             prints the table and writes it into docs/ops/eff.md
    python bench/patch_fft.py --smoke     two lengths, few rounds; writes nothing

"svconv" is everything that `eff_conv` does with a patch whose kernel's spectrum is at hand: cut, window, transform, multiply, transform
back, add. "torch.fft" is `rfft2` and `irfft2` alone, of 8 or 64 planes in one call. Both with one thread, in turn; the median of the
processor time of the thread, so that other programs disturb little.
"""
import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

from bench import measure, pages
from svconv import EFFGrid
from svconv._fourier import fast_length
from svconv.backends.cpu import extension
from svconv.reference import eff as reference

SECTION, TAPS, SIDE = "patch-transforms", 31, 8     # SIDE x SIDE patches without overlap
LENGTHS = [n for n in range(64, 161) if fast_length(n) == n]
BATCHES = 8, 64


def candidates(length):
    """{name: function that does the work of SIDE x SIDE patches}"""
    from svconv.backends.cpu import eff

    grid, x, kernels = problem(length, torch.float32)
    spectra = eff.eff_spectra(kernels, "scatter", "zeros", grid)
    calls = {"svconv": lambda: eff.eff_fwd(x, kernels, "scatter", "zeros", *grid.options, spectra=spectra)}
    for batch in BATCHES:
        planes = torch.rand(batch, length, length)
        calls[f"torch.fft, {batch}"] = lambda planes=planes, batch=batch: [
            torch.fft.irfft2(torch.fft.rfft2(planes), s=planes.shape[-2:]) for _ in range(SIDE * SIDE // batch)]
    return calls


def problem(length, dtype):
    """Patches whose planes have exactly that length."""
    side, generator = SIDE * (length - TAPS + 1), torch.Generator().manual_seed(length)
    grid = EFFGrid((side, side), (SIDE, SIDE), overlap=0)
    x, kernels = (torch.rand(shape, dtype=dtype, generator=generator) for shape in ((1, 1, side, side), (1, 1, SIDE * SIDE, TAPS, TAPS)))
    return grid, x, kernels / kernels.sum((-2, -1), keepdim=True)


def deviation(length):
    """max|a - b| / max|b| of the patches in float64, against torch.fft."""
    from svconv.backends.cpu import eff

    grid, x, kernels = problem(length, torch.float64)
    arguments = x, kernels, "scatter", "zeros", *grid.options
    expected = reference.eff_fwd(*arguments)
    return float((eff.eff_fwd(*arguments) - expected).abs().max() / expected.abs().max())


def thread_seconds(call):
    start = time.thread_time()
    call()
    return time.thread_time() - start


def measured(length, rounds):
    """{name: microseconds of a patch}, and the median over the rounds of the quickest torch.fft over svconv."""
    samples, failures = measure.interleave(candidates(length), thread_seconds, rounds=rounds, prime=True)
    if failures:
        raise RuntimeError(f"length {length}: {failures}")
    own, *others = samples.values()
    best = min(others, key=statistics.median)
    return {name: statistics.median(seconds) / SIDE**2 * 1e6 for name, seconds in samples.items()}, measure.ratio(best, own)


def table(lengths, rounds, say=print):
    """The lines of the table, each also said."""
    lines = []

    def row(*cells):
        lines.append("| " + " | ".join(cells) + " |")
        say(lines[-1])

    row("length", "svconv, µs per patch", *(f"torch.fft, {batch} in one call" for batch in BATCHES), "ratio", "float64 deviation")
    row(*["---:"] * (4 + len(BATCHES)))
    for length in lengths:
        times, ratio = measured(length, rounds)
        row(str(length), *(f"{t:.1f}" for t in times.values()), f"{ratio:.2f}", f"{deviation(length):.0e}")
    return lines


def section(lines):
    cpu = measure.processor()
    return f"""Written by `python bench/patch_fft.py`, which says what is timed: one thread of {cpu['name']} ({cpu['isa']}),
torch {torch.__version__}, medians of the thread's processor time, all candidates in turn, load average {measure.load_average()}.
Ratio: the quicker torch.fft over svconv.

""" + "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="two lengths, few rounds; writes nothing")
    parser.add_argument("--rounds", type=int, default=25, help="timed runs of each candidate (default 25)")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "ops" / "eff.md")
    arguments = parser.parse_args()
    if isinstance(extension(), str):
        sys.exit(f"bench/patch_fft.py: {extension()}")
    torch.set_num_threads(1)
    lines = table(LENGTHS[:2] if arguments.smoke else LENGTHS, 3 if arguments.smoke else arguments.rounds)
    if not arguments.smoke:
        pages.fill(arguments.output, SECTION, section(lines), "eff")


if __name__ == "__main__":
    main()
