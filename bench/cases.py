"""What is timed: one registry for the CPU and the GPU benchmark.

An op family adds itself with one entry: a generator of `Case` objects decorated with `@family("<stem>")`. A case says how its
inputs are made, what svconv computes, how many bytes and operations that must move and do, and which baselines compute the
same. Everything is built lazily: importing this file allocates nothing.
"""
import dataclasses
import importlib
from collections.abc import Callable, Mapping

import torch

FAMILIES = {}
STEMS = ("pixel_filter", "quotient", "eff", "disk")


@dataclasses.dataclass(frozen=True)
class Case:
    """One computation on one size.

    stem, step, size: where it stands in the table ("pixel_filter", "forward", "7x7, M = 5, 1024 x 1024").
    inputs(device) -> dict of tensors, random and seeded.
    run(inputs, backend) -> callable without arguments; backend None is the automatic choice. Its result (tensor or tuple) is compared
        with that of every peer before anything is timed.
    read(inputs), written(inputs) -> the fewest bytes to read and write: every input and every output once.
    flops(inputs) -> floating-point operations, a multiply-add counts as two.
    peers: name -> factory(inputs) -> callable that computes the same; a factory may raise Skip(reason).
    references: name -> factory(inputs) -> callable that is timed in the same rounds but computes something else (the forward pass,
        filling a tensor of the gradient's size): `targets` may name them.
    targets: what the design asks for on a CPU: (metric, ">=" or "<=", number); metrics as in `judge` of record.py.
    iterations: the callable does so many steps of the thing that is named; all times are divided by it.
    tolerance: largest accepted max|a-b| / max|b| between a peer and svconv.
    smoke: this is a tiny copy for the smoke run. gpu: also timed on a GPU. cpu: also timed on a CPU.
    """
    stem: str
    step: str
    size: str
    inputs: Callable
    run: Callable
    read: Callable
    written: Callable
    flops: Callable
    peers: Mapping = dataclasses.field(default_factory=dict)
    references: Mapping = dataclasses.field(default_factory=dict)
    targets: tuple = ()
    iterations: int = 1
    tolerance: float = 1e-4
    smoke: bool = False
    cpu: bool = True
    gpu: bool = True
    dtype: str = "float32"
    memory: bool = False    # also measured for peak memory, in a process of its own

    @property
    def name(self):
        return " | ".join((self.stem, self.step, self.size) + ((self.dtype,) if self.dtype != "float32" else ()))


def family(stem):
    """Registers a function that yields the cases of one stem."""
    def register(function):
        FAMILIES[stem] = function
        return function
    return register


def load(stems=STEMS):
    """Imports bench.cases_<stem> of every stem that has one."""
    for stem in stems:
        try:
            importlib.import_module(f"bench.cases_{stem}")
        except ModuleNotFoundError as error:
            if error.name != f"bench.cases_{stem}":
                raise


def cases(stems=None, *, smoke=False, device="cpu"):
    """All cases of the stems (None: all), for the smoke run or the full one, in the order of the table."""
    load()
    chosen = [case for stem in (stems or FAMILIES) for case in FAMILIES[stem]() if case.smoke == smoke]
    return [case for case in chosen if (case.gpu if torch.device(device).type == "cuda" else case.cpu)]


def find(name):
    """The case of that name."""
    load()
    for function in FAMILIES.values():
        for case in function():
            if case.name == name:
                return case
    raise ValueError(f"case: expected a name of the registry, got {name!r}")


def random(shape, device, seed, dtype=torch.float32, low=0.0):
    """Uniform numbers in [low, 1), the same for every run on a device."""
    generator = torch.Generator(device=device).manual_seed(seed)
    return torch.empty(shape, device=device).uniform_(low, 1, generator=generator).to(dtype)
