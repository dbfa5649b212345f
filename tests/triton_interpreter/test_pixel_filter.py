"""The Triton kernels of pixel_filter under the interpreter, against the reference."""
import importlib

import pytest
import torch

import svconv
from svconv._boundary import PADDINGS
from svconv.reference import pixel_filter as reference

# relative to the largest |value| of the result: a few roundings of the accumulator, or one of the storage type (the interpreter
# truncates to bfloat16, a GPU rounds to nearest)
TOLERANCE = {torch.float64: 1e-13, torch.float32: 2e-6, torch.float16: 2.0**-11 * 1.01, torch.bfloat16: 2.0**-7 * 1.01}


@pytest.fixture
def kernels(nan_memory):
    """The kernels; every buffer they allocate is full of NaN."""
    return importlib.import_module("svconv._triton.pixel_filter")


def tensors(batch, channels, m, kh, kw, height, width, *, shared_b=False, shared_c=False, dtype=torch.float64, filters_dtype=None, seed=0):
    """x, filters, y of random values."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    x = random(batch, channels, height, width).to(dtype)
    filters = random(1 if shared_b else batch, 1 if shared_c else channels, m, kh, kw, height, width).to(filters_dtype or dtype)
    return x, filters, random(batch, channels, m, height, width).to(dtype)


def arguments(op, x, filters, y, padding, weights=None):
    return {"fwd": (x, filters, padding), "adjoint": (y, filters, padding), "gram": (x, filters, weights, padding),
            "gram_bwd_filters": (x, y[:, :, 0] if y.shape[2] else x, filters, weights, padding),
            "bwd_filters": (x, y, tuple(filters.shape), filters.dtype, padding)}[op]


def check(kernels, op, *args):
    """Equal to the reference evaluated in float64, within the roundings of the result's type."""
    result = getattr(kernels, "pixel_filter_" + op)(*args)
    exact = [torch.float64 if isinstance(a, torch.dtype) else a.double() if isinstance(a, torch.Tensor) else a for a in args]
    expected = getattr(reference, "pixel_filter_" + op)(*exact)
    assert result.shape == expected.shape and result.is_contiguous()
    assert result.dtype == (args[3] if op == "bwd_filters" else args[2].dtype if op == "gram_bwd_filters" else args[0].dtype)
    scale = expected.abs().max()
    assert (result.double() - expected).abs().max() <= TOLERANCE[result.dtype] * scale
    return result


OPS = ("fwd", "adjoint", "bwd_filters", "gram", "gram_bwd_filters")


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("shape", [
    dict(batch=2, channels=3, m=2, kh=2, kw=3, height=5, width=7, shared_b=True, shared_c=True),
    dict(batch=1, channels=2, m=1, kh=3, kw=4, height=1, width=1),
    dict(batch=1, channels=1, m=1, kh=5, kw=2, height=2, width=3),
], ids=["shared", "one-pixel", "larger-than-image"])
def test_equals_reference(kernels, op, padding, shape):
    check(kernels, op, *arguments(op, *tensors(**shape), padding))


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype, filters_dtype", [
    (torch.float32, torch.float32), (torch.float16, torch.float16), (torch.bfloat16, torch.bfloat16),
    (torch.float32, torch.bfloat16), (torch.float32, torch.float16)], ids=str)
def test_dtypes(kernels, op, dtype, filters_dtype):
    """Half types are accumulated in float32 and rounded once, also where the border terms are added."""
    x, filters, y = tensors(1, 2, 2, 3, 3, 4, 6, dtype=dtype, filters_dtype=filters_dtype)
    check(kernels, op, *arguments(op, x, filters, y, "replicate"))


@pytest.mark.parametrize("width", [127, 128, 129])
@pytest.mark.parametrize("op", OPS)
def test_block_boundaries(kernels, op, width):
    """Tiles are 64 or 128 pixels wide; three rows leave a ragged tile below."""
    check(kernels, op, *arguments(op, *tensors(1, 1, 1, 1, 3, 3, width), "reflect"))


@pytest.mark.parametrize("op", OPS)
def test_interior_tiles(kernels, op):
    """An image with tiles on each side of one that reads nothing from outside (the unchecked path)."""
    check(kernels, op, *arguments(op, *tensors(1, 3, 1, 3, 2, 13, 259, shared_c=True), "circular"))


