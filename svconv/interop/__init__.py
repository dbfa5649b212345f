"""svconv within other libraries. A module is imported when it is touched, and imports its library when it is used."""
import importlib
import pkgutil
from typing import Any


def __getattr__(name: str) -> Any:
    if name in _modules():
        return importlib.import_module(f"svconv.interop.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_modules()})


def _modules() -> set[str]:
    return {module.name for module in pkgutil.iter_modules(__path__)}
