"""DegradationDeblur: the networks of the paper, options, sizes, gradients, weight files, bad input."""
import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from svconv.files import FileError
from svconv.models import DegradationDeblur, SVBRNet
from svconv.models.degradation_deblur import Discriminators
from svconv.models.degradation_deblur.encoder import Encoder
from svconv.models.degradation_deblur.generators import OneStage, TwoStage
from svconv.models.degradation_deblur.upsampler import UpSampler

VARIANTS = ({}, {"version": 2}, {"sn": "reference"}, {"version": 2, "sn": "reference"}, {"code": "vector"}, {"code": None},
            {"reblur": True}, {"sn": "reference", "code": "vector"}, {"version": 2, "code": "vector"}, {"version": 2, "code": None},
            {"code": None, "reblur": True}, {"code": "vector", "reblur": True})


def made(dtype=torch.float32, seed=0, width=4, **options):
    torch.manual_seed(seed)
    return DegradationDeblur(width=width, **options).to(dtype).eval()


def picture(*shape, dtype=torch.float32, seed=1):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("make, expected", [
    (lambda: Encoder(1, 64, "all"), 31_249_344), (lambda: Encoder(1, 64, "reference"), 31_247_104),
    (lambda: Encoder(2, 64, "all"), 157_470_464), (lambda: Encoder(2, 64, "reference"), 157_470_464),
    (lambda: UpSampler(1, 64), 80_187_264), (lambda: UpSampler(2, 64), 37_715_840),
    (lambda: TwoStage(64, True), 129_851_014), (lambda: OneStage(64, True), 44_497_155), (Discriminators, 5_533_826),
    (DegradationDeblur, 31_249_344 + 80_187_264 + 129_851_014), (lambda: DegradationDeblur(sn="reference"), 241_285_382),
    (lambda: DegradationDeblur(2), 157_470_464 + 37_715_840 + 2 * 44_497_155),
    (lambda: DegradationDeblur(code="vector"), 241_287_622), (lambda: DegradationDeblur(reblur=True), 241_287_622 + 44_497_155),
    (lambda: DegradationDeblur(code=None), 129_851_014 - 414_208 - 770_816 - 1_754_368 - 4_802_816),
])
def test_the_networks_have_the_papers_parameters(make, expected):
    with torch.device("meta"):
        assert count(make()) == expected


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_shapes(options):
    model = made(**options)
    two = options.get("version") == 2
    y = picture(2, 3, 40, 49)
    with torch.no_grad():
        found = model(y)
        assert len(found.images) == (1 if two else 2) and found.image is found.x and found.images[-1] is found.x
        assert all(t.shape == y.shape and bool(torch.isfinite(t).all()) for t in found.images)
        if options.get("code", "map") is None:
            return
        z = model.degradation(y)
        assert z.shape == ((2, 128, 8, 8) if two else (2, 16, 4, 4))
        assert [list(t.shape[1:]) for t in model.pyramid(z)] == [[4, 256, 256], [8, 128, 128], [16, 64, 64], [32, 32, 32]]
        assert torch.equal(model(y, z).x, found.x) and not torch.equal(model(y, -z).x, found.x)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("height, width", [(16, 16), (17, 16), (16, 33), (30, 95)])
def test_any_size_is_padded_by_replication_and_cropped(version, height, width):
    model, y = made(version=version), picture(1, 3, height, width)
    padded = functional.pad(y, (0, -width % 16, 0, -height % 16), mode="replicate")
    with torch.no_grad():
        z = model.degradation(y)        # of the image as it is, not of the padded one
        torch.testing.assert_close(model(y).x, model(padded, z).x[..., :height, :width], rtol=0, atol=1e-6)


def test_the_encoder_sees_the_image_at_256_pixels():
    model, y = made(), picture(1, 3, 50, 70)
    large = functional.interpolate(y, (256, 256), mode="bilinear")
    with torch.no_grad():
        assert torch.equal(model.degradation(y), model.degradation(large))
        assert [list(t.shape[1:]) for t in model.encoder.features(y)] == [[4, 25, 35], [4, 25, 35], [8, 13, 18], [16, 7, 9], [32, 4, 5]]


