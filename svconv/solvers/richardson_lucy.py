"""Richardson-Lucy deconvolution for any operator with non-negative weights."""
import dataclasses
import math

import torch

from svconv._shapes import check_tensor, computed, number, scalar, shape_text
from svconv.solvers.border import check_border, extend_smoothly
from svconv.solvers.data_term import data_term
from svconv.solvers.magnitudes import change, column, norms, unit
from svconv.solvers.problem import checked
from svconv.solvers.result import Result

SEEN = 1e-3  # pixels that less than this share of the largest weight reaches keep their start value
DAMPING_POWER = 10  # N of White 1994
FAINT = 256  # float32 transforms serve down to so many times their rounding errors; an image with fainter light is computed in float64


@dataclasses.dataclass(repr=False)
class RichardsonLucyResult(Result):
    """What `svconv.solvers.richardson_lucy` found.

    Attributes:
        x: the restored image [B, C, H, W], nowhere negative.
        iterations: steps taken.
        changes: [iterations, B], relative change of x in each step.
    """

    iterations: int
    changes: torch.Tensor


def richardson_lucy(op, y, *, max_iter, damping=0.0, x0=None, background=0.0, negative="error", mask=None, border=None, callback=None):
    """Maximum likelihood for Poisson noise: `x <- x A'(m y / (A x + background)) / (A' m)`, from a constant image or x0.

    Keeps `x >= 0` and, when nothing masks, borders, damps or adds, `sum(op(x)) = sum(y)` in every channel: it holds after every step
    because A' is the exact transpose for every padding, and the last x is scaled once to remove the rounding errors. A faint sky beside a
    bright star is restored too: an image whose range exceeds that of float32 transforms is computed in float64.

    Args:
        op: operator with weights >= 0, for example Conv(psf) or PixelFilter(filters).
        y: blurred image [B, C, H, W] (with an axis M where op has one), >= 0, any scale; float32, float64, bfloat16 or float16 (computed in
            float32), the precision of op.
        max_iter: steps; more sharpen further and amplify noise.
        damping: threshold T in standard deviations of Poisson noise (y in counts): where `A x` is closer to y than about T deviations the
            step is flattened, so that noise is not fitted (White 1994). 0 switches it off.
        x0: start [B, C, H, W], >= 0, dtype of y; None is a constant image. Pixels that are 0 stay 0.
        background: light in y that no x sends, >= 0: a number, or like y ([B|1, C|1, H, W]).
        negative: what negative pixels of y are: "error", or "clip" to 0.
        mask: [B|1, 1|C, H, W], 1 = use the pixel, 0 = leave it out (it may be NaN).
        border: "mask", "taper", "replicate" or None (op's own padding holds), as in `svconv.solvers.irls`.
        callback: called as callback(step, max_iter, x) with x [B, C, H, W] after every step.

    Returns:
        RichardsonLucyResult: .x [B, C, H, W], .iterations, .changes. No gradients flow through it.

    Raises:
        ValueError, TypeError: naming the argument; NaN or infinite pixels that the mask does not leave out, negative ones unless they are
            clipped, and a PSF of op that is zero, not finite or negative in sum, are a ValueError. Where the host cannot see the PSF (a
            GPU) its image comes back as y.

    Bit-identical from run to run with a fixed number of threads. Memory: six images beside op. Richardson 1972, Lucy 1974.

    >>> import torch, svconv
    >>> x = torch.zeros(1, 1, 16, 16); x[..., 8, 8] = 100
    >>> K = svconv.Conv(torch.tensor([[[1., 2., 1.], [2., 4., 2.], [1., 2., 1.]]]) / 16, padding="zeros")
    >>> result = svconv.solvers.richardson_lucy(K, K(x).clamp_min(0), max_iter=50)
    >>> bool(result.x[..., 8, 8] > 90), round(float(result.x.sum()))
    (True, 100)
    >>> sky = svconv.solvers.richardson_lucy(K, K(x).clamp_min(0) + 7, max_iter=200, background=7)
    >>> bool(sky.x[..., 8, 8] > 90), bool(sky.x[..., 2, 2] < 0.1)
    (True, True)
    """
    max_iter, damping = number("max_iter", max_iter, least=1, integer=True), number("damping", damping, least=0)
    if negative not in ("error", "clip"):
        raise ValueError(f"negative: expected 'error' or 'clip', got {negative!r}")
    check_border(border)
    x0, background = _check_start(x0, y), _check_background(background, y)
    given = checked(op, y, mask)
    with torch.no_grad():
        scene = _Scene(given, _not_negative(given, negative), x0, background, border)
        x, changes = scene.iterate(max_iter, damping, callback)
        if mask is None and border is None and background is None and not damping:
            x = scene.with_flux(x)
        x = scene.term.crop(x).contiguous() * column(1 / scene.unit, x)
        return RichardsonLucyResult(given.finished(x), max_iter, changes)


def _check_image(name, t, y):
    check_tensor(name, t)
    if t.dtype != y.dtype or t.device != y.device:
        raise TypeError(f"{name}: expected {y.dtype} on {y.device} like y, got {t.dtype} on {t.device}")
    if not bool(((t >= 0) & torch.isfinite(t)).all()):
        raise ValueError(f"{name}: expected finite pixels >= 0, got one that is not")


