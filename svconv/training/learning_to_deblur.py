"""Staged training of `models.LearningToDeblur`: one stage, then a new one with the old frozen, then all together; resumable at any step."""
import copy
import pathlib
import time
from dataclasses import asdict

import torch

from svconv.data import BlurPairs, list_photographs, split_photographs
from svconv.models import LearningToDeblur
from svconv.training.checkpoint import load_checkpoint, save_checkpoint
from svconv.training.interrupt import delayed_interrupt
from svconv.training.metrics import AveragedWeights, MetricsLog, OutlierRejection
from svconv.training.settings import LtDSettings
from svconv.training.soap import SOAP

KIND = "ltd"


def make_optimiser(settings, parameters):
    """The optimiser of the settings, fresh."""
    if settings.optimiser == "adadelta":
        return torch.optim.Adadelta(parameters, lr=settings.rate, rho=0.95)
    if settings.optimiser == "soap":
        return SOAP(parameters, lr=settings.rate)
    return torch.optim.Adam(parameters, lr=settings.rate, betas=(0.9, 0.99))


def kernel_error(kernel, truth, loss="squared"):
    """Sum of squared differences [B] of kernels [B, k, k]; "relative": divided by the sum of squares of the truth."""
    error = (kernel - truth).square().sum((1, 2))
    return error if loss == "squared" else error / truth.square().sum((1, 2)).clamp_min(1e-12)


@torch.no_grad()
def validate(model, pairs, batch=8):
    """Mean kernel errors after every stage on all items of `pairs`: {"error": [...], "relative": [...]}, see `kernel_error`."""
    errors = {"error": [], "relative": []}
    for start in range(0, len(pairs), batch):
        blurry, _, truth = (torch.stack(t) for t in zip(*(pairs[i] for i in range(start, min(start + batch, len(pairs))))))
        kernels, _ = model.estimate(blurry)
        errors["error"].append(torch.stack([kernel_error(k, truth) for k in kernels], 1))
        errors["relative"].append(torch.stack([kernel_error(k, truth, "relative") for k in kernels], 1))
    return {name: [round(float(e), 6) for e in torch.cat(values).mean(0)] for name, values in errors.items()}


