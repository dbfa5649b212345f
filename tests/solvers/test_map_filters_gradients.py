"""map_filters: its gradients against finite differences and the unrolled steps, under the transforms, and what they keep."""
import pytest
import torch
from torch.func import grad, hessian, jvp, vmap

from svconv.solvers import map_filters

F64 = torch.float64
NAMES = ("y", "kernel", "data_filters", "prior_filters", "data_weights", "prior_weights")
EXACT = {"tol": 1e-13, "max_iter": 1000}


def positive(*shape):
    return torch.rand(*shape, dtype=F64) + 0.1


def inputs(height=4, width=5, batch=1, channels=1):
    """One tensor for each of NAMES, well conditioned."""
    f, g = (torch.randn(1, 1, 2, 3, 3, height, width, dtype=F64) / 3 for _ in range(2))
    f[:, :, 0, 1, 1] += 2
    g[:, :, 0, 1, 1] += 1
    kernel = positive(1, 1, 2, 3)
    return [positive(batch, channels, height, width), kernel / kernel.sum(), f, g,
            positive(1, 1, 2, height, width), positive(1, 1, 2, height, width)]


def leaves(tensors):
    return [t.clone().requires_grad_() for t in tensors]


def solved(*tensors, **options):
    return map_filters(**dict(zip(NAMES, tensors)), **{**EXACT, **options})


VARIANTS = {
    "plain": {},
    "mask": {"mask": torch.tensor([1.0, 0, 1, 1, 0.5]).expand(1, 1, 4, 5).to(F64)},
    "several": {"batch": 2, "channels": 2},
}


@pytest.mark.parametrize("name", list(VARIANTS))
@pytest.mark.parametrize("implicit", [True, False])
def test_gradients_of_every_argument(name, implicit):
    options = dict(VARIANTS[name])
    tensors = leaves(inputs(batch=options.pop("batch", 1), channels=options.pop("channels", 1)))
    shares = torch.randn(3, dtype=F64)

    def f(*t):
        result = solved(*t, implicit=implicit, **options)
        return torch.cat([share * part.flatten() for share, part in zip(shares, (result.x, result.extended, result.misfit))])

    assert torch.autograd.gradcheck(f, tensors, fast_mode=True, check_forward_ad=implicit)


def test_without_data_filters_and_weights():
    y, kernel, _, g, *_ = leaves(inputs())
    assert torch.autograd.gradcheck(lambda y, k, g: map_filters(y, k, None, g, **EXACT).x, (y, kernel, g), fast_mode=True)


@pytest.mark.parametrize("implicit", [True, False])
def test_second_order(implicit):
    tensors = leaves(inputs(3, 4))
    assert torch.autograd.gradgradcheck(lambda *t: solved(*t, implicit=implicit).x, tensors, fast_mode=True, atol=1e-4)


def test_the_implicit_gradient_is_that_of_the_unrolled_steps():
    """To 1e-4 relative, of a loss, at a tolerance of 1e-7."""
    tensors = leaves(inputs(20, 22, batch=2, channels=3))
    truth = torch.rand(2, 3, 20, 22, dtype=F64)
    found = []
    for implicit in (True, False):
        result = solved(*tensors, tol=1e-7, max_iter=500, implicit=implicit)
        assert result.converged.all()
        found.append(torch.autograd.grad((result.x - truth).abs().mean(), tensors))
    for one, other in zip(*found):
        assert (one - other).norm() < 1e-4 * other.norm()


def test_uniform_filters_get_the_sum_of_the_gradients_of_their_copies():
    y, k, *_ = inputs(6, 7)
    small = torch.randn(1, 1, 2, 3, 3, 1, 1, dtype=F64, requires_grad=True)
    expanded = small.expand(1, 1, 2, 3, 3, 6, 7)
    full = expanded.detach().clone().requires_grad_()
    one, = torch.autograd.grad(map_filters(y, k, None, expanded, **EXACT).x.square().sum(), small)
    other, = torch.autograd.grad(map_filters(y, k, None, full, **EXACT).x.square().sum(), full)
    torch.testing.assert_close(one, other.sum((-2, -1), keepdim=True), rtol=1e-7, atol=1e-9)


# what is kept, and what is not ----------------------------------------------------------------------------------------

def kept_values(max_iter, tensors, **options):
    """How many values the graph of a solve holds."""
    kept = {}

    def pack(t):
        kept[t.untyped_storage().data_ptr(), t.numel()] = t.numel()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        result = solved(*tensors, tol=0, max_iter=max_iter, **options)
    return sum(kept.values()), result


def test_memory_does_not_grow_with_the_steps():
    tensors = leaves(inputs(16, 17))
    few, many = (kept_values(steps, tensors)[0] for steps in (10, 100))
    assert few == many
    assert kept_values(20, tensors, implicit=False)[0] > kept_values(10, tensors, implicit=False)[0] > few
    plain, result = kept_values(10, inputs(16, 17))
    assert plain == 0 and not result.x.requires_grad


def test_a_graph_changes_no_bit():
    tensors = [t.float() for t in inputs(12, 13, channels=2)]
    plain = solved(*tensors, tol=1e-4, max_iter=30)
    for i in range(len(tensors)):
        moving = [t.clone().requires_grad_(i == j) for j, t in enumerate(tensors)]
        found = solved(*moving, tol=1e-4, max_iter=30)
        assert found.x.requires_grad and torch.equal(found.x, plain.x) and torch.equal(found.misfit, plain.misfit)
        assert torch.equal(found.iterations, plain.iterations) and not found.residuals.requires_grad
        with torch.no_grad():
            assert not solved(*moving, max_iter=3).x.requires_grad


