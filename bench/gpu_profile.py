"""The step of a GPU run that lets Nsight Compute look at each kernel once: time, bytes of the memory, registers, warps at work."""
import csv
import json
import pathlib
import tempfile

from bench import gpu_units, measure
from bench.gpu_children import CHILD, ending, run_limited
from bench.gpu_tests import find_tool

METRICS = {"gpu__time_duration.sum": "time", "dram__bytes_read.sum": "read", "dram__bytes_write.sum": "written",
           "launch__registers_per_thread": "registers", "sm__warps_active.avg.pct_of_peak_sustained_active": "warps active, percent",
           "dram__throughput.avg.pct_of_peak_sustained_elapsed": "memory, percent",
           "sm__throughput.avg.pct_of_peak_sustained_elapsed": "processor, percent"}
MOST = 300             # kernels of one pass


def parse(text):
    """[{"kernel", "grid", metric: [value, unit]}] of the raw page of ncu as CSV; lines before its header are its own messages."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        return []
    header, units, *rows = list(csv.reader(lines[start:]))
    found = []
    for row in rows:
        if len(row) != len(header):
            continue
        named = dict(zip(header, row, strict=True))
        entry = {"kernel": named.get("Kernel Name", ""), "grid": named.get("Grid Size", "")}
        for metric, short in METRICS.items():
            if named.get(metric):
                entry[short] = [named[metric].replace(",", ""), dict(zip(header, units, strict=True))[metric]]
        found.append(entry)
    return found


def first_of_each(kernels):
    """The first launch of every kernel and grid."""
    found = {}
    for entry in kernels:
        found.setdefault((entry["kernel"], entry["grid"]), entry)
    return list(found.values())


def profile(session):
    """One pass of Nsight Compute over the kernels of one case per family, step and dtype."""
    tool = find_tool("ncu", session)
    if tool is None:
        session.data["profile"] = {"reason": "ncu (Nsight Compute) is not installed"}
        return "not run: ncu is not installed"
    units = gpu_units.profiled_units(session, gpu_units.timed_cases(session))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "units.json").write_text(json.dumps(units))
        rehearse = ["--rehearse"] if session.options.rehearse else []
        command = [tool, "--clock-control", "none", "--profile-from-start", "off", "--csv", "--page", "raw", "--metrics", ",".join(METRICS),
                   "--launch-count", MOST, "--log-file", folder / "log.csv",
                   *measure.python(CHILD, "--phase", "profile", "--units", folder / "units.json", "--lines", folder / "lines", *rehearse)]
        limit = min(gpu_units.phase(session, "profile").limit, session.left() - session.reserve)
        code, output = run_limited(command, limit)
        log = folder / "log.csv"
        kernels = first_of_each(parse(log.read_text() if log.exists() else ""))
    session.data["profile"] = {"kernels": kernels, "exit_status": code, "output_end": output[-1500:]}
    if not kernels:
        raise RuntimeError(f"no kernel was seen; ncu {ending(code)}: {' '.join(output.split())[-200:]}")
    return f"{len(kernels)} kernels" + ("" if code == 0 else f"; {ending(code)}")
