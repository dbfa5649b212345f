"""Parametrises the tests of a `battery.Battery` from the class that describes a family."""
import pytest

import oracles


def pytest_generate_tests(metafunc):
    calls = getattr(metafunc.cls, "calls", None)
    if calls is None:
        return
    wanted = set(metafunc.fixturenames)
    if {"call", "padding"} <= wanted:
        metafunc.parametrize("call, padding", [pytest.param(c, p, id=f"{c.name}-{p}") for c in calls for p in c.paddings])
    elif "call" in wanted:
        metafunc.parametrize("call", calls, ids=lambda call: call.name)
    if "backend" in wanted:
        metafunc.parametrize("backend", oracles.usable_backends(metafunc.cls.stem, metafunc.cls.op))
