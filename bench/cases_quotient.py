"""Cases of the quotient family: kernel and image quotient, convolution, and their backward passes."""
import dataclasses
import functools
import math

import torch

import svconv
from bench.cases import Case, family, random
from bench.measure import tensor_bytes

BETA = 1e-2


@dataclasses.dataclass(frozen=True)
class Size:
    side: int
    taps: int
    images: int = 1          # feature pairs of the kernel quotient, channels of the image quotient

    def __str__(self):
        return f"{self.taps} x {self.taps}, {self.images} x {self.side} x {self.side}"


FULL = (Size(255, 17, 2), Size(1024, 17, 2), Size(2048, 33, 2))
SMOKE = (Size(48, 7, 2),)


def make(size, device):
    shape = (1, size.images, size.side, size.side)
    kernel = random((1, 1, size.taps, size.taps), device, 3)
    return {"x": random(shape, device, 1, low=-1.0), "y": random(shape, device, 2, low=-1.0), "kernel": kernel / kernel.sum(),
            "g": random((1, size.taps, size.taps), device, 4, low=-1.0)}


# what a hand-written layer does with torch.fft ------------------------------------------------------------------------------

@functools.cache
def taper(n, k):
    t = torch.arange(2 * k, dtype=torch.float64) / (2 * k - 1) - 0.5
    w = 0.62 - 0.48 * t.abs() + 0.38 * torch.cos(2 * math.pi * t)
    return torch.cat([w[:k], torch.ones(n - 2 * k, dtype=torch.float64), w[k:]]).float()


def plain_kernel_quotient(x, y, taps):
    h, w = x.shape[-2:]
    window = (taper(h, taps)[:, None] * taper(w, taps)).to(x.device)
    fx, fy = torch.fft.rfft2(x * window), torch.fft.rfft2(y * window)
    quotient = (fx.conj() * fy).sum(1) / (fx.abs().square().sum(1) + BETA)
    return torch.fft.irfft2(quotient, s=(h, w)).roll((taps // 2, taps // 2), (-2, -1))[..., :taps, :taps]


def spectrum(kernel, h, w):
    kh, kw = kernel.shape[-2:]
    plane = torch.nn.functional.pad(kernel, (0, w - kw, 0, h - kh)).roll((-(kh // 2), -(kw // 2)), (-2, -1))
    return torch.fft.rfft2(plane)


def plain_image_quotient(y, kernel):
    h, w = y.shape[-2:]
    k = spectrum(kernel, h, w)
    return torch.fft.irfft2(k.conj() * torch.fft.rfft2(y) / (k.abs().square() + BETA), s=(h, w))


def plain_conv(x, kernel):
    h, w = x.shape[-2:]
    return torch.fft.irfft2(spectrum(kernel, h, w) * torch.fft.rfft2(x), s=(h, w))


# candidates -----------------------------------------------------------------------------------------------------------------

def no_grad(call):
    def timed():
        with torch.no_grad():
            return call()
    return timed


def kernel_of(taps, backend=None):
    return lambda x, y: svconv.kernel_quotient(x, y, taps, beta=BETA, backend=backend)


def image_of(backend=None):
    return lambda y, kernel: svconv.image_quotient(y, kernel, beta=BETA, backend=backend)


def backward_of(function, first, second, upstream):
    """Only the backward pass: the graph is kept and walked again."""
    a, b = first.detach().requires_grad_(), second.detach().requires_grad_()
    out = function(a, b)
    return lambda: torch.autograd.grad(out, (a, b), upstream, retain_graph=True)


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


def bytes_of(*names):
    return lambda v: sum(tensor_bytes(v[name]) for name in names)


@family("quotient")
def quotient_cases():
    for size, smoke in [(size, False) for size in FULL] + [(size, True) for size in SMOKE]:
        common = dict(inputs=functools.partial(make, size), smoke=smoke, tolerance=1e-3)
        taps = size.taps
        plain = functools.partial(plain_kernel_quotient, taps=taps)
        yield Case("quotient", "kernel_quotient", str(size), run=lambda v, backend=None, t=taps: no_grad(lambda: kernel_of(t, backend)(v["x"], v["y"])),
                   read=bytes_of("x", "y"), written=bytes_of("g"), flops=butterflies(2), references={"forward FFTs": forward_transforms},
                   peers={"torch.fft": lambda v, f=plain: no_grad(lambda: f(v["x"], v["y"]))},
                   targets=(("vs torch.fft", ">=", 1.5), ("times forward FFTs", "<=", 1.3)), memory=size.side == 2048, **common)
        yield Case("quotient", "kernel_quotient backward", str(size),
                   run=lambda v, backend=None, t=taps: backward_of(kernel_of(t, backend), v["x"], v["y"], v["g"]),
                   read=bytes_of("x", "y", "g"), written=bytes_of("x", "y"), flops=butterflies(4), references={"FFTs": round_trip("x", "y")},
                   peers={"torch.fft": lambda v, f=plain: backward_of(f, v["x"], v["y"], v["g"])},
                   targets=(("vs torch.fft", ">=", 1.5), ("times FFTs", "<=", 1.5)), **common)
        yield Case("quotient", "image_quotient", str(size), run=lambda v, backend=None: no_grad(lambda: image_of(backend)(v["y"], v["kernel"])),
                   read=bytes_of("y", "kernel"), written=bytes_of("y"), flops=butterflies(2), references={"FFTs": round_trip("y")},
                   peers={"torch.fft": lambda v: no_grad(lambda: plain_image_quotient(v["y"], v["kernel"]))},
                   targets=(("vs torch.fft", ">=", 1.5),), memory=size.side == 2048, **common)
        yield Case("quotient", "image_quotient backward", str(size),
                   run=lambda v, backend=None: backward_of(image_of(backend), v["y"], v["kernel"], v["x"]),
                   read=bytes_of("x", "y", "kernel"), written=bytes_of("y", "kernel"), flops=butterflies(3), references={"FFTs": round_trip("x", "y")},
                   peers={"torch.fft": lambda v: backward_of(plain_image_quotient, v["y"], v["kernel"], v["x"])},
                   targets=(("vs torch.fft", ">=", 1.5), ("times FFTs", "<=", 1.5)), **common)
        yield Case("quotient", "conv", str(size), run=lambda v, backend=None: no_grad(lambda: svconv.conv(v["x"], v["kernel"], backend=backend)),
                   read=bytes_of("x", "kernel"), written=bytes_of("x"), flops=butterflies(2), references={"FFTs": round_trip("x")},
                   peers={"torch.fft": lambda v: no_grad(lambda: plain_conv(v["x"], v["kernel"]))}, targets=(("vs torch.fft", ">=", 1.5),), **common)
