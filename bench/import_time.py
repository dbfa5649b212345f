"""What `import svconv` costs: `python bench/import_time.py` prints the median time of `import torch` and of `import svconv` after it.

Each round is a fresh process, so that nothing is loaded yet; the first one is not counted, because it may write the bytecode.
"""
import argparse
import os
import statistics
import subprocess
import sys

LIMIT = 50      # milliseconds that `import svconv` may add to `import torch`
PROGRAM = """
import time
start = time.perf_counter()
import torch
middle = time.perf_counter()
import svconv
print(middle - start, time.perf_counter() - middle)
"""


def measure(rounds):
    """(seconds of `import torch`, seconds of `import svconv` after it), one pair from each fresh process."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    pairs = [tuple(map(float, subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True,
                                             check=True).stdout.split())) for _ in range(rounds + 1)]
    return pairs[1:]


def main():
    parser = argparse.ArgumentParser(prog="python bench/import_time.py", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="fresh processes (default 9)")
    torch, svconv = zip(*measure(parser.parse_args().rounds), strict=True)
    print(f"import torch {statistics.median(torch) * 1e3:.0f} ms; import svconv adds {statistics.median(svconv) * 1e3:.1f} ms "
          f"({min(svconv) * 1e3:.1f} to {max(svconv) * 1e3:.1f} ms in {len(svconv)} processes; at most {LIMIT} ms are asked)")


if __name__ == "__main__":
    main()
