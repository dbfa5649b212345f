"""svconv.interop.scipy: operators as LinearOperators, and cg against scipy.sparse.linalg.cg."""
import numpy as np
import pytest
import torch

import svconv
from oracles import dense_matrix, image, psf
from svconv.operators import EXAMPLES

sparse = pytest.importorskip("scipy.sparse")
linalg = pytest.importorskip("scipy.sparse.linalg")
ours = svconv.interop.scipy
DOUBLE = torch.float64
SIZE = (6, 7)


def conv(dtype=DOUBLE, padding="reflect"):
    return svconv.Conv(psf(1, 3, 4, dtype=dtype), padding=padding)


def bank(b=1, c=1, maps=3):
    generator = torch.Generator().manual_seed(3)
    return svconv.PixelFilter(torch.randn(b, c, maps, 3, 3, *SIZE, generator=generator, dtype=DOUBLE), padding="symmetric")


# as_linear_operator -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("op", [conv(), conv().T, bank(), bank().T, conv() @ conv(padding="zeros"), 2 * conv() + svconv.Identity(),
                                svconv.stack([conv(), svconv.Identity()])], ids=repr)
def test_the_matrix_and_its_transpose(op):
    A = ours.as_linear_operator(op, SIZE)
    maps = tuple(many or 1 for many in op.maps)
    assert A.shape == (42 * maps[1], 42 * maps[0]) and A.dtype == np.float64
    dense = A @ np.eye(A.shape[1])
    if maps[0] == 1:
        np.testing.assert_allclose(dense, dense_matrix(op, SIZE), rtol=0, atol=1e-13)
    np.testing.assert_allclose(A.T @ np.eye(A.shape[0]), dense.T, rtol=0, atol=1e-13)
    np.testing.assert_allclose(A.H @ np.eye(A.shape[0]), dense.T, rtol=0, atol=1e-13)
    x, y = np.random.default_rng(0).random(A.shape[1]), np.random.default_rng(1).random(A.shape[0])
    np.testing.assert_allclose(A @ x, dense @ x, rtol=0, atol=1e-12)
    np.testing.assert_allclose(A.rmatvec(y), dense.T @ y, rtol=0, atol=1e-12)
    np.testing.assert_allclose(A @ x[:, None], dense @ x[:, None], rtol=0, atol=1e-12)
    np.testing.assert_allclose(A @ (x + 2j * x[::-1]), dense @ (x + 2j * x[::-1]), rtol=0, atol=1e-12)
    assert A.matmat(np.zeros((A.shape[1], 0))).shape == (A.shape[0], 0)


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_every_family_passes_the_dot_test(example, padding):
    A = ours.as_linear_operator(example.make(padding), example.shape)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(A.shape[1]), rng.standard_normal(A.shape[0])
    left, right = (A @ x) @ y, x @ A.rmatvec(y)
    assert abs(left - right) < 1e-12 * np.linalg.norm(A @ x) * np.linalg.norm(y)


def test_batches_and_channels_lie_one_after_the_other():
    op = svconv.Conv(psf(2, 3, 3, 3), padding="circular")
    x = image(2, 3, *SIZE)
    A = ours.as_linear_operator(op, SIZE)
    assert A.shape == (252, 252)
    np.testing.assert_allclose(A @ x.flatten().numpy(), op(x).flatten().numpy(), rtol=0, atol=1e-14)
    columns = np.stack([x.flatten().numpy()] * 2, 1)
    np.testing.assert_allclose(A @ columns, np.stack([op(x).flatten().numpy()] * 2, 1), rtol=0, atol=1e-14)
    assert ours.as_linear_operator(conv(), (2, 3, *SIZE)).shape == (252, 252)


def test_precisions_strides_and_read_only_vectors():
    A = ours.as_linear_operator(conv(torch.float32), SIZE)
    x = np.random.default_rng(0).random((84, 2))
    x.setflags(write=False)
    assert A.dtype == np.float32 and (A @ x[::2, 0]).dtype == np.float32
    expected = ours.as_linear_operator(conv(), SIZE) @ x[::-2, 1]
    np.testing.assert_allclose(A @ x[::-2, 1], expected, atol=1e-6)
    assert ours.as_linear_operator(svconv.Identity(), SIZE).dtype == np.float64
    half = svconv.PixelFilter(torch.rand(1, 3, 3, *SIZE).bfloat16())
    assert ours.as_linear_operator(half).dtype == np.float32      # half filters stand beside float32 images


def test_nothing_is_recorded():
    A = ours.as_linear_operator(conv().requires_grad_(), SIZE)
    assert (A @ np.ones(42)).shape == (42,)


