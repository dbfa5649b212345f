"""Deblurring with a known kernel: SVMAP, SIMAP and their variants beside hyper-Laplacian and Levin, on photographs and kernels that no
training has seen.

    python bench/svmap_quality.py                           prints all tables and writes them into docs/models/svmap.md
    python bench/svmap_quality.py --table main              the first table: 1 % noise
    python bench/svmap_quality.py --table degradations      other noise, JPEG, saturated light
    python bench/svmap_quality.py --table captured          the pairs of Levin et al. 2009
    python bench/svmap_quality.py --table filters           how filters differ between areas
    python bench/svmap_quality.py --pictures FOLDER         writes photographs with really unknown blur, restored, to be looked at
    python bench/svmap_quality.py --net FILE@STEPS          weights of a row of the first table, trained for so many steps; may be repeated
    python bench/svmap_quality.py --trained "5 % noise=FILE"    a network that was trained for a degradation; may be repeated
    python bench/svmap_quality.py --smoke                   parts of two photographs, an untrained network; writes nothing

Every score is kept in build/svmap_quality.json as soon as it is known: a run that was stopped goes on where it was.
Photographs and kernels come from the development data (SVCONV_DATA, by default ../shared/data beside the checkout).
"""
import argparse
import functools
import itertools
import statistics
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

from bench import development_data, measure, pages, svmap_captured, svmap_methods, svmap_scenes
from bench.eff_quality import OtherRun, Record
from bench.svmap_methods import LEVIN, NOISY, ROWS, STRENGTHS
from svconv.models import SVMAP

MAIN = "1 % noise"
BEST_LEVIN = 3          # re-weightings of Levin beside the networks under other degradations


class Run:
    """[PSNR, SSIM] of every scene and method, made when they are asked for and kept in the record.

    networks: {row: model}. scenes: function(case, chosen, both) -> scenes, one after the other; both: under two kernels.
    """

    def __init__(self, record, networks, scenes, say=print, levin_counts=LEVIN):
        self.record, self.networks, self.scenes, self.say, self.levin_counts = record, networks, scenes, say, levin_counts
        self.marks = {row: svmap_methods.mark(model) for row, model in networks.items()}

    def score(self, scene, case, method, compute):
        def timed():
            start = time.monotonic()
            with torch.no_grad():
                found = svmap_scenes.scores(compute(), scene.sharp)
            self.say(f"{case} | {scene.name} | {method}: {found[0]:.2f} dB, {found[1]:.4f}   ({time.monotonic() - start:.1f} s)")
            return found
        return self.record.get(f"{case} | {scene.name} | {method}", timed)

    def choose(self, case, counts):
        """{"hyper": lam, n: reg of Levin with n re-weightings} with the best mean PSNR on the pictures for choosing; with 50 re-weightings
        only the two neighbours of the best with 3 are tried beside it."""
        strengths, found = (STRENGTHS if case == MAIN else NOISY), {}
        scenes = list(self.scenes(case, True, False))

        def best(tried, name, solve):
            means = {strength: statistics.fmean(self.score(scene, case, f"{name} {strength:g}", lambda s=scene, t=strength: solve(s, t))[0]
                                                for scene in scenes) for strength in tried}
            self.say(f"{case}: {name}: " + ", ".join(f"{strength:g}: {mean:.2f} dB" for strength, mean in means.items()))
            return max(means, key=means.get)

        found["hyper"] = best(strengths["hyper"], "hyper", svmap_methods.hyper)
        for count in counts:
            tried = strengths["levin"]
            if count > 3 and 3 in found:
                place = tried.index(found[3])
                tried = tried[max(0, place - 1):place + 2]
            found[count] = best(tried, f"levin, {count}", lambda scene, reg, count=count: svmap_methods.levin(scene, reg, count))
        return found

    def rows(self, case, counts, networks, both=True):
        """({row: [PSNR, SSIM] of each scene}, the strengths)"""
        chosen, found = self.choose(case, counts), {}
        for scene in self.scenes(case, False, both):
            methods = {"blurred": lambda s=scene: s.blurred}
            if networks:
                methods["initial deconvolution"] = lambda s=scene: svmap_methods.first(s, next(iter(networks.values())))
            methods["hyper-Laplacian"] = lambda s=scene: svmap_methods.hyper(s, chosen["hyper"])
            methods |= {f"Levin, {n} re-weighting{'s' if n > 1 else ''}": lambda s=scene, n=n: svmap_methods.levin(s, chosen[n], n)
                        for n in counts}
            methods |= {row: lambda s=scene, m=model: svmap_methods.by_network(s, m) for row, model in networks.items()}
            for row, compute in methods.items():
                key = row if row not in networks else f"{row} {svmap_methods.mark(networks[row])}"
                if row == "hyper-Laplacian":
                    key = f"hyper {chosen['hyper']:g}"
                elif row.startswith("Levin"):
                    count = int(row.split()[1])
                    key = f"levin, {count} {chosen[count]:g}"
                found.setdefault(row, []).append(self.score(scene, case, key, compute))
        return found, chosen


