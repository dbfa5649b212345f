"""Triton kernels on the CPU. The interpreter has to be chosen before the kernels are imported, so these tests run in a process of
their own: TRITON_INTERPRET=1 python -m pytest tests/triton_interpreter
"""
import importlib.metadata
import importlib.util
import os
from pathlib import Path

import pytest

_HERE = Path(__file__).parent


def _reason():
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if os.environ.get("TRITON_INTERPRET") != "1":
        return "runs in a process of its own with TRITON_INTERPRET=1"
    versions = {name: tuple(int(part) for part in importlib.metadata.version(name).split(".")[:2]) for name in ("triton", "numpy")}
    if versions["triton"] <= (3, 6) and versions["numpy"] >= (2, 4):
        return "the interpreter of Triton 3.6 breaks beside numpy 2.4 and newer"
    return None


def pytest_collection_modifyitems(items):
    reason = _reason()
    for item in items:
        if _HERE in Path(item.path).parents:
            item.add_marker(pytest.mark.triton_interpreter)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))