def test_scipys_solvers_take_it():
    A = ours.as_linear_operator(conv(), SIZE)
    x = np.random.default_rng(0).random(42)
    assert abs(linalg.lsqr(A, A @ x, atol=1e-12, btol=1e-12, iter_lim=1000)[0] - x).max() < 1e-6
    values = np.linalg.svd(A @ np.eye(42), compute_uv=False)
    assert abs(linalg.svds(A, 1, v0=np.ones(42), return_singular_vectors=False)[0] - values[0]) < 1e-10


def test_bad_operators():
    with pytest.raises(TypeError, match="op: expected an operator such as svconv.Conv, got function"):
        ours.as_linear_operator(lambda x: x, SIZE)
    with pytest.raises(ValueError, match="shape: expected the input shape"):
        ours.as_linear_operator(conv())
    with pytest.raises(ValueError, match="shape: expected"):
        ours.as_linear_operator(bank(), (6, 8))
    with pytest.raises(TypeError, match="op: expected float32 or float64, got torch.float16"):
        ours.as_linear_operator(conv(torch.float16), SIZE)
    with pytest.raises(ValueError):
        ours.as_linear_operator(conv(), SIZE) @ np.ones(41)


# cg -----------------------------------------------------------------------------------------------------------------

def system(n=30, seed=0):
    rng = np.random.default_rng(seed)
    root = rng.random((n, n))
    A = root @ root.T / n + np.eye(n)
    return A, rng.random(n), rng


CASES = {
    "defaults": lambda A: {},
    "rtol": lambda A: {"rtol": 1e-9},
    "few steps": lambda A: {"maxiter": 3},
    "atol": lambda A: {"atol": 1.0},
    "start": lambda A: {"x0": np.arange(30.0)},
    "start as a column of integers": lambda A: {"x0": np.arange(30)[:, None]},
    "preconditioner": lambda A: {"M": np.diag(1 / np.diag(A))},
    "start by the preconditioner": lambda A: {"M": sparse.diags_array(1 / np.diag(A)), "x0": "Mb"},
    "start by no preconditioner": lambda A: {"x0": "Mb"},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, linalg.aslinearoperator, np.asfortranarray])
def test_the_steps_are_those_of_scipy(case, kind):
    A, b, _ = system()
    A, options = kind(A), CASES[case](A)
    theirs, steps = [], []
    x, info = linalg.cg(A, b, callback=lambda x: theirs.append(x.copy()), **options)
    found, told = ours.cg(A, b, callback=steps.append, **options)
    assert told == info and found.shape == x.shape and found.dtype == x.dtype and abs(len(steps) - len(theirs)) <= 1
    np.testing.assert_allclose(np.stack(steps[:8]), np.stack(theirs[:8]), rtol=0, atol=1e-9)
    bound = max(options.get("rtol", 1e-5) * np.linalg.norm(b), options.get("atol", 0))
    assert told or np.linalg.norm(b - A @ found) <= bound
    assert told == 0 or len(steps) == told == options["maxiter"]


@pytest.mark.parametrize("A_type, b_type, expected", [("f4", "f4", "f4"), ("f4", "f8", "f8"), ("f8", "f4", "f8"), ("f8", "i8", "f8"),
                                                      ("f4", ">f4", "f4"), ("i8", "f8", "f8"), ("i8", "f4", "f8")])
def test_types(A_type, b_type, expected):
    A, b, _ = system()
    A, b = (100 * A).round().astype(A_type), (10 * b).round().astype(b_type)
    x, info = ours.cg(A, b)
    theirs, _ = linalg.cg(A, b)
    assert info == 0 and x.dtype == np.dtype(expected) and x.dtype.newbyteorder("=") == theirs.dtype.newbyteorder("=")
    assert abs(x - theirs).max() < 1e-4


def test_an_operator_of_svconv():
    K = svconv.PixelFilter(bank(maps=2).filters)
    A, b = K.T @ K + 0.1 * svconv.Identity(), np.random.default_rng(0).random((42, 1))
    x, info = ours.cg(A, b, rtol=1e-10)
    assert info == 0 and x.shape == (42,)
    np.testing.assert_allclose(ours.as_linear_operator(A) @ x, b[:, 0], atol=1e-8)
    as_matrix, _ = ours.cg(ours.as_linear_operator(A), b, rtol=1e-10)
    np.testing.assert_allclose(x, as_matrix, atol=1e-7)
    single = A.to(torch.float32)
    assert ours.cg(single, b.astype(np.float32))[0].dtype == np.float32
    wide, info = ours.cg(single, b, rtol=1e-10)         # a float32 operator beside a float64 vector is computed in float64
    assert info == 0 and wide.dtype == np.float64
    # and as a preconditioner
    M = svconv.Identity() * 0.5
    assert abs(ours.cg(A, b, rtol=1e-10, M=ours.as_linear_operator(M, SIZE))[0] - x).max() < 1e-7
    assert abs(ours.cg(A, b, rtol=1e-10, M=0.1 * (K.T @ K) + svconv.Identity())[0] - x).max() < 1e-7


