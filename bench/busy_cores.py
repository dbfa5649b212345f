"""What other programs on the same cores cost: `python bench/busy_cores.py` measures a solver beside one busy process per core.

Each row is a fresh process with other settings of the OpenMP runtime; rounds go through all rows in turn, and medians are printed.
"""
import argparse
import contextlib
import os
import statistics
import subprocess
import sys

SETTINGS = {"as installed": {}, "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"}, "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"}}
PROGRAM = """
import sys, time, torch, svconv
side = int(sys.argv[1])
y = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(0))
psf = torch.full((1, 1, 9, 9), 1 / 81)
operator = svconv.Conv(psf, padding="replicate")
svconv.solvers.irls(operator, y, reweightings=1, cg_iter=2)
start = time.perf_counter()
svconv.solvers.irls(operator, y, reweightings=2, cg_iter=10)
middle = time.perf_counter()
for _ in range(50):
    svconv.conv(y[..., :64, :64], psf)
print(middle - start, (time.perf_counter() - middle) / 50)
"""


@contextlib.contextmanager
def busy(count):
    """`count` processes that compute without pause."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def measure(settings, side):
    """(seconds of irls, seconds of a small conv) in a fresh process."""
    cleared = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    result = subprocess.run([sys.executable, "-c", PROGRAM, str(side)], env={**cleared, **settings}, capture_output=True, text=True,
                            check=True)
    return tuple(map(float, result.stdout.split()))


def main():
    parser = argparse.ArgumentParser(prog="python bench/busy_cores.py", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=400, help="of the image, pixels")
    parser.add_argument("--busy", type=int, default=os.cpu_count(), help="processes that compute at the same time (default: one per core)")
    args = parser.parse_args()
    times = {name: [] for name in SETTINGS}
    with busy(args.busy):
        for _ in range(args.rounds):
            for name, settings in SETTINGS.items():
                times[name].append(measure(settings, args.side))
    print(f"{args.busy} busy processes on {os.cpu_count()} cores; medians of {args.rounds}")
    print(f"{'':24} {f'irls, {args.side} x {args.side}':>20} {'conv, 64 x 64':>14}")
    for name, pairs in times.items():
        solve, small = map(statistics.median, zip(*pairs, strict=True))
        print(f"{name:24} {solve:18.2f} s {small * 1e6:11.0f} us")


if __name__ == "__main__":
    main()
