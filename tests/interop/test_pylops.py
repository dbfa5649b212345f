"""Operators as PyLops operators, and PyLops' own convolutions by svconv: the same matrices, exact adjoints, dtypes, solvers, errors."""
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

import svconv
from svconv.operators import EXAMPLES, Conv, DiskBlur, EFFBlur, PixelFilter

with pytest.MonkeyPatch.context() as environment:
    environment.setenv("CUPY_PYLOPS", "0")      # PyLops does not import beside a CuPy that lacks CUDA's libraries
    pylops = pytest.importorskip("pylops")
theirs = pytest.importorskip("pylops.signalprocessing")
ours = svconv.interop.pylops
SIZE = (9, 11)


def randn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def bank(*shape):
    return torch.from_numpy(randn(*shape))


def image_op(lead):
    """An operator that fits the leading axes, and the shape in which it takes them."""
    return {
        (): (Conv(bank(1, 1, 4, 3)), (1, 1)),
        (3,): (EFFBlur(bank(1, 6, 3, 3), svconv.EFFGrid(SIZE, (2, 3))), (3, 1)),
        (2, 3): (DiskBlur(bank(2, 3, *SIZE).abs()), (2, 3)),
        (2, 3, 4): (PixelFilter(bank(1, 4, 2, 3, 3, *SIZE), padding="reflect"), (6, 4)),
        (2, 4, 3): (PixelFilter(bank(2, 3, 3, *SIZE)), (2, 12)),
    }[lead]


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (2, 3, 4), (2, 4, 3)], ids=str)
def test_leading_axes(lead):
    op, shape = image_op(lead)
    A, x = ours.as_operator(op, (*lead, *SIZE)), randn(*lead, *SIZE)
    expected = op(torch.from_numpy(x).reshape(*shape, *SIZE))
    many = () if op.maps[1] is None else (op.maps[1],)
    assert isinstance(A, pylops.LinearOperator) and A.dims == (*lead, *SIZE) and A.dimsd == (*lead, *many, *SIZE) and A.dtype == np.float64
    np.testing.assert_allclose(A @ x, expected.reshape(A.dimsd).numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(A.H @ (A @ x), op.adjoint(expected).reshape(A.dims).numpy(), rtol=0, atol=1e-11)
    assert (A @ x.ravel()).shape == (A.shape[0],) and pylops.utils.dottest(A, rtol=1e-12)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_every_example_passes_the_dot_test(example):
    op = example.make("reflect")
    shape = op.input_shape(example.shape)
    for part, dims in ((op, shape), (op.T, tuple(op(torch.zeros(shape, dtype=torch.float64)).shape))):
        A = ours.as_operator(part, dims)
        assert pylops.utils.dottest(A, rtol=1e-12)
        np.testing.assert_allclose(A @ randn(*dims), part(torch.from_numpy(randn(*dims))).numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128, np.int32, np.uint8, bool, ">f8"])
def test_the_dtype_follows_the_input(dtype):
    operators = [ours.as_operator(Conv(bank(1, 1, 3, 3)), SIZE), ours.as_operator(Conv(bank(1, 1, 3, 3).float()), SIZE, dtype="float64"),
                 ours.Convolve2D(SIZE, randn(3, 3), offset=(1, 1)), ours.NonStationaryConvolve2D(SIZE, randn(2, 2, 3, 3), (2, 6), (3, 8))]
    x = (10 * randn(*SIZE)).astype(dtype) if np.dtype(dtype).kind != "c" else (randn(*SIZE) + 1j * randn(*SIZE, seed=1)).astype(dtype)
    for A in operators:
        wide = np.complex128 if np.dtype(dtype).kind == "c" else np.float64
        expected = A @ x.astype(wide)
        for y in (A @ x, A.H @ x):
            assert y.dtype == (np.dtype(dtype).newbyteorder("=") if np.dtype(dtype).kind in "fc" else np.float64)
        np.testing.assert_allclose(A @ x, expected, rtol=0, atol=1e-4 * abs(expected).max())


