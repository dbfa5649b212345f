"""Deep-prior deblurring: counts, options, what each term does, resuming, generators, bad input."""
import pytest
import torch

from svconv.files import FileError
from svconv.models import BlurKernelSpace, deep_prior_deblur
from svconv.models.deep_prior import PRESETS, LossWeights
from svconv.models.deep_prior.code_prior import CodePrior
from svconv.models.deep_prior.image_prior import ImagePrior, NonLocal
from svconv.models.deep_prior.search import one_cycle
from svconv.models.deep_prior.variables import Latent, Network


def count(module):
    return sum(p.numel() for p in module.parameters())


def photograph(seed=0, height=128, width=128, channels=3):
    coarse = torch.rand(1, channels, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")


@pytest.fixture(scope="module")
def space():
    torch.manual_seed(0)
    made = BlurKernelSpace(width=4).eval()
    made.typical.normal_(0, 0.1)
    return made


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch):
    """The published hourglass has 128 channels."""
    from svconv.models.deep_prior import variables

    monkeypatch.setattr(variables, "ImagePrior", lambda: ImagePrior(width=8))


def found(space, y=None, seed=0, **options):
    options = {"steps": 4, "warmup": 2, **options}
    return deep_prior_deblur(photograph() if y is None else y, space, generator=torch.Generator().manual_seed(seed), **options)


def test_counts_of_the_priors():
    with torch.device("meta"):
        assert count(ImagePrior()) == 2_365_779 and count(ImagePrior(non_local=False)) == 2_265_747
        assert count(CodePrior()) == 34_787_264
    assert ImagePrior(8)(torch.zeros(1, 8, 96, 64)).shape == (1, 3, 96, 64)
    assert CodePrior(8)(torch.zeros(1, 8, 64, 32)).shape == (1, 64, 2, 1)


def test_the_non_local_block_is_its_formula():
    block, x = NonLocal(4).double().eval(), torch.randn(2, 4, 6, 8, dtype=torch.float64)
    assert torch.equal(block(x), x)
    torch.nn.init.ones_(block.norm.weight)
    q, k, v = (layer(x) for layer in (block.theta, block.phi, block.g))
    k, v = (torch.nn.functional.max_pool2d(t, 2).flatten(2) for t in (k, v))
    said = torch.einsum("bcp,bck,bdk->bdp", q.flatten(2), k, v).reshape(2, 2, 6, 8) / k.shape[-1]
    assert torch.allclose(block(x), x + block.back(said) / (1 + block.norm.eps) ** 0.5)


def test_gradients_reach_the_weights_of_both_priors():
    torch.manual_seed(0)
    space, image, code = BlurKernelSpace(width=4).double(), ImagePrior(4).double(), CodePrior(4).double()
    generator = torch.Generator().manual_seed(0)
    noises = [0.1 * torch.rand(shape, generator=generator, dtype=torch.float64) for shape in ((1, 8, 128, 128), (1, 4, 32, 32))]
    target = torch.rand(1, 3, 128, 128, generator=generator, dtype=torch.float64)

    def value():
        return (space.blurred(image(noises[0]), code(noises[1])) * target).sum()

    for weight in (image.last.weight, image.level.up[1][0].weight, image.level.below.down[0][0].weight, code.layers[0].weight,
                   code.layers[-1].second.weight):
        gradient, = torch.autograd.grad(value(), weight)
        direction = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            weight.add_(direction, alpha=1e-7)
            above = value()
            weight.add_(direction, alpha=-2e-7)
            below = value()
            weight.add_(direction, alpha=1e-7)
        assert float((gradient * direction).sum()) == pytest.approx(float(above - below) / 2e-7, rel=2e-3)


@pytest.mark.parametrize("options", [{}, {"mode": "alternating"}, {"image_prior": "pixels"},
                                     {"image_prior": "pixels", "mode": "alternating"}, {"weights": "paper"}, {"precision": "bfloat16"}])
def test_forms(space, options):
    result = found(space, **options)
    assert result.x.shape == (1, 3, 128, 128) and result.code.shape == (1, 32, 1, 1) and result.losses.shape == (1, 4)
    assert result.done and torch.isfinite(result.losses).all() and 0 <= float(result.x.min()) and float(result.x.max()) <= 1
    again = found(space, **options)
    assert torch.equal(result.x, again.x) and torch.equal(result.losses, again.losses)
    assert not torch.equal(result.losses, found(space, seed=1, **options).losses) or options.get("image_prior") == "pixels"


