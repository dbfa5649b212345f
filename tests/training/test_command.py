"""`svconv train ltd`: runs, resumes, refuses, exit statuses, options."""
import dataclasses
import os
import signal
import subprocess
import sys
import time

import pytest

import svconv
from svconv.cli import main
from svconv.models import LearningToDeblur
from svconv.training.checkpoint import load_checkpoint, save_checkpoint
from svconv.training.learning_to_deblur import LtDSettings

SMALL = ("--kernel-sizes 5 --smallest 3 --size 24 --batch 2 --frozen-steps 1 --validation-pairs 2 --validation-size 32 "
         "--validate-every 2 --save-every 2").split()


def test_it_trains_and_resumes(photographs, tmp_path, capsys):
    base = ["train", "ltd", "--data", str(photographs), "--out", str(tmp_path / "o"), "--quiet"]
    assert main([*base, *SMALL, "--steps", "4,2", "--max-steps", "3"]) == 0
    assert "budget used at step 3" in capsys.readouterr().out
    assert main([*base, "--resume", str(tmp_path / "o" / "last.pt")]) == 0
    assert "done at step 7" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "o" / "last.pt", "ltd")["step"] == 7
    assert LearningToDeblur.load(tmp_path / "o" / "best-2.pt").arguments["stages"] == 2


@pytest.mark.parametrize(
    "change, named",
    [
        (("--data", "nowhere"), "nowhere"),
        (("--resume", "none.pt"), "none.pt"),
        (("--steps", "a"), "--steps"),
        (("--optimiser", "lion"), "optimiser"),
        (("--size", "3"), "size"),
        (("--validate-every", "0"), "--validate-every: "),
        (("--validation-pairs", "0"), "--validation-pairs: "),
        (("--save-every", "0"), "--save-every: "),
        (("--batch", "0"), "--batch: "),
        (("--rate", "nan"), "--rate: "),
        (("--smallest", "9"), "--smallest: "),
        (("--validation-size", "4"), "size"),
        (("--validation-size", "400"), "photographs"),
        (("--threads", "0"), "--threads: "),
        (("--max-steps", "-1"), "--max-steps: "),
        (("--minutes", "nan"), "--minutes: "),
        (("--device", "abacus"), "--device: "),
    ],
)
def test_mistakes_are_status_2_and_one_line(photographs, tmp_path, capsys, change, named):
    options = {"--data": str(photographs), "--out": str(tmp_path / "o")}
    small = [] if change[0] == "--size" else SMALL
    assert main(["train", "ltd", *(t for pair in options.items() for t in pair), "--quiet", *small, *change]) == 2
    error = capsys.readouterr().err
    assert named in error and len(error.strip().splitlines()) == 1 and not (tmp_path / "o").exists()


@pytest.fixture
def finished(photographs, tmp_path):
    """(folder of a short run, call): call(*options) starts a run on the same photographs."""

    def call(*options):
        return main(["train", "ltd", "--data", str(photographs), "--quiet", *map(str, options)])

    assert call("--out", tmp_path / "o", *SMALL, "--steps", "2") == 0
    return tmp_path / "o", call


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(capsys, status, *naming):
    error = capsys.readouterr().err
    assert status == 2 and len(error.strip().splitlines()) == 1 and all(str(text) in error for text in naming), error


@pytest.mark.parametrize("kept", ["last.pt", "metrics.jsonl", "best-1.pt"])
def test_a_run_never_starts_in_the_folder_of_another(finished, tmp_path, capsys, kept):
    folder, call = finished
    for path in folder.iterdir():
        if path.name != kept:
            path.rename(tmp_path / path.name)
    before = contents(folder)
    refused(capsys, call("--out", folder, *SMALL), folder, kept, "another run")
    assert contents(folder) == before


def test_a_resumed_run_may_move_to_a_fresh_folder_but_not_into_another_run(finished, tmp_path, capsys):
    folder, call = finished
    assert call("--out", tmp_path / "new", "--resume", folder / "last.pt", "--steps", "4") == 0
    before = contents(tmp_path / "new")
    refused(capsys, call("--out", tmp_path / "new", "--resume", folder / "last.pt"), tmp_path / "new", "another run")
    assert contents(tmp_path / "new") == before
    assert call("--out", f"{tmp_path}/x/../new", "--resume", tmp_path / "new" / "last.pt", "--steps", "5") == 0


def changed_checkpoint(folder, change):
    state = load_checkpoint(folder / "last.pt", "ltd")
    change(state)
    save_checkpoint(folder / "last.pt", "ltd", state)


