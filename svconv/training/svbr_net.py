"""Training of `models.SVBRNet`: with true maps of the blur radius, then with maps as an estimator would know them."""
import torch

from svconv.data import DefocusPairs, interpolated_map, list_photographs, split_photographs
from svconv.data.estimate_blur import METHODS
from svconv.models import SVBRNet
from svconv.nn import SSIMLoss
from svconv.training.metrics import psnr
from svconv.training.svbr_net_settings import SVBRSettings
from svconv.training.task import Task

TOGETHER = 8


class SVBRNetTask(Task):
    """SVBR-Net: defocus removal with a radius map, from sharp photographs"""

    kind, settings_class = "svbr", SVBRSettings
    measured_by = ("phases", "noise", "rounding", "linear", "map_size", "validation_size", "validation_pairs")

    def __init__(self, photographs, settings, device):
        s = settings
        training, held = split_photographs(list_photographs(photographs))
        options = dict(map_size=s.map_size, noise=s.noise, rounding=s.rounding, linear=s.linear)
        self.pairs = DefocusPairs(training, s.size, length=1 << 62, seed=s.seed, **options)
        self.pairs[0]       # whether there are photographs as large as a crop is known before anything is written
        fixed = DefocusPairs(held, s.validation_size, length=s.validation_pairs, seed=-1, **options)
        self.validation = [_with_interpolated([fixed[i]], i)[0] for i in range(len(fixed))]
        self.similarity, self.maps, self.ready = SSIMLoss(), "true", {}
        super().__init__(s, device, SVBRNet())

    def prepare(self, phase):
        self.maps, self.ready = phase.maps, {}
        for module in self.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.train(not phase.frozen)

    def batch(self, position, count):
        items = [self._item(i) for i in range(position, position + count)]
        return tuple(torch.stack(t) for t in zip(*items))

    def _item(self, index):
        """(blurry, sharp, the map to learn with). Eight are made together, the same eight whatever was asked for before: that halves the
        time that interpolated maps of small crops take."""
        first = index - index % TOGETHER
        if first not in self.ready:
            items = [self.pairs[i] for i in range(first, first + TOGETHER)]
            if self.maps == "interpolated":
                items = [(blurry, sharp, found) for blurry, sharp, _, found in _with_interpolated(items, first)]
            self.ready = {first: items}
        return self.ready[first][index - first]

    def loss(self, blurry, sharp, radius):
        image = self.model(blurry, radius)
        loss = self.similarity(image, sharp)
        error = float(loss.detach())
        return (loss + self.settings.absolute * (image - sharp).abs().mean() if self.settings.absolute else loss), error

    def validate(self, model):
        """Mean SSIM and PSNR on all held-out pairs with true and with interpolated maps, half of them by either method."""
        found = {}
        for maps in ("true", "interpolated"):
            scores = []
            for blurry, sharp, *known in self.validation:
                tensors = (self.place(t[None]) for t in (blurry, known[maps == "interpolated"], sharp))
                scores.append(self._scores(model(next(tensors), next(tensors)), next(tensors)))
            found |= _means(scores, maps)
        return found

    def _scores(self, image, sharp):
        return self.similarity.similarity(image, sharp), psnr(image, sharp)

    def score(self, result):
        return round(1 - result[f"ssim_{self.maps}"], 6)

    def baselines(self):
        """The scores of the blurred crops, and the mean absolute error of the interpolated maps."""
        errors = [float((found - true).abs().mean()) for _, _, true, found in self.validation]
        return {**_means([self._scores(blurry[None], sharp[None]) for blurry, sharp, _, _ in self.validation], "blurred"),
                "map_error": round(sum(errors) / len(errors), 4)}

    def notes(self):
        return {"maps": self.maps}

    def best_file(self):
        return f"best-{self.maps}.pt"


def _with_interpolated(items, first):
    """(blurry, sharp, true map, interpolated map) of pairs with the indices first, first + 1, ...: even ones are propagated by matting, odd
    ones by the domain transform."""
    found = [None] * len(items)
    for method, start in zip(METHODS, (first % 2, (first + 1) % 2)):
        blurry, _, true = (torch.stack(t) for t in zip(*items[start::2])) if items[start::2] else (None,) * 3
        if blurry is not None:
            found[start::2] = interpolated_map(true, blurry, method=method)
    return [(*item, radius) for item, radius in zip(items, found)]


def _means(scores, name):
    similarity, psnr = (torch.cat(column).mean() for column in zip(*scores))
    return {f"ssim_{name}": round(float(similarity), 6), f"psnr_{name}": round(float(psnr), 4)}
