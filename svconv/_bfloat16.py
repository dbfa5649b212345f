"""Whether a processor computes networks in bfloat16 by itself."""
import functools
import warnings

import torch


def emulated(device_type):
    """Whether torch computes bfloat16 there without instructions for it."""
    return device_type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()


@functools.cache
def warn_if_emulated(device_type):
    """A UserWarning, once: without instructions for it torch's convolutions in bfloat16 take many times as long as in float32."""
    if emulated(device_type):
        warnings.warn("precision: this processor has no instructions for bfloat16, where float32 is many times as fast", stacklevel=3)