def test_memory_is_left_alone():
    A, x = ours.Convolve2D(SIZE, randn(3, 3)), randn(*SIZE)
    x.flags.writeable = False
    before = x.copy()
    np.testing.assert_array_equal(A @ x[::-1, ::-1], A @ x[::-1, ::-1].copy())
    h, inp = randn(2, 2, 3, 3), randn(*SIZE)
    C, F = ours.NonStationaryConvolve2D(SIZE, h, (2, 6), (3, 8)), ours.NonStationaryFilters2D(inp, (3, 3), (2, 6), (3, 8))
    y, z = C @ x, F @ h
    h[:], inp[:] = 0, 0
    np.testing.assert_array_equal(C @ x, y)
    np.testing.assert_array_equal(F @ randn(2, 2, 3, 3), z)
    np.testing.assert_array_equal(x, before)


def test_products_sums_and_solvers_of_pylops():
    blur, x = Conv(torch.full((1, 1, 3, 3), 0.1, dtype=torch.float64), padding="zeros") + svconv.Identity(), randn(2, *SIZE)
    A = ours.as_operator(blur, (2, *SIZE))
    D = pylops.FirstDerivative((2, *SIZE), axis=-1)
    B = D @ A + 2 * A
    y = B @ x
    np.testing.assert_allclose(y, D @ (A @ x) + 2 * (A @ x), rtol=0, atol=1e-12)
    found = pylops.optimization.basic.lsqr(pylops.VStack([A, D @ A]), np.concatenate([(A @ x).ravel(), (D @ (A @ x)).ravel()]), niter=100,
                                           atol=1e-12, btol=1e-12)[0]
    np.testing.assert_allclose(found, x, rtol=0, atol=1e-6)


# PyLops' convolutions -----------------------------------------------------------------------------------------------

def same(a, b, atol=1e-13):
    """Both ways, as matrices or on a random vector."""
    assert a.shape == b.shape and a.dims == b.dims and a.dimsd == b.dimsd
    for one, other in ((a, b), (a.H, b.H)):
        x = randn(one.shape[1])
        np.testing.assert_allclose(one @ x, other @ x, rtol=0, atol=atol * max(1, abs(other @ x).max()))
    assert pylops.utils.dottest(a, rtol=1e-12)


