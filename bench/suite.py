"""One benchmark of pytest-benchmark from a case and a candidate."""
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
