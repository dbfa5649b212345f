"""svconv: the op library for spatially-varying blur.

The ops are here at once, because importing svconv is what registers `torch.ops.svconv`. Every sub-package (`svconv.nn`, `svconv.solvers`,
`svconv.models`, ...) and the operators (`svconv.Conv`, ...) are imported when they are first touched.
"""
import importlib as _importlib
import pkgutil as _pkgutil
from typing import TYPE_CHECKING as _TYPE_CHECKING, Any as _Any

import torch as _torch  # noqa: F401  before the compiled module, so that both share one OpenMP runtime

from svconv import ops as ops
from svconv.backends import use_backend as use_backend
from svconv.ops import *

if _TYPE_CHECKING:
    from svconv import (
        backends as backends,
        cli as cli,
        data as data,
        files as files,
        models as models,
        nn as nn,
        operators as operators,
        reference as reference,
        solvers as solvers,
        training as training,
    )
    from svconv.operators import *

__version__ = "0.1.0"
_PACKAGES = tuple(module.name for module in _pkgutil.iter_modules(__path__)
                  if module.ispkg and not module.name.startswith("_"))


def __getattr__(name: str) -> _Any:
    if name in _PACKAGES:
        return _importlib.import_module(f"svconv.{name}")
    if name == "__all__":       # what `from svconv import *` brings
        return sorted({*_PACKAGES, *ops.__all__, *_operators(), "use_backend"})
    if not name.startswith("_") and name in (found := _operators()):
        return found[name]
    raise AttributeError(f"module 'svconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__getattr__("__all__"), *globals()})


def _operators() -> dict[str, _Any]:
    package = __getattr__("operators")
    return {name: value for name in package.__all__ if callable(value := getattr(package, name))}
