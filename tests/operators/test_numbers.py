"""Operators and numbers: norms of any magnitude, the light of PSFs, precisions, factors that are NumPy scalars or 0-d tensors."""
import numpy as np
import pytest
import torch

from svconv import Conv, Identity, PixelFilter, stack
from svconv._boundary import PADDINGS
from svconv.operators import EXAMPLES, Operator

F64 = torch.float64


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("dtype, scales", [(torch.float32, (1e-30, 1e-25, 1e-15, 1e-7, 1e7, 1e15, 1e25)),
                                           (F64, (1e-200, 1e-160, 1e160, 1e200))])
def test_norms_scale_with_the_operator(padding, dtype, scales):
    generator = torch.Generator().manual_seed(0)
    f, k = torch.rand(2, 3, 3, 8, 9, dtype=dtype, generator=generator), torch.rand(1, 1, 4, 3, dtype=dtype, generator=generator)
    for make in (lambda s: PixelFilter(s * f, padding), lambda s: Conv(s * k, padding), lambda s: s * Conv(k, padding),
                 lambda s: PixelFilter(s * f).T, lambda s: Conv(k) @ PixelFilter(s * f, padding), lambda s: s * (Identity() @ Conv(k))):
        expected = make(1.0).norm((8, 9))
        for scale in scales:
            assert make(scale).norm((8, 9)) / scale == pytest.approx(expected, rel=0.01)


def test_the_norm_of_a_batch_is_that_of_its_largest():
    f = torch.rand(3, 3, 3, 8, 8) * torch.tensor([1e-25, 1e-3, 1e-24]).reshape(3, 1, 1, 1, 1)
    assert PixelFilter(f).norm() == pytest.approx(PixelFilter(f[1:2]).norm(), rel=0.01)
    assert PixelFilter(0 * f).norm() == 0
    assert np.isnan(PixelFilter(f * float("nan")).norm())


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e120])
def test_the_dot_test_of_any_magnitude(scale, capsys):
    op = scale * Conv(torch.rand(1, 3, 4, dtype=F64), "reflect")
    assert op.certify((8, 9)) < 1e-12 and (op @ PixelFilter(torch.rand(1, 3, 3, 8, 9, dtype=F64))).certify() < 1e-12

    class Wrong(Operator):
        def _forward(self, x):
            return scale * x

        def _adjoint(self, y):
            return 2 * scale * y

    assert Wrong().certify((8, 9)) > 1e-3


def light(op):
    total, size = op.light()
    return [round(float(v), 5) for v in (total.flatten()[0], size.flatten()[0])]


def test_the_light_of_an_operator():
    """(sum, sum of magnitudes), on a scale of its own."""
    psf, filters = torch.full((1, 1, 2, 2), 0.25), torch.full((1, 2, 2, 4, 4), 0.25)
    differences = Conv(torch.tensor([[[[-1.0, 1.0]]]]))
    K = Conv(psf)
    assert light(K) == light(K.T) == light(K @ K) == light(K.T @ K) == light(Identity()) == [1, 1]
    assert light(-2 * K) == [-2, 2] and light(torch.tensor([-2.0]) * K) == [-2, 2] and light(0 * K) == [0, 0]
    assert light(differences) == [0, 2] and light(differences.T @ differences)[0] > 0
    assert light(K - 3 * K)[0] > 0 and light(K - 3 * K)[1] == 4 and light(-K + -K) == [-2, 2]
    assert light(PixelFilter(filters)) == [16, 16] and light(PixelFilter(-filters)) == [-16, 16]
    assert light(PixelFilter(-filters[:, None, None])) == [16, 16]      # a bank of filters
    assert light(K.kept((8, 8))) == [1, 1] and light(stack([K, 0 * K])) == [1, 1]
    for value in (float("nan"), float("inf")):
        for op in (Conv(psf * value), PixelFilter(filters * value), PixelFilter(filters[:, None, None] * value), K @ Conv(psf * value),
                   K + Conv(psf * value), 2 * Conv(psf * value), stack([K, Conv(psf * value)]), Conv(psf.half() * value)):
            assert not np.isfinite(light(op)[1])
    assert light(Conv(torch.full((1, 1, 200, 200), 600.0, dtype=torch.float16)))[0] == 24e6       # beyond the largest float16
    two = Conv(torch.cat([psf, 0 * psf])).light()[0]
    assert two.shape == (2, 1) and two.flatten().tolist() == [1, 0]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)
def test_every_example_has_light_and_one_precision(example):
    for padding in PADDINGS:
        op = example.make(padding)
        total, size = op.light()
        assert total.dim() == size.dim() == 2 and torch.isfinite(size).all() and (total.abs() <= size * (1 + 1e-9)).all()
        assert op.misfit(F64) is None and op.misfit(torch.float32) == F64 and op.to(torch.float32).misfit(F64) == torch.float32
        assert isinstance(op.wraps, bool) and (not op.wraps or padding == "circular" or not any(op.reach))


def test_filters_of_half_a_type_may_stand_beside_float32():
    F, K = PixelFilter(torch.zeros(1, 3, 3, 8, 8).bfloat16()), Conv(torch.zeros(1, 3, 3).bfloat16())
    assert F.misfit(torch.float32) is None and (2 * F.T).misfit(torch.float32) is None and K.misfit(torch.float32) == torch.bfloat16
    assert (F @ K).misfit(torch.float32) == torch.bfloat16 and F.misfit(F64) == F.misfit(torch.float16) == torch.bfloat16


class Shade(Operator):
    """An operator of one's own with an index beside its factors."""

    def __init__(self, factors, index):
        self.tensors, self.frame = (factors, index), (1, 1, None, None)

    def _forward(self, x):
        return x * self.tensors[0][self.tensors[1]]

    _adjoint = _forward


def test_an_operator_of_ones_own():
    index = torch.tensor(1)
    assert light(Shade(torch.tensor([1.0, 5.0]), index)) == [1, 1] and np.isnan(light(Shade(torch.tensor([float("inf"), 1]), index))[1])
    assert Shade(torch.ones(2), index).misfit(torch.float32) is None and Shade(torch.ones(2), index).misfit(F64) == torch.float32
    assert not Shade(torch.ones(2), index).wraps


@pytest.mark.parametrize("two", [np.uint8(2), np.float16(2), np.array(2), np.array(2, np.uint8), torch.tensor(2),
                                 torch.tensor(2, dtype=torch.uint8)])
def test_factors(two):
    x = torch.rand(1, 1, 4, 4)
    for op, factor in ((two * Identity(), 2), (Identity() * two, 2), (Identity() / two, 0.5), (-(two * Identity()), -2),
                       (Identity() / (two + 1), 1 / 3)):
        torch.testing.assert_close(op(x), factor * x)
    assert torch.equal((np.array(0) + Identity())(x), x)
    with pytest.raises(TypeError, match="factor: expected a number"):
        torch.tensor(True) * Identity()


def test_shapes_are_whole_numbers():
    assert Conv(torch.ones(1, 3, 3)).input_shape((np.uint8(8), torch.tensor(9))) == (1, 1, 8, 9)
    with pytest.raises(ValueError, match="shape: expected an integer, got 8.5"):
        Conv(torch.ones(1, 3, 3)).norm((8.5, 9))
