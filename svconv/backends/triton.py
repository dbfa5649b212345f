"""Triton kernels: on GPUs, and on the CPU only under TRITON_INTERPRET=1 (for tests)."""
import functools
import importlib.util
import os

import torch

MODULE = "svconv._triton.{stem}"


@functools.cache
def _installed():
    return importlib.util.find_spec("triton") is not None


def why_not(device_type):
    if not _installed():
        return "Triton is not installed"
    if device_type == "cpu":
        return None if os.environ.get("TRITON_INTERPRET") == "1" else "the CPU needs TRITON_INTERPRET=1 (the slow interpreter, for tests)"
    if device_type not in ("cuda", "xpu"):
        return f"runs on GPUs, not on {device_type}"
    return None if _visible(device_type) else f"no {device_type} device is visible"


@functools.cache
def _visible(device_type):
    return getattr(torch, device_type).is_available()
