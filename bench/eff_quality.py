"""Deblurring with a kernel per patch: with measured PSF grids (does it beat one kernel for the whole image, and what does a wrong grid
cost?), and with kernels that are estimated from a photograph taken while the camera shifted and rolled (bench/shake_quality.py).

    python bench/eff_quality.py                     prints both tables and writes them into docs/quality.md; some hours on one core
    python bench/eff_quality.py --table lens        the first only; --table shake: the second only
    python bench/eff_quality.py --smoke             parts of two photographs, one grid, few steps; writes nothing

Every score is kept in build/*_quality.json as soon as it is known: a run that was stopped goes on where it was.
Photographs and grids come from the development data (SVCONV_DATA, by default ../shared/data beside the checkout).
"""
import argparse
import json
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

from bench import development_data, measure, pages, psf_scenes, shake_quality
from svconv import Conv, EFFBlur, eff_image_quotient, image_quotient, solvers

SECTION = "eff"
CG_STEPS = 60       # most of one solve of IRLS
STRENGTHS = {"quotient": (0.001, 0.003, 0.01, 0.02, 0.04, 0.08, 0.16), "irls": (0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016),
             "rl": (5, 10, 20, 40, 80, 160, 320)}
NAMES = {"blurred": "blurred", "central quotient": "central PSF, quotient", "central irls": "central PSF, IRLS", "quotient": "eff quotient",
         "irls": "eff IRLS", "rl": "eff Richardson-Lucy"}
VARIANTS = {"exact": lambda lens: lens, "noise": psf_scenes.noisy, "shift": psf_scenes.shifted}


# methods: function(lens, y, strength, cg_iter) ------------------------------------------------------------------------

def central(lens, index):
    return lens.kernels[:, :, index]


def operator(lens, y):
    return EFFBlur(lens.kernels, lens.grid(y), padding="replicate")


def central_quotient(lens, y, strength, index, **_):
    return image_quotient(y, central(lens, index), beta=strength, prior="gradient", padding="replicate")


def central_irls(lens, y, strength, index, cg_iter):
    return solvers.irls(Conv(central(lens, index)), y, reg=strength, cg_iter=cg_iter).x


def quotient(lens, y, strength, **_):
    return eff_image_quotient(y, lens.kernels, lens.grid(y), beta=strength)


def irls(lens, y, strength, cg_iter, **_):
    return solvers.irls(operator(lens, y), y, reg=strength, cg_iter=cg_iter).x


def rl(lens, y, strength, **_):
    return solvers.richardson_lucy(operator(lens, y), y, max_iter=strength, negative="clip", border="mask").x


METHODS = {"central quotient": central_quotient, "central irls": central_irls, "quotient": quotient, "irls": irls, "rl": rl}


# scores ---------------------------------------------------------------------------------------------------------------

class OtherRun(ValueError):
    """A record holds the scores of other settings."""


class Record:
    """Scores by key in a file, written after each; `path` None keeps them in memory. A file of other settings is refused."""

    def __init__(self, path, settings):
        self.path, self.data = path, {"settings": settings, "scores": {}}
        if path and path.exists():
            self.data = json.loads(path.read_text())
            if self.data["settings"] != settings:
                raise OtherRun(f"{path}: a record of another run: delete it, or name another folder with --records")

    def get(self, key, compute):
        scores = self.data["scores"]
        if key not in scores:
            scores[key] = compute()
            if self.path:
                pages.write(self.path, json.dumps(self.data, indent=1) + "\n")
        return scores[key]


