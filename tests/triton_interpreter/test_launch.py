"""A launch: its arguments, its device and its warps, on a kernel that only takes down how it is called."""
import contextlib
import types

import pytest
import torch
from svconv._triton.launch import Launch

from svconv._triton import launch


class Kernel:
    arg_names = ["x", "size", "BLOCK"]

    def __init__(self):
        self.calls = []

    def run(self, *arguments, **options):
        self.calls.append((arguments, options))


@pytest.fixture
def devices(monkeypatch):
    """Four devices of which number 1 is current; `made_current` are those that a launch had to make so."""
    made_current = []

    @contextlib.contextmanager
    def device(one):
        made_current.append(one.index)
        yield

    module = types.SimpleNamespace(current_device=lambda: 1, device=device)
    monkeypatch.setattr(torch, "get_device_module", lambda one: module)
    return made_current


def test_arguments_are_found_by_name():
    kernel = Kernel()
    Launch(kernel, 7, {"BLOCK": 4, "x": "x", "size": 3}, num_warps=2)(torch.device("cpu"))
    assert kernel.calls == [(("x", 3, 4), {"grid": (7,), "warmup": False, "num_warps": 2, "enable_fp_fusion": True})]
    with pytest.raises(KeyError, match="size"):
        Launch(kernel, 1, {"BLOCK": 4, "x": "x"})(torch.device("cpu"))


def test_registers_are_granted_where_the_compiler_knows_the_word():
    arguments = {"x": None, "size": 0, "BLOCK": 4}
    assert Launch(Kernel(), 1, arguments, registers=96).options(32) == {"num_warps": 8, "enable_fp_fusion": True, "maxnreg": 96}
    assert "maxnreg" not in Launch(Kernel(), 1, arguments, registers=96).options(64)
    assert "maxnreg" not in Launch(Kernel(), 1, arguments).options(32)


def test_nothing_is_launched_for_no_programs():
    kernel = Kernel()
    Launch(kernel, 0, {"x": None, "size": 0, "BLOCK": 4})(torch.device("cpu"))
    assert kernel.calls == []


@pytest.mark.parametrize("index, wanted", [(1, []), (3, [3])])
def test_it_runs_on_the_device_of_the_tensors(devices, index, wanted):
    kernel = Kernel()
    Launch(kernel, 1, {"x": None, "size": 0, "BLOCK": 4})(torch.device("cuda", index))
    assert devices == wanted and len(kernel.calls) == 1


@pytest.mark.parametrize("hip, warp, warps", [(None, 32, 8), ("7.0", 64, 4), ("7.0", 32, 8)])
def test_as_many_threads_on_every_device(monkeypatch, devices, hip, warp, warps):
    """A warp has 64 threads on AMD's CDNA and 32 on its RDNA."""
    kernel = Kernel()
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: types.SimpleNamespace(warp_size=warp))
    launch._warp.cache_clear()
    Launch(kernel, 1, {"x": None, "size": 0, "BLOCK": 4})(torch.device("cuda", 1))
    launch._warp.cache_clear()
    assert kernel.calls[0][1]["num_warps"] == warps