def test_every_option_changes_the_search(space):
    plain = found(space).losses
    for options in ({"mode": "alternating"}, {"image_prior": "pixels"}, {"weights": "paper"}, {"code_norm": 0.0}, {"hyper_laplacian": 0.0},
                    {"features": lambda x, y: (x - y).abs().mean()}, {"start": torch.ones(32)}, {"warmup": 3},
                    {"rates": (1e-3, None)}, {"rates": (None, 1e-3)},
                    {"precision": "bfloat16"}, {"weights": (LossWeights(1.0, squares=1.0),)}):
        assert not torch.equal(found(space, **options).losses, plain), options
    two = {"mode": "alternating", "steps": 6}
    assert not torch.equal(found(space, rounds=1, **two).losses, found(space, rounds=3, **two).losses)


def test_the_search_descends(space):
    weights = (LossWeights(1.0, squares=1.0),)
    for options in ({"warmup": 10}, {"image_prior": "pixels"}):
        losses = found(space, photograph(3), steps=30, weights=weights, **options).losses[0]
        assert float(losses[-3:].mean()) < 0.85 * float(losses[:3].mean())


def test_the_best_image_of_the_last_part_is_kept(space):
    seen = []
    result = found(space, steps=12, weights=(LossWeights(0.5, squares=1.0), LossWeights(1.0, squares=1.0)),
                   callback=lambda step, steps, now: seen.append((step, now.x, now.loss)) and None)
    last = [one for one in seen if one[0] > 4 + 6]
    best = min(last, key=lambda one: one[2])
    assert len(seen) == 16 and torch.equal(result.x, best[1])


def test_alternating_changes_one_thing_at_a_time(space):
    codes, images = [], []

    def look(step, steps, now):
        if step < steps:
            codes.append(now.state["search"]["code"]["value"].clone())
            images.append(now.state["search"]["image"]["value"].clone())

    found(space, steps=10, warmup=0, rounds=1, mode="alternating", image_prior="pixels", callback=look,
          weights=(LossWeights(1.0, squares=1.0, code=1e-3),))
    changed = [(not torch.equal(a, b), not torch.equal(c, d)) for a, b, c, d in zip(images, images[1:], codes, codes[1:])]
    assert changed[:5] == [(True, False)] * 5 and changed[5:] == [(False, True)] * 3


@pytest.mark.parametrize("stop", [1, 3, 5, 7])
@pytest.mark.parametrize("options", [{}, {"mode": "alternating", "image_prior": "pixels", "warmup": 0, "steps": 8}])
def test_a_stopped_search_goes_on(space, tmp_path, stop, options):
    whole = found(space, **options)
    first = found(space, callback=lambda step, steps, now: step == stop, **options)
    assert not first.done and not torch.equal(first.x, whole.x)
    first.save(tmp_path / "search")
    for resume in (first, tmp_path / "search"):
        again = found(space, resume=resume, seed=9, **options)
        assert again.done and torch.equal(again.x, whole.x) and torch.equal(again.losses, whole.losses)


def test_a_stopped_search_of_several_images_goes_on(space):
    y = torch.cat([photograph(0), photograph(1), photograph(2)])
    whole = found(space, y)
    assert whole.x.shape == y.shape and whole.losses.shape == (3, 4)
    assert torch.equal(whole.x[:1], found(space, y[:1]).x)
    first = found(space, y, callback=lambda step, steps, now: step == 11)
    assert torch.equal(first.x[2], y[2]) and bool(torch.isnan(first.losses[2]).all())
    assert torch.equal(found(space, y, resume=first, seed=9).x, whole.x)


def test_other_sizes_and_grey_images(space):
    assert found(space, photograph(height=130, width=200)).x.shape == (1, 3, 130, 200)
    grey = found(space, photograph(channels=1))
    assert grey.x.shape == (1, 1, 128, 128)
    none = found(space, photograph()[:0])
    assert none.x.shape == (0, 3, 128, 128) and none.code.shape == (0, 32, 1, 1) and none.losses.shape == (0, 4) and none.done


class Faces(torch.nn.Module):
    """A small generator: a latent of three vectors, an image of smooth colours."""

    latent_shape = (1, 3, 6)

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.colours = torch.nn.Linear(18, 3 * 16)

    def forward(self, latent):
        coarse = torch.sigmoid(self.colours(latent.flatten(1))).view(-1, 3, 4, 4)
        return torch.nn.functional.interpolate(coarse, (128, 128), mode="bicubic")


