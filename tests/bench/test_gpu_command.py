"""The command for a machine with a GPU: its options, its file, its children, its last table. `make rehearse` runs all of it."""
import argparse
import json
import os
import sys
import time
import types

import pytest

from programs import ROOT, run


@pytest.fixture(autouse=True)
def checkout_on_path(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])


def options(tmp_path, **more):
    return argparse.Namespace(**{"rehearse": True, "stem": None, "out": tmp_path / "out.json", "commit": None} | more)


@pytest.fixture
def session(tmp_path):
    from bench.gpu_session import Session
    return Session(options(tmp_path))


def saved(session):
    return json.loads(session.path.read_text())


def sample(**more):
    """A record as a child writes it."""
    time = {"median": 2e-3, "q1": 1e-3, "q3": 3e-3, "min": 1e-3, "runs": 5}
    record = {"name": "disk | forward | tiny", "stem": "disk", "step": "forward", "size": "tiny", "dtype": "float32", "backend": "triton",
              "forced": None, "variant": None, "verified": {"deviation": 1e-7, "limit": 1e-4, "passed": True}, "flops": 8,
              "read_bytes": 4, "written_bytes": 4, "times": {"svconv": time}, "host": time, "graph": {"reason": "a wait"}, "deviations": {},
              "skipped": {}, "metrics": {"gigabytes per second": 50.0, "percent of copy": 60.0, "percent of roofline": 61.0}}
    return record | {"name": f"{more.get('stem', 'disk')} | forward | {more.get('size', 'tiny')}"} | more


# options --------------------------------------------------------------------------------------------------------------

def test_plan_lists_every_step_and_case_without_a_gpu():
    from bench.gpu_steps import STEPS
    text = run("bench/gpu.py", "--plan", CUDA_VISIBLE_DEVICES="").stdout
    words = [name for name, _ in STEPS] + [
        "pixel_filter | gram | 7 x 7, M = 5", "bfloat16", "triton, 512 lanes", "triton, max_radius given", "models | SVMAP | 800 x 1024",
        "models | LearningToDeblur | 2048 x 2048", "a megapixel", "3 x 4096 x 4096", "torch.compile", "at most 470 s"]
    assert [word for word in words if word not in text] == []


def test_without_a_gpu_it_says_so():
    done = run("bench/gpu.py", expect=2, CUDA_VISIBLE_DEVICES="")
    assert "no NVIDIA GPU" in done.stderr and "--plan" in done.stderr and len(done.stderr.splitlines()) == 1


def test_an_unknown_family_is_an_error_of_the_command_line():
    assert "--stem" in run("bench/gpu.py", "--plan", "--stem", "nothing", expect=2).stderr


def test_results_go_where_out_says_and_the_commit_comes_from_git_or_else_from_the_option(tmp_path, monkeypatch):
    from bench import measure
    from bench.gpu_session import Session
    for known, given, expected in (("unknown", "abc123", "abc123"), ("unknown", None, "unknown"), ("fff", "abc123", "fff")):
        monkeypatch.setattr(measure, "commit", lambda known=known: known)
        one = Session(options(tmp_path, out=tmp_path / "deep" / "results.json", commit=given))
        one.write()
        assert json.loads((tmp_path / "deep" / "results.json").read_text())["commit"] == expected


def test_describing_the_machine_keeps_the_commit(session):
    from bench import gpu_steps
    session.data["commit"] = "given"
    session.run("describe", gpu_steps.describe)
    data = saved(session)
    assert data["commit"] == "given" and data["cpu"]["cores"] and data["tools"]["ncu"] and "given" in data["steps"][0]["note"]


# steps ----------------------------------------------------------------------------------------------------------------

def test_a_failing_step_is_kept_and_the_next_one_runs(session):
    def broken(session):
        raise OSError("no compiler")

    session.run("build", broken)
    session.run("next", lambda session: "fine")
    first, second = saved(session)["steps"]
    assert first["error"] == "OSError: no compiler" and second["note"] == "fine" and second["error"] is None


def test_without_time_a_step_is_not_begun(tmp_path):
    from bench.gpu_session import Session
    late = Session(options(tmp_path), limit=1.0)
    late.run("never", lambda session: pytest.fail("it ran"))
    assert late.data["steps"][0]["error"] == "RuntimeError: out of time"


def test_the_table_is_the_last_thing_printed_even_when_the_program_is_ended(session, capsys):
    from bench import gpu

    def ended(session):
        raise SystemExit("terminated")

    with pytest.raises(SystemExit):
        gpu.run(session, [("one", lambda session: "done"), ("two", ended)])
    printed = capsys.readouterr().out
    assert saved(session)["state"] == "interrupted by SystemExit" and saved(session)["steps"][0]["note"] == "done"
    assert "interrupted by SystemExit ===" in printed and printed.endswith("losses: 0 cases where a baseline is faster\n")


def test_the_build_uses_all_cores(session, monkeypatch):
    from bench import gpu_steps
    calls = []
    monkeypatch.setattr(gpu_steps, "run_limited", lambda command, seconds, **more: calls.append((command, more)) or (0, "{'isa': 'x'}"))
    session.options.rehearse = False
    assert gpu_steps.build(session) == "svconv._C loads"
    assert calls[0][1] == {"MAX_JOBS": str(os.cpu_count())} and "build_ext" in calls[0][0]


