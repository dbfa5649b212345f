"""Operators as deepinv's physics: the same numbers, exact adjoints, buffers that behave, solvers with gradients, deepinv's optimisers."""
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

import svconv
from svconv.operators import EXAMPLES, Conv, DiskBlur, EFFBlur, Identity, PixelFilter

ROOT = Path(__file__).resolve().parents[2]
runpy.run_path(str(ROOT / ".ci" / "peers" / "peers_torchvision.py"))      # deepinv imports torchvision
deepinv = pytest.importorskip("deepinv")
as_physics = svconv.interop.deepinv.as_physics
SIZE = (12, 14)


def kernel(*shape, dtype=torch.float64):
    k = torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return k / k.sum((-2, -1), keepdim=True)


def filters(*shape):
    f = torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return f / f.sum((-4, -3), keepdim=True)


def disk(form="gather"):
    return DiskBlur(2 * torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(2), dtype=torch.float64), form=form)


ADAPTED = {
    "Conv": lambda: Conv(kernel(1, 1, 5, 4)),
    "Conv reflect": lambda: Conv(kernel(1, 3, 3, 5), padding="reflect"),
    "PixelFilter": lambda: PixelFilter(filters(1, 3, 3, *SIZE)),
    "PixelFilter M": lambda: PixelFilter(filters(1, 1, 2, 3, 4, *SIZE), padding="symmetric"),
    "EFFBlur": lambda: EFFBlur(kernel(1, 6, 3, 3), svconv.EFFGrid(SIZE, (2, 3))),
    "DiskBlur": disk,
    "product": lambda: Conv(kernel(1, 1, 3, 3)) @ disk("scatter"),
    "sum": lambda: torch.tensor(0.7, dtype=torch.float64) * Conv(kernel(1, 1, 3, 3), padding="zeros") + Identity(),
    "stack": lambda: svconv.stack([Conv(kernel(1, 1, 3, 3)), PixelFilter(filters(1, 3, 3, *SIZE))]),
}
KINDS = [(name, padding) for name in ADAPTED for padding in (None, "valid", "circular") if (name, padding) != ("sum", "circular")]


def matrix(function, *shape):
    """Columns: what the map makes of every unit image."""
    basis = torch.eye(torch.Size(shape).numel(), dtype=torch.float64).reshape(-1, *shape)
    return torch.cat([function(e[None]).reshape(1, -1) for e in basis]).T


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}, {kind[1]}")
def adapted(request):
    name, padding = request.param
    return ADAPTED[name](), padding, as_physics(ADAPTED[name](), padding=padding, img_size=(3, *SIZE))


def test_it_is_the_operator(adapted):
    op, padding, physics = adapted
    assert isinstance(physics, deepinv.physics.LinearPhysics) and physics.img_size == (3, *SIZE)
    x = torch.randn(1, 3, *SIZE, dtype=torch.float64)
    if padding == "valid":
        top, bottom, left, right = op.reach
        expected = op.with_padding("zeros")(x)[..., top:SIZE[0] - bottom, left:SIZE[1] - right]
    else:
        expected = (op if padding is None else op.with_padding(padding))(x)
    torch.testing.assert_close(physics.A(x), expected, rtol=0, atol=1e-13)
    assert physics.adjointness_test(x) < 1e-12
    torch.testing.assert_close(physics.A_adjoint_A(x), physics.A_adjoint(physics.A(x)), rtol=0, atol=1e-12)


def test_the_norm_is_that_of_the_matrix(adapted):
    _, _, physics = adapted
    A = matrix(physics.A, 3, *SIZE)
    squared = torch.linalg.matrix_norm(A, 2) ** 2
    for x in (torch.zeros(1, 3, *SIZE, dtype=torch.float64), torch.zeros(3, *SIZE, dtype=torch.float64)):
        torch.testing.assert_close(physics.compute_sqnorm(x, max_iter=400, tol=1e-5, verbose=False), squared, rtol=1e-2, atol=0)


GAMMA = torch.tensor([2.0, 5.0], dtype=torch.float64)


def test_the_proximal_step_solves_its_system(adapted):
    _, _, physics = adapted
    gamma, inverse = GAMMA, 1 / GAMMA.reshape(2, 1, 1, 1)
    z = torch.randn(2, 3, *SIZE, dtype=torch.float64)
    y = physics.A(torch.randn(2, 3, *SIZE, dtype=torch.float64))
    x = physics.prox_l2(z, y, gamma, tol=1e-10, max_iter=500)
    torch.testing.assert_close(physics.A_adjoint_A(x) + inverse * x, physics.A_adjoint(y) + inverse * z, rtol=0, atol=1e-7)