@pytest.mark.parametrize("mode", ["joint", "alternating"])
def test_a_generator_as_the_image_prior(space, mode):
    faces = Faces()
    weight, radii = faces.colours.weight.clone(), []
    with torch.no_grad():
        y = space.blur(faces(torch.randn(1, 3, 6, generator=torch.Generator().manual_seed(5))), space.typical[None, :, None, None])
    result = found(space, y, steps=100, warmup=5, mode=mode, image_prior=faces,
                   callback=lambda step, steps, now: radii.append(now.state and now.state["search"]["image"]["value"].norm()) and None)
    radii = [float(r) for r in radii if r is not None]
    assert max(radii) - min(radii) < 1e-4 * max(radii) and torch.equal(faces.colours.weight, weight)
    assert float(result.losses[0, -10:].mean()) < 0.7 * float(result.losses[0, 0])
    assert all(p.requires_grad for p in faces.parameters()) and all(p.requires_grad for p in space.parameters())


def test_the_spread_of_a_latent_and_its_rate():
    latent = Latent(Faces(), torch.eye(6)[None, :3])
    assert float(latent.geodesic()) == pytest.approx(64 * 6 / 9 * (torch.pi / 2) ** 2, rel=1e-4)
    latent.geodesic().backward()
    assert bool(torch.isfinite(latent.value.grad).all())
    assert [one_cycle(t) for t in (0, 0.45, 0.9, 1)] == pytest.approx([0.1, 1, 0.1, 0.001])
    assert float(Latent(Faces(), torch.ones(1, 5)).geodesic()) == 0


def test_the_published_weights():
    first, second = PRESETS["reference"]
    assert first == LossWeights(0.5, features=0.6, similarity=1.0, code=5e-5, prior=2e-2)
    assert second == LossWeights(1.0, features=1.0, code=5e-4, prior=5e-2)
    assert PRESETS["paper"] == (LossWeights(1.0, charbonnier=1.0, code=6e-4, prior=2e-2),)
    assert Network.rate == 5e-4


@pytest.mark.parametrize("options, error, text", [
    ({"steps": 0}, ValueError, "^steps: "),
    ({"warmup": -1}, ValueError, "^warmup: "),
    ({"mode": "both"}, ValueError, "^mode: expected 'joint' or 'alternating', got 'both'"),
    ({"image_prior": "net"}, ValueError, "^image_prior: expected 'network', 'pixels' or a torch.nn.Module"),
    ({"image_prior": torch.nn.Identity()}, ValueError, "^latent: expected the first latent"),
    ({"image_prior": torch.nn.Identity(), "latent": torch.ones(1, 3, 64, 64)}, ValueError, "^image_prior: expected a generator of images"),
    ({"latent": torch.ones(1, 3)}, ValueError, "^latent: expected a tensor"),
    ({"weights": "code"}, ValueError, "^weights: expected 'reference', 'paper'"),
    ({"weights": (LossWeights(0.5),)}, ValueError, "^weights: expected a name or LossWeights whose last part ends at 1"),
    ({"features": 3}, ValueError, "^features: expected a callable"),
    ({"code_norm": -1}, ValueError, "^code_norm: "),
    ({"hyper_laplacian": float("nan")}, ValueError, "^hyper_laplacian: "),
    ({"start": torch.ones(31)}, ValueError, r"^start: expected \[32\] or \[1, 32, 1, 1\], got \[31\]"),
    ({"precision": "float16"}, ValueError, "^precision: expected"),
    ({"rates": (1,)}, ValueError, "^rates: expected two learning rates"),
    ({"rates": (1, 0)}, ValueError, "^rates: "),
    ({"rounds": 0}, ValueError, "^rounds: "),
    ({"resume": 3}, ValueError, "^resume: expected a search that was stopped"),
    ({"y": torch.ones(1, 3, 100, 128)}, ValueError, "^y: expected sides of at least 128"),
    ({"y": torch.full((1, 3, 128, 128), float("nan"))}, ValueError, "^y: holds NaN"),
])
def test_bad_input_is_named(space, options, error, text):
    with pytest.raises(error, match=text):
        found(space, **options)


def test_a_search_that_does_not_fit_is_refused(space, tmp_path):
    first = found(space, callback=lambda step, steps, now: True)
    first.save(tmp_path / "search")
    with pytest.raises(ValueError, match="^resume: the search had steps 4, now it is 5"):
        found(space, steps=5, resume=first)
    with pytest.raises(FileError, match="search: the search had size"):
        found(space, photograph(height=140), resume=tmp_path / "search")
    (tmp_path / "damaged").write_bytes(b"PK" + bytes(100))
    with pytest.raises(FileError, match="damaged: not a readable file of a search"):
        found(space, resume=tmp_path / "damaged")
    with pytest.raises(FileError, match="missing: no such file of a search"):
        found(space, resume=tmp_path / "missing")
    with pytest.raises(TypeError, match="^space: expected a BlurKernelSpace, got Linear"):
        deep_prior_deblur(photograph(), torch.nn.Linear(2, 2))
