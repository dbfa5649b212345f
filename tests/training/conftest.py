"""A small folder of synthetic photographs and settings that train in a second."""
import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(5):
        image = (np.kron(random.random((12, 14)), np.ones((8, 8))) * 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"photo{i}.png")
    return folder


@pytest.fixture
def tiny():
    return dict(
        kernel_size=5,
        steps=(4, 3),
        frozen_steps=2,
        batch=2,
        size=24,
        smallest=3,
        filter_size=3,
        validation_pairs=3,
        validation_size=32,
        validate_every=2,
        save_every=2,
        warmup=2,
    )


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    """The images are small: on a busy machine several threads only wait for each other."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of processes that a test starts
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
