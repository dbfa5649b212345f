"""The one command for a machine with an NVIDIA GPU: `python bench/gpu.py`, from a plain checkout, nothing to install.

Builds the CPU module in place, runs the GPU tests, measures the card's copy bandwidth and matrix rate, times every op forward and
backward against what people write today, and writes bench/results/<gpu>.json after every step, so that an interruption loses
nothing. Ends within eight minutes. A step that fails leaves its error in the file and the next one runs.

    python bench/gpu.py                 everything
    python bench/gpu.py --plan          lists the steps and cases; needs no GPU
    python bench/gpu.py --rehearse      the same machinery with tiny sizes on the CPU; needs no GPU
    python bench/report.py              afterwards: puts the table into README.md

Cases run in a child process that is started again behind a case that crashed or hung: one bad kernel costs one line of the table.
"""
import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]

import torch

from bench import measure
from bench.cases import cases

LIMIT = 470.0          # seconds for everything
BUILD_LIMIT = 110.0
TEST_LIMIT = 170.0
CASE_LIMIT = 70.0      # without a sign of life from the child
CASE_BUDGET = 2.5      # timed seconds per case
CASE_ROUNDS = 25


def arguments():
    parser = argparse.ArgumentParser(prog="python bench/gpu.py", description=__doc__.splitlines()[0])
    parser.add_argument("--plan", action="store_true", help="list the steps; needs no GPU")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on the CPU: tests this program, not svconv")
    parser.add_argument("--no-build", action="store_true", help="leave the compiled module as it is")
    parser.add_argument("--no-tests", action="store_true", help="do not run the GPU tests")
    parser.add_argument("--stem", action="append", help="op family; may be given again (default: all)")
    parser.add_argument("--out", type=pathlib.Path, help="result file (default bench/results/<gpu>.json)")
    parser.add_argument("--child", nargs=2, metavar=("FIRST", "FILE"), help=argparse.SUPPRESS)
    return parser.parse_args()


class Session:
    """The result file while it grows."""

    def __init__(self, options):
        self.options = options
        self.device = "cpu" if options.rehearse else "cuda"
        self.deadline = time.monotonic() + LIMIT
        self.data = {"kind": "rehearsal" if options.rehearse else "gpu", "command": "python bench/gpu.py", "steps": [], "records": []}
        name = "rehearsal" if options.rehearse else measure.slug(torch.cuda.get_device_name(0))
        self.path = options.out or measure.RESULTS / f"{name}.json"

    def left(self):
        return self.deadline - time.monotonic()

    def write(self):
        measure.write_json(self.path, self.data)

    def run(self, name, step):
        """Runs one step; whatever it raises is kept in the file."""
        print(f"[{LIMIT - self.left():5.0f} s] {name}", flush=True)
        entry = {"name": name, "error": None}
        start = time.monotonic()
        try:
            entry["note"] = step(self)
        except Exception as error:
            entry["error"] = measure.reason(error)
            print(f"          failed: {entry['error']}", flush=True)
        entry["seconds"] = round(time.monotonic() - start, 1)
        self.data["steps"].append(entry)
        self.write()


