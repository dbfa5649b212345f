"""The one command for a machine with an NVIDIA GPU: `python bench/gpu.py`, from a plain checkout, nothing to install.

Compares svconv with float64 and times it, on every backend that can; then the models, the tests marked `gpu`, what people write today,
compute-sanitizer and Nsight Compute where they are installed. The result file is written after every step and every case, so that an
interruption loses nothing; it ends within eight minutes, with one table as its last words.

    python bench/gpu.py                 everything; writes bench/results/<gpu>.json
    python bench/gpu.py --out FILE      writes there; --commit NAME where the checkout has no .git
    python bench/gpu.py --plan          lists the steps and cases; needs no GPU
    python bench/gpu.py --rehearse      all steps at tiny sizes on the CPU with faults put in, each of which has to be found; needs no GPU
    python bench/report.py              afterwards: puts the table into docs/speed.md

Whatever may crash or hang runs in a child process that is started again behind it: one bad kernel costs one line of the table. A step that
fails leaves its error in the file and the next one runs. Exit status: 0 if everything passed, 1 if not, 2 without a GPU.
"""
import argparse
import pathlib
import signal
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent)]

import torch

from bench import gpu_rehearsal, gpu_steps, gpu_table
from bench.cases import families
from bench.gpu_session import LIMIT, Session

SKIPPED = {"no_build": gpu_steps.build, "no_tests": gpu_steps.test}


def arguments():
    parser = argparse.ArgumentParser(prog="python bench/gpu.py", description=__doc__.splitlines()[0])
    parser.add_argument("--plan", action="store_true", help="list the steps; needs no GPU")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on the CPU, with faults: tests this program, not svconv")
    parser.add_argument("--no-build", action="store_true", help="leave the compiled module as it is")
    parser.add_argument("--no-tests", action="store_true", help="do not run the GPU tests")
    parser.add_argument("--stem", action="append", choices=families(), help="op family; may be given again (default: all)")
    parser.add_argument("--out", type=pathlib.Path, metavar="FILE", help="result file (default bench/results/<gpu>.json)")
    parser.add_argument("--commit", metavar="NAME", help="what the results are of, where the checkout has no .git")
    return parser.parse_args()


def run(session, steps):
    """All steps, then the table; what ends the program in between still leaves the table."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    try:
        for name, step in steps:
            session.run(name, step)
        session.data["state"] = "complete"
    except BaseException as error:
        session.data["state"] = f"interrupted by {type(error).__name__}"
        raise
    finally:
        session.write()
        print(f"[{session.limit - session.left():5.0f} s] written: {session.path}\n\n{gpu_table.table(session.data)}", flush=True)


def main():
    options = arguments()
    if options.plan:
        print(f"python bench/gpu.py, at most {LIMIT:.0f} s:", *gpu_steps.plan(options),
              "  writes bench/results/<gpu>.json after every step; then: python bench/report.py", sep="\n")
        return 0
    if options.rehearse:
        return gpu_rehearsal.rehearse(options, run)
    if not torch.cuda.is_available():
        print(f"bench/gpu.py: no NVIDIA GPU is visible to torch {torch.__version__} (CUDA {torch.version.cuda}); "
              "--plan lists the steps, --rehearse tries them on the CPU", file=sys.stderr)
        return 2
    session = Session(options)
    run(session, [(name, step) for name, step in gpu_steps.STEPS
                  if not any(getattr(options, flag) and step is left_out for flag, left_out in SKIPPED.items())])
    return 1 if any(step["error"] for step in session.data["steps"]) else 0


if __name__ == "__main__":
    sys.exit(main())
