"""The loop with another model than those that ship, and on another device."""
import dataclasses
from typing import NamedTuple

import pytest
import torch

from svconv.files import FileError
from svconv.models import LearningToDeblur
from svconv.models.pretrained import Pretrained
from svconv.training.checkpoint import load_checkpoint
from svconv.training.learning_to_deblur import LearningToDeblurTask, LtDSettings
from svconv.training.loop import Trainer, choose_device
from svconv.training.settings import Settings, option
from svconv.training.task import Task


class Line(Pretrained, torch.nn.Module):
    """y = a x + b"""

    def __init__(self, slope=0.0):
        super().__init__()
        self.arguments = {"slope": slope}
        self.slope, self.offset = torch.nn.Parameter(torch.tensor([slope])), torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.slope * x + self.offset


class Phase(NamedTuple):
    name: str
    steps: int


@dataclasses.dataclass
class LineSettings(Settings):
    optimiser: str = option("adam", "optimiser", choices=("adam",))
    rate: float = option(0.2, "learning rate", above=0)
    average: float = option(0.5, "average", least=0, below=1)
    steps: int = option(40, "steps of each phase", least=0)
    warmup: int = option(1, "steps of rising rate", least=0)
    decay: float = option(0.0, "share of each phase with falling rate", least=0, most=1)
    validate_every: int = option(10, "steps between validations", least=1)

    def plan(self):
        return [Phase("offset", self.steps), Phase("both", self.steps)]


class LineTask(Task):
    """A line through points"""

    kind, settings_class = "line", LineSettings

    def __init__(self, photographs, settings, device):
        self.phases = []
        super().__init__(settings, device, Line())

    def prepare(self, phase):
        self.phases.append(phase.name)
        self.model.slope.requires_grad_(phase.name == "both")

    def batch(self, position, count):
        x = torch.linspace(-1, 1, count) + position % 3
        return x, 3 * x + 1

    def loss(self, x, y):
        loss = (self.model(x) - y).square().mean()
        return loss, float(loss.detach())

    def validate(self, model):
        assert not model.training and not torch.is_grad_enabled()
        return {"distance": abs(float(model.slope) - 3) + abs(float(model.offset) - 1)}

    def score(self, result):
        return result["distance"]


def test_another_model_needs_a_task_only(tmp_path):
    trainer = Trainer(LineTask, None, tmp_path / "a")
    assert trainer.run(progress=False) and trainer.task.phases == ["offset", "both"] and trainer.step == 80
    records = trainer.log.read()
    assert records[0]["settings"]["rate"] == 0.2 and [r["step"] for r in records[1:]] == [10, 20, 30, 40, 50, 60, 70, 80]
    best = min(r["distance"] for r in records[5:])
    assert trainer.best == best < 0.5 and {path.name for path in (tmp_path / "a").iterdir()} == {"best.pt", "last.pt", "metrics.jsonl"}
    loaded = Line.load(tmp_path / "a" / "best.pt")
    assert abs(loaded.slope.item() - 3) + abs(loaded.offset.item() - 1) == pytest.approx(best)
    assert load_checkpoint(tmp_path / "a" / "last.pt", "line")["position"] == 80 * 16


def test_it_resumes_bit_for_bit_and_obeys_the_budget(tmp_path):
    whole = Trainer(LineTask, None, tmp_path / "a")
    whole.run(progress=False)
    for stop in (7, 40, 66):
        first = Trainer(LineTask, None, tmp_path / f"{stop}")
        assert not first.run(max_steps=stop, progress=False)
        second = Trainer(LineTask, None, tmp_path / f"{stop}", resume=tmp_path / f"{stop}" / "last.pt")
        assert second.step == stop and second.run(progress=False)
        assert all(torch.equal(a, b) for a, b in zip(whole.task.model.parameters(), second.task.model.parameters()))
        assert second.best == whole.best


def test_a_checkpoint_of_another_model_is_named(tmp_path):
    Trainer(LineTask, None, tmp_path / "a").run(max_steps=1, progress=False)
    with pytest.raises(FileError, match="last.pt.*'line'"):
        Trainer(LearningToDeblurTask, None, tmp_path / "b", resume=tmp_path / "a" / "last.pt")


def test_nothing_is_written_when_a_run_cannot_begin(photographs, tiny, tmp_path):
    with pytest.raises(ValueError, match="^smallest:"):
        Trainer(LearningToDeblurTask, photographs, tmp_path / "o", LtDSettings(**{**tiny, "smallest": 9}))
    assert not (tmp_path / "o").exists()


def test_devices():
    assert choose_device("cpu") == torch.device("cpu")
    if torch.cuda.is_available():
        assert choose_device("auto").type == choose_device("cuda").type == "cuda"
    else:
        assert choose_device("auto") == torch.device("cpu")
        with pytest.raises(ValueError, match="^device: "):
            choose_device("cuda")


def test_everything_that_is_computed_with_is_placed_on_the_device(photographs, tiny, tmp_path, monkeypatch):
    """float64 stands for another device: a tensor that was not placed would be float32, which the ops refuse beside float64."""
    monkeypatch.setattr(Task, "place", lambda self, thing: thing.double())
    settings = LtDSettings(**{**tiny, "optimiser": "soap"})
    trainer = Trainer(LearningToDeblurTask, photographs, tmp_path / "o", settings)
    assert not trainer.run(max_steps=5, progress=False)
    assert all(t.dtype == torch.float32 for t in trainer.task.batch(0, 2))
    again = Trainer(LearningToDeblurTask, photographs, tmp_path / "o", resume=tmp_path / "o" / "last.pt")
    assert again.run(progress=False)
    tensors = [*again.task.model.parameters(), *again.task.average.values.values()]
    tensors += [t for state in again.task.optimiser.state.values() for t in state.values() if torch.is_tensor(t)]
    assert all(t.dtype == torch.float64 for t in tensors)
    assert LearningToDeblur.load(tmp_path / "o" / "best-2.pt").arguments["stages"] == 2