@pytest.mark.parametrize("name", ["Convolve2D", "NonStationaryConvolve2D", "NonStationaryFilters2D"])
def test_the_arguments_are_those_of_pylops(name):
    mine, other = (inspect.signature(getattr(module, name)).parameters for module in (ours, theirs))
    assert [(p.name, p.default) for p in mine.values()] == [(p.name, p.default) for p in other.values()]


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 4), (4, 5), (5, 6)])
@pytest.mark.parametrize("dims, axes", [((9, 11), (-2, -1)), ((9, 2, 11), (0, 2)), ((9, 11, 3), (0, 1)), ((2, 2, 9, 11), (2, 3))])
def test_convolve2d(shape, dims, axes):
    h = randn(*shape)
    for offset in [(-1, 0), (0, 0), (1, 1), (shape[0] - 1, shape[1] // 2), (shape[0] + 1, shape[1])]:
        same(*(module.Convolve2D(dims, h, offset=offset, axes=axes) for module in (ours, theirs)))


GRIDS = [(((7, 15, 23), (5, 15)), (31, 21)), (((0, 30), (0, 10, 20)), (31, 21)), (((2, 3, 4), (7, 8)), (6, 9))]


@pytest.mark.parametrize("grid, size", GRIDS, ids=str)
@pytest.mark.parametrize("kernel", [(5, 7), (1, 3), (13, 11)], ids=str)
@pytest.mark.parametrize("tiles", [False, True])
def test_nonstationary(grid, size, kernel, tiles, monkeypatch):
    if tiles:
        monkeypatch.setattr(ours, "FILTER_BYTES", 50_000)
    hs, inp = randn(*map(len, grid), *kernel), randn(*size)
    same(ours.NonStationaryConvolve2D(size, hs, *grid), theirs.NonStationaryConvolve2D(size, hs, *grid))
    same(ours.NonStationaryFilters2D(inp, kernel, *grid), theirs.NonStationaryFilters2D(inp, kernel, *grid))
    tents = ours._Tents(size, kernel, *grid)
    assert (len(tents.tiles(torch.float64)) > 1) == (tiles and np.prod(size) * np.prod(kernel) * 8 > 50_000)


def test_nonstationary_is_the_transpose_of_a_pixel_filter():
    hs, size = randn(2, 3, 3, 5), (12, 14)
    C, tents = ours.NonStationaryConvolve2D(size, hs, (3, 9), (2, 6, 10)), ours._Tents(size, (3, 5), (3, 9), (2, 6, 10))
    f = tents.filters(torch.from_numpy(hs), (slice(0, 12), slice(0, 14)))
    x = randn(*size)
    np.testing.assert_allclose(C @ x, PixelFilter(f).T(torch.from_numpy(x)[None, None])[0, 0].numpy(), rtol=0, atol=1e-13)


def test_one_filter_in_a_direction_holds_everywhere():
    h = randn(1, 1, 3, 5)
    same(ours.NonStationaryConvolve2D(SIZE, h, (4,), (5,)), theirs.Convolve2D(SIZE, h[0, 0], offset=(1, 2)))


def test_the_example_of_the_page():
    section = (Path(__file__).resolve().parents[2] / "docs" / "interop.md").read_text().split("## PyLops: operators and convolutions")[1]
    exec(section.split("```python\n")[1].split("```")[0], {"svconv": svconv, "torch": torch, "np": np})


# errors -------------------------------------------------------------------------------------------------------------

def test_errors_name_the_argument():
    h, grid = randn(2, 2, 3, 3), ((2, 6), (3, 8))
    wrong = [
        (TypeError, "op", lambda: ours.as_operator(np.eye(3), SIZE)),
        (ValueError, "dims", lambda: ours.as_operator(PixelFilter(bank(1, 3, 3, *SIZE)), (8, 11))),
        (ValueError, "dims", lambda: ours.as_operator(DiskBlur(bank(1, 3, *SIZE).abs()), (4, *SIZE))),
        (ValueError, "dims", lambda: ours.as_operator(DiskBlur(bank(2, 1, *SIZE).abs()), SIZE)),
        (ValueError, "dims", lambda: ours.as_operator(PixelFilter(bank(1, 1, 2, 3, 3, *SIZE)).T, (3, *SIZE))),
        (ValueError, "dims", lambda: ours.as_operator(PixelFilter(bank(1, 1, 2, 3, 3, *SIZE)).T, SIZE)),
        (TypeError, "dims", lambda: ours.Convolve2D(9, randn(3, 3))),
        (ValueError, "h: ", lambda: ours.Convolve2D(SIZE, randn(3))),
        (TypeError, "h: ", lambda: ours.Convolve2D(SIZE, 1j * randn(3, 3))),
        (ValueError, "offset", lambda: ours.Convolve2D(SIZE, randn(3, 3), offset=(1,))),
        (ValueError, "axes", lambda: ours.Convolve2D(SIZE, randn(3, 3), axes=(0, 2))),
        (ValueError, "axes", lambda: ours.Convolve2D(SIZE, randn(3, 3), axes=(1, -1))),
        (ValueError, "method", lambda: ours.Convolve2D(SIZE, randn(3, 3), method="overlap")),
        (ValueError, "hs: .*odd length", lambda: ours.NonStationaryConvolve2D(SIZE, randn(2, 2, 3, 4), *grid)),
        (ValueError, "hs: ", lambda: ours.NonStationaryConvolve2D(SIZE, randn(3, 2, 3, 3), *grid)),
        (ValueError, "hshape", lambda: ours.NonStationaryFilters2D(randn(*SIZE), (2, 3), *grid)),
        (ValueError, "ihx: .*regularly sampled", lambda: ours.NonStationaryConvolve2D(SIZE, h, (2, 3, 5), (3, 8))),
        (ValueError, "ihz", lambda: ours.NonStationaryConvolve2D(SIZE, h, (2, 6), (8, 3))),
        (ValueError, "ihz", lambda: ours.NonStationaryConvolve2D(SIZE, h, (2, 6), (3, 11))),
        (ValueError, "dims", lambda: ours.NonStationaryConvolve2D((2, *SIZE), h, *grid)),
        (ValueError, "engine", lambda: ours.NonStationaryConvolve2D(SIZE, h, *grid, engine="fast")),
        (NotImplementedError, "engine", lambda: ours.NonStationaryConvolve2D(SIZE, h, *grid, engine="cuda")),
        (NotImplementedError, "engine", lambda: ours.NonStationaryFilters2D(randn(*SIZE), (3, 3), *grid, engine="cuda")),
        (TypeError, "x: ", lambda: ours.Convolve2D(SIZE, randn(3, 3)) @ np.zeros(SIZE, np.longdouble)),
    ]
    for error, match, call in wrong:
        with pytest.raises(error, match=match):
            call()
