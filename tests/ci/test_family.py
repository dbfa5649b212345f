"""CONTRIBUTING.md stays true: a throw-away family, y = 2 w x, added as it says, builds, passes its battery and is certified."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATCH = pathlib.Path(__file__).with_name("doubled.patch")


def touched():
    """(new files, changed files) of the patch."""
    parts = PATCH.read_text().split("diff --git ")[1:]
    names = [re.match(r"a/(\S+)", part).group(1) for part in parts]
    return [n for n, p in zip(names, parts) if "new file mode" in p], [n for n, p in zip(names, parts) if "new file mode" not in p]


def apply(*options, folder):
    # Without context where a line is added at a place that others are added to as well.
    subprocess.run(["git", "apply", "--unidiff-zero", "--unsafe-paths", f"--directory={folder}", *options, str(PATCH)], cwd="/", check=True)


def test_a_family_adds_one_line_to_each_of_at_most_six_shared_files():
    new, changed = touched()
    assert len(changed) <= 6 and all("doubled" in name for name in new)
    for part in PATCH.read_text().split("diff --git ")[1:]:
        if part.split(" ", 1)[0].removeprefix("a/") in changed:
            lines = [line for line in part.splitlines() if re.match(r"[-+](?![-+]{2} )", line)]
            assert len(lines) == 1 and lines[0].startswith("+"), lines


def test_the_patch_applies():
    apply("--check", folder=ROOT)


@pytest.mark.slow
def test_the_throw_away_family_builds_and_passes_its_battery(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", "*.so", "build", ".venv"))
    apply(folder=copy)
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=copy, check=True,
                   env={**os.environ, "SVCONV_BUILD": "cpu"})
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    subprocess.run([sys.executable, "-m", "pytest", "-q", "tests/ops/test_doubled.py"], cwd=copy, check=True, env=environment)
    found = subprocess.run([sys.executable, "-m", "svconv", "certify"], cwd=tmp_path, check=True, env=environment,
                           capture_output=True, text=True)
    assert "Doubled" in found.stdout
