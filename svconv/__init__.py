"""svconv: the op library for spatially-varying blur.

`import svconv` is quick: torch is loaded and `torch.ops.svconv` registered when an attribute is first touched, or at once where torch is
loaded already. The ops and `use_backend` are then names of this module; every sub-package (`svconv.nn`, `svconv.solvers`, ...) and the
operators (`svconv.Conv`, ...) are imported when they are touched themselves. `import svconv.ops` registers in any case: for a program that
only needs `torch.ops.svconv`, as one that loads an exported program does.
"""
import importlib as _importlib
import sys as _sys
from typing import TYPE_CHECKING as _TYPE_CHECKING, Any as _Any

if _TYPE_CHECKING:
    from svconv import (
        backends as backends,
        cli as cli,
        data as data,
        files as files,
        interop as interop,
        models as models,
        nn as nn,
        operators as operators,
        ops as ops,
        reference as reference,
        solvers as solvers,
        training as training,
    )
    from svconv.backends import use_backend as use_backend
    from svconv.operators import *
    from svconv.ops import *

__version__ = "0.1.0"


def __getattr__(name: str) -> _Any:
    if name.startswith("_") and name != "__all__":
        raise AttributeError(f"module 'svconv' has no attribute {name!r}")
    ops = _register()
    if name in (packages := _packages()):
        return _importlib.import_module(f"svconv.{name}")
    if name == "__all__":       # what `from svconv import *` brings
        return sorted({*packages, *ops, *_operators()})
    if name not in ops and name in (operators := _operators()):
        globals()[name] = operators[name]
    if name in globals():
        return globals()[name]
    raise AttributeError(f"module 'svconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__getattr__("__all__"), *globals()})


def _register() -> dict[str, _Any]:
    """Loads torch and the ops, which makes them names of this module. From inside that loading it does nothing and returns nothing."""
    _importlib.import_module("torch")       # before the compiled module, so that both share one OpenMP runtime
    package = _importlib.import_module("svconv.ops")
    names = {name: vars(package)[name] for name in getattr(package, "__all__", ()) if name in vars(package)}
    if names:
        names["use_backend"] = _importlib.import_module("svconv.backends").use_backend
    globals().update(names)
    return names


def _packages() -> set[str]:
    modules = _importlib.import_module("pkgutil").iter_modules(__path__)
    return {module.name for module in modules if module.ispkg and not module.name.startswith("_")}


def _operators() -> dict[str, _Any]:
    package = _importlib.import_module("svconv.operators")
    return {name: value for name in package.__all__ if callable(value := getattr(package, name))}


if "torch" in _sys.modules:
    _register()
