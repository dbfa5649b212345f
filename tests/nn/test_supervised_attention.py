"""SupervisedAttention: against its formula, gradients, half types, bad input."""
import pytest
import torch
from torch.nn import functional

from svconv.nn import SupervisedAttention


def inputs(height, width, channels=4, images=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, n, height, width, dtype=torch.float64, generator=generator).to(dtype) for n in (channels, images))


def attention(channels=4, images=3, dtype=torch.float64):
    torch.manual_seed(1)
    return SupervisedAttention(channels, images).to(dtype)


@pytest.mark.parametrize("height, width, images", [(6, 6, 3), (5, 8, 1), (1, 1, 3), (1, 4, 2)])
def test_it_is_the_formula(height, width, images):
    module, (features, image) = attention(images=images), inputs(height, width, images=images)
    weights = [(layer.weight, layer.bias) for layer in (module.to_image, module.gate, module.passed)]
    to_image, gate, passed = (lambda x, w=w, b=b: functional.conv2d(x, w, b, padding=1) for w, b in weights)
    expected_image = to_image(features) + image
    expected = passed(features) / (1 + torch.exp(-gate(expected_image))) + features
    found, found_image = module(features, image)
    torch.testing.assert_close(found_image, expected_image, rtol=0, atol=1e-12)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_gradients():
    module = attention(channels=2, images=1)
    features, image = (t.requires_grad_() for t in inputs(3, 2, channels=2, images=1))
    assert torch.autograd.gradcheck(module, (features, image))
    assert torch.autograd.gradgradcheck(module, (features, image))
    sum(t.square().sum() for t in module(features, image)).backward()
    assert all(bool(p.grad.any()) for p in module.parameters())


def test_half_types():
    module, pair = attention(dtype=torch.float32), inputs(8, 8, dtype=torch.float32)
    with torch.no_grad():
        expected = module(*pair)
        found = module.bfloat16()(*(t.bfloat16() for t in pair))
    assert all(a.dtype == torch.bfloat16 and float((a - b).abs().max()) < 0.1 for a, b in zip(found, expected))


@pytest.mark.parametrize("bad, text", [(dict(channels=0), "channels"), (dict(channels=4, images=0), "images")])
def test_bad_settings_are_named(bad, text):
    with pytest.raises(ValueError, match=f"^{text}: "):
        SupervisedAttention(**bad)


@pytest.mark.parametrize("change, error, text", [
    (lambda f, i: (f[:, :3], i), ValueError, "^features: expected 4 at axis 1"),
    (lambda f, i: (f, i[:, :2]), ValueError, "^image: expected 3 at axis 1"),
    (lambda f, i: (f, i[..., :-1]), ValueError, "^image: expected W of features"),
    (lambda f, i: (f, i[:1]), ValueError, "^image: expected B of features"),
    (lambda f, i: (f, i.int()), TypeError, "^image: expected dtype"),
])
def test_bad_input_is_named(change, error, text):
    with pytest.raises(error, match=text):
        attention()(*change(*inputs(6, 6)))


def test_its_settings_are_shown():
    assert repr(SupervisedAttention(4)).startswith("SupervisedAttention(\n  4, images=3\n")
