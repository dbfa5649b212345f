"""pytest-benchmark suite of the quotient family: `python -m pytest bench/test_bench_quotient.py -k "kernel and 1024"`.

Each candidate runs by itself here; `python bench/cpu.py --stem quotient` interleaves them and gives the ratios.
"""
from bench.suite import time_candidate

STEM = "quotient"


def test_svconv(benchmark, case):
    time_candidate(benchmark, case, lambda inputs: case.run(inputs, None))


def test_peer(benchmark, case, peer):
    time_candidate(benchmark, case, case.peers[peer])
