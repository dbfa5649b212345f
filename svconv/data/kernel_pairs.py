"""Pairs of a blurred and a sharp colour crop with the kernel between them, motion or measured, as a camera spoils them."""
import hashlib
import math

import torch

from svconv._shapes import number
from svconv.data.degradation import degrade
from svconv.data.measured_kernels import measured_kernels
from svconv.data.motion import motion_kernel
from svconv.data.pairs import TRIES, enough_gradient, valid_convolution
from svconv.data.photographs import PhotographCache, list_photographs

DEGRADATIONS = ("gaussian", "saturation", "jpeg", "impulse")
JPEG, IMPULSE = 90, 0.01
CLIPPED, GAIN, BOOST = (0.005, 0.1), (1.0, 4.0), 8.0


class KernelPairs(torch.utils.data.Dataset):
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
        sides = size if isinstance(size, (tuple, list)) else (size, size)
        self.size = tuple(number("size", side, least=1, integer=True) for side in sides)
        self.kernel_sizes = _odd_sides(kernel_sizes)
        if degradation not in DEGRADATIONS:
            raise ValueError(f"degradation: expected one of {', '.join(DEGRADATIONS)}, got {degradation!r}")
        self.noise, self.degradation = number("noise", noise, least=0), degradation
        self.length, self.seed = number("length", length, least=0, integer=True), number("seed", seed, integer=True)
        self.files = list(photographs) if isinstance(photographs, (list, tuple)) else list_photographs(photographs)
        self.measured = [] if measured is None else measured_kernels(measured, self.kernel_sizes[1])
        self.cache = PhotographCache(cache_bytes, colour=True)

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if not 0 <= index < self.length:
            raise IndexError(f"index: expected 0..{self.length - 1}, got {index}")
        digest = hashlib.sha256(f"kernels/{self.seed}/{index}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        kernel = self._kernel(generator)
        window = self._window(generator, kernel.shape[-1] // 2)
        if self.degradation == "saturation":
            window = _exposed(window, generator)
        half, (height, width) = kernel.shape[-1] // 2, self.size
        sharp = window[:, half:half + height, half:half + width].clone()
        return self._degraded(valid_convolution(window, kernel), generator), sharp.clamp_(max=1), kernel[None]

    def _kernel(self, generator):
        if self.measured and bool(torch.rand((), generator=generator) < 0.5):
            kernel = self.measured[_draw(len(self.measured), generator)]
            return _turned(kernel, _draw(8, generator), True)
        least, most = self.kernel_sizes
        return motion_kernel(least + 2 * _draw((most - least) // 2 + 1, generator), generator=generator)[0]

    def _window(self, generator, margin):
        """A crop [3, H, W] with so many pixels more on each side."""
        sides = height, width = [side + 2 * margin for side in self.size]
        found, inside = None, slice(margin, -margin or None)
        for _ in range(TRIES):
            photograph = self.cache.get(self.files[_draw(len(self.files), generator)])
            row, column = torch.rand(2, generator=generator, dtype=torch.float32).tolist()
            if photograph.shape[0] < height or photograph.shape[1] < width:
                continue
            top, left = (int(share * (whole - side + 1)) for share, whole, side in zip((row, column), photograph.shape, sides))
            found = torch.from_numpy(photograph[top:top + height, left:left + width].astype("float32")).permute(2, 0, 1) / 255
            if enough_gradient(found[:, inside, inside].mean(0)):
                break
        if found is None:
            raise ValueError(f"photographs: none of {TRIES} drawn ones is as large as a crop of {height} x {width} pixels")
        return _turned(found, _draw(8, generator), height == width)

    def _degraded(self, x, generator):
        more = {"saturation": {"saturation": 1.0}, "jpeg": {"jpeg": JPEG}, "impulse": {"impulse": IMPULSE}}.get(self.degradation, {})
        return degrade(x, gaussian=self.noise, generator=generator, **more)


def _odd_sides(sides):
    if not isinstance(sides, (tuple, list)) or len(sides) != 2:
        raise ValueError(f"kernel_sizes: expected two odd numbers, least and most, got {sides!r}")
    least = number("kernel_sizes", sides[0], least=1, integer=True)
    most = number("kernel_sizes", sides[1], least=least, integer=True)
    if least % 2 == 0 or most % 2 == 0:
        raise ValueError(f"kernel_sizes: expected two odd numbers, least and most, got {tuple(sides)}")
    return least, most


def _draw(count, generator):
    """A random integer of 0 .. count - 1."""
    return int(torch.randint(count, (), generator=generator))


def _turned(x, turn, square):
    """[..., H, W] flipped along the rows (1), the columns (2) and, if square, transposed (4)."""
    x = x.flip([axis for axis, bit in ((-2, 1), (-1, 2)) if turn & bit])
    return (x.transpose(-2, -1) if turn & 4 and square else x).contiguous()


def _exposed(x, generator):
    """Light [3, H, W] of a photograph x under an exposure that clips some of its pixels; see `KernelPairs`."""
    share, boost = torch.rand(2, generator=generator, dtype=torch.float32).tolist()
    brightest = x.amax(0)
    white = torch.quantile(brightest.flatten(), 1 - (CLIPPED[0] + share * (CLIPPED[1] - CLIPPED[0])))
    gain = (1 / white.clamp_min(1e-6)).clamp(*GAIN)
    above = ((gain * brightest - 0.98) / 0.04).clamp(0, 1)      # a ramp, half way up where the photograph itself is clipped
    return gain * x * (1 + (math.exp(boost * math.log(BOOST)) - 1) * above)
