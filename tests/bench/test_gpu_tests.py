"""The steps of the GPU command that call other programs: pytest with a journal, compute-sanitizer, Nsight Compute."""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import types

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTS = """
import os, time
import pytest

pytestmark = pytest.mark.gpu


@pytest.fixture
def broken():
    raise OSError("no such fixture")


def test_passes():
    pass


@pytest.mark.parametrize("n", [1, 2])
def test_fails(n):
    assert n == 3, "not three"


def test_is_skipped():
    pytest.skip("needs four GPUs")


def test_has_no_fixture(broken):
    pass


def test_ends_the_process():
    os._exit(9)


def test_is_not_reached():
    pass
"""


@pytest.fixture(autouse=True)
def checkout_on_path(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])


@pytest.fixture
def session(tmp_path):
    from bench.gpu_session import Session
    made = Session(argparse.Namespace(rehearse=True, stem=None, out=tmp_path / "out.json", commit=None))
    made.data["tools"] = {}
    return made


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "test_some.py"
    path.write_text(TESTS)
    return path


# pytest ----------------------------------------------------------------------------------------------------------------

def test_a_run_that_dies_leaves_the_names_of_what_failed_and_what_was_running(session, written, monkeypatch):
    from bench import gpu_tests
    monkeypatch.setattr(gpu_tests, "pytest_command", lambda journal, paths, *_, command=gpu_tests.pytest_command, **__: command(
        journal, [written], 1, together=False))
    session.run("tests", gpu_tests.run_tests)
    found = json.loads(session.path.read_text())["tests"]
    assert [one["test"].split("::")[1] for one in found["failed"]] == ["test_fails[1]", "test_fails[2]", "test_has_no_fixture"]
    assert "not three" in found["failed"][0]["error"] and found["failed"][2]["error"] == "OSError: no such fixture"
    assert [one.split("::")[1] for one in found["running"]] == ["test_ends_the_process"]
    assert found["counts"] == {"passed": 1, "failed": 3, "skipped": 1} and found["skipped"] == {"Skipped: needs four GPUs": 1}
    assert session.data["steps"][0]["error"].endswith("1 passed, 3 failed, 1 skipped, 1 did not end; ended with exit status 9")
    assert "test_fails[1] FAILED" in found["output_end"]         # one line per test


@pytest.mark.parametrize("present", [(), ("xdist",), ("xdist", "pytest_timeout")])
def test_tests_run_in_parallel_where_that_is_installed(monkeypatch, present):
    from bench import gpu_tests
    monkeypatch.setattr(gpu_tests, "installed", lambda name: name in present)
    words = list(map(str, gpu_tests.pytest_command("J", ["tests/gpu"], 16)))
    assert ("-n" in words) == ("xdist" in present) and ("--timeout" in words) == ("pytest_timeout" in present)
    if present:
        assert words[words.index("-n") + 1] == "12"
    assert {"-v", "bench.journal", "faulthandler_timeout=45", "tests/gpu"} <= set(words)
    assert "-n" not in gpu_tests.pytest_command("J", [], 16, together=False) and "-n" not in gpu_tests.pytest_command("J", [], 1)
    assert [gpu_tests.workers(cores) for cores in (1, 2, 4, 16, 64)] == [1, 1, 3, 12, 48]


def test_a_worker_whose_device_is_lost_ends_itself_behind_the_test(tmp_path, monkeypatch):
    from bench import gpu_tests, journal
    ended = []
    monkeypatch.setattr(journal.os, "_exit", ended.append)

    def reported(text, is_worker):
        one = journal.Journal(tmp_path / "journal", is_worker, True)
        one.pytest_runtest_logstart("test_a")
        one.pytest_runtest_logreport(types.SimpleNamespace(when="call", outcome="failed", failed=True, nodeid="test_a", duration=1.0,
                                                           longrepr=None, longreprtext=f"def test_a():\nE   {text}\nfile.py: 3"))
        one.pytest_runtest_logfinish()

    reported("RuntimeError: wrong shape", True)
    reported("RuntimeError: CUDA error: an illegal memory access was encountered", False)
    assert ended == []
    reported("RuntimeError: CUDA error: an illegal memory access was encountered", True)
    assert ended == [70]
    assert gpu_tests.read_journal(tmp_path / "journal")["failed"][0] == {"test": "test_a", "error": "RuntimeError: wrong shape"}


def test_a_journal_that_breaks_off_is_read(tmp_path):
    from bench.gpu_tests import read_journal
    lines = '{"test": "a", "begin": true}', '{"test": "a", "outcome": "passed", "seconds": 2, "error": ""}', '{"test": "b", "be'
    (tmp_path / "journal").write_text("\n".join(lines))
    assert read_journal(tmp_path / "journal")["counts"] == {"passed": 1}
    assert read_journal(tmp_path / "none")["counts"] == {}


def test_a_file_that_cannot_be_collected_is_a_failure(tmp_path):
    from bench import gpu_tests
    path = tmp_path / "test_broken.py"
    path.write_text("import no_such_module\n")
    subprocess.run(gpu_tests.pytest_command(tmp_path / "journal", [path], 1), cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
                   capture_output=True, check=False, timeout=120)
    (failed,) = gpu_tests.read_journal(tmp_path / "journal")["failed"]
    assert "no_such_module" in failed["error"]