@pytest.mark.parametrize("op", OPS)
def test_wide_windows(kernels, op):
    """More taps in a row than are unrolled at once."""
    check(kernels, op, *arguments(op, *tensors(1, 1, 1, 1, 19, 2, 12), "symmetric"))


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("channels", [2, 5])
def test_shared_channels_and_batch(kernels, op, channels):
    """Groups of channels that do not come out even, and sums over more (image, channel) pairs than one program holds."""
    check(kernels, op, *arguments(op, *tensors(2, channels, 1, 2, 2, 3, 4, shared_b=True, shared_c=True), "replicate"))
    check(kernels, op, *arguments(op, *tensors(2, channels, 1, 1, 2, 3, 4, shared_b=True), "zeros"))


@pytest.mark.parametrize("op", OPS)
def test_strides(kernels, op):
    """A network head [B, C M k k, H, W] in channels_last through a view, sliced images, expanded weights: no copies, same bits."""
    x, filters, y = tensors(2, 2, 1, 3, 2, 4, 5)
    weights = torch.rand(1, 1, 1, 1, 5, dtype=torch.float64).expand(1, 2, 1, 4, 5)
    head = filters.flatten(1, 4).contiguous(memory_format=torch.channels_last)
    strided = head.view(filters.shape)
    assert strided.data_ptr() == head.data_ptr() and not strided.is_contiguous()
    wide = torch.full((2, 2, 8, 11), float("nan"), dtype=torch.float64)
    wide[:, :, ::2, 1::2] = x
    y_strided = y.permute(4, 3, 2, 1, 0).contiguous().permute(4, 3, 2, 1, 0)
    plain = getattr(kernels, "pixel_filter_" + op)(*arguments(op, x, filters, y, "circular", weights.contiguous()))
    result = check(kernels, op, *arguments(op, wide[:, :, ::2, 1::2], strided, y_strided, "circular", weights))
    assert torch.equal(result, plain)


def test_strides_beyond_32_bits(kernels):
    """Offsets are 64-bit: a plane stride of more than 2^31 elements, of which only a few pages are touched."""
    x, filters, _ = tensors(1, 2, 1, 1, 2, 2, 3, dtype=torch.float16)
    memory = torch.UntypedStorage(2 * (2**31 + 64))
    far = torch.tensor([], dtype=torch.float16).set_(memory, 0, (1, 2, 2, 3), (0, 2**31, 3, 1))
    far.copy_(x)
    check(kernels, "fwd", far, filters, "replicate")
    check(kernels, "bwd_filters", *arguments("bwd_filters", far, filters, far.unsqueeze(2), "replicate"))
    check(kernels, "adjoint", far.unsqueeze(2), filters, "replicate")


