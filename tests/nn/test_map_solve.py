"""nn.MAPSolve: the MAP step as a layer, and the foreign network of the README."""
from pathlib import Path

import pytest
import torch

import svconv
from svconv import nn, solvers
from test_docs_snippets import programs

pytestmark = pytest.mark.usefixtures("one_thread")
README = Path(__file__).resolve().parents[2] / "README.md"


def scene(batch=1):
    generator = torch.Generator().manual_seed(4)
    y, kernel = (torch.rand(*shape, generator=generator, dtype=torch.float64) for shape in ((batch, 3, 12, 14), (1, 1, 3, 3)))
    return y, kernel / kernel.sum()


@pytest.fixture
def foreign():
    """The class that the README shows."""
    names = {"__name__": "page"}
    source = next(source for source in programs(README.read_text()) if "MAPSolve" in source)
    exec(compile(source, str(README), "exec"), names)
    assert names["restored"].shape == (1, 3, 32, 32)
    torch.manual_seed(3)        # one with which no ReLU changes sides within the step of the finite differences
    network = names["Deblur"]().double()
    network.solve = nn.MAPSolve(tol=1e-12, max_iter=400)
    with torch.no_grad():
        for predictor in (network.data, network.prior):         # filters of the size that training gives them
            predictor.layers[-1].weight.mul_(10)
    return network


def test_it_is_the_solver():
    y, kernel = scene(2)
    generator = torch.Generator().manual_seed(5)
    prior = torch.randn(2, 3, 2, 3, 3, 12, 14, generator=generator, dtype=torch.float64)
    weights, mask = torch.rand(2, 3, 2, 12, 14, generator=generator, dtype=torch.float64), (y[:1, :1] > 0.2).double()
    given = dict(prior_weights=weights, x0=y / 2, mask=mask)
    layer = nn.MAPSolve(tol=1e-5, max_iter=12)
    expected = solvers.map_filters(y, kernel, None, prior, tol=1e-5, max_iter=12, **given)
    found = layer(y, kernel, None, prior, details=True, **given)
    assert torch.equal(found.x, expected.x) and torch.equal(layer(y, kernel, None, prior, **given), expected.x)
    assert torch.equal(found.iterations, expected.iterations) and int(found.iterations.max()) <= 12
    assert list(layer.parameters()) == [] and layer.state_dict() == {}


def test_its_printed_form_and_its_errors():
    assert repr(nn.MAPSolve()) == "MAPSolve(tol=0.0001, max_iter=30)"
    assert repr(nn.MAPSolve(0, 5, implicit=False)) == "MAPSolve(tol=0, max_iter=5, implicit=False)"
    for arguments, text in (((-1,), "tol: "), ((1e-4, 1.5), "max_iter: ")):
        with pytest.raises(ValueError, match=text):
            nn.MAPSolve(*arguments)


def test_a_foreign_network_learns_through_it(foreign):
    """The gradient in weights of the first and the last layer of both predictors of the README is that of finite differences."""
    y, kernel = scene()
    target = svconv.conv(y, kernel, padding="replicate")

    def loss():
        return (foreign(y, kernel) - target).square().sum()

    loss().backward()
    step = 1e-5
    for predictor in (foreign.data, foreign.prior):
        for layer in (predictor.layers[0], predictor.layers[-1]):
            p = layer.weight
            at = (p.grad.abs() == p.grad.abs().max()).nonzero()[0].tolist()
            with torch.no_grad():
                kept, values = float(p[tuple(at)]), []
                for sign in (1, -1):
                    p[tuple(at)] = kept + sign * step
                    values.append(float(loss()))
                p[tuple(at)] = kept
            expected = (values[0] - values[1]) / (2 * step)
            assert abs(expected) > 1e-4 and float(p.grad[tuple(at)]) == pytest.approx(expected, rel=1e-4)
