"""The calls that the GPU tests run: what the batteries of all families describe, each with the GPU backends that can serve it."""
import importlib
import zlib

import torch
from battery import Battery

import oracles
from oracles import PADDINGS

MODULES = ("test_pixel_filter", "test_conv", "test_quotient", "test_eff", "test_disk", "test_gaussian")

# Every dtype and every padding, but not every pair of them: each is another kernel to compile, and neither depends on the other.
DTYPES_AND_PADDINGS = [(torch.float32, padding) for padding in PADDINGS] + [
    (dtype, "reflect") for dtype in (torch.float64, torch.bfloat16, torch.float16)]


def two_paddings(i):
    """Zeros and one of the others, which take turns."""
    return "zeros", PADDINGS[1 + i % (len(PADDINGS) - 1)]


def batteries():
    """The battery classes of the families that have kernels for GPUs, in the order of their files."""
    for name in MODULES:
        members = vars(importlib.import_module(name)).values()
        yield from (member for member in members if isinstance(member, type) and issubclass(member, Battery) and member is not Battery)


def gpu_backends(battery):
    """Backends with kernels of their own; without a GPU a name that stands in while the tests are collected."""
    if not torch.cuda.is_available():
        return ["triton"]
    return [name for name in oracles.usable_backends(battery.stem, battery.op, "cuda") if name != "reference"]


def calls():
    """[(id, call, backend)], CUDA C++ before Triton: a run that is cut short has seen what has no bounds checks of its own."""
    found = [(f"{call.name}-{backend}", call, backend)
             for battery in batteries() for call in battery.calls for backend in gpu_backends(battery)]
    return sorted(found, key=lambda one: one[2])


def registered():
    """[(op, arguments)] of every op, on the CPU."""
    return [pair for battery in batteries() for pair in battery().registered()]


def padding_of(call):
    """One padding for a call, so that all calls together meet all of them."""
    return call.paddings[zlib.crc32(call.name.encode()) % len(call.paddings)]


def on_gpu(tensors):
    return tuple(t.cuda() for t in tensors)