# other programs --------------------------------------------------------------------------------------------------------

def program(folder, name, text):
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)


def test_where_a_program_is_missing_the_reason_stands_in_the_file(session, monkeypatch, tmp_path):
    from bench import gpu_profile, gpu_tests
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpu_tests, "PLACES", (str(tmp_path / "*"),))
    session.run("sanitizer", gpu_tests.run_sanitizer)
    session.run("profile", gpu_profile.profile)
    data = json.loads(session.path.read_text())
    assert [step["error"] for step in data["steps"]] == [None, None]
    assert "not installed" in data["sanitizer"]["reason"] and "not installed" in data["profile"]["reason"]


def test_a_program_is_found_where_nvidia_puts_it(session, monkeypatch, tmp_path):
    from bench import gpu_tests
    monkeypatch.setenv("PATH", "")
    (tmp_path / "2025.3").mkdir()
    program(tmp_path / "2025.3", "ncu", "")
    monkeypatch.setattr(gpu_tests, "PLACES", (str(tmp_path / "*"),))
    assert gpu_tests.find_tool("ncu", session) == str(tmp_path / "2025.3" / "ncu")


@pytest.mark.parametrize("memory, race, said", [
    ("========= ERROR SUMMARY: 0 errors", "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)", None),
    ("========= ERROR SUMMARY: 7 errors", "========= RACECHECK SUMMARY: 0 hazards displayed", "memcheck: 7 errors"),
    ("========= ERROR SUMMARY: 0 errors", "========= RACECHECK SUMMARY: 2 hazards displayed", "racecheck: 2 errors")])
def test_the_sanitizer_runs_the_small_tests_without_the_caching_allocator(session, tmp_path, memory, race, said):
    from bench import gpu_tests
    seen = tmp_path / "seen"
    program(tmp_path, "compute-sanitizer", f"""
import os, sys
open({str(seen)!r}, "a").write(" ".join(sys.argv[1:]) + " " + os.environ["PYTORCH_NO_CUDA_MEMORY_CACHING"] + "\\n")
print({race!r} if "racecheck" in sys.argv else {memory!r})
""")
    session.tools = str(tmp_path)
    session.run("sanitizer", gpu_tests.run_sanitizer)
    error = session.data["steps"][0]["error"]
    assert (error is None) if said is None else said in error
    lines = seen.read_text().splitlines()
    assert len(lines) == 2 and all(gpu_tests.SMALL in line and line.endswith(" 1") and "--error-exitcode 86" in line for line in lines)
    assert (ROOT / gpu_tests.SMALL).exists()


PAGE = """==PROF== Profiling
"ID","Kernel Name","Grid Size","gpu__time_duration.sum","dram__bytes_read.sum","launch__registers_per_thread"
"","","","us","Mbyte","register/thread"
"0","_fwd_kernel","(16, 1, 1)","1,203.5","880.2","40"
"1","_fwd_kernel","(16, 1, 1)","1,200.1","880.2","40"
"2","_fwd_kernel","(32, 1, 1)","9.5","1.5","40"
"""


def test_the_profile_has_the_first_launch_of_every_kernel_and_grid(session, tmp_path):
    from bench import gpu_profile
    page = tmp_path / "page"
    page.write_text(PAGE)
    program(tmp_path, "ncu", f"""
import pathlib, sys
assert "--clock-control" in sys.argv and sys.argv[sys.argv.index("--clock-control") + 1] == "none"
pathlib.Path(sys.argv[sys.argv.index("--log-file") + 1]).write_text(pathlib.Path({str(page)!r}).read_text())
""")
    session.tools = str(tmp_path)
    session.run("profile", gpu_profile.profile)
    first, second = session.data["profile"]["kernels"]
    assert first == {"kernel": "_fwd_kernel", "grid": "(16, 1, 1)", "time": ["1203.5", "us"], "read": ["880.2", "Mbyte"],
                     "registers": ["40", "register/thread"]} and second["grid"] == "(32, 1, 1)"
    page.write_text("==ERROR== LibraryNotLoaded\n")
    session.run("profile", gpu_profile.profile)
    assert "no kernel was seen" in session.data["steps"][1]["error"]


# the rehearsal ----------------------------------------------------------------------------------------------------------

def test_the_judge_misses_no_fault_and_names_what_nobody_put_in(session):
    from bench import gpu_rehearsal
    session.run("judge", gpu_rehearsal.judge)
    error = session.data["steps"][0]["error"]
    assert error.startswith("RuntimeError: not found: NaN of svconv, wrong result")
    assert sum(gpu_rehearsal.found({"records": [], "failures": [], "steps": []}, "").values()) == 0
    session.data["failures"] = [{"phase": "svconv", "name": "disk | forward", "error": "ended by SIGSEGV"}]
    session.data["steps"] = [{"name": "describe the machine", "error": "OSError: none", "note": None, "seconds": 0.0}]
    lines = gpu_rehearsal.unwanted(session, session.data)
    assert lines[:2] == ["step describe the machine: OSError: none", "svconv: disk | forward: ended by SIGSEGV"]
    assert any("has no record" in line for line in lines)
