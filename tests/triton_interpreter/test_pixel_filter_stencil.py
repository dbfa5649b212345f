"""The assembled normal operator of pixel_filter under the interpreter, against the reference."""
import importlib

import pytest
import torch

import svconv
from svconv._boundary import PADDINGS
from svconv.ops.pixel_filter_stencil import GramStencil, values
from svconv.reference import pixel_filter as reference

# relative to the largest |value|: roundings of the sums, or one of the storage type (the interpreter truncates to bfloat16)
TOLERANCE = {torch.float64: 1e-13, torch.float32: 2e-6, torch.float16: 2.0**-11 * 1.01, torch.bfloat16: 2.0**-7 * 1.01}
DOUBLE = torch.float64


@pytest.fixture
def kernels(nan_memory):
    """The kernels; every buffer they allocate is full of NaN."""
    return importlib.import_module("svconv._triton.pixel_filter")


def numbers(*shape, seed=0, dtype=DOUBLE):
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed)).to(dtype)


def close(found, expected):
    assert found.shape == expected.shape and found.is_contiguous()
    assert float((found.double() - expected).abs().max()) <= TOLERANCE[found.dtype] * float(expected.abs().max())


def assembled(kernels, filters, weights, padding, dtype=None):
    lead = filters.shape[:2] if weights is None else torch.broadcast_shapes(filters.shape[:2], weights.shape[:2])
    shape = (*lead, values(*filters.shape[3:5]), *filters.shape[5:])
    found = kernels.pixel_filter_stencil(filters, weights, shape, dtype or filters.dtype, padding)
    close(found, reference.pixel_filter_stencil(filters.double(), None if weights is None else weights.double(), shape, DOUBLE, padding))
    return found


def applied(kernels, x, stencil, side, padding):
    found = kernels.pixel_filter_stencil_apply(x, stencil, side, padding)
    close(found, reference.pixel_filter_stencil_apply(x.double(), stencil.double(), side, padding))
    return found


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("side, hw", [((3, 3), (3, 2)), ((2, 3), (2, 1)), ((1, 4), (1, 2))], ids=str)
def test_equals_reference(kernels, padding, side, hw):
    """Even sides, windows larger than the image."""
    assembled(kernels, numbers(1, 1, 1, *side, *hw), numbers(1, 1, 1, *hw, seed=1).abs(), padding)
    if padding in ("zeros", "circular"):
        applied(kernels, numbers(2, 1, *hw), numbers(1, 1, values(*side), *hw, seed=2), side, padding)


def test_one_tap_and_one_pixel(kernels):
    for padding in PADDINGS:
        stencil = assembled(kernels, numbers(1, 1, 2, 1, 1, 1, 1), None, padding)
    applied(kernels, numbers(1, 1, 1, 1), stencil, (1, 1), "zeros")


@pytest.mark.parametrize("padding", ["zeros", "symmetric"])
def test_it_is_the_normal_operator(kernels, padding):
    x, filters = numbers(1, 1, 3, 5), numbers(1, 1, 2, 2, 3, 3, 5)
    A = GramStencil(filters, padding=padding, backend="triton")
    close(A(x), svconv.pixel_filter_gram(x, filters, padding=padding, backend="reference"))


@pytest.mark.parametrize("side, hw", [((1, 2), (6, 65)), ((2, 1), (13, 64))], ids=str)
def test_tiles(kernels, side, hw):
    """Tiles are 64 x 4; the second image has one that reads nothing from outside."""
    for padding in ("zeros", "replicate"):
        assembled(kernels, numbers(1, 1, 1, *side, *hw), None, padding)
    applied(kernels, numbers(1, 1, *hw), numbers(1, 1, values(*side), *hw, seed=2), side, "circular")


def test_more_offsets_than_a_program_sums(kernels):
    assembled(kernels, numbers(1, 1, 1, 1, 6, 1, 9), None, "reflect")
    applied(kernels, numbers(1, 1, 1, 24), numbers(1, 1, values(1, 11), 1, 24, seed=2), (1, 11), "zeros")


