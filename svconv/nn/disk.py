"""A layer of the disk family: defocus with a radius per pixel."""
from torch import nn

from svconv._boundary import canonical_padding
from svconv._form import check_form
from svconv.ops import disk_blur, disk_blur_adjoint
from svconv.ops.disk import most


class DiskBlur(nn.Module):
    """Blurs every pixel by a disk of its own radius as a layer: `svconv.disk_blur`, or its exact transpose.

    Args:
        form, padding, max_radius: as in `svconv.disk_blur`.
        adjoint: apply the transpose instead.
        backend: force a backend.

    forward(x [B, C, H, W], radius [B|1, 1|C, H, W]) -> like x; there are no parameters. Gradients reach x and the network that made the
    radii.

    >>> import torch, svconv
    >>> layer = svconv.nn.DiskBlur(form="scatter")
    >>> radius = torch.full((1, 1, 8, 8), 1.5, requires_grad=True)
    >>> layer(torch.rand(2, 3, 8, 8), radius).sum().backward()
    >>> radius.grad.shape
    torch.Size([1, 1, 8, 8])
    """

    def __init__(self, *, form="gather", padding="replicate", max_radius=None, adjoint=False, backend=None):
        super().__init__()
        check_form(form)
        most("max_radius", max_radius)
        self.form, self.padding, self.max_radius = form, canonical_padding(padding), max_radius
        self.adjoint, self.backend = adjoint, backend

    def forward(self, x, radius):
        function = disk_blur_adjoint if self.adjoint else disk_blur
        return function(x, radius, form=self.form, padding=self.padding, max_radius=self.max_radius, backend=self.backend)

    def extra_repr(self):
        limit = "" if self.max_radius is None else f", max_radius={self.max_radius}"
        return f"form={self.form!r}, padding={self.padding!r}{limit}" + (", adjoint=True" if self.adjoint else "")
