"""SVMAP and SIMAP: parameters, the start at the l2 solve, what the predictors see, gradients."""
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import svconv
from svconv.data import degrade, motion_kernel
from svconv.files import read_image
from svconv.models import SIMAP, SVMAP
from svconv.models.svmap import banded
from svconv.models.svmap.start import STRENGTH, delta_bank, derivative_bank
from svconv.solvers.map_problem import MAPProblem

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = dict(width=4, data_filters=2, prior_filters=3, data_size=3, prior_size=3, tol=1e-12, max_iter=400)


def count(model):
    return sum(p.numel() for p in model.parameters())


def seeded(kind, seed=0, **arguments):
    torch.manual_seed(seed)
    return kind(**arguments).double()


def scene(height=64, width=72, side=9, seed=0):
    """(sharp, blurred, kernel) float64 of a part of the demo photograph, 1 % noise."""
    path = next(Path(svconv.cli.__file__).parent.glob("data/*.[jp][pn]g"))
    sharp = torch.from_numpy(read_image(path).pixels.astype(np.float64) / 255).permute(2, 0, 1)[None, :, 100:100 + height, 200:200 + width]
    generator = torch.Generator().manual_seed(seed)
    kernel = motion_kernel(side, 1, generator=generator).double()
    blurred = degrade(svconv.conv(sharp.contiguous(), kernel, padding="replicate"), gaussian=0.01, generator=generator)
    return sharp, blurred, kernel


def texture(height=13, width=12, side=3, batch=1, seed=2):
    """(y, kernel) float64, random."""
    generator = torch.Generator().manual_seed(seed)
    y, kernel = (torch.rand(*shape, generator=generator, dtype=torch.float64) for shape in ((batch, 3, height, width), (1, 1, side, side)))
    return y, kernel / kernel.sum()


def rms(a, margin=0):
    height, width = a.shape[-2:]
    return float(a[..., margin:height - margin, margin:width - margin].square().mean().sqrt())


# structure ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind, arguments, expected", [
    (SVMAP, dict(), 1_290_416), (SVMAP, dict(iterations=1), 645_208), (SVMAP, dict(iterations=3), 1_935_624),
    (SVMAP, dict(share=True), 645_208), (SVMAP, dict(iterations=3, share=True), 645_208), (SVMAP, dict(data_filters=0), 2 * 365_879),
    (SVMAP, dict(per_colour=False), 2 * (2 * 149_504 + 577 * 200)), (SVMAP, dict(start="random"), 1_290_416),
    (SIMAP, dict(), 1_916_128), (SIMAP, dict(data_filters=9, prior_filters=15), 3_356_320),
    (SIMAP, dict(data_filters=18, prior_filters=30), 5_516_608), (SIMAP, dict(data_filters=0), 2 * (365_879 + 158_159)),
])
def test_parameter_counts(kind, arguments, expected):
    model = kind(**arguments)
    assert count(model) == expected and model.arguments.items() >= arguments.items()


@pytest.mark.parametrize("kind", [SVMAP, SIMAP])
@pytest.mark.parametrize("arguments", [dict(), dict(iterations=3), dict(data_filters=0), dict(per_colour=False)])
def test_details(kind, arguments):
    model = seeded(kind, **{**SMALL, **arguments})
    y, kernel = texture(batch=2)
    with torch.no_grad():
        found, plain = model(y, kernel, details=True), model(y, kernel)
    steps, colours, filters = model.arguments["iterations"], 1 if "per_colour" in arguments else 3, model.arguments["data_filters"]
    assert torch.equal(found.x, plain) and torch.equal(found.images[-1], plain)
    assert [len(t) for t in (found.images, found.filters, found.reports)] == [steps + 1, steps, steps]
    for image, made, report in zip(found.images[1:], found.filters, found.reports):
        assert made.prior_filters.shape == (2, colours, 3, 3, 3, 13, 12)
        assert made.data_filters is None if not filters else made.data_filters.shape == (2, colours, 2, 3, 3, 13, 12)
        assert (made.prior_weights is None) == (kind is SVMAP) and (made.data_weights is None) == (kind is SVMAP or not filters)
        assert torch.equal(image, report.x) and report.iterations.shape == (2,) and bool(report.converged.all())
    text = repr(found)
    assert "x=[2, 3, 13, 12]" in text and str(found.reports[-1].iterations.tolist()) in text


@pytest.mark.parametrize("share", [False, True])
def test_the_iterations_have_predictors_of_their_own_or_share_them(share):
    model = seeded(SVMAP, **SMALL, iterations=3, share=share)
    called = []
    for role, nets in (("data", model.data), ("prior", model.prior)):
        for i, net in enumerate(nets):
            net.register_forward_hook(lambda *_, role=role, i=i: called.append((role, i)))
    with torch.no_grad():
        model(*texture())
    assert called == [(role, 0 if share else i) for i in range(3) for role in ("data", "prior")]


