"""Staged training of `models.LearningToDeblur`: one stage, then a new one with the old frozen, then all together."""
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
        training, held = split_photographs(list_photographs(photographs))
        self.pairs = BlurPairs(training, s.size, s.kernel_size, length=1 << 62, seed=s.seed, noise=s.noise, smallest=s.smallest)
        fixed = BlurPairs(held, s.validation_size, s.kernel_size, length=s.validation_pairs, seed=-1, noise=s.noise, smallest=s.smallest)
        self.validation = [fixed[i] for i in range(len(fixed))]
        self.rejection = OutlierRejection(s.rejection)
        super().__init__(s, device, LearningToDeblur((s.kernel_size,), 1, s.filter_size, s.bias))

    def prepare(self, phase):
        while self.model.arguments["stages"] < phase.stages:
            if self.average is not None:
                self.average.copy_to(self.model)  # the new stage builds on the better weights
            self.model.add_stage()
        scale = self.model.scales[-1]
        new = set(map(id, scale["stages"][-1].parameters())) | set(map(id, list(scale["log_beta"])[-1:]))
        for p in self.model.parameters():
            p.requires_grad_(not phase.frozen or id(p) in new)

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
        """Mean kernel errors after every stage on all held-out pairs: {"error": [...], "relative": [...]}, see `kernel_error`."""
        errors = {"error": [], "relative": []}
        for start in range(0, len(self.validation), batch):
            blurry, _, truth = (self.place(torch.stack(t)) for t in zip(*self.validation[start:start + batch]))
            kernels, _ = model.estimate(blurry)
            errors["error"].append(torch.stack([kernel_error(k, truth) for k in kernels], 1))
            errors["relative"].append(torch.stack([kernel_error(k, truth, "relative") for k in kernels], 1))
        return {name: [round(float(e), 6) for e in torch.cat(values).mean(0)] for name, values in errors.items()}

    def score(self, result):
        return result["relative" if self.settings.loss == "relative" else "error"][-1]

    def notes(self):
        return {"stages": self.model.arguments["stages"], "rejected": self.rejection.rejected}

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
        return f"best-{self.model.arguments['stages']}.pt"

    def state(self):
        return {**super().state(), "rejection": self.rejection.state_dict()}

    def load_state(self, state, former, phase):
        stages = state["arguments"]["stages"]
        if phase.stages != stages:
            raise ValueError(f"steps: the checkpoint is in training with {stages} stages, the plan says {phase.stages}")
        super().load_state(state, former, phase)
        if former.loss == self.settings.loss:  # the running mean of another loss would reject everything
            self.rejection.load_state_dict(state["rejection"])


def kernel_error(kernel, truth, loss="squared"):
    """Sum of squared differences [B] of kernels [B, k, k]; "relative": divided by the sum of squares of the truth."""
    error = (kernel - truth).square().sum((1, 2))
    return error if loss == "squared" else error / truth.square().sum((1, 2)).clamp_min(1e-12)
