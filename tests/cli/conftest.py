"""Pictures and kernels in a folder of their own, and `run`: one call of the command line with its status and output."""
import collections

import numpy as np
import pytest
from PIL import Image

from svconv.cli import main

Outcome = collections.namedtuple("Outcome", "status out err")


@pytest.fixture
def run(capsys):
    """run("deblur", path, ...) -> (exit status, stdout, stderr without the progress bar)"""

    def call(*arguments):
        capsys.readouterr()
        status = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return Outcome(status, out, "\n".join(line for line in err.splitlines() if line.startswith(("svconv", "Traceback", "usage"))))

    return call


@pytest.fixture
def refused(run):
    """Runs a command that must end with status 2 and one line on stderr that holds every given text."""

    def call(*arguments, naming):
        outcome = run(*arguments)
        assert outcome.status == 2, outcome
        assert len(outcome.err.splitlines()) == 1 and outcome.err.startswith("svconv"), outcome.err
        for text in [naming] if isinstance(naming, str) else naming:
            assert str(text) in outcome.err, outcome.err

    return call


@pytest.fixture
def photo():
    """A soft-edged test photograph, uint8 [24, 32, 3]."""
    y, x = np.mgrid[:24, :32]
    return np.stack([128 + 100 * np.sin(x / 4 + c) * np.cos(y / 5) for c in range(3)], 2).astype(np.uint8)


@pytest.fixture
def photo_file(tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def kernel_file(tmp_path):
    k = np.zeros((3, 3), np.float32)
    k[1] = 1 / 3
    np.save(tmp_path / "kernel.npy", k)
    return tmp_path / "kernel.npy"


@pytest.fixture
def weights(tmp_path):
    """Small weights of LearningToDeblur in a file."""
    import torch

    from svconv.models import LearningToDeblur

    torch.manual_seed(3)
    LearningToDeblur((9,), stages=2).save(tmp_path / "own.pt")
    return tmp_path / "own.pt"
