"""The launches that are compiled without a GPU, by the code that launches in earnest."""
import torch
from svconv._triton.disk.plans import Blur
from svconv._triton.tiles import accumulator, channel_groups

CONFIGURATIONS = {                # label: channels, map shared by them, padding, max_radius
    "shared by 3": (3, True, "reflect", 40.0),
    "one channel": (1, False, "zeros", 3.0)}


def aot_launches(dtype):
    """(label, launch) of every kernel in the configurations that differ most, on meta tensors, for the ahead-of-time tests."""
    for label, (c, shared, padding, most) in CONFIGURATIONS.items():
        x = torch.empty(2, c, 256, 256, dtype=dtype, device="meta")
        radius = torch.empty(2, 1 if shared else c, 256, 256, dtype=accumulator(dtype), device="meta")
        for slope in (False, True):
            for transposed in (False, True):
                for form in ("gather", "scatter"):
                    blur = Blur(radius, form, padding, most, slope, transposed)
                    out = torch.empty(2, c, *blur.size, dtype=dtype, device="meta")
                    for launch in blur.launches(x, out):
                        yield f"{form} {label}, slope {slope}, transposed {transposed}: {launch.kernel.__name__}", launch
        blur = Blur(radius, "gather", padding, most, True)
        out = torch.empty(2, channel_groups(c, radius)[0], *blur.size, dtype=accumulator(dtype), device="meta")
        yield from ((f"radius gradient {label}", launch) for launch in blur.launches(x, out, x))
