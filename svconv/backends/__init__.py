"""Which implementation of an op runs, and why not the others.

An implementation is a function named like the op in the module of its stem and backend; all have the same signature. One
verdict, `why_not`, serves the automatic choice, the table of `svconv info` and the error of a forced backend.
"""
import functools
import importlib
import importlib.util
import logging

import torch

from svconv.backends import cpu, cuda, measured, reference, triton
from svconv.backends.cuda.unserved import UNSERVED
from svconv.backends.forced import NAMES, requested, requested_outside, use_backend

__all__ = ["NAMES", "choose", "requested", "requested_outside", "stem_module", "table", "use_backend", "why_not"]
_BACKENDS = {"cuda": cuda, "triton": triton, "cpu": cpu, "reference": reference}
_log = logging.getLogger("svconv.backends")


@functools.cache
def stem_module(name, stem):
    """The module with the `stem` kernels of a backend, or the reason why there is none."""
    path = _BACKENDS[name].MODULE.format(stem=stem)
    try:
        if importlib.util.find_spec(path) is None:
            return f"no {name} kernels for {stem}"
        return importlib.import_module(path)
    except Exception as error:                # whatever a broken installation of Triton or CuPy raises
        return f"the {name} kernels do not load: {type(error).__name__}: {' '.join(str(error).split())}"


def why_not(name, stem, op, device, arguments=()):
    """None if backend `name` can run `op` on `device` (with these arguments), otherwise the reason."""
    reason = _BACKENDS[name].why_not(torch.device(device).type)
    if reason:
        return reason
    module = stem_module(name, stem)
    if isinstance(module, str) and "do not load" in module:
        return module
    if not hasattr(module, op):         # an attribute of the op's name, which no reason has
        if name == "cuda" and op in UNSERVED:
            return f"no cuda kernel for {op}: {UNSERVED[op]}"
        return module if isinstance(module, str) else f"no {name} kernel for {op}"
    refuses = _refusal(name, module)
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
    if device_type == "cpu" and not forced and able[0] == "reference":
        cpu.warn_if_unbuilt()
    modules = [stem_module(name, stem) for name in able]
    return tuple((name, getattr(module, op), _refusal(name, module)) for name, module in zip(able, modules))


def _refusal(name, module):
    """What says of (op, *arguments) why they are refused: for their device, then for what they are. None: nothing is refused."""
    of_device, of_arguments = getattr(_BACKENDS[name], "why_not_on", None), getattr(module, "why_not", None)
    if of_device is None or of_arguments is None:
        return of_arguments or (of_device and (lambda op, *arguments: of_device(arguments[0].device)))
    return lambda op, *arguments: of_device(arguments[0].device) or of_arguments(op, *arguments)


def choose(stem, op, device, forced, arguments):
    """The implementation that runs: the forced backend or the first of NAMES that can; of cuda and triton the one measured to be faster."""
    forced = forced or requested_outside()
    for _, implementation, refuses in _in_order(_candidates(stem, op, device.type, forced), op, arguments):
        reason = refuses(op, *arguments) if refuses else None
        if reason is None:
            return implementation
        if forced:
            raise RuntimeError(f"backend {forced!r} was forced but cannot run {op} on {device.type}: {reason}")
    raise RuntimeError(f"no backend can run {op} on {device.type}")


def _in_order(candidates, op, arguments):
    """Triton before cuda, unless cuda was measured to be faster for such a call."""
    first, second = candidates[0], candidates[min(1, len(candidates) - 1)]
    if first[0] == "cuda" and second[0] == "triton" and measured.why_not_cuda(op, *arguments):
        return second, first, *candidates[2:]
    return candidates


def table(ops, devices=("cpu", "cuda")):
    """Rows (op, device, backend, None or the reason why not) for `ops`, a mapping of op to stem."""
    return [(op, device, name, why_not(name, stem, op, device))
            for op, stem in ops.items() for device in devices for name in NAMES]
