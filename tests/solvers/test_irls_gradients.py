"""irls: its gradients against finite differences and written out, for every operator and border; what they keep, and when nothing does."""
import pytest
import torch
from torch.func import grad, jvp, vmap

from scenes import blur_kernel, photograph, picture
from svconv import Conv, DiskBlur, EFFBlur, EFFGrid, Identity, PixelFilter
from svconv.operators import EXAMPLES, Operator
from svconv.ops import pixel_filter
from svconv.solvers import cg, irls, reweighted
from svconv.solvers.derivatives import FILTERS, derivative, normal, stencil
from svconv.solvers.irls import levin_weights

F64 = torch.float64
BORDERS = ("mask", "taper", "replicate", None)
EXACT = {"tol": 1e-12, "cg_iter": 300}


def positive(*shape):
    return torch.rand(*shape, dtype=F64) + 0.1


def leaves(*tensors):
    return [t.detach().clone().requires_grad_() for t in tensors]


MAKE = {
    "Conv": (lambda k: Conv(k / k.sum()), [(1, 1, 3, 2)]),
    "PixelFilter": (lambda f: PixelFilter(f / 9), [(1, 3, 3, 6, 5)]),
    "PixelFilter, M = 2": (lambda f: PixelFilter(f / 9), [(1, 1, 2, 3, 3, 6, 5)]),
    "EFFBlur": (lambda k: EFFBlur(k / 9, EFFGrid((6, 5), (2, 1))), [(1, 2, 3, 2)]),
    "DiskBlur": (lambda r: DiskBlur(1 + r), [(1, 1, 6, 5)]),
    "composite": (lambda k, f, a: a * (Conv(k / 6, "reflect") @ PixelFilter(f / 9, "replicate")) + 0.3 * Identity(),
                  [(1, 1, 3, 2), (1, 3, 3, 6, 5), (2,)]),
}


@pytest.mark.parametrize("name, border", [(n, border) for n in MAKE for border in BORDERS if "M" not in n or border in ("mask", None)])
def test_gradients_in_the_image_reg_and_every_tensor_of_the_operator(name, border):
    make, shapes = MAKE[name]
    tensors = [positive(*shape) for shape in shapes]
    y = torch.rand(2, 1, *([2] if make(*tensors).maps[1] else []), 6, 5, dtype=F64)
    mask = torch.ones(1, 1, 6, 5, dtype=F64)
    mask[..., 2, 3] = 0
    inputs = leaves(y, torch.tensor([0.05, 0.02]).to(F64), *tensors)

    def f(y, reg, *tensors):
        return irls(make(*tensors), y, reg=reg, reweightings=1, mask=mask, border=border, **EXACT).x

    assert torch.autograd.gradcheck(f, inputs, fast_mode=True)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_every_example_in_a_random_direction(example):
    op = example.make("zeros")
    tensors = leaves(*(t.abs() if isinstance(op, DiskBlur) else t.abs() / 20 for t in op.tensors))
    shape = op.input_shape(example.shape)
    y = op.with_tensors(tensors)(100 * torch.rand(*shape, dtype=F64)).detach()     # few derivatives at the floor, where gradients jump
    weight, steps = torch.randn(shape, dtype=F64), [torch.randn_like(t) for t in tensors]

    def loss(tensors, reg=100.0):
        return (weight * irls(op.with_tensors(tensors), y, reg=reg, reweightings=1, border=None, tol=1e-12, cg_iter=2000).x).sum()

    slope = sum((g * s).sum() for g, s in zip(torch.autograd.grad(loss(tensors), tensors), steps))
    with torch.no_grad():
        high, low = (loss([t + h * s for t, s in zip(tensors, steps)]) for h in (1e-6, -1e-6))
    assert slope.item() == pytest.approx((high - low).item() / 2e-6, rel=1e-4, abs=1e-4)


def test_two_reweightings_second_order_and_forward_mode():
    mask = torch.ones(1, 1, 5, 4, dtype=F64)
    mask[..., 1, 2] = 0

    def f(y, reg, k, reweightings=1):
        return irls(Conv(k / k.sum()), y, reg=reg, mask=mask, reweightings=reweightings, **EXACT).x

    inputs = leaves(torch.rand(2, 1, 5, 4, dtype=F64), torch.tensor(0.05, dtype=F64), positive(1, 1, 3, 2))
    assert torch.autograd.gradcheck(lambda *t: f(*t, reweightings=2), inputs, fast_mode=True, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, inputs, fast_mode=True, atol=1e-4)


