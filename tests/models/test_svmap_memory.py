"""SVMAP and SIMAP: filters that are predicted again instead of kept, prior filters without a mean, the image that the steps start from."""
import pytest
import torch

import svconv
from scenes import blur_kernel, photograph, picture
from svconv.models import SIMAP, SVMAP
from svconv.solvers.map_problem import MAPProblem

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = dict(width=4, data_filters=2, prior_filters=3, data_size=3, prior_size=3)
KINDS = pytest.mark.parametrize("kind", [SVMAP, SIMAP])


def seeded(kind, **arguments):
    torch.manual_seed(0)
    return kind(**arguments).double()


def texture(height=13, width=12, batch=1):
    """(y, kernel), random."""
    generator = torch.Generator().manual_seed(2)
    y, kernel = (torch.rand(*shape, generator=generator, dtype=torch.float64) for shape in ((batch, 3, height, width), (1, 1, 3, 3)))
    return y, kernel / kernel.sum()


def rms(a, margin=0):
    height, width = a.shape[-2:]
    return float(a[..., margin:height - margin, margin:width - margin].square().mean().sqrt())


def gradients(model, y, kernel):
    model.zero_grad()
    model(y, kernel).square().mean().backward()
    return [p.grad.clone() for p in model.parameters()]


def kept(model, y, kernel):
    """Elements that autograd keeps for the backward pass."""
    sizes = {}

    def note(t):
        sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        model(y, kernel)
    return sum(sizes.values())


@KINDS
@pytest.mark.parametrize("share", [False, True])
def test_filters_that_are_predicted_again_give_the_same_gradients(kind, share):
    more = {"share": share} if kind is SVMAP else {}
    model = seeded(kind, **{**SMALL, "tol": 1e-8, "max_iter": 60}, **more)
    y, kernel = texture(batch=2)
    plain = gradients(model, y, kernel)
    model.recompute = True
    for a, b in zip(gradients(model, y, kernel), plain):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_filters_that_are_predicted_again_are_not_kept():
    model = seeded(SVMAP, width=4, max_iter=2)
    y, kernel = texture(24, 24)
    plain = kept(model, y, kernel)
    model.recompute = True
    assert kept(model, y, kernel) < plain / 10


@KINDS
@pytest.mark.parametrize("zero_sum", [True, False])
def test_prior_filters_sum_to_zero(kind, zero_sum):
    model = seeded(kind, width=4, start="random", zero_sum=zero_sum, max_iter=3)
    y, kernel = texture()
    with torch.no_grad():
        found = model(y, kernel, details=True).filters[0]
    sums = found.prior_filters.sum((3, 4)).abs().max()
    assert (sums < 1e-13) == zero_sum
    assert float(found.data_filters.sum((3, 4)).abs().max()) > 1e-6


def test_a_prior_filter_of_one_weight_has_no_mean_taken_off():
    with torch.no_grad():
        found = seeded(SVMAP, width=4, prior_size=1, max_iter=3)(*texture(), details=True).filters[0]
    assert float(found.prior_filters.abs().min()) > 0


def test_the_first_image_minimises_its_energy():
    """`|y - K x|^2 + beta (|Dx x|^2 + |Dy x|^2)` on a plane that goes on as a torus; eight steps are near, and better than the quotient of
    a continued image."""
    torch.manual_seed(3)
    sharp, kernel = picture(dtype=torch.float64), blur_kernel(9, torch.float64)
    y = photograph(svconv.Conv(kernel), sharp, noise=0.003)
    problem = MAPProblem(y, kernel)
    found = problem.first(0.01, 300)
    x = found.clone().requires_grad_()
    energy = problem.misfit(x).square().sum() + 0.01 * sum((x - x.roll(1, axis)).square().sum() for axis in (-2, -1))
    slope = torch.autograd.grad(energy, x)[0]
    assert rms(slope) < 1e-5 * rms(problem.op.adjoint(problem.plane.leave_adjoint(y)))
    eight, quotient = problem.plane.leave(problem.first(0.01, 8)), svconv.image_quotient(y, kernel, beta=0.01, prior="gradient",
                                                                                        padding="replicate")
    assert rms(eight - problem.plane.leave(found)) < 0.3 * rms(y - sharp) and rms(eight - sharp) < rms(quotient - sharp)


def test_gradients_of_the_first_image():
    y, kernel = (t[..., :1, :, :].requires_grad_() for t in texture(7, 6))

    def first(y, kernel):
        return MAPProblem(y, kernel).first(0.05, 4)

    assert torch.autograd.gradcheck(first, (y, kernel), fast_mode=True)