@pytest.mark.parametrize("kind", [SVMAP, SIMAP])
def test_data_filters_see_the_residual_and_prior_filters_the_image(kind):
    model = seeded(kind, **SMALL)
    seen = {}
    for name, nets in model.named_children():
        for i, net in enumerate(nets):
            net.register_forward_pre_hook(lambda module, arguments, key=(name, i): seen.update({key: arguments[0]}))
    y, kernel = texture()
    with torch.no_grad():
        found = model(y, kernel, details=True)
    for step, image in enumerate(found.images[:-1]):
        residual = (y - svconv.conv(image, kernel, padding="zeros"))[..., 1:-1, 1:-1]       # away from what light from outside does
        for name in ("data", "data_weights") if kind is SIMAP else ("data",):
            torch.testing.assert_close(seen[name, step][..., 1:-1, 1:-1], residual, rtol=0, atol=1e-10)
        for name in ("prior", "prior_weights") if kind is SIMAP else ("prior",):
            assert torch.equal(seen[name, step], image)


def test_simap_has_uniform_filters_and_bounded_weights():
    model = seeded(SIMAP, **SMALL, start="random")
    with torch.no_grad():
        made = model(*texture(), details=True).filters[0]
    for filters in (made.data_filters, made.prior_filters):
        assert torch.equal(filters, filters[..., :1, :1].expand_as(filters)) and filters.stride()[-2:] == (0, 0)
    assert 0 < float(made.data_weights.min()) and float(made.data_weights.max()) < 1 and float(made.prior_weights.min()) >= 0
    assert float(made.data_weights.std()) > 0 and float(made.prior_weights.std()) > 0


# the start ------------------------------------------------------------------------------------------------------------

def set_to_the_start(model):
    """Last weights 0, last biases what the start is made of."""
    root = math.sqrt(2) if isinstance(model, SIMAP) else 1.0
    banks = {"data": lambda p: root * delta_bank(p.filters, p.size), "prior": lambda p: derivative_bank(p.filters, p.size),
             "data_weights": lambda p: torch.zeros(p.filters, 1, 1), "prior_weights": lambda p: torch.ones(p.filters, 1, 1)}
    with torch.no_grad():
        for name, nets in model.named_children():
            for net in nets:
                bank = banks[name](net)
                net.layers[-1].weight.zero_()
                net.layers[-1].bias.copy_(bank.expand(net.channels, *bank.shape).flatten())
    return model


@pytest.fixture(scope="module")
def l2_solve():
    """(blurred, kernel, the image of `solvers.irls` without re-weighting, to the last digit)."""
    _, blurred, kernel = scene()
    return blurred, kernel, svconv.solvers.irls(svconv.Conv(kernel), blurred, reg=STRENGTH, reweightings=0, cg_iter=1000, tol=1e-9).x


@pytest.mark.parametrize("kind, arguments", [(SVMAP, dict()), (SVMAP, dict(iterations=1)), (SVMAP, dict(data_filters=0)),
                                             (SVMAP, dict(prior_filters=10, per_colour=False)), (SIMAP, dict())])
def test_the_untrained_net_is_the_l2_solve(l2_solve, kind, arguments):
    """Seen: 8e-5 away from the border, of 3e-2 that the solve changes there; near the border the priors differ."""
    blurred, kernel, expected = l2_solve
    model = set_to_the_start(seeded(kind, width=4, tol=1e-9, max_iter=500, **arguments))
    with torch.no_grad():
        found = model(blurred, kernel)
    assert rms(expected - blurred, 16) > 0.02 and rms(found - expected, 16) < 5e-4


@pytest.mark.parametrize("kind", [SVMAP, SIMAP])
def test_the_default_start_is_near_it(l2_solve, kind):
    """Seen: 0.0012 of the 0.033 that the solve changes."""
    blurred, kernel, expected = l2_solve
    with torch.no_grad():
        found = seeded(kind, tol=1e-7, max_iter=300)(blurred, kernel)
    assert rms(found - expected, 16) < 0.15 * rms(expected - blurred, 16)


@pytest.mark.parametrize("filters, size", [(1, 5), (5, 5), (7, 5), (5, 3), (5, 4), (5, 2), (3, 1)])
def test_the_bank_of_derivatives_has_its_strength(filters, size):
    """Of a filter of which there are several each has its part: together they have the power of each once."""
    bank = derivative_bank(filters, size).double()
    autocorrelation = sum(torch.nn.functional.conv2d(f[None, None], f[None, None], padding=size - 1) for f in bank) / STRENGTH
    middle = {1: 1.0, 2: 2.0 + 2.0 + 4.0, 3: 2 + 2 + 6 + 6 + 4.0}.get(size, 2 + 2 + 6 + 6 + 4.0)
    expected = 2.0 if filters == 1 and size > 1 else middle
    assert float(autocorrelation[0, 0, size - 1, size - 1]) == pytest.approx(expected, rel=1e-5)
    assert size == 1 or float(bank.sum((1, 2)).abs().max()) < 1e-7


# gradients ------------------------------------------------------------------------------------------------------------

