"""What a model brings to the training loop."""
import abc

import torch

from svconv.files import FileError
from svconv.training.distributed import Alone
from svconv.training.metrics import AveragedWeights
from svconv.training.settings import Settings
from svconv.training.soap import SOAP


class Task(abc.ABC):
    """A model, its data and its loss. The loop owns everything else: budget, interrupt, checkpoint, resume, log, progress, best and device.

    A subclass is constructed as `Task(photographs, settings, device)`, calls this constructor with the settings, the device and a fresh
    model, and has a first line in its docstring that `svconv train --help` prints. Items of data are made on the CPU; `place` moves them.

    Attributes:
        kind: the name on the command line and in checkpoints. settings_class: its `Settings`.
        measured_by: the settings that the score depends on; when one changes, the best score starts afresh.
        betas: of Adam.
        bound_arguments: those of the model without which its weights mean something else, beside those that change their sizes.
        processes: those that share the run, see `svconv.training.distributed`; the loop sets it.
    """

    kind: str = ""
    settings_class: type = Settings
    measured_by: tuple = ()
    betas: tuple = (0.9, 0.99)
    bound_arguments: tuple = ()
    processes = Alone()

    def __init__(self, settings, device, model):
        self.settings, self.device = settings, device
        self.model, self.optimiser, self.average = self.place(model), None, None

    def place(self, thing):
        """A module or a tensor on the device of the run."""
        return thing.to(self.device)

    @abc.abstractmethod
    def prepare(self, phase):
        """Bring the model into the form that a phase of `settings.plan()` trains: grow it, choose what learns by `requires_grad_`."""

    @abc.abstractmethod
    def batch(self, position, count):
        """The tensors of one step, on the CPU: the items position, position + 1, ..., so many, the same at every call."""

    @abc.abstractmethod
    def loss(self, *tensors):
        """(the loss to descend or None to leave this batch out, the error as a number for the log) of a batch on the device; both are
        averaged over the processes, each of which has its share of a batch."""

    @abc.abstractmethod
    def validate(self, model):
        """{name: value} of a model in eval mode on data that is never learned from, for the log."""

    @abc.abstractmethod
    def score(self, result):
        """The number by which the best weights are chosen, from what `validate` returns; smaller is better."""

    def notes(self):
        """More entries for the log, beside those of `validate`."""
        return {}

    def baselines(self):
        """Scores of what needs no training, for the log's first entry."""
        return {}

    def best_file(self):
        """The name of the file for the best weights so far."""
        return "best.pt"

    def begin(self, phase):
        """Start a phase: a fresh optimiser and a fresh average."""
        self.prepare(phase)
        self.processes.align(self.model)
        self.optimiser = make_optimiser(self.settings, self.learning(), self.betas)
        self.average = AveragedWeights(self.model, self.settings.average)

    def learning(self):
        """The parameters that the optimiser changes."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def step(self, tensors, rate):
        """One step of the optimiser; returns the error for the log."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        loss, error = self.loss(*tensors)
        (left_out,) = self.processes.any(loss is None)
        if not left_out:
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.processes.average([p.grad for p in group["params"] if p.grad is not None])
            if self.usable(group["params"]):
                self.optimiser.step()
        self.processes.average(self.model.buffers())
        self.average.update(self.model)
        return self.processes.mean(error)

    def usable(self, parameters):
        """Whether the optimiser may take the gradients of the parameters; they may be changed in place here."""
        return True

    def start_from(self, path):
        """Take the weights in a file of the model's `save`; FileError if they do not fit the settings."""
        loaded = type(self.model).load(path)
        unlike = FileError(f"{path}: weights of {type(self.model).__name__}({loaded.extra_repr()}), expected ({self.model.extra_repr()})")
        if any(loaded.arguments[name] != self.model.arguments[name] for name in self.bound_arguments):
            raise unlike
        try:
            self.model.load_state_dict(self.fitted(loaded.state_dict()))
        except RuntimeError as error:
            raise unlike from error

    def fitted(self, state):
        """The weights of a file as the model of this run takes them."""
        return state

    def state(self):
        """What a resumed run needs; tensors, numbers, strings, lists and dicts of them."""
        return {"arguments": self.model.arguments, "model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(),
                "average": self.average.state_dict()}

    def load_state(self, state, former, phase):
        """Go on from a `state` of a run with the settings `former`, in `phase`."""
        self.model = self.place(type(self.model)(**state["arguments"]))
        self.model.load_state_dict(state["model"])
        self.begin(phase)
        if former.optimiser == self.settings.optimiser:  # another optimiser starts afresh
            self.optimiser.load_state_dict(state["optimiser"])
        self.average.load_state_dict(state["average"])


def make_optimiser(settings, parameters, betas=(0.9, 0.99)):
    """The optimiser of the settings, fresh; betas: of Adam."""
    if settings.optimiser == "adadelta":
        return torch.optim.Adadelta(parameters, lr=settings.rate, rho=0.95)
    if settings.optimiser == "soap":
        return SOAP(parameters, lr=settings.rate)
    return torch.optim.Adam(parameters, lr=settings.rate, betas=betas)
