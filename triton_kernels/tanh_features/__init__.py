"""The learned features in Triton: filters, tanh and recombinations of a pixel in one program, and their gradients.

Convolutions of torch write every layer's maps and read them back; here they stay in registers, and in shared memory for the products.
Sums have a fixed order, there are no atomics: results are bit-identical from run to run.
"""
import torch
from svconv._triton.tanh_features.backward import bwd_filters_launch, bwd_images_launch, bwd_launch, tanh_features_bwd
from svconv._triton.tanh_features.forward import fwd_launch, inputs, tanh_features_fwd
from svconv._triton.tiles import accumulator

from svconv._triton import boundary

__all__ = ["aot_launches", "tanh_features_bwd", "tanh_features_fwd", "why_not"]
MOST_MAPS, MOST_OUTPUTS = 64, 32        # that the registers of a program hold


def why_not(op, *arguments):
    """None, or the reason why these arguments are refused."""
    x, latent, filters, hidden, biases, last = arguments[1:7] if op.endswith("_bwd") else arguments[:6]
    if max(x.shape[2:]) > boundary.LARGEST_SIDE:
        return f"sides above {boundary.LARGEST_SIDE}"
    if filters.shape[0] > MOST_MAPS or last.shape[0] > MOST_OUTPUTS:
        return f"more than {MOST_MAPS} maps or {MOST_OUTPUTS} outputs"
    if op.endswith("_bwd") and (x.dtype == torch.float64 or hidden.shape[0] > 1):
        return "the sums of gradients in float64 or of more than one hidden layer exceed the registers of a program"
    return None


def aot_launches(dtype):
    """(label, launch) on meta tensors, for the ahead-of-time tests."""
    def empty(*shape, of=dtype):
        return torch.empty(shape, dtype=of, device="meta")

    for label, more, depth, bias in (("one layer", 0, 1, False), ("two layers and a latent image", 1, 2, True)):
        x, latent, out = empty(2, 1, 64, 64), empty(2, 1, 64, 64) if more else None, empty(2, 8, 64, 64)
        weights = empty(32, 1 + more, 9, 9), empty(depth, 32, 32), empty(depth + 1, 32) if bias else None, empty(8, 32)
        yield f"fwd, {label}", fwd_launch(out, x, latent, *weights)
        given, d_first = inputs(x, latent, *weights), empty(2, 32, 64, 64, of=accumulator(dtype))
        if depth == 1 and dtype != torch.float64:
            yield f"bwd, {label}", bwd_launch(out, d_first, given, dtype)
        yield f"bwd_filters, {label}", bwd_filters_launch(d_first, given, dtype)
    yield "bwd_images", bwd_images_launch(d_first, given, 0, 2)
