"""How often does `models.find_blur` say what a photograph has, and what does its restoration gain?

    python bench/blind_verdict.py                   prints the table of the check cases and writes it into docs/blind.md
    python bench/blind_verdict.py --calibration     the cases that the thresholds are set on; writes nothing

The cases: bench/verdict_cases.py, from the development data (SVCONV_DATA, by default ../shared/data beside the checkout).
"""
import argparse
import collections
import math
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

from bench import development_data, pages, verdict_cases
from svconv.cli import deblur, strength
from svconv.models.find_blur import find_blur

REACH, MARGIN = 8, 24
SECTION = "verdicts"
CLASSES = ("sharp", "restored", "varying", "defocus", "noisy")


def psnr(x, truth):
    """Of the interior, after the best whole-pixel shift."""
    m = MARGIN
    inside = truth[..., m:-m, m:-m]
    errors = [(x.roll((i, j), (-2, -1))[..., m:-m, m:-m] - inside).square().mean() for i in range(-REACH, REACH + 1)
              for j in range(-REACH, REACH + 1)]
    return -10 * math.log10(max(float(torch.stack(errors).min()), 1e-8))


@torch.no_grad()
def measured(case):
    """(finding, gain in dB of what `svconv deblur --blind` writes: the photograph itself where it is sharp)."""
    finding = find_blur(case.blurry)
    if finding.verdict == "sharp":
        return finding, 0.0
    reg = strength.strength("irls", finding.signs.noise, blind=True)
    x = deblur.restore_plane(case.blurry, finding.kernel[None, None], "irls", reg, None)
    return finding, psnr(x, case.sharp) - psnr(case.blurry, case.sharp)


def line(case, finding, gain):
    low, high = finding.signs.spread
    radius, disk = finding.signs.disk
    return (f"{case.name:12.12s} {case.truth:8s} {case.blur:42.42s} {100 * case.noise:4.1f} % -> {finding.verdict:8s} {finding.method:8s} "
            f"explained {finding.explained:5.2f}  noise {finding.signs.noise:.4f}  spread {low:.2f} {high:.2f}  agreement "
            f"{finding.signs.agreement:5.2f}  disk {radius:g}: {disk:.2f}  gain {gain:+.1f} dB")


def table(rows):
    """Markdown: for every class its cases, the verdicts and the gain."""
    lines = ["| blur | cases | right | verdicts | median gain, dB | worst |", "| --- | ---: | ---: | --- | ---: | ---: |"]
    for truth in CLASSES:
        part = [(f, g) for c, f, g in rows if c.truth == truth]
        if not part:
            continue
        said = collections.Counter(f.verdict for f, _ in part).most_common()
        gains = sorted(g for _, g in part)
        lines.append(f"| {truth} | {len(part)} | {sum(f.verdict == truth for f, _ in part) / len(part):.0%} | "
                     f"{', '.join(f'{v} {n}' for v, n in said)} | {gains[len(gains) // 2]:+.1f} | {gains[0]:+.1f} |")
    right = sum(f.verdict == c.truth for c, f, _ in rows)
    silent = [c for c, f, g in rows if g < -0.3 and f.verdict == "restored"]
    lines.append(f"| all | {len(rows)} | {right / len(rows):.0%} | | | |")
    return "\n".join(lines) + f"\n\nWorse than the photograph by more than 0.3 dB and yet called restored: {len(silent)} of {len(rows)}."


def section(rows):
    return pages.paragraph(f"""Written by `python bench/blind_verdict.py`. {len(rows)} photographs whose blur is known, none of
which, nor any of whose kernels, set a threshold. Gain: PSNR of what `svconv deblur --blind` makes of it over that of the photograph; best
whole-pixel shift within {REACH} pixels; 0 where the verdict leaves the photograph as it is.""") + "\n\n" + table(rows)


def run(cases, page=None):
    """Prints a line for every case and the table, which goes into a page."""
    rows = []
    for case in cases:
        rows.append((case, *measured(case)))
        print(line(*rows[-1]), flush=True)
    print(table(rows))
    if page is not None:
        pages.fill(page, SECTION, section(rows), "Blind deblurring")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calibration", action="store_true", help="the cases that the thresholds are set on; writes nothing")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "blind.md")
    arguments = parser.parse_args()
    needed = ("train",) if arguments.calibration else ("images", "kernels", "pairs/levin09", "psf_grids/zemax_lenses")
    data = development_data.folder("bench/blind_verdict.py", *needed)
    run(verdict_cases.calibration(data) if arguments.calibration else verdict_cases.check(data),
        None if arguments.calibration else arguments.output)


if __name__ == "__main__":
    main()