@pytest.mark.parametrize("padding", ["circular", "reflect"])
def test_gamma_of_every_shape(padding):
    physics, (z, y) = as_physics(Conv(kernel(1, 1, 3, 3)), padding=padding), torch.randn(2, 2, 3, *SIZE, dtype=torch.float64)
    both = physics.prox_l2(z, y, GAMMA, tol=1e-12, max_iter=200)
    for gamma in (GAMMA.reshape(2, 1, 1, 1), GAMMA.float()):
        torch.testing.assert_close(physics.prox_l2(z, y, gamma, tol=1e-12, max_iter=200), both)
    for gamma in (2, 2.0, torch.tensor(2.0), torch.tensor([2.0]), np.float32(2)):
        torch.testing.assert_close(physics.prox_l2(z[:1], y[:1], gamma, tol=1e-12, max_iter=200), both[:1])


def test_the_pseudo_inverse_gives_back_what_is_in_the_range(adapted):
    _, _, physics = adapted
    x = physics.A_adjoint_A(torch.randn(1, 3, *SIZE, dtype=torch.float64))
    found = physics.A_dagger(physics.A(x), solver="lsqr", tol=1e-6, max_iter=500)
    assert torch.linalg.vector_norm(found - x) < 0.02 * torch.linalg.vector_norm(x)


@pytest.mark.parametrize("padding", ["valid", "circular", "reflect", "replicate", "constant"])
def test_it_equals_the_blur_of_deepinv(padding):
    k, x = kernel(1, 1, 5, 3, dtype=torch.float32), torch.rand(2, 3, 20, 24)
    ours, theirs = as_physics(Conv(k), padding=padding), deepinv.physics.Blur(filter=k, padding=padding)
    y = ours.A(x)
    torch.testing.assert_close(y, theirs.A(x), rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.A_adjoint(y), theirs.A_adjoint(y), rtol=0, atol=1e-5)
    gamma = torch.tensor([2.0, 5.0])
    options = dict(tol=1e-6, max_iter=200)
    torch.testing.assert_close(ours.prox_l2(x, y, gamma, **options), theirs.prox_l2(x, y, gamma, **options), rtol=0, atol=1e-4)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_every_example_is_adapted_with_its_adjoint(example):
    op = example.make("reflect")
    physics, shape = as_physics(op), op.input_shape(example.shape)
    x, buffers = torch.randn(shape, dtype=torch.float64), dict(physics.named_buffers())
    assert torch.equal(physics.A(x), op(x)) and all(any(b is t for b in buffers.values()) for t in op.tensors)
    if op.frame[0] == 1:
        assert physics.adjointness_test(x) < 1e-12
    assert physics.img_size == (None if op.frame[2] is None else tuple(op.input_shape()[1:]))


# buffers ------------------------------------------------------------------------------------------------------------

def test_names_of_the_buffers():
    k = kernel(1, 1, 3, 3)
    names = [*as_physics(torch.tensor(2.0) * (Conv(k) @ PixelFilter(filters(1, 3, 3, *SIZE)) @ Conv(k.clone()))).state_dict()]
    assert names == ["factor", "kernel_1", "filters", "kernel_2"]
    shared = as_physics(Conv(k) + Conv(k).T)        # one tensor is one buffer
    assert [*shared.state_dict()] == ["kernel"]
    x = torch.randn(1, 3, *SIZE, dtype=torch.float64)
    torch.testing.assert_close(shared.A(x, kernel=2 * k), 2 * (Conv(k) + Conv(k).T)(x))


def test_state_clone_and_to():
    physics, other = as_physics(Conv(kernel(1, 1, 5, 4))), as_physics(Conv(torch.zeros(1, 1, 5, 4, dtype=torch.float64)))
    x = torch.randn(1, 3, *SIZE, dtype=torch.float64)
    y = physics.A(x)
    other.load_state_dict(physics.state_dict())
    assert torch.equal(other.A(x), y)
    clone = physics.clone()
    clone.kernel.zero_()
    assert type(clone) is type(physics) and torch.equal(physics.A(x), y) and not clone.A(x).any()
    physics.float()
    assert physics.kernel.dtype == torch.float32 and physics.operator.dtype == torch.float32
    torch.testing.assert_close(physics.A(x.float()), y.float(), rtol=0, atol=1e-5)


def test_tensors_of_a_network_keep_their_gradient():
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    physics, x = as_physics(Conv(kernel(1, 1, 3, 3), padding="reflect")), torch.randn(1, 3, *SIZE, dtype=torch.float64)
    sharp = kernel(1, 1, 5, 5)
    sharp[..., 2, 2] += 2       # well-conditioned
    physics.update_parameters(kernel=weight * sharp)
    assert not physics.kernel.is_leaf and physics.A(x).shape == x.shape
    for result in (physics.A(x), physics.A_adjoint(x), physics.A_adjoint_A(x), physics.prox_l2(x, x, 2.0), physics.A_dagger(x)):
        gradient, = torch.autograd.grad(result.square().sum(), weight, retain_graph=True)
        assert gradient != 0
    clone = physics.clone()
    assert torch.equal(clone.kernel, physics.kernel) and not clone.kernel.requires_grad
    physics.A(x, kernel=kernel(1, 1, 3, 3))
    assert physics.kernel.shape[-1] == 3 and clone.kernel.shape[-1] == 5


