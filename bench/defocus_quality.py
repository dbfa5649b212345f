"""Defocus removed with a radius per pixel: what does the map have to know, and who bears a wrong one?

    python bench/defocus_quality.py                     prints the tables and writes them into docs/models/svbr_net.md; an hour or two on
                                                        one core
    python bench/defocus_quality.py --true-only FILE    with the row of a network that has seen true maps only
    python bench/defocus_quality.py --table pixel4      the captured scenes only; --table synthetic: the others only
    python bench/defocus_quality.py --smoke             parts of two photographs, one pattern; writes nothing

Every score is kept in build/defocus_quality.json as soon as it is known: a run that was stopped goes on where it was.
Photographs come from the development data (SVCONV_DATA, by default ../shared/data beside the checkout).
"""
import argparse
import functools
import hashlib
import statistics
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

from bench import defocus_scenes, development_data, measure, pages, pixel4_scenes
from bench.defocus_methods import DEFAULT, STRENGTHS, Restorer
from bench.defocus_scenes import MAPS
from bench.eff_quality import OtherRun, Record
from svconv import disk_blur
from svconv.models import SVBRNet

NAMES = {"blurred": "blurred", "layered": "layered hyper-Laplacian", "irls": "disk IRLS", "true-only": "SVBR-Net, true maps only",
         "svbr": "SVBR-Net"}
OF_BLURRED = "against the captured blurred image: the sharp one "


class Run:
    """[SSIM, PSNR] of every scene, method and map, made when they are asked for and kept in the record.

    networks: {"svbr": SVBRNet, ...}. scenes: function(names, estimated=True) -> scenes, one after the other.
    """

    def __init__(self, record, networks, scenes, reported, chosen, strengths=STRENGTHS, say=print):
        self.record, self.networks, self.scenes, self.say = record, networks, scenes, say
        self.reported, self.chosen, self.strengths = reported, chosen, strengths

    def kept(self, scene, what, compute):
        def timed():
            start = time.monotonic()
            with torch.no_grad():
                found = compute()
            self.say(f"{scene.name} | {what}: {', '.join(f'{value:.4f}' for value in found)}   ({time.monotonic() - start:.1f} s)")
            return found
        return self.record.get(f"{scene.name} | {what}", timed)

    def score(self, restorer, method, name, strength=None):
        scene = restorer.scene
        if method == "blurred":
            return self.kept(scene, method, lambda: defocus_scenes.scores(scene.blurry, scene.sharp))
        label = f"{method} | {name}" if strength is None else f"{method} {strength:g} | {name}"
        return self.kept(scene, label, lambda: defocus_scenes.scores(restorer.restored(method, scene.maps[name], strength), scene.sharp))

    def choose(self):
        """{method: the strength with the best mean PSNR with true maps on the photographs for choosing}"""
        found = {method: {strength: [] for strength in strengths} for method, strengths in self.strengths.items()}
        for scene in self.scenes(self.chosen, estimated=False):
            restorer = Restorer(scene, self.networks)
            for method, scores in found.items():
                for strength, values in scores.items():
                    values.append(self.score(restorer, method, "true", strength)[1])
        return {method: max(scores, key=lambda strength: statistics.fmean(scores[strength])) for method, scores in found.items()}

    def results(self):
        """{"scenes": names, "strengths": {method: chosen}, "errors": {map: one per scene}, "scores": {method: {map: [SSIM, PSNR] per
        scene}}}"""
        chosen = self.choose() if self.chosen else {method: DEFAULT[method] for method in self.strengths}
        methods = [*chosen, *self.networks]
        found = {"scenes": [], "strengths": chosen, "errors": {name: [] for name in MAPS},
                 "scores": {method: {name: [] for name in MAPS} for method in ("blurred", *methods)}}
        for scene in self.scenes(self.reported):
            restorer = Restorer(scene, self.networks)
            found["scenes"].append(scene.name)
            for name in MAPS:
                error = self.kept(scene, f"map | {name}", lambda scene=scene, name=name: [
                    defocus_scenes.map_error(scene.maps[name], scene.maps["true"])])
                found["errors"][name].append(error[0])
                for method in ("blurred", *methods):
                    found["scores"][method][name].append(self.score(restorer, method, name, chosen.get(method)))
        return found


# page -----------------------------------------------------------------------------------------------------------------

def means(results, method, name):
    """[SSIM, PSNR] over the scenes."""
    return [statistics.fmean(column) for column in zip(*results["scores"][method][name])]