def test_a_batch_is_one_system():
    K = bank(2, 3, 2)
    A, b = K.T @ K + 0.1 * svconv.Identity(), np.random.default_rng(0).random(252)
    x, info = ours.cg(A, b, rtol=1e-10)
    theirs, _ = linalg.cg(ours.as_linear_operator(A), b, rtol=1e-10)
    assert info == 0 and abs(x - theirs).max() < 1e-7


def test_zero_gives_zero_whatever_the_start_is():
    A, b, _ = system()
    for options in ({}, {"x0": np.ones(30)}):
        x, info = ours.cg(A, 0 * b, **options)
        assert info == 0 and x.shape == (30,) and not x.any()


def test_a_start_that_solves_it_and_a_solve_that_ends_in_its_last_step():
    A, b, _ = system()
    steps = []
    x, info = ours.cg(A, b, np.linalg.solve(A, b), callback=steps.append)
    assert info == 0 and not steps
    assert ours.cg(np.eye(30), b, maxiter=1)[1] == 0
    assert linalg.cg(np.eye(30), b, maxiter=1)[1] in (0, 1)


@pytest.mark.parametrize("sign", [-1, 0])
def test_what_is_not_positive_is_said(sign):
    A, b, _ = system()
    x, info = ours.cg(sign * A, b)
    assert info > 0 and np.isfinite(x).all()


def test_a_matrix_that_makes_nan():
    A, b, _ = system()
    A[3, 4] = np.nan
    x, info = ours.cg(A, b)
    assert info > 0 and np.isnan(x).all()


def test_neither_b_nor_x0_nor_what_the_callback_had_is_changed():
    A, b, rng = system()
    x0, steps = rng.random(30), []
    kept = b.copy(), x0.copy()
    x, _ = ours.cg(A, b, x0, callback=steps.append)
    assert (b == kept[0]).all() and (x0 == kept[1]).all() and abs(steps[0] - steps[-1]).max() > 0
    b.setflags(write=False)
    x0.setflags(write=False)
    assert (ours.cg(A, b, x0)[0] == x).all()


A, B, _ = system()
BAD = {
    "not square": ((A[:20], B), {}, ValueError, "A: expected square matrix, got 20 x 30"),
    "b": ((A, B[:29]), {}, ValueError, r"b: expected \[N\] or \[N, 1\] with N = 30 of A, got \[29\]"),
    "b of two columns": ((A, np.ones((30, 2))), {}, ValueError, "b: expected"),
    "complex b": ((A, B + 1j), {}, TypeError, "b: expected real numbers, got complex128"),
    "complex A": ((A + 1j, B), {}, TypeError, "A: expected a real matrix, got complex128"),
    "complex M": ((A, B), {"M": np.eye(30) * 1j}, TypeError, "M: expected a real matrix"),
    "NaN": ((A, np.where(np.arange(30) == 3, np.nan, B)), {}, ValueError, "b: expected finite numbers, got NaN or infinity"),
    "NaN in x0": ((A, B), {"x0": np.full(30, np.nan)}, ValueError, "x0: expected finite numbers"),
    "x0": ((A, B), {"x0": np.ones(29)}, ValueError, "x0: expected"),
    "name of x0": ((A, B), {"x0": "zero"}, ValueError, "x0: expected an array, 'Mb' or None, got 'zero'"),
    "M": ((A, B), {"M": np.eye(29)}, ValueError, "M: matrix and preconditioner have different shapes, 30 x 30 and 29 x 29"),
    "atol": ((A, B), {"atol": -1.0}, ValueError, "atol: expected a number >= 0, got -1.0"),
    "no atol": ((A, B), {"atol": None}, TypeError, "atol: expected a number >= 0, got None"),
    "rtol": ((A, B), {"rtol": float("nan")}, ValueError, "rtol: expected"),
    "maxiter": ((A, B), {"maxiter": 0}, ValueError, "maxiter: expected an integer >= 1, got 0"),
    "open size": ((conv(), B), {}, ValueError, r"A: expected an operator whose tensors fix .* as_linear_operator\(op, shape\), got Conv"),
    "maps": ((bank(), np.ones(42)), {}, ValueError, "A: expected square matrix, got 126 x 42"),
    "text": (("A", B), {}, TypeError, "type not understood"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    arguments, options, error, match = BAD[case]
    with pytest.raises(error, match=match):
        ours.cg(*arguments, **options)


def test_without_scipy_it_says_what_to_install(monkeypatch):
    import builtins

    real = builtins.__import__

    def absent(name, *rest):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=r"needs SciPy \(pip install svconv\[interop\]\)"):
        ours.as_linear_operator(conv(), SIZE)