# children ---------------------------------------------------------------------------------------------------------------

CHILD = """
import json, os, sys, time
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
units = json.load(open(options["--units"]))
def write(**entry):
    with open(options["--lines"], "a") as file:
        file.write(json.dumps(entry) + "\\n")
for index in range(int(options["--first"]), len(units)):
    write(index=index, begin=True)
    fault = units[index]["case"]
    if fault == "abort":
        os.abort()
    if fault == "hang":
        time.sleep(60)
    if fault == "half":
        write(index=index, found="half")
        os._exit(9)
    write(index=index, found=fault)
    write(index=index, end=True)
    if fault == "lost device":
        os._exit(3)
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    from bench import gpu_children
    program = tmp_path / "child.py"
    program.write_text(CHILD)
    monkeypatch.setattr(gpu_children, "CHILD", program)
    monkeypatch.setattr(gpu_children, "command", lambda session, phase, folder, first, lines: [
        sys.executable, str(program), "--units", str(folder / "units.json"), "--first", str(first), "--lines", str(lines)])
    return gpu_children


def units(*names):
    return [{"name": f"unit {name}", "case": name} for name in names]


def test_units_that_crash_or_hang_cost_themselves_and_nothing_else(child, session):
    found = []
    some = units("a", "abort", "b", "hang", "half", "lost device", "c")
    ended, lost = child.run_units(session, child.Phase("svconv", 60, 2.0), some,
                                  lambda unit, entry: found.append((unit["case"], entry["found"])))
    assert found == [("a", "a"), ("b", "b"), ("half", "half"), ("lost device", "lost device"), ("c", "c")] and (ended, lost) == (4, 3)
    said = {one["name"]: one["error"] for one in saved(session)["failures"]}
    assert "SIGABRT" in said["unit abort"] and "no sign of life" in said["unit hang"] and "exit status 9" in said["unit half"]
    assert len(said) == 3 and [crash["phase"] for crash in session.data["crashes"]] == ["svconv"] * 3


def test_a_phase_ends_when_its_time_is_up_and_says_what_was_not_reached(child, session):
    ended, lost = child.run_units(session, child.Phase("eager", 3.0, 60.0), units("a", "hang", "b", "c"), lambda *_: None)
    assert (ended, lost) == (1, 3)
    assert [one["name"] for one in session.data["failures"]] == ["unit hang", "2 units, from unit b"]


def test_a_child_that_cannot_begin_ends_the_phase(child, session):
    (child.CHILD).write_text("raise SystemExit('no such device')")
    with pytest.raises(RuntimeError, match="before its first unit: no such device"):
        child.run_units(session, child.Phase("warm", 20, 20), units("a"), lambda *_: None)


def test_several_children_at_the_same_time_share_the_units(child, session):
    assert child.run_together(session, child.Phase("warm", 30, 30), units("a", "b", "abort", "c", "d"), 2) == 3


def test_a_command_that_outlives_its_limit_is_ended_with_its_children(session, tmp_path):
    from bench import gpu_children
    mark, grandchild, child = tmp_path / "mark", tmp_path / "grandchild.py", tmp_path / "child.py"
    grandchild.write_text(f"import time\ntime.sleep(4)\nopen({str(mark)!r}, 'w')\n")
    child.write_text(f"import subprocess, sys\nprint('begun', flush=True)\nsubprocess.run([sys.executable, {str(grandchild)!r}])\n")
    code, output = gpu_children.run_limited([sys.executable, child], 2.0)
    assert code is None and output == "begun\n"
    time.sleep(4)
    assert not mark.exists()


def test_a_command_whose_journal_stops_growing_is_ended(tmp_path):
    from bench import gpu_children
    journal, child = tmp_path / "journal", tmp_path / "child.py"
    child.write_text(f"import time\nfor _ in range(5):\n    open({str(journal)!r}, 'a').write('x')\n    time.sleep(0.3)\ntime.sleep(60)\n")
    begun = time.monotonic()
    code, _ = gpu_children.run_limited([sys.executable, child], 50, journal, 1.5)
    assert code is None and journal.read_text() == "xxxxx" and time.monotonic() - begun < 30


# what the parent keeps ------------------------------------------------------------------------------------------------------

def unit(**more):
    return {"name": "n", "case": "disk | forward | tiny", "backend": None, "variant": None, "peer": None} | more


def test_lines_of_children_become_records_with_their_baselines(session):
    session.keep(unit(), {"record": sample()})
    session.keep(unit(backend="cuda"), {"record": sample(backend="cuda", forced="cuda")})
    session.keep(unit(backend="cuda"), {"amend": {"graph": {"median": 1e-4}}})
    beside = {"deviation": None, "seconds": {"median": 1}}
    session.keep(unit(peer="conv2d"), {"peer": {"peer": "conv2d", "reference": False, "ratio": 3.0, **beside}})
    session.keep(unit(peer="fill"), {"peer": {"peer": "fill", "reference": True, "ratio": 4.0, **beside}})
    session.keep(unit(peer="unfold"), {"error": "OutOfMemoryError: no memory"})
    session.keep(unit(peer="fold"), {"skip": "needs einops"})
    session.keep(unit(backend="cpu"), {"skip": "backend 'cpu' was forced but cannot run"})
    automatic, forced = saved(session)["records"]
    assert automatic["metrics"]["vs conv2d"] == 3.0 and automatic["metrics"]["times fill"] == 0.25 and "conv2d" in automatic["times"]
    assert automatic["skipped"] == {"unfold": "OutOfMemoryError: no memory", "fold": "needs einops"}
    assert forced["backend"] == "cuda" and forced["graph"] == {"median": 1e-4} and forced["metrics"] == sample()["metrics"]
    assert saved(session)["failures"] == [] and saved(session)["not_run"][0]["reason"].startswith("backend 'cpu'")
    session.keep(unit(case="other"), {"error": "RuntimeError: launch failed"})
    session.lose("eager", unit(name="lost", peer="loop"), "ended by SIGSEGV")
    assert [one["error"] for one in saved(session)["failures"]] == ["RuntimeError: launch failed", "ended by SIGSEGV"]
    assert saved(session)["records"][0]["skipped"]["loop"] == "ended by SIGSEGV"


def test_a_wrong_result_fails_the_step_whatever_else_is_right(session, monkeypatch):
    from bench import gpu_steps
    wrong = sample(verified={"deviation": float("nan"), "limit": 1e-4, "passed": False})
    monkeypatch.setattr(gpu_steps, "run_units", lambda session, phase, units, keep: keep(unit(), {"record": wrong}) or (1, 0))
    monkeypatch.setattr(gpu_steps.gpu_units, "own_units", lambda session, chosen: [])
    monkeypatch.setattr(gpu_steps.gpu_units, "timed_cases", lambda session: [types.SimpleNamespace(name=wrong["name"])])
    session.run("time", gpu_steps.own_timings)
    assert "1 WRONG RESULTS: disk | forward | tiny" in saved(session)["steps"][0]["error"]
    assert saved(session)["records"][0]["verified"]["deviation"] == "nan"


# the table ------------------------------------------------------------------------------------------------------------------

def filled(session, records=()):
    session.data |= {"gpu": {"name": "Some GPU"}, "torch": "2.11", "state": "complete", "ceilings": {"copy": 3e12},
                     "records": list(records)}
    session.data["steps"] = [{"name": "build", "error": None, "note": "fine", "seconds": 3.0},
                             {"name": "run the tests marked gpu", "error": "RuntimeError: 1 failed", "note": None, "seconds": 9.0}]
    session.data["tests"] = {"summary": "8 passed, 1 failed",
                             "failed": [{"test": "tests/gpu/test_a.py::test_b[x]", "error": "assert 1 == 2"}],
                             "running": ["tests/gpu/test_a.py::test_c"]}
    session.fail("svconv", "eff | eff_conv | 4096", "ended by SIGSEGV")
    return session.data


def test_the_table_has_steps_cases_failed_tests_and_losses(session):
    from bench.gpu_table import table
    slow = sample(stem="quotient", metrics=sample()["metrics"] | {"vs torch.fft": 0.8, "vs deepinv": 3.0})
    wrong = sample(stem="eff", verified={"deviation": 0.5, "limit": 1e-4, "passed": False}, variant="512 lanes")
    lines = table(filled(session, [sample(), slow, wrong])).splitlines()
    text = "\n".join(lines)
    for words in ("Some GPU", "copy 3000 G/s", "FAILED    9.0 s  run the tests marked gpu: RuntimeError: 1 failed",
                  "ok        3.0 s  build",
                  "FAILED tests/gpu/test_a.py::test_b[x]: assert 1 == 2", "RUNNING when stopped tests/gpu/test_a.py::test_c",
                  "eff | eff_conv | 4096: ended by SIGSEGV", "losses: 1 cases", "quotient | forward | tiny [triton]: 0.80x torch.fft",
                  "wrong results: 1", "deviates by 0.5 from float64", "eff forward, tiny [triton, 512 lanes] WRONG"):
        assert words in text, words
    row = next(line for line in lines if line.endswith("disk forward, tiny [triton]"))
    assert row.split()[:4] == ["2000", "2000", "-", "61"]


def test_the_table_fits_the_end_of_a_log_and_keeps_what_matters(session):
    from bench.gpu_table import CHARACTERS, table
    many = [sample(size=f"number {i:03} of a long table of cases") for i in range(300)]
    many[250]["metrics"] = many[250]["metrics"] | {"vs torch.fft": 0.5}
    data = filled(session, many)
    data["tests"]["failed"] = [{"test": f"tests/gpu/test_a.py::test_{i}", "error": "x" * 200} for i in range(100)]
    text = table(data)
    assert len(text) <= CHARACTERS < 12_000 and "number 250" in text and "more cases in the file" in text
    assert "test_a.py::test_0" in text and "and 75 more in the file" in text
