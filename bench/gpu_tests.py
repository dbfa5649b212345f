"""The steps of a GPU run that call pytest: the tests marked `gpu`, and a few of them under compute-sanitizer."""
import collections
import importlib.util
import json
import os
import pathlib
import re
import shutil
import tempfile

from bench import measure
from bench.gpu_children import ending, run_limited

SANITIZER_LIMIT = 60.0
STUCK = 45             # seconds after which a test that hangs shows where
SMALL = "tests/gpu/test_few_pixels.py"
PLACES = ("/usr/local/cuda/bin", "/opt/nvidia/nsight-compute/*")


def installed(name):
    return importlib.util.find_spec(name) is not None


def workers(cores):
    """Processes for the tests: three quarters of the cores, since each also compiles; none where that is one."""
    return max(1, 3 * cores // 4)


def find_tool(name, session):
    """The path of a program on PATH or where NVIDIA installs it, or None; the stand-ins of a rehearsal go before both."""
    installed = os.pathsep.join(str(path) for place in PLACES for path in sorted(pathlib.Path("/").glob(place.lstrip("/"))))
    return (session.tools and shutil.which(name, path=session.tools)) or shutil.which(name) or shutil.which(name, path=installed)


def pytest_command(journal, paths, cores, together=True, marks="gpu"):
    """The command line that runs the tests marked `gpu`, one line per test; in parallel where pytest-xdist is there."""
    options = ["-m", marks, "-v", "--import-mode=importlib", "-p", "no:cacheprovider", "-p", "bench.journal", "--journal", journal,
               "--tb=short", "-o", f"faulthandler_timeout={STUCK}"]
    if together and workers(cores) > 1 and installed("xdist"):
        options += ["-n", workers(cores), "--dist", "worksteal"]
        if installed("pytest_timeout"):     # ends the worker; without xdist it would end the run
            options += ["--timeout", 2 * STUCK, "--timeout-method", "thread"]
    return measure.python("-m", "pytest", *options, *paths)


def read_journal(path):
    """{"counts", "failed": [{"test", "error"}], "running": [...], "skipped": {reason: how many}, "slowest"} of a journal, ended or not."""
    begun, done, failed, skipped, slowest = {}, {}, [], collections.Counter(), []
    lines = path.read_text().splitlines() if path.exists() else []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:              # the last line of a killed run
            continue
        if "begin" in entry:
            begun[entry["test"]] = True
            continue
        before = done.get(entry["test"])
        done[entry["test"]] = "failed" if "failed" in (entry["outcome"], before) else entry["outcome"]
        if entry["outcome"] == "failed" and before != "failed":
            failed.append({"test": entry["test"], "error": entry["error"]})
        elif entry["outcome"] == "skipped":
            skipped[entry["error"]] += 1
        slowest.append((entry["seconds"], entry["test"]))
    return {"counts": dict(collections.Counter(done.values())), "failed": failed,
            "running": [test for test in begun if test not in done], "skipped": dict(skipped),
            "slowest": [[name, seconds] for seconds, name in sorted(slowest, reverse=True)[:8]]}


def summary(found, code):
    counts = ", ".join(f"{found['counts'].get(name, 0)} {name}" for name in ("passed", "failed", "skipped"))
    running = f", {len(found['running'])} did not end" if found["running"] else ""
    return counts + running + ("" if code in (0, 1, 5) else f"; {ending(code)}")


def run_tests(session):
    """The tests marked `gpu`, in parallel where pytest-xdist is there, with a journal that outlives a killed run."""
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        journal = pathlib.Path(folder) / "journal"
        command = pytest_command(journal, ["tests/gpu", *session.more_tests], cores, marks=session.marks)
        code, output = run_limited(command, min(session.test_limit, session.left() - session.reserve), journal, session.test_silence)
        found = read_journal(journal)
    text = summary(found, code)
    session.data["tests"] = {"exit_status": code, "summary": text, **found, "command": " ".join(map(str, command[1:])).replace(
        str(journal), "FILE"), "output_end": output[-3000:]}
    if code not in (0, 5) or found["failed"] or found["running"]:
        raise RuntimeError(text)
    return text


def errors_reported(output):
    """How many errors or hazards compute-sanitizer counted, or printed before it was ended."""
    totals = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (\d+) ", output)
    found = re.findall(r"^========= (?:Invalid|Error: |Race reported|Program hit|Barrier error|Uninitialized)", output, re.MULTILINE)
    return sum(map(int, totals)) if totals else len(found)


def run_sanitizer(session):
    """Tests of every op on a few pixels under compute-sanitizer: bad accesses, then races between the threads of a block."""
    tool = find_tool("compute-sanitizer", session)
    if tool is None:
        session.data["sanitizer"] = {"reason": "compute-sanitizer is not installed"}
        return "not run: compute-sanitizer is not installed"
    results, bad = session.data.setdefault("sanitizer", {}), []
    for kind in ("memcheck", "racecheck"):
        with tempfile.TemporaryDirectory() as folder:
            journal = pathlib.Path(folder) / "journal"
            command = [tool, "--tool", kind, "--error-exitcode", "86", *pytest_command(journal, [SMALL], 1, together=False)]
            code, output = run_limited(command, min(SANITIZER_LIMIT, session.left() - session.reserve), PYTORCH_NO_CUDA_MEMORY_CACHING="1")
            found = read_journal(journal)
        errors = errors_reported(output)
        results[kind] = {"exit_status": code, "errors": errors, "summary": summary(found, code), "failed": found["failed"],
                         "running": found["running"], "output_end": output[-3000:]}
        if errors or found["failed"] or code not in (0, 5, None):       # that its time is up is no error
            bad.append(f"{kind}: {errors} errors, {results[kind]['summary']}")
    if bad:
        raise RuntimeError("; ".join(bad))
    return "; ".join(f"{kind}: {found['errors']} errors, {found['summary']}" for kind, found in results.items())
