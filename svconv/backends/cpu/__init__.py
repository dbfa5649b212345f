"""The compiled C++ backend: NumPy views of CPU tensors go to `svconv._C`, nothing is copied."""
import functools
import importlib
import warnings
from pathlib import Path

import torch

UNBUILT = "svconv._C is not built in this checkout (python setup.py build_ext --inplace), which hides an installed svconv"
MODULE = "svconv.backends.cpu.{stem}"
_HALF = torch.float16, torch.bfloat16
_TAGS = {dtype: str(dtype).removeprefix("torch.") for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16)}


@functools.cache
def extension():
    """The module `svconv._C`, or the reason why it is absent; ValueError if SVCONV_ISA asks for an instruction set that cannot be had."""
    try:
        return importlib.import_module("svconv._C")
    except ImportError as error:
        if isinstance(error.__cause__, ValueError):
            raise error.__cause__ from None
        text = str(error)
    if "No module named" not in text:
        return f"svconv._C does not load: {text}"
    if checkout():
        return UNBUILT
    return "svconv._C is not built (no C++ compiler at installation, or SVCONV_BUILD=none)"


def checkout():
    """The folder of the checkout that svconv was imported from; None for an installed package."""
    root = Path(__file__).parents[3]
    return root if (root / "setup.py").is_file() else None


@functools.cache
def warn_if_unbuilt():
    """One warning in a process that runs on the reference because it found the sources of a checkout first."""
    if extension() == UNBUILT:
        warnings.warn(
            f"{checkout() / 'svconv'} was imported, the sources of a checkout in which the C++ module svconv._C is not built, so that CPU "
            "tensors run on the slower reference backend. Build it there (python setup.py build_ext --inplace), or start Python in "
            "another folder to import an installed svconv; SVCONV_BACKEND=reference says that this is meant.",
            RuntimeWarning, stacklevel=2)


def why_not(device_type):
    if device_type != "cpu":
        return f"runs on cpu tensors, not on {device_type}"
    module = extension()
    return module if isinstance(module, str) else None


def tag(dtype):
    """The name of a dtype in the compiled module."""
    return _TAGS[dtype]


def view(t):
    """A NumPy view of a CPU tensor; half types appear as uint16."""
    return (t.view(torch.uint16) if t.dtype in _HALF else t).numpy(force=True)