class Run:
    """Scores [PSNR, SSIM] of photographs (of those for choosing only PSNR), made when they are asked for and kept in the record.

    images: name -> sharp photograph. chosen, reported: names.
    """

    def __init__(self, record, images, chosen, reported, strengths, cg_iter=CG_STEPS, say=print):
        self.record, self.images, self.chosen, self.reported = record, images, chosen, reported
        self.strengths, self.cg_iter, self.say, self.blurred = strengths, cg_iter, say, {}

    def score(self, lens, name, method, strength=None, index=0, variant="exact"):
        key = " | ".join(map(str, (lens.name, name, method, strength, index, variant)))

        def compute():
            x, start = self.images[name], time.monotonic()
            if (lens.name, name) not in self.blurred:
                self.blurred[lens.name, name] = psf_scenes.blurred(x, lens, seed=list(self.images).index(name))
            y = self.blurred[lens.name, name]
            wrong = VARIANTS[variant](lens)
            made = y if method == "blurred" else METHODS[method](wrong, y, strength, index=index, cg_iter=self.cg_iter)
            found = [psf_scenes.psnr(made, x), *([psf_scenes.ssim(made, x)] if name in self.reported else [])]
            self.say(f"{key}: {found[0]:.2f} dB   ({time.monotonic() - start:.1f} s)")
            return found

        return self.record.get(key, compute)

    def mean(self, names, *arguments, **options):
        scores = [self.score(arguments[0], name, *arguments[1:], **options) for name in names]
        return [sum(part) / len(scores) for part in zip(*scores)]

    def choose(self, lens, method, indices=(0,)):
        """The (strength, index) with the best mean PSNR on the photographs for choosing."""
        options = [(strength, index) for strength in self.strengths[method.split()[-1]] for index in indices]
        return max(options, key=lambda option: self.mean(self.chosen, lens, method, *option)[0])

    def lens(self, lens):
        """{method: {"strength", "index", variant: [PSNR, SSIM], "each": the PSNR of every photograph}} of one grid."""
        rows = {"blurred": {"strength": "", "exact": self.mean(self.reported, lens, "blurred")}}
        indices = lens.central()
        for method in METHODS:
            one = method.startswith("central")
            strength, index = self.choose(lens, method, indices if one else (0,))
            if method == "central quotient":
                indices = (index,)      # the PSF that serves the quotient best serves IRLS too
            rows[method] = {"strength": strength, "index": index}
            for variant in ("exact",) if one else VARIANTS:
                rows[method][variant] = self.mean(self.reported, lens, method, strength, index, variant)
            rows[method]["each"] = [self.score(lens, name, method, strength, index)[0] for name in self.reported]
        return rows


# page -----------------------------------------------------------------------------------------------------------------

