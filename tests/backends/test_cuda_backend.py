"""The CUDA backend where something is missing: a reason for the table, the next backend, RuntimeError with it where the backend is forced.

torch and CuPy are stubs here that behave as on such a machine.
"""
import importlib
import subprocess
import sys
import types

import pytest
import torch

from svconv import backends
from svconv.backends.cuda import launch

DEVICE = torch.device("cuda", 0)


@pytest.fixture
def machine(monkeypatch):
    """A machine with a GPU, a torch for CUDA 12 and a CuPy for it; what a test changes on it is seen."""
    caches = (backends.stem_module, backends._candidates, backends.cuda.why_not, backends.cuda._too_old, backends.triton._visible,
              launch.compiled)
    stub = types.SimpleNamespace(
        patch=monkeypatch, cupy=types.ModuleType("cupy"), capability=[(9, 0)],
        limits=types.SimpleNamespace(shared_memory_per_block_optin=232448))
    cuda = stub.cupy.cuda = types.SimpleNamespace(
        runtime=types.SimpleNamespace(runtimeGetVersion=lambda: 12090, getDeviceCount=lambda: 1), ExternalStream=Stream,
        nvrtc=types.SimpleNamespace(getVersion=lambda: (12, 9)))
    stub.cupy.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    cuda_module = types.ModuleType("cupy.cuda")
    vars(cuda_module).update(vars(cuda))
    monkeypatch.setitem(sys.modules, "cupy", stub.cupy)
    monkeypatch.setitem(sys.modules, "cupy.cuda", cuda_module)
    stub.cupy.cuda = cuda_module
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(backends.measured, "why_not_cuda", lambda op, *arguments: None)
    for name, function in {
        "is_available": lambda: True, "device_count": lambda: len(stub.capability), "current_device": lambda: 0,
        "get_device_capability": lambda device: stub.capability[device],
        "get_device_name": lambda device: "Some GPU", "get_device_properties": lambda device: stub.limits,
        "current_stream": lambda device: types.SimpleNamespace(cuda_stream=7),
    }.items():
        monkeypatch.setattr(torch.cuda, name, function)
    for cache in caches:
        cache.cache_clear()
    yield stub
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()


class Stream:
    def __init__(self, address):
        assert address == 7

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def image(*shape, index=0):
    """A tensor on a GPU, as far as the choice looks at it."""
    return types.SimpleNamespace(shape=shape, device=torch.device("cuda", index), dtype=torch.float32)


def call(op, index=0):
    """(stem, op, arguments) of a small call."""
    if op == "eff_fwd":
        return "eff", op, (image(1, 1, 64, 64), image(1, 1, 4, 5, 5), "scatter", "zeros", [2], [2], 0.5, "hann")
    return "pixel_filter", op, (image(1, 1, 8, 8, index=index), image(1, 1, 1, 7, 7, 8, 8), None, "zeros")


def chosen(forced="", op="pixel_filter_gram", index=0):
    """The package of the implementation."""
    stem, op, arguments = call(op, index)
    return backends.choose(stem, op, DEVICE, forced, arguments).__module__


def refused(reason, op="pixel_filter_gram", index=0):
    """In automatic mode another backend runs, a forced one says why not."""
    assert not chosen(op=op, index=index).startswith("svconv.backends.cuda")
    with pytest.raises(RuntimeError, match=f"backend 'cuda' was forced but cannot run {op} on cuda: .*{reason}"):
        chosen("cuda", op, index)
    stem, op, arguments = call(op, index)
    assert reason in backends.why_not("cuda", stem, op, DEVICE, arguments)


def in_the_table(reason):
    rows = backends.table({"pixel_filter_gram": "pixel_filter"})
    return [why for _, device, name, why in rows if (device, name) == ("cuda", "cuda")] == [reason]


def fails(error):
    def call(*_):
        raise error
    return call


def test_a_machine_that_has_everything(machine):
    """The stubs are such that nothing is refused; cuda goes first where it was measured to be faster."""
    assert chosen() == chosen("cuda") == "svconv.backends.cuda.pixel_filter"
    assert in_the_table(None)


def no_cupy(machine):
    machine.patch.setitem(sys.modules, "cupy", None)
    find = importlib.util.find_spec
    machine.patch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "cupy" else find(name, *rest))


def broken_cupy(machine):
    machine.patch.setattr(machine.cupy.cuda.runtime, "runtimeGetVersion", fails(ImportError("libcudart.so: not\nfound")))