@pytest.mark.parametrize("with_weights", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
def test_gram_in_several_parts(kernels, monkeypatch, dtype, with_weights):
    """Where u = W F x would be large the maps go through one after the other; the sum is still rounded once."""
    monkeypatch.setattr(kernels.gram, "_maps_at_once", lambda x, filters: 2)
    x, filters, y = tensors(1, 2, 3, 2, 3, 3, 4, shared_c=True, dtype=dtype)
    weights = y[:, :1].abs() if with_weights else None
    check(kernels, "gram", x, filters, weights, "symmetric")
    check(kernels, "gram_bwd_filters", x, y[:, :, 0], filters, weights, "symmetric")


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize("channels", [5, 10])
def test_gram_adds_every_channel_once(kernels, channels, padding):
    """Three parts, so that the middle one adds to a sum in place, and groups of channels that do not come out even."""
    x, filters, y = tensors(2, channels, 3, 2, 2, 3, 4, shared_c=True)
    assert kernels.gram._maps_at_once(x, filters) == 1
    check(kernels, "gram", x, filters, None, padding)
    check(kernels, "gram", x, filters, y[:, :1].abs(), padding)
    check(kernels, "gram_bwd_filters", x, y[:, :, 0], filters, None, padding)


def test_gram_workspace(kernels):
    """u stays within a tenth of inputs and outputs, down to one map."""
    x, filters, _ = tensors(1, 1, 5, 3, 3, 16, 16, dtype=torch.float32)
    maps = kernels.gram._maps_at_once(x, filters)
    assert maps == 4 and maps * x.numel() * 4 <= 0.1 * 4 * (filters.numel() + 2 * x.numel())
    assert kernels.gram._maps_at_once(x.expand(1, 64, 16, 16), filters) == 1


@pytest.mark.parametrize("padding", PADDINGS)
def test_adjoint_identity(kernels, padding):
    x, filters, y = tensors(1, 1, 2, 4, 3, 3, 5, seed=3)
    left = (kernels.pixel_filter_fwd(x, filters, padding) * y).sum()
    right = (x * kernels.pixel_filter_adjoint(y, filters, padding)).sum()
    assert abs(left - right) <= 1e-13 * x.norm() * filters.norm() * y.norm()


@pytest.mark.parametrize("op", OPS)
def test_same_bits_twice(kernels, op):
    args = arguments(op, *tensors(1, 3, 1, 2, 3, 3, 5, shared_c=True, dtype=torch.float32), "reflect")
    assert torch.equal(getattr(kernels, "pixel_filter_" + op)(*args), getattr(kernels, "pixel_filter_" + op)(*args))


@pytest.mark.parametrize("padding", ["zeros", "circular"])
def test_nan_stays_in_its_window(kernels, padding):
    x, filters, y = tensors(2, 1, 1, 3, 3, 5, 6)
    x[0, 0, 0, 2] = y[0, 0, 0, 0, 2] = float("nan")
    hit = torch.zeros(2, 1, 5, 6, dtype=torch.bool)
    hit[0, 0, [0, 1] + ([4] if padding == "circular" else []), 1:4] = True
    assert torch.equal(kernels.pixel_filter_fwd(x, filters, padding)[:, :, 0].isnan(), hit)
    assert torch.equal(kernels.pixel_filter_adjoint(y, filters, padding).isnan(), hit)


def test_empty(kernels):
    x, filters, y = tensors(0, 2, 1, 2, 2, 3, 3, shared_b=True)
    assert kernels.pixel_filter_fwd(x, filters, "zeros").shape == (0, 2, 1, 3, 3)
    assert kernels.pixel_filter_adjoint(y, filters, "reflect").shape == (0, 2, 3, 3)
    assert kernels.pixel_filter_gram(x, filters, None, "zeros").shape == (0, 2, 3, 3)
    assert kernels.pixel_filter_bwd_filters(x, y, (1, 2, y.shape[2], 2, 2, *y.shape[3:]), torch.float64, "zeros").eq(0).all()
    assert kernels.pixel_filter_gram_bwd_filters(x, x, filters, None, "zeros").eq(0).all()
    x, filters, y = tensors(1, 2, 0, 2, 2, 3, 3)
    assert kernels.pixel_filter_fwd(x, filters, "zeros").shape == (1, 2, 0, 3, 3)
    assert kernels.pixel_filter_adjoint(y, filters, "reflect").eq(0).all()
    assert kernels.pixel_filter_gram(x, filters, None, "zeros").eq(0).all()


def test_public_op_and_its_gradients():
    """The ops dispatch to these kernels; first and second order on a tiny case."""
    x, filters, _ = (t.requires_grad_() for t in tensors(1, 1, 1, 1, 2, 1, 2))

    def filtered(x, filters):
        return svconv.pixel_filter(x, filters, padding="reflect", backend="triton")

    assert torch.equal(filtered(x, filters), svconv.pixel_filter(x, filters, padding="reflect", backend="reference"))
    assert torch.autograd.gradcheck(filtered, (x, filters))
    assert torch.autograd.gradgradcheck(filtered, (x, filters))
    assert torch.autograd.gradcheck(
        lambda x, filters: svconv.pixel_filter_gram(x, filters, padding="replicate", backend="triton"), (x, filters))
    head = filters.detach().float()[:, 0, 0].bfloat16()
    result = svconv.pixel_filter(x.detach().float(), head, backend="triton")
    assert result.dtype == torch.float32 and result.shape == x.shape
