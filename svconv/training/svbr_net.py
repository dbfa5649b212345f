"""Training of `models.SVBRNet`: with true maps of the blur radius, then with maps as an estimator would know them."""
import torch

from svconv.data import DefocusPairs, interpolated_map, list_photographs, split_photographs
from svconv.data.estimate_blur import METHODS
from svconv.models import SVBRNet
from svconv.nn import SSIMLoss
from svconv.training.svbr_net_settings import SVBRSettings
from svconv.training.task import Task


class SVBRNetTask(Task):
    """SVBR-Net: defocus removal with a radius map, from sharp photographs"""

    kind, settings_class = "svbr", SVBRSettings
    measured_by = ("noise", "rounding", "linear", "map_size", "validation_size", "validation_pairs")

    def __init__(self, photographs, settings, device):
        s = settings
        training, held = split_photographs(list_photographs(photographs))
        options = dict(map_size=s.map_size, noise=s.noise, rounding=s.rounding, linear=s.linear)
        self.pairs = DefocusPairs(training, s.size, length=1 << 62, seed=s.seed, **options)
        self.pairs[0]       # whether there are photographs as large as a crop is known before anything is written
        fixed = DefocusPairs(held, s.validation_size, length=s.validation_pairs, seed=-1, **options)
        self.validation = [_joined([fixed[i]], ("interpolated",), i) for i in range(len(fixed))]
        self.similarity, self.maps = SSIMLoss(), None
        super().__init__(s, device, SVBRNet())

    def prepare(self, phase):
        self.maps = phase.maps

    def batch(self, position):
        items = [self.pairs[i] for i in range(position, position + self.settings.batch)]
        blurry, sharp, maps = _joined(items, (self.maps,), position)
        return blurry, sharp, maps[self.maps]

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
            for blurry, sharp, known in self.validation:
                scores.append(self._scores(model(self.place(blurry), self.place(known[maps])), self.place(sharp)))
            found |= _means(scores, maps)
        return found

    def _scores(self, image, sharp):
        error = (image.clamp(0, 1) - sharp).square().mean((1, 2, 3))
        return self.similarity.similarity(image, sharp), -10 * torch.log10(error.clamp_min(1e-12))

    def score(self, result):
        return round(1 - result[f"ssim_{self.maps}"], 6)

    def baselines(self):
        """The scores of the blurred crops, and the mean absolute error of the interpolated maps."""
        errors = [float((known["interpolated"] - known["true"]).abs().mean()) for _, _, known in self.validation]
        return {**_means([self._scores(blurry, sharp) for blurry, sharp, _ in self.validation], "blurred"),
                "map_error": round(sum(errors) / len(errors), 4)}

    def notes(self):
        return {"maps": self.maps}

    def best_file(self):
        return f"best-{self.maps}.pt"


def _joined(items, maps, position):
    """(blurry, sharp, {name: radius}) of pairs; of interpolated maps the first half is propagated by matting, the other by the domain
    transform, and with an odd number the middle one by turns."""
    blurry, sharp, true = (torch.stack(t) for t in zip(*items))
    found = {"true": true}
    if "interpolated" in maps:
        half = (len(items) + position % 2) // 2
        parts = [interpolated_map(true[of], blurry[of], method=method)
                 for method, of in zip(METHODS, (slice(0, half), slice(half, None))) if len(true[of])]
        found["interpolated"] = torch.cat(parts)
    return blurry, sharp, found


def _means(scores, name):
    similarity, psnr = (torch.cat(column).mean() for column in zip(*scores))
    return {f"ssim_{name}": round(float(similarity), 6), f"psnr_{name}": round(float(psnr), 4)}
