"""The programs of the checkout, run as a person runs them."""
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


def run(*arguments, expect=0, **environment):
    """Python with these arguments in the checkout; it has to end with the status `expect`."""
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, env={**os.environ, **environment}, capture_output=True,
                          text=True, timeout=300, check=False)
    assert done.returncode == expect, done.stdout[-2000:] + done.stderr[-2000:]
    return done