@pytest.mark.parametrize("lead", [(1, 1), (2, 1), (1, 5), (2, 5)], ids=str)
def test_shared_filters_weights_and_stencils(kernels, lead):
    """Groups of channels that do not come out even."""
    filters, weights = numbers(*lead, 2, 1, 2, 3, 4), numbers(1, 5, 2, 3, 4, seed=1).abs()
    assembled(kernels, filters, weights, "zeros")
    applied(kernels, numbers(2, 5, 3, 4), assembled(kernels, filters, None, "circular"), (1, 2), "circular")


@pytest.mark.parametrize("filters_dtype, dtype", [
    (torch.float32, torch.float32), (torch.float16, torch.float16), (torch.bfloat16, torch.bfloat16), (torch.float32, torch.bfloat16),
    (torch.bfloat16, torch.float32)], ids=str)
def test_dtypes(kernels, filters_dtype, dtype):
    filters, weights = numbers(1, 1, 2, 1, 3, 4, 5, dtype=filters_dtype), numbers(1, 1, 2, 4, 5, seed=1, dtype=torch.float32).abs()
    for padding in ("zeros", "symmetric"):
        stencil = assembled(kernels, filters, weights, padding, dtype)
    for image in {torch.float32, dtype}:
        assert applied(kernels, numbers(1, 2, 4, 5, dtype=image), stencil, (1, 3), "zeros").dtype == image


def test_strides(kernels):
    """Permuted filters, a sliced image, expanded weights: no copies, same bits."""
    filters, weights = numbers(1, 2, 2, 2, 2, 4, 5), numbers(1, 1, 1, 1, 5, seed=1).abs().expand(1, 1, 2, 4, 5)
    plain = assembled(kernels, filters, weights.contiguous(), "zeros")
    permuted = filters.permute(6, 4, 2, 0, 1, 3, 5).contiguous().permute(3, 4, 2, 5, 1, 6, 0)
    assert not permuted.is_contiguous() and torch.equal(assembled(kernels, permuted, weights, "zeros"), plain)
    x, wide = numbers(1, 2, 4, 5), torch.full((1, 2, 8, 11), float("nan"), dtype=DOUBLE)
    wide[:, :, ::2, 1::2] = x
    y = applied(kernels, x, plain, (2, 2), "zeros")
    assert torch.equal(applied(kernels, wide[:, :, ::2, 1::2], plain.transpose(0, 1).contiguous().transpose(0, 1), (2, 2), "zeros"), y)


@pytest.mark.parametrize("batch, channels, m", [(0, 2, 1), (1, 0, 1), (1, 1, 0)])
def test_empty(kernels, batch, channels, m):
    filters = torch.ones(batch, channels, m, 1, 2, 2, 3)
    for padding in ("zeros", "replicate"):
        found = kernels.pixel_filter_stencil(filters, None, (batch, channels, 2, 2, 3), torch.float32, padding)
        assert found.shape == (batch, channels, 2, 2, 3) and not found.any()
    assert not kernels.pixel_filter_stencil_apply(torch.ones(batch, channels, 2, 3), found, (1, 2), "zeros").any()


def test_strides_beyond_32_bits(kernels):
    """Offsets are 64-bit: plane and tap strides of more than 2^31 elements, of which only a few pages are touched."""
    memory, half = torch.UntypedStorage(2 * (2**32 + 200)), torch.tensor([], dtype=torch.float16)
    filters = half.new_empty(0).set_(memory, 0, (1, 1, 1, 3, 1, 4, 5), (0, 0, 0, 2**31 + 40, 1, 5, 1))
    filters.copy_(numbers(*filters.shape, dtype=torch.float16))
    assembled(kernels, filters, None, "zeros")
    x = half.new_empty(0).set_(memory, 0, (1, 3, 4, 5), (1, 2**31 + 40, 7, 1))
    x.copy_(numbers(1, 3, 4, 5, dtype=torch.float16))
    applied(kernels, x, numbers(1, 1, 13, 4, 5, dtype=torch.float16), (3, 3), "circular")