@pytest.mark.parametrize("weights", ["differentiated", "held"])
def test_torch_func_and_vmap(weights):
    y, reg, filters = torch.rand(2, 1, 5, 4, dtype=F64), torch.tensor([0.05, 0.02], dtype=F64), positive(1, 2, 2, 5, 4) / 4

    def loss(y, reg, filters):
        return irls(PixelFilter(filters), y, reg=reg, reweightings=1, weights=weights, border=None, **EXACT).x.pow(3).sum()

    inputs = leaves(y, reg, filters)
    expected = torch.autograd.grad(loss(*inputs), inputs)
    torch.testing.assert_close(grad(loss, (0, 1, 2))(y, reg, filters), expected)
    _, tangent = jvp(loss, (y, reg, filters), tuple(map(torch.ones_like, inputs)))
    torch.testing.assert_close(tangent, sum(g.sum() for g in expected))
    several = vmap(grad(loss, (0, 1, 2)))(*(torch.stack([t, 0.9 * t]) for t in (y, reg, filters)))
    torch.testing.assert_close([g[0] for g in several], list(expected))


# weights ------------------------------------------------------------------------------------------------------------

def scene(dtype=F64, noise=0.01):
    truth, k = picture(20, 22, dtype=dtype), blur_kernel(dtype=dtype)
    return k, photograph(Conv(k, "reflect"), truth, noise=noise)


def test_held_weights_are_constants_of_the_solve():
    k, y = scene()
    inputs = leaves(y, k, torch.tensor(0.002).to(F64))
    options = {"border": None, "tol": 1e-11, "cg_iter": 500}
    first = irls(Conv(k, "reflect"), y, reweightings=0, **options).x
    prior = stencil(levin_weights(first), first)

    def by_cg(y, k, reg):
        b = Conv(k, "reflect").adjoint(y)
        return cg(lambda x, k, reg: Conv(k, "reflect").gram(x) + reg * pixel_filter(x, prior).squeeze(2), b, params=(k, reg), tol=1e-11,
                  max_iter=500).x

    def by_irls(y, k, reg, weights):
        return irls(Conv(k, "reflect"), y, reg=reg, reweightings=1, weights=weights, **options).x

    upstream = torch.randn_like(y)
    expected = torch.autograd.grad(by_cg(*inputs), inputs, upstream)
    held = torch.autograd.grad(by_irls(*inputs, "held"), inputs, upstream)
    torch.testing.assert_close(held, expected, rtol=1e-5, atol=1e-7)
    through = torch.autograd.grad(by_irls(*inputs, "differentiated"), inputs, upstream)
    assert all((a - b).norm() > 0.01 * a.norm() for a, b in zip(through, held))


