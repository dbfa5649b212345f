"""Solvers know only Operator: what behaves like a Conv is treated like one, and an operator of one's own enters every solver."""
import re
from pathlib import Path

import pytest
import torch

import svconv
from scenes import blur_kernel, photograph, picture, psnr
from svconv import Conv, Identity, PixelFilter, solvers, stack
from svconv.operators import Operator

F64 = torch.float64
BORDERS = ("mask", "taper", "replicate", None)
SOLVERS = {
    "irls": lambda op, y, border: solvers.irls(op, y, border=border, cg_iter=60),
    "richardson_lucy": lambda op, y, border: solvers.richardson_lucy(op, y.clamp_min(0), max_iter=20, border=border),
    "wiener": lambda op, y, border: solvers.wiener(op, y, beta=0.01, border=border),
}
every_solver = pytest.mark.parametrize("name", list(SOLVERS))
every_border = pytest.mark.parametrize("border", BORDERS)


def photo(height=30, width=34, channels=1):
    truth, k = picture(height, width, channels, dtype=F64), blur_kernel(dtype=F64)
    return truth, k, photograph(Conv(k), truth, noise=0.005)


@every_solver
@every_border
@pytest.mark.parametrize("padding", ["circular", "reflect"])
def test_what_is_a_conv_is_solved_as_a_conv(name, border, padding):
    """Multiples, products with the identity, sums of halves and double transposes; results differ by rounding alone."""
    _, k, y = photo()
    K = Conv(k, padding)
    expected = SOLVERS[name](K, y, border)
    turned = Conv(k.flip((-2, -1)), "circular").T if padding == "circular" else None
    for same in (1.0 * K, K @ Identity(), Identity() @ K, 0.5 * K + K / 2, sum([K.T.T, 0 * K]), turned):
        if same is not None:
            found = SOLVERS[name](same, y, border)
            torch.testing.assert_close(found.x, expected.x, rtol=0, atol=1e-6)
            assert found.x.shape == y.shape


@every_border
def test_two_circular_blurs_are_divided_at_once(border):
    truth = picture(30, 34, dtype=F64)
    K, L = Conv(blur_kernel(dtype=F64)), Conv(blur_kernel(3, dtype=F64))
    y = (K @ L)(truth) if border is None else photograph(K @ L, truth, noise=0.002)
    result = solvers.wiener(K @ L, y, beta=2e-3, border=border)
    assert psnr(result.x, truth, 6) > psnr(y, truth, 6) + 2
    assert (result.iterations == 0).all() == (border != "mask")


class Box(Operator):
    """The mean over 3 x 5 pixels with zeros outside: any image size, no boundary rule to choose, no tensors."""

    reach = (1, 1, 2, 2)

    def _forward(self, x):
        wide = torch.nn.functional.pad(x, (2, 2, 1, 1))
        height, width = x.shape[-2:]
        return sum(wide[..., i:i + height, j:j + width] for i in range(3) for j in range(5)) / 15

    _adjoint = _forward

    def lengths(self, size):
        return Conv(torch.ones(1, 3, 5)).lengths(size)

    def __repr__(self):
        return "Box()"


class Shade(Operator):
    """Every pixel times its own factor."""

    def __init__(self, factors):
        self.factors, self.tensors, self.frame = factors, (factors,), tuple(factors.shape)

    def _forward(self, x):
        return self.factors * x

    _adjoint = _forward

    def with_tensors(self, tensors):
        return Shade(*tensors)


class FixedBox(Box):
    """The same blur for images of one size."""

    frame = (1, 1, 30, 34)


def box_conv(padding):
    return Conv(torch.full((1, 1, 3, 5), 1 / 15, dtype=F64), padding)


