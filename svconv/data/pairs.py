"""Pairs of a blurred and a sharp crop with the kernel between them, made on the fly from photographs; every index has one fixed pair."""
import torch

from svconv._shapes import number
from svconv.data.crops import PhotographCrops, draw, turned
from svconv.data.degradation import degrade
from svconv.data.motion import motion_kernel


def valid_convolution(image, kernel):
    """Convolution of [..., H, W] with [k, k] where the kernel lies fully inside: [..., H - k + 1, W - k + 1], by FFT in float32."""
    k, (height, width) = kernel.shape[-1], image.shape[-2:]
    full = torch.fft.irfft2(torch.fft.rfft2(image) * torch.fft.rfft2(kernel, s=(height, width)), s=(height, width))
    return full[..., k - 1 :, k - 1 :]


class BlurPairs(PhotographCrops):
    """Blurred crops of photographs with their kernels; item i is the same on every run, whatever was asked for before.

    A crop is enlarged by the kernel, flipped and transposed at random, blurred by a *valid* convolution (so the blurry crop has real
    borders, with
    light coming in from outside), then noise is added. Crops with little gradient are drawn again (`enough_gradient`), at most 20 times.

    Args:
        photographs: a folder, or a list of image files.
        size: side of the blurry crop in pixels.
        kernel_size: side of the kernels.
        length: number of pairs; only `__len__` looks at it, the pairs do not depend on it.
        seed: another seed gives other pairs.
        noise: standard deviation of the Gaussian noise, image units (0..1).
        smallest: kernels are drawn for a box between this side and kernel_size (uniform), centred in kernel_size; None: always kernel_size.
        cache_bytes: bound on the memory of decoded photographs (uint8, grey).

    Items:
        (blurry [1, size, size], sharp [1, size, size], kernel [kernel_size, kernel_size]), float32; blurry = sharp convolved with the
        kernel,
        centre kernel_size // 2, plus noise.

    Raises:
        ValueError: bad sizes, an empty folder, or no photograph as large as a crop; FileError: a photograph that cannot be read.
    """

    def __init__(
        self, photographs, size=128, kernel_size=17, *, length=1_000_000, seed=0, noise=0.01, smallest=None, cache_bytes=512 << 20
    ):
        size, kernel_size = number("size", size, least=1, integer=True), number("kernel_size", kernel_size, least=1, integer=True)
        smallest = kernel_size if smallest is None else number("smallest", smallest, least=1, most=kernel_size, integer=True)
        if size < kernel_size:
            raise ValueError(f"size: expected at least the kernel size {kernel_size}, got {size}")
        super().__init__("", photographs, length, seed, cache_bytes, colour=False)
        self.size, self.kernel_size, self.smallest = size, kernel_size, smallest
        self.noise = number("noise", noise, least=0)

    def __getitem__(self, index):
        generator = self.generator(index)
        kernel = self._kernel(generator)
        side = self.size + self.kernel_size - 1
        crop = turned(self.window((side, side), generator)[0][0], draw(8, generator), True)
        k, half = self.kernel_size, self.kernel_size // 2
        blurry = valid_convolution(crop, kernel)[None]
        low = k - 1 - half  # pixel p of the valid result is centred on pixel p + k - 1 - k // 2 of the crop
        sharp = crop[low : low + self.size, low : low + self.size][None]
        return degrade(blurry, gaussian=self.noise, generator=generator), sharp.clone(), kernel

    def _kernel(self, generator):
        side = int(torch.randint(self.smallest, self.kernel_size + 1, (), generator=generator))
        small = motion_kernel(side, generator=generator)[0]
        kernel = torch.zeros(self.kernel_size, self.kernel_size, dtype=torch.float32)
        start = self.kernel_size // 2 - side // 2
        kernel[start : start + side, start : start + side] = small
        return kernel
