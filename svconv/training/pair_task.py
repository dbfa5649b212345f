"""What the trainings of the learned blur spaces share: pairs of a sharp and a blurry crop, and how they are scored by kind of blur."""
import abc
import contextlib
import math

import torch

from svconv.data import FolderPairs, VariedPairs, list_photographs, split_photographs
from svconv.training.band_energies import BANDS, BandEnergies
from svconv.training.task import Task


class PairTask(Task):
    """A task on (blurry, sharp, kind) items. A subclass names in `structure` the settings that are arguments of its model.

    The photographs are split as everywhere, every 20th held out; so are pairs of pictures.
    """

    structure: tuple = ()
    measured_by: tuple = ("blurry", "kinds", "kernel_least", "kernel_most", "noise", "validation_size", "validation_pairs")

    def __init__(self, photographs, settings, device, model):
        s = settings
        self.kinds = ("pairs",) if s.blurry else tuple(s.kinds.split(","))
        training, held = split_photographs(self._files(photographs, s))
        self.pairs = self._pairs(photographs, training, s.size, 1 << 62, s.seed, s)
        self.pairs[0]       # whether there are photographs as large as a crop is known before anything is written
        fixed = self._pairs(photographs, held, s.validation_size, s.validation_pairs, -1, s)
        self.validation = [fixed[i] for i in range(len(fixed))]
        super().__init__(s, device, model)
        self.reader, self.energies = self.place(torch.nn.Conv2d(self.code_channels(), BANDS, 1)), self.place(BandEnergies())

    @staticmethod
    def _files(folder, s):
        """The sharp photographs."""
        return [sharp for sharp, _ in FolderPairs(folder, s.blurry_folder(folder)).pairs] if s.blurry else list_photographs(folder)

    @staticmethod
    def _pairs(folder, files, size, length, seed, s):
        if s.blurry:
            return FolderPairs(folder, s.blurry_folder(folder), size, files=files, length=length, seed=seed)
        return VariedPairs(files, size, kinds=tuple(s.kinds.split(",")), strength=(s.kernel_least, s.kernel_most), noise=s.noise,
                           length=length, seed=seed)

    def casting(self):
        """The context in which the networks compute."""
        low = self.settings.precision_on(self.device.type) == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16) if low else contextlib.nullcontext()

    @abc.abstractmethod
    def code_channels(self):
        """Channels of the code that `hinted` reads; 1 where there is none."""

    def learning(self):
        return [*super().learning(), *self.reader.parameters()] if self.settings.hints else super().learning()

    @property
    def hint(self):
        """The weight of the help at this step."""
        return self.settings.hints * max(0.0, 1 - self.average.steps / self.settings.hint_steps)

    def hinted(self, code, image, before=None):
        """How far what the code says, linearly, is from the energies of an image in bands, or from what has become of those of another one;
        times the weight of the help."""
        wanted = self.energies(image, code.shape[-2:])
        if before is not None:
            wanted = wanted - self.energies(before, code.shape[-2:])
        told = self.reader(code.float())
        told, wanted = (t - t.mean((0, 2, 3), keepdim=True) for t in (told, wanted))       # what is the same in all of them tells nothing
        return self.hint * (told - wanted).square().mean()

    def prepare(self, phase):
        pass

    def batch(self, position, count):
        items = [self.pairs[i] for i in range(position, position + count)]
        return tuple(torch.stack(t) for t in zip(*items))

    def validated(self):
        """The held-out pairs as batches of one on the device: (blurry, sharp, kind)."""
        for blurry, sharp, kind in self.validation:
            yield self.place(blurry[None]), self.place(sharp[None]), int(kind)

    def by_kind(self, scores, name):
        """{name: mean, name_<kind>: mean of those of a kind} of a score [1] for each held-out pair."""
        kinds = [int(kind) for _, _, kind in self.validation]
        parts = {f"{name}_{kind}": [score for score, of in zip(scores, kinds) if of == place] for place, kind in enumerate(self.kinds)}
        return {name: means(scores), **{key: means(part) for key, part in parts.items() if part and len(self.kinds) > 1}}

    def load_state(self, state, former, phase):
        for name in self.structure:
            if getattr(former, name) != getattr(self.settings, name):
                raise ValueError(f"{name}: expected {getattr(former, name)} as in the checkpoint, got {getattr(self.settings, name)}")
        super().load_state(state, former, phase)
        self.reader.load_state_dict(state["reader"])

    def state(self):
        return {**super().state(), "reader": self.reader.state_dict()}


def means(scores):
    """The mean of a list of tensors [B], rounded for the log; NaN if there is none."""
    return round(float(torch.cat(scores).mean()), 4) if scores else math.nan
