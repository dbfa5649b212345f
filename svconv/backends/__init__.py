"""Which implementation of an op runs, and why not the others.

An implementation is a function named like the op in the module of its stem and backend; all have the same signature. One
verdict, `why_not`, serves the automatic choice, the table of `svconv info` and the error of a forced backend.
"""
import contextlib
import contextvars
import functools
import importlib
import importlib.util
import logging
import os

import torch

from svconv.backends import cpu, cuda, reference, triton

NAMES = ("cuda", "triton", "cpu", "reference")
_BACKENDS = {"cuda": cuda, "triton": triton, "cpu": cpu, "reference": reference}
_forced = contextvars.ContextVar("svconv_backend", default="")
_log = logging.getLogger("svconv.backends")


def check_name(name):
    """ValueError unless `name` is a backend."""
    if name not in NAMES:
        raise ValueError(f"backend: expected one of {', '.join(NAMES)}, got {name!r}")
    return name


class use_backend(contextlib.ContextDecorator):
    """Forces a backend inside a `with` block (or a decorated function); the `backend=` argument goes before it.

    >>> import torch, svconv
    >>> with svconv.use_backend("reference"):
    ...     y = svconv.pixel_filter(torch.ones(1, 1, 4, 4), torch.ones(1, 3, 3, 4, 4))
    >>> y[0, 0, 0].tolist()
    [4.0, 6.0, 6.0, 4.0]
    """

    def __init__(self, name):
        self.name = check_name(name)
        self._tokens = []

    def __enter__(self):
        self._tokens.append(_forced.set(self.name))
        return self

    def __exit__(self, *_):
        _forced.reset(self._tokens.pop())
        return False


def requested(backend):
    """The backend that the caller forces: the argument, else `use_backend`, else SVCONV_BACKEND, else "" (automatic)."""
    if backend is not None:
        return check_name(backend)
    if torch.compiler.is_compiling():
        return ""
    return _requested_outside()


def _requested_outside():
    name = _forced.get() or os.environ.get("SVCONV_BACKEND", "")
    return check_name(name) if name else ""


@functools.cache
def stem_module(name, stem):
    """The module with the `stem` kernels of a backend, or the reason why there is none."""
    path = _BACKENDS[name].MODULE.format(stem=stem)
    try:
        found = importlib.util.find_spec(path) is not None
    except ImportError:
        found = False
    return importlib.import_module(path) if found else f"no {name} kernels for {stem}"


def why_not(name, stem, op, device, arguments=()):
    """None if backend `name` can run `op` on `device` (with these arguments), otherwise the reason."""
    reason = _BACKENDS[name].why_not(torch.device(device).type)
    if reason:
        return reason
    module = stem_module(name, stem)
    if isinstance(module, str):
        return module
    if not hasattr(module, op):
        return f"no {name} kernel for {op}"
    refuses = getattr(module, "why_not", None)
    return refuses(op, *arguments) if refuses and arguments else None


@functools.lru_cache(maxsize=1024)
def _candidates(stem, op, device_type, forced):
    """The implementations that can run `op` on such a device, in order: (name, function, refusal by arguments or None)."""
    names = (forced,) if forced else NAMES
    reasons = {name: why_not(name, stem, op, device_type) for name in names}
    if forced and reasons[forced]:
        raise RuntimeError(f"backend {forced!r} was forced but cannot run {op} on {device_type}: {reasons[forced]}")
    able = [name for name in names if reasons[name] is None]
    _log.debug("%s on %s: %s first; %s", op, device_type, able[0], "; ".join(f"not {n}: {r}" for n, r in reasons.items() if r))
    modules = [stem_module(name, stem) for name in able]
    return tuple((name, getattr(module, op), getattr(module, "why_not", None)) for name, module in zip(able, modules))


def choose(stem, op, device, forced, arguments):
    """The implementation that runs: the forced backend or the first of NAMES that can."""
    forced = forced or _requested_outside()
    for name, implementation, refuses in _candidates(stem, op, device.type, forced):
        reason = refuses(op, *arguments) if refuses else None
        if reason is None:
            return implementation
        if forced:
            raise RuntimeError(f"backend {forced!r} was forced but cannot run {op} on {device.type}: {reason}")
    raise RuntimeError(f"no backend can run {op} on {device.type}")


def table(ops, devices=("cpu", "cuda")):
    """Rows (op, device, backend, None or the reason why not) for `ops`, a mapping of op to stem."""
    return [(op, device, name, why_not(name, stem, op, device))
            for op, stem in ops.items() for device in devices for name in NAMES]
