"""EFFBlur(cache=True): the same bits, changes seen, nothing kept where something looks through, memory goes with the operator."""
import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
import torch

import svconv
from svconv import EFFBlur, EFFGrid
from svconv.backends import cpu
from svconv.backends.cpu import eff

F64 = torch.float64
GRID = EFFGrid((30, 34), (2, 3))
pytestmark = pytest.mark.skipif(cpu.why_not("cpu") is not None, reason="the C++ module is not built")


def kernels(seed=0, dtype=torch.float32, channels=1):
    k = torch.rand(1, channels, 6, 5, 4, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return k / k.sum((-2, -1), keepdim=True)


def image(dtype=torch.float32, seed=1):
    return torch.rand(2, 3, 30, 34, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def made(monkeypatch):
    """Counts how often spectra are made."""
    calls, prepare = [], eff.eff_spectra
    monkeypatch.setattr(eff, "eff_spectra", lambda *a: calls.append(1) or prepare(*a))
    return calls


@pytest.mark.parametrize("padding", ["zeros", "reflect", "circular"])
@pytest.mark.parametrize("form", ["scatter", "gather"])
@pytest.mark.parametrize("dtype", [torch.float32, F64, torch.bfloat16])
def test_equal_bits_with_and_without(made, form, padding, dtype):
    k, x = kernels(channels=3).to(dtype), image().to(dtype)
    kept, plain = (EFFBlur(k, GRID, form=form, padding=padding, cache=cache) for cache in (True, False))
    for _ in range(2):
        assert torch.equal(kept(x), plain(x)) and torch.equal(kept.adjoint(x), plain.adjoint(x)) and kept(x).dtype == dtype
    assert torch.equal((kept.T @ kept)(x), (plain.T @ plain)(x))
    assert len(made) == 1 and kept.kept_bytes > k.numel() * 4 and plain.kept_bytes == 0


@pytest.mark.parametrize("change", [
    lambda k: k.mul_(2), lambda k: k.data.mul_(2), lambda k: k[:, :, 3].zero_(), lambda k: np.multiply(k.numpy(), 3, out=k.numpy()),
    lambda k: k.copy_(kernels(9)), lambda k: k.data.__setitem__((0, 0, 5, 4, 3), float("nan"))])
def test_a_change_in_place_is_seen(change):
    k, x = kernels(), image()
    A = EFFBlur(k, GRID)
    before = A(x)
    change(k)
    after = A(x)
    assert not torch.equal(after, before)
    torch.testing.assert_close(after, EFFBlur(k, GRID, cache=False)(x), rtol=0, atol=0, equal_nan=True)


def test_other_sizes_of_patches_forms_and_precisions_have_their_own(made):
    k, x = kernels(), image()
    A = EFFBlur(k, GRID)
    A(x)
    for other in (A.with_padding("reflect"), A.to(F64), A.with_tensors([k.clone()])):
        assert other.kept_bytes == 0 and torch.equal(other(x.to(other.dtype)), EFFBlur(
            other.kernels, GRID, padding=other.padding, cache=False)(x.to(other.dtype)))
    assert len(made) == 4 and A.with_tensors([k]) is A and A.to(torch.float32) is A


def test_where_something_looks_through_the_plain_op_runs(made):
    k, x = kernels(dtype=F64), image(F64)
    A = EFFBlur(k, GRID)
    wanted = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(A(wanted).sum(), wanted)
    torch.testing.assert_close(g, A.adjoint(torch.ones_like(x)))
    made.clear()
    learned = k.clone().requires_grad_()
    B = EFFBlur(learned, GRID)
    assert torch.autograd.grad(B(x).square().sum(), learned)[0].abs().sum() > 0
    torch.testing.assert_close(torch.func.vmap(B)(x[:, None])[:, 0], B(x))
    torch.testing.assert_close(torch.func.jvp(B, (x,), (x,))[1], B(x))
    torch.testing.assert_close(torch.compile(lambda x: B(x), fullgraph=True, backend="eager")(x), B(x))
    with svconv.use_backend("reference"), torch.no_grad():
        torch.testing.assert_close(B(x), svconv.eff_conv(x, learned, GRID))
    assert made == [] and B.kept_bytes == 0
    with torch.no_grad():
        torch.testing.assert_close(B(x), A(x))
    assert len(made) == 1 and B.kept_bytes > 0
    with pytest.raises(ValueError, match="x: expected an image of the grid's size"):
        A(x[..., :20])
    with pytest.raises(TypeError, match="kernels: expected dtype torch.float32 like x"):
        A(x.float())


def test_inference_mode_and_half_types():
    with torch.inference_mode():
        k = kernels()
    A = EFFBlur(k, GRID)
    with torch.inference_mode():
        first = A(image())
    assert A.kept_bytes > 0 and torch.equal(A(image()), first)
    B = EFFBlur(kernels().half(), GRID)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(B(image()), EFFBlur(kernels().half(), GRID, cache=False)(image()))


def test_copies_and_pickles_are_of_the_kernels_alone():
    A = EFFBlur(kernels(), GRID)
    before = A(image())
    for other in (copy.deepcopy(A), pickle.loads(pickle.dumps(A))):
        assert other.kept_bytes == 0 and torch.equal(other(image()), before) and other.kept_bytes == A.kept_bytes
        other.kernels.mul_(2)
        assert not torch.equal(other(image()), before) and torch.equal(A(image()), before)
    assert len(pickle.dumps(A)) < A.kept_bytes


def test_memory_goes_with_the_operator():
    A = EFFBlur(kernels(), GRID)
    A(image())
    spectra = weakref.ref(A._kept._kept[2])
    A.kernels.mul_(2)
    A(image())
    gc.collect()
    assert spectra() is None
    spectra = weakref.ref(A._kept._kept[2])
    del A
    gc.collect()
    assert spectra() is None


def test_a_solve_makes_them_once(made):
    k, y = kernels(), image()
    A = EFFBlur(k, GRID)
    results = [svconv.solvers.cg(B.T @ B + 0.1 * svconv.Identity(), y, max_iter=5).x for B in (A, EFFBlur(k, GRID, cache=False))]
    assert torch.equal(*results) and len(made) == 1
