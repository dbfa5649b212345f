"""What a blur leaves in the spectrum of a photograph: the zeros and ripples of its kernel."""
import functools
import math

import torch
from torch.nn import functional

from svconv._shapes import Dims, number
from svconv.data.estimate_noise import estimate_noise

SEGMENT, SMALLEST = 128, 32     # pixels: side of the pieces whose spectra are averaged; the least
BANDS = 0.28, 0.4               # cycles per pixel, the upper ends of what is looked at: in the lower one JPEG leaves more
MOST_SEGMENTS = 1200
_LEAST_NOISE = 1 / 255 / math.sqrt(12)
_DULL = 0.4                     # share of the pieces with the least signal, which are left out
_FEWEST = 4                     # pieces on either side that agreement needs
_SLOPES = 1.6, 2.2, 2.8, 3.4    # powers of the falling spectra of photographs
_LEVELS = tuple(-1.5 + 0.5 * i for i in range(9))               # logarithms about the median
_FLOORS = 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0                  # times the power of the noise


class SpectralRipples:
    """The spectrum of a photograph without its smooth part, beside those that blur kernels would leave.

    The power of a photograph falls smoothly with the frequency; blurred by k it is `A f^-a |F k|^2 + noise`, and the zeros of `F k` are
    ripples that no photograph has. Power spectra of overlapping windowed pieces are averaged, and from their logarithm a smooth part is
    taken off: the least squares of 1, log f, log^2 f, f, f^2 and waves of two and four periods around the zero frequency.

    Args:
        image: [1, 1, H, W], floating, 0..1, sides of at least 32 pixels; one plane, for example the luminance.
        noise: its standard deviation; None: `estimate_noise(image)`. Counted as one step of 8 bits at least.

    Attributes:
        agreement: how alike the ripples of opposite parts of the photograph are: the mean of four correlations (left and right, top and
            bottom, the corners), the larger of two bands; near 1 where one kernel blurred all of it, near 0 where blur changes over the
            field or where there is none; NaN where the photograph is too small to tell.

    Raises:
        ValueError, TypeError: naming the argument.

    Phases do not enter: a kernel and the same turned by half a turn explain a photograph equally well. Deterministic with a fixed
    number of threads. Memory: 120 MB at most, less for small photographs.

    >>> import svconv
    >>> x = torch.rand(1, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    >>> disk = svconv.disk_kernel(torch.tensor(4.0), 9)
    >>> ripples = SpectralRipples(svconv.conv(x, disk[None]), noise=1e-3)
    >>> ripples.agreement > 0.8, ripples.explained(disk) > 0.9, abs(ripples.explained(svconv.disk_kernel(torch.tensor(1.0), 3))) < 0.3
    (True, True, True)
    """

    def __init__(self, image, *, noise=None):
        Dims().check("image", image, "B C H W")
        if image.shape[0] != 1 or image.shape[1] != 1 or min(image.shape[-2:]) < SMALLEST:
            raise ValueError(f"image: expected [1, 1, H, W] with sides of at least {SMALLEST} pixels, got {list(image.shape)}")
        noise = float(estimate_noise(image)) if noise is None else number("noise", noise, least=0)
        self.noise = max(noise, _LEAST_NOISE)
        self.segment = min(SEGMENT, 2 ** int(math.log2(min(image.shape[-2:]))))
        self._bands = [_band(self.segment, top) for top in BANDS]
        widest = self._bands[-1].inside
        pieces, places = _pieces(image.detach()[0, 0].cpu(), self.segment, widest)
        power = [pieces[:, band.inside[widest]] for band in self._bands]
        self._power = [p.mean(0) for p in power]
        self._ripples = [band.without_trend((p + self._least).log()) for band, p in zip(self._bands, self._power)]
        self.agreement = max(_agreement(p, band, places, self.noise**2) for p, band in zip(power, self._bands))

    @property
    def _least(self):
        return 0.3 * self.noise**2

    def explained(self, kernel):
        """The correlation of the photograph's ripples with those that a kernel would leave, 1 at most, 0 for none: the mean over the bands.

        Args:
            kernel: [kh, kw], floating, finite, with a sum > 0; at most as large as the pieces (`.segment`), else its middle counts.
        """
        if kernel.dim() != 2 or not torch.is_floating_point(kernel):
            raise TypeError(f"kernel: expected a floating tensor [kh, kw], got {kernel.dtype} {list(kernel.shape)}")
        if not bool(torch.isfinite(kernel).all()) or not float(kernel.sum()) > 0:
            raise ValueError("kernel: expected finite values with a sum > 0")
        power = _kernel_power(kernel.detach().double().cpu(), self.segment)
        found = [_correlation(band.without_trend(_fitted(observed, power[band.inside], band.radius, self.noise**2)), ripples)
                 for band, observed, ripples in zip(self._bands, self._power, self._ripples)]
        return sum(found) / len(found)