@pytest.mark.parametrize("padding", ["circular", "reflect", "valid"])
@pytest.mark.parametrize("implicit", [True, False])
def test_gradients_of_the_proximal_step(padding, implicit):
    physics = as_physics(Conv(kernel(1, 1, 3, 2)), padding=padding, max_iter=200, tol=1e-13, implicit_backward_solver=implicit)
    z = torch.randn(1, 1, 4, 3, dtype=torch.float64)
    y = physics.A(torch.randn(1, 1, 4, 3, dtype=torch.float64))
    inputs = [t.requires_grad_() for t in (z, y, torch.tensor(2.0, dtype=torch.float64), kernel(1, 1, 3, 2))]
    assert torch.autograd.gradcheck(lambda z, y, gamma, k: physics.prox_l2(z, y, gamma, kernel=k), inputs, atol=1e-6)


# deepinv's optimisers -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("iteration", ["PGD", "HQS", "ADMM"])
def test_optimisers_restore(iteration):
    x = torch.zeros(1, 1, 24, 24)
    x[..., 6:18, 8:16] = 1
    physics = as_physics(EFFBlur(kernel(1, 4, 5, 5, dtype=torch.float32), svconv.EFFGrid((24, 24), (2, 2))))
    y = physics(x)
    prior = deepinv.optim.prior.TVPrior(n_it_max=20)
    options = dict(data_fidelity=deepinv.optim.data_fidelity.L2(), prior=prior, max_iter=15)
    if hasattr(deepinv.optim, iteration):
        model = getattr(deepinv.optim, iteration)(stepsize=1.0, lambda_reg=2e-3, **options)
    else:
        model = deepinv.optim.optim_builder(iteration, params_algo={"stepsize": 1.0, "lambda": 2e-3}, **options)
    restored = model(y, physics)
    assert (restored - x).square().mean() < 0.6 * (y - x).square().mean()


@pytest.mark.parametrize("padding", [None, "valid"])
def test_a_step_of_an_unfolded_network(padding):
    physics = as_physics(Conv(kernel(1, 1, 3, 3, dtype=torch.float32), padding="reflect"), padding=padding)
    prior = deepinv.optim.prior.PnP(denoiser=deepinv.models.DnCNN(1, 1, depth=3, nf=8, pretrained=None))
    model = deepinv.unfolded.unfolded_builder(
        "HQS", params_algo={"stepsize": [1.0] * 2, "g_param": 0.1, "lambda": 1.0}, trainable_params=["stepsize"],
        data_fidelity=deepinv.optim.data_fidelity.L2(), max_iter=2, prior=prior)
    optimiser, x, losses = torch.optim.Adam(model.parameters(), 1e-3), torch.rand(2, 1, 16, 16), []
    y = physics(x)
    for _ in range(2):
        loss = (model(y, physics) - x).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters()) and losses[1] < losses[0]


def test_the_example_of_the_page():
    section = (ROOT / "docs" / "interop.md").read_text().split("## deepinv: forward models")[1]
    exec(section.split("```python\n")[1].split("```")[0], {"svconv": svconv, "torch": torch})


# errors -------------------------------------------------------------------------------------------------------------

def test_errors_name_the_argument():
    physics, x = as_physics(Conv(kernel(1, 1, 3, 3, dtype=torch.float32))), torch.rand(2, 3, *SIZE)
    with pytest.raises(TypeError, match="op: expected an operator"):
        as_physics(lambda x: x)
    with pytest.raises(ValueError, match="padding"):
        as_physics(Conv(kernel(1, 1, 3, 3)), padding="mirrored")
    with pytest.raises(ValueError, match="shape"):
        as_physics(PixelFilter(filters(1, 3, 3, *SIZE)), img_size=(3, 5, 5))
    for gamma in (0.0, -1.0, float("nan"), torch.ones(3), torch.ones(1, 2, 1, 1)):
        with pytest.raises(ValueError, match="gamma"):
            physics.prox_l2(x, x, gamma)
    with pytest.raises(ValueError, match="solver"):
        physics.A_dagger(x, solver="cholesky")
    with pytest.raises(ValueError, match="valid"):
        as_physics(Conv(kernel(1, 1, 3, 3)), padding="valid").A(torch.rand(1, 1, 2, 9, dtype=torch.float64))


def test_numbers_and_none_stand_for_constant_images(capsys):
    physics, y = as_physics(Conv(kernel(1, 1, 3, 3, dtype=torch.float32), padding="zeros")), torch.rand(2, 3, *SIZE)
    torch.testing.assert_close(physics.prox_l2(None, y, 2.0), physics.prox_l2(torch.zeros_like(y), y, 2.0))
    torch.testing.assert_close(physics.prox_l2(0.5, y, 2.0), physics.prox_l2(torch.full_like(y, 0.5), y, 2.0))
    physics.A_dagger(y, verbose=True)
    assert "steps, relative residual" in capsys.readouterr().out
    assert "Conv(" in repr(physics) and svconv.interop.deepinv.OperatorPhysics is type(physics)