def another_major(machine):
    machine.patch.setattr(torch.version, "cuda", "13.0")


def no_nvrtc(machine):
    machine.patch.setattr(machine.cupy.cuda.nvrtc, "getVersion", fails(RuntimeError("no libnvrtc.so.12")))


def no_driver(machine):
    machine.patch.setattr(torch.cuda, "is_available", lambda: False)


def no_driver_for_cupy(machine):
    machine.patch.setattr(machine.cupy.cuda.runtime, "getDeviceCount", fails(RuntimeError("cudaErrorInsufficientDriver")))


def too_old(machine):
    machine.capability[:] = [(6, 1), (5, 2)]


def no_cuda_in_torch(machine):
    machine.patch.setattr(torch.version, "cuda", None)


@pytest.mark.parametrize("lack, reason", [
    (no_cupy, "CuPy is not installed"),
    (broken_cupy, "CuPy does not load: ImportError: libcudart.so: not found"),
    (another_major, "CuPy is for CUDA 12, torch for CUDA 13: install cupy-cuda13x in its place"),
    (no_nvrtc, "NVRTC does not load: RuntimeError: no libnvrtc.so.12"),
    (no_driver, "no NVIDIA GPU is visible"),
    (no_driver_for_cupy, "CuPy finds no GPU: RuntimeError: cudaErrorInsufficientDriver"),
    (too_old, "needs compute capability 7.0, Some GPU has 6.1"),
    (no_cuda_in_torch, "this torch was built without CUDA"),
], ids=lambda value: getattr(value, "__name__", None))
def test_something_is_missing(machine, lack, reason):
    lack(machine)
    refused(reason)
    assert in_the_table(reason)


def test_an_old_gpu_beside_a_new_one(machine):
    machine.capability.append((6, 1))
    assert chosen("cuda", index=0) == "svconv.backends.cuda.pixel_filter"
    refused("needs compute capability 7.0, Some GPU has 6.1", index=1)


def test_too_little_shared_memory(machine):
    assert chosen(op="eff_fwd") == "svconv.backends.cuda.eff"
    machine.limits.shared_memory_per_block_optin = 8 << 10
    refused("a block has 8 KiB of shared memory", op="eff_fwd")


@pytest.mark.parametrize("said, raised", [
    ("CUDA_ERROR_OUT_OF_MEMORY: out of memory", torch.cuda.OutOfMemoryError),
    ("cudaErrorMemoryAllocation: out of memory", torch.cuda.OutOfMemoryError),
    ("CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure", RuntimeError)])
@pytest.mark.parametrize("where", ["compiled", "launched"])
def test_out_of_memory_is_raised_as_torch_raises_it(machine, said, raised, where):
    function = fails(RuntimeError(said))
    machine.patch.setattr(launch, "compiled", function if where == "compiled" else lambda *_: lambda *_, shared_mem: function())
    with pytest.raises(RuntimeError, match=said) as caught:
        launch.Launch("some.cuh", "svconv::some", 1, 32, (1, 2.0, None))(DEVICE)
    assert type(caught.value) is raised


def test_a_launch(machine):
    """What CuPy gets: addresses, numbers as they are, on torch's stream; shared memory is asked for only above what every block has."""
    seen, asked = [], []
    x = torch.ones(3)

    def compiled(*about):
        asked.append(about)
        return lambda *given, shared_mem: seen.append((given, shared_mem))

    machine.patch.setattr(launch, "compiled", compiled)
    for shared in (48 << 10, (48 << 10) + 1):
        launch.Launch("some.cuh", "svconv::some", 5, 32, (x, None, 4, 0.5), shared)(DEVICE)
    launch.Launch("some.cuh", "svconv::some", 0, 32, ())(DEVICE)
    assert seen == [(((5,), (32,), (x.data_ptr(), 0, 4, 0.5)), shared) for shared in (48 << 10, (48 << 10) + 1)]
    assert asked == [("some.cuh", "svconv::some", shared, 0) for shared in (False, (48 << 10) + 1)]


def test_no_module_of_the_backend_imports_cupy():
    code = """
import importlib, pkgutil, sys
import svconv.backends.cuda as cuda
names = [module.name for module in pkgutil.walk_packages(cuda.__path__, cuda.__name__ + ".")]
assert cuda.__name__ + ".pixel_filter" in names
for name in names:
    importlib.import_module(name)
assert not [name for name in sys.modules if name.partition(".")[0] in ("cupy", "cupy_backends")]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
