"""A photograph in memory: what is stored, and which stored value is white."""
import dataclasses

import numpy as np

from svconv.files.metadata import Metadata

DEPTHS = (8, 10, 12, 14)  # of cameras and scanners that store their values in 16 bits
OUTLIERS = 1e-5  # this share of the pixels, and at least 8 of them, may be broken
BROKEN = 2  # times a guessed white


@dataclasses.dataclass
class Picture:
    """An image as stored.

    Attributes:
        pixels: [H, W, 1|3] uint8, uint16, float32 or float64.
        alpha: [H, W] of the same type, or None.
        icc: colour profile, or None.
        associated: the pixels are stored multiplied by alpha.
        extra: [H, W, n], further samples of unspecified meaning, or None.
        chunks: the chunks of a PNG that say what its colours mean, (name, content) each.
        depth: bits per sample of a packed file (9..15), None: all bits of the type.
        white: the stored value that becomes 1.0; None until `with_white` has chosen it (`scale` looks for it then).
        stated: the largest value a sample can have according to the file, or None.
        significant: bits that count according to the file (sBIT of PNG), or None.
        stored: how an array of numbers stood in its file (`arrays.Stored`), or None.
        lossy: whether the file is compressed by JPEG or WebP, which takes fine noise away.
        metadata: EXIF, XMP, resolution and texts of the file (`metadata.Metadata`).
        broken: bool [H, W], pixels so far above a guessed white that they are taken for defects, or None.
        light: whether `plane` and `set_plane` speak of light, decoded by the curve of sRGB, and not of the values as they are.
        lost: the sum of what `set_plane` has cut off, because the type of the file does not hold it.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    icc: bytes | None = None
    associated: bool = False
    extra: np.ndarray | None = None
    chunks: tuple = ()
    depth: int | None = None
    white: float | None = None
    stated: float | None = None
    significant: int | None = None
    broken: np.ndarray | None = None
    stored: tuple | None = None
    lossy: bool = False
    metadata: Metadata = Metadata()
    light: bool = False
    lost: float = 0.0

    @property
    def bits(self):
        return self.depth or 8 * self.pixels.itemsize

    @property
    def channels(self):
        return self.pixels.shape[2]

    @property
    def size(self):
        """(height, width)"""
        return self.pixels.shape[:2]

    @property
    def full(self):
        """The largest value that can be stored, infinity for floats."""
        return float(2**self.bits - 1) if self.pixels.dtype.kind == "u" else float("inf")

    @property
    def limits(self):
        """(least, largest) value that its file can hold, infinite for floats."""
        kind = self.pixels.dtype if self.stored is None else self.stored.dtype
        if kind.kind not in "iu":
            return -float("inf"), float("inf")
        return (0.0, self.full) if self.stored is None else (float(np.iinfo(kind).min), float(np.iinfo(kind).max))

    @property
    def scale(self):
        """The stored value that becomes 1.0: `white` if that is chosen, else what `find_white` finds."""
        return self.white or find_white(self)[0]

    def with_white(self, white=None):
        """(this picture with its `white` chosen, who chose it: "given", "file", "type" or "guess"); white: a stored value or None."""
        value, source = (white, "given") if white is not None else find_white(self)
        broken = np.False_
        if source == "guess":
            with np.errstate(over="ignore"):
                broken = (np.abs(self.pixels) > BROKEN * value).any(2)
        if self.alpha is not None:
            broken = broken & (self.alpha > 0)
        return dataclasses.replace(self, white=float(value), broken=broken if broken.any() else None), source

    @property
    def weights(self):
        """float32 [H, W], the weights of the pixels in a data term, 0 where nothing can be seen; None if all count fully.

        Colours that are stored multiplied by alpha are known the less the smaller it is.
        """
        if self.alpha is None and self.broken is None:
            return None
        weights = np.ones(self.size, np.float32)
        if self.associated and self.alpha.any():
            weights = np.clip(self.alpha / np.float32(self.alpha.max()), 0, 1, dtype=np.float32)
        elif self.alpha is not None:
            weights[self.alpha <= 0] = 0
        if self.broken is not None:
            weights[self.broken] = 0
        return None if weights.min() == 1 else weights

    def plane(self, channel):
        """One channel as a float32 tensor [1, 1, H, W], white = 1, not multiplied by alpha; light if `light`."""
        import torch

        exact = np.float64 if self.pixels.dtype == np.float64 else np.float32
        values = np.divide(self.pixels[..., channel], exact(self.scale), dtype=exact)
        if self.associated:
            values = np.divide(values, self._coverage(exact), out=np.zeros_like(values), where=self.alpha > 0)
        plane = torch.from_numpy(values.astype(np.float32, copy=False))[None, None]
        return decoded(plane) if self.light else plane

    def _coverage(self, dtype=np.float32):
        """alpha as a fraction, [H, W]."""
        return np.divide(self.alpha, dtype(self.full if np.isfinite(self.full) else 1), dtype=dtype)

    def part(self, rows, columns):
        """The picture of a rectangle, rows and columns (start, stop) each."""
        here = slice(*rows), slice(*columns)
        arrays = {name: None if (a := getattr(self, name)) is None else a[here] for name in ("pixels", "alpha", "extra", "broken")}
        return dataclasses.replace(self, **arrays)

    def with_hidden_of(self, other):
        """This picture with the pixels of another one where that one's `weights` are 0: they have no colour that could change."""
        if other.weights is not None:
            hidden = other.weights <= 0
            self.pixels[hidden] = other.pixels[hidden]
        return self

    def empty(self):
        """A picture like this one whose pixels are still to be filled with `set_plane`."""
        return dataclasses.replace(self, pixels=np.empty_like(self.pixels), lost=0.0)

    def set_plane(self, channel, x, scale):
        """Stores a float tensor of H x W values (times alpha where the pixels are stored so); integers are rounded and clipped, see `lost`.
        """
        exact = np.float64 if self.pixels.dtype == np.float64 else np.float32
        x = encoded(x.detach()) if self.light else x.detach()
        values = x.reshape(self.size).cpu().numpy() * exact(scale)
        if not np.isfinite(values).all():
            raise FloatingPointError("the restored image has NaN or infinite pixels")
        if self.associated:
            values = values * self._coverage(exact)
        least, largest = self.limits
        if np.isfinite(largest):
            self.lost += float(np.abs(values - values.clip(least, largest)).sum(dtype=np.float64))
        if self.pixels.dtype.kind == "u":
            values = np.rint(values.clip(0, self.full))
        self.pixels[..., channel] = values

    def unassociated(self):
        """The picture with pixels that are not multiplied by alpha, for formats that store them so."""
        if not self.associated:
            return self
        coverage = self._coverage(np.float64)[..., None]
        pixels = np.divide(self.pixels, coverage, out=np.zeros(self.pixels.shape), where=coverage > 0)
        if self.pixels.dtype.kind == "u":
            pixels = np.rint(pixels.clip(0, self.full))
        return dataclasses.replace(self, pixels=pixels.astype(self.pixels.dtype), associated=False)


