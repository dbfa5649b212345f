"""What a call costs where there is little to compute: microseconds, printed and written into docs/speed.md.

    python bench/call_overhead.py             seconds, in one thread
    python bench/call_overhead.py --smoke     a few calls; writes nothing

The part of a call that is spent inside of the compiled module is measured beside the whole; the rest is Python and torch around it. The
baselines are the same formulas in plain torch. Medians of rounds in turn.
"""
import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))      # last: an installed svconv goes before the checkout

import svconv
from bench import measure, pages
from bench.peers import pixel_filter as filter_peers, quotient as quotient_peers
from svconv.backends import cpu

PAGE, SECTION = ROOT / "docs" / "speed.md", "bench:call_overhead"
CALLS = 200     # of one candidate in one round


def candidates():
    """{row: (svconv, plain torch)}."""
    generator = torch.Generator().manual_seed(0)
    rows = {}
    x, filters = torch.rand(1, 1, 8, 8, generator=generator), torch.rand(1, 1, 1, 3, 3, 8, 8, generator=generator)
    rows["pixel_filter, 3 x 3, 8 x 8"] = (lambda: svconv.pixel_filter(x, filters), lambda: filter_peers.shift_loop(x, filters))
    for side in (64, 255):
        a, b = (torch.rand(1, 2, side, side, generator=generator) for _ in range(2))
        kernel = torch.rand(1, 1, 17, 17, generator=generator)
        rows[f"conv, 17 x 17, 2 x {side} x {side}"] = (
            lambda a=a, k=kernel: svconv.conv(a, k), lambda a=a, k=kernel: quotient_peers.conv(a, k))
        rows[f"kernel_quotient, 17 x 17, 2 x {side} x {side}"] = (
            lambda a=a, b=b: svconv.kernel_quotient(a, b, 17, beta=0.01),
            lambda a=a, b=b: quotient_peers.kernel_quotient(a, b, taps=17, beta=0.01))
        rows[f"image_quotient, 17 x 17, 2 x {side} x {side}"] = (
            lambda b=b, k=kernel: svconv.image_quotient(b, k, beta=0.01),
            lambda b=b, k=kernel: quotient_peers.image_quotient(b, k, beta=0.01))
    return rows


class Timed:
    """The compiled module, with the time that is spent in it."""

    def __init__(self, module):
        self.module, self.seconds = module, 0.0

    def __getattr__(self, name):
        function = getattr(self.module, name)

        def timed(*arguments):
            begun = time.perf_counter()
            function(*arguments)
            self.seconds += time.perf_counter() - begun
        return timed


def each(call, calls):
    """Seconds of one call."""
    begun = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - begun) / calls


def divided(call, calls):
    """Seconds of one call, and those of them that are spent in the compiled module."""
    module, timed = cpu.extension, Timed(cpu.extension())
    users = [m for name, m in sys.modules.items() if name.startswith("svconv.backends.cpu.") and hasattr(m, "extension")]
    try:
        for user in users:
            user.extension = lambda: timed
        return each(call, calls), timed.seconds / calls
    finally:
        for user in users:
            user.extension = module


def table(rounds, calls):
    """Rows of cells."""
    found = []
    for name, (ours, plain) in candidates().items():
        for call in (ours, plain):
            each(call, 20)
        samples = [(*divided(ours, calls), each(plain, calls)) for _ in range(rounds)]
        whole, module, torch_alone = (1e6 * statistics.median(column) for column in zip(*samples, strict=True))
        ratio = statistics.median(b / a for a, _, b in samples)
        found.append((name, f"{whole:.0f}", f"{module:.0f}", f"{whole - module:.0f}", f"{torch_alone:.0f}", f"{ratio:.1f}x"))
    return found


def main():
    parser = argparse.ArgumentParser(prog="python bench/call_overhead.py", description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few calls; writes nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with torch.no_grad():
        rows = table(*((1, 2) if given.smoke else (15, CALLS)))
    head = ("call", "µs", "in the compiled module", "around it", "plain torch", "speed-up")
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1), *("| " + " | ".join(row) + " |" for row in rows)]
    machine = f"{measure.processor()['name']}, one thread, float32, load {measure.load_average()}"
    text = "\n".join([f"{machine}, by `python bench/call_overhead.py`:", "", *lines])
    print(text)
    if not given.smoke:
        pages.fill(PAGE, SECTION, text, "Speed")


if __name__ == "__main__":
    main()
