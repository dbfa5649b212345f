"""The trainings of bench/models/ltd_studies.py: which nets, from which photographs, for how many steps; each in a folder of its own."""
import sys
from pathlib import Path
from typing import NamedTuple

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

from bench.eff_quality import OtherRun
from svconv.data import BlurPairs, list_photographs, split_photographs
from svconv.training.learning_to_deblur import LearningToDeblurTask, LtDSettings, kernel_error
from svconv.training.loop import CHECKPOINT, Trainer

COMMON = dict(kernel_sizes=(17,), batch=16, size=96, optimiser="soap", rate=0.01, average=0.99, warmup=20, frozen_steps=20,
              validate_every=1 << 30, save_every=100)
AGAIN = 0.003   # the rate where trained weights go on
FILTERS, HIDDEN, PAIRS, NOISES = (8, 16, 32), (0, 1, 2), (1, 2, 4), (0.01, 0.05)
SECONDS = (0.145, 0.28, 0.42)   # of one step of 16 crops, that many stages learning, on a core of Zen 4
EVERYTHING, BUILDINGS = "all", "buildings"

# Photographs of BSDS500 most of which a building fills, chosen by eye; no others are in the folder of one kind of content.
BUILDING_NUMBERS = frozenset("""
    5096 17067 22013 24004 24063 33044 33066 48017 56028 59078 61034 61086 64061 65010 67079 69000 69007 71046 76002 78098 79073 92014
    95006 97010 97017 118031 118035 118072 140006 145053 157036 161045 166081 187003 201080 207038 207049 216053 217090 223004 223060
    227040 228076 231015 232038 239007 249087 254054 274007 277095 288024 301007 334025 368078 372047 374020 385028""".split())


class Net(NamedTuple):
    """A net of a study: the steps of all of its stages together, and how it differs from the others."""

    steps: int
    stages: int = 1
    start: str = ""     # the net whose weights it goes on from, all stages at once; "": random weights, one stage after the other
    photographs: str = EVERYTHING
    changes: dict = {}

    def settings(self, common, seed):
        """All settings of its training; the frozen steps after a new stage are part of the steps."""
        shares, frozen = (0,) * (self.stages - 1) + (self.steps,), 0
        if not self.start:
            frozen = common["frozen_steps"]
            each = (self.steps - frozen * (self.stages - 1)) // self.stages
            shares = (each,) * (self.stages - 1) + (self.steps - (each + frozen) * (self.stages - 1),)
        return LtDSettings(**{**common, "seed": seed, "steps": shares, "frozen_steps": frozen, **self.changes})

    def seconds(self, common, seed):
        """What the training takes on a free core, roughly."""
        return sum(phase.steps * SECONDS[min(phase.stages, len(SECONDS)) - 1] for phase in self.settings(common, seed).plan())


