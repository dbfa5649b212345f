"""Child processes that import the compiled module under test."""
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def child():
    """Runs a program in a process of its own with some environment variables changed; returns what subprocess.run does."""
    extension = pytest.importorskip("svconv._C", reason="svconv._C is not built")
    beside = str(Path(extension.__file__).parents[1])  # the package that is tested here, installed or built in place

    def run(program, **environment):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([beside, os.environ.get("PYTHONPATH", "")]), **environment}
        return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=120)

    return run