@pytest.mark.parametrize("version", [1, 2])
def test_grey_is_three_equal_colours_and_their_mean(version):
    model, y = made(version=version), picture(2, 1, 20, 36)
    with torch.no_grad():
        grey, colour = model(y), model(y.expand(-1, 3, -1, -1))
        assert grey.x.shape == y.shape and torch.equal(grey.x, colour.x.mean(1, keepdim=True))
        assert [t.shape[1] for t in grey.images] == [1] * len(colour.images)
        assert torch.equal(model.degradation(y), model.degradation(y.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_an_empty_batch_stays_one(options):
    assert made(**options)(picture(0, 3, 20, 20)).x.shape == (0, 3, 20, 20)


def kinds(model):
    """How often each kind of layer occurs, and under which name each parameter."""
    return [type(m).__name__ for m in model.modules()], [(name, tuple(p.shape)) for name, p in model.named_parameters()]


def test_every_option_changes_the_model():
    models = [made(**options) for options in VARIANTS]
    y = picture(1, 3, 32, 32)
    with torch.no_grad():
        results = [model(y).x for model in models]
    for i, a in enumerate(VARIANTS):
        for j in range(i):
            b = VARIANTS[j]
            if kinds(models[i]) == kinds(models[j]):     # a vector of the table's encoder is the same layers, used otherwise
                assert {a.get("code", "map"), b.get("code", "map")} == {"map", "vector"}
                assert "sn" not in a and "version" not in a
                models[i].load_state_dict(models[j].state_dict())
                with torch.no_grad():
                    assert not torch.equal(models[i](y).x, results[j])


def test_spectral_normalisation_is_where_the_option_says():
    def under(model):
        return sum(hasattr(m, "parametrizations") for m in model.encoder.modules() if isinstance(m, nn.Conv2d))

    assert [under(made(**o)) for o in ({}, {"sn": "reference"}, {"version": 2}, {"version": 2, "sn": "reference"})] == [18, 7, 15, 8]
    assert all(hasattr(m, "parametrizations") for m in made().upsampler.modules() if isinstance(m, nn.Conv2d))
    biased = [m.bias is not None for m in made().encoder.modules() if isinstance(m, nn.Conv2d)]
    assert all(biased) and len(biased) == 18


@pytest.mark.parametrize("version, sn", [(1, "all"), (1, "reference"), (2, "all")])
def test_a_vector_is_one_at_every_place_and_still_differs_between_images(version, sn):
    """An instance normalisation before the mean would leave nothing of it."""
    model, y = made(version=version, sn=sn, code="vector"), picture(2, 3, 64, 64)
    y[1] = functional.avg_pool2d(y[1:], 9, 1, 4)[0]
    with torch.no_grad():
        z = model.degradation(y)
        mean = z.mean((2, 3), keepdim=True)
        assert float((mean[0] - mean[1]).abs().max()) > 0.03 * float(mean.abs().max()) > 1e-3
        flat = model.pyramid(z)[0]
        torch.testing.assert_close(flat, model.pyramid(mean.expand_as(z))[0], rtol=0, atol=1e-5 * float(flat.abs().max()))
        assert float((flat - flat[..., :1, :1]).abs().max()) < 1e-5 * float(flat.abs().max())


def test_a_shared_map_is_that_map_for_each_image():
    model, y = made(torch.float64, version=2), picture(3, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        z = model.degradation(y[:1])
        torch.testing.assert_close(model.reblur(y, z), model.reblur(y, z.expand(3, -1, -1, -1)), rtol=0, atol=1e-12)
        torch.testing.assert_close(model(y, z).x, model(y, z.repeat(3, 1, 1, 1)).x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{"version": 2}, {"reblur": True}, {"reblur": True, "code": "vector"}, {"reblur": True, "code": None}],
                         ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 30, 41), (2, 1, 16, 17)])
def test_reblurring(options, shape):
    model, x = made(**options), picture(*shape)
    with torch.no_grad():
        z = None if options.get("code", "map") is None else model.degradation(picture(*shape, seed=4))
        found = model.reblur(x, z)
        assert found.shape == x.shape and not torch.equal(found, model(x, z).x)
        if z is not None:
            assert not torch.equal(found, model.reblur(x, -z))


