"""`svconv --print-completion` and `--print-manpage`: the code of the three shells, what a shell gets when it asks, a page that troff reads,
the libraries that may be missing."""
import os
import shutil
import subprocess
import sys

import pytest

from svconv.cli import parser

argcomplete = pytest.importorskip("argcomplete")


@pytest.mark.parametrize("shell", parser.SHELLS)
def test_the_code_of_a_shell(run, shell):
    outcome = run("--print-completion", shell)
    sign = {"bash": "complete -o", "zsh": "compdef", "fish": "complete --command svconv"}[shell]
    assert outcome.status == 0 and "svconv" in outcome.out and sign in outcome.out


@pytest.mark.parametrize(("line", "expected"), [
    ("svconv deb", {"deblur"}), ("svconv de", {"deblur", "demo", "defocus"}), ("svconv deblur --ker", {"--kernel", "--kernel-size"}),
    ("svconv deblur x.png --final ", {"irls", "hyper"})])
def test_what_a_shell_is_told(tmp_path, line, expected):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "_ARGCOMPLETE": "1", "COMP_LINE": line,
                   "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
                   "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "out")}
    program = "from svconv.cli import main; main([])"
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60, cwd=tmp_path)
    assert {word.strip() for word in (tmp_path / "out").read_text().splitlines()} >= expected


def test_without_the_library(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    refused("--print-completion", "bash", naming=["--print-completion", "pip install 'svconv[completion]'"])
    refused("--print-completion", "csh", naming=["--print-completion", "csh"])


def test_the_manual_page(run):
    pytest.importorskip("argparse_manpage")
    outcome = run("--print-manpage")
    lines = outcome.out.splitlines()
    assert outcome.status == 0 and any(line.startswith(".TH SVCONV") for line in lines)
    for name in (*parser.COMMANDS, r"\-\-kernel", r"\-\-stack", r"\-\-from\-stars"):
        assert name in outcome.out, name
    assert {line.split(" ")[0] for line in lines if line.startswith((".", "'"))} <= set(parser.REQUESTS)
    if shutil.which("groff"):
        read = subprocess.run(["groff", "-man", "-Tascii", "-ww", "-z"], input=outcome.out, capture_output=True, text=True, timeout=60)
        assert read.returncode == 0 and not read.stderr


def test_a_page_without_the_library(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "argparse_manpage.manpage", None)
    monkeypatch.setitem(sys.modules, "argparse_manpage", None)
    refused("--print-manpage", naming=["--print-manpage", "pip install 'svconv[completion]'"])
