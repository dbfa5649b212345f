"""The matting Laplacian of a photograph: what is a local linear function of its colours costs nothing."""
import torch
from torch.nn import functional

from svconv._shapes import Dims, number, shape_text
from svconv.solvers import cg

_SIDE, _COUNT = 3, 9
WEIGHTS = ("edges", "radius")


class MattingLaplacian:
    """The symmetric operator L of Levin, Lischinski and Weiss 2008, applied without a matrix: `L p = sum_k (p - a_k I - b_k)` over the
    3 x 3 windows k that hold the pixel, (a_k, b_k) the linear function of the colours that fits p best in the window.

    Made by `matting_laplacian`. `L(p)` takes [B, 1, H, W]; `L.diagonal` is [B, 1, H, W].
    """

    def __init__(self, image, eps):
        self.size = image.shape[0], *image.shape[-2:]
        self.dtype = image.dtype
        self.image = image.double()     # variances of nearly flat windows
        self.mean = window_means(self.image)
        colours = self.image.shape[1]
        pairs = [(c, d) for c in range(colours) for d in range(c + 1)]
        products = window_means(torch.stack([self.image[:, c] * self.image[:, d] for c, d in pairs], 1))
        covariance = products.new_empty(*products.shape[:1], colours, colours, *products.shape[2:])
        for n, (c, d) in enumerate(pairs):
            covariance[:, c, d] = covariance[:, d, c] = products[:, n] - self.mean[:, c] * self.mean[:, d]
        covariance = covariance.permute(0, 3, 4, 1, 2).contiguous()
        covariance.diagonal(dim1=-2, dim2=-1).add_(eps / _COUNT)
        self.inverse = torch.linalg.inv(covariance).permute(0, 3, 4, 1, 2).contiguous()     # [B, C, C, h, w]
        self.diagonal = self._diagonal().to(self.dtype)

    def _times_inverse(self, t):
        """[B, C, h, w] -> inverse t in every window."""
        return (self.inverse * t[:, None]).sum(2)

    def _diagonal(self):
        """sum_k 1 - (1 + (I - mu_k)' inverse_k (I - mu_k)) / 9, the square multiplied out."""
        middle = self._times_inverse(self.mean)
        own = window_sums((self.mean * middle).sum(1, keepdim=True)) - 2 * (self.image * window_sums(middle)).sum(1, keepdim=True)
        colours = self.image.shape[1]
        for c in range(colours):
            for d in range(colours):
                own += self.image[:, c:c + 1] * self.image[:, d:d + 1] * window_sums(self.inverse[:, c, d][:, None])
        windows = window_sums(torch.ones_like(self.mean[:, :1]))
        return windows - (windows + own) / _COUNT

    def __call__(self, p):
        exact = p.double()
        mean = window_means(exact)
        slope = self._times_inverse(window_means(self.image * exact) - self.mean * mean)
        offset = mean - (slope * self.mean).sum(1, keepdim=True)
        windows = window_sums(torch.ones_like(mean))
        return (windows * exact - (self.image * window_sums(slope)).sum(1, keepdim=True) - window_sums(offset)).to(p.dtype)

    def propagate(self, values, known, *, strength=1e-3, weights="edges", x0=None, tol=1e-6, max_iter=2000):
        """Values that are known at some pixels carried to all: the solution b of `(lam D + L) b = lam D d` by conjugate gradients.

        Args:
            values: d [B, 1, H, W]; only where `known` is not zero do they matter.
            known: [B, 1, H, W], 1 where a value is known, 0 elsewhere.
            strength: lam, > 0.
            weights: the diagonal matrix D: "edges" (known itself) or "radius" (known times the value, which then has to be >= 0).
            x0: where to begin [B, 1, H, W], None: at 0.
            tol, max_iter: of `svconv.solvers.cg`, preconditioned by the diagonal.

        Returns:
            The `CGResult`; .x is [B, 1, H, W], .converged says whether `tol` was reached.

        Raises:
            ValueError, TypeError: naming the argument.
        """
        batch, height, width = self.size
        for name, t in (("values", values), ("known", known)):
            if tuple(t.shape) != (batch, 1, height, width):
                raise ValueError(f"{name}: expected [{batch}, 1, {height}, {width}], got {shape_text(t)}")
        if weights not in WEIGHTS:
            raise ValueError(f"weights: expected one of {', '.join(WEIGHTS)}, got {weights!r}")
        strength = number("strength", strength, above=0)
        values = torch.where(known != 0, values, 0)
        if weights == "radius" and bool((values < 0).any()):
            raise ValueError("values: expected none below 0 with weights='radius'")
        pull = strength * (known * values if weights == "radius" else known).double()
        diagonal = (pull + self.diagonal.double()).clamp_min(1e-12)
        with torch.no_grad():
            result = cg(lambda p: pull * p + self(p), pull * values.double(), x0=None if x0 is None else x0.double(),
                        preconditioner=lambda r: r / diagonal, tol=tol, max_iter=max_iter)
        result.x = result.x.to(values.dtype)
        return result


def window_means(x):
    """Over the 3 x 3 pixels around every inner pixel: [..., H, W] -> [..., H - 2, W - 2]."""
    x = x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]
    return (x[..., :-2] + x[..., 1:-1] + x[..., 2:]) / _COUNT


def window_sums(x):
    """At every pixel the sum over the windows that hold it: [..., h, w] -> [..., h + 2, w + 2]."""
    x = functional.pad(x, (2, 2, 2, 2))
    x = x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]
    return x[..., :-2] + x[..., 1:-1] + x[..., 2:]


def matting_laplacian(image, *, eps=1e-7):
    """The matting Laplacian of photographs, an operator `L(p)` with `L.diagonal` and `L.propagate(values, known)`.

    `L_ij = sum_k (delta_ij - (1 + (I_i - mu_k)' (Sigma_k + eps/9)^-1 (I_j - mu_k)) / 9)` over the 3 x 3 windows k that hold i and j.

    Args:
        image: [B, 3|1, H, W] in 0..1, sides of at least 3 pixels; float32 or float64, computed in float64.
        eps: > 0, smoothness within a window.

    Returns:
        `MattingLaplacian`. Memory: about 35 float64 planes for three colours. Bit-identical from run to run with a fixed number of threads.

    Raises:
        ValueError, TypeError: naming the argument.

    >>> image = torch.rand(1, 3, 12, 16, dtype=torch.float64)
    >>> L = matting_laplacian(image)
    >>> bool(L(torch.ones(1, 1, 12, 16, dtype=torch.float64)).abs().max() < 1e-9)       # constants cost nothing
    True
    >>> bool(L(image[:, :1]).abs().max() < 1e-3)                                        # nor do the colours themselves, nearly
    True
    """
    Dims().check("image", image, "B C H W")
    if image.shape[1] not in (1, 3) or min(image.shape[-2:]) < _SIDE:
        raise ValueError(f"image: expected [B, 3|1, H, W] with sides of at least {_SIDE} pixels, got {shape_text(image)}")
    return MattingLaplacian(image.detach(), number("eps", eps, above=0))

