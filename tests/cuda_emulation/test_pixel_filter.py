"""The normal operator of per-pixel filters in CUDA C++, run on the CPU, against the reference."""
import pytest
import torch

from cuda_emulation.emulator import ORDERS
from svconv._boundary import PADDINGS
from svconv.backends.cuda import pixel_filter as host
from svconv.reference import pixel_filter as reference

# of the largest |value| of the result: a few roundings of the accumulator, or one of the storage type
TOLERANCE = {torch.float64: 1e-14, torch.float32: 1e-6, torch.float16: 2.0**-11 * 1.01, torch.bfloat16: 2.0**-8 * 1.01}


def tensors(batch, channels, m, side, height, width, *, filters_of=None, weights_of=None, dtype=torch.float64, filters_dtype=None):
    """x, filters and weights of random values; filters_of and weights_of: their images and channels."""
    generator = torch.Generator().manual_seed(1)

    def random(*shape):
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    x = random(batch, channels, height, width).to(dtype)
    filters = random(*(filters_of or (batch, channels)), m, side, side, height, width).to(filters_dtype or dtype)
    return x, filters, random(*weights_of, m, height, width).abs().to(dtype) if weights_of else None


def check(ops, x, filters, weights, padding):
    """Equal to the reference in float64, within the roundings of the result's type."""
    assert ops.why_not("pixel_filter_gram", x, filters, weights, padding) is None
    result = ops.pixel_filter_gram(x, filters, weights, padding)
    expected = reference.pixel_filter_gram(x.double(), filters.double(), None if weights is None else weights.double(), padding)
    assert result.shape == x.shape and result.dtype == x.dtype and result.is_contiguous()
    assert (result.double() - expected).abs().max() <= TOLERANCE[x.dtype] * expected.abs().max()
    return result


SHAPES = {"shared channels": dict(batch=2, channels=3, m=2, side=3, height=17, width=37, filters_of=(2, 1), weights_of=(1, 3)),
          "one pixel": dict(batch=1, channels=2, m=1, side=7, height=1, width=1),
          "smaller than the window": dict(batch=1, channels=1, m=1, side=7, height=2, width=3),
          "whole tiles": dict(batch=1, channels=1, m=2, side=5, height=16, width=64, weights_of=(1, 1)),
          "a window past the tile": dict(batch=1, channels=1, m=1, side=7, height=9, width=33)}


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_reference(emulated, nan_memory, shape, padding):
    check(emulated("pixel_filter"), *tensors(**SHAPES[shape]), padding)


@pytest.mark.parametrize("side", [3, 5, 7])
@pytest.mark.parametrize("dtype, filters_dtype", [
    (torch.float32, torch.float32), (torch.float64, torch.float64), (torch.float16, torch.float16), (torch.bfloat16, torch.bfloat16),
    (torch.float32, torch.bfloat16), (torch.float32, torch.float16)], ids=str)
def test_dtypes(emulated, nan_memory, dtype, filters_dtype, side):
    """Half types are summed in float32 and rounded once, also where tiles overlap and edges fold."""
    arguments = tensors(1, 2, 2, side, 9, 5, filters_of=(1, 1), weights_of=(1, 2), dtype=dtype, filters_dtype=filters_dtype)
    check(emulated("pixel_filter"), *arguments, "reflect")


@pytest.mark.parametrize("batch, channels, filters_of, weights_of", [
    (2, 5, (1, 1), (2, 1)), (5, 2, (1, 2), (5, 1)), (5, 1, (1, 1), (1, 1)), (2, 5, (2, 1), (1, 5)), (2, 2, (2, 2), (2, 2))])
def test_planes_that_read_the_same_filters(emulated, nan_memory, batch, channels, filters_of, weights_of):
    """Images and channels go through a block together, in groups that do not come out even; expanded filters likewise."""
    x, filters, weights = tensors(batch, channels, 2, 3, 5, 6, filters_of=filters_of, weights_of=weights_of)
    result = check(emulated("pixel_filter"), x, filters, weights, "circular")
    expanded = filters.expand(batch, channels, *filters.shape[2:])
    assert torch.equal(check(emulated("pixel_filter"), x, expanded, weights, "circular"), result)


def test_strides(emulated, nan_memory):
    """A network head in channels_last through a view, a sliced image, expanded weights: the same bits, nothing is copied."""
    ops = emulated("pixel_filter")
    x, filters, _ = tensors(2, 2, 1, 3, 4, 5)
    weights = torch.rand(1, 1, 1, 1, 5, dtype=torch.float64).expand(1, 2, 1, 4, 5)
    strided = filters.flatten(1, 4).contiguous(memory_format=torch.channels_last).view(filters.shape)
    wide = torch.full((2, 2, 8, 11), float("nan"), dtype=torch.float64)
    wide[:, :, ::2, 1::2] = x
    assert not strided.is_contiguous()
    plain = ops.pixel_filter_gram(x, filters, weights.contiguous(), "symmetric")
    assert torch.equal(check(ops, wide[:, :, ::2, 1::2], strided, weights, "symmetric"), plain)


def test_strides_beyond_32_bits(emulated):
    """More than 2^31 elements between the rows of every tensor, of which only a few pages are touched."""
    x, filters, weights = tensors(1, 1, 2, 3, 2, 3, weights_of=(1, 1), dtype=torch.float16)

    def far(t):
        strides = [t.stride(axis) for axis in range(t.dim())]
        strides[-2] = 2**31
        view = torch.tensor([], dtype=t.dtype).set_(torch.UntypedStorage(2 * (2**31 + 4096)), 0, t.shape, strides)
        return view.copy_(t)

    check(emulated("pixel_filter"), far(x), far(filters), far(weights), "replicate")


