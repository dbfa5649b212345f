"""The launches that are compiled without a GPU, by the code that launches in earnest."""
import torch
from svconv._triton.disk.plans import Blur
from svconv._triton.radial import gather_groups
from svconv._triton.tiles import accumulator

CONFIGURATIONS = {                # label: channels, map shared by them, padding, max_radius; what is launched
    "shared by 3": ((3, True, "reflect", 40.0), ("scatter adjoint", "gather bwd")),
    "shared by 4": ((4, True, "circular", 40.0), ("scatter slope fwd",)),
    "one channel": ((1, False, "zeros", 3.0), ("gather fwd", "gather slope adjoint"))}


def aot_launches(dtype):
    """(label, launch) of every kernel in the configurations that differ most, on meta tensors, for the ahead-of-time tests."""
    for label, ((c, shared, padding, most), ops) in CONFIGURATIONS.items():
        x = torch.empty(2, c, 256, 256, dtype=dtype, device="meta")
        radius = torch.empty(2, 1 if shared else c, 256, 256, dtype=accumulator(dtype), device="meta")
        for op in ops:
            bwd = op.endswith("bwd")
            blur = Blur(radius, op.split()[0], padding, most, bwd or "slope" in op, op.endswith("adjoint"))
            out = torch.empty(2, gather_groups(c, radius, dtype)[0] if bwd else c, *blur.size, dtype=accumulator(dtype), device="meta")
            for launch in blur.launches(x, out, x if bwd else None):
                yield f"{op}, {label}: {launch.kernel.__name__}", launch
