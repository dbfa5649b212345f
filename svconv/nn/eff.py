"""A layer of the eff family: convolution with a learnable kernel per patch."""
import torch
from torch import nn

from svconv._boundary import canonical_padding
from svconv._form import check_form
from svconv._shapes import number, pair
from svconv.ops import eff_conv
from svconv.ops.eff import check_grid


class EFFConv2d(nn.Module):
    """Convolution whose kernel changes over the image, one learnable kernel per patch of a grid: `svconv.eff_conv`.

    Args:
        grid: an `EFFGrid`, which fixes the size of the image.
        kernel_size: an int or (kh, kw).
        channels: 1 = kernels shared by the channels, otherwise a set for each of so many.
        form, padding: as in `svconv.eff_conv`.
        backend: force a backend.

    forward(x [B, C, H, W]) -> the same shape. The parameter `kernels` [1, channels, R, kh, kw] starts as the identity, one at
    (kh//2, kw//2); after a step of training `layer.kernels.data = svconv.project_kernel(layer.kernels.data)` keeps them kernels of a blur.

    >>> import torch, svconv
    >>> layer = svconv.nn.EFFConv2d(svconv.EFFGrid((32, 48), (2, 3)), 5)
    >>> x = torch.rand(2, 3, 32, 48)
    >>> torch.allclose(layer(x), x, atol=1e-5), {name: tuple(p.shape) for name, p in layer.named_parameters()}
    (True, {'kernels': (1, 1, 6, 5, 5)})
    """

    def __init__(self, grid, kernel_size, *, channels=1, form="scatter", padding="zeros", backend=None):
        super().__init__()
        check_grid(grid)
        check_form(form)
        kh, kw = pair("kernel_size", kernel_size, least=1, integer=True)
        channels = number("channels", channels, least=1, integer=True)
        self.grid, self.form, self.padding, self.backend = grid, form, canonical_padding(padding), backend
        start = torch.zeros(1, channels, grid.patches, kh, kw)
        start[..., kh // 2, kw // 2] = 1
        self.kernels = nn.Parameter(start)

    def forward(self, x):
        return eff_conv(x, self.kernels, self.grid, form=self.form, padding=self.padding, backend=self.backend)

    def extra_repr(self):
        _, channels, _, kh, kw = self.kernels.shape
        return f"{self.grid!r}, kernel_size=({kh}, {kw}), channels={channels}, form={self.form!r}, padding={self.padding!r}"