class Counted:
    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, *arguments):
        self.calls += 1
        return self.function(*arguments)


@pytest.mark.parametrize("filters_of, parts", [((3, 2), (6, 2)), ((1, 1), (3, 2)), ((1, 2), (2, 2))])
def test_parts_of_the_planes(emulated, nan_memory, monkeypatch, filters_of, parts):
    """Where the workspace would be large the blocks' planes go through one after the other, or some images at a time: the same bits."""
    arguments = *tensors(3, 2, 1, 3, 4, 40, filters_of=filters_of, weights_of=(3, 1), dtype=torch.float32), "reflect"
    whole = emulated("pixel_filter").pixel_filter_gram(*arguments)
    plane = 2 * 340 * 4
    for spare, number in zip((0, 4 * plane), parts):
        monkeypatch.setattr(host, "SPARE", spare - host_moved(*arguments[:2]) // 10)
        monkeypatch.setattr(host, "_launches", counted := Counted(host._launches))
        assert torch.equal(emulated("pixel_filter").pixel_filter_gram(*arguments), whole)
        assert counted.calls == number
        monkeypatch.undo()


def host_moved(x, filters):
    return filters.numel() * filters.element_size() + 2 * x.numel() * x.element_size()


@pytest.mark.parametrize("shape, channels, side, parts", [
    ((1, 1, 1024, 1024), 1, 7, 1), ((1, 1, 16384, 16384), 1, 3, 1), ((64, 3, 512, 512), 1, 3, 3), ((64, 3, 512, 512), 3, 3, 2),
    ((1, 6, 8192, 8192), 1, 5, 2)])
def test_the_workspace_is_bounded(shape, channels, side, parts):
    """A tenth of what is moved and 16 MiB, or the planes of a block."""
    x = torch.empty(shape, device="meta")
    filters = torch.empty(shape[0], channels, 1, side, side, *shape[2:], device="meta")
    sizes = [len(range(*b.indices(shape[0]))) * len(range(*c.indices(shape[1]))) for b, c in host._parts(x, filters)]
    assert sum(sizes) == shape[0] * shape[1] and len(sizes) == parts
    plane = host._tiles(x) * (8 + side - 1) * (32 + side - 1) * 4
    assert max(sizes) * plane <= (16 << 20) + host_moved(x, filters) / 10 or max(sizes) == host._block(x, filters)[1]


@pytest.mark.parametrize("shape", ["shared channels", "a window past the tile"])
def test_the_order_of_threads_and_blocks_changes_no_bit(emulated, shape):
    arguments = *tensors(**SHAPES[shape], dtype=torch.float32), "circular"
    results = [emulated("pixel_filter", order=order).pixel_filter_gram(*arguments) for order in ORDERS]
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def of_float32(*sides):
    return *(host._gram(torch.float32, torch.float32, side) for side in sides), host._fold(torch.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_under_the_sanitizers(emulated, shape):
    ops = emulated("pixel_filter", "sanitized", "shuffled", of_float32(3, 5, 7))
    check(ops, *tensors(**SHAPES[shape], dtype=torch.float32), "reflect")


def test_no_races(emulated):
    arguments = tensors(1, 2, 2, 3, 3, 33, filters_of=(1, 1), dtype=torch.float32)
    check(emulated("pixel_filter", "threads", kernels=of_float32(3)), *arguments, "symmetric")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("padding", ["zeros", "replicate"])
def test_nan_and_infinity_stay_in_their_windows(emulated, padding, value):
    """Threads beyond the image add nothing, whatever they see of it: no zero of theirs makes NaN of an infinity."""
    x, filters, _ = tensors(1, 1, 1, 3, 9, 33)
    x[0, 0, 8, 32] = value
    expected = torch.zeros(9, 33, dtype=torch.float64)
    expected[6:, 30:] = value
    result = emulated("pixel_filter").pixel_filter_gram(x, filters.abs(), None, padding)[0, 0]
    assert torch.equal(result.where(~result.isfinite(), 0).nan_to_num(7, 8, 9), expected.nan_to_num(7, 8, 9))


def test_empty(emulated, nan_memory):
    ops = emulated("pixel_filter")
    for batch, height, m in ((0, 4, 1), (2, 0, 1), (2, 4, 0)):
        x, filters, _ = tensors(batch, 2, m, 3, height, 4, filters_of=(1, 2))
        assert ops.pixel_filter_gram(x, filters, None, "zeros").equal(torch.zeros_like(x))


def test_what_goes_to_the_next_backend():
    for side in ((1, 1), (4, 4), (3, 5), (31, 31)):
        filters = torch.empty(1, 1, 1, *side, 2, 2)
        assert f"not of {side[0]} x {side[1]}" in host.why_not("pixel_filter_gram", torch.empty(1, 1, 2, 2), filters, None, "zeros")
    x = torch.empty(1, 1, 1, 2**30, device="meta")
    assert "sides above" in host.why_not("pixel_filter_gram", x, torch.empty(1, 1, 1, 3, 3, 1, 2**30, device="meta"), None, "zeros")
    x, filters, _ = tensors(1, 1, 1, 3, 2, 2, filters_dtype=torch.float16)
    assert "filters of torch.float16 beside an image of torch.float64" in host.why_not("pixel_filter_gram", x, filters, None, "zeros")