def run_limited(command, seconds):
    """(return code or None after the limit, output) of a command that is killed with all its children at the limit."""
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(command, cwd=measure.ROOT, env=measure.environment_for_children(), stdout=output,
                                 stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = child.wait(max(1.0, seconds))
        except subprocess.TimeoutExpired:
            code = None
            stop(child)
        output.seek(0)
        return code, output.read()


def stop(child):
    """Kills the session that `child` leads."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


# the steps: each takes the session and returns a note ------------------------------------------------------------------

def describe(session):
    session.data |= measure.metadata(session.device)
    return session.data.get("gpu", {}).get("name", "no GPU")


def build(session):
    """Builds svconv._C in place; without a compiler the cpu backend says why and everything else goes on."""
    code, output = run_limited(measure.python("setup.py", "build_ext", "--inplace"), min(BUILD_LIMIT, session.left()))
    if code != 0:
        last = [line for line in output.splitlines() if line.strip()][-3:]
        raise RuntimeError(f"{'no end within the limit' if code is None else f'exit status {code}'}: {' / '.join(last)}")
    code, output = run_limited(measure.python("-c", "import svconv; from bench import measure; print(measure.extension_details())"), 60)
    return output.strip()[-600:]


def backends(session):
    """Which backend serves which op, and why not the others (as `svconv info`)."""
    from svconv.backends import table
    from svconv.ops._library import STEMS
    rows = [{"op": op, "device": device, "backend": name, "why_not": why} for op, device, name, why in table(STEMS)]
    session.data["backends"] = rows
    return "; ".join(sorted({f"{row['backend']} on {row['device']}" for row in rows if row["why_not"] is None}))


def ceilings(session):
    """Copying 1 GiB to 1 GiB, reading 1 GiB, and an 8192^3 float32 matrix product."""
    stopwatch = make_stopwatch(session.device)
    tiny = session.options.rehearse
    roofs = measure.Ceilings(session.device, 16 if tiny else 1024)
    samples, failures = measure.interleave({"read": roofs.read, "copy": roofs.copy}, stopwatch, rounds=3 if tiny else 30, budget=5.0)
    session.data["ceilings"] = roofs.rates(samples) | {"matmul": measure.matmul_rate(session.device, stopwatch, 256 if tiny else 8192)}
    del roofs
    if session.device == "cuda":
        torch.cuda.empty_cache()
    return ", ".join(f"{name} {rate / 1e9:.0f} G/s" for name, rate in session.data["ceilings"].items())


def tests(session):
    """The tests marked `gpu`: all dtypes, gradcheck, opcheck, compile, determinism, a second stream."""
    code, output = run_limited(measure.python("-m", "pytest", "-m", "gpu", "tests", "-q", "--import-mode=importlib", "-p",
                                              "no:cacheprovider", "--tb=short", "-rfEs"), min(TEST_LIMIT, session.left() - 60))
    lines = [line for line in output.splitlines() if line.strip()]
    failed = [line[:300] for line in lines if line.startswith(("FAILED", "ERROR"))]
    summary = lines[-1].strip("= ") if lines else "no output"
    session.data["tests"] = {"exit_status": code, "summary": summary if code is not None else f"stopped at its time limit; {summary}",
                             "failed": failed[:60], "output_end": output[-6000:]}
    print("          " + summary, flush=True)
    if code not in (0, 5):
        raise RuntimeError(session.data["tests"]["summary"])
    return summary


def timings(session):
    """Every case, in child processes; their lines are merged as they come."""
    chosen = cases(session.options.stem, smoke=session.options.rehearse, device=session.device)
    done = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        first = attempt = 0
        while first < len(chosen) and session.left() > 15:
            lines = pathlib.Path(folder) / f"{attempt}.jsonl"
            last, ended = follow(session, first, lines)
            new = [json.loads(line) for line in lines.read_text().splitlines() if line.endswith("}")] if lines.exists() else []
            done += sum("record" in entry for entry in new)
            failed += sum("error" in entry for entry in new)
            if not new:
                words = " ".join(session.data.get("crashes", ["out of time"])[-1].split())
                raise RuntimeError(f"the child ended before its first case: {words[-200:]}")
            if not ended:
                failed += 1
                session.data.setdefault("failures", []).append({"name": chosen[last].name, "error": "crashed or hung"})
            first, attempt = last + 1, attempt + 1
    if done + failed < len(chosen):
        session.data.setdefault("failures", []).append({"name": f"{len(chosen) - done - failed} cases", "error": "out of time"})
    note = f"{done} of {len(chosen)} cases measured, {failed} failed"
    if done < len(chosen):
        raise RuntimeError(note + "; see failures")
    return note


def follow(session, first, lines):
    """Runs one child from case `first` and takes over what it writes; (index of the last case it began, whether that case ended)."""
    options = session.options
    command = measure.python(__file__, "--child", first, lines, *(["--rehearse"] if options.rehearse else []))
    for stem in options.stem or ():
        command += ["--stem", stem]
    log = lines.with_suffix(".log")
    with open(log, "w") as output:
        child = subprocess.Popen(command, cwd=measure.ROOT, env=measure.environment_for_children(), stdout=output,
                                 stderr=subprocess.STDOUT, start_new_session=True)
    seen, last, ended, alive = 0, first, False, time.monotonic()
    try:
        while True:
            code = child.poll()
            found = lines.read_text().split("\n")[:-1] if lines.exists() else []
            for line in found[seen:]:
                entry = json.loads(line)
                last, ended = entry["index"], "begin" not in entry
                take(session, entry)
                alive = time.monotonic()
            seen = len(found)
            if code is not None:
                break
            if time.monotonic() - alive > CASE_LIMIT or session.left() < 5:
                break
            time.sleep(0.2)
    finally:
        if child.poll() is None:
            stop(child)
    if child.returncode and not ended:
        session.data.setdefault("crashes", []).append(log.read_text()[-2000:])
    return last, ended


def take(session, entry):
    if "record" in entry:
        session.data["records"].append(entry["record"])
        show(entry["record"])
    elif "error" in entry:
        session.data.setdefault("failures", []).append({"name": entry["name"], "error": entry["error"]})
        print(f"          {entry['name']}: {entry['error']}", flush=True)
    else:
        return
    session.write()


def show(record):
    values = record["metrics"]
    versus = "; ".join(f"{name[3:]} {value:.1f}x" for name, value in values.items() if name.startswith("vs "))
    print(f"          {record['name']} [{record['backend']}] {record['times']['svconv']['median'] * 1e3:.3f} ms, "
          f"{values['gigabytes per second']:.0f} GB/s, {values.get('percent of roofline', values['percent of copy']):.0f} % of roofline; "
          f"{versus}", flush=True)


STEPS = (("describe the machine", describe), ("build svconv._C in place", build), ("list the backends", backends),
         ("measure copy bandwidth and matrix rate", ceilings), ("run the tests marked gpu", tests), ("time every op", timings))


# the child ---------------------------------------------------------------------------------------------------------------

def make_stopwatch(device):
    return measure.CUDAStopwatch() if device == "cuda" else measure.CPUStopwatch()


def measure_cases(options):
    """Measures cases from FIRST on; one JSON line when a case begins and one when it ends. Exits after a CUDA error."""
    from bench import record
    device = "cpu" if options.rehearse else "cuda"
    first, path = int(options.child[0]), options.child[1]
    chosen = cases(options.stem, smoke=options.rehearse, device=device)
    stopwatch, roofs = make_stopwatch(device), measure.Ceilings(device, 16 if options.rehearse else 1024)
    matmul = measure.matmul_rate(device, stopwatch, 256 if options.rehearse else 8192)

    def write(entry):
        with open(path, "a") as file:
            file.write(json.dumps(entry) + "\n")

    for index in range(first, len(chosen)):
        case = chosen[index]
        write({"index": index, "name": case.name, "begin": True})
        try:
            entry = record.measure_case(case, device, stopwatch, roofs, rounds=3 if options.rehearse else CASE_ROUNDS,
                                        budget=0.3 if options.rehearse else CASE_BUDGET, matmul=matmul, memory=device == "cuda")
            if device == "cuda":
                torch.cuda.synchronize()
            write({"index": index, "name": case.name, "record": entry})
        except Exception as error:
            write({"index": index, "name": case.name, "error": measure.reason(error)})
            if device == "cuda" and "CUDA error" in str(error):
                sys.exit(3)
        if device == "cuda":
            torch.cuda.empty_cache()


def plan(options):
    print(f"python bench/gpu.py, at most {LIMIT:.0f} s:")
    for number, (name, step) in enumerate(STEPS, 1):
        print(f"  {number}. {name}: {(step.__doc__ or 'GPU, driver, versions, commit, clocks').splitlines()[0]}")
    for case in cases(options.stem, device="cuda"):
        print(f"     {case.name}   against {', '.join(case.peers) or 'nothing'}")
    print("  writes bench/results/<gpu>.json after every step; then: python bench/report.py")


def main():
    options = arguments()
    if options.plan:
        return plan(options)
    if not options.rehearse and not torch.cuda.is_available():
        print(f"bench/gpu.py: no NVIDIA GPU is visible to torch {torch.__version__} (CUDA {torch.version.cuda}); "
              "--plan lists the steps, --rehearse tries them on the CPU", file=sys.stderr)
        sys.exit(2)
    if options.child:
        return measure_cases(options)
    session = Session(options)
    for name, step in STEPS:
        if not (step is build and options.no_build or step is tests and options.no_tests):
            session.run(name, step)
    print(f"[{LIMIT - session.left():5.0f} s] written: {session.path.name}")
    return 0 if not any(step["error"] for step in session.data["steps"]) else 1


if __name__ == "__main__":
    sys.exit(main())
