"""The rehearsal of a GPU run: all its steps at tiny sizes on the CPU with faults put in; it passes if each is reported where it belongs.

Cases of a family "injected" give NaN and wrong numbers, abort, hang and raise, by themselves or in a baseline; a test fails and one hangs;
a step raises; stand-ins for compute-sanitizer and ncu report a race and a kernel. Nothing else may fail.
"""
import json
import os
import pathlib
import resource
import sys
import tempfile
import time

import torch

from bench import gpu_steps, gpu_table, gpu_units
from bench.cases import Case
from bench.gpu_session import Session

LIMIT = 900.0          # a busy machine with two cores is slow
FAULT = "a step that fails"
TESTS = '''
import time

import pytest

pytestmark = pytest.mark.rehearsed


def test_that_passes():
    pass


def test_that_fails():
    assert 1 + 1 == 3, "as the rehearsal wants it"


def test_that_hangs():
    time.sleep(3600)
'''
TOOL = '''#!PYTHON
"""A stand-in: runs the Python command it is given, then reports."""
import subprocess
import sys

code = subprocess.run(sys.argv[sys.argv.index(sys.executable):], check=False).returncode
'''
SANITIZER = TOOL + '''
race = "racecheck" in sys.argv
print(f"========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)" if race else "========= ERROR SUMMARY: 0 errors")
sys.exit(86 if race else code)
'''
PROFILER = TOOL + '''
with open(sys.argv[sys.argv.index("--log-file") + 1], "w") as file:
    file.write("""==PROF== Connected
"ID","Kernel Name","Grid Size","gpu__time_duration.sum","dram__bytes_read.sum"
"","","","us","Mbyte"
"0","_stand_in_kernel","(16384, 1, 1)","1,203.5","880.2"
"1","_stand_in_kernel","(16384, 1, 1)","1,200.1","880.2"
""")
sys.exit(code)
'''


# faulty cases ---------------------------------------------------------------------------------------------------------

def in_float32(fault):
    """What svconv computes: right in float64, with the fault as it is timed."""
    def run(v, backend=None):
        return lambda: fault(2 * v["x"]) if v["x"].dtype == torch.float32 else 2 * v["x"]
    return run


def with_nan(y):
    y[3] = float("nan")
    return y


def abort(y=None):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.abort()


def hang(y=None):
    time.sleep(3600)


def give_up(y=None):
    raise ValueError("as the rehearsal wants it")


def twice(v):
    return lambda: v["x"] + v["x"]


def compiled(v):
    return torch.compile(lambda: 2 * v["x"], backend="eager")


PEERS = {"right": twice, "wrong": lambda v: lambda: 3 * v["x"], "NaN": lambda v: lambda: with_nan(2 * v["x"]), "abort": lambda v: abort,
         "raise": lambda v: give_up, "hang": lambda v: hang, "right again": twice,
         "torch.compile": compiled, "torch.compile that hangs": lambda v: hang, "torch.compile after it": compiled}


def faulty_cases():
    """One case per fault, each followed by a sound one."""
    def case(step, fault, **more):
        return Case("injected", step, "8 pixels", lambda device: {"x": torch.arange(1.0, 9.0, device=device)}, in_float32(fault),
                    read=lambda v: 32, written=lambda v: 32, flops=lambda v: 8, smoke=True, **more)

    return [case("NaN", with_nan, peers={"right": twice}),
            case("wrong", lambda y: 1.01 * y, peers={"wrong too": lambda v: lambda: 4 * v["x"]}),
            case("abort", abort), case("hang", hang), case("raise", give_up),
            case("baselines", lambda y: y, peers=PEERS, references={"another size": lambda v: lambda: v["x"][:4] + 1})]


# what has to be found -------------------------------------------------------------------------------------------------

NAME = "injected | {} | 8 pixels"
FAILING_STEPS = {"check and time svconv", "run the tests marked gpu", "run compute-sanitizer", FAULT}


def lost(data, phase, name, how):
    return any(one["phase"] == phase and one["name"] == name and how in one["error"] for one in data["failures"])


