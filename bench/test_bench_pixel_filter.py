"""pytest-benchmark suite of pixel_filter: `python -m pytest bench/test_bench_pixel_filter.py -k "gram and 256"`.

Each candidate runs by itself here, handy while a kernel is being changed; `python bench/cpu.py` interleaves them and gives the
ratios that the README prints.
"""
from bench.suite import time_candidate

STEM = "pixel_filter"


def test_svconv(benchmark, case):
    time_candidate(benchmark, case, lambda inputs: case.run(inputs, None))


def test_peer(benchmark, case, peer):
    time_candidate(benchmark, case, case.peers[peer])