def nets(steps):
    """{name: Net} of all studies: `steps` each, twice as many where a net may have several stages, half as many where it goes on from
    another one."""
    found = {f"{stages} stages": Net(2 * steps, stages) for stages in (1, 2, 3)}
    found |= {f"{f} filters, {h} hidden": Net(steps, changes=dict(filters=f, hidden=h)) for f in FILTERS for h in HIDDEN}
    found |= {f"{n} pairs": Net(steps, changes=dict(features=n)) for n in PAIRS if n != 2}
    found["gradients"] = Net(steps, changes=dict(fixed_gradients=True))
    found["another seed"] = Net(steps, changes=dict(seed=1))
    found["3 stages, noisy"] = Net(2 * steps, 3, changes=dict(noise=NOISES[1]))
    found["3 stages, buildings"] = Net(2 * steps, 3, photographs=BUILDINGS)
    found |= {kind: Net(steps // 2, 3, "3 stages", kind, dict(rate=AGAIN)) for kind in (EVERYTHING, BUILDINGS)}
    return found


class Folders(NamedTuple):
    """Photographs of the trainings as folders of links, {kind: folder}, and those buildings that none of them learns from."""

    kinds: dict
    tested: list


def sorted_photographs(source, out, numbers=BUILDING_NUMBERS):
    """The photographs below `source` as `Folders` in `out`; every fifth building is kept from all trainings."""
    files = list_photographs(source)
    buildings = [f for f in files if f.stem in numbers]
    tested = buildings[4::5]
    kinds = {EVERYTHING: [f for f in files if f not in tested], BUILDINGS: [f for f in buildings if f not in tested]}
    for kind, chosen in kinds.items():
        for file in chosen:
            link = out / kind / file.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(file.resolve())
    return Folders({kind: out / kind for kind in kinds}, tested)


class Workshop:
    """Trains each net once: its folder below `out` keeps it, and a training that was stopped goes on there."""

    def __init__(self, out, folders, steps, seed=0, common=COMMON, say=print):
        self.out, self.folders = Path(out), folders
        self.nets, self.seed, self.common, self.say = nets(steps), seed, common, say

    def weights(self, name):
        """The file of the weights of a net at the end of its training."""
        return self.out / name.replace(",", "").replace(" ", "-") / f"best-{self.nets[name].stages}.pt"

    def steps(self, name):
        """[steps of the net that it goes on from,] steps of a net."""
        net = self.nets[name]
        return [*(self.steps(net.start) if net.start else []), net.steps]

    def start(self, net):
        """The file of the weights that a net goes on from, or None."""
        if not net.start:
            return None
        self.trained(net.start)
        return self.weights(net.start)

    def trained(self, name):
        """The `Trainer` at the end of its training; OtherRun if the folder holds one with other settings."""
        net, out = self.nets[name], self.weights(name).parent
        settings, last = net.settings(self.common, self.seed), out / CHECKPOINT
        begun = last.exists()
        start = {"resume": last} if begun else {"settings": settings, "weights": self.start(net)}
        trainer = Trainer(LearningToDeblurTask, self.folders.kinds[net.photographs], out, **start)
        if trainer.settings != settings:
            raise OtherRun(f"{out}: a training with other settings; name another folder with --out, or delete it")
        before = trainer.step
        trainer.run(progress=sys.stderr.isatty())
        if trainer.step > before:
            self.say(f"{name}: trained, steps {before} to {trainer.step}, {trainer.cpu_seconds:.0f} s of processor time in all")
        return trainer

    def expected_seconds(self, names):
        """Processor time of those nets, and those that they go on from, that are not there."""
        names = set(names) | {self.nets[name].start for name in names if self.nets[name].start}
        return sum(self.nets[name].seconds(self.common, self.seed) for name in names if not self.weights(name).exists())

    def held_out(self, noise=None):
        """The held-out pairs of the trainings, with their noise or another."""
        return self.pairs(split_photographs(list_photographs(self.folders.kinds[EVERYTHING]))[1], noise)

    def pairs(self, photographs, noise=None):
        """As many fixed pairs of photographs as the trainings hold out, of the same kind."""
        s = LtDSettings(**{**self.common, "steps": (1,)})
        made = BlurPairs(photographs, s.validation_size, s.kernel_sizes[0], length=s.validation_pairs, seed=-1,
                         noise=s.noise if noise is None else noise, smallest=s.smallest)
        return [made[i] for i in range(len(made))]


@torch.no_grad()
def kernel_errors(model, pairs, batch=8):
    """{"error", "relative"}: the kernel errors [n] of the last stage on pairs, as `svconv train ltd` measures them."""
    found = {"error": [], "relative": []}
    for start in range(0, len(pairs), batch):
        blurry, _, truth = (torch.stack(t) for t in zip(*pairs[start:start + batch]))
        kernel = model.estimate(blurry)[0][-1]
        found["error"].append(kernel_error(kernel, truth))
        found["relative"].append(kernel_error(kernel, truth, "relative"))
    return {name: torch.cat(values) for name, values in found.items()}