def _check_start(x0, y):
    if x0 is not None and isinstance(y, torch.Tensor):
        _check_image("x0", x0, y)
        if x0.dim() != 4 or x0.shape[:2] != y.shape[:2] or x0.shape[-2:] != y.shape[-2:]:
            raise ValueError(f"x0: expected [B, C, H, W] for y {shape_text(y)}, got {shape_text(x0)}")
    return x0


def _check_background(background, y):
    """None for 0, a number, or a tensor that broadcasts to y."""
    background = scalar(background)
    if not isinstance(background, torch.Tensor):
        return number("background", background, least=0) or None
    _check_image("background", background, y)
    if background.dim() != y.dim() or any(n not in (1, m) for n, m in zip(background.shape, y.shape)):
        raise ValueError(f"background: expected a number or an image like y {shape_text(y)}, got {shape_text(background)}")
    return background


def _not_negative(given, negative):
    y, mask = given.y, given.mask
    bad = y < 0 if mask is None else (y < 0) & (mask > 0)
    if negative == "error" and (count := int(bad.sum())):
        raise ValueError(f"y: expected pixels >= 0, got {count} negative ones (the least is {float(y[bad].min()):.3g}); "
                         "negative='clip' takes them as 0")
    return torch.where(bad, 0, y)


def _total(t):
    """Sum of each channel, [B, C, 1, 1], in float64."""
    return t.sum(tuple(range(2, t.dim())), dtype=torch.float64)[..., None, None]


def _rounding(y):
    """About the rounding error that a transform of y leaves in each of its pixels: [B, C, 1, 1]."""
    level = norms(y, apart=2) * (torch.finfo(y.dtype).eps / math.sqrt(max(1, y.shape[2:].numel())))
    return column(level.clamp_min(torch.finfo(y.dtype).tiny), y)


class _Scene:
    """What stays during the steps, each sample in the power of two `unit` of its own."""

    def __init__(self, given, y, x0, background, border):
        op, mask = given.op, given.mask
        used = y if mask is None else torch.where(mask > 0, y, 0)
        self.unit = unit(used)
        y = y * column(self.unit, y)
        used = used * column(self.unit, used)
        self.narrow = y.dtype
        if y.dtype == torch.float32 and bool(((used > 0) & (used < FAINT * _rounding(used))).any()):
            op, y, mask, self.unit = op.double(), y.double(), None if mask is None else mask.double(), self.unit.double()
        self.op, self.term = op, data_term(op, y, mask, border)
        self.y = self.term.y.clamp_min(0)
        self.mask = torch.ones_like(self.y) if self.term.mask is None else self.term.mask.expand_as(self.y).contiguous()
        self.background = None if background is None else self._lifted(background, y, mask, border)
        self.seen = self.term.op.adjoint(self.mask)
        largest = self.seen.amax((-2, -1), keepdim=True)
        if bool((self.seen < -1e-3 * largest).any()):
            raise ValueError("op: expected weights >= 0, got an operator whose transpose maps a non-negative image to negative pixels")
        self.reached = self.seen > SEEN * largest
        self.floor = _rounding(self.y)
        self.start = self._constant() if x0 is None else extend_smoothly(self._scaled(x0), self.term.plane)

    def _scaled(self, t):
        return computed(t).to(self.unit.dtype) * column(self.unit, t)

    def _lifted(self, background, y, mask, border):
        if not isinstance(background, torch.Tensor):
            background = torch.full_like(y[:, :1], background, dtype=torch.float64).to(self.unit.dtype)
        return data_term(self.op, self._scaled(background.expand_as(y)), mask, border).y.clamp_min(0)

    def _constant(self):
        total = _total(self.mask * self.y)
        light = total if self.background is None else torch.maximum(_total(self.mask * (self.y - self.background)), 1e-3 * total)
        return (light / _total(self.seen).clamp_min(torch.finfo(torch.float64).tiny)).to(self.y.dtype).expand_as(self.seen).clone()

    def iterate(self, max_iter, damping, callback):
        """(x, changes)."""
        x, changes = self.start, []
        for step in range(max_iter):
            factor = self.term.op.adjoint(self.mask * self._ratio(self._seen_light(x), damping)).clamp_min_(0) / self.seen
            new = torch.where(self.reached, x * factor, x)
            changes.append(change(new, x).to(self.narrow))
            x = new
            if callback is not None:
                callback(step + 1, max_iter, (self.term.crop(x) * column(1 / self.unit, x)).to(self.narrow))
        return x, torch.stack(changes)

    def _seen_light(self, x):
        ax = self.term.op(x)
        return torch.maximum(ax if self.background is None else ax + self.background, self.floor)

    def _ratio(self, ax, damping):
        y = self.y
        if damping == 0:
            return y / ax
        # 1 where A x explains y within the noise; u is the deviance in units of damping^2, capped at 1
        deviance = 2 * (torch.xlogy(y, y / ax) - y + ax) * column(1 / self.unit, y)
        u = (deviance / damping**2).clamp_(0, 1)
        n = DAMPING_POWER
        return 1 + u ** (n - 1) * (n - (n - 1) * u) * (y - ax) / ax

    def with_flux(self, x):
        """x with `sum(op(x)) = sum(y)` to the last digit."""
        found = _total(self.op(x))
        return x * torch.where(found > 0, _total(self.y) / found, 1).to(x.dtype)
