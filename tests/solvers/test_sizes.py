"""Every classical solver with every border on empty, tiny and odd images, and on composite operators."""
import pytest
import torch

from scenes import blur_kernel
from svconv import Conv, PixelFilter, solvers

BORDERS = ("mask", "taper", "replicate", None)
SOLVERS = {
    "irls": lambda op, y, border: solvers.irls(op, y, border=border, cg_iter=10),
    "richardson_lucy": lambda op, y, border: solvers.richardson_lucy(op, y, max_iter=3, border=border),
    "wiener": lambda op, y, border: solvers.wiener(op, y, beta=0.1, border=border),
    "hyper_laplacian": lambda op, y, border: solvers.hyper_laplacian(y, op.kernel, border=border),
}


@pytest.mark.parametrize("name", list(SOLVERS))
@pytest.mark.parametrize("border", BORDERS)
def test_empty_and_small_images(name, border):
    for shape in ((0, 1, 8, 8), (1, 0, 8, 8), (1, 1, 3, 3), (2, 3, 5, 4)):
        x = SOLVERS[name](Conv(blur_kernel(3)), torch.rand(shape), border).x
        assert x.shape == shape and x.isfinite().all()


@pytest.mark.parametrize("name", ["irls", "richardson_lucy", "wiener"])
@pytest.mark.parametrize("border", BORDERS)
def test_composite_operators(name, border):
    F, K = PixelFilter(torch.rand(1, 3, 2, 12, 13) / 6), Conv(blur_kernel(3), "reflect")
    y = torch.rand(2, 2, 12, 13)
    for op in (F @ K, F.T, 0.5 * F, F + 0.1 * K, K @ K):
        x = SOLVERS[name](op, y, border).x
        assert x.shape == y.shape and x.isfinite().all()


def test_channels_last_images():
    y = torch.rand(1, 3, 16, 17)
    for name, solve in SOLVERS.items():
        x = solve(Conv(blur_kernel(3), "replicate"), y.contiguous(memory_format=torch.channels_last), None).x
        torch.testing.assert_close(x, solve(Conv(blur_kernel(3), "replicate"), y, None).x, rtol=0, atol=1e-5, msg=name)
        assert x.is_contiguous()
