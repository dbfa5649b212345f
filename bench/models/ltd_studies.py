"""The studies of the paper "Learning to Deblur", once each, at small equal budgets.

    python bench/models/ltd_studies.py                  all of them, half an hour on one core; writes docs/models/learning_to_deblur.md
    python bench/models/ltd_studies.py --study stages   only this one; may be given again; the others stay on the page
    python bench/models/ltd_studies.py --render         only writes the page from bench/results/ltd_studies.json
    python bench/models/ltd_studies.py --smoke          tiny nets on made-up photographs; writes nothing

Each number is kept in bench/results/ltd_studies.json as soon as it is known, each training below --out: a run that was stopped goes on
where it was. The trainings are those of `svconv train ltd`. Photographs come from the development data (SVCONV_DATA, by default
../shared/data beside the checkout).
"""
import argparse
import functools
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

from bench import blind, development_data
from bench.eff_quality import OtherRun, Record
from bench.models import ltd_estimates as estimates, ltd_page
from bench.models.ltd_trainings import BUILDINGS, COMMON, EVERYTHING, NOISES, Workshop, kernel_errors, sorted_photographs
from bench.svmap_methods import mark
from svconv.models import LearningToDeblur

RESULTS, STEPS = ROOT / "bench" / "results" / "ltd_studies.json", 300


class Studies:
    """Measures what is not in the record yet; the shipped net, a `LearningToDeblur`, again when its weights have changed.

    photographs: (those for the crops, those for the kernel sizes), as `ltd_estimates` takes them.
    """

    def __init__(self, record, workshop, shipped, photographs, sides=estimates.SIDES, sizes=estimates.SIZES, kernels=estimates.KERNELS):
        self.record, self.workshop, self.say = record, workshop, workshop.say
        self.shipped, self.mark = shipped, mark(shipped)
        self.photographs, self.sides, self.sizes, self.kernels = photographs, sides, sizes, kernels

    def score(self, key, compute, of_shipped=False):
        """The score of that key, made by `compute` unless the record has it."""
        scores, start = self.record.data["scores"], time.monotonic()
        if of_shipped and scores.get(key, {}).get("weights") != self.mark:
            scores.pop(key, None)
        if key not in scores:
            found = self.record.get(key, lambda: {**compute(), **({"weights": self.mark} if of_shipped else {})})
            self.say(f"{key}: {found}   ({time.monotonic() - start:.0f} s)")
        return scores[key]

    def trained(self, key, name):
        """The score of a trained net on the held-out pairs of the trainings."""

        def compute():
            trainer = self.workshop.trained(name)
            model = trainer.averaged_model()
            if "held-out pairs" not in self.record.data["scores"]:
                self.score("held-out pairs", trainer.task.baselines)
            with torch.no_grad():
                found = trainer.task.validate(model)
            return {"steps": trainer.step, "parameters": sum(p.numel() for p in model.parameters()),
                    "seconds": round(trainer.cpu_seconds), **found}

        return self.score(key, compute)

    def stages(self):
        for stages, name in ltd_page.STAGES.items():
            self.trained(f"stages | {stages}", name)

    def layers(self):
        for (filters, hidden), name in ltd_page.LAYERS.items():
            self.trained(f"layers | {filters}, {hidden}", name)

    def features(self):
        for row, name in ltd_page.FEATURES.items():
            self.trained(f"features | {row}", name)

    def noise(self):
        """Kernel errors under 1 % and 5 % noise of the shipped net and of those that have learned with either."""
        pairs = {f"{noise:g}": self.workshop.held_out(noise) for noise in NOISES}
        self.compared("noise", ltd_page.NOISE_ROWS, pairs)

    def content(self):
        """Kernel errors on buildings and on the held-out pairs of nets that have learned from either."""
        pairs = {BUILDINGS: self.workshop.pairs(self.workshop.folders.tested), EVERYTHING: self.workshop.held_out()}
        self.compared("content", ltd_page.CONTENT_ROWS, pairs)

    def compared(self, study, rows, pairs):
        """Mean kernel errors of nets {row: name, None the shipped one} on several sets of pairs, and the paired differences of the last two
        nets."""
        found = {}

        def errors(row, name):
            if row not in found:
                model = self.shipped if name is None else self.workshop.trained(name).averaged_model()
                found[row] = {kind: kernel_errors(model, some) for kind, some in pairs.items()}
            return found[row]

        def means(row, name):
            found = {kind: {n: round(float(v.mean()), 5) for n, v in e.items()} for kind, e in errors(row, name).items()}
            return found if name is None else {"steps": self.workshop.steps(name), **found}

        for row, name in rows.items():
            self.score(f"{study} | {row}", functools.partial(means, row, name), of_shipped=name is None)
        (general, a), (special, b) = list(rows.items())[-2:]
        self.score(f"{study} | difference", lambda: {kind: difference(errors(special, b)[kind], errors(general, a)[kind])
                                                     for kind in pairs})

    def crops(self):
        self.score("crops", lambda: estimates.crop_errors(self.shipped, self.photographs[0], self.sides, self.kernels), True)

    def sizes_of_kernels(self):
        for size in self.sizes:
            self.score(f"sizes | {size}", lambda size=size: estimates.size_ratios(self.shipped, self.photographs[1], size,
                                                                                  max(self.sizes)), True)


