"""deepinv imports torchvision, whose wheel does not load beside a CPU torch: its two missing operators are defined first.

A plugin of pytest for `.ci/interop`.
"""
import sys

import torch

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def define():
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", SCHEMA)
    except ImportError:
        pass


define()
