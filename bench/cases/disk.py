"""Cases of the disk family: forward, adjoint, the gradient in the radius, forward and backward together."""
import dataclasses
import functools
import math

import torch

import svconv
from bench.cases import (
    LOOKS_AT_THE_MAP,
    OTHER_STREAM,
    Case,
    backward_of,
    bytes_of,
    forward_backward_of,
    no_grad,
    peer,
    promise,
    promised,
    random,
)
from bench.peers import disk as peers
from svconv.ops.disk import _bwd_radius

BUDGET = 4.0        # seconds per case


@dataclasses.dataclass(frozen=True)
class Size:
    """low..high: the radii of a smooth map, in quarters of a pixel; equal ones: the same radius everywhere."""
    side: int
    low: float
    high: float
    channels: int = 3
    form: str = "gather"

    def __str__(self):
        radii = f"r = {self.low:g}" if self.low == self.high else f"r = {self.low:g}..{self.high:g}"
        return f"{radii}, {self.channels} x {self.side} x {self.side}" + ("" if self.form == "gather" else f", {self.form}")


LAYERED = (Size(512, 0.5, 6), Size(1024, 0.5, 6), Size(2048, 0.5, 6))
OTHERS = (Size(1024, 1, 1), Size(1024, 12, 12), Size(512, 50, 50), Size(1024, 0.5, 6, form="scatter"), Size(2048, 12, 12))
BEYOND_THE_CACHE = (Size(4096, 0.5, 6),)       # an image of 1024 x 1024 lives in the second-level cache of a large GPU
SMOKE = (Size(40, 0.5, 6),)


def make(size, device):
    shape = 1, size.channels, size.side, size.side
    wave = torch.linspace(0, 3 * math.pi, size.side, device=device).sin()
    smooth = (2 + wave[:, None] + wave.flip(0)) / 4
    radius = ((size.low + (size.high - size.low) * smooth) * 4).round() / 4
    return {"x": random(shape, device, 1), "radius": radius[None, None].contiguous(), "g": random(shape, device, 2, low=-1.0)}


GIVEN = {backend: {"max_radius given": promised} for backend in ("cuda", "triton")}


def taps(factor):
    """factor multiply-adds for each pixel of each disk and channel."""
    return lambda v: int(2 * factor * v["x"].shape[1] * (math.pi * v["radius"].double().square()).clamp_min(1).sum())


def _cases(size, first, **common):
    layers = 0.5 <= size.low and size.high <= 6 and size.low < size.high and size.form == "gather"
    options = {"form": size.form, "padding": "zeros"}

    def blur(backend):
        return lambda x, radius: svconv.disk_blur(x, radius, backend=backend, max_radius=promise(size.high), **options)

    def adjoint(v, backend=None):
        return no_grad(lambda: svconv.disk_blur_adjoint(v["g"], v["radius"], backend=backend, max_radius=promise(size.high), **options))

    def forward(v, backend=None):
        return no_grad(lambda: blur(backend)(v["x"], v["radius"]))

    def gradient(v, backend=None):
        return no_grad(lambda: _bwd_radius(v["x"], v["g"], v["radius"], size.form, "zeros", promise(size.high, math.inf), backend or ""))

    layered = {"layered conv2d": peer(peers.layered, "x", "radius")} if layers else {}
    slow = {"shift loop": peer(peers.shift_loop, "x", "radius"), "pixel_filter, filters made": peer(peers.filter_bank, "x", "radius"),
            "PyLops (numba), filters made before": lambda v: peers.pylops(v["x"], v["radius"])} if first else {}
    wanted = (("vs layered conv2d", ">=", 20),) if layers else ()
    extra = (("extra memory", "<=", 0.1),) if common["memory"] else ()
    given = {"variants": GIVEN if size.side == 1024 else {}, "uncaptured": LOOKS_AT_THE_MAP}
    yield Case("disk", "forward", str(size), run=forward, read=bytes_of("x", "radius"), written=bytes_of("x"), flops=taps(1),
               peers={**layered, **slow}, targets=(*wanted, *extra), **common, **given)
    yield Case("disk", "adjoint", str(size), run=adjoint, read=bytes_of("x", "radius"), written=bytes_of("x"), flops=taps(1),
               references={"forward": forward}, targets=extra, **common, **given)
    yield Case("disk", "gradient in the radius", str(size), run=gradient, read=bytes_of("x", "g", "radius"), written=bytes_of("radius"),
               flops=taps(1), references={"forward": forward}, targets=extra, **common, **given)
    yield Case("disk", "backward", str(size), run=lambda v, backend=None: backward_of(blur(backend), v["x"], v["radius"], v["g"]),
               read=bytes_of("x", "g", "radius"), written=bytes_of("x", "radius"), flops=taps(2),
               references={"forward": forward, "fill": lambda v: lambda: (torch.empty_like(v["x"]).fill_(1), v["radius"].clone())},
               uncaptured=OTHER_STREAM, targets=(("of 2.5 forwards + fill", "<=", 1), *extra), **common)
    if layers and size.side < 2048:
        yield Case("disk", "forward + backward in the image", str(size), read=bytes_of("x", "g", "radius"), written=bytes_of("x", "x"),
                   flops=taps(2), run=lambda v, backend=None: image_gradient(blur(backend), v),
                   peers={"layered conv2d": lambda v: image_gradient(peers.layered, v)}, targets=wanted, uncaptured=LOOKS_AT_THE_MAP,
                   **common)


def image_gradient(function, v):
    return forward_backward_of(lambda x, g: function(x, v["radius"]) * g, v["x"], v["g"], torch.ones_like(v["x"]))


def cases():
    for sizes, smoke in ((LAYERED, False), (OTHERS, False), (SMOKE, True), (BEYOND_THE_CACHE, False)):
        for index, size in enumerate(sizes):
            common = {"inputs": functools.partial(make, size), "smoke": smoke, "budget": BUDGET, "memory": size.side == 2048,
                      "cpu": sizes is not BEYOND_THE_CACHE}
            yield from _cases(size, sizes is LAYERED and index == 0, **common)
