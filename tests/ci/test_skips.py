"""--strict-skips: a test that was left out for another reason than a GPU, --slow or a process of its own fails the run."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
TESTS = """
import pytest

@pytest.mark.gpu
def test_gpu(): pass

@pytest.mark.slow
def test_slow(): pass

def test_runs(): pass
"""
MISSING = "\ndef test_missing(): pytest.importorskip('no_such_library')\n"
WHOLE_MODULE = "import pytest\npytest.importorskip('no_such_library')\ndef test_never(): pass\n"
DATA = "\ndef test_data(shared_data): pass\n"


@pytest.fixture
def run(tmp_path):
    """Runs pytest on a checkout whose only tests are the given text; the finished process."""
    def call(text, *options, **environment):
        tests = tmp_path / "checkout" / "tests"
        tests.mkdir(parents=True, exist_ok=True)
        shutil.copy(CONFTEST, tests)
        (tests / "test_it.py").write_text(text)
        variables = {n: v for n, v in os.environ.items() if n not in ("SVCONV_DATA", "PYTEST_ADDOPTS")} | environment
        (tests / "pytest.ini").write_text("[pytest]\nmarkers = gpu: a\n    slow: b\n")
        return subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "."], cwd=tests, env=variables,
                              capture_output=True, text=True, timeout=120, check=False)
    return call


def test_a_gpu_and_the_long_sweeps_may_be_missing(run):
    done = run(TESTS, "--strict-skips", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "needs an NVIDIA GPU" in done.stdout and "--slow" in done.stdout and "REFUSED" not in done.stdout


@pytest.mark.parametrize("text", [TESTS + MISSING, WHOLE_MODULE], ids=["a test", "a whole module"])
def test_a_missing_library_fails_the_run(run, text):
    assert run(TESTS + MISSING).returncode == 0
    done = run(text, "--strict-skips")
    assert done.returncode != 0 and "no_such_library" in done.stdout
    refused = [line for line in done.stdout.splitlines() if line.endswith("REFUSED by --strict-skips")]
    assert len(refused) == 1 and "no_such_library" in refused[0]


def test_the_development_data_may_be_missing_only_where_there_is_none(run, tmp_path):
    assert run(TESTS + DATA, "--strict-skips").returncode == 0
    assert run(TESTS + DATA, "--strict-skips", SVCONV_DATA=str(tmp_path / "nowhere")).returncode == 1
    (tmp_path / "shared").mkdir()
    assert run(TESTS + DATA, "--strict-skips").returncode == 1
    (tmp_path / "shared" / "data").mkdir()
    assert run(TESTS + DATA, "--strict-skips").returncode == 0