# tables ---------------------------------------------------------------------------------------------------------------

def means(scores):
    return [statistics.fmean(column) for column in zip(*scores)]


def main_table(found, steps):
    lines = ["| | trained for | PSNR | SSIM |", "| --- | ---: | ---: | ---: |"]
    for row, scores in found.items():
        psnr, ssim = means(scores)
        trained = "" if row not in steps else "steps not known" if steps[row] is None else f"{steps[row]:,} steps"
        lines.append(f"| {row} | {trained} | {psnr:.2f} | {ssim:.4f} |")
    return "\n".join(lines)


def wishes(found):
    """What the issue asks of the first table, met or not."""
    psnr, lines = {row: means(scores)[0] for row, scores in found.items()}, []
    classical = {row: value for row, value in psnr.items() if row == "hyper-Laplacian" or row.startswith("Levin")}
    best = max(classical, key=classical.get)
    wanted = "SVMAP, T = 2" if "SVMAP, T = 2" in psnr else "SVMAP_share"
    if wanted in psnr:
        gain = psnr[wanted] - classical[best]
        wins = sum(a[0] > b[0] for a, b in zip(found[wanted], found[best]))
        lines.append(f"- {wanted} over the better of hyper-Laplacian and Levin ({best}): {gain:+.2f} dB, ahead in {wins} of "
                     f"{len(found[best])} scenes; wanted above 0{'' if gain > 0 else ', **missed**'}")
    for order in (("SIMAP (3, 5)", "SVMAP_share", "SVMAP, T = 2"), ("SVMAP, T = 1", "SVMAP, T = 2", "SVMAP, T = 3")):
        there = [[key for key in psnr if key == row or key.startswith(f"{row}, ") and key.endswith(" steps")] for row in order]
        there = [keys[-1] for keys in there if keys]        # of two of a kind the second, which is there for the comparison
        if len(there) > 1:
            values = [psnr[row] for row in there]
            lines.append(f"- the paper's order {' < '.join(there)}: {', '.join(f'{value:.2f}' for value in values)}; "
                         f"{'as there' if values == sorted(values) else 'not so here'}")
    missing = [row for row in ROWS if row not in psnr]
    if missing:
        lines.append(f"- without weights, left out: {'; '.join(missing)}")
    return "\n".join(lines)


def degradation_table(results):
    rows = list(dict.fromkeys(row for found, _ in results.values() for row in found))
    lines = [f"| | {' | '.join(results)} |", f"| --- | {' | '.join('---:' for _ in results)} |"]
    for row in rows:
        cells = ["{:.2f} / {:.4f}".format(*means(found[row])) if row in found else "" for found, _ in results.values()]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main_section(found, chosen, steps):
    scenes = svmap_scenes
    levin = ", ".join(f"{n}: {value:g}" for n, value in chosen.items() if n != "hyper")
    tried = {method: ", ".join(f"{value:g}" for value in values) for method, values in STRENGTHS.items()}
    text = pages.paragraph(f"""
Written by `python bench/svmap_quality.py --table main`. {len(found["blurred"])} scenes: the middle {scenes.SIDE} x {scenes.SIDE} pixels
of {", ".join(scenes.REPORTED)}, each under one measured kernel ({", ".join(scenes.MEASURED)}) and one synthetic one
({", ".join(scenes.SYNTHETIC)}; "motion N": `motion_kernel` of N pixels, seed {scenes.SEED} + N), light coming in from outside, 1 % noise.
Means of PSNR in dB and SSIM, {scenes.MARGIN} pixels left out at each border. Strengths with the best mean PSNR on
{", ".join(scenes.CHOSEN)}: lam {chosen["hyper"]:g} of {tried["hyper"]}; reg of Levin by re-weightings
{levin} of {tried["levin"]}.""")
    return f"""## Photographs and kernels that training has not seen

{text}

{main_table(found, steps)}

{wishes(found)}"""


def degradation_section(results):
    chosen = "; ".join(f"{case}: lam {s['hyper']:g}, reg {s[BEST_LEVIN]:g}" for case, (_, s) in results.items())
    text = pages.paragraph(f"""
Written by `python bench/svmap_quality.py --table degradations`. {len(next(iter(results.values()))[0]["blurred"])} of the scenes above, a
kernel each; mean PSNR in dB / SSIM. "saturated": so bright that {svmap_scenes.CASES["saturated"]["saturated"]:.0%} of the pixels of the
sharp image reach white, these {svmap_scenes.BRIGHTER} times brighter still, clipped after blur and noise; impulse noise beside 1 %
Gaussian noise. Levin: {BEST_LEVIN} re-weightings. Strengths chosen for each column on the other pictures:
{chosen}.""")
    return f"""## Degradations it was not trained for

{text}

{degradation_table(results)}"""


