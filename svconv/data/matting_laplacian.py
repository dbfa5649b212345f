"""The matting Laplacian of a photograph: what is a local linear function of its colours costs nothing."""
import torch

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
        image = image.double()      # variances of nearly flat windows
        self.colours = self._windows(image)                             # [B, C, 9, h, w]
        self.mean = self.colours.mean(2, keepdim=True)
        self.colours = self.colours - self.mean
        covariance = torch.einsum("bcnhw,bdnhw->bhwcd", self.colours, self.colours) / _COUNT
        covariance.diagonal(dim1=-2, dim2=-1).add_(eps / _COUNT)
        self.inverse = torch.linalg.inv(covariance)                     # [B, h, w, C, C]
        self.diagonal = self._diagonal().to(self.dtype)

    @staticmethod
    def _windows(x):
        """[B, C, H, W] -> [B, C, 9, H - 2, W - 2]: the pixels of the window of every inner pixel."""
        h, w = x.shape[-2] - _SIDE + 1, x.shape[-1] - _SIDE + 1
        return torch.stack([x[..., i:i + h, j:j + w] for i in range(_SIDE) for j in range(_SIDE)], 2)

    def _added(self, t):
        """The transpose of `_windows` for one channel: [B, 9, h, w] -> [B, 1, H, W]."""
        batch, height, width = self.size
        out = t.new_zeros(batch, 1, height, width)
        for n in range(_COUNT):
            i, j = divmod(n, _SIDE)
            out[:, 0, i:i + t.shape[-2], j:j + t.shape[-1]] += t[:, n]
        return out

    def _diagonal(self):
        own = torch.einsum("bcnhw,bhwcd,bdnhw->bnhw", self.colours, self.inverse, self.colours)
        return self._added(1 - (1 + own) / _COUNT)

    def __call__(self, p):
        windows = self._windows(p.double())[:, 0]                       # [B, 9, h, w]
        windows = windows - windows.mean(1, keepdim=True)
        slope = torch.einsum("bhwcd,bdnhw,bnhw->bchw", self.inverse, self.colours, windows) / _COUNT
        return self._added(windows - torch.einsum("bchw,bcnhw->bnhw", slope, self.colours)).to(p.dtype)

    def propagate(self, values, known, *, strength=1e-3, weights="edges", tol=1e-6, max_iter=2000):
        """Values that are known at some pixels carried to all: the solution b of `(lam D + L) b = lam D d` by conjugate gradients.

        Args:
            values: d [B, 1, H, W]; only where `known` is not zero do they matter.
            known: [B, 1, H, W], 1 where a value is known, 0 elsewhere.
            strength: lam, > 0.
            weights: the diagonal matrix D: "edges" (known itself) or "radius" (known times the value, which then has to be >= 0).
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
            result = cg(lambda p: pull * p + self(p), pull * values.double(), preconditioner=lambda r: r / diagonal, tol=tol,
                        max_iter=max_iter)
        result.x = result.x.to(values.dtype)
        return result


def matting_laplacian(image, *, eps=1e-7):
    """The matting Laplacian of photographs, an operator `L(p)` with `L.diagonal` and `L.propagate(values, known)`.

    `L_ij = sum_k (delta_ij - (1 + (I_i - mu_k)' (Sigma_k + eps/9)^-1 (I_j - mu_k)) / 9)` over the 3 x 3 windows k that hold i and j.

    Args:
        image: [B, 3|1, H, W] in 0..1, sides of at least 3 pixels; float32 or float64, computed in float64.
        eps: > 0, smoothness within a window.

    Returns:
        `MattingLaplacian`. Memory: about 50 float64 planes for three colours. Bit-identical from run to run with a fixed number of threads.

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

