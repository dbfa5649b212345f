""".ci/steps.sh: two steps at a time, logs as they end, and a failing step ends the run with its log."""
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

CI = Path(__file__).resolve().parents[2] / ".ci"

if shutil.which("bash") is None or shutil.which("flock") is None:
    pytest.skip("bash and flock are not here", allow_module_level=True)


def run(tmp_path, program):
    text = f"set -euo pipefail\nwork={tmp_path}\n. {CI}/steps.sh\n{program}\necho END\n"
    return subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=60, check=False)


def test_logs_are_printed_when_a_step_ends(tmp_path):
    done = run(tmp_path, "slow() { sleep 1; echo slow $OMP_NUM_THREADS; }\nquick() { echo quick >&2; }\n"
                         "alone 'first one' echo hello\ntogether slow slow\ntogether quick quick\nfinish\ntable")
    assert done.returncode == 0 and not done.stderr
    lines = [line for line in done.stdout.splitlines() if line]
    assert lines[0].startswith("=== first one (") and lines[1] == "hello"
    assert [line for line in lines if line in ("quick", "slow 1", "END")] == ["quick", "slow 1", "END"]
    assert [line.split(None, 1)[1] for line in lines[-5:-1]] == ["first one", "slow", "quick", "the whole run"]


def test_two_at_a_time(tmp_path):
    program = f"busy() {{ mkdir {tmp_path}/$1; ls {tmp_path} | grep -c busy; sleep 0.5; rmdir {tmp_path}/$1; }}\n"
    program += "".join(f"together step{i} busy busy{i}\n" for i in range(5)) + "finish"
    done = run(tmp_path, program)
    counts = [int(line) for line in done.stdout.splitlines() if line.isdigit()]
    assert done.returncode == 0 and len(counts) == 5 and max(counts) == 2


@pytest.mark.parametrize("way", ["alone bad bad", "together bad bad; finish",
                                 "together bad bad; together good sleep 1; together good true; finish",
                                 "together bad bad; sleep 0.5; together good sleep 1; together good true; finish",
                                 "together bad bad; sleep 0.5; finish"])
def test_a_failing_step_ends_the_run(tmp_path, way):
    done = run(tmp_path, f"bad() {{ echo before; false; echo after; }}\n{way}")
    assert done.returncode != 0 and "END" not in done.stdout
    assert re.search(r"=== bad \(\d+ s, FAILED with status 1\)\nbefore", done.stdout) and "after" not in done.stdout


def test_a_step_that_is_killed_ends_the_run(tmp_path):
    done = run(tmp_path, "together killed sleep 9\nsleep 0.3\nkill -9 -- -$(jobs -p | head -1)\nsleep 0.3\nfinish")
    assert done.returncode != 0 and "END" not in done.stdout


def test_what_a_failing_run_leaves_behind_is_stopped(tmp_path):
    alive = tmp_path / "alive"
    program = f"endless() {{ bash -c 'while :; do touch {alive}; sleep 0.1; done'; }}\n"
    program = "trap stop EXIT\n" + program + "together endless endless\nsleep 0.5\ntogether bad false\nfinish"
    assert run(tmp_path, program).returncode != 0 and alive.exists()
    time.sleep(0.5)
    alive.unlink()
    time.sleep(0.5)
    assert not alive.exists()
