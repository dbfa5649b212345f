"""The checks of `make check` that are our own: each one finds what it is for, and nothing in a tree that is right."""
import subprocess
import sys
from pathlib import Path

import pytest

CI = Path(__file__).resolve().parents[2] / ".ci"


def check(script, folder):
    """(exit status, lines) of a check on a folder."""
    done = subprocess.run([sys.executable, str(CI / script), str(folder)], capture_output=True, text=True, timeout=60, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def write(folder, name, text=""):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_long_file_is_found(tmp_path):
    write(tmp_path, "svconv/right.py", "x = 1\n" * 400)
    write(tmp_path, "docs/long.md", "text\n" * 500)
    assert check("sizes.py", tmp_path) == (0, [])
    write(tmp_path, "csrc/cpu/long.cpp", "int x;\n" * 401)
    status, lines = check("sizes.py", tmp_path)
    assert status == 1 and lines == ["csrc/cpu/long.cpp: 401 lines, at most 400 are wanted: split it by subject"]


@pytest.mark.parametrize("name", ["gram_a.py", "gram_2.h", "gram2_17.cpp", "gram_more.py", "utils.py", "util.h", "misc.md"])
def test_a_file_named_after_nothing_is_found(tmp_path, name):
    for right in ("pixel_filter.py", "__init__.py", "fft.h", "conv2d.py", "0001-torch-free-core.md", "_C.pyi", ".gitignore"):
        write(tmp_path, right)
    assert check("sizes.py", tmp_path)[0] == 0
    write(tmp_path, name)
    status, lines = check("sizes.py", tmp_path)
    assert status == 1 and lines == [f"{name}: name it after its subject"]


def test_only_files_of_the_checkout_count(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    write(tmp_path, ".gitignore", "build/\n")
    write(tmp_path, "build/long.py", "x = 1\n" * 401)
    assert check("sizes.py", tmp_path)[0] == 0
    write(tmp_path, "new.py", "x = 1\n" * 401)
    assert check("sizes.py", tmp_path)[0] == 1


def layered(folder):
    """A small tree whose imports are right."""
    write(folder, "svconv/__init__.py", "from svconv import ops\nfrom svconv.operators import Conv\n")
    write(folder, "svconv/_plane.py", "import torch\n")
    write(folder, "svconv/ops/__init__.py", "from svconv.ops.conv import conv\n")
    write(folder, "svconv/ops/conv.py", "from svconv import _plane, backends\n")
    write(folder, "svconv/operators/__init__.py", "from svconv.operators.conv import Conv\n")
    write(folder, "svconv/operators/conv.py", "import svconv\nfrom svconv import conv\ny = svconv.conv\n")
    write(folder, "svconv/solvers/cg.py", "from svconv import Conv\n")
    write(folder, "svconv/cli/info.py", "def run():\n    from svconv import __version__, solvers\n")
    write(folder, "triton_kernels/quotient.py", "from svconv import _plane\nfrom svconv._triton import launch\n")
    return folder


def test_imports_downwards_are_right(tmp_path):
    assert check("layers.py", layered(tmp_path)) == (0, [])


@pytest.mark.parametrize("name, text, expected", [
    ("svconv/ops/bad.py", "from svconv.solvers import cg\n", "ops imports solvers, which stands above it"),
    ("svconv/ops/bad.py", "def f():\n    import svconv.nn.quotient\n", "ops imports nn, which stands above it"),
    ("svconv/ops/bad.py", "from svconv import Conv\n", "ops imports operators, which stands above it"),
    ("svconv/ops/bad.py", "import svconv\ny = svconv.solvers.cg\n", "ops imports solvers, which stands above it"),
    ("svconv/_bad.py", "from svconv import use_backend\n", "helpers imports backends, which stands above it"),
    ("svconv/nn/bad.py", "from svconv.data import degrade\n", "nn imports data, which stands beside it"),
    ("svconv/nn/bad.py", "from ..cli import main\n", "nn imports ..cli, which is not in the table"),
    ("triton_kernels/bad.py", "import svconv.reference.quotient\n", "_triton imports reference, which stands beside it"),
])
def test_an_import_upwards_is_found(tmp_path, name, text, expected):
    write(layered(tmp_path), name, text)
    status, lines = check("layers.py", tmp_path)
    assert status == 1 and lines == [f"{name}:{len(text.splitlines())}: {expected}"]


def test_a_layer_without_a_place_is_found(tmp_path):
    write(layered(tmp_path), "svconv/helpers_of_mine/file.py")
    assert "svconv/helpers_of_mine/file.py: the layer helpers_of_mine is not in the table" in check("layers.py", tmp_path)[1][0]


def test_broken_links_are_found(tmp_path):
    write(tmp_path, "README.md", "[a](docs/page.md) [b](docs/page.md#the-second-part) [c](https://example.org/x) ![d](docs/d.svg)\n"
                                 "```\n[code](nowhere.md)\n```\n")
    write(tmp_path, "docs/page.md", "# Page\n\n[up](../README.md)\n\n## The second part\n")
    write(tmp_path, "docs/d.svg")
    write(tmp_path, "CONTRIBUTING.md", "`docs/page.md`, `docs/`, `docs/<stem>.md`, `a / b`, `make docs`\n")
    assert check("links.py", tmp_path) == (0, [])
    write(tmp_path, "docs/page.md", "# Page\n\n[gone](gone.md) [up](../README.md#nothing)\n\n## The second part\n")
    write(tmp_path, "CONTRIBUTING.md", "`docs/gone.py` and `csrc/`\n")
    assert check("links.py", tmp_path) == (1, ["docs/page.md: gone.md is not there", "docs/page.md: ../README.md#nothing: no such heading",
                                               "CONTRIBUTING.md: `docs/gone.py` is not there", "CONTRIBUTING.md: `csrc/` is not there"])
