"""Seconds per megapixel of SVBR-Net: `python bench/svbr_net.py`.

    python bench/svbr_net.py                    prints the table and writes it into docs/models/svbr_net.md
    python bench/svbr_net.py --smoke            a tiny image, without torch.compile; writes nothing

The network in eval mode under no_grad (batch normalisation folded into the convolutions, channels_last), beside the same layers as they
stand in eager torch, in either memory format, and under torch.compile; one after the other in every round. Weights are random: time does
not depend on them.
"""
import argparse
import copy
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))     # last: an installed svconv goes before the checkout

import torch

from bench import measure, pages
from svconv.models import SVBRNet
from svconv.models.svbr_net.blocks import ConvNorm

DOCUMENT = measure.ROOT / "docs" / "models" / "svbr_net.md"
SECTION, WANTED = "bench:svbr_net", 1.3
PLAIN = "eager torch"


class PlainConvNorm(ConvNorm):
    """The layers one after the other."""

    def forward(self, x):
        x = self.norm(self.conv(x))
        return torch.relu(x) if self.relu else x


def plain(model, memory_format=torch.contiguous_format):
    """The same network without folding."""
    model = copy.deepcopy(model).to(memory_format=memory_format)
    for module in model.modules():
        if type(module) is ConvNorm:
            module.__class__ = PlainConvNorm
    return model.eval()


def candidates(model, compiled=True):
    found = {"SVBRNet": model, PLAIN: plain(model), "eager torch, channels_last": plain(model, torch.channels_last)}
    return found | ({"torch.compile": torch.compile(plain(model))} if compiled else {})


def record(side, rounds, budget, compiled=True):
    torch.manual_seed(0)
    model = SVBRNet().eval()
    image, radius = torch.rand(1, 3, side, side), 6 * torch.rand(1, 1, side, side)
    with torch.no_grad():
        networks = candidates(model, compiled)
        expected = model(image, radius)
        deviations = {name: float((network(image, radius) - expected).abs().max()) for name, network in networks.items()}
        calls = {name: (lambda network=network: network(image, radius)) for name, network in networks.items()}
        samples, failures = measure.interleave(calls, measure.CPUStopwatch(), rounds=rounds, budget=budget)
    if failures:
        sys.exit(f"bench/svbr_net.py: {failures}")
    megapixels = side * side / 1e6
    return {name: {"seconds": measure.summary(seconds)["median"] / megapixels, "over": measure.ratio(seconds, samples["SVBRNet"]),
                   "deviation": deviations[name]} for name, seconds in samples.items()}


def section(found, side):
    processor = measure.processor()
    lines = ["| | s per megapixel | times SVBRNet |", "| --- | ---: | ---: |",
             *(f"| {name} | {row['seconds']:.2f} | {row['over']:.2f} |" for name, row in found.items())]
    gain = found[PLAIN]["over"]
    return "\n".join([
        "## Speed", "", f"Measured by `python bench/svbr_net.py`: {processor['name']} (family {processor['family']}), "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, float32, one image of {side} x {side} pixels; load average "
        f"{measure.load_average()}. Median of the rounds; the ratios are medians of neighbours in time. The results differ by at most "
        f"{max(row['deviation'] for row in found.values()):.0e}.", "", *lines, "",
        f"Wanted: at least {WANTED} times as fast as eager torch{'' if gain >= WANTED else '; **missed**'}."])


def main():
    parser = argparse.ArgumentParser(prog="python bench/svbr_net.py", description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=768, help="of the image (default 768)")
    parser.add_argument("--threads", type=int, help="of torch (default: as many as it takes itself)")
    parser.add_argument("--rounds", type=int, default=9, help="most timed runs of each (default 9)")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds (default 60)")
    parser.add_argument("--smoke", action="store_true", help="a tiny image, without torch.compile; writes nothing")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.smoke:
        print(section(record(32, 2, 5.0, compiled=False), 32))
        return
    text = section(record(arguments.side, arguments.rounds, arguments.budget), arguments.side)
    print(text)
    pages.fill(DOCUMENT, SECTION, text, "SVBR-Net")


if __name__ == "__main__":
    main()
