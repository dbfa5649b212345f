"""The child of bench/gpu.py that measures: one JSON line when a unit begins, for everything that it finds, and when it ends.

It ends with status 3 when the device is no longer usable after a unit, so that its parent starts the next one on a fresh context.
"""
import argparse
import json
import os
import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]

import torch

from bench import gpu_models, gpu_record, measure
from bench.cases import find


def case_of(unit, rehearse):
    """The case of a unit: of an op family, of the models, or a fault of the rehearsal."""
    more = gpu_models.cases(rehearse)
    if rehearse:
        from bench import gpu_rehearsal
        more += gpu_rehearsal.faulty_cases()
    named = {case.name: case for case in more}
    return named[unit["case"]] if unit["case"] in named else find(unit["case"])


# each yields what one unit finds, piece by piece ------------------------------------------------------------------------

def own(bench, case, unit):
    yield {"record": bench.own_record(case, unit)}
    if bench.settings.device == "cuda":
        yield {"amend": {"memory": bench.memory(case, unit)}}
    yield {"amend": {"graph": bench.graph_replay(case, unit)}}


def peer(bench, case, unit):
    yield {"peer": bench.peer(case, unit)}


def warm(bench, case, unit):
    bench.once(case, unit)
    yield from ()


def profile(bench, case, unit):
    """Runs once unseen, then once between the marks that the profiler waits for."""
    bench.once(case, unit)
    if bench.settings.device == "cuda":
        torch.cuda.profiler.start()
    bench.once(case, unit)
    if bench.settings.device == "cuda":
        torch.cuda.profiler.stop()
    yield from ()


def ceilings(bench, case, unit):
    """Copying and reading 1 GiB, and a float32 matrix product."""
    settings = bench.settings
    roofs = settings.ceilings
    samples, _ = measure.interleave({"read": roofs.read, "copy": roofs.copy}, settings.stopwatch, rounds=3 if settings.rehearse else 30,
                                    budget=5.0)
    yield {"ceilings": roofs.rates(samples) | {"matmul": settings.matmul}}


PHASES = {"ceilings": ceilings, "warm": warm, "svconv": own, "models": own, "eager": peer, "compiled": peer, "profile": profile}


def healthy(device):
    """False after an error that the context does not survive."""
    if device != "cuda":
        return True
    try:
        torch.cuda.synchronize()
        return float(torch.ones(4, device=device).sum()) == 4
    except Exception:
        return False


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--phase", choices=PHASES, required=True)
    parser.add_argument("--units", type=pathlib.Path, required=True, help="JSON list of units")
    parser.add_argument("--first", type=int, default=0, help="index of the first unit to run")
    parser.add_argument("--lines", type=pathlib.Path, required=True, help="file that the JSON lines are appended to")
    parser.add_argument("--rehearse", action="store_true")
    return parser.parse_args()


def main():
    options = arguments()
    units = json.loads(options.units.read_text())
    bench = gpu_record.Bench(gpu_record.Settings(options.rehearse))

    def write(**entry):
        with open(options.lines, "a") as file:
            file.write(json.dumps(measure.finite(entry)) + "\n")

    for index in range(options.first, len(units)):
        unit = units[index]
        write(index=index, begin=True)
        try:
            case = None if options.phase == "ceilings" else case_of(unit, options.rehearse)
            for found in PHASES[options.phase](bench, case, unit):
                write(index=index, **found)
        except measure.Skip as skip:
            write(index=index, skip=str(skip))
        except Exception as error:
            forced = "was forced but cannot run" in str(error)
            write(index=index, **{"skip" if forced else "error": measure.reason(error)})
        alive = healthy(bench.settings.device)
        write(index=index, end=True)
        if not alive:
            sys.stdout.flush()
            os._exit(3)                 # an orderly end would wait for the device


if __name__ == "__main__":
    main()
