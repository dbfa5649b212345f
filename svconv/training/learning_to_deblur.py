"""Staged training of `models.LearningToDeblur`: one stage, then a new one with the old frozen, then all together; scales likewise."""
import torch

from svconv.data import BlurPairs, list_photographs, split_photographs
from svconv.models import LearningToDeblur
from svconv.training.learning_to_deblur_settings import LtDSettings
from svconv.training.metrics import OutlierRejection
from svconv.training.task import Task


class LearningToDeblurTask(Task):
    """Learning to Deblur: blind kernel estimation from sharp photographs"""

    kind, settings_class = "ltd", LtDSettings
    measured_by = ("loss", "smallest", "noise", "validation_size", "validation_pairs")

    def __init__(self, photographs, settings, device):
        s = settings
        self.photographs = split_photographs(list_photographs(photographs))
        self.draw_pairs(s.kernel_sizes[0], s)
        super().__init__(s, device, LearningToDeblur(s.kernel_sizes[:1], 1, s.filter_size, s.bias, filters=s.filters, hidden=s.hidden,
                                                     features=s.features, fixed_gradients=s.fixed_gradients))

    def draw_pairs(self, kernel_size, settings):
        """Learn from, and validate on, kernels of this side."""
        s, (training, held) = settings, self.photographs
        self.rejection = OutlierRejection(s.rejection)
        self.pairs = BlurPairs(training, s.size, kernel_size, length=1 << 62, seed=s.seed, noise=s.noise, smallest=s.smallest)
        fixed = BlurPairs(held, s.validation_size, kernel_size, length=s.validation_pairs, seed=-1, noise=s.noise, smallest=s.smallest)
        self.validation = [fixed[i] for i in range(len(fixed))]

    def prepare(self, phase):
        while len(self.model.scales) < phase.scales or self.model.arguments["stages"] < phase.stages:
            if self.average is not None:
                self.average.copy_to(self.model)  # what is new builds on the better weights
            if self.model.arguments["stages"] < phase.stages:
                self.model.add_stage()
            else:
                self.model.add_scale(self.settings.kernel_sizes[len(self.model.scales)])
        if self.model.kernel_sizes[-1] != self.pairs.kernel_size:
            self.draw_pairs(self.model.kernel_sizes[-1], self.settings)
        new = set(map(id, newest(self.model)))
        for p in self.model.parameters():
            p.requires_grad_(not phase.frozen or id(p) in new)

    def start_from(self, path):
        loaded = LearningToDeblur.load(path)
        sizes, stages = loaded.kernel_sizes, loaded.arguments["stages"]
        last = self.settings.plan()[-1]
        if sizes == self.settings.kernel_sizes[:len(sizes)] and stages <= last.stages:
            self.prepare(last._replace(scales=len(sizes), stages=stages))
        super().start_from(path)

    def batch(self, position, count):
        items = [self.pairs[i] for i in range(position, position + count)]
        blurry, _, truth = (torch.stack(t) for t in zip(*items))
        return blurry, truth

    def loss(self, blurry, truth):
        estimate = self.model.estimate(blurry)[0][-1]
        errors = kernel_error(estimate, truth, self.settings.loss)
        everywhere, own = self.processes.gathered(errors.detach())
        keep = self.rejection(everywhere)
        loss = errors[keep[own]].sum() / len(errors) if keep.any() else None
        return loss, float(kernel_error(estimate.detach(), truth).mean())

    def validate(self, model, batch=8):
        """Mean kernel errors after every stage of the last scale on all held-out pairs: {"error": [...], "relative": [...]}, see
        `kernel_error`."""
        errors = {"error": [], "relative": []}
        for start in range(0, len(self.validation), batch):
            blurry, _, truth = (self.place(torch.stack(t)) for t in zip(*self.validation[start:start + batch]))
            kernels = model.estimate(blurry)[0][-model.arguments["stages"]:]
            errors["error"].append(torch.stack([kernel_error(k, truth) for k in kernels], 1))
            errors["relative"].append(torch.stack([kernel_error(k, truth, "relative") for k in kernels], 1))
        return {name: [round(float(e), 6) for e in torch.cat(values).mean(0)] for name, values in errors.items()}

    def score(self, result):
        return result["relative" if self.settings.loss == "relative" else "error"][-1]

    def notes(self):
        return {"stages": self.model.arguments["stages"], "scales": len(self.model.scales), "rejected": self.rejection.rejected}

    def baselines(self):
        """What a guess that does not look at the image scores: the delta, and the mean of all held-out kernels (which it would have to
        know)."""
        truth = torch.stack([pair[2] for pair in self.validation])
        delta = torch.zeros_like(truth[:1])
        delta[0, truth.shape[1] // 2, truth.shape[2] // 2] = 1
        guesses = {"delta": delta, "mean_kernel": truth.mean(0, keepdim=True)}
        return {f"{loss}_of_{name}": round(float(kernel_error(g.expand_as(truth), truth, kind).mean()), 6)
                for name, g in guesses.items() for loss, kind in (("error", "squared"), ("relative", "relative"))}

    def best_file(self):
        sizes = self.model.kernel_sizes[1:]
        return "-".join(["best", str(self.model.arguments["stages"]), *map(str, sizes)]) + ".pt"

    def state(self):
        return {**super().state(), "rejection": self.rejection.state_dict()}

    def load_state(self, state, former, phase):
        stages, sizes = state["arguments"]["stages"], tuple(state["arguments"]["kernel_sizes"])
        if phase.stages != stages or self.settings.kernel_sizes[:phase.scales] != sizes:
            raise ValueError(f"steps: the checkpoint is in training with {stages} stages of {sizes} pixels, the plan says {phase.stages} "
                             f"of {self.settings.kernel_sizes[:phase.scales]}")
        super().load_state(state, former, phase)
        if former.loss == self.settings.loss:  # the running mean of another loss would reject everything
            self.rejection.load_state_dict(state["rejection"])


def newest(model):
    """The parameters of the last scale, or of the last stage where there is one scale, with the image quotient that leads to it."""
    before, last = (model.scales[-2], model.scales[-1]) if len(model.scales) > 1 else (model.scales[-1], model.scales[-1]["stages"][-1])
    return [*last.parameters(), *list(before["log_beta"])[-1:]]


def kernel_error(kernel, truth, loss="squared"):
    """Sum of squared differences [B] of kernels [B, k, k]; "relative": divided by the sum of squares of the truth."""
    error = (kernel - truth).square().sum((1, 2))
    return error if loss == "squared" else error / truth.square().sum((1, 2)).clamp_min(1e-12)
