"""The launches that are compiled without a GPU, by the code that launches in earnest."""
import torch
from svconv._triton.pixel_filter.adjoint import adjoint_launches
from svconv._triton.pixel_filter.filter_gradient import bwd_filters_launch
from svconv._triton.pixel_filter.forward import fwd_launch
from svconv._triton.pixel_filter.stencil import apply_launch, assembly_launches
from svconv._triton.tiles import accumulator

CONFIGURATIONS = {                  # label: channels, filters shared by them, maps, window, side, padding
    "7x7": (1, False, 5, 7, 1024, "zeros"),
    "5x5 shared by 3": (3, True, 1, 5, 1024, "reflect"),
    "31x31 shared by 5": (5, True, 1, 31, 20, "circular")}


def aot_launches(dtype, filters_dtype=None, labels=tuple(CONFIGURATIONS)):
    """(label, launch) of every kernel in the configurations that differ most, on meta tensors, for the ahead-of-time tests."""
    def empty(*shape, of=dtype):
        return torch.empty(shape, dtype=of, device="meta")

    acc = accumulator(dtype)
    for label in labels:
        c, shared, m, k, side, padding = CONFIGURATIONS[label]
        x, y, out = empty(2, c, side, side), empty(2, c, m, side, side), empty(2, c, side, side)
        filters = empty(2, 1 if shared else c, m, k, k, side, side, of=filters_dtype or dtype)
        yield f"fwd {label}", fwd_launch(x, filters, None, y, padding)
        for launch in adjoint_launches(y, filters, out, padding):
            yield f"{'adjoint' if 'out' in launch.arguments else 'outside'} {label}", launch
        yield f"bwd_filters {label}", bwd_filters_launch(x, y, filters, padding)
        if not shared:
            u, partial = empty(2, c, m, side, side, of=acc), empty(2, c, side, side, of=acc)
            yield f"fwd of gram {label}", fwd_launch(x, filters, y, u, padding)
            *_, launch = adjoint_launches(u, filters, out, padding, initial=partial, reverse=True)
            yield f"adjoint of gram {label}", launch
        if label != "31x31 shared by 5":
            u = empty(2, c, m, side, side, of=acc)
            yield f"two fwd of gram {label}", fwd_launch(x, filters, y, u, padding, (x, u))
            yield f"bwd_filters of gram {label}", bwd_filters_launch(x, u, filters, padding, (x, u))
        stencil = empty(2, filters.shape[1], (2 * k - 1) * k - (k - 1), side, side)
        for launch in assembly_launches(filters, empty(1, 1, m, side, side, of=acc), stencil, padding):
            yield f"{launch.kernel.__name__} {label}", launch
        yield f"apply of stencil {label}", apply_launch(x, stencil, out, (k, k), "circular" if padding == "circular" else "zeros")
