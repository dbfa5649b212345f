"""svconv: the op library for spatially-varying blur."""
import torch as _torch  # noqa: F401  before the compiled module, so that both share one OpenMP runtime

from svconv import nn, ops, solvers
from svconv.backends import use_backend
from svconv.operators import Conv, Identity, PixelFilter, stack
from svconv.ops import *  # noqa: F403

__version__ = "0.1.0"
__all__ = ["Conv", "Identity", "PixelFilter", "stack", "use_backend", "nn", "ops", "solvers", *ops.__all__]
