"""The frame of the command line: exit statuses, version, help, info, certify, python -m."""
import os
import re
import subprocess
import sys

import pytest
import torch

import svconv
import svconv.cli
from svconv._boundary import PADDINGS
from svconv.cli import certify


def test_version_and_help(run):
    assert run("--version").out.strip() == f"svconv {svconv.__version__}"
    commands = ("info", "certify", "demo", "deblur", "transfer", "bench", "train")
    for arguments in (["--help"], *([c, "--help"] for c in commands), ["train", "ltd", "--help"]):
        outcome = run(*arguments)
        assert outcome.status == 0 and "usage: svconv" in outcome.out and "%%" not in outcome.out


def test_long_commands_have_quiet(run):
    for arguments in (["demo"], ["deblur"], ["transfer"], ["train", "ltd"]):
        assert "--quiet" in run(*arguments, "--help").out


def test_wrong_usage_is_one_line_and_status_2(refused):
    refused(naming="COMMAND")
    refused("dance", naming="dance")
    refused("info", "--fast", naming="--fast")


def test_python_m_svconv(tmp_path):
    def call(*arguments):
        return subprocess.run([sys.executable, "-m", "svconv", *arguments], capture_output=True, text=True, timeout=120)

    version = call("--version")
    assert version.returncode == 0 and version.stdout.strip() == f"svconv {svconv.__version__}"
    wrong = call("deblur", str(tmp_path / "missing.png"), "--kernel", "k.npy", "-o", str(tmp_path / "out.png"))
    assert wrong.returncode == 2 and len(wrong.stderr.splitlines()) == 1 and "missing.png" in wrong.stderr


def failing(monkeypatch, error):
    def run(_):
        raise error

    monkeypatch.setattr("svconv.cli.info.run", run)


def test_internal_errors_are_1_with_a_traceback_on_request(run, monkeypatch, capsys):
    failing(monkeypatch, KeyError("lost"))
    outcome = run("info")
    assert outcome.status == 1 and len(outcome.err.splitlines()) == 1 and "KeyError" in outcome.err
    assert "Traceback" in run("--debug", "info").err


def test_an_interrupt_is_130(run, monkeypatch):
    failing(monkeypatch, KeyboardInterrupt())
    assert run("info").status == 130


def test_an_unknown_backend_is_named(refused, monkeypatch):
    monkeypatch.setenv("SVCONV_BACKEND", "abacus")
    refused("info", naming=["SVCONV_BACKEND", "abacus"])


@pytest.mark.parametrize("command", ["info", "certify"])
def test_a_mistake_in_the_instruction_set_is_one_line_and_status_2(command):
    pytest.importorskip("svconv._C", reason="svconv._C is not built")
    done = subprocess.run(
        [sys.executable, "-m", "svconv", command], env={**os.environ, "SVCONV_ISA": "sse9"}, capture_output=True, text=True
    )
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("svconv: error: SVCONV_ISA: expected one of ") and "sse9" in done.stderr


def test_a_forced_backend_that_cannot_run_is_status_2(refused, monkeypatch, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU, so the backend could run")
    monkeypatch.setenv("SVCONV_BACKEND", "cuda")
    refused("demo", "--size", "80", "-o", tmp_path / "d", naming="cuda")


def test_info_names_every_op_and_every_reason(run):
    outcome = run("info")
    assert outcome.status == 0
    assert max(map(len, outcome.out.splitlines())) <= 100
    from svconv import backends
    from svconv.ops._library import STEMS

    for op in STEMS:
        assert op in outcome.out
    text = " ".join(outcome.out.split())
    for _, _, _, reason in backends.table(STEMS):
        if reason and "not on" not in reason:
            assert " ".join(reason.split()) in text
    for word in ("torch", svconv.__version__, "threads", "GPU", "C++"):
        assert word in outcome.out


def test_certify_passes_and_covers_every_padding(run):
    outcome = run("certify")
    assert outcome.status == 0 and "every adjoint is exact" in outcome.out
    lines = outcome.out.splitlines()
    assert lines[0].split() == list(PADDINGS)
    values = [float(v) for line in lines[1:-1] for v in line.split()[-5:]]
    assert len(values) == 5 * (len(lines) - 2) and max(values) < 1e-12
    assert {"PixelFilter", "Conv"} <= {line.split()[0] for line in lines[1:-1]}


def worst(outcome):
    """(verdict, worst error, its place, limit) of the last line."""
    return re.fullmatch(r"(.*): the worst error is (\S+) \((.*)\), the limit is (\S+)", outcome.out.splitlines()[-1]).groups()


def test_certify_names_the_worst_error_its_place_and_the_limit(run, monkeypatch):
    monkeypatch.setattr(certify, "dot_error", lambda op, shape: 3e-13 if (op.padding, shape) == ("reflect", (1, 3, 5, 4)) else 1e-16)
    monkeypatch.setattr("svconv.operators.EXAMPLES", [e for e in svconv.operators.EXAMPLES if e.name.startswith("Conv ")][:2])
    assert worst(run("certify")) == ("every adjoint is exact", "3.0e-13", "Conv 9x8 on 5x4, per channel, reflect", "1.0e-12")


def test_certify_fails_for_a_wrong_adjoint(run, monkeypatch):
    adjoint = svconv.PixelFilter._adjoint
    monkeypatch.setattr(svconv.PixelFilter, "_adjoint", lambda self, y: adjoint(self, y) * (1 + 1e-9))
    outcome = run("certify")
    assert outcome.status == 1 and "FAILED" in outcome.out
    verdict, error, place, limit = worst(outcome)
    assert verdict == "FAILED" and 1e-12 < float(error) <= 1e-9 and "PixelFilter" in place and limit == "1.0e-12"


def test_certify_fails_for_nan(run, monkeypatch):
    monkeypatch.setattr(certify, "dot_error", lambda *_: float("nan"))
    outcome = run("certify")
    assert outcome.status == 1 and worst(outcome)[:2] == ("FAILED", "nan")
