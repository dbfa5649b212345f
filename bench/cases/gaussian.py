"""Cases of the gaussian family: forward, adjoint and the gradient in sigma, for a smooth map."""
import dataclasses
import functools
import math

import torch

import svconv
from bench.cases import LOOKS_AT_THE_MAP, Case, bytes_of, no_grad, peer, promise, promised, random
from bench.peers import gaussian as peers
from svconv.ops.gaussian import _bwd_sigma

BUDGET = 4.0        # seconds per case
TRUNCATE = 4.0


@dataclasses.dataclass(frozen=True)
class Size:
    """low..high: the sigmas of a smooth map."""
    side: int
    low: float
    high: float
    channels: int = 3

    def __str__(self):
        return f"sigma = {self.low:g}..{self.high:g}, {self.channels} x {self.side} x {self.side}"


def make(size, device):
    shape = 1, size.channels, size.side, size.side
    wave = torch.linspace(0, 3 * math.pi, size.side, device=device).sin()
    sigma = size.low + (size.high - size.low) * (2 + wave[:, None] + wave.flip(0)) / 4
    return {"x": random(shape, device, 1), "sigma": sigma[None, None].contiguous(), "g": random(shape, device, 2, low=-1.0)}


def taps(v):
    return int(2 * v["x"].shape[1] * (2 * torch.floor(TRUNCATE * v["sigma"].double() + 0.5) + 1).square().sum())


GIVEN = {backend: {"max_sigma given": promised} for backend in ("cuda", "triton")}


def _cases(size, **common):
    def forward(v, backend=None):
        return no_grad(lambda: svconv.gaussian_blur(v["x"], v["sigma"], padding="zeros", max_sigma=promise(size.high), backend=backend))

    def adjoint(v, backend=None):
        return no_grad(lambda: svconv.gaussian_blur_adjoint(v["g"], v["sigma"], padding="zeros", max_sigma=promise(size.high),
                                                            backend=backend))

    def gradient(v, backend=None):
        return no_grad(lambda: _bwd_sigma(v["x"], v["g"], v["sigma"], "gather", "zeros", promise(size.high, math.inf), TRUNCATE,
                                          backend or ""))

    common |= {"flops": taps, "uncaptured": LOOKS_AT_THE_MAP, "variants": GIVEN if size.side == 1024 else {}}
    yield Case("gaussian", "forward", str(size), run=forward, read=bytes_of("x", "sigma"), written=bytes_of("x"),
               peers={"shift loop": peer(peers.shift_loop, "x", "sigma")} if size.side < 1024 else {}, **common)
    yield Case("gaussian", "adjoint", str(size), run=adjoint, read=bytes_of("g", "sigma"), written=bytes_of("x"),
               references={"forward": forward}, **common)
    yield Case("gaussian", "gradient in sigma", str(size), run=gradient, read=bytes_of("x", "g", "sigma"), written=bytes_of("sigma"),
               references={"forward": forward}, **common)


def cases():
    for size, smoke in ((Size(512, 0.5, 3), False), (Size(1024, 0.5, 3), False), (Size(40, 0.5, 2), True)):
        yield from _cases(size, inputs=functools.partial(make, size), smoke=smoke, budget=BUDGET)