STUDIES = {"stages": Studies.stages, "layers": Studies.layers, "features": Studies.features, "noise": Studies.noise,
           "content": Studies.content, "crops": Studies.crops, "sizes": Studies.sizes_of_kernels}
NETS = {"stages": ltd_page.STAGES, "layers": ltd_page.LAYERS, "features": ltd_page.FEATURES, "noise": ltd_page.NOISE_ROWS,
        "content": ltd_page.CONTENT_ROWS}
ESTIMATING = {"crops": 20, "sizes": 110}    # seconds


def difference(special, general):
    """[mean, standard error] of the paired differences of relative errors."""
    found = (special["relative"] - general["relative"]).tolist()
    return [round(statistics.fmean(found), 5), round(statistics.stdev(found) / len(found) ** 0.5, 5)]


def expected_minutes(workshop, chosen):
    """Processor time of what these studies still have to train, and of what needs no training."""
    names = {name for study in chosen for name in NETS.get(study, {}).values() if name}
    return (workshop.expected_seconds(names) + sum(ESTIMATING.get(study, 10) for study in chosen)) / 60


def arguments():
    parser = argparse.ArgumentParser(prog="python bench/models/ltd_studies.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", action="append", choices=STUDIES, help="only this one; may be given again")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of a net in all; twice as many in studies with several "
                        f"stages, half as many where it goes on from another one (default: {STEPS})")
    parser.add_argument("--seed", type=int, default=0, help="of weights and pairs (default: 0)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "ltd_studies", metavar="FOLDER", help="where trainings are kept")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE", help="where numbers are kept")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "models" / "learning_to_deblur.md", metavar="FILE", help="the page")
    parser.add_argument("--render", action="store_true", help="only write the page from the numbers")
    parser.add_argument("--smoke", action="store_true", help="tiny nets, writes nothing")
    options = parser.parse_args()
    if options.steps < 50:
        parser.error(f"argument --steps: expected at least 50, got {options.steps}")
    if options.render and not options.results.exists():
        parser.error(f"argument --render: there is no {options.results}")
    return options


def settings_of(options):
    """What the numbers depend on; OtherRun if the file has numbers of something else, which a page alone may show."""
    wanted = {"steps": options.steps, "seed": options.seed}
    stored = json.loads(options.results.read_text())["settings"] if options.results.exists() else wanted
    if stored != wanted and not options.render:
        raise OtherRun(f"{options.results} is of {stored}: name another file with --results")
    return stored


def studies_of(options, record, data):
    """The `Studies` that the options describe."""
    options.out.mkdir(parents=True, exist_ok=True)
    folders = sorted_photographs(data / "train", options.out / "photographs")
    workshop = Workshop(options.out, folders, options.steps, options.seed, say=lambda text: print(text, flush=True))
    images = [image for _, image in blind.photographs(data / "images", estimates.COUNT)]
    large = estimates.large_photographs(data / "images", max(estimates.SIDES) + 16)
    return Studies(record, workshop, LearningToDeblur.from_pretrained(), (large, images))


def main():
    options = arguments()
    torch.set_num_threads(1)
    if options.smoke:
        return smoke()
    data = None if options.render else development_data.folder("bench/models/ltd_studies.py", "train", "images")
    try:
        record = Record(options.results, settings_of(options))
        if data is not None:
            studies, chosen = studies_of(options, record, data), options.study or list(STUDIES)
            print(f"about {expected_minutes(studies.workshop, chosen):.0f} minutes of processor time", flush=True)
            for name in chosen:
                STUDIES[name](studies)
    except OtherRun as error:
        sys.exit(f"bench/models/ltd_studies.py: {error}")
    print(ltd_page.write(options.output, record.data["scores"], record.data["settings"]["seed"]))


def smoke(say=print):
    """All studies with tiny nets; returns the text of the page."""
    tiny = {**COMMON, "kernel_sizes": (5,), "smallest": 3, "batch": 2, "size": 24, "filter_size": 3, "warmup": 1, "frozen_steps": 1,
            "validation_pairs": 2, "validation_size": 32, "save_every": 2}
    torch.manual_seed(0)
    shipped, generator = LearningToDeblur((5,), 3, 3).eval(), torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        images = [made_up_photograph(folder / "photographs" / f"{i}.png", generator) for i in range(12)]
        folders = sorted_photographs(folder / "photographs", folder / "links", {str(i) for i in range(8)})
        workshop = Workshop(folder, folders, 4, common=tiny, say=say)
        studies = Studies(Record(None, {}), workshop, shipped, (images[:1], images[:2]), (24, 32), (5, 7), 2)
        say(f"about {expected_minutes(workshop, list(STUDIES)):.1f} minutes")
        for measure in STUDIES.values():
            measure(studies)
    text = ltd_page.section(studies.record.data["scores"], 0)
    say(text)
    return text


def made_up_photograph(path, generator):
    """Writes squares of random grey, [96, 112], and returns them as a tensor in 0..1."""
    from PIL import Image

    image = torch.rand(12, 14, generator=generator).repeat_interleave(8, 0).repeat_interleave(8, 1)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray((image * 255).to(torch.uint8).numpy()).save(path)
    return image


if __name__ == "__main__":
    main()