def test_weights_at_the_floor_do_not_move():
    """Where every derivative is below 0.01 the weights are constants: both choices have one gradient."""
    y = 0.5 + 0.001 * torch.rand(1, 1, 8, 9, dtype=F64)
    inputs = leaves(y, torch.tensor(0.05, dtype=F64))
    found = []
    for weights in ("differentiated", "held"):
        x = irls(Conv(blur_kernel(dtype=F64)), inputs[0], reg=inputs[1], weights=weights, **EXACT).x
        found.append(torch.autograd.grad(x.square().sum(), inputs))
    torch.testing.assert_close(*found, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("height, width", [(6, 7), (2, 5), (1, 1), (1, 8)])
def test_the_normal_operator_filter_by_filter_is_the_stencil(height, width):
    x = torch.randn(2, 3, height, width, dtype=F64)
    weights = {name: torch.rand_like(derivative(x, name)) for name in FILTERS}
    torch.testing.assert_close(normal(x, weights), pixel_filter(x, stencil(weights, x)).squeeze(2))
    uniform = dict.fromkeys(FILTERS, 0.3)
    torch.testing.assert_close(normal(x, uniform), pixel_filter(x, stencil(uniform, x)).squeeze(2))
    per_sample = dict.fromkeys(FILTERS, torch.tensor([0.3, 0.7], dtype=F64).reshape(2, 1, 1, 1))
    made = stencil(per_sample, x)
    assert made.shape[:2] == (2, 1)
    torch.testing.assert_close(normal(x, per_sample), pixel_filter(x, made).squeeze(2))


# reg ----------------------------------------------------------------------------------------------------------------

def test_reg_as_a_tensor_is_that_of_each_sample():
    k, y = scene()
    y, reg = torch.cat([y, y.flip(-1)]), torch.tensor([0.002, 0.02], dtype=F64)
    options = {"tol": 1e-10, "cg_iter": 500}
    together = irls(Conv(k), y, reg=reg, **options).x
    for i in range(2):
        alone = irls(Conv(k), y[i:i + 1], reg=float(reg[i]), **options).x
        torch.testing.assert_close(together[i:i + 1], alone, rtol=0, atol=1e-6)
        moving = irls(Conv(k), y[i:i + 1], reg=reg[i].clone().requires_grad_(), **options)
        torch.testing.assert_close(moving.x, alone, rtol=0, atol=1e-6)
    assert torch.equal(irls(Conv(k), y, reg=reg[0]).x, irls(Conv(k), y, reg=0.002).x)


# types --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("weights, dtype, bound", [
    ("held", torch.float32, 0.005), ("held", torch.bfloat16, 0.1), ("held", torch.float16, 0.02),
    ("differentiated", torch.float32, 0.05), ("differentiated", torch.bfloat16, 0.15), ("differentiated", torch.float16, 0.05)])
def test_every_precision(weights, dtype, bound):
    k, y = scene()

    def gradients(dtype, tol):
        inputs = leaves(y.to(dtype), k.to(dtype), torch.tensor(0.01))
        x = irls(Conv(inputs[1]), inputs[0], reg=inputs[2], reweightings=1, cg_iter=500, tol=tol, weights=weights).x
        found = torch.autograd.grad(x.square().sum(), inputs)
        assert [g.dtype for g in found] == [dtype, dtype, torch.float32] and x.dtype == dtype
        return found

    for one, exact in zip(gradients(dtype, 1e-6), gradients(F64, 1e-12)):
        assert (one.double() - exact.double()).norm() < bound * exact.double().norm()


# where nothing is recorded, and what is -------------------------------------------------------------------------------

@pytest.mark.parametrize("make", [Conv, lambda k: PixelFilter(k.flip((-2, -1)).reshape(1, 5, 5, 1, 1).expand(1, 5, 5, 20, 22))])
@pytest.mark.parametrize("weights", ["differentiated", "held"])
def test_a_graph_changes_no_bit(make, weights):
    k, y = scene(torch.float32)
    plain = irls(make(k), y)
    with torch.no_grad():
        assert torch.equal(plain.x, irls(make(k), y.clone().requires_grad_()).x)
    assert not plain.x.requires_grad
    for image, kernel in ((y.clone().requires_grad_(), k), (y, k.clone().requires_grad_())):
        found = irls(make(kernel), image, weights=weights)
        assert found.x.requires_grad and torch.equal(found.x, plain.x) and torch.equal(found.iterations, plain.iterations)
        assert not found.residuals.requires_grad and torch.equal(found.residuals, plain.residuals)


def test_solves_apply_one_stencil_and_gradients_the_filters_once_each(monkeypatch):
    k, y = scene()
    calls = []
    monkeypatch.setattr(reweighted, "normal", lambda *given: calls.append(1) or normal(*given))
    x = irls(Conv(k.requires_grad_()), y).x
    assert x.requires_grad and not calls
    x.sum().backward()
    assert len(calls) == 3


def kept_values(y, **options):
    """How many values the graph of `irls` holds."""
    kept = {}

    def pack(t):
        kept[t.untyped_storage().data_ptr(), t.numel()] = t.numel()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        result = irls(Conv(blur_kernel(dtype=F64)), y, tol=0, **options)
    return sum(kept.values()), result


def test_memory_does_not_grow_with_the_steps():
    _, y = scene()
    few, _ = kept_values(y.clone().requires_grad_(), cg_iter=3)
    many, _ = kept_values(y.clone().requires_grad_(), cg_iter=60)
    assert few == many < 25 * y.numel()        # not one stencil of 25 planes
    assert kept_values(y, cg_iter=3)[0] == 0