@pytest.mark.parametrize("options, what, error, text", [
    ({}, lambda m, x: m.reblur(x, m.degradation(x)), ValueError, "^version: expected 2 or"),
    ({"code": None}, lambda m, x: m.reblur(x), ValueError, "^version: "),
    ({"code": None}, lambda m, x: m.degradation(x), ValueError, "^code: "),
    ({"code": None}, lambda m, x: m.pyramid(torch.zeros(1, 16, 4, 4)), ValueError, "^code: "),
    ({"code": None}, lambda m, x: m(x, torch.zeros(1, 16, 4, 4)), ValueError, "^map: expected None"),
    ({"version": 2}, lambda m, x: m.reblur(x), ValueError, "^map: expected a degradation map, got None"),
    ({"version": 2}, lambda m, x: m.reblur(x, torch.zeros(1, 128, 4, 4)), ValueError, "^map: expected 8"),
    ({"version": 2}, lambda m, x: m.reblur(x, torch.zeros(3, 128, 8, 8)), ValueError, "^map: expected a batch of 1 or that of x, 2, got 3"),
    ({}, lambda m, x: m(x, torch.zeros(1, 16, 4, 4).double()), TypeError, "^map: expected torch.float32"),
    ({}, lambda m, x: m(x, torch.full((1, 16, 4, 4), torch.nan)), ValueError, "^map: holds NaN"),
    ({}, lambda m, x: m(x, 3), TypeError, "^map: expected a torch.Tensor"),
    ({}, lambda m, x: m(x[..., :15]), ValueError, "^y: expected sides of at least 16 pixels, got 20 x 15"),
    ({}, lambda m, x: m.degradation(x[:, :, :15]), ValueError, "^y: expected sides of at least 16"),
    ({"version": 2}, lambda m, x: m.reblur(x[..., :3], None), ValueError, "^x: expected sides of at least 16"),
    ({}, lambda m, x: m(x[:, :2]), ValueError, "^y: expected 3 or 1 channels, got 2"),
    ({}, lambda m, x: m(x[0]), ValueError, "^y: expected"),
    ({}, lambda m, x: m(x.double()), TypeError, "^y: expected torch.float32 like the weights"),
    ({}, lambda m, x: m((255 * x).to(torch.uint8)), TypeError, "^y: expected dtype"),
    ({}, lambda m, x: m(torch.where(x > 0.9, torch.nan, x)), ValueError, "^y: holds NaN"),
    ({}, lambda m, x: m.degradation(torch.where(x > 0.9, -torch.inf, x)), ValueError, "^y: holds NaN or infinite"),
])
def test_bad_input_is_named(options, what, error, text):
    with pytest.raises(error, match=text):
        what(made(**options), picture(2, 3, 20, 20))


@pytest.mark.parametrize("bad, error, text", [
    (dict(version=3), ValueError, "version: expected 1 or 2, got 3"), (dict(version="2"), ValueError, "version"),
    (dict(version=True), ValueError, "version"), (dict(width=1), ValueError, "width"), (dict(width=4.5), ValueError, "width"),
    (dict(width="4"), TypeError, "width"), (dict(sn="some"), ValueError, "sn"), (dict(code="image"), ValueError, "code"),
    (dict(version=2, reblur=True), ValueError, "reblur"),
])
def test_bad_settings_are_named(bad, error, text):
    with pytest.raises(error, match=f"^{text}"):
        DegradationDeblur(**{"width": 4, **bad})


def slopes(function, t, step, seed=6):
    """The derivative of a number along a random direction: by autograd and by central differences."""
    direction = torch.randn(t.shape, dtype=t.dtype, generator=torch.Generator().manual_seed(seed))
    t = t.detach().requires_grad_()
    gradient, = torch.autograd.grad(function(t), t)
    with torch.no_grad():
        differences = (function(t + step * direction) - function(t - step * direction)) / (2 * step)
    return float((gradient * direction).sum()), float(differences)


