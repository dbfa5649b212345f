"""A kernel per patch as a linear operator."""
from svconv._boundary import canonical_padding
from svconv._eff_grid import halo_size
from svconv._shapes import check_tensor, shape_text
from svconv.operators.base import Operator
from svconv.ops import eff_conv, eff_conv_adjoint, eff_image_quotient
from svconv.ops.eff import check_form, check_grid


class EFFBlur(Operator):
    """Overlapping windowed patches, each with its own kernel: `y = sum_r conv(w_r x, k_r)` or `sum_r w_r conv(x, k_r)` as an operator.

    `svconv.solvers.wiener` goes from `svconv.eff_image_quotient` to the minimiser.

    Args:
        kernels: [B|1, C|1, R, kh, kw], or [B|1, R, kh, kw] shared by the channels; centre k//2; held, not copied.
        grid: an `EFFGrid`, which fixes the size of the image.
        form: "scatter" (the kernel belongs to the input pixel) or "gather" (to the output pixel).
        padding: "zeros", "replicate", "reflect", "symmetric" or "circular".
        cache: keep what a backend can prepare of the kernels between calls; changes of the kernels in place are seen.

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
        self.tensors = (kernels,)
        kh, kw = kernels.shape[-2:]
        self.frame = (kernels.shape[0], kernels.shape[1] if kernels.dim() == 5 else 1, *grid.image_size)
        self.reach = (kh - 1 - kh // 2, kh // 2, kw - 1 - kw // 2, kw // 2)

    def _forward(self, x):
        return eff_conv(x, self.kernels, self.grid, form=self.form, padding=self.padding)

    def _adjoint(self, y):
        return eff_conv_adjoint(y, self.kernels, self.grid, form=self.form, padding=self.padding)

    def begin(self, y, beta, prior="identity"):
        sizes = [*zip(self.kernels.shape[-2:], self.grid.image_size)]
        if not isinstance(prior, str):
            sizes += zip(prior.shape[-2:], halo_size(self.grid, self.kernels.shape[-2:]))
        if any(k > n for k, n in sizes):
            return None
        padding = "circular" if self.padding == "circular" else "replicate"
        return eff_image_quotient(y, self.kernels, self.grid, beta=beta, prior=prior, padding=padding)

    def _with(self, kernels, padding):
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