@pytest.mark.parametrize("implicit", [True, False])
def test_a_start_has_a_gradient_only_in_unrolled_steps(implicit):
    tensors = inputs()
    x0 = torch.rand_like(tensors[0]).requires_grad_()
    x = solved(*tensors, x0=x0, max_iter=2, implicit=implicit).x
    assert x.requires_grad == (not implicit)


def test_the_adjoint_solve_is_reported_and_warned_about():
    tensors = leaves(inputs(12, 13))
    good = solved(*tensors, tol=1e-8)
    assert good.report.adjoint is None
    good.x.sum().backward()
    assert good.report.adjoint.converged.all() and bool((good.report.adjoint.iterations > 0).all())
    poor = solved(*tensors, tol=1e-8, max_iter=2)
    assert not poor.converged.any()
    with pytest.warns(RuntimeWarning, match="adjoint solve of the backward pass did not converge"):
        poor.x.sum().backward()


def test_gradients_stop_at_masked_pixels():
    y, *others = inputs(9, 10)
    mask = torch.ones(1, 1, 9, 10, dtype=F64)
    mask[..., 3:5, 6:8] = 0
    y = torch.where(mask > 0, y, float("nan"))
    tensors = leaves([y, *others])
    found = torch.autograd.grad(solved(*tensors, mask=mask).x.square().sum(), tensors)
    assert all(g.isfinite().all() for g in found)
    assert bool((found[0][mask == 0] == 0).all()) and bool((found[0][mask > 0] != 0).all())


@pytest.mark.filterwarnings("ignore:cg. the adjoint solve:RuntimeWarning")
def test_filters_that_are_zero_have_finite_gradients():
    y, k, f, g, v, w = inputs()
    tensors = leaves([y, k, 0 * f, 0 * g, v, w])
    found = torch.autograd.grad(solved(*tensors, max_iter=50).x.square().sum(), tensors)
    assert all(t.isfinite().all() for t in found)


@pytest.mark.parametrize("dtype, bound", [(torch.float32, 1e-3), (torch.bfloat16, 0.2), (torch.float16, 0.05)])
def test_every_precision(dtype, bound):
    exact = leaves(inputs(10, 11))
    rounded = [t.detach().to(dtype).requires_grad_() for t in exact]
    expected = torch.autograd.grad(solved(*exact).x.square().sum(), exact)
    found = torch.autograd.grad(solved(*rounded, tol=1e-6).x.float().square().sum(), rounded)
    for one, other in zip(found, expected):
        assert one.dtype == dtype and (one.double() - other).norm() < bound * other.norm()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_filters_beside_a_float32_image_have_gradients_of_their_type(dtype):
    tensors = [t.float() for t in inputs(10, 11)]
    wide = leaves(tensors)
    narrow = leaves([*tensors[:2], *(t.to(dtype) for t in tensors[2:4]), *tensors[4:]])
    expected = torch.autograd.grad(solved(*wide, tol=1e-6).x.square().sum(), wide)
    found = torch.autograd.grad(solved(*narrow, tol=1e-6).x.square().sum(), narrow)
    for one, other, given in zip(found, expected, narrow):
        assert one.dtype == given.dtype and (one.double() - other).norm() < 0.1 * other.norm()


def test_an_empty_batch_has_gradients():
    y, *others = inputs()
    tensors = leaves([y[:0], *others])
    found = torch.autograd.grad(solved(*tensors, max_iter=5).x.sum(), tensors)
    assert all(bool((g == 0).all()) and g.shape == t.shape for g, t in zip(found, tensors))


# transforms ---------------------------------------------------------------------------------------------------------

TRANSFORMS = {
    "grad": lambda f, t: grad(lambda *t: f(*t).square().sum(), tuple(range(6)))(*t),
    "jvp": lambda f, t: jvp(f, tuple(t), tuple(map(torch.ones_like, t)))[1],
    "Hessian times vector": lambda f, t: jvp(grad(lambda *t: f(*t).square().sum(), (2, 3)), tuple(t), tuple(map(torch.ones_like, t)))[1],
    "hessian of the kernel": lambda f, t: hessian(lambda k: f(t[0], k, *t[2:]).square().sum())(t[1]),
    "vmap over the image": lambda f, t: vmap(lambda y: f(y, *t[1:]))(torch.stack([t[0], t[0].flip(-1)])),
    "vmap over everything": lambda f, t: vmap(f)(*(torch.stack([a, 0.9 * a]) for a in t)),
    "gradients per sample": lambda f, t: vmap(grad(lambda y, k: f(y, k, *t[2:]).square().sum(), (0, 1)), (0, None))(
        torch.stack([t[0], 2 * t[0]]), t[1]),
    "vectorised": lambda f, t: torch.autograd.functional.jacobian(lambda k, w: f(t[0], k, *t[2:5], w), (t[1], t[5]), vectorize=True),
}


@pytest.mark.parametrize("name", list(TRANSFORMS))
def test_every_transform(name):
    """Against the unrolled steps."""
    tensors = inputs(3, 4)
    found, expected = (TRANSFORMS[name](lambda *t, i=implicit: solved(*t, implicit=i, tol=1e-12, max_iter=50).x, tensors)
                       for implicit in (True, False))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_starts_of_a_vmap():
    tensors = inputs(3, 4)
    starts = torch.rand(3, *tensors[0].shape, dtype=F64)
    expected = solved(*tensors, tol=1e-12).x
    found = vmap(lambda x0: solved(*tensors, x0=x0, tol=1e-12).x)(starts)
    torch.testing.assert_close(found, expected.expand(3, *expected.shape), rtol=0, atol=1e-9)
    each = vmap(lambda x0: solved(*tensors, x0=x0, max_iter=1).x)(starts)
    assert (each[0] - each[1]).norm() > 1e-3 * each[0].norm()
