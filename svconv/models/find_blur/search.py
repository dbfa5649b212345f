"""Candidates for the kernel of a photograph, and the one that explains its spectrum best."""
import dataclasses
import math

import torch

from svconv._shapes import check_image, computed, number
from svconv.data.edge_spread import edge_spread
from svconv.data.estimate_noise import estimate_noise
from svconv.data.spectral_ripples import SMALLEST, SpectralRipples
from svconv.models.find_blur.verdict import EXPLAINED, Signs, sharp_or_noisy, verdict
from svconv.ops.disk_kernel import disk_kernel
from svconv.solvers.blind_kernel import blind_kernel

METHODS = ("ltd", "l0", "disk")
SIZES = (9, 17, 25, 35, 51)                             # pixels, of l0
FIRST = (17, 35)                                        # the search begins with these and goes on beside the better one
RADII = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0)
WINDOW = 768                                            # pixels
PLACES = 4                                              # further windows that are looked at for sharp edges
EDGE = 0.08                                             # mass in the outermost ring of the window
ALIKE = 0.02                                            # scores so near are one, and the smaller kernel is taken
MARGIN = 0.03                                           # a disk has to explain so much more than a kernel of any shape


@dataclasses.dataclass
class BlurFinding:
    """What `find_blur` found.

    Attributes:
        verdict: "restored", "sharp", "varying", "defocus", "noisy" or "unsure"; `VERDICTS` says them in words.
        kernel: [k, k], float32, sum 1; the delta where the verdict is "sharp" and nothing was searched.
        method: what made the kernel: "ltd-17", "l0-25", "disk-4", "none".
        explained: how much of the ripples in the photograph's spectrum the kernel explains, from 0 (no better than no blur) to 1.
        candidates: {method: explained}.
        reaches_edge: whether the kernel has weight at the edge of its window: a larger one may be right.
        signs: `Signs`: noise, spread of the edges, agreement of the parts, the best disk.
    """

    verdict: str
    kernel: torch.Tensor
    method: str
    explained: float
    candidates: dict
    reaches_edge: bool
    signs: Signs

    def __repr__(self):
        return (f"BlurFinding({self.verdict}, kernel {list(self.kernel.shape)} by {self.method}, explained {self.explained:.2f}, noise "
                f"{self.signs.noise:.3f})")


def find_blur(y, *, kernel_size=None, methods=METHODS, model=None, refine=False, window=WINDOW, force=False, callback=None):
    """Looks at a photograph, estimates its kernel in several ways, keeps the one that explains it best, and says what kind of blur it is.

        kernel = argmax over candidates k of  SpectralRipples(y).explained(k),    of those within 0.02 of it the smallest

    Where none explains 0.6 the kernel of "ltd" is taken before those of "l0", which may be far off then. The verdict is of the best score.

    Candidates: the trained `LearningToDeblur` ("ltd", 17 pixels), `solvers.blind_kernel` ("l0") at 17 and 35 pixels and then at the sizes
    beside the better one of 9, 17, 25, 35, 51, and disks of radius 1.5 to 12.

    Args:
        y: blurred luminance [1, 1, H, W], 0..1, floating, finite, sides of at least 18 pixels; below 32 nothing is said of the blur.
        kernel_size: side of the kernel, odd; None tries several. With a size, "ltd" takes part where its model has that size.
        methods: some of "ltd", "l0", "disk": what makes candidates.
        model: a `LearningToDeblur` instead of the shipped one.
        refine: also let "l0" go on from the kernel of "ltd", on two scales.
        window: side of the part of the photograph with the largest gradients that kernels are estimated from. The signs are read from all
            of it.
        force: search a kernel in a photograph that is sharp already, too.
        callback: called as callback(done, candidates, name) before a candidate is estimated and once at the end.

    Returns:
        `BlurFinding`.

    Raises:
        ValueError, TypeError: naming the argument.

    No gradients flow through it. Bit-identical from run to run with a fixed number of threads. How often the verdict is right, and its
    thresholds: docs/blind.md.

    >>> from svconv.data import named_kernel
    >>> import svconv
    >>> x = torch.rand(1, 1, 192, 192, generator=torch.Generator().manual_seed(0)).round()
    >>> found = find_blur(svconv.conv(x, named_kernel("disk:4").float()[None], padding="reflect"), methods=("l0",), kernel_size=9)
    >>> found.verdict, found.method, found.kernel.shape
    ('defocus', 'l0-9', torch.Size([9, 9]))
    """
    sizes = _check(y, kernel_size, methods, window)
    y = computed(y)
    with torch.no_grad():
        part = richest_window(y, window)
        ripples, signs = look(y, part)
        search = _Search(part, ripples, callback)
        if y.max() == y.min():
            return BlurFinding("unsure", torch.ones(1, 1), "none", 0.0, {}, False, signs)
        if sharp_or_noisy(signs) == "sharp" and not force:
            return BlurFinding("sharp", torch.ones(1, 1), "none", 0.0, {}, False, signs)
        if "ltd" in methods:
            search.trained(_trained(kernel_size) if model is None else model, refine)
        if "l0" in methods:
            search.sizes(sizes, first=FIRST if kernel_size is None else sizes)
        if "disk" in methods and (not search.kernels or search.beaten_by(signs.disk)):
            search.add(f"disk-{signs.disk[0]:g}", lambda: _disk(signs.disk[0]))
        return search.finding(signs)