@every_solver
@every_border
def test_an_operator_of_any_size_of_ones_own(name, border):
    """It has no spectrum to divide by, so that wiener iterates, with differences inside the plane; else it equals the convolution it is."""
    truth, _, _ = photo()
    y = Box()(truth) if border is None else photograph(Box(), truth, noise=0.005)
    found, expected = SOLVERS[name](Box(), y, border), SOLVERS[name](box_conv("zeros"), y, border)
    assert psnr(found.x, truth, 4) > psnr(y, truth, 4) + 1
    divided = name == "wiener" and border in ("taper", "replicate")
    margin, bound = (6, 3e-2) if divided else (0, 1e-3 if name == "wiener" else 1e-6)
    inside = (..., slice(margin, 30 - margin), slice(margin, 34 - margin))
    torch.testing.assert_close(found.x[inside], expected.x[inside], rtol=0, atol=bound)


@every_solver
@every_border
def test_a_diagonal_operator_of_ones_own(name, border):
    truth, k, _ = photo()
    shade = Shade(0.5 + torch.rand(1, 1, 30, 34, dtype=F64))
    for op in (shade, shade @ Conv(k, "replicate"), Conv(k, "replicate") @ shade):
        y = op(truth)
        x = SOLVERS[name](op, y, border).x
        assert psnr(x, truth, 5) > psnr(y, truth, 5) + 3


@every_solver
def test_an_operator_of_one_size_of_ones_own(name):
    """Its rule at the border cannot change: where a solver needs another one it says so."""
    truth = picture(30, 34, dtype=F64)
    y = FixedBox()(truth)
    for border in ("mask", None):
        assert psnr(SOLVERS[name](FixedBox(), y, border).x, truth, 4) > psnr(y, truth, 4) + 1
    with pytest.raises(ValueError, match="border: expected an operator with a circular form"):
        SOLVERS[name](FixedBox(), y, "taper")
    with pytest.raises(ValueError, match=r"padding: Box\(\) has no other boundary rule"):
        SOLVERS[name](FixedBox(), y, "replicate")


@every_solver
def test_several_images_of_one_scene(name):
    truth, k, _ = photo()
    A = stack([Conv(k), Conv(k.mT.contiguous()), PixelFilter(torch.rand(1, 3, 3, 30, 34, dtype=F64) / 4.5)])
    B = stack([Conv(k), Conv(k.mT.contiguous())])
    for op in (A, B):
        for border in ("mask", None):
            x = SOLVERS[name](op, op(truth), border).x
            assert x.shape == truth.shape and psnr(x, truth, 5) > psnr(op(truth)[:, :, 0], truth, 5) + 3


class Swap(Operator):
    """Mixes the channels: each output channel is a mean of two."""

    per_channel = False

    def _forward(self, x):
        return 0.6 * x + 0.4 * x.roll(1, 1)

    def _adjoint(self, y):
        return 0.6 * y + 0.4 * y.roll(-1, 1)


def test_channels_that_an_operator_mixes_are_solved_together():
    truth, k, _ = photo(channels=3)
    op = Conv(k) @ Swap()
    assert not op.per_channel and not (2.0 * op).T.per_channel and Conv(k).per_channel
    y = op(truth)
    result = solvers.irls(op, y, reg=1e-6, reweightings=0, cg_iter=400, border=None)
    assert result.converged.all() and (op(result.x) - y).norm() < 1e-2 * y.norm()


def test_no_solver_asks_which_operator_it_has():
    sources = {path.name: path.read_text() for path in (Path(svconv.__file__).parent / "solvers").glob("*.py")}
    assert len(sources) > 10
    for name, text in sources.items():
        assert not re.search(r"isinstance\([^)]*(Conv|PixelFilter|Circulant|Identity)", text), name
        imported = re.findall(r"^from svconv\.operators.*import (.*)$", text, re.M)
        allowed = {"Operator", "Conv"} if name in ("hyper_laplacian.py", "map_problem.py") else {"Operator"}    # whose argument is a kernel
        assert {n.strip() for line in imported for n in line.split(",") if n.strip()[0].isupper()} <= allowed, name
