"""Training of `models.SVMAP` and `models.SIMAP` on crops under kernels of many sizes."""
import math
import warnings

import torch
from torch.nn import functional

from svconv.data import KernelPairs, list_photographs, split_photographs
from svconv.models import SIMAP, SVMAP
from svconv.models.svmap import reweighted_bank
from svconv.nn import SSIMLoss
from svconv.training.metrics import psnr
from svconv.training.svmap_settings import SIMAPSettings, SVMAPSettings
from svconv.training.task import Task

USUAL = 0.05        # of what a new norm of a gradient counts in the usual one
STRUCTURE = ("iterations", "data_filters", "prior_filters", "width", "zero_sum", "share")


class SIMAPTask(Task):
    """SIMAP: deblurring with a known kernel, MAP steps with uniform filters and pixel weights, from sharp photographs"""

    kind, settings_class = "simap", SIMAPSettings
    model_class: type = SIMAP
    measured_by = ("kernel_least", "kernel_most", "measured", "noise", "degradation", "validation_size", "validation_pairs")
    betas, bound_arguments = (0.9, 0.999), ("zero_sum",)

    def __init__(self, photographs, settings, device):
        s = settings
        training, held = split_photographs(list_photographs(photographs))
        options = dict(kernel_sizes=(s.kernel_least, s.kernel_most), measured=s.measured, noise=s.noise, degradation=s.degradation)
        self.pairs = KernelPairs(training, s.size, length=1 << 62, seed=s.seed, **options)
        self.pairs[0]       # whether there are photographs as large as a crop is known before anything is written
        fixed = KernelPairs(held, s.validation_size, length=s.validation_pairs, seed=-1, **options)
        self.validation = [fixed[i] for i in range(len(fixed))]
        self.similarity, self.left_out, self.unsolved, self.told, self.usual = SSIMLoss(), 0, 0, {}, {}
        super().__init__(s, device, self.model_class(**self._arguments(s)))
        self.model.precision = s.precision_on(self.device.type)
        self.model.recompute = s.recompute

    def _arguments(self, s):
        """The arguments of the model that the settings describe."""
        named = {name: getattr(s, name) for name in STRUCTURE if hasattr(s, name)}
        return {**named, "initial": s.initial, "tol": s.cg_tol, "max_iter": s.cg_iter}

    def prepare(self, phase):
        self.usual = {}

    def batch(self, position, count):
        items = [self.pairs[i] for i in range(position, position + count)]
        blurry, sharp, kernels = zip(*items)
        return torch.stack(blurry), torch.stack(sharp), torch.stack([_centred(k, self.settings.kernel_most) for k in kernels])

    def loss(self, blurry, sharp, kernel):
        first, *images = ((image - sharp).abs().mean((1, 2, 3)) for image in self.model.images(blurry, kernel))
        error = float(images[-1].detach().mean())
        if not math.isfinite(error):
            self.left_out += 1
            return None, error
        scale = first.detach().clamp_min(1e-6) if self.settings.relative else 1.0
        *earlier, last = ((image / scale).mean() for image in images)
        return last + self.settings.intermediate * (torch.stack(earlier).mean() if earlier else 0), error

    def step(self, tensors, rate):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            error = super().step(tensors, rate)
        for warning in caught:
            if "adjoint solve" in str(warning.message):     # expected at few steps of conjugate gradients; counted, not repeated
                self.unsolved += 1
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno, registry=self.told)
        return error

    def usable(self, parameters):
        """Limits the gradients; one that is not finite is left out and counted."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not all(bool(torch.isfinite(g).all()) for g in gradients):
            self.left_out += 1
            return False
        if self.settings.steady:
            self._steady()
        for g in gradients:
            g.clamp_(-self.settings.clip, self.settings.clip)
        return True

    def _steady(self):
        """The gradient of each predictor has at most twice its usual norm: those of some pairs are many times as large as most, and their
        direction says little about the others."""
        for name, predictor in _predictors(self.model):
            gradients = [p.grad for p in predictor.parameters() if p.grad is not None]
            if not gradients:
                continue
            norm = float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients])))
            usual = self.usual.setdefault(name, norm)
            limit = 2 * usual
            if norm > limit:
                for g in gradients:
                    g.mul_(limit / norm)
            self.usual[name] = usual + USUAL * (min(norm, limit) - usual)

    def validate(self, model):
        """Mean PSNR and SSIM of the restored held-out crops, and the mean steps of conjugate gradients in the last iteration."""
        scores, steps = [], []
        for pair in self.validation:
            blurry, sharp, kernel = (self.place(t[None]) for t in pair)
            found = model(blurry, kernel, details=True)
            scores.append(self._scores(found.x, sharp))
            steps.append(found.reports[-1].iterations.float())
        return {**_means(scores, ""), "cg_steps": round(float(torch.cat(steps).mean()), 2)}

    def _scores(self, image, sharp):
        image = image.clamp(0, 1)
        return psnr(image, sharp), self.similarity.similarity(image, sharp)

    def score(self, result):
        return round(-result["psnr"], 4)

    @torch.no_grad()
    def baselines(self):
        """The scores of the blurred crops and of the deconvolutions from which the model starts."""
        blurred, first, model = [], [], self.model_class(**{**self._arguments(self.settings), "iterations": 1, "max_iter": 1})
        for pair in self.validation:
            blurry, sharp, kernel = (t[None] for t in pair)
            blurred.append(self._scores(blurry, sharp))
            first.append(self._scores(model(blurry, kernel, details=True).images[0], sharp))
        return {**_means(blurred, "_blurred"), **_means(first, "_first")}

    def fitted(self, state):
        """Where a file has fewer predictors, of a shared or a shorter model, its last ones serve the further iterations too; more of them
        than the model has do not fit."""
        found = {name: t for name, t in state.items() if name not in self.model.state_dict()}
        for name in self.model.state_dict():
            net, step, rest = name.split(".", 2)
            there = [int(key.split(".")[1]) for key in state if key.startswith(f"{net}.") and key.endswith(f".{rest}")]
            place = f"{net}.{min(int(step), max(there, default=int(step)))}.{rest}"
            if place in state:
                found[name] = state[place]
        return found

    def notes(self):
        return {"adjoint_unsolved": self.unsolved, "left_out": self.left_out}

    def state(self):
        return {**super().state(), "unsolved": self.unsolved, "left_out": self.left_out, "usual": dict(self.usual)}

    def load_state(self, state, former, phase):
        arguments, before = self._arguments(self.settings), {"zero_sum": False, **state["arguments"]}
        for name in STRUCTURE:
            if name in arguments and before[name] != arguments[name]:
                raise ValueError(f"{name}: expected {before[name]} as in the checkpoint, got {arguments[name]}")
        precision, recompute = self.model.precision, self.model.recompute
        super().load_state({**state, "arguments": {**before, **arguments}}, former, phase)
        self.model.precision, self.model.recompute = precision, recompute
        self.unsolved, self.left_out, self.usual = state["unsolved"], state["left_out"], dict(state.get("usual", {}))


class SVMAPTask(SIMAPTask):
    """SVMAP: deblurring with a known kernel, MAP steps with filters for every pixel, from sharp photographs"""

    kind, settings_class, model_class = "svmap", SVMAPSettings, SVMAP

    def prepare(self, phase):
        super().prepare(phase)
        self.imitates = phase.imitates

    def loss(self, blurry, sharp, kernel):
        return self._imitation(blurry, sharp, kernel) if self.imitates else super().loss(blurry, sharp, kernel)

    def _imitation(self, blurry, sharp, kernel):
        """The distance of the prior filters, predicted from images between x^0 and the sharp one, from those of the sharp image."""
        model = self.model
        with torch.no_grad():
            first = model.first(blurry, kernel)
            between = first + (sharp - first) * torch.rand((len(first), 1, 1, 1), device=first.device)
            wanted = reweighted_bank(sharp, model.arguments["prior_filters"], model.arguments["prior_size"])
        with model.casting(between.device):
            found = [predictor(between) for predictor in model.prior]
        loss = torch.stack([(filters.float() - wanted).square().sum((3, 4)).mean() for filters in found]).mean()
        return loss, float(loss.detach())


def _predictors(model):
    """(name, predictor) of every iteration and part."""
    return [(f"{part}.{step}", predictor) for part, nets in model.named_children() for step, predictor in enumerate(nets)]


def _centred(kernel, side):
    """[1, side, side]: a kernel inside of zeros, both centres at half the side. One size for all crops: what stands farther outside of the
    image than light can come from takes part in the prior, so the padding must not depend on the other crops of a batch."""
    before = side // 2 - kernel.shape[-1] // 2
    after = side - kernel.shape[-1] - before
    return functional.pad(kernel, (before, after, before, after))


def _means(scores, name):
    psnr, similarity = (torch.cat(column).mean() for column in zip(*scores))
    return {f"psnr{name}": round(float(psnr), 4), f"ssim{name}": round(float(similarity), 6)}
