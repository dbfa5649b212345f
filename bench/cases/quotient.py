"""Cases of the quotient family: kernel and image quotient, convolution, and their backward passes."""
import dataclasses
import functools
import math

import torch

import svconv

from ..peers import quotient as peers
from . import OTHER_STREAM, Case, backward_of, bytes_of, no_grad, peer, random

BETA = 1e-2


@dataclasses.dataclass(frozen=True)
class Size:
    side: int
    taps: int
    images: int = 1          # feature pairs of the kernel quotient, channels of the image quotient

    def __str__(self):
        return f"{self.taps} x {self.taps}, {self.images} x {self.side} x {self.side}"


FULL = (Size(64, 17, 2), Size(255, 17, 2), Size(1024, 17, 2), Size(2048, 33, 2))
PAIRS = Size(1024, 17, 4)       # the pairs go one by one
SMOKE = (Size(48, 7, 2),)


def make(size, device):
    shape = (1, size.images, size.side, size.side)
    kernel = random((1, 1, size.taps, size.taps), device, 3)
    return {"x": random(shape, device, 1, low=-1.0), "y": random(shape, device, 2, low=-1.0), "kernel": kernel / kernel.sum(),
            "g": random((1, size.taps, size.taps), device, 4, low=-1.0)}


def forward_transforms(v):
    """The transforms that the kernel quotient cannot do without."""
    return no_grad(lambda: (torch.fft.rfft2(v["x"]), torch.fft.rfft2(v["y"])))


def round_trip(*names):
    """rfft2 and irfft2 of the named images, one after the other."""
    def factory(v):
        return no_grad(lambda: [torch.fft.irfft2(torch.fft.rfft2(v[name]), s=v[name].shape[-2:]) for name in names])
    return factory


def butterflies(transforms):
    """2.5 N log2 N per real transform of N pixels."""
    def flops(v):
        pixels = v["x"].shape[-2] * v["x"].shape[-1]
        return int(transforms * v["x"].shape[1] * 2.5 * pixels * math.log2(pixels))
    return flops


# the family ---------------------------------------------------------------------------------------------------------------

def _kernel(taps, **common):
    def function(backend):
        return functools.partial(svconv.kernel_quotient, kernel_size=taps, beta=BETA, backend=backend)

    plain = functools.partial(peers.kernel_quotient, taps=taps, beta=BETA)
    yield Case("quotient", "kernel_quotient", run=lambda v, backend=None: no_grad(lambda: function(backend)(v["x"], v["y"])),
               read=bytes_of("x", "y"), written=bytes_of("g"), flops=butterflies(2), references={"forward FFTs": forward_transforms},
               peers={"torch.fft": peer(plain, "x", "y")}, **common,
               targets=(("vs torch.fft", ">=", 1.5), ("times forward FFTs", "<=", 1.3)))
    yield Case("quotient", "kernel_quotient backward",
               run=lambda v, backend=None: backward_of(function(backend), v["x"], v["y"], v["g"]),
               read=bytes_of("x", "y", "g"), written=bytes_of("x", "y"), flops=butterflies(4), references={"FFTs": round_trip("x", "y")},
               peers={"torch.fft": lambda v: backward_of(plain, v["x"], v["y"], v["g"])},
               **common | {"memory": False, "uncaptured": OTHER_STREAM},
               targets=(("vs torch.fft", ">=", 1.5), ("times FFTs", "<=", 1.5)))


def _image(**common):
    def function(backend):
        return functools.partial(svconv.image_quotient, beta=BETA, backend=backend)

    plain = functools.partial(peers.image_quotient, beta=BETA)
    yield Case("quotient", "image_quotient", run=lambda v, backend=None: no_grad(lambda: function(backend)(v["y"], v["kernel"])),
               read=bytes_of("y", "kernel"), written=bytes_of("y"), flops=butterflies(2), references={"FFTs": round_trip("y")},
               peers={"torch.fft": peer(plain, "y", "kernel")}, targets=(("vs torch.fft", ">=", 1.5),), **common)
    yield Case("quotient", "image_quotient backward",
               run=lambda v, backend=None: backward_of(function(backend), v["y"], v["kernel"], v["x"]),
               read=bytes_of("x", "y", "kernel"), written=bytes_of("y", "kernel"), flops=butterflies(3),
               references={"FFTs": round_trip("x", "y")}, **common | {"memory": False, "uncaptured": OTHER_STREAM},
               peers={"torch.fft": lambda v: backward_of(plain, v["y"], v["kernel"], v["x"])},
               targets=(("vs torch.fft", ">=", 1.5), ("times FFTs", "<=", 1.5)))


def _conv(**common):
    yield Case("quotient", "conv", run=lambda v, backend=None: no_grad(lambda: svconv.conv(v["x"], v["kernel"], backend=backend)),
               read=bytes_of("x", "kernel"), written=bytes_of("x"), flops=butterflies(2), references={"FFTs": round_trip("x")},
               peers={"torch.fft": peer(peers.conv, "x", "kernel")}, targets=(("vs torch.fft", ">=", 1.5),), **common)


def cases():
    for size, smoke in [(size, False) for size in FULL] + [(size, True) for size in SMOKE]:
        common = {"size": str(size), "inputs": functools.partial(make, size), "smoke": smoke, "tolerance": 1e-3}
        measured = {**common, "memory": size.side == 2048}
        yield from _kernel(size.taps, **measured)
        yield from _image(**measured)
        yield from _conv(**common)
    yield from _kernel(PAIRS.taps, size=str(PAIRS), inputs=functools.partial(make, PAIRS), tolerance=1e-3, memory=True)