class _Band:
    """Frequencies of the half plane, off the axes, and the smooth functions over them."""

    def __init__(self, segment, top):
        down, right = torch.fft.fftfreq(segment, dtype=torch.float64)[:, None], torch.fft.rfftfreq(segment, dtype=torch.float64)[None]
        radius, angle = (down**2 + right**2).sqrt(), torch.atan2(down.expand(-1, right.shape[1]), right.expand(segment, -1))
        self.inside = (radius > 2.5 / segment) & (radius < top) & (right > 0) & (down != 0)
        self.radius, angle = radius[self.inside], angle[self.inside]
        one, log = torch.ones_like(self.radius), self.radius.log()
        waves = [f(n * angle) * g for n in (2, 4) for f in (torch.cos, torch.sin) for g in (one, log)]
        self._smooth = torch.linalg.qr(torch.stack([one, log, log**2, self.radius, self.radius**2, *waves], 1))[0]

    def without_trend(self, log_power):
        return log_power - self._smooth @ (self._smooth.T @ log_power)


@functools.lru_cache(maxsize=8)
def _band(segment, top):
    return _Band(segment, top)


def _pieces(plane, segment, inside):
    """(power [n, F] of windowed pieces, per pixel, at the frequencies inside; places [n, 2] of their corners), every quarter of a side or,
    in large images, fewer."""
    window = torch.hann_window(segment, periodic=True, dtype=torch.float64)
    window = window[:, None] * window
    step = segment // 4
    while math.prod(math.ceil((n - segment) / step) + 1 for n in plane.shape) > MOST_SEGMENTS:
        step += segment // 4
    starts = [torch.linspace(0, n - segment, math.ceil((n - segment) / step) + 1).round().long().tolist() for n in plane.shape]
    rows = []
    for top in starts[0]:
        pieces = torch.stack([plane[top:top + segment, left:left + segment] for left in starts[1]]).double()
        pieces = pieces - (pieces * window).sum((1, 2), keepdim=True) / window.sum()
        rows.append(torch.fft.rfft2(pieces * window).abs().square()[:, inside] / window.square().sum())
    places = torch.tensor([(top, left) for top in starts[0] for left in starts[1]], dtype=torch.float64)
    return torch.cat(rows), places


def _agreement(power, band, places, noise):
    """The mean correlation of the ripples in opposite thirds of the pieces that have enough signal, each counted alike."""
    whitening = band.radius**2
    signal = (power * whitening).mean(1)
    bright = signal >= signal.quantile(_DULL)
    power = (power[bright] + 0.3 * noise) / (signal[bright] + noise * whitening.mean())[:, None]
    down, right = places[bright].T
    found = []
    for along in (down, right, down + right, down - right):
        first, last = along <= along.quantile(0.34), along >= along.quantile(0.66)
        if min(int(first.sum()), int(last.sum())) < _FEWEST or bool((first & last).any()):
            return math.nan
        found.append(_correlation(*(band.without_trend(power[part].mean(0).log()) for part in (first, last))))
    return sum(found) / len(found)


def _correlation(a, b):
    a, b = a - a.mean(), b - b.mean()
    scale = float(a.norm() * b.norm())
    return float(a @ b) / scale if scale > 1e-9 else 0.0


def _kernel_power(kernel, segment):
    kernel = kernel / kernel.sum()
    cut = [max(0, n - segment) for n in kernel.shape]
    kernel = kernel[tuple(slice(c // 2, n - (c - c // 2)) for c, n in zip(cut, kernel.shape))]
    return torch.fft.rfft2(functional.pad(kernel, (0, segment - kernel.shape[1], 0, segment - kernel.shape[0]))).abs().square()


def _fitted(observed, kernel, radius, noise):
    """The logarithm of the likeliest A f^-a |F k|^2 + floor over a grid of (a, A, floor), [F]; powers are exponentially distributed."""
    base = (kernel + 1e-4) * radius ** -torch.tensor(_SLOPES, dtype=torch.float64)[:, None]
    clear = kernel > 0.3 * kernel.max()
    middle = (observed[clear] / base[:, clear]).median(1).values.clamp_min(1e-30)
    level = middle[:, None] * torch.tensor(_LEVELS, dtype=torch.float64).exp()
    floor = noise * torch.tensor(_FLOORS, dtype=torch.float64)
    power = (level[:, :, None, None] * base[:, None, None] + floor[:, None]).flatten(0, 2)
    likelihood = -(power.log() + observed / power).mean(1)
    return power[likelihood.argmax()].log()