@pytest.mark.parametrize(
    "change, named",
    [
        (lambda s: s["settings"].update(colour="red"), "'colour'"),
        (lambda s: s["settings"].update(batch=0), "batch"),
        (lambda s: s.pop("settings"), "settings"),
        (lambda s: s.pop("phase"), "phase"),
        (lambda s: s.pop("task"), "task"),
        (lambda s: s["task"].pop("average"), "average"),
        (lambda s: s["task"]["arguments"].update(colour="red"), "colour"),
        (lambda s: s["task"]["model"].popitem(), "state_dict"),
    ],
)
def test_a_checkpoint_of_another_version_is_named(finished, capsys, change, named):
    folder, call = finished
    changed_checkpoint(folder, change)
    before = contents(folder)
    refused(capsys, call("--out", folder, "--resume", folder / "last.pt"), folder / "last.pt", named)
    assert contents(folder) == before


def test_a_finished_run_may_get_another_stage_but_no_plan_that_ends_before_it(finished, capsys):
    folder, call = finished
    assert call("--out", folder, "--resume", folder / "last.pt", "--steps", "2,2") == 0
    assert "done at step 5" in capsys.readouterr().out and LearningToDeblur.load(folder / "best-2.pt").arguments["stages"] == 2
    refused(capsys, call("--out", folder, "--resume", folder / "last.pt", "--steps", "2"), "last.pt", "phase 3, the plan has 1")


def test_a_checkpoint_with_other_stages_than_the_plan_is_named(finished, capsys):
    folder, call = finished
    changed_checkpoint(folder, lambda s: s["task"]["arguments"].update(stages=2))
    refused(capsys, call("--out", folder, "--resume", folder / "last.pt"), "--steps", "2 stages")


def test_a_folder_that_cannot_be_written_is_named(photographs, tmp_path, capsys):
    (tmp_path / "o").write_text("a file where the folder should be")
    refused(capsys, main(["train", "ltd", "--data", str(photographs), "--out", str(tmp_path / "o"), *SMALL]), tmp_path / "o")


def test_every_setting_is_an_option(capsys):
    assert main(["train", "ltd", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(LtDSettings):
        assert f"--{field.name.replace('_', '-')}" in text and field.metadata["help"] in text


def test_the_help_says_what_a_value_is(capsys):
    assert main(["train", "ltd", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for shown in ("--device {auto,cpu,cuda}", "--optimiser {soap,adam,adadelta}", "--loss {squared,relative}", "--batch N", "--rate X",
                  "--steps N,N,...", "--smallest N|none", "--minutes MINUTES", "--bias | --no-bias"):
        assert f"[{shown}]" in text


def test_the_bar_is_for_terminals(photographs, tmp_path, capsys, monkeypatch):
    def call(out, *more):
        assert main(["train", "ltd", "--data", str(photographs), "--out", str(tmp_path / out), *SMALL, "--steps", "1", *more]) == 0
        return capsys.readouterr().err

    assert call("a") == ""  # stderr is no terminal here
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda self: True)
    assert call("b", "--quiet") == "" and "step" in call("c")


def test_options_become_settings_of_their_types(photographs, tmp_path):
    assert (
        main(
            [
                "train",
                "ltd",
                "--data",
                str(photographs),
                "--out",
                str(tmp_path / "o"),
                "--quiet",
                *SMALL,
                "--steps",
                "1,0",
                "--bias",
                "--smallest",
                "none",
                "--rate",
                "0.02",
                "--device",
                "cpu",
                "--filter-size",
                "3",
            ]
        )
        == 0
    )
    stored = load_checkpoint(tmp_path / "o" / "last.pt", "ltd")
    expected = dict(steps=(1, 0), bias=True, smallest=None, rate=0.02, device="cpu", kernel_sizes=(5,))
    assert {name: stored["settings"][name] for name in expected} == expected and stored["task"]["arguments"]["bias"] is True


def test_an_interrupt_saves_and_is_130(photographs, tmp_path):
    out = tmp_path / "o"
    environment = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(svconv.__file__)))
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "svconv",
            "train",
            "ltd",
            "--data",
            str(photographs),
            "--out",
            str(out),
            "--quiet",
            *SMALL,
            "--steps",
            "100000",
        ],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 90
    while not (out / "last.pt").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume" in text
    assert load_checkpoint(out / "last.pt", "ltd")["step"] >= 2
