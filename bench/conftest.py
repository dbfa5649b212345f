"""Parametrises the suites over the registry: full sizes, or the smoke sizes under --benchmark-disable."""
import pathlib
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))


def pytest_generate_tests(metafunc):
    """In test_bench_<stem>.py `case` becomes each case of the stem, `case, peer` each case with each baseline."""
    from bench.cases import cases
    if "case" not in metafunc.fixturenames:
        return
    stem = pathlib.Path(metafunc.module.__file__).stem.removeprefix("test_bench_")
    found = cases([stem], smoke=metafunc.config.getoption("benchmark_disable"))
    if "peer" in metafunc.fixturenames:
        metafunc.parametrize("case, peer", [pytest.param(case, peer, id=f"{case.name} | {peer}") for case in found for peer in case.peers])
    else:
        metafunc.parametrize("case", [pytest.param(case, id=case.name) for case in found])
