"""Sources of a checkout without the compiled module run on the reference backend, and say so once."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import svconv

CALLS = """
import torch, svconv, warnings
x, f = torch.ones(1, 1, 4, 4), torch.ones(1, 3, 3, 4, 4)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for block in {blocks}:
        with block:
            for _ in range(2):
                assert svconv.pixel_filter(x, f).sum() == 100
                svconv.conv(x, f[..., 0, 0])
        print(len(caught))
for w in caught:
    print(w.category.__name__, w.message)
print(svconv.__file__)
"""


@pytest.fixture
def sources(tmp_path):
    """A copy of the package's Python files, as a checkout has them."""
    folder = tmp_path / "checkout"
    shutil.copytree(Path(svconv.__file__).parent, folder / "svconv", ignore=shutil.ignore_patterns("_C*", "__pycache__", "*.pt", "_csrc"))
    (folder / "setup.py").touch()
    return folder


def output(folder, blocks, **environment):
    """The lines that the calls print; Python starts inside of the folder."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "SVCONV_BACKEND")}
    done = subprocess.run([sys.executable, "-c", CALLS.format(blocks=blocks)], cwd=folder, env={**inherited, **environment},
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines.pop() == str(folder / "svconv" / "__init__.py")
    return lines


def test_the_first_call_names_the_file_and_what_to_do(sources):
    lines = output(sources, "[svconv.use_backend('reference'), warnings.catch_warnings()]")
    assert lines[:2] == ["0", "1"] and len(lines) == 3
    assert lines[2].startswith(f"RuntimeWarning {sources / 'svconv'} was imported")
    assert "python setup.py build_ext --inplace" in lines[2] and "reference backend" in lines[2] and "another folder" in lines[2]


def test_who_asked_for_the_reference_is_not_warned(sources):
    assert output(sources, "[warnings.catch_warnings()]", SVCONV_BACKEND="reference") == ["0"]


def test_an_installation_without_a_compiler_is_not_a_checkout(sources):
    (sources / "setup.py").unlink()
    assert output(sources, "[warnings.catch_warnings()]") == ["0"]
