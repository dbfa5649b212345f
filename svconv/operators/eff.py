"""A kernel per patch as a linear operator."""
import torch

from svconv._boundary import canonical_padding
from svconv._eff_grid import halo_size
from svconv._form import check_form
from svconv._shapes import check_tensor, shape_text
from svconv.operators.base import Operator
from svconv.operators.light import sums
from svconv.ops import eff_image_quotient
from svconv.ops._eff_kept import KeptSpectra
from svconv.ops.eff import adjoint_with_kept, check_grid, conv_with_kept, with_channels


class EFFBlur(Operator):
    """Overlapping windowed patches, each with its own kernel: `y = sum_r conv(w_r x, k_r)` or `sum_r w_r conv(x, k_r)` as an operator.

    `svconv.solvers.wiener` goes from `svconv.eff_image_quotient` to the minimiser.

    Args:
        kernels: [B|1, C|1, R, kh, kw], or [B|1, R, kh, kw] shared by the channels; centre k//2; held, not copied.
        grid: an `EFFGrid`, which fixes the size of the image.
        form: "scatter" (the kernel belongs to the input pixel) or "gather" (to the output pixel).
        padding: "zeros", "replicate", "reflect", "symmetric" or "circular".
        cache: keep the spectra of the kernels between calls on a CPU where no gradient is wanted; any change of the kernels in place is
            seen. Memory of the spectra: 10 to 30 times that of the kernels, `kept_bytes` says how much; it goes with the operator.

    Raises:
        ValueError, TypeError: naming the argument.

    >>> import torch, svconv
    >>> A = svconv.EFFBlur(torch.full((1, 6, 3, 3), 1 / 9), svconv.EFFGrid((32, 48), (2, 3)))
    >>> A
    EFFBlur([1, 6, 3, 3], 2x3 patches of 22x24 on 32x48, form='scatter', padding='zeros', float32)
    >>> A(torch.ones(1, 3, 32, 48)).shape, A.T @ A @ torch.ones(1, 1, 32, 48) is not None
    (torch.Size([1, 3, 32, 48]), True)
    """

    def __init__(self, kernels, grid, *, form="scatter", padding="zeros", cache=True):
        check_grid(grid)
        check_tensor("kernels", kernels)
        if kernels.dim() not in (4, 5) or kernels.shape[-3] != grid.patches or 0 in kernels.shape[-2:]:
            raise ValueError(f"kernels: expected [B|1, C|1, R, kh, kw] or [B|1, R, kh, kw] with R = {grid.patches} of the grid and sides "
                             f">= 1, got {shape_text(kernels)}")
        check_form(form)
        self.kernels, self.grid, self.form, self.padding, self.cache = kernels, grid, form, canonical_padding(padding), bool(cache)
        self.tensors, self._kept = (kernels,), KeptSpectra() if cache else None
        kh, kw = kernels.shape[-2:]
        self.frame = (kernels.shape[0], kernels.shape[1] if kernels.dim() == 5 else 1, *grid.image_size)
        self.reach = (kh - 1 - kh // 2, kh // 2, kw - 1 - kw // 2, kw // 2)

    def _forward(self, x):
        return conv_with_kept(x, self.kernels, self.grid, self.form, self.padding, self._kept)

    def _adjoint(self, y):
        return adjoint_with_kept(y, self.kernels, self.grid, self.form, self.padding, self._kept)

    @property
    def kept_bytes(self):
        """The memory of what is kept of the kernels at this moment."""
        return 0 if self._kept is None else self._kept.bytes

    def light(self):
        """Those of the worst patch."""
        total, size = self._patch_light()
        worst = self._worst(total, size)
        return total.gather(-1, worst).squeeze(-1), size.gather(-1, worst).squeeze(-1)

    def dead_part(self, sample, channel):
        total, size = (t[min(sample, len(t) - 1), min(channel, t.shape[1] - 1)] for t in self._patch_light())
        patch = int(self._worst(total, size))
        if torch.isfinite(size[patch]) and size[patch] > 0 and total[patch] >= 0:
            return ""
        return f"patch {patch}, row {patch // self.grid.grid[1]} and column {patch % self.grid.grid[1]} of the grid"

    def _patch_light(self):
        return sums(with_channels(self.kernels), (3, 4))

    @staticmethod
    def _worst(total, size):
        """Along the last axis the first patch that is not finite, else the first without light, else the one with the least."""
        share = total / size.clamp_min(torch.finfo(size.dtype).tiny)
        return torch.where(torch.isfinite(size), torch.where(size == 0, -2, share), -3).argmin(-1, keepdim=True)

    def begin(self, y, beta, prior="identity"):
        sizes = [*zip(self.kernels.shape[-2:], self.grid.image_size)]
        if not isinstance(prior, str):
            sizes += zip(prior.shape[-2:], halo_size(self.grid, self.kernels.shape[-2:]))
        if any(k > n for k, n in sizes):
            return None
        padding = "circular" if self.padding == "circular" else "replicate"
        return eff_image_quotient(y, self.kernels, self.grid, beta=beta, prior=prior, padding=padding)

    def _with(self, kernels, padding):
        if kernels is self.kernels and canonical_padding(padding) == self.padding:
            return self
        return EFFBlur(kernels, self.grid, form=self.form, padding=padding, cache=self.cache)

    def with_tensors(self, tensors):
        return self._with(*tensors, self.padding)

    def with_padding(self, padding):
        return self._with(self.kernels, padding)

    def __repr__(self):
        grid = self.grid
        (rows, columns), (height, width), (h, w) = grid.grid, grid.patch_size, grid.image_size
        return (f"EFFBlur({shape_text(self.kernels)}, {rows}x{columns} patches of {height}x{width} on {h}x{w}, form={self.form!r}, "
                f"padding={self.padding!r}, {str(self.kernels.dtype)[6:]})")