@pytest.mark.parametrize("options, of", [
    (options, of) for options in ({}, {"version": 2}, {"sn": "reference"}, {"code": "vector", "reblur": True})
    for of in ("image", "map", "reblurred image", "reblurred map") if "reblurred" not in of or {"version", "reblur"} & options.keys()
], ids=str)
def test_gradients_by_finite_differences(options, of, monkeypatch):
    """With the bends of the activations rounded, as finite differences have to step over some of thousands of them."""
    softplus = functional.softplus
    monkeypatch.setattr(functional, "leaky_relu", lambda x, slope, inplace=False: slope * x + (1 - slope) * softplus(x))
    monkeypatch.setattr(functional, "relu", lambda x, inplace=False: softplus(x))
    model = made(torch.float64, **options)
    y, weights = picture(1, 3, 32, 48, dtype=torch.float64), picture(1, 3, 32, 48, dtype=torch.float64, seed=5) - 0.5
    with torch.no_grad():
        z = model.degradation(y)
    functions = {"image": (lambda t: sum((weights * image).sum() for image in model(t).images), y, 1e-6),
                 "map": (lambda t: (weights * model(y, t).x).sum(), z, 1e-3),
                 "reblurred image": (lambda t: (weights * model.reblur(t, z)).sum(), y, 1e-6),
                 "reblurred map": (lambda t: (weights * model.reblur(y, t)).sum(), z, 1e-3)}
    found, expected = slopes(*functions[of])
    assert found == pytest.approx(expected, rel=1e-3) and abs(found) > 1e-8


@pytest.mark.parametrize("options", [o for o in VARIANTS if o.get("sn") != "reference" or "version" not in o], ids=str)
def test_every_parameter_learns(options):
    model, y = made(**options).train(), picture(2, 3, 32, 32)
    loss = sum(t.square().mean() for t in model(y).images)
    if model.reblurring is not None:
        loss = loss + model.reblur(y, None if model.encoder is None else model.degradation(y)).square().mean()
    loss.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any() or not torch.isfinite(p.grad).all()]
    assert not without


def test_one_pass_of_the_model_twice_before_a_backward_is_no_error():
    """Power iteration changes its vectors in place; the graph of the first call keeps its own."""
    model, y = made(version=2).train(), picture(2, 3, 32, 32)
    z = model.degradation(y)
    loss = model.reblur(y, z).mean() + model(model.reblur(y, z), z).x.mean() + model.degradation(y).mean()
    loss.backward()
    assert bool(model.encoder.strided[0][0].parametrizations.weight.original.grad.any())


@pytest.mark.parametrize("passes, bound", [(20, 0.05), (150, 0.01)])
def test_the_largest_singular_value_becomes_one(passes, bound):
    """From random weights and random vectors, layer by layer of an encoder and its up-sampler."""
    model, generator = made(width=8, sn="all").train(), torch.Generator().manual_seed(2)
    convs = [m for part in (model.encoder, model.upsampler) for m in part.modules() if hasattr(m, "parametrizations")]
    assert len(convs) == 30
    for conv in convs[::3]:
        norm, original = conv.parametrizations.weight[0], conv.parametrizations.weight.original
        with torch.no_grad():
            for t in (original, norm._u, norm._v):
                t.copy_(torch.randn(t.shape, generator=generator))
            norm._u /= norm._u.norm()
            norm._v /= norm._v.norm()
            for _ in range(passes):
                weight = conv.weight
        assert abs(float(torch.linalg.matrix_norm(weight.flatten(1), 2)) - 1) < bound


def test_at_the_start_the_layers_keep_what_they_are_given():
    """Orthogonal: the singular values of E are 1, those of U 1 or 0; features of the finest scale are not much smaller than the map."""
    model = made(sn="all", width=8)
    for part, allowed in ((model.encoder, (1,)), (model.upsampler, (0, 1))):
        for conv in (m for m in part.modules() if hasattr(m, "parametrizations")):
            values = torch.linalg.svdvals(conv.weight.detach().flatten(1))
            assert float((values[:, None] - torch.tensor(allowed)).abs().amin(1).max()) < 1e-4 and abs(float(values[0]) - 1) < 1e-4
    with torch.no_grad():
        a, b = torch.randn(2, 32, 4, 4, generator=torch.Generator().manual_seed(3))
        assert float((model.pyramid(a[None])[0] - model.pyramid(b[None])[0]).std()) > 0.01 * float((a - b).std())


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_weight_files(options, tmp_path):
    model, y = made(**options).train(), picture(1, 3, 24, 40)
    with torch.no_grad():
        model(y)        # power iteration has moved
    model.eval().save(tmp_path / "w.pt")
    loaded = DegradationDeblur.load(tmp_path / "w.pt")
    assert loaded.arguments == model.arguments == {"version": 1, "width": 4, "sn": "all", "code": "map", "reblur": False, **options}
    with torch.no_grad():
        assert torch.equal(loaded(y).x, model(y).x) and not loaded.training


