"""Pairs of a blurred and a sharp colour crop with the kernel between them, motion or measured, as a camera spoils them."""
import math

import torch

from svconv._shapes import number
from svconv.data.crops import PhotographCrops, crop_sides, draw, odd_side, odd_sides, turned
from svconv.data.degradation import degrade
from svconv.data.measured_kernels import measured_kernels
from svconv.data.motion import motion_kernel
from svconv.data.pairs import valid_convolution

DEGRADATIONS = ("gaussian", "saturation", "jpeg", "impulse")
JPEG, IMPULSE = 90, 0.01
CLIPPED, GAIN, BOOST = (0.005, 0.1), (1.0, 4.0), 8.0


class KernelPairs(PhotographCrops):
    """Colour crops of photographs under kernels of many sizes; item i is the same on every run, whatever was asked for before.

    A crop is cut with half a kernel more on each side, flipped and transposed at random, and blurred by the part of the convolution for
    which all light is there, so that the blurry crop has real borders. Crops with little gradient are drawn again, at most 20 times. Then:

        gaussian     y = K x + noise N(0, 1)
        saturation   y = clip(K l + noise N(0, 1)), and clip(l) is the sharp image: l is x times a gain with which about 0.5 to 10 % of the
                     pixels reach the white (gain 1 to 4); those that do are up to 8 times as bright, as lamps are
        jpeg         the noise, then JPEG of quality 90
        impulse      the noise, then 1 % of the pixels 0 or 1 in all channels

    Args:
        photographs: a folder, or a list of image files.
        size: side of the crops in pixels, or (height, width), of which then none is transposed.
        kernel_sizes: (least, most) side of the kernels, odd; each kernel draws an odd side and is a `motion_kernel` of it.
        measured: None, or a folder or list of kernel files: every second kernel, on average, is one of them, flipped and turned by quarters
            at random; those with a side above the most are left out.
        noise: standard deviation of the Gaussian noise, images in 0..1.
        degradation: one of the four above.
        length: number of pairs; only `__len__` looks at it, the pairs do not depend on it.
        seed: another seed gives other pairs.
        cache_bytes: bound on the memory of decoded photographs (uint8).

    Items:
        (blurry [3, h, w], sharp [3, h, w], kernel [1, k, k]), float32, k the kernel's own side, its centre k // 2. The sharp image is in
        0..1, the blurry one up to the noise.

    Raises:
        ValueError, TypeError: naming the argument; no photograph as large as a crop with its margin. FileError: a photograph or a kernel
            that cannot be read.

    Learning Spatially-Variant MAP Models for Non-blind Image Deblurring (2021), training data.
    """

    def __init__(self, photographs, size=64, *, kernel_sizes=(13, 35), measured=None, noise=0.01, degradation="gaussian", length=1_000_000,
                 seed=0, cache_bytes=512 << 20):
        super().__init__("kernels/", photographs, length, seed, cache_bytes)
        self.size, self.kernel_sizes = crop_sides(size), odd_sides("kernel_sizes", kernel_sizes)
        if degradation not in DEGRADATIONS:
            raise ValueError(f"degradation: expected one of {', '.join(DEGRADATIONS)}, got {degradation!r}")
        self.noise, self.degradation = number("noise", noise, least=0), degradation
        self.measured = [] if measured is None else measured_kernels(measured, self.kernel_sizes[1])

    def __getitem__(self, index):
        generator = self.generator(index)
        kernel = self._kernel(generator)
        half, (height, width) = kernel.shape[-1] // 2, self.size
        window, _ = self.window(self.size, generator, half)
        window = turned(window, draw(8, generator), height == width)
        if self.degradation == "saturation":
            window = _exposed(window, generator)
        sharp = window[:, half:half + height, half:half + width].clone()
        return self._degraded(valid_convolution(window, kernel), generator), sharp.clamp_(max=1), kernel[None]

    def _kernel(self, generator):
        if self.measured and bool(torch.rand((), generator=generator) < 0.5):
            kernel = self.measured[draw(len(self.measured), generator)]
            return turned(kernel, draw(8, generator), True)
        return motion_kernel(odd_side(self.kernel_sizes, generator), generator=generator)[0]

    def _degraded(self, x, generator):
        more = {"saturation": {"saturation": 1.0}, "jpeg": {"jpeg": JPEG}, "impulse": {"impulse": IMPULSE}}.get(self.degradation, {})
        return degrade(x, gaussian=self.noise, generator=generator, **more)


def _exposed(x, generator):
    """Light [3, H, W] of a photograph x under an exposure that clips some of its pixels; see `KernelPairs`."""
    share, boost = torch.rand(2, generator=generator, dtype=torch.float32).tolist()
    brightest = x.amax(0)
    white = torch.quantile(brightest.flatten(), 1 - (CLIPPED[0] + share * (CLIPPED[1] - CLIPPED[0])))
    gain = (1 / white.clamp_min(1e-6)).clamp(*GAIN)
    above = ((gain * brightest - 0.98) / 0.04).clamp(0, 1)      # a ramp, half way up where the photograph itself is clipped
    return gain * x * (1 + (math.exp(boost * math.log(BOOST)) - 1) * above)
