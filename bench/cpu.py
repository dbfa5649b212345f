"""The CPU benchmark: `python bench/cpu.py` measures every op on this machine and writes bench/results/<processor>.json.

    python bench/cpu.py                       all families, about ten minutes
    python bench/cpu.py --stem pixel_filter   one family; records of the others stay in the file
    python bench/cpu.py --case gram           cases whose name contains a text
    python bench/cpu.py --smoke               tiny sizes, seconds; checks the machinery, writes no result
    python bench/report.py                    afterwards: puts the tables into docs/speed.md and README.md

Ratios are medians over rounds in which all candidates run one after the other (svconv, each baseline, reading and copying a large
tensor), so that a drifting machine cancels; each timed call follows an untimed one of the same candidate. Peak memory is measured in
a process of its own.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))     # last: an installed svconv goes before the checkout

import torch

from bench import measure, record
from bench.cases import cases, find


def arguments():
    parser = argparse.ArgumentParser(prog="python bench/cpu.py", description=__doc__.splitlines()[0])
    parser.add_argument("--stem", action="append", help="op family; may be given again (default: all)")
    parser.add_argument("--case", help="only cases whose name contains this text")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, no result file")
    parser.add_argument("--rounds", type=int, default=15, help="most timed runs of each candidate (default 15)")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds per case (default 20)")
    parser.add_argument("--out", type=pathlib.Path, help="result file (default bench/results/<processor>.json)")
    parser.add_argument("--memory-of", metavar="NAME", help=argparse.SUPPRESS)
    return parser.parse_args()


def peak_memory(case):
    """Peak memory of svconv in a fresh process whose allocator returns every large block at once."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(measure.python(__file__, "--memory-of", case.name), env=environment, capture_output=True, text=True,
                          timeout=600, check=False)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def measure_memory_here(name):
    case = find(name)
    small = next(other for other in cases([case.stem], smoke=True) if other.step == case.step)
    small.run(small.inputs("cpu"), None)()      # loads code and starts threads: not part of the op's memory
    inputs = case.inputs("cpu")
    print(json.dumps(record.memory_of(case.run(inputs, None), inputs, "cpu")))


def show(entry):
    """One line per candidate."""
    times, values = entry["times"], entry["metrics"]
    own = times["svconv"]
    moved = entry["read_bytes"] + entry["written_bytes"]
    print(f"\n{entry['name']}  [{entry['backend']}]\n  moves {moved / 2**20:.0f} MiB, {entry['flops'] / 1e9:.2f} Gflop; "
          f"svconv {own['median'] * 1e3:.2f} ms ({own['q1'] * 1e3:.2f}..{own['q3'] * 1e3:.2f}), "
          f"{values['gigabytes per second']:.1f} GB/s, {values['percent of read']:.0f} % of reading, "
          f"{values['percent of copy']:.0f} % of copying")
    for name, value in values.items():
        if name.startswith("vs "):
            taken = times[name[3:]]["median"] * 1e3
            print(f"  {name[3:]:32s} {taken:10.2f} ms   {value:6.2f}x {'' if value >= 1 else '  (svconv is slower)'}")
        elif name.startswith(("times ", "of ")):
            print(f"  {name:32s} {'':13s}   {value:6.2f}")
    for name, text in entry["skipped"].items():
        print(f"  {name:32s} not measured: {text}")
    if "memory" in entry:
        print(f"  peak memory: {json.dumps(entry['memory'])}")
    for target in entry["targets"]:
        if not target["met"]:
            value = "not measured" if target["value"] is None else f"{target['value']:.2f}"
            print(f"  TARGET MISSED: {target['metric']} {target['sign']} {target['limit']}: {value}")
    sys.stdout.flush()


def merged(path, data, records):
    """The file's records of other cases stay, in the file's order; those measured now replace their older versions."""
    old = json.loads(path.read_text())["records"] if path.exists() else []
    fresh = {entry["name"]: entry for entry in records}
    kept = [fresh.pop(entry["name"], entry) for entry in old]
    return {"kind": "cpu", **data, "records": kept + list(fresh.values())}


def main():
    options = arguments()
    if options.memory_of:
        return measure_memory_here(options.memory_of)
    try:
        found = cases(options.stem, smoke=options.smoke)
    except ValueError as error:
        sys.exit(f"bench/cpu.py: {error}")
    chosen = [case for case in found if not options.case or options.case in case.name]
    if not chosen:
        sys.exit("bench/cpu.py: no case has that stem and name")
    path = options.out or (None if options.smoke else measure.RESULTS / f"{measure.cpu_slug()}.json")
    details = measure.metadata() | {"command": "python bench/cpu.py"}
    print(json.dumps(details, indent=1))
    ceilings = measure.Ceilings("cpu", 16 if options.smoke else 1024)
    rounds, budget = (3, 0.5) if options.smoke else (options.rounds, options.budget)
    records = []
    for case in chosen:
        try:
            entry = record.measure_case(case, "cpu", measure.CPUStopwatch(), ceilings, rounds=rounds, budget=budget)
        except measure.Skip as skip:
            print(f"\n{case.name}\n  not measured: {skip}")
            continue
        if case.memory:
            record.add_memory(case, entry, peak_memory(case))
        show(entry)
        records.append(entry)
        if path:
            measure.write_json(path, merged(path, details, records))
    wrong = [f"{entry['name']}: {name}: {text}" for entry in records for name, text in entry["skipped"].items()
             if text.startswith("computes something else")]
    print(f"\n{len(records)} cases; load average {os.getloadavg()[0]:.1f}; {torch.get_num_threads()} threads"
          + (f"; written: {path.name}" if path else "; smoke run, nothing written"))
    if wrong:
        sys.exit("baselines that disagree with svconv:\n" + "\n".join(wrong))


if __name__ == "__main__":
    main()
