"""HalfInstanceNorm2d: against its definition, gradients, half types, bad input."""
import pytest
import torch

from svconv.nn import HalfInstanceNorm2d


def planes(*shape, dtype=torch.float64, seed=0):
    return (3 + 2 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))).to(dtype)


def weighted(channels, dtype=torch.float64, **options):
    norm = HalfInstanceNorm2d(channels, **options).to(dtype)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, channels // 2))
        norm.bias.copy_(torch.linspace(-1, 1, channels // 2))
    return norm


@pytest.mark.parametrize("shape", [(2, 6, 5, 7), (1, 5, 4, 4), (3, 2, 1, 9), (2, 4, 1, 1)])
def test_it_is_the_definition(shape):
    x, norm, half = planes(*shape), weighted(shape[1], eps=1e-3), shape[1] // 2
    found = norm(x)
    part = x[:, :half]
    mean, var = part.mean((2, 3), keepdim=True), part.var((2, 3), correction=0, keepdim=True)
    expected = norm.weight[:, None, None] * (part - mean) / (var + 1e-3).sqrt() + norm.bias[:, None, None]
    torch.testing.assert_close(found[:, :half], expected, rtol=1e-10, atol=1e-10)
    assert torch.equal(found[:, half:], x[:, half:])


def test_an_image_does_not_depend_on_the_batch_nor_on_the_mode():
    x, norm = planes(3, 4, 6, 6, dtype=torch.float32), weighted(4, torch.float32)
    found = norm.train()(x)
    torch.testing.assert_close(norm.eval()(x[1:2]), found[1:2], rtol=0, atol=1e-5)
    assert dict(norm.named_buffers()) == {} and set(norm.state_dict()) == {"weight", "bias"}


def test_gradients():
    x, norm = planes(2, 4, 3, 2).requires_grad_(), weighted(4)

    def call(x, weight, bias):
        return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (x,))

    arguments = (x, norm.weight, norm.bias)
    assert torch.autograd.gradcheck(call, arguments)
    assert torch.autograd.gradgradcheck(call, arguments)


@pytest.mark.parametrize("dtype, bound", [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_half_types_are_near_float32(dtype, bound):
    x = planes(2, 4, 16, 16, dtype=dtype)
    with torch.no_grad():
        found, expected = HalfInstanceNorm2d(4).to(dtype)(x), HalfInstanceNorm2d(4)(x.float())
    assert found.dtype == dtype and float((found.float() - expected).abs().max()) < bound


def test_an_empty_batch_stays_one():
    assert weighted(4)(planes(0, 4, 3, 3)).shape == (0, 4, 3, 3)


def test_channels_last_is_the_same():
    x, norm = planes(2, 6, 5, 7), weighted(6)
    torch.testing.assert_close(norm(x.contiguous(memory_format=torch.channels_last)), norm(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("options, text", [(dict(channels=1), "channels: expected an integer >= 2"), (dict(channels=4, eps=0), "eps: ")])
def test_bad_settings_are_named(options, text):
    with pytest.raises(ValueError, match=f"^{text}"):
        HalfInstanceNorm2d(**options)


@pytest.mark.parametrize("x, error, text", [(torch.zeros(1, 5, 8, 8), ValueError, "x: expected 4 at axis 1"),
                                            (torch.zeros(4, 8, 8), ValueError, "x: expected"),
                                            (torch.zeros(1, 4, 8, 8, dtype=torch.int32), TypeError, "x: expected dtype")])
def test_bad_input_is_named(x, error, text):
    with pytest.raises(error, match=text):
        HalfInstanceNorm2d(4)(x)


def test_its_settings_are_shown():
    assert repr(HalfInstanceNorm2d(6)) == "HalfInstanceNorm2d(6, eps=1e-05)"
