"""The blur kernel space: counts, shapes, options, gradients, codes of other sizes, weights, bad input."""
import pytest
import torch

from svconv.files import FileError
from svconv.models import BlurKernelSpace
from svconv.models.blur_kernel_space.widened import variational_state


def count(module):
    return sum(p.numel() for p in module.parameters())


def space(variant="paper", variational=False, width=4, dtype=torch.float32):
    torch.manual_seed(0)
    return BlurKernelSpace(variant, variational, width).to(dtype).eval()


def pair(height=128, width=128, channels=3, batch=1, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(batch, channels, height, width, generator=generator, dtype=dtype) for _ in range(2)]


def test_counts_of_the_paper():
    with torch.device("meta"):
        made = BlurKernelSpace()
    assert count(made.sharp_features) == count(made.pair_features) == 814_208
    assert count(made.sharp_features) + count(made.applier) == 14_461_251
    assert count(made.pair_features) + count(made.extractor) == 26_362_944
    assert count(made.extractor) == 25_548_736 and count(made.applier.inner) == 11_835_840 and count(made.applier.post) == 1_811_203
    assert count(made) == 40_824_195


@pytest.mark.parametrize("variational, total, extractor", [(False, 49_205_187, 25_542_656), (True, 115_265_475, 91_602_944)])
def test_counts_of_the_reference(variational, total, extractor):
    with torch.device("meta"):
        made = BlurKernelSpace("reference", variational)
    assert made.pair_features is None and count(made.extractor) == extractor and count(made.applier.inner) == 21_037_120
    assert count(made) == total


def test_every_option_changes_the_model():
    with torch.device("meta"):
        made = {(v, s, w): count(BlurKernelSpace(v, s, w)) for v in ("paper", "reference") for s in (False, True) for w in (4, 5)}
    assert len(set(made.values())) == 8


@pytest.mark.parametrize("variant", ["paper", "reference"])
@pytest.mark.parametrize("height, width, code", [(128, 128, (1, 1)), (129, 300, (2, 3)), (256, 128, (2, 1))])
def test_shapes(variant, height, width, code):
    model, (x, y) = space(variant), pair(height, width)
    with torch.no_grad():
        k = model.encode(x, y)
        assert k.shape == (1, 32, *code) and model.code_shape((height, width)) == (32, *code)
        made = model.blur(x, k)
        assert made.shape == x.shape and torch.equal(made, model(x, y)) and not torch.equal(made, x)
        other = pair(384, 128, batch=2)[0]
        assert model.transfer(x, y, other).shape == other.shape
        assert torch.equal(model.transfer(x, y, x), made)


@pytest.mark.parametrize("variant", ["paper", "reference"])
def test_other_sizes_are_continued_by_replication(variant):
    model, (x, y) = space(variant), pair(140, 131)
    larger = [torch.nn.functional.pad(t, (0, 125, 0, 116), mode="replicate") for t in (x, y)]
    with torch.no_grad():
        assert torch.equal(model.encode(x, y), model.encode(*larger))
        assert torch.allclose(model(x, y), model(*larger)[..., :140, :131], atol=1e-6)


def test_grey_images_are_three_equal_channels():
    model, (x, y) = space(), pair(channels=1)
    with torch.no_grad():
        made = model(x, y)
        coloured = model(x.expand(-1, 3, -1, -1).contiguous(), y.expand(-1, 3, -1, -1).contiguous())
    assert made.shape == x.shape and torch.allclose(made, coloured.mean(1, keepdim=True), atol=1e-6)


