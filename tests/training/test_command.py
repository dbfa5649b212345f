"""`svconv train ltd`: runs, resumes, exit statuses."""
import os
import signal
import subprocess
import sys
import time

import pytest

import svconv
from svconv.cli import main
from svconv.models import LearningToDeblur
from svconv.training.checkpoint import load_checkpoint

SMALL = "--kernel-size 5 --smallest 3 --size 24 --batch 2 --frozen-steps 1 --validation-pairs 2 --validation-size 32 --validate-every 2 --save-every 2".split()


def test_it_trains_and_resumes(photographs, tmp_path, capsys):
    base = ["train", "ltd", "--data", str(photographs), "--out", str(tmp_path / "o"), "--quiet"]
    assert main([*base, *SMALL, "--steps", "4,2", "--max-steps", "3"]) == 0
    assert "budget used at step 3" in capsys.readouterr().out
    assert main([*base, "--resume", str(tmp_path / "o" / "last.pt")]) == 0
    assert "done at step 7" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "o" / "last.pt", "ltd")["step"] == 7
    assert LearningToDeblur.load(tmp_path / "o" / "best-2.pt").arguments["stages"] == 2


@pytest.mark.parametrize("change, named", [(("--data", "nowhere"), "nowhere"), (("--resume", "none.pt"), "none.pt"), (("--steps", "a"), "--steps"),
                                           (("--optimiser", "lion"), "optimiser"), (("--size", "3"), "size")])
def test_mistakes_are_status_2_and_one_line(photographs, tmp_path, capsys, change, named):
    options = {"--data": str(photographs), "--out": str(tmp_path / "o"), **dict([change])}
    small = [] if change[0] == "--size" else SMALL
    assert main(["train", "ltd", *(t for pair in options.items() for t in pair), "--quiet", *small]) == 2
    error = capsys.readouterr().err
    assert named in error and len(error.strip().splitlines()) == 1


def test_an_interrupt_saves_and_is_130(photographs, tmp_path):
    out = tmp_path / "o"
    environment = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(svconv.__file__)))
    process = subprocess.Popen([sys.executable, "-m", "svconv", "train", "ltd", "--data", str(photographs), "--out", str(out), "--quiet", *SMALL,
                                "--steps", "100000"], env=environment, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not (out / "last.pt").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume" in text
    assert load_checkpoint(out / "last.pt", "ltd")["step"] >= 2
