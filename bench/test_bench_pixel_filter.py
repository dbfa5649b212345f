"""pytest-benchmark suite of pixel_filter: `python -m pytest bench/test_bench_pixel_filter.py -k "gram and 256"`.

Each candidate runs by itself here, handy while a kernel is being changed; `python bench/cpu.py` interleaves them and gives the
ratios that the README prints.
"""
import gc

import pytest

from bench.cases import cases
from bench.measure import Skip

CASES = cases(["pixel_filter"])


def run(benchmark, factory, case):
    inputs = case.inputs("cpu")
    try:
        call = factory(inputs)
        call()
    except Skip as skip:
        pytest.skip(str(skip))
    benchmark.extra_info["moved bytes"] = case.read(inputs) + case.written(inputs)
    benchmark.pedantic(call, rounds=5, warmup_rounds=1)
    gc.collect()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_svconv(benchmark, case):
    benchmark.group = case.name
    run(benchmark, lambda inputs: case.run(inputs, None), case)


@pytest.mark.parametrize("case, peer", [pytest.param(case, peer, id=f"{case.name} | {peer}") for case in CASES for peer in case.peers])
def test_peer(benchmark, case, peer):
    benchmark.group = case.name
    run(benchmark, case.peers[peer], case)