@pytest.mark.parametrize("variant", ["paper", "reference"])
def test_gradients_are_finite_differences(variant):
    model, (x, y) = space(variant, dtype=torch.float64), pair(dtype=torch.float64)
    code = model.encode(x, y).detach()
    x.requires_grad_(True), code.requires_grad_(True)
    weight = model.applier.inner.up[0].weight
    generator = torch.Generator().manual_seed(1)
    target = torch.rand(x.shape, generator=generator, dtype=torch.float64)

    def value():
        return (model.blur(x, code) * target).sum()

    gradients = torch.autograd.grad(value(), (x, code, weight))
    for t, gradient in zip((x, code, weight), gradients):
        direction = torch.randn(t.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            step = 1e-6
            t.add_(direction, alpha=step)
            above = value()
            t.add_(direction, alpha=-2 * step)
            below = value()
            t.add_(direction, alpha=step)
        assert float((gradient * direction).sum()) == pytest.approx(float(above - below) / (2 * step), rel=2e-4)
    for gradient in torch.autograd.grad((model(x, y) * target).sum(), model.extractor.parameters()):
        assert bool(gradient.abs().sum() > 0)


def test_the_code_of_a_pair_is_not_lost_in_the_untrained_networks():
    for variant in ("paper", "reference"):
        model = space(variant, width=8)
        x, _ = pair(batch=4)
        y = torch.nn.functional.avg_pool2d(x, 5, 1, 2, count_include_pad=False)
        with torch.no_grad():
            code = model.encode(x, y)
            assert 0.02 < float(code.std()) < 20 and float((code - model.encode(x, x)).square().mean().sqrt()) > 0.1 * float(code.std())


@pytest.mark.parametrize("variant", ["paper", "reference"])
def test_a_variational_space_draws_codes(variant):
    model, (x, y) = space(variant, True), pair()
    with torch.no_grad():
        mean, deviation = model.distribution(x, y)
        assert mean.shape == deviation.shape == (1, 32, 1, 1) and torch.equal(model.encode(x, y), mean)
    codes = model.sample(500, (130, 128), generator=torch.Generator().manual_seed(0))
    assert codes.shape == (500, 32, 2, 1) and float(codes.std()) == pytest.approx(1.2, rel=0.02)
    again = model.sample(500, (130, 128), scale=2.4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(again, 2 * codes) and model.sample(0, 128).shape == (0, 32, 1, 1)
    with torch.no_grad():
        assert model.blur(x, model.sample(1, 128)).shape == x.shape


@pytest.mark.parametrize("variant", ["paper", "reference"])
def test_a_variational_space_begins_with_the_codes_of_a_plain_one(variant):
    plain, wide, (x, y) = space(variant), space(variant, True), pair()
    wide.load_state_dict(variational_state(plain.state_dict(), wide.state_dict()))
    with torch.no_grad():
        assert torch.allclose(wide.encode(x, y), plain.encode(x, y), atol=1e-5)
        assert torch.allclose(wide(x, y), plain(x, y), atol=1e-5)
        assert bool(wide.distribution(x, y)[1].abs().sum() > 0)


def test_one_code_serves_a_batch():
    model, (x, y) = space(), pair(batch=2)
    with torch.no_grad():
        code = model.encode(x[:1], y[:1])
        assert torch.allclose(model.blur(x, code)[1:], model.blur(x[1:], code), atol=1e-6)
        assert torch.equal(model.transfer(x[:1], y[:1], x), model.blur(x, code))


def test_an_empty_batch():
    model, (x, y) = space(), pair(140, 128)
    with torch.no_grad():
        code = model.encode(x[:0], y[:0])
        assert code.shape == (0, 32, 2, 1) and model.blur(x[:0], code).shape == (0, 3, 140, 128)


def test_weights_are_saved_with_the_arguments(tmp_path):
    model, (x, y) = space("reference", True), pair()
    model.save(tmp_path / "space.pt")
    loaded = BlurKernelSpace.load(tmp_path / "space.pt")
    assert loaded.arguments == {"variant": "reference", "variational": True, "width": 4}
    with torch.no_grad():
        assert torch.equal(loaded(x, y), model(x, y))
    (tmp_path / "damaged.pt").write_bytes((tmp_path / "space.pt").read_bytes()[:-100])
    with pytest.raises(FileError, match="damaged.pt"):
        BlurKernelSpace.load(tmp_path / "damaged.pt")


def test_autocast():
    model, (x, y) = space(width=8), pair()
    with torch.no_grad():
        expected = model(x, y)
        with torch.autocast("cpu", torch.bfloat16):
            found = model(x, y)
    assert found.dtype == torch.float32 and torch.allclose(found, expected, atol=0.1)


@pytest.mark.parametrize("call, error, text", [
    (lambda m, x, y: m.encode(x, torch.cat([y, y], 3)), ValueError, r"^y: expected the shape of x"),
    (lambda m, x, y: m.encode(x, y[:, :1]), ValueError, r"^y: expected the shape of x"),
    (lambda m, x, y: m.encode(x[:, :2], y), ValueError, r"^x: expected 3 or 1 channels, got 2"),
    (lambda m, x, y: m.encode(x[..., :100], y), ValueError, r"^x: expected sides of at least 128 pixels, got 128 x 100"),
    (lambda m, x, y: m.encode(x[0], y), ValueError, r"^x: "),
    (lambda m, x, y: m.encode(x, y.double()), TypeError, r"^y: expected torch.float32"),
    (lambda m, x, y: m.encode(x, y * float("nan")), ValueError, r"^y: holds NaN"),
    (lambda m, x, y: m.encode(x / 0, y), ValueError, r"^x: holds NaN or infinite"),
    (lambda m, x, y: m.blur(x, torch.zeros(1, 32, 2, 1)), ValueError, r"^code: expected \[1\|1, 32, 1, 1\]"),
    (lambda m, x, y: m.blur(x, None), ValueError, r"^code: expected"),
    (lambda m, x, y: m.blur(x, torch.zeros(3, 32, 1, 1)), ValueError, r"^code: expected"),
    (lambda m, x, y: m.blur(x, torch.zeros(1, 32, 1, 1).double()), TypeError, r"^code: expected torch.float32"),
    (lambda m, x, y: m.transfer(x, y, x[..., :90, :]), ValueError, r"^to: expected sides of at least 128"),
    (lambda m, x, y: m.transfer(x.expand(2, -1, -1, -1), y.expand(2, -1, -1, -1), x), ValueError, r"^to: expected a batch of 2"),
    (lambda m, x, y: m.sample(1, 128), ValueError, r"^variational: expected True"),
    (lambda m, x, y: m.distribution(x, y), ValueError, r"^variational: expected True"),
    (lambda m, x, y: space(variational=True).sample(1, 100), ValueError, r"^size: "),
    (lambda m, x, y: space(variational=True).sample(1, (128, 128, 3)), ValueError, r"^size: "),
    (lambda m, x, y: space(variational=True).sample(-1, 128), ValueError, r"^n: "),
    (lambda m, x, y: BlurKernelSpace("code"), ValueError, r"^variant: expected 'paper' or 'reference'"),
    (lambda m, x, y: BlurKernelSpace(width=0), ValueError, r"^width: "),
])
def test_bad_input_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call(space(), *pair())