def decoded(v):
    """Light of sRGB values (IEC 61966-2-1), also of those beyond 0..1, where the curve goes on and is odd."""
    import torch

    a = v.abs()
    return torch.where(a <= 0.04045, a / 12.92, ((a + 0.055) / 1.055) ** 2.4).copysign_(v)


def encoded(v):
    """sRGB values of light, the inverse of `decoded`."""
    import torch

    a = v.abs()
    return torch.where(a <= 0.0031308, a * 12.92, 1.055 * a ** (1 / 2.4) - 0.055).copysign_(v)


def find_white(picture, level=None):
    """(value, source): the stored value that stands for white, and whether "file" or "type" say so, or it is a "guess" from the values.

    Values that fill 8, 10, 12 or 14 of 16 bits are taken for data of that depth; floats have their largest value, broken pixels aside.
    What is transparent does not count. level: the `bright_level` of the pixels if that is known and they are integers.
    """
    stated, pixels = picture.stated, picture.pixels
    if pixels.dtype == np.uint8 and stated is None:
        return picture.full, "type"
    if picture.alpha is not None and not picture.alpha.all():
        pixels = pixels[picture.alpha > 0]
    if pixels.dtype.kind == "f":
        size = np.abs(pixels)
        if stated is not None and stated != size.max(initial=0):  # many writers note the largest pixel there, whatever it is
            return stated, "file"
        return bright_level(size) or 1.0, "guess"
    level = bright_level(pixels) if level is None else level
    if stated is not None and level <= stated <= picture.full:
        return stated, "file"
    if picture.depth or pixels.dtype == np.uint8:
        return picture.full, "type"
    bits = picture.significant
    if bits and bits < 16:
        return (picture.full if level >= 2**bits or _moved_up(pixels, bits) else 2.0**bits - 1), "file"
    fitting = [d for d in DEPTHS if 0 < level < 2**d]
    return (2.0 ** fitting[0] - 1, "guess") if fitting else (picture.full, "type")


def bright_level(a):
    """The largest value of an array >= 0 that is no outlier: at most 25 % above the one that all but very few pixels stay below. Of no
    values: 0."""
    level = BrightLevel(a.size)
    level.add(a)
    return level.value


class BrightLevel:
    """`bright_level` of values that come in pieces; `most`: how many they are at most."""

    def __init__(self, most):
        self.most, self.count, self.top = _few(most) + 1, 0, None

    def add(self, a):
        """The values of an array >= 0."""
        self.count += a.size
        flat = a.reshape(-1) if self.top is None else np.concatenate([self.top, a.reshape(-1)])
        self.top = flat if flat.size <= self.most else np.partition(flat, flat.size - self.most)[flat.size - self.most:]

    @property
    def value(self):
        if not self.count:
            return 0.0
        few = _few(self.count) + 1
        top = np.partition(self.top, self.top.size - few)[self.top.size - few:]
        usual = top.min()
        with np.errstate(over="ignore"):  # near the largest float of the type
            return float(top.max(where=top <= 1.25 * usual, initial=0) if usual > 0 else top.max())


def _few(count):
    return min(max(8, int(OUTLIERS * count)), max(count - 1, 0) // 8)


def _moved_up(pixels, bits):
    """Whether values of so many bits stand in the high bits of 16, as PNG asks: the low ones are zero or repeat the high ones."""
    low = 16 - bits
    high = pixels >> low
    return bool((pixels == high << low).all() or (pixels == (high << low | high >> max(bits - low, 0))).all())
