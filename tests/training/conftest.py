"""A small folder of synthetic photographs and settings that train in a second."""
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

import svconv
from svconv.cli import main
from svconv.training.checkpoint import load_checkpoint


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
        kernel_sizes=(5,),
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


@pytest.fixture
def killed_and_whole(tmp_path):
    """killed_and_whole(kind, folder, options, more) -> two models: of a run of `svconv train kind` that is killed as soon as
    there is a checkpoint and then resumed for so many more steps, and one of as many steps that nothing stops."""

    def run(kind, folder, options, more):
        out, whole = tmp_path / "killed", tmp_path / "whole"
        command = ["train", kind, "--data", str(folder), "--quiet", *options]
        environment = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(svconv.__file__)))
        process = subprocess.Popen([sys.executable, "-m", "svconv", *command, "--out", str(out)], env=environment)
        deadline = time.monotonic() + 120
        while not (out / "last.pt").exists() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        stopped = load_checkpoint(out / "last.pt", kind)["step"]
        assert stopped >= 2 and main(["train", kind, "--data", str(folder), "--out", str(out), "--quiet", "--resume",
                                      str(out / "last.pt"), "--max-steps", str(more)]) == 0
        assert main([*command, "--out", str(whole), "--max-steps", str(stopped + more)]) == 0
        return [load_checkpoint(where / "last.pt", kind)["task"]["model"] for where in (out, whole)]

    return run