def _check(y, kernel_size, methods, window):
    check_image("y", y)
    if y.shape[0] != 1 or y.shape[1] != 1 or min(y.shape[-2:]) < 2 * (SIZES[0] if kernel_size is None else 3):
        raise ValueError(f"y: expected [1, 1, H, W] with sides of at least {2 * SIZES[0]} pixels, twice the smallest kernel, got "
                         f"{list(y.shape)}")
    if not bool(torch.isfinite(y).all()):
        raise ValueError("y: expected finite pixels, got NaN or infinity")
    if not methods or not set(methods) <= set(METHODS):
        raise ValueError(f"methods: expected some of {', '.join(METHODS)}, got {methods!r}")
    number("window", window, least=SMALLEST, integer=True)
    if kernel_size is None:
        return [size for size in SIZES if 2 * size <= min(*y.shape[-2:], window)]
    kernel_size = number("kernel_size", kernel_size, least=3, integer=True)
    if kernel_size % 2 == 0 or 2 * kernel_size > min(y.shape[-2:]):
        raise ValueError(f"kernel_size: expected an odd number of at most half the image of {y.shape[-2]} x {y.shape[-1]}, got "
                         f"{kernel_size}")
    return [kernel_size]


def _trained(kernel_size):
    """The shipped network of that size, or the default one; None where there is none."""
    from svconv.models.learning_to_deblur import LearningToDeblur

    name = LearningToDeblur.default_weights if kernel_size is None else f"ltd-{kernel_size}"
    return LearningToDeblur.from_pretrained(name) if name in LearningToDeblur.known_weights() else None


def look(y, part):
    """(SpectralRipples of a photograph y [1, 1, H, W], its Signs). The spread of the edges is the least of a part of it and of the corners:
    sharp is a photograph that is sharp somewhere."""
    noise = float(estimate_noise(y))
    if min(y.shape[-2:]) < SMALLEST:
        return _TooSmall(), Signs(noise, (math.nan, math.nan), math.nan, (0.0, 0.0))
    ripples = SpectralRipples(y, noise=noise)
    spreads = [edge_spread(p, noise=noise) for p in [part, *_corners(y, part.shape[-2:])]]
    told = [s[~s.isnan()] for s in spreads if not bool(s.isnan().all())]
    spread = min(((float(s.min()), float(s.max())) for s in told), key=lambda pair: pair[1], default=(math.nan, math.nan))
    disks = {radius: ripples.explained(_disk(radius)) for radius in RADII if 4 * radius < min(y.shape[-2:])}
    radius = max(disks, key=disks.get)
    return ripples, Signs(noise, spread, ripples.agreement, (radius, disks[radius]))