# program --------------------------------------------------------------------------------------------------------------

def networks_of(texts):
    """({row: model}, {row: steps}) in the order of ROWS; a shipped network that is not there is left out with a line."""
    found, steps = {}, {}
    for text in texts or ["gaussian1"]:
        try:
            model, count = svmap_methods.loaded(text)
        except ValueError as error:
            print(f"left out: {text}: {error}")
            continue
        row = svmap_methods.label(model)
        if row in found:
            row = f"{row}, {count} steps"       # a second one of the kind
        found[row], steps[row] = model, count
    order = [*ROWS, *(row for row in found if row not in ROWS)]
    return {row: found[row] for row in order if row in found}, steps


def trained_for(texts):
    """{case: model} of CASE=NAME|FILE."""
    found = {}
    for text in texts:
        case, _, name = text.partition("=")
        if case not in svmap_scenes.CASES:
            sys.exit(f"--trained: expected one of {', '.join(svmap_scenes.CASES)} before =, got {case!r}")
        found[case] = svmap_methods.loaded(name)[0]
    return found


def degradations(run, networks, special):
    chief = next((row for row in ("SVMAP, T = 2", "SVMAP_share") if row in networks), next(iter(networks), None))
    results = {}
    for case in svmap_scenes.CASES:
        here = {} if chief is None else {f"{chief}, trained with 1 % noise": networks[chief]}
        if case in special:
            here["the same, trained for it"] = special[case]
        results[case] = run.rows(case, (BEST_LEVIN,), here, both=False)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=("main", "degradations", "captured", "filters"), help="only this one")
    parser.add_argument("--net", action="append", default=[], metavar="NAME|FILE[@STEPS]", help="weights of a row (default: gaussian1)")
    parser.add_argument("--trained", action="append", default=[], metavar="CASE=FILE", help="a network that was trained for a degradation")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="write restored photographs there, and nothing else")
    parser.add_argument("--smoke", action="store_true", help="parts of two photographs, an untrained network; writes nothing")
    parser.add_argument("--records", type=Path, default=ROOT / "build", help="the folder where scores are kept")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "models" / "svmap.md")
    arguments = parser.parse_args()
    needed = ("images", "kernels", *(() if arguments.smoke else ("pairs/levin09",)), *(("pairs/real_blind",) if arguments.pictures else ()))
    data = development_data.folder("bench/svmap_quality.py", *needed)
    if arguments.smoke:
        return smoke(data)
    networks, steps = networks_of(arguments.net)
    if arguments.pictures:
        return svmap_captured.write_pictures(arguments.pictures, data, networks)
    settings = {"sources": measure.versions_of("svconv/solvers", "svconv/models/svmap", "bench/svmap_scenes.py", "bench/svmap_methods.py"),
                "torch": torch.__version__}
    try:
        record = Record(arguments.records / "svmap_quality.json", settings)
    except OtherRun as error:
        sys.exit(f"bench/svmap_quality.py: {error}")
    run = Run(record, networks, functools.partial(scenes_of, data))
    sections = {"main": lambda: main_section(*run.rows(MAIN, LEVIN, networks), steps),
                "degradations": lambda: degradation_section(degradations(run, networks, trained_for(arguments.trained))),
                "captured": lambda: svmap_captured.section(data, networks),
                "filters": lambda: svmap_captured.filter_section(data, networks)}
    for name, make in sections.items():
        if arguments.table in (None, name):
            text = make()
            print(text)
            pages.fill(arguments.output, f"quality:{name}", text, "SVMAP and SIMAP")


def scenes_of(data, case, chosen, both):
    return svmap_scenes.for_choosing(data, case) if chosen else svmap_scenes.reported(data, case, both)


def smoke(data):
    torch.manual_seed(0)
    networks = {"SVMAP, T = 2": SVMAP(width=4, max_iter=3).eval()}
    svmap_scenes.SIDE = 64

    def few(*arguments):
        return itertools.islice(scenes_of(data, *arguments), 1)

    STRENGTHS.update(hyper=(1000, 2000), levin=(0.001, 0.002))
    NOISY.update(STRENGTHS)
    run = Run(Record(None, {}), networks, few)
    print(main_section(*run.rows(MAIN, (1, 3), networks), {"SVMAP, T = 2": 0}))
    print(degradation_section({case: run.rows(case, (BEST_LEVIN,), networks) for case in ("5 % noise", "saturated")}))
    print(svmap_captured.filter_section(data, networks, few=1))


if __name__ == "__main__":
    main()