def table(results):
    """Markdown of {grid: rows}."""
    lines = ["| grid | method | strength | PSNR | SSIM | PSNR, 5 % noise on the kernels | PSNR, grid off by half a patch |",
             "| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    for grid, rows in results.items():
        for method, row in rows.items():
            wrong = [f"{row[variant][0]:.2f}" if variant in row else "" for variant in ("noise", "shift")]
            cells = [grid, NAMES[method], str(row["strength"]), f"{row['exact'][0]:.2f}", f"{row['exact'][1]:.3f}", *wrong]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def wishes(results):
    """What is wanted of each grid, each with what was found."""
    lines = []

    def wish(text, value, limit):
        lines.append(f"- {text}: {value:+.2f} dB, wanted {limit:+.2f}{'' if value >= limit else ', **missed**'}")

    for grid, rows in results.items():
        psnr = {method: row["exact"][0] for method, row in rows.items()}
        if grid in ("Pixel 4", "Edmund"):
            wish(f"{grid}, eff quotient over the central PSF with the quotient", psnr["quotient"] - psnr["central quotient"], 1)
            wish(f"{grid}, eff IRLS over the central PSF with IRLS", psnr["irls"] - psnr["central irls"], 1)
            wish(f"{grid}, eff quotient over blurred", psnr["quotient"] - psnr["blurred"], 2)
            wish(f"{grid}, eff IRLS over the eff quotient", psnr["irls"] - psnr["quotient"], 0)
        elif grid == "DECam":
            for method, name in (("quotient", "quotient"), ("irls", "IRLS")):
                least = min(a - b for a, b in zip(rows[method]["each"], rows[f"central {method}"]["each"]))
                wish(f"{grid}, eff over the central PSF, {name}, the worst photograph", least, -0.05)
    return "\n".join(lines)


def section(results):
    scenes = psf_scenes
    return f"""## Measured PSF grids

Written by `python bench/eff_quality.py`. Kodak photographs blurred by measured grids (`eff_conv`, scatter, patches that overlap by half),
{scenes.NOISE:.0%} noise; mean PSNR in dB and SSIM of {", ".join(scenes.REPORTED)}, {scenes.MARGIN} pixels left out at each border.
Strengths (`beta`; `reg`, with at most {CG_STEPS} CG steps per solve; steps) are the best on {", ".join(scenes.CHOSEN)}, and so is the
central PSF, one of the one to four patches nearest to the middle. The last two columns restore with a wrong grid: noise of
{scenes.WRONG:.0%} of each kernel's norm, and each patch with the kernel of its right neighbour.

{table(results)}

{wishes(results)}"""


def smoke(data, say=print):
    """The same on parts of two photographs with one grid."""
    names = psf_scenes.CHOSEN[0], psf_scenes.REPORTED[0]
    images = {name: psf_scenes.photograph(data, name)[..., 200:344, 200:392].contiguous() for name in names}
    strengths = {method: values[1:3] for method, values in STRENGTHS.items()}
    run = Run(Record(None, {}), images, names[:1], names[1:], strengths, cg_iter=5, say=say)
    return {lens.name: run.lens(lens) for lens in psf_scenes.lenses(data)[2:3]}


# both tables ----------------------------------------------------------------------------------------------------------

def photographs(data):
    return {name: psf_scenes.photograph(data, name) for name in sorted((*psf_scenes.CHOSEN, *psf_scenes.REPORTED))}


def lens_table(data, folder):
    """(the table with what is wanted of it, the section of the page, its name)."""
    settings = {"sources": measure.versions_of("svconv", "csrc", "bench/psf_scenes.py"), "torch": torch.__version__, "cg_steps": CG_STEPS}
    record = Record(folder / "eff_quality.json", settings)
    run = Run(record, photographs(data), psf_scenes.CHOSEN, psf_scenes.REPORTED, STRENGTHS)
    results = {lens.name: run.lens(lens) for lens in psf_scenes.lenses(data)}
    return f"{table(results)}\n\n{wishes(results)}", section(results), SECTION


def shake_table(data, folder):
    """Likewise."""
    sources = measure.versions_of("svconv", "csrc", "bench/psf_scenes.py", "bench/shake_scenes.py")
    record = Record(folder / "shake_quality.json", {"sources": sources, "torch": torch.__version__})
    results = shake_quality.Run(record, photographs(data)).results()
    return shake_quality.table(results), shake_quality.section(results), shake_quality.SECTION


TABLES = {"lens": lens_table, "shake": shake_table}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=TABLES, help="only this one")
    parser.add_argument("--smoke", action="store_true", help="parts of two photographs, one grid, few steps; writes nothing")
    parser.add_argument("--records", type=Path, default=ROOT / "build", help="the folder where scores are kept")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "quality.md")
    arguments = parser.parse_args()
    data = development_data.folder("bench/eff_quality.py", "psf_grids", "images/kodak24")
    chosen = [arguments.table] if arguments.table else list(TABLES)
    if arguments.smoke:
        if "lens" in chosen:
            results = smoke(data)
            print(table(results), wishes(results), sep="\n\n")
        if "shake" in chosen:
            print(shake_quality.table(shake_quality.smoke(data, Record(None, {}))))
        return
    for name in chosen:
        try:
            printed, body, section_name = TABLES[name](data, arguments.records)
        except OtherRun as error:
            sys.exit(f"bench/eff_quality.py: {error}")
        print(printed)
        pages.fill(arguments.output, section_name, body, "Quality")


if __name__ == "__main__":
    main()
