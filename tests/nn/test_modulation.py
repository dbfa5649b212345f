"""Modulation: both forms against the formula, sizes of the map, counts, gradients, bad input."""
import pytest
import torch
from torch.nn import functional

from svconv.nn import Modulation

FORMS = (False, True)


def block(channels=4, width=6, plain=False, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    return Modulation(channels, width=width, plain=plain).to(dtype)


def features(*shape, dtype=torch.float64, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def by_formula(module, h, z):
    """With loops over the layers written out, the nearest neighbour by indices, and the largest singular value by SVD."""
    rows, columns = (torch.arange(n) * m // n for n, m in zip(h.shape[-2:], z.shape[-2:]))
    z = z[:, :, rows][..., columns].expand(h.shape[0], -1, -1, -1)
    p = dict(module.named_parameters())

    def conv(name, x):
        weight = p[f"{name}.weight"]
        return functional.conv2d(x, weight, p[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def leaky(x):
        return torch.where(x > 0, x, 0.2 * x)

    if module.plain:
        u = conv("shared.0", z).clamp_min(0)
        normalised = (h - h.mean((0, 2, 3), keepdim=True)) / (h.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    else:
        u, normalised = torch.cat([h, z], 1), h
        for n in (0, 2, 4):
            u = leaky(conv(f"shared.{n}", u))
    m = normalised * (1 + conv("gamma", u)) + conv("beta", u)
    weight = p["last.parametrizations.weight.original"]
    weight = weight / torch.linalg.matrix_norm(weight.flatten(1), 2)
    return h + functional.conv2d(leaky(m), weight, p["last.bias"], padding=1)


@pytest.mark.parametrize("plain", FORMS)
@pytest.mark.parametrize("size, of_map, maps", [((8, 8), (4, 4), 2), ((7, 9), (4, 4), 2), ((4, 5), (8, 10), 1), ((6, 6), (6, 6), 1),
                                                ((1, 3), (2, 2), 2)])
def test_it_is_the_formula(plain, size, of_map, maps):
    module = block(plain=plain)
    h, z = features(2, 4, *size), features(maps, 4, *of_map, seed=2)
    with torch.no_grad():
        for _ in range(300):
            found = module(h, z)        # power iteration goes on with every call in training mode
        torch.testing.assert_close(found, by_formula(module, h, z), rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels, count", [(64, 414_208), (128, 770_816), (256, 1_754_368), (512, 4_802_816)])
def test_it_has_the_papers_parameters(channels, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in Modulation(channels).parameters()) == count


@pytest.mark.parametrize("channels", [64, 512])
def test_the_plain_form_has_three_layers_and_the_last_one(channels):
    with torch.device("meta"):
        found = sum(p.numel() for p in Modulation(channels, plain=True).parameters())
    assert found == 9 * channels * 128 + 128 + 2 * (9 * 128 * channels + channels) + 9 * channels**2 + channels


@pytest.mark.parametrize("plain", FORMS)
def test_gradients(plain):
    module = block(channels=2, width=3, plain=plain).eval()
    h, z = features(2, 2, 3, 4).requires_grad_(), features(1, 2, 2, 2, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(module, (h, z))
    module(h, z).square().sum().backward()
    assert all(bool(p.grad.any()) for p in module.parameters())


@pytest.mark.parametrize("plain", FORMS)
def test_in_eval_mode_nothing_moves(plain):
    module = block(plain=plain, dtype=torch.float32)
    h, z = features(2, 4, 6, 6, dtype=torch.float32), features(2, 4, 3, 3, dtype=torch.float32)
    module.train()(h, z)
    module.eval()
    before = {name: t.clone() for name, t in module.state_dict().items()}
    assert torch.equal(module(h, z), module(h, z))
    assert all(torch.equal(t, before[name]) for name, t in module.state_dict().items())


def test_half_types():
    h, z = features(1, 4, 8, 8, dtype=torch.float32), features(1, 4, 4, 4, dtype=torch.float32)
    module = block(dtype=torch.float32).eval()
    with torch.no_grad():
        expected = module(h, z)
        found = module.bfloat16()(h.bfloat16(), z.bfloat16())
    assert found.dtype == torch.bfloat16 and float((found - expected).abs().max()) < 0.1


@pytest.mark.parametrize("bad, text", [(dict(channels=0), "channels"), (dict(channels=4, width=0), "width")])
def test_bad_settings_are_named(bad, text):
    with pytest.raises(ValueError, match=f"^{text}: "):
        Modulation(**bad)


@pytest.mark.parametrize("h, z, error, text", [
    (features(1, 3, 8, 8), features(1, 4, 4, 4), ValueError, "^h: expected 4 at axis 1"),
    (features(1, 4, 8, 8), features(1, 3, 4, 4), ValueError, "^degradation: expected 4 at axis 1"),
    (features(2, 4, 8, 8), features(3, 4, 4, 4), ValueError, "^degradation: expected a batch of 1 or that of h, = 1 or 2"),
    (features(1, 4, 8, 8), features(4, 4, 4), ValueError, "^degradation: expected"),
    (features(1, 4, 8, 8).int(), features(1, 4, 4, 4), TypeError, "^h: expected dtype"),
])
def test_bad_input_is_named(h, z, error, text):
    with pytest.raises(error, match=text):
        block()(h, z)


def test_its_settings_are_shown():
    assert repr(Modulation(4, width=8, plain=True)).startswith("Modulation(\n  4, width=8, plain=True\n")
