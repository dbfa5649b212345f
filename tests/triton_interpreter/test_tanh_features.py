"""The Triton kernels of tanh_features under the interpreter, against the reference."""
import importlib

import pytest
import torch

from svconv import backends
from svconv.ops.tanh_features import _bwd, tanh_features
from svconv.reference import tanh_features as reference

# relative to the largest |value|: roundings of sums over taps, maps and pixels, or one of the storage type (bfloat16 is truncated)
TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-5, torch.float16: 2.0**-11 * 1.1, torch.bfloat16: 2.0**-7 * 1.1}
DOUBLE = torch.float64
NAMES = ("x", "latent", "filters", "hidden", "biases", "last")
#        batch, channels, latent, height, width, filters, side, hidden, outputs
SHAPES = [(2, 1, 1, 5, 7, 3, 3, 1, 2), (1, 2, 0, 3, 4, 5, 1, 0, 3), (1, 1, 0, 1, 2, 17, 5, 2, 1), (1, 2, 1, 1, 1, 4, 3, 1, 17)]


@pytest.fixture
def kernels(nan_memory):
    """The kernels; every buffer they allocate is full of NaN."""
    return importlib.import_module("svconv._triton.tanh_features")


def case(b, c, more, h, w, number, k, depth, o, bias=True, dtype=DOUBLE):
    """x, latent, filters, hidden, biases, last and an upstream gradient."""
    g = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, dtype=DOUBLE, generator=g).to(dtype)

    return [draw(b, c, h, w), draw(b, more, h, w) if more else None, draw(number, c + more, k, k) / k, draw(depth, number, number) * 0.3,
            draw(depth + 1, number) if bias else None, draw(o, number)], draw(b, o, h, w)


def close(found, expected, tolerance):
    assert found.shape == expected.shape and found.is_contiguous()
    if expected.numel():
        assert float((found.double() - expected).abs().max()) <= tolerance * float(expected.abs().max())


def check(kernels, tensors, g, need=(True,) * 6):
    """Equal to the reference in float64; gradients are sums over all pixels, which take half the digits of the sum's type."""
    wide = [None if t is None else t.double() for t in tensors]
    need = [wanted and t is not None for wanted, t in zip(need, tensors)]
    y, tolerance = kernels.tanh_features_fwd(*tensors), TOLERANCE[g.dtype]
    close(y, reference.tanh_features_fwd(*wide), tolerance)
    found = kernels.tanh_features_bwd(g, *tensors, need)
    expected = reference.tanh_features_bwd(g.double(), *wide, need)
    for name, a, b in zip(NAMES, found, expected, strict=True):
        assert a.dtype == g.dtype, name
        close(a, b, tolerance)
    return y, *found


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_reference(kernels, shape, bias):
    check(kernels, *case(*shape, bias=bias))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_dtypes(kernels, dtype):
    check(kernels, *case(1, 1, 1, 4, 5, 3, 3, 1, 2, dtype=dtype))


def test_several_blocks_and_partial_sums(kernels, monkeypatch):
    """Blocks of 256 and 128 pixels; three programs sum over five blocks, and the taps go in several chunks."""
    monkeypatch.setattr(kernels.backward, "PARTS", 3)
    check(kernels, *case(1, 1, 1, 13, 45, 2, 3, 0, 1))


def test_only_what_is_needed_is_computed(kernels):
    tensors, g = case(*SHAPES[0])
    whole = kernels.tanh_features_bwd(g, *tensors, [True] * 6)
    for i in range(6):
        found = kernels.tanh_features_bwd(g, *tensors, [j == i for j in range(6)])
        assert torch.equal(found[i], whole[i]) and all(t.numel() == 0 for j, t in enumerate(found) if j != i)


def test_strides(kernels):
    tensors, g = case(2, 1, 1, 4, 5, 3, 3, 1, 2)
    plain = check(kernels, tensors, g)
    wide = torch.full((2, 1, 8, 11), float("nan"), dtype=DOUBLE)
    wide[:, :, ::2, 1::2] = tensors[0]
    turned = [t.movedim(0, -1).contiguous().movedim(-1, 0) for t in tensors[2:]]
    strided = check(kernels, [wide[:, :, ::2, 1::2], tensors[1].mT.contiguous().mT, *turned], g.flip(-1).contiguous().flip(-1))
    assert all(torch.equal(a, b) for a, b in zip(strided, plain, strict=True))


def test_tanh_keeps_small_values_and_nan(kernels):
    x = torch.cat([torch.linspace(-1.5, 1.5, 41), torch.logspace(-30, 1.3, 40), torch.tensor([0.0, float("inf"), -float("inf"), 1e30])])
    for dtype, most in ((torch.float32, 3 * 2.0**-23), (DOUBLE, 3 * 2.0**-52)):
        one, given = torch.ones(1, 1, dtype=dtype), x.to(dtype)
        y = kernels.tanh_features_fwd(given[None, None, None], None, one[None, None], one.new_zeros(0, 1, 1), None, one).flatten()
        expected = torch.tanh(given.double())
        assert bool(((y.double() - expected).abs() <= most * expected.abs()).all())
    bad = torch.full((1, 1, 1, 5), 0.5, dtype=DOUBLE)
    bad[..., 4] = float("nan")
    y = kernels.tanh_features_fwd(bad, None, torch.ones(1, 1, 3, 3, dtype=DOUBLE), one.new_zeros(0, 1, 1), None, one)
    assert y.isnan().flatten().tolist() == [False, False, False, True, True]


def test_nothing_in_a_batch(kernels):
    tensors, g = case(0, 1, 1, 4, 5, 3, 3, 1, 2)
    y, *found = check(kernels, tensors, g)
    assert y.shape == (0, 2, 4, 5) and all(t.shape == s.shape and not t.any() for t, s in zip(found, tensors))


def test_gradients_of_the_op():
    tensors, g = case(1, 1, 1, 3, 2, 2, 3, 1, 2, dtype=torch.float32)
    tensors, wide = [t.requires_grad_() for t in tensors], [t.detach().double().requires_grad_() for t in tensors]
    found = torch.autograd.grad(tanh_features(*tensors, backend="triton"), tensors, g)
    for a, b in zip(found, torch.autograd.grad(tanh_features(*wide, backend="reference"), wide, g.double()), strict=True):
        close(a, b, TOLERANCE[torch.float32])


def test_what_no_program_holds_goes_elsewhere():
    tensors, _ = case(1, 1, 0, 2, 3, 65, 1, 0, 1, dtype=torch.float32)
    assert tanh_features(*tensors).shape == (1, 1, 2, 3)
    with pytest.raises(RuntimeError, match="more than 64 maps or 32 outputs"):
        tanh_features(*tensors, backend="triton")
    tensors, g = case(1, 1, 0, 2, 3, 2, 1, 2, 1, bias=False, dtype=torch.float32)
    with pytest.raises(RuntimeError, match="more than one hidden layer exceed the registers"):
        _bwd(g, *tensors, [True, False, True, True, False, True], "triton")
    assert backends.why_not("triton", "tanh_features", "tanh_features_bwd", "cpu") is None