def table(results):
    lines = [f"| | {' | '.join(MAPS.values())} |", f"| --- | {' | '.join('---:' for _ in MAPS)} |",
             f"| mean absolute error of the map, px | {' | '.join(f'{statistics.fmean(v):.3f}' for v in results['errors'].values())} |"]
    for method in results["scores"]:
        cells = ["{:.3f} / {:.2f}".format(*means(results, method, name)) for name in MAPS]
        lines.append(f"| {NAMES[method]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def lost(results, method):
    """What SSIM a method loses from the true map to the worst one, and the name of that."""
    worst = min(MAPS, key=lambda name: means(results, method, name)[0])
    return means(results, method, "true")[0] - means(results, method, worst)[0], worst


def wishes(results):
    lines, have = [], results["scores"]

    def wish(text, met):
        lines.append(f"- {text}{'' if met else ', **missed**'}")

    if "svbr" in have:
        for index, unit, form in ((0, "SSIM", "+.3f"), (1, "PSNR", "+.2f")):
            gains = {MAPS[name]: means(results, "svbr", name)[index] - means(results, "blurred", name)[index] for name in MAPS}
            text = ", ".join(f"{name} {gain:{form}}" for name, gain in gains.items())
            wish(f"SVBR-Net over blurred, {unit}: {text}; wanted above 0 in every column", min(gains.values()) > 0)
    if {"svbr", "layered"} <= have.keys():
        gap = means(results, "layered", "true")[0] - means(results, "svbr", "true")[0]
        wish(f"SSIM of the layered method over SVBR-Net with true maps: {gap:+.3f}, wanted at most 0.020", gap <= 0.02)
    if {"svbr", "true-only"} <= have.keys():
        (own, worst), (other, other_worst) = lost(results, "svbr"), lost(results, "true-only")
        wish(f"SSIM that SVBR-Net loses from the true to the worst map ({MAPS[worst]}): {own:.3f}, trained on true maps only "
             f"({MAPS[other_worst]}): {other:.3f}, wanted less than half of it", own < 0.5 * other)
    return "\n".join(lines)


def pixel4(data, record, networks, strengths, names=pixel4_scenes.NAMES, say=print):
    """{row: {scene: [SSIM, PSNR]}} of the captured scenes."""
    found = {}
    for name in names:
        scene = None

        def loaded(name=name):
            nonlocal scene
            scene = scene or pixel4_scenes.captured(data, name)
            return scene

        def score(row, make, name=name):
            def compute():
                start = time.monotonic()
                with torch.no_grad():
                    values = pixel4_scenes.scores(*make(loaded()))
                say(f"{name} | {row}: {values[0]:.4f}, {values[1]:.2f}   ({time.monotonic() - start:.1f} s)")
                return values
            found.setdefault(row, {})[name] = record.get(f"pixel 4 {name} | {row}", compute)

        score(f"{OF_BLURRED}as it is", lambda s: (s.sharp, s.blurry, s.valid))
        score(f"{OF_BLURRED}under disks", lambda s: (disk_blur(s.sharp, s.radius), s.blurry, s.valid))
        score(f"{OF_BLURRED}under the measured kernels", lambda s: (pixel4_scenes.measured_blur(s), s.blurry, s.valid))
        score("blurred", lambda s: (s.blurry, s.sharp, s.valid))
        for method in (*strengths, *networks):
            score(NAMES[method], lambda s, method=method: (
                Restorer(s, networks).restored(method, s.radius, strengths.get(method)), s.sharp, s.valid))
    return found


def pixel4_table(found):
    names = list(next(iter(found.values())))
    lines = [f"| | {' | '.join(f'scene {name}' for name in names)} |", f"| --- | {' | '.join('---:' for _ in names)} |"]
    return "\n".join(lines + [f"| {row} | " + " | ".join("{:.3f} / {:.2f}".format(*scores[name]) for name in names) + " |"
                              for row, scores in found.items()])


def section(results):
    scenes, strengths = defocus_scenes, results["strengths"]
    chosen = "; ".join(f"{NAMES[method]} {value:g} of {', '.join(f'{s:g}' for s in STRENGTHS[method])}"
                       for method, value in strengths.items())
    return f"""## Maps that are right and maps that are not

Written by `python bench/defocus_quality.py`. {len(results["scenes"])} scenes: the middle {scenes.SIZE[0]} x {scenes.SIZE[1]} pixels of
eight photographs ({", ".join(scenes.REPORTED)}) that no network has seen in training, each with the patterns
{", ".join(map(str, scenes.PATTERNS))} of `defocus_map`, blurred by `disk_blur` (light comes in from outside), {scenes.NOISE:.1%} noise,
rounded to 8 bits. Mean SSIM / PSNR in dB, {scenes.MARGIN} pixels left out at each border.

The maps: the true one; known on the edges of the blurry photograph and propagated from there (`interpolated_map`, by the matting
Laplacian, by the domain transform); found by `estimate_blur` and propagated by matting; the true one with Gaussian noise of
{scenes.MAP_NOISE} pixels, or {scenes.MAP_SCALE} times as large. None says more than {scenes.LARGEST:g} pixels.

Strengths of the methods without learning, with the best mean PSNR for true maps on {", ".join(scenes.CHOSEN)} (patterns
{", ".join(map(str, scenes.CHOICE))}): {chosen}.
"SVBR-Net, true maps only" has made as many steps, from the same checkpoint, without interpolated maps.

{table(results)}

{wishes(results)}"""


def pixel4_section(found):
    scenes = pixel4_scenes
    return f"""## Captured defocus

Written by `python bench/defocus_quality.py`: the scenes {", ".join(scenes.NAMES)} of a Pixel 4, linear values, means of
{scenes.SHRUNK} x {scenes.SHRUNK} pixels. The measured map gives every pixel the disk of the same variance as the measured kernel there.
Mean SSIM / PSNR in dB where the truth is known, after the shift, gain and offset that fit best. The camera's dual pixels see half of the
lens, so the kernels are no disks: the first rows show how well disks, and how well the measured kernels, explain the captured image.

{pixel4_table(found)}"""


def loaded(name, path=None):
    return SVBRNet.load(path) if path else SVBRNet.from_pretrained(name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=("synthetic", "pixel4"), help="only this one")
    parser.add_argument("--weights", metavar="FILE", help="of SVBR-Net, instead of those that are shipped")
    parser.add_argument("--true-only", metavar="FILE", help="weights of a network that was trained on true maps only")
    parser.add_argument("--methods", default="layered,irls", help="methods without learning (default: layered,irls)")
    parser.add_argument("--smoke", action="store_true", help="parts of two photographs, one pattern; writes nothing")
    parser.add_argument("--records", type=Path, default=ROOT / "build", help="the folder where scores are kept")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "models" / "svbr_net.md")
    arguments = parser.parse_args()
    needed = ("images", *(() if arguments.smoke or arguments.table == "synthetic" else ("psf_grids/pixel4", "defocus/pixel4")))
    data = development_data.folder("bench/defocus_quality.py", *needed)
    strengths = {method: STRENGTHS[method] for method in filter(None, arguments.methods.split(","))}
    if arguments.smoke:
        return smoke(data, strengths)
    networks = {"true-only": loaded(None, arguments.true_only)} if arguments.true_only else {}
    networks["svbr"] = loaded("synthetic", arguments.weights)
    settings = {"sources": measure.versions_of("svconv/data", "svconv/solvers", "svconv/models/svbr_net", "bench/defocus_scenes.py",
                                               "bench/pixel4_scenes.py", "bench/defocus_methods.py"), "torch": torch.__version__}
    try:
        record = Record(arguments.records / "defocus_quality.json", settings)
    except OtherRun as error:
        sys.exit(f"bench/defocus_quality.py: {error}")
    record = OfNetworks(record, networks)
    scenes = functools.partial(defocus_scenes.scenes, data)
    run = Run(record, networks, scenes, defocus_scenes.REPORTED, defocus_scenes.CHOSEN, strengths)
    if arguments.table != "pixel4":
        results = run.results()
        print(table(results), wishes(results), sep="\n\n")
        pages.fill(arguments.output, "maps", section(results), "SVBR-Net")
    if arguments.table != "synthetic":
        found = pixel4(data, record, networks, run.choose())
        print(pixel4_table(found))
        pages.fill(arguments.output, "pixel4", pixel4_section(found), "SVBR-Net")


class OfNetworks:
    """A record in which the scores of a network are found again only with the same weights."""

    def __init__(self, record, networks):
        self.record, self.marks = record, {method: mark(network) for method, network in networks.items()}

    def get(self, key, compute):
        method = next((m for m in self.marks if f" {m} |" in key or key.endswith(f"| {NAMES[m]}")), None)
        return self.record.get(f"{key} | {self.marks[method]}" if method else key, compute)


def mark(network):
    """Eight digits that tell weights apart."""
    digest = hashlib.sha256()
    for name, t in network.state_dict().items():
        digest.update(name.encode() + t.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:8]


def smoke(data, strengths):
    torch.manual_seed(0)
    networks = {"svbr": SVBRNet().eval()}
    few = {method: STRENGTHS[method][:2] for method in strengths}
    scenes = functools.partial(defocus_scenes.scenes, data, patterns=(6,), size=(96, 100))
    results = Run(Record(None, {}), networks, scenes, defocus_scenes.REPORTED[:1], defocus_scenes.CHOSEN[:1], few).results()
    print(table(results), wishes(results), sep="\n\n")
    print(pixel4_table(pixel4(data, Record(None, {}), networks, {}, names=("001",))))


if __name__ == "__main__":
    main()
