"""What is timed: one registry for the CPU and the GPU benchmark.

An op family is the file `bench/cases/<stem>.py` with a generator `cases()` of `Case` objects; it is found by its name. A case says
how its inputs are made, what svconv computes, how many bytes and operations that must move and do, and which baselines compute the
same. Everything is built lazily: importing these files allocates nothing.
"""
import contextlib
import contextvars
import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Mapping

import torch

from bench.measure import tensor_bytes


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
    budget: most seconds that all candidates together may take, below that of the program; None: that of the program.
    smoke: this is a tiny copy for the smoke run. gpu: also timed on a GPU. cpu: also timed on a CPU.
    uncaptured: why no CUDA graph can be made of it, None where one can; a variant is captured all the same.
    variants: backend -> {name: context manager factory}: the same computation with another setting, also timed on a GPU.
    checked: inputs(device) on which svconv is compared with float64, where the timed ones are too large for that.
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
    budget: float | None = None
    smoke: bool = False
    cpu: bool = True
    gpu: bool = True
    dtype: str = "float32"
    memory: bool = False    # also measured for peak memory, in a process of its own
    uncaptured: str | None = None
    variants: Mapping = dataclasses.field(default_factory=dict)
    checked: Callable | None = None

    @property
    def name(self):
        return " | ".join((self.stem, self.step, self.size) + ((self.dtype,) if self.dtype != "float32" else ()))


def families():
    """{stem: generator of its cases} of every file beside this one."""
    return {module.name: importlib.import_module(f"{__name__}.{module.name}").cases for module in pkgutil.iter_modules(__path__)}


def cases(stems=None, *, smoke=False, device="cpu"):
    """All cases of the stems (None: all), for the smoke run or the full one, in the order of the table."""
    found = families()
    for stem in stems or ():
        if stem not in found:
            raise ValueError(f"stem: expected one of {', '.join(found)}, got {stem!r}")
    chosen = [case for stem in (stems or found) for case in found[stem]() if case.smoke == smoke]
    return [case for case in chosen if (case.gpu if torch.device(device).type == "cuda" else case.cpu)]


def find(name):
    """The case of that name."""
    for function in families().values():
        for case in function():
            if case.name == name:
                return case
    raise ValueError(f"case: expected a name of the registry, got {name!r}")


# what the families build their cases from ---------------------------------------------------------------------------------

OTHER_STREAM = "its backward pass belongs to the stream of its forward pass"
LOOKS_AT_THE_MAP = "the host looks at the map to see how far it reaches"
_promised = contextvars.ContextVar("promised", default=False)


@contextlib.contextmanager
def promised():
    """Inside, `promise` gives the largest value of a map to the op, which then does not look, so that a GPU does not wait for the host."""
    token = _promised.set(True)
    try:
        yield
    finally:
        _promised.reset(token)


def promise(largest, otherwise=None):
    return largest if _promised.get() else otherwise


def random(shape, device, seed, dtype=torch.float32, low=0.0):
    """Uniform numbers in [low, 1), the same for every run on a device."""
    generator = torch.Generator(device=device).manual_seed(seed)
    return torch.empty(shape, device=device).uniform_(low, 1, generator=generator).to(dtype)


def bytes_of(*names):
    """Bytes of the named inputs, each counted as often as it is named."""
    return lambda inputs: sum(tensor_bytes(inputs[name]) for name in names)


def no_grad(call):
    """The call without recording a graph."""
    def timed():
        with torch.no_grad():
            return call()
    return timed


def peer(function, *names):
    """A baseline that takes the named inputs."""
    return lambda inputs: no_grad(lambda: function(*(inputs[name] for name in names)))


def backward_of(function, first, second, upstream):
    """Only the backward pass of function(first, second): the graph is kept and walked again."""
    a, b = first.detach().requires_grad_(), second.detach().requires_grad_()
    out = function(a, b)
    return lambda: torch.autograd.grad(out, (a, b), upstream, retain_graph=True)


def forward_backward_of(function, first, second, upstream):
    """Forward and backward pass of function(first, second)."""
    a, b = first.detach().requires_grad_(), second.detach().requires_grad_()
    return lambda: torch.autograd.grad(function(a, b), (a, b), upstream)
