"""CUDA C++ compiled at run time by NVRTC through CuPy; launched on torch's current stream and device."""
import functools
import importlib.util

import torch

MODULE = "svconv.backends.cuda.{stem}"
OLDEST = (7, 0)         # compute capability


@functools.cache
def why_not(device_type):
    if device_type != "cuda":
        return f"runs on cuda tensors, not on {device_type}"
    if torch.version.cuda is None:
        return "this torch was built without CUDA"
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed"
    if not torch.cuda.is_available():
        return "no NVIDIA GPU is visible"
    return _installation() or _all_too_old()


def _installation():
    """What is wrong with CuPy and what it needs; it is imported here and by the first launch, never with svconv."""
    try:
        import cupy
        built, wanted = cupy.cuda.runtime.runtimeGetVersion() // 1000, int(torch.version.cuda.split(".")[0])
        if built != wanted:
            return f"CuPy is for CUDA {built}, torch for CUDA {wanted}: install cupy-cuda{wanted}x in its place"
    except Exception as error:
        return f"CuPy does not load: {_said(error)}"
    try:
        from cupy.cuda import nvrtc
        nvrtc.getVersion()
    except Exception as error:
        return f"NVRTC does not load: {_said(error)}"
    try:
        cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        return f"CuPy finds no GPU: {_said(error)}"
    return None


def _said(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _all_too_old():
    reasons = [_too_old(i) for i in range(torch.cuda.device_count())]
    return reasons[0] if all(reasons) else None


@functools.cache
def _too_old(index):
    major, minor = torch.cuda.get_device_capability(index)
    if (major, minor) >= OLDEST:
        return None
    return f"needs compute capability {OLDEST[0]}.{OLDEST[1]}, {torch.cuda.get_device_name(index)} has {major}.{minor}"


def why_not_on(device):
    """None, or why this GPU cannot although another one can."""
    return _too_old(device.index) if device.type == "cuda" else None
