"""The two suites that every test_bench_<stem>.py takes over: svconv and each baseline, by pytest-benchmark.

Each candidate runs by itself here, handy while a kernel is being changed; `python bench/cpu.py` interleaves them and gives the
ratios that the README prints. `case` and `peer` come from conftest.py.
"""
import gc

import pytest

from bench.measure import Skip


def time_candidate(benchmark, case, factory):
    """Times factory(inputs)() in the group of its case; skips with the reason that the candidate gives."""
    inputs = case.inputs("cpu")
    try:
        call = factory(inputs)
        call()
    except Skip as skip:
        pytest.skip(str(skip))
    benchmark.group = case.name
    benchmark.extra_info["moved bytes"] = case.read(inputs) + case.written(inputs)
    benchmark.pedantic(call, rounds=5)
    gc.collect()


def test_svconv(benchmark, case):
    time_candidate(benchmark, case, lambda inputs: case.run(inputs, None))


def test_peer(benchmark, case, peer):
    time_candidate(benchmark, case, case.peers[peer])