def test_files_of_other_models_and_widths_are_refused(tmp_path):
    made().save(tmp_path / "w.pt")
    with pytest.raises(FileError, match="w.pt: holds weights of DegradationDeblur, expected SVBRNet"):
        SVBRNet.load(tmp_path / "w.pt")
    state = torch.load(tmp_path / "w.pt", weights_only=True)
    state["arguments"]["version"] = 2
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(FileError, match="other.pt: does not fit DegradationDeblur"):
        DegradationDeblur.load(tmp_path / "other.pt")
    with pytest.raises(ValueError, match="name: no weights 'nowhere'"):
        DegradationDeblur.from_pretrained("nowhere")


def test_a_copy_is_a_model_of_its_own():
    model, y = made().train(), picture(1, 3, 32, 32)
    other = copy.deepcopy(model)
    with torch.no_grad():
        assert torch.equal(other(y).x, model(y).x)
        model.encoder.wide.parametrizations.weight.original.mul_(-1)
        model(y)
        assert not torch.equal(other.eval()(y).x, model.eval()(y).x)


def test_runs_are_bit_identical_and_eval_mode_moves_nothing():
    model, y = made(), picture(2, 3, 33, 47)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with torch.no_grad():
        assert torch.equal(model(y).x, model(y).x)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


@pytest.mark.parametrize("version", [1, 2])
def test_half_types_and_autocast(version):
    model, y = made(version=version), picture(1, 3, 32, 32)
    with torch.no_grad():
        expected = model(y).x
        with torch.autocast("cpu", torch.bfloat16):
            mixed, z = model(y).x, model.degradation(y)
        found = model.bfloat16()(y.bfloat16()).x
    assert mixed.dtype == z.dtype == torch.float32 and found.dtype == torch.bfloat16
    assert float((mixed - expected).abs().max()) < 0.1 and float((found - expected).abs().max()) < 0.1


@pytest.mark.parametrize("height, width, first, second", [
    (64, 48, [(33, 25), (17, 13), (9, 7), (10, 8), (11, 9)], [(17, 13), (9, 7), (5, 4), (6, 5), (7, 6)]),
    (17, 16, [(9, 9), (5, 5), (3, 3), (4, 4), (5, 5)], [(5, 5), (3, 3), (2, 2), (3, 3), (4, 4)]),
])
def test_discriminators(height, width, first, second):
    torch.manual_seed(0)
    model, x, y = Discriminators(4), picture(2, 3, height, width), picture(2, 3, height, width, seed=2).requires_grad_()
    maps = model(x, y)
    channels = [4, 8, 16, 32, 1]
    assert [[tuple(m.shape) for m in scale] for scale in maps] == [[(2, c, *s) for c, s in zip(channels, sizes)]
                                                                   for sizes in (first, second)]
    sum(scale[-1].mean() for scale in maps).backward()
    assert bool(y.grad.any()) and all(bool(p.grad.any()) for p in model.parameters())
    with torch.no_grad():
        model.eval()
        assert torch.equal(model(x, y)[0][-1], model(x, y)[0][-1]) and not torch.equal(model(y, x)[0][-1], model(x, y)[0][-1])


@pytest.mark.parametrize("change, text", [
    (lambda x, y: (x[:, :1], y), "^sharp: expected 3"), (lambda x, y: (x, y[..., :-1]), "^blurry: expected"),
    (lambda x, y: (x[..., :9], y[..., :9]), "^sharp: expected sides of at least 16"),
])
def test_bad_pairs_are_named(change, text):
    with pytest.raises(ValueError, match=text):
        Discriminators(4)(*change(picture(1, 3, 20, 20), picture(1, 3, 20, 20)))


def test_what_is_printed():
    model = made()
    with torch.no_grad():
        assert repr(model(picture(1, 3, 16, 20))) == "Restored(x=float32 [1, 3, 16, 20], images=2)"
    assert "version=1, width=4, sn='all', code='map', reblur=False" in repr(model)
