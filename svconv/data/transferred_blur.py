"""Blur taken from pairs of pictures and put on other photographs, to train other networks with."""
import torch

from svconv._shapes import number
from svconv.data.crops import PhotographCrops, draw, rounded, turned


class TransferredBlur(PhotographCrops):
    """Crops of photographs under the blur of pairs, by the code that a blur kernel space gives it; item i is the same on every run.

        k = G(source, its blurry one), variational mu + s N(0, 1);   blurry = F(crop, k)

    Args:
        space: a `svconv.models.BlurKernelSpace`, or what has its `encode`, `blur` and `variational`; it is not changed.
        pairs: a data set of (blurry [3, h, w], sharp [3, h, w], ...), such as `FolderPairs` and `VariedPairs`; each item draws one of them.
            Its size is that of the crops.
        photographs: a folder, or a list of image files, whose crops are blurred.
        rounding: to 8 bits, as photographs are stored; without it values may leave 0..1.
        length: number of items; only `__len__` looks at it, the items do not depend on it.
        seed: another seed gives other items.
        cache_bytes: bound on the memory of decoded photographs (uint8).

    Items:
        (blurry [3, h, w], sharp [3, h, w], source), float32 on the CPU, source an int64 number, the place of the pair.

    Raises:
        ValueError, TypeError: naming the argument; a pair that the space refuses; no photograph as large as a crop.

    Memory: that of the space on one crop. Explore Image Deblurring via Encoded Blur Kernel Space (2021), data augmentation.
    """

    def __init__(self, space, pairs, photographs, *, rounding=True, length=1_000_000, seed=0, cache_bytes=512 << 20):
        super().__init__("transferred/", photographs, length, seed, cache_bytes)
        for name in ("encode", "blur"):
            if not callable(getattr(space, name, None)):
                raise TypeError(f"space: expected a BlurKernelSpace, got {type(space).__name__}")
        if not len(pairs):
            raise ValueError("pairs: expected at least one pair, got none")
        self.space, self.pairs, self.rounding = space, pairs, bool(rounding)

    @torch.no_grad()
    def __getitem__(self, index):
        generator = self.generator(index)
        source = draw(len(self.pairs), generator)
        blurry, sharp = (t[None] for t in self.pairs[source][:2])
        size = tuple(sharp.shape[-2:])
        crop = turned(self.window(size, generator)[0], draw(8, generator), size[0] == size[1])
        made = self._moved(self.space.blur, crop[None], self._code(sharp, blurry, generator))[0]
        return (rounded(made) if self.rounding else made), crop, torch.tensor(source)

    def _code(self, sharp, blurry, generator):
        if not getattr(self.space, "variational", False):
            return self._moved(self.space.encode, sharp, blurry)
        mean, deviation = self._moved(self.space.distribution, sharp, blurry)
        return mean + deviation * torch.randn(mean.shape, generator=generator)

    def _moved(self, call, *tensors):
        """The result of a call on the device and in the dtype of the space, as float32 on the CPU."""
        own = next(self.space.parameters())
        found = call(*(t.to(own) for t in tensors))
        return tuple(t.float().cpu() for t in found) if isinstance(found, tuple) else found.float().cpu()

    @torch.no_grad()
    def agreement(self, n):
        """The mean PSNR, in decibels, of F(source, k) to the blurry picture of the first n pairs: how much of their blur the code holds."""
        n = number("n", n, least=1, most=len(self.pairs), integer=True)
        scores = []
        for blurry, sharp, *_ in (self.pairs[i] for i in range(n)):
            code = self._moved(self.space.encode, sharp[None], blurry[None])
            error = (self._moved(self.space.blur, sharp[None], code)[0].clamp(0, 1) - blurry).square().mean()
            scores.append(float(-10 * torch.log10(error.clamp_min(1e-12))))
        return sum(scores) / n
