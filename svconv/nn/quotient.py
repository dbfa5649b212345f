"""Modules of the quotient family: Barthann taper, kernel quotient, image quotient."""
import math

import torch
from torch import nn

from svconv._boundary import canonical_padding
from svconv._fourier import barthann_taper
from svconv._shapes import check_image, number, pair, scalar
from svconv.ops import image_quotient, kernel_quotient, project_kernel


def _weight(beta):
    try:
        return number("beta", beta, above=0)
    except TypeError as error:
        raise ValueError(*error.args) from None


class Barthann(nn.Module):
    """Fades the borders of an image: the halves of a Barthann window of length 2k at each end, ones between.

    Args:
        size: k, an int or (rows, columns); capped at half the side.

    forward(x [B, C, H, W]) -> the same shape. This is the taper inside `svconv.kernel_quotient`.

    >>> import torch, svconv
    >>> [round(v, 2) for v in svconv.nn.Barthann(2)(torch.ones(1, 1, 1, 8)).flatten().tolist()]
    [0.0, 0.73, 1.0, 1.0, 1.0, 1.0, 0.73, 0.0]
    """

    def __init__(self, size):
        super().__init__()
        try:
            self.size = pair("size", size, least=1, integer=True)
        except (TypeError, ValueError):
            raise ValueError(f"size: expected an integer >= 1 or a pair of them, got {size!r}") from None

    def forward(self, x):
        check_image("x", x)
        compute = torch.float64 if x.dtype == torch.float64 else torch.float32
        rows, columns = (barthann_taper(n, k, compute, x.device) for n, k in zip(x.shape[-2:], self.size))
        return (x.to(compute) * rows[:, None] * columns).to(x.dtype)

    def extra_repr(self):
        return f"size={self.size}"


class KernelQuotient(nn.Module):
    """The kernel estimation layer of Learning to Deblur (2016): `svconv.kernel_quotient` with its hyper-parameters.

    Args:
        kernel_size: an int or (kh, kw).
        beta: weight of |k|^2, > 0.
        taper: "barthann" or None.
        center: position of shift zero, default (kh//2, kw//2).
        project: clip at zero and scale to sum one (`svconv.project_kernel`).
        learnable: make log(beta) a parameter (`log_beta`); otherwise it is fixed and not in the state_dict.
        backend: force a backend.

    forward(x, y [B, n, H, W]) -> [B, kh, kw].

    >>> import torch, svconv
    >>> layer = svconv.nn.KernelQuotient(17, project=True)
    >>> layer(torch.rand(2, 4, 64, 48), torch.rand(2, 4, 64, 48)).shape
    torch.Size([2, 17, 17])
    """

    def __init__(self, kernel_size, *, beta=1e-4, taper="barthann", center=None, project=False, learnable=False, backend=None):
        super().__init__()
        self.kernel_size, self.taper, self.center, self.project, self.backend = scalar(kernel_size), taper, center, project, backend
        self._beta = _weight(beta)
        start = torch.tensor(math.log(self._beta))
        self.log_beta = nn.Parameter(start) if learnable else None

    @property
    def beta(self):
        return self._beta if self.log_beta is None else self.log_beta.exp()

    def forward(self, x, y):
        k = kernel_quotient(x, y, self.kernel_size, beta=self.beta, taper=self.taper, center=self.center, backend=self.backend)
        return project_kernel(k) if self.project else k

    def extra_repr(self):
        kind = "learnable" if self.log_beta is not None else f"beta={self._beta:g}"
        return f"{self.kernel_size}, {kind}, taper={self.taper!r}" + (", project=True" if self.project else "")


class ImageQuotient(nn.Module):
    """The image estimation layer of Learning to Deblur (2016): `svconv.image_quotient` with a learnable weight.

    Args:
        beta: start value of the prior's weight, > 0.
        prior: "identity", "gradient" or filters [J, fh, fw] (kept as a buffer).
        padding, center: as in `svconv.image_quotient`.
        learnable: make log(beta) a parameter (`log_beta`), so that beta stays positive; otherwise it is fixed.
        backend: force a backend.

    forward(y [B, C, H, W], kernel [B|1, C|1, kh, kw] or [B|1, kh, kw]) -> like y.

    >>> import torch, svconv
    >>> layer = svconv.nn.ImageQuotient(beta=1e-2, prior="gradient")
    >>> layer(torch.rand(1, 3, 32, 32), torch.full((1, 5, 5), 0.04)).shape
    torch.Size([1, 3, 32, 32])
    >>> [name for name, _ in layer.named_parameters()]
    ['log_beta']
    """

    def __init__(self, beta=1e-2, *, prior="identity", padding="circular", center=None, learnable=True, backend=None):
        super().__init__()
        self.padding, self.center, self.backend = canonical_padding(padding), center, backend
        self._beta = _weight(beta)
        start = torch.tensor(math.log(self._beta))
        self.log_beta = nn.Parameter(start) if learnable else None
        if isinstance(prior, torch.Tensor):
            self.register_buffer("filters", prior)
            self.prior = "filters"
        else:
            if prior not in ("identity", "gradient"):
                raise ValueError(f'prior: expected "identity", "gradient" or filters [J, fh, fw], got {prior!r}')
            self.prior = prior

    @property
    def beta(self):
        return self._beta if self.log_beta is None else self.log_beta.exp()

    def forward(self, y, kernel):
        prior = self.filters if self.prior == "filters" else self.prior
        return image_quotient(y, kernel, beta=self.beta, prior=prior, padding=self.padding, center=self.center, backend=self.backend)

    def extra_repr(self):
        kind = "learnable" if self.log_beta is not None else f"beta={self._beta:g}"
        return f"{kind}, prior={self.prior!r}, padding={self.padding!r}"
