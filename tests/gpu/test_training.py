"""Training on a GPU: the run starts there, resumes on the CPU and back."""
import numpy as np
import pytest
import torch
from PIL import Image

from svconv.training.learning_to_deblur import LearningToDeblurTask, LtDSettings
from svconv.training.loop import Trainer

pytestmark = pytest.mark.gpu


def test_a_run_moves_between_the_devices(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "photographs").mkdir()
    for i in range(4):
        Image.fromarray((np.kron(random.random((12, 14)), np.ones((8, 8))) * 255).astype(np.uint8)).save(
            tmp_path / "photographs" / f"{i}.png"
        )
    common = dict(
        kernel_size=5, frozen_steps=2, batch=2, size=24, smallest=3, filter_size=3, validation_pairs=3, validation_size=32, validate_every=2
    )
    last = None
    for device, steps, name in (("cuda", (3, 2), "a"), ("cpu", (3, 4), "b"), ("auto", (3, 6), "c")):
        trainer = Trainer(
            LearningToDeblurTask, tmp_path / "photographs", tmp_path / name, LtDSettings(**common, steps=steps, device=device), resume=last
        )
        assert trainer.run(progress=False) and np.isfinite(trainer.best)
        assert {p.device.type for p in trainer.task.model.parameters()} == {"cpu" if device == "cpu" else "cuda"}
        assert all(torch.isfinite(p).all() for p in trainer.task.model.parameters())
        last = tmp_path / name / "last.pt"