def found(data, text):
    """{fault: whether it is reported where it belongs} from the data of the file and the text of the table."""
    records = {record["name"]: record for record in data["records"] if record["stem"] == "injected"}
    base = records.get(NAME.format("baselines"), {"skipped": {}, "metrics": {}, "verified": {}, "times": {}})
    skipped, tests = base["skipped"], data.get("tests", {"failed": [], "running": [], "counts": {}})
    steps = {step["name"]: step for step in data["steps"]}

    def is_wrong(step, deviation):
        record = records.get(NAME.format(step), {"verified": {"passed": None}})
        return record["verified"]["passed"] is False and deviation(record["verified"]["deviation"]) and f"WRONG {record['name']}" in text

    return {
        "NaN of svconv": is_wrong("NaN", lambda value: value == "nan"),
        "wrong result of svconv, all baselines wrong too": is_wrong("wrong", lambda value: 0.005 < value < 0.02),
        "abort of svconv": lost(data, "svconv", NAME.format("abort"), "SIGABRT"),
        "hang of svconv": lost(data, "svconv", NAME.format("hang"), "no sign of life"),
        "error of svconv": lost(data, "svconv", NAME.format("raise"), "as the rehearsal wants it"),
        "svconv behind all of them": base["verified"].get("passed") is True and "svconv" in base["times"],
        "wrong baseline": "computes something else" in skipped.get("wrong", ""),
        "NaN of a baseline": "computes something else" in skipped.get("NaN", ""),
        "abort of a baseline": "SIGABRT" in skipped.get("abort", ""),
        "hang of a baseline": "no sign of life" in skipped.get("hang", ""),
        "error of a baseline": "as the rehearsal wants it" in skipped.get("raise", ""),
        "baselines around them": {"vs right", "vs right again", "times another size"} <= base["metrics"].keys(),
        "hang of a compiled baseline": "no sign of life" in skipped.get("torch.compile that hangs", ""),
        "compiled baselines around it": {"vs torch.compile", "vs torch.compile after it"} <= base["metrics"].keys(),
        "failing test": [one["test"].split("::")[-1] for one in tests["failed"]] == ["test_that_fails"] and "::test_that_fails" in text,
        "hanging test": [one.split("::")[-1] for one in tests["running"]] == ["test_that_hangs"] and "::test_that_hangs" in text,
        "passing test": tests["counts"].get("passed") == 1 and tests["counts"].get("skipped", 0) > 0,
        "race under the sanitizer": "racecheck: 1 errors" in (steps.get("run compute-sanitizer", {}).get("error") or ""),
        "kernel of the profiler": [one["kernel"] for one in data.get("profile", {}).get("kernels", ())] == ["_stand_in_kernel"],
        "step that fails": "as the rehearsal wants it" in (steps.get(FAULT, {}).get("error") or "") and f"FAILED    0.0 s  {FAULT}" in text}


def unwanted(session, data):
    """What failed though nothing was put in there."""
    lines = [f"step {step['name']}: {step['error']}" for step in data["steps"] if step["error"] and step["name"] not in FAILING_STEPS]
    lines += [f"{one['phase']}: {one['name']}: {one['error']}" for one in data["failures"] if "injected" not in one["name"]]
    sound = [record for record in data["records"] if record["stem"] != "injected"]
    lines += [f"{record['name']} is not right" for record in sound if record["verified"]["passed"] is not True]
    lines += [f"{record['name']}: {name}: {text}" for record in sound for name, text in record["skipped"].items()
              if text.startswith("computes something else")]
    wanted = {case.name for case in gpu_units.timed_cases(session) + gpu_units.model_cases(session) if case.stem != "injected"}
    return lines + [f"{name} has no record" for name in sorted(wanted - {record["name"] for record in sound})]


def judge(session):
    """Reads the file as a reader would: every fault has to be in it and in the table, and nothing else."""
    session.write()
    data = json.loads(session.path.read_text())
    faults = found(data, gpu_table.table(data))
    missed = [name for name, is_there in faults.items() if not is_there]
    more = unwanted(session, data)
    if missed or more:
        raise RuntimeError(f"not found: {', '.join(missed) or 'nothing'}; unwanted: {'; '.join(more[:5]) or 'nothing'}")
    return f"all {len(faults)} faults were found where they belong, and no other"


def failing(session):
    """Raises."""
    give_up()


# the rehearsal ------------------------------------------------------------------------------------------------------

def write_tools(folder):
    for name, text in (("compute-sanitizer", SANITIZER), ("ncu", PROFILER)):
        (folder / name).write_text(text.replace("PYTHON", sys.executable, 1))
        (folder / name).chmod(0o755)


def rehearse(options, run):
    """Exit status 0 if every fault was found and nothing else failed; `run(session, steps)` ends with the table."""
    os.environ.update(CUDA_VISIBLE_DEVICES="")      # the same everywhere: where there is a GPU its tests would run
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if options.out is None:
            options.out = folder / "rehearsal.json"
        session = Session(options, LIMIT)
        session.start_up, session.test_silence, session.test_limit, session.marks = 90.0, 30.0, 180.0, "gpu or rehearsed"
        session.tools = str(folder / "tools")
        (folder / "tools").mkdir()
        write_tools(folder / "tools")
        test = folder / "test_rehearsed.py"
        test.write_text(TESTS)
        session.more_tests = (str(test),)
        run(session, [*gpu_steps.STEPS, (FAULT, failing), ("judge the rehearsal", judge)])
        return 1 if session.data["steps"][-1]["error"] else 0
