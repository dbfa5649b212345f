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


def test_a_family_changes_at_most_six_shared_files():
    new, changed = touched()
    assert len(changed) <= 6 and all("doubled" in name for name in new)
    added = [line for line in PATCH.read_text().splitlines() if line.startswith("-") and not line.startswith("---")]
    assert len(added) <= 2      # the two __all__ lists


@pytest.mark.slow
def test_the_throw_away_family_builds_and_passes_its_battery(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", "*.so", "build", ".venv"))
    subprocess.run(["git", "apply", "--unsafe-paths", f"--directory={copy}", str(PATCH)], cwd="/", check=True)
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=copy, check=True,
                   env={**os.environ, "SVCONV_BUILD": "cpu"})
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    subprocess.run([sys.executable, "-m", "pytest", "-q", "tests/ops/test_doubled.py"], cwd=copy, check=True, env=environment)
    found = subprocess.run([sys.executable, "-m", "svconv", "certify"], cwd=tmp_path, check=True, env=environment,
                           capture_output=True, text=True)
    assert "Doubled" in found.stdout