def constant_errors(pairs):
    """What a guess that does not look at the image scores on `pairs`: the delta, and the mean of all kernels (which it would have to know)."""
    truth = torch.stack([p[2] for p in pairs])
    delta = torch.zeros_like(truth[:1])
    delta[0, truth.shape[1] // 2, truth.shape[2] // 2] = 1
    guesses = {"delta": delta, "mean_kernel": truth.mean(0, keepdim=True)}
    return {f"{loss}_of_{name}": round(float(kernel_error(g.expand_as(truth), truth, kind).mean()), 6)
            for name, g in guesses.items() for loss, kind in (("error", "squared"), ("relative", "relative"))}


class LtDTrainer:
    """A training run with the state that a checkpoint holds; `run` goes on until the plan is done, the budget is used or an interrupt comes."""

    def __init__(self, photographs, out, settings=None, *, resume=None, cache_bytes=512 << 20):
        self.out = pathlib.Path(out)
        state = load_checkpoint(resume, KIND) if resume is not None else None
        if settings is None:
            settings = LtDSettings(**state["settings"]) if state else LtDSettings()
        self.settings = settings
        training, held = split_photographs(list_photographs(photographs))
        s = settings
        self.pairs = BlurPairs(training, s.size, s.kernel_size, length=1 << 62, seed=s.seed, noise=s.noise, smallest=s.smallest, cache_bytes=cache_bytes)
        fixed = BlurPairs(held, s.validation_size, s.kernel_size, length=s.validation_pairs, seed=-1, noise=s.noise, smallest=s.smallest)
        self.validation = [fixed[i] for i in range(len(fixed))]
        self.out.mkdir(parents=True, exist_ok=True)
        self.log = MetricsLog(self.out / "metrics.jsonl")
        self.rejection = OutlierRejection(s.rejection)
        self.step = self.position = self.phase = self.phase_step = 0
        self.cpu_seconds, self.best = 0.0, None
        if state:
            self._restore(state)
        else:
            self.log.path.unlink(missing_ok=True)
            torch.manual_seed(s.seed)
            self.model = LearningToDeblur((s.kernel_size,), 1, s.filter_size, s.bias)
            self._begin_phase()
        if self.step == 0 or s != (LtDSettings(**state["settings"]) if state else None):
            self.log.write(step=self.step, settings=asdict(s), **constant_errors(self.validation))

    def _begin_phase(self):
        stages, frozen, _ = self.settings.phases()[self.phase]
        while self.model.arguments["stages"] < stages:
            if self.phase:
                self.average.copy_to(self.model)  # the new stage builds on the better weights
            self.model.add_stage()
        self._choose_parameters(stages, frozen)
        self.optimiser = make_optimiser(self.settings, [p for p in self.model.parameters() if p.requires_grad])
        self.average = AveragedWeights(self.model, self.settings.average)
        self.best = None

    def _choose_parameters(self, stages, frozen):
        scale = self.model.scales[-1]
        new = set(map(id, scale["stages"][-1].parameters())) | set(map(id, list(scale["log_beta"])[-1:]))
        for p in self.model.parameters():
            p.requires_grad_(not frozen or id(p) in new)

    def _restore(self, state):
        self.model = LearningToDeblur(**state["arguments"])
        self.model.load_state_dict(state["model"])
        for name in ("step", "position", "phase", "phase_step", "cpu_seconds", "best"):
            setattr(self, name, state[name])
        plan = self.settings.phases()
        former = LtDSettings(**state["settings"])
        if self.phase == len(plan) == len(former.phases()) and plan[-1][2] > former.phases()[-1][2]:  # a finished run whose last phase is extended
            self.phase, self.phase_step = self.phase - 1, former.phases()[-1][2]
        if self.phase < len(plan):
            stages, frozen, _ = plan[self.phase]
            if stages != self.model.arguments["stages"]:
                raise ValueError(f"steps: the checkpoint is in training with {self.model.arguments['stages']} stages, the plan says {stages}")
        else:
            stages, frozen = self.model.arguments["stages"], False
        self._choose_parameters(stages, frozen)
        self.optimiser = make_optimiser(self.settings, [p for p in self.model.parameters() if p.requires_grad])
        if (former.loss, former.smallest, former.validation_size) != (self.settings.loss, self.settings.smallest, self.settings.validation_size):
            self.best = None  # it was measured otherwise
        if former.optimiser == self.settings.optimiser:  # another optimiser starts afresh
            self.optimiser.load_state_dict(state["optimiser"])
        self.average = AveragedWeights(self.model, self.settings.average)
        self.average.load_state_dict(state["average"])
        if former.loss == self.settings.loss:  # the running mean of another loss would reject everything
            self.rejection.load_state_dict(state["rejection"])
        torch.set_rng_state(state["rng"])
        self.log.rewind(self.step)

    def save(self, path=None):
        """Write a checkpoint (default: last.pt in the output folder)."""
        save_checkpoint(path or self.out / "last.pt", KIND, {
            "settings": asdict(self.settings), "arguments": self.model.arguments, "model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict(), "rejection": self.rejection.state_dict(), "step": self.step, "position": self.position,
            "phase": self.phase, "phase_step": self.phase_step, "cpu_seconds": self.cpu_seconds, "best": self.best, "rng": torch.get_rng_state()})

    def averaged_model(self):
        """A copy of the model with the averaged weights, in eval mode."""
        model = copy.deepcopy(self.model).requires_grad_(False)
        self.average.copy_to(model)
        return model.eval()

    def one_step(self):
        """One optimiser step; returns the mean kernel error of the batch."""
        s = self.settings
        items = [self.pairs[i] for i in range(self.position, self.position + s.batch)]
        blurry, _, truth = (torch.stack(t) for t in zip(*items))
        kernels, _ = self.model.estimate(blurry)
        errors = kernel_error(kernels[-1], truth, s.loss)
        keep = self.rejection(errors.detach())
        for group in self.optimiser.param_groups:
            group["lr"] = s.rate_at(self.phase_step, s.phases()[self.phase][2])
        if keep.any():
            self.optimiser.zero_grad(set_to_none=True)
            (errors[keep].sum() / s.batch).backward()
            self.optimiser.step()
        self.average.update(self.model)
        self.position += s.batch
        self.step += 1
        self.phase_step += 1
        return float(kernel_error(kernels[-1].detach(), truth).mean())

    def _validate(self, recent):
        model = self.averaged_model()
        result = validate(model, self.validation)
        self.log.write(step=self.step, phase=self.phase, stages=model.arguments["stages"], pairs=self.position, train_error=round(recent, 6),
                       cpu_seconds=round(self.cpu_seconds, 1), rejected=self.rejection.rejected, **result)
        score = result["relative" if self.settings.loss == "relative" else "error"][-1]
        if self.best is None or score < self.best:
            self.best = score
            model.save(self.out / f"best-{model.arguments['stages']}.pt")
        return result

    def run(self, *, max_steps=None, cpu_minutes=None, progress=True):
        """Train until the plan is done (True), or `max_steps` more steps or `cpu_minutes` of processor time are used (False).

        KeyboardInterrupt is delayed to the end of a step, a checkpoint is written, then it is raised. Processor time, not wall time, is counted: a stopped
        process uses none.
        """
        s, started, first, recent = self.settings, time.process_time(), self.step, 0.0
        base, plan = self.cpu_seconds, self.settings.phases()
        bar = _progress_bar(progress, sum(p[2] for p in plan), self.step)
        with delayed_interrupt() as interrupted:
            while True:
                while self.phase < len(plan) and self.phase_step >= plan[self.phase][2]:
                    self.phase, self.phase_step = self.phase + 1, 0
                    if self.phase < len(plan):
                        self._begin_phase()
                if self.phase == len(plan):
                    break
                if max_steps is not None and self.step - first >= max_steps or cpu_minutes is not None and self.cpu_seconds - base > 60 * cpu_minutes:
                    break
                error = self.one_step()
                recent += (error - recent) * max(0.01, 1 / (self.step - first))
                self.cpu_seconds = base + time.process_time() - started
                bar.update(1)
                if self.step % s.validate_every == 0 or self.phase_step == plan[self.phase][2]:
                    result = self._validate(recent)
                    bar.set_postfix(stages=len(result["error"]), train=f"{recent:.4f}", held=f"{result['error'][-1]:.4f}")
                if self.step % s.save_every == 0:
                    self.save()
                if interrupted():
                    break
            self.save()
        bar.close()
        if interrupted():
            raise KeyboardInterrupt
        return self.phase == len(plan)


def _progress_bar(show, total, initial):
    from tqdm import tqdm

    return tqdm(total=total, initial=initial, disable=not show, unit="step", mininterval=2.0)
