"""Cases of the eff family: a kernel per patch, its transpose, its gradients, and the patch-wise quotients.

Convolutions are of the form "gather" with zeros, which is what deepinv computes; the transpose of gather is scatter with turned kernels.
"""
import dataclasses
import functools
import math

import torch

import svconv
from bench.cases import Case, bytes_of, forward_backward_of, no_grad, random
from bench.peers import eff as peers
from svconv._eff_grid import halo_size

BETA = 1e-2
BUDGET = 3.0        # seconds per case


@dataclasses.dataclass(frozen=True)
class Size:
    side: int
    patch: int
    taps: int
    channels: int = 3

    def __str__(self):
        return f"{self.patch}-pixel patches, {self.taps} x {self.taps}, {self.channels} x {self.side} x {self.side}"

    @property
    def grid(self):
        patches = 2 * self.side // self.patch - 1
        return svconv.EFFGrid((self.side, self.side), (patches, patches))

    @property
    def images_and_patches(self):
        return self.channels, self.grid.patches


FULL = (Size(512, 64, 31), Size(1024, 64, 31), Size(2048, 64, 31), Size(4096, 64, 31))
SMOKE = (Size(96, 32, 9),)


def make(size, device):
    """x is zero on the frame of half a kernel, which deepinv's transpose does not read."""
    shape, half = (1, size.channels, size.side, size.side), size.taps // 2
    x = torch.zeros(shape, device=device)
    x[..., half:-half, half:-half] = random((*shape[:2], size.side - 2 * half, size.side - 2 * half), device, 1, low=-1.0)
    kernels = random((1, 1, size.grid.patches, size.taps, size.taps), device, 2)
    return {"x": x, "kernels": kernels / kernels.sum((-2, -1), keepdim=True), "g": random(shape, device, 3, low=-1.0)}


def butterflies(size, plane, transforms):
    """2.5 N log2 N per real transform of the N pixels of a patch."""
    pixels = plane[0] * plane[1]
    return lambda v: int(transforms * size.grid.patches * 2.5 * pixels * math.log2(pixels))


def bare(size, plane, inverse=True, images=None):
    """The transforms of the patches alone; a kernel's transforms are not among them."""
    channels, patches = size.images_and_patches
    return lambda v: no_grad(lambda: peers.transforms(v["x"], images or channels, patches, plane, inverse))


# the family ---------------------------------------------------------------------------------------------------------------

def _conv(dims, measured, **common):
    grid, plane = dims.grid, peers.length(dims.grid, dims.taps)
    large = dims.side >= 1024

    def function(backend):
        return functools.partial(svconv.eff_conv, grid=grid, form="gather", backend=backend)

    def transposed(backend):
        return functools.partial(svconv.eff_conv_adjoint, grid=grid, form="gather", backend=backend)

    def deepinv(v, inner=no_grad):
        blur = peers.deepinv_conv(v["kernels"], grid)
        return inner(lambda: blur(v["x"], v["kernels"]))

    def deepinv_adjoint(v):
        blur = peers.deepinv_adjoint(v["kernels"], grid)
        return no_grad(lambda: blur(v["x"]))

    yield Case("eff", "eff_conv", run=lambda v, backend=None: no_grad(lambda: function(backend)(v["x"], v["kernels"])),
               read=bytes_of("x", "kernels"), written=bytes_of("x"), flops=butterflies(dims, plane, 2 * dims.channels + 1),
               peers={"deepinv": deepinv, "torch.fft": lambda v: no_grad(lambda: peers.conv(v["x"], v["kernels"], grid))},
               references={"patch FFTs": bare(dims, plane)},
               targets=(("vs deepinv", ">=", 5 if large else 3.5), ("times patch FFTs", "<=", 1.5), *measured), **common)
    yield Case("eff", "eff_conv_adjoint", run=lambda v, backend=None: no_grad(lambda: transposed(backend)(v["x"], v["kernels"])),
               read=bytes_of("x", "kernels"), written=bytes_of("x"), flops=butterflies(dims, plane, 2 * dims.channels + 1),
               peers={"deepinv": deepinv_adjoint, "torch.fft": lambda v: no_grad(lambda: peers.adjoint(v["x"], v["kernels"], grid))},
               references={"patch FFTs": bare(dims, plane)},
               targets=(("vs deepinv", ">=", 5 if large else 2), ("times patch FFTs", "<=", 1.5), *measured), **common)
    yield Case("eff", "eff_conv forward + backward",
               run=lambda v, backend=None: forward_backward_of(function(backend), v["x"], v["kernels"], v["g"]),
               read=bytes_of("x", "kernels", "g", "x", "kernels"), written=bytes_of("x", "x", "kernels"),
               flops=butterflies(dims, plane, 5 * dims.channels + 2), **common,
               peers={"deepinv": lambda v: forward_backward_of(peers.deepinv_conv(v["kernels"], grid), v["x"], v["kernels"], v["g"]),
                      "torch.fft": lambda v: forward_backward_of(functools.partial(peers.conv, grid=grid), v["x"], v["kernels"], v["g"])},
               targets=(("vs deepinv", ">=", 5 if large else 2), *measured[:1]))