@pytest.mark.filterwarnings("ignore:cg. the adjoint solve:RuntimeWarning")
def test_held_weights_need_one_adjoint_solve():
    _, y = scene()
    for weights, solves in (("differentiated", [True, True, True]), ("held", [False, False, True])):
        _, result = kept_values(y.clone().requires_grad_(), cg_iter=9, weights=weights)
        assert all(report.x is None and report.adjoint is None for report in result.reports)
        result.x.sum().backward()
        assert [report.adjoint is not None for report in result.reports] == solves


def test_gradients_stop_at_masked_pixels():
    k, y = scene()
    mask = torch.ones(1, 1, 20, 22, dtype=F64)
    mask[..., 4:7, 9:12] = 0
    y = torch.where(mask > 0, y, float("nan")).requires_grad_()
    found, = torch.autograd.grad(irls(Conv(k), y, mask=mask, cg_iter=500).x.square().sum(), y)
    assert found.isfinite().all() and bool((found[mask == 0] == 0).all()) and bool((found[mask > 0] != 0).all())


def test_not_converging_is_reported_and_warned_about():
    k, y = scene()
    result = irls(Conv(k), y.requires_grad_(), cg_iter=2)
    assert not result.converged.any()
    with pytest.warns(RuntimeWarning, match="adjoint solve of the backward pass did not converge"):
        result.x.sum().backward()
    assert not result.reports[-1].adjoint.converged.any()


class Shade(Operator):
    """Every pixel times its own factor; does not say how it is made of other tensors."""

    def __init__(self, factors):
        self.factors, self.tensors, self.frame = factors, (factors,), tuple(factors.shape)

    def _forward(self, x):
        return self.factors * x

    _adjoint = _forward


def test_an_operator_that_cannot_be_remade_passes_gradients_to_the_image():
    op, y = Shade(positive(1, 1, 6, 5)), torch.rand(1, 1, 6, 5, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: irls(op, y, reg=0.1, border=None, **EXACT).x, (y,), fast_mode=True)
    with pytest.raises(TypeError, match="Shade does not say how it is made of other tensors"):
        irls(op.requires_grad_(), y.detach(), border=None)


def test_callbacks_see_no_graph_and_an_empty_batch_has_gradients():
    k, y = scene()
    seen = []
    irls(Conv(k), y.requires_grad_(), cg_iter=5, callback=lambda step, steps, x: seen.append((step, x.requires_grad)))
    assert seen[-1] == (15, False) and not any(has for _, has in seen)
    k.requires_grad_()
    x = irls(Conv(k), y[:0]).x
    assert x.shape == (0, 1, 20, 22)
    for g in torch.autograd.grad(x.sum(), (y, k)):
        assert bool((g == 0).all())


@pytest.mark.parametrize("options, error, message", [
    ({"weights": "fixed"}, ValueError, "weights: expected 'differentiated' or 'held', got 'fixed'"),
    ({"tol": -1}, ValueError, "tol: expected a number >= 0, got -1"),
    ({"reg": torch.zeros(1, 1)}, ValueError, r"reg: expected a number, \[\] or \[B\] = \[2\], got \[1, 1\]"),
    ({"reg": torch.zeros(3)}, ValueError, r"reg: expected a number, \[\] or \[B\] = \[2\], got \[3\]"),
    ({"reg": torch.zeros(2, dtype=F64)}, TypeError, "reg: expected torch.float32 like y, got torch.float64"),
    ({"reg": torch.tensor([0.1, -0.1])}, ValueError, "reg: expected finite numbers >= 0, got one that is not"),
    ({"reg": torch.tensor(float("nan"), requires_grad=True)}, ValueError, "reg: expected finite numbers >= 0"),
    ({"reg": torch.tensor(-1)}, ValueError, "reg: expected a number >= 0, got -1"),
    ({"reg": "strong"}, TypeError, "reg: expected a number >= 0, got 'strong'"),
])
def test_messages_name_the_argument(options, error, message):
    with pytest.raises(error, match=message):
        irls(Conv(blur_kernel()), torch.rand(2, 1, 8, 8), **options)
