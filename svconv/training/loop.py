"""The training loop of every model: phases, budget, interrupt, checkpoints, log, progress, the best weights, the device."""
import copy
import dataclasses
import math
import os
import pathlib
import time

import torch

from svconv.files import FileError
from svconv.files.outputs import check_folder, make_folder
from svconv.training.checkpoint import load_checkpoint, save_checkpoint
from svconv.training.distributed import Alone
from svconv.training.interrupt import delayed_interrupt
from svconv.training.metrics import MetricsLog

CHECKPOINT, LOG = "last.pt", "metrics.jsonl"
PROGRESS = ("step", "position", "phase", "phase_step", "cpu_seconds", "best")


class Trainer:
    """A training run with the state that a checkpoint holds; `run` goes on until the plan is done, the budget is used or an interrupt
    comes.

    Args:
        task: a class derived from `svconv.training.task.Task`.
        photographs: what the task learns from, a folder.
        out: folder for last.pt (checkpoint), the best weights and metrics.jsonl (log). It must not hold another run.
        settings: the task's settings; None: those of the checkpoint, or the defaults.
        resume: go on from this checkpoint; in its own folder or in one without a run.
        weights: begin with the weights of this file, which a model's `save` has written; not beside resume.
        processes: those that share the run, as `svconv.training.distributed.processes` yields them; None: this one alone. Each learns
            from its share of every batch; the first one writes.

    Raises:
        ValueError: settings, photographs, a checkpoint or a folder that does not fit. Nothing is written then.

    On a CPU, a resumed run ends with the bits of a run without interruption, for the same photographs, settings, number of threads,
    machine and versions.
    """

    def __init__(self, task, photographs, out, settings=None, *, resume=None, weights=None, processes=None):
        if resume is not None and weights is not None:
            raise ValueError("weights: expected none to begin with beside a checkpoint to resume")
        self.processes = processes or Alone()
        self.out = pathlib.Path(out)
        stored = load_checkpoint(resume, task.kind) if resume is not None else None
        former = stored_settings(task, stored, resume) if stored is not None else None
        self.settings = s = settings or former or task.settings_class()
        self.offset, self.share = self.processes.share(s.batch)
        if self.processes.rank == 0:
            refuse_other_run(self.out, resume)
        self.device = self.processes.device(choose_device(s.device))
        torch.manual_seed(s.seed)
        self.task = task(photographs, s, self.device)
        self.task.processes = self.processes
        self.step = self.position = self.phase = self.phase_step = 0
        self.cpu_seconds, self.best = 0.0, None
        self.log = MetricsLog(self.out / LOG)
        if stored is not None:
            self._restore(stored, former, resume)
        else:
            if weights is not None:
                self.task.start_from(weights)
            self.task.begin(s.plan()[0])
        if self.processes.rank == 0:
            self._open_folder(former, {} if weights is None else {"weights": os.path.basename(weights)})

    def _open_folder(self, former, notes):
        baselines = self.task.baselines() if self.settings != former else None
        make_folder(self.out)
        check_folder(self.out / CHECKPOINT)
        if former is not None:
            self.log.rewind(self.step)
        if self.settings != former:
            self.log.write(step=self.step, settings=dataclasses.asdict(self.settings), **notes, **baselines)

    def _restore(self, stored, former, path):
        try:
            for name in PROGRESS:
                setattr(self, name, stored[name])
            plan, before = self.settings.plan(), former.plan()
            if self.phase == len(before):  # a finished run stands at the end of its last phase: the new plan may go on from there
                self.phase, self.phase_step = self.phase - 1, before[-1].steps
            if self.phase >= len(plan):
                raise FileError(f"{path}: the checkpoint is in phase {self.phase + 1}, the plan has {len(plan)}")
            self.task.load_state(stored["task"], former, plan[self.phase])
            if any(getattr(former, name) != getattr(self.settings, name) for name in self.task.measured_by):
                self.best = None  # it was measured otherwise
            torch.set_rng_state(stored["rng"])
            if self.device.type == "cuda" and stored["cuda_rng"] is not None:
                torch.cuda.set_rng_state(stored["cuda_rng"], self.device)
        except (KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise FileError(f"{path}: the checkpoint does not fit: {type(error).__name__}: {str(error).splitlines()[0]}") from error

    def save(self, path=None):
        """Write a checkpoint (default: last.pt in the output folder); the first process does."""
        if self.processes.rank:
            return
        save_checkpoint(path or self.out / CHECKPOINT, self.task.kind, {
            "settings": dataclasses.asdict(self.settings), **{name: getattr(self, name) for name in PROGRESS}, "task": self.task.state(),
            "rng": torch.get_rng_state(), "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None})

    def averaged_model(self):
        """A copy of the model with the averaged weights, in eval mode."""
        model = copy.deepcopy(self.task.model).requires_grad_(False)
        self.task.average.copy_to(model)
        return model.eval()

    def one_step(self):
        """One step of the task; returns the error of its batch."""
        tensors = [self.task.place(t) for t in self.task.batch(self.position + self.offset, self.share)]
        error = self.task.step(tensors, self.settings.rate_at(self.phase, self.phase_step))
        self.position += self.settings.batch
        self.step += 1
        self.phase_step += 1
        return error

    def _validate(self, recent):
        model = self.averaged_model()
        with torch.no_grad():
            result = self.task.validate(model)
        self.log.write(
            step=self.step,
            phase=self.phase,
            pairs=self.position,
            train_error=round(recent, 6),
            cpu_seconds=round(self.cpu_seconds, 1),
            **self.task.notes(),
            **result,
        )
        score = self.task.score(result)
        if self.best is None or score < self.best:
            self.best = score
            model.save(self.out / self.task.best_file())
        return score

    def _next_phase(self, plan):
        """Begin the phase after those that are done; whether there is one."""
        while self.phase < len(plan) and self.phase_step >= plan[self.phase].steps:
            self.phase, self.phase_step = self.phase + 1, 0
            if self.phase < len(plan):
                self.task.begin(plan[self.phase])
                self.best = None
        return self.phase < len(plan)

    def run(self, *, max_steps=None, cpu_minutes=None, progress=True):
        """Train until the plan is done (True), or `max_steps` more steps or `cpu_minutes` of processor time are used (False).

        KeyboardInterrupt is delayed to the end of a step, a checkpoint is written, then it is raised. Processor time, not wall time, is
        counted: a stopped process uses none.
        """
        s, started, first, recent = self.settings, time.process_time(), self.step, 0.0
        base, plan = self.cpu_seconds, self.settings.plan()
        bar = _progress_bar(progress, sum(phase.steps for phase in plan), self.step)
        with delayed_interrupt() as interrupted:
            while self._next_phase(plan):
                used = (max_steps is not None and self.step - first >= max_steps
                        or cpu_minutes is not None and self.cpu_seconds - base > 60 * cpu_minutes)
                if any(self.processes.any(used, interrupted())):
                    break
                error = self.one_step()
                if math.isfinite(error):
                    recent += (error - recent) * max(0.01, 1 / (self.step - first))
                self.cpu_seconds = base + time.process_time() - started
                bar.update(1)
                if self.processes.rank == 0 and (self.step % s.validate_every == 0 or self.phase_step == plan[self.phase].steps):
                    bar.set_postfix(train=f"{recent:.4f}", held=f"{self._validate(recent):.4f}", **self.task.notes())
                if self.step % s.save_every == 0:
                    self.save()
            self.save()
            (stopped,) = self.processes.any(interrupted())
        bar.close()
        if stopped:
            raise KeyboardInterrupt
        return self.phase == len(plan)


def stored_settings(task, stored, path):
    """The settings in a loaded checkpoint."""
    if not isinstance(stored, dict) or not isinstance(stored.get("settings"), dict):
        raise FileError(f"{path}: the checkpoint has no settings")
    return task.settings_class.restored(stored["settings"], path)


def refuse_other_run(folder, resume=None):
    """FileError if there is a run in the folder, unless it is the one that is resumed."""
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    found = [name for name in names if name in (CHECKPOINT, LOG) or name.startswith("best") and name.endswith(".pt")]
    own = resume is not None and os.path.realpath(os.path.dirname(os.path.abspath(resume))) == os.path.realpath(folder)
    if found and not own:
        raise FileError(f"{folder}: another run is in this folder ({', '.join(found)}); resume that one or choose another folder")


def choose_device(name):
    """The torch device of a setting; ValueError if there is no GPU for "cuda"."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: expected auto or cpu where torch sees no GPU, got cuda")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _progress_bar(show, total, initial):
    from tqdm import tqdm

    return tqdm(total=total, initial=initial, disable=not show, unit="step", mininterval=2.0)
