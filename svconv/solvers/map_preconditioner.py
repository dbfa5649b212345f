"""A circulant preconditioner of the MAP step: the normal equations as they were with the mean of the filters' power everywhere; and the
half spectra in which it costs no transform."""
import dataclasses
import math

import torch
from torch.nn import functional

from svconv._fourier import kernel_spectrum
from svconv.operators.division import power, transform, untransform

STRIDE = 4          # one filter in so many rows and columns is enough for a mean
FLOOR = 1e-4        # of the largest eigenvalue, below which none counts


def mean_autocorrelation(filters, weights=None):
    """[B|1, C|1, 2 s - 1, 2 t - 1]: the mean over the pixels of `sum_m w_m sum_d f_m(d) f_m(d + e)`, centre in the middle."""
    f = filters[..., ::STRIDE, ::STRIDE].detach().float() if filters.dtype != torch.float64 else filters[..., ::STRIDE, ::STRIDE].detach()
    if f.stride()[-2:] == (0, 0) and weights is None:
        f = f[..., :1, :1]
    rows, columns, pixels = f.shape[3], f.shape[4], f.shape[-2] * f.shape[-1]
    weighed = f if weights is None else f * weights.detach()[:, :, :, None, None, ::STRIDE, ::STRIDE]
    first, second = (t.movedim(2, 4).flatten(4).flatten(2, 3) for t in torch.broadcast_tensors(weighed, f))
    covariance = (first @ second.transpose(-1, -2) / pixels).unflatten(-1, (rows, columns)).unflatten(2, (rows, columns))
    # the values for d stand rows - 1 - d[0], columns - 1 - d[1] further on: what a fold adds up, block by block
    blocks = covariance.flip(2, 3).permute(0, 1, 4, 5, 2, 3).flatten(1, 3).flatten(2)
    return functional.fold(blocks, (2 * rows - 1, 2 * columns - 1), (rows, columns))


def circulant_inverse(spectrum, size, data_filters, prior_filters, data_weights=None, prior_weights=None):
    """1 / M on half spectra of planes of `size`, `M = |K|^2 mean|F|^2 + mean|G|^2` bounded from below."""
    with torch.no_grad():
        eigenvalues = power(spectrum.detach())
        if data_filters is not None:
            eigenvalues = eigenvalues * _power(mean_autocorrelation(data_filters, data_weights), size).to(eigenvalues.dtype)
        eigenvalues = eigenvalues + _power(mean_autocorrelation(prior_filters, prior_weights), size).to(eigenvalues.dtype)
        largest = eigenvalues.amax((-2, -1), keepdim=True)
        return 1 / torch.where(largest > 0, eigenvalues.clamp_min(0) + FLOOR * largest, 1)


@dataclasses.dataclass
class HalfSpectra:
    """Planes of `size` as real vectors [..., H, W // 2 + 1, 2], their half spectra scaled so that inner products stay what they are.

    Conjugate gradients on them take the same steps. A convolution and the preconditioner are then products, and an iteration needs four
    transforms (p and K p to the plane, what either term makes of them back) instead of six.

    Attributes:
        inverse: 1 / M, see `circulant_inverse`.
    """

    size: tuple
    inverse: torch.Tensor

    def __post_init__(self):
        rows, columns = self.size
        scale = self.inverse.new_full((columns // 2 + 1,), math.sqrt(2 / (rows * columns)))       # most columns stand for two
        scale[0] /= math.sqrt(2)
        if columns % 2 == 0:
            scale[-1] /= math.sqrt(2)
        self.scale = scale

    def enter(self, x):
        return self.vector(transform(x))

    def leave(self, v):
        return untransform(self.spectrum(v), self.size)

    def vector(self, spectrum):
        """The vector of a spectrum, which may be changed."""
        return torch.view_as_real(spectrum.mul_(self.scale))

    def spectrum(self, v):
        return torch.view_as_complex(v.contiguous()) / self.scale

    def operator(self, step):
        """A on such vectors, of a step that applies it to spectra."""
        return lambda v: self.vector(step.normal_of_spectrum(self.spectrum(v), self.size))

    def preconditioner(self, v):
        return v * self.inverse[..., None]


def _power(autocorrelation, size):
    rows, columns = autocorrelation.shape[-2:]
    return kernel_spectrum(autocorrelation, size, ((rows - 1) / 2, (columns - 1) / 2)).real.clamp_min(0)