def _quotients(dims, measured, **common):
    grid, plane, halo = dims.grid, peers.length(dims.grid, dims.taps), halo_size(dims.grid, (dims.taps, dims.taps))

    def blur(v):
        function = peers.deepinv_conv(v["kernels"], grid)
        return no_grad(lambda: function(v["x"], v["kernels"]))

    def own(v, backend=None):
        return no_grad(lambda: svconv.eff_image_quotient(v["x"], v["kernels"], grid, beta=BETA, backend=backend))

    yield Case("eff", "eff_image_quotient", run=own, read=bytes_of("x", "kernels"), written=bytes_of("x"),
               flops=butterflies(dims, halo, 2 * dims.channels + 1),
               peers={"torch.fft": lambda v: no_grad(lambda: peers.image_quotient(v["x"], v["kernels"], grid, BETA))},
               references={"patch FFTs": bare(dims, halo), "deepinv's blur": blur},
               targets=(("times deepinv's blur", "<=", 0.2 if dims.side >= 1024 else 0.286), ("times patch FFTs", "<=", 1.5), *measured),
               **common)
    yield Case("eff", "eff_kernel_quotient", read=bytes_of("x", "g"), written=bytes_of("kernels"),
               run=lambda v, backend=None: no_grad(
                   lambda: svconv.eff_kernel_quotient(v["x"], v["g"], grid, dims.taps, beta=BETA, backend=backend)),
               flops=butterflies(dims, plane, 2 * dims.channels + 1),
               peers={"torch.fft": lambda v: no_grad(lambda: peers.kernel_quotient(v["x"], v["g"], grid, dims.taps, BETA))},
               references={"forward patch FFTs": bare(dims, plane, inverse=False, images=2 * dims.channels)},
               targets=(("times forward patch FFTs", "<=", 1.5), *measured), **common)


def without_slow_peers(case):
    """At 2048 x 2048 deepinv takes 7 s for a blur, and a graph over batches of patches minutes."""
    kept = {} if "backward" in case.step else {name: peer for name, peer in case.peers.items() if name != "deepinv"}
    references = {name: reference for name, reference in case.references.items() if "deepinv" not in name}
    return dataclasses.replace(case, peers=kept, references=references, targets=tuple(t for t in case.targets if "deepinv" not in t[0]))


def cases():
    for size, smoke in [(size, False) for size in FULL] + [(size, True) for size in SMOKE]:
        common = {"size": str(size), "inputs": functools.partial(make, size), "smoke": smoke, "tolerance": 1e-3, "budget": BUDGET,
                  "memory": size.side == 2048, "cpu": size.side < 4096}
        measured = (("peak gigabytes", "<=", 1), ("extra memory", "<=", 0.1)) if size.side == 2048 else ()
        for case in (*_conv(size, measured, **common), *_quotients(size, measured, **common)):
            yield case if size.side < 2048 else without_slow_peers(case)