def loss(model, y, kernel):
    weights = torch.rand(y.shape, generator=torch.Generator().manual_seed(7), dtype=y.dtype) - 0.3
    return (weights * model(y, kernel)).sum()


def disturbed(model, seed=3):
    """Last weights of the size that training gives them: what the first layers see matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in [nets[i].layers[-1].weight for _, nets in model.named_children() for i in range(len(nets))]:
            p.add_(0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return model


@pytest.mark.parametrize("kind", [SVMAP, SIMAP])
def test_gradients_are_finite_differences(kind):
    """On weights of the first and the last layer of every predictor, T = 2. A solve in float64 leaves 1e-11 of the loss, a quotient
    of it 2e-8; the smallest gradients are 4e-5."""
    model = disturbed(seeded(kind, **SMALL))
    y, kernel = texture()
    loss(model, y, kernel).backward()
    step = 3e-4
    for name, nets in model.named_children():
        for i, net in enumerate(nets):
            for layer in (0, -1):
                p = net.layers[layer].weight
                for flat in p.grad.abs().flatten().topk(2).indices.tolist():        # where there is most to see
                    at = np.unravel_index(flat, p.shape)
                    with torch.no_grad():
                        kept, values = float(p[at]), []
                        for sign in (1, -1):
                            p[at] = kept + sign * step
                            values.append(float(loss(model, y, kernel)))
                        p[at] = kept
                    expected, scale = (values[0] - values[1]) / (2 * step), float(p.grad.abs().max())
                    assert scale > 1e-6, (name, i, layer)
                    assert abs(float(p.grad[at]) - expected) < 2e-3 * scale, (name, i, layer, float(p.grad[at]), expected)


@pytest.mark.parametrize("kind", [SVMAP, SIMAP])
def test_implicit_gradients_are_unrolled_ones(kind):
    gradients = []
    for implicit in (True, False):
        model = disturbed(seeded(kind, **{**SMALL, "tol": 1e-10}, implicit=implicit))
        y, kernel = (t.clone().requires_grad_() for t in texture())
        loss(model, y, kernel).backward()
        gradients.append([y.grad, kernel.grad, *(p.grad for p in model.parameters())])
    for ours, unrolled in zip(*gradients):
        assert float((ours - unrolled).norm()) <= 1e-4 * float(unrolled.norm())


@pytest.mark.parametrize("kind", [SVMAP, SIMAP])
def test_every_parameter_learns(kind):
    model = disturbed(seeded(kind, **SMALL))
    loss(model, *texture()).backward()
    assert [name for name, p in model.named_parameters() if not (bool(torch.isfinite(p.grad).all()) and p.grad.any())] == []


# large images ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", [SVMAP, SIMAP])
def test_predicting_by_bands_is_one_pass(monkeypatch, kind):
    """The filters are written on the plane of the solve; with details on the image. Bands of the least height."""
    model, (y, kernel) = seeded(kind, **{**SMALL, "tol": 1e-10}, start="random"), texture(70, 33, 5, batch=2)
    with torch.no_grad():
        expected = model(y, kernel, details=True)
        for name in ("BAND", "LEAST"):
            monkeypatch.setattr(banded, name, 8)
        found, plain = model(y, kernel, details=True), model(y, kernel)
    for ours, theirs in zip(found.filters, expected.filters):
        for a, b in zip(ours, theirs):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.images[1], expected.images[1], rtol=0, atol=1e-6)
    torch.testing.assert_close(plain, found.x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("zero_sum", [False, True])
def test_bands_continue_the_filters_over_the_plane(monkeypatch, zero_sum):
    monkeypatch.setattr(banded, "BAND", 8)
    predictor = svconv.nn.FilterPredictor(3, 2, 3, width=4, zero_sum=zero_sum).double()
    y, kernel = texture(61, 20, 5)
    problem = MAPProblem(y, kernel)
    with torch.no_grad():
        expected = problem.continued(predictor(y))
        found = banded.predicted(predictor, y, problem.plane)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        assert found.is_contiguous() and problem.continued(found) is found and torch.equal(problem.seen(found), problem.plane.leave(found))
        torch.testing.assert_close(banded.predicted(predictor, y), predictor(y), rtol=0, atol=1e-12)


def test_bands_are_only_for_large_images_without_gradients():
    small, large = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 512, 512)
    assert not banded.pays(large)
    with torch.no_grad():
        assert banded.pays(large) and not banded.pays(small)


def test_the_shipped_weights_restore_better_than_reweighted_least_squares():
    """On the photograph of the package, which no training has seen, under a kernel that none has seen."""
    model = SVMAP.from_pretrained("gaussian1")
    assert count(model) == 1_290_416 and model.arguments["max_iter"] == 30 and not model.training
    sharp, blurred, kernel = (t.float() for t in scene(128, 144, side=19, seed=3))
    with torch.no_grad():
        found = model(blurred, kernel)
    classical = svconv.solvers.irls(svconv.Conv(kernel), blurred, reg=4e-3).x
    assert rms(found - sharp, 12) < 0.95 * rms(classical - sharp, 12) < 0.95 * rms(blurred - sharp, 12)