class _TooSmall:
    """The ripples of a photograph that shows none."""

    def explained(self, kernel):
        return 0.0


def _corners(y, size):
    """Windows of a size in the four corners, where the photograph is larger."""
    (height, width), (h, w) = y.shape[-2:], size
    if height * width < 2 * h * w:
        return []
    return [y[..., top:top + h, left:left + w] for top in (0, height - h) for left in (0, width - w)][:PLACES]


def _disk(radius):
    return disk_kernel(torch.tensor(float(radius)), 2 * math.ceil(radius) + 1)


class _Search:
    """Kernels and how much they explain."""

    def __init__(self, y, ripples, callback):
        self.y, self.ripples, self.callback, self.planned = y, ripples, callback, 5
        self.kernels, self.explained = {}, {}

    def add(self, name, estimate):
        if self.callback is not None:
            self.callback(len(self.kernels), max(self.planned, len(self.kernels) + 1), name)
        self.kernels[name] = estimate().float()
        self.explained[name] = self.ripples.explained(self.kernels[name])

    def trained(self, model, refine):
        """The kernel of a network that fits, and on request what alternation makes of it."""
        size = 0 if model is None else model.kernel_sizes[-1]
        if not 0 < 2 * size <= min(self.y.shape[-2:]):
            return
        self.add(f"ltd-{size}", lambda: model(self.y).kernel[0])
        if refine:
            start = self.kernels[f"ltd-{size}"][None]
            self.add(f"ltd-{size}+l0", lambda: blind_kernel(self.y, size, start=start, scales=2).x[0])

    def beaten_by(self, disk):
        return disk[1] > max(self.explained.values()) + MARGIN

    def sizes(self, sizes, first):
        """Alternation at the first sizes, then at those beside the best one as long as that helps."""
        tried, ahead = {}, [size for size in sizes if size in first] or sizes[-1:]
        while ahead:
            for size in ahead:
                self.add(f"l0-{size}", lambda size=size: blind_kernel(self.y, size).x[0])
                tried[size] = self.explained[f"l0-{size}"]
            place = sizes.index(max(tried, key=tried.get))
            ahead = [size for size in sizes[max(place - 1, 0):place + 2] if size not in tried]

    def finding(self, signs):
        most = max(self.explained.values())
        best = min((name for name, value in self.explained.items() if value >= most - ALIKE), key=lambda name: (
            self.kernels[name].numel(), -self.explained[name]))
        trained = next((name for name in self.kernels if name.startswith("ltd")), None)
        if most < EXPLAINED and best.startswith("l0") and trained is not None:
            best = trained      # nothing is known to be right: alternation may be far off then, the network never is
        if self.callback is not None:
            self.callback(len(self.kernels), len(self.kernels), best)
        kernel = self.kernels[best]
        outer = 1 - float(kernel[1:-1, 1:-1].sum()) if min(kernel.shape) > 2 else 0.0
        reaches_edge = not best.startswith("disk") and outer > EDGE
        return BlurFinding(verdict(signs, most), kernel, best, self.explained[best], dict(self.explained), reaches_edge, signs)


def richest_window(y, side):
    """The part of y [1, 1, H, W] of at most side x side pixels with the largest sum of gradients, on a grid of quarter sides."""
    height, width = y.shape[-2:]
    if max(height, width) <= side:
        return y
    places = [(top, left) for top in _starts(height, side) for left in _starts(width, side)]
    parts = [y[..., top:top + side, left:left + side] for top, left in places]
    return max(parts, key=lambda p: float(p.diff(dim=-1).abs().mean() + p.diff(dim=-2).abs().mean())).contiguous()


def _starts(length, side):
    last = max(0, length - side)
    return sorted({*range(0, last, side // 4), last})
