"""CUDA C++ compiled at run time by NVRTC through CuPy; launched on torch's current stream and device."""
import functools
import importlib.util

import torch

MODULE = "svconv.backends.cuda.{stem}"


@functools.cache
def why_not(device_type):
    if device_type != "cuda":
        return f"runs on cuda tensors, not on {device_type}"
    if torch.version.cuda is None:
        return "this torch was built without CUDA"
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed"
    return None if torch.cuda.is_available() else "no NVIDIA GPU is visible"
