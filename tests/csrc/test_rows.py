"""The row transforms of the compiled module against numpy.fft, and what they leave alone."""
import numpy as np
import pytest
import torch  # noqa: F401  before svconv._C, so that one libgomp serves both

from svconv._boundary import PADDINGS, source_indices

_C = pytest.importorskip("svconv._C", reason="svconv._C is not built")
LENGTHS = [*range(1, 131), 137, 149, 211, 255, 343, 509, 1024, 2048]
TOLERANCE = {"float32": 2e-6, "float64": 4e-15}  # of the largest value, times log2 of the length


def forward(x, plane, load=None, taper=None, threads=1):
    out = np.full((*x.shape[:3], plane // 2 + 1, 2), np.nan, x.dtype)
    _C.rows_forward(x, out, plane, load, taper, threads, x.dtype.name)
    return out


def backward(spectrum, plane, width, store=None, taper=None, threads=1):
    out = np.full((*spectrum.shape[:3], width), np.nan, spectrum.dtype)
    _C.rows_backward(spectrum, out, plane, store, taper, threads, spectrum.dtype.name)
    return out


def parts(values):
    return np.stack([values.real, values.imag], -1)


def close(got, expected, dtype, n):
    scale = np.abs(expected).max() or 1.0
    assert got.shape == expected.shape and not np.isnan(got).any()
    assert np.abs(got - expected).max() <= TOLERANCE[dtype] * max(1, np.log2(n)) * scale


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", LENGTHS)
def test_any_length(n, dtype):
    rng = np.random.default_rng(n)
    x = rng.standard_normal((1, 2, 1 + n % 7, n)).astype(dtype)
    close(forward(x, n), parts(np.fft.rfft(x.astype(float))), dtype, n)
    values = rng.standard_normal((1, 2, 3, n // 2 + 1, 2)).astype(dtype)  # also what a real image has not: an imaginary part at the ends
    close(backward(values, n, n), np.fft.irfft(values[..., 0].astype(float) + 1j * values[..., 1], n), dtype, n)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1, 2, 5), (3, 2, 1, 17), (2, 3, 33, 20), (1, 2, 64, 31), (5, 1, 7, 48)])
def test_any_number_of_rows_and_there_and_back(shape, dtype):
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    spectrum = forward(x, shape[-1])
    close(spectrum, parts(np.fft.rfft(x.astype(float))), dtype, shape[-1])
    close(backward(spectrum, shape[-1], shape[-1]), x, dtype, shape[-1])


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("width,before,plane", [(9, 4, 20), (3, 8, 25), (1, 2, 5), (12, 0, 16), (16, 3, 19)])
def test_continued_rows_and_their_transpose(width, before, plane, padding):
    rng = np.random.default_rng(1)
    after = min(before, plane - before - width)
    inside = source_indices(-before, width + after, width, padding).tolist()
    places = inside + [-1] * (plane - len(inside))
    matrix = np.zeros((plane, width))
    for e, place in enumerate(places):
        if place >= 0:
            matrix[e, place] = 1
    taper = rng.random(plane)
    x = rng.standard_normal((2, 1, 5, width))
    table = np.array(places, np.int64)
    close(forward(x, plane, table, taper), parts(np.fft.rfft(x @ matrix.T * taper)), "float64", plane)
    values = parts(np.fft.rfft(rng.standard_normal((2, 1, 5, plane))))
    back = np.fft.irfft(values[..., 0] + 1j * values[..., 1], plane)
    close(backward(values, plane, width, table, taper), back * taper @ matrix, "float64", plane)


def test_strides():
    whole = np.random.default_rng(2).standard_normal((2, 3, 8, 40))
    for x in (whole[:, ::-1, ::2, ::-3], whole.transpose(1, 0, 3, 2), np.broadcast_to(whole[:1, :1], whole.shape), whole[..., 1:2]):
        close(forward(x, x.shape[-1]), parts(np.fft.rfft(x)), "float64", x.shape[-1])
    wide = np.full((2, 3, 9, 22, 2), np.nan)
    out = wide[:, ::2, 1:, 1:]
    _C.rows_forward(whole[:, :2], out, 40, None, None, 1, "float64")
    close(out, parts(np.fft.rfft(whole[:, :2])), "float64", 40)
    assert np.isnan(wide[:, 1]).all() and np.isnan(wide[:, :, 0]).all() and np.isnan(wide[:, :, :, 0]).all()
    close(backward(out, 40, 40), whole[:, :2], "float64", 40)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_and_neighbours_change_no_bit(dtype):
    x = np.random.default_rng(3).standard_normal((3, 2, 129, 300)).astype(dtype)
    results = [forward(x, 300, threads=threads) for threads in (1, 2, 5)]
    images = [backward(results[0], 300, 300, threads=threads) for threads in (1, 2, 5)]
    assert all((r == results[0]).all() for r in results) and all((i == images[0]).all() for i in images)
    alone = forward(x[1:2], 300)
    assert (alone == results[0][1:2]).all() and (backward(alone, 300, 300) == images[0][1:2]).all()


def test_nan_and_bright_images_stay_among_themselves():
    x = np.random.default_rng(4).standard_normal((1, 3, 5, 24)).astype(np.float32)
    clean = forward(x, 24)
    changed = x.copy()
    changed[0, 0] *= 1e12
    changed[0, 2, 4, 3] = np.nan
    spectrum = forward(changed, 24)
    assert (spectrum[0, 1] == clean[0, 1]).all() and np.isnan(spectrum[0, 2, 4]).any() and not np.isnan(spectrum[0, :2]).any()
    assert (backward(spectrum, 24, 24)[0, 1] == backward(clean, 24, 24)[0, 1]).all()


def test_empty_batches_return_at_once():
    assert forward(np.zeros((0, 3, 4, 5)), 5).shape == (0, 3, 4, 3, 2)
    assert backward(np.zeros((2, 0, 4, 3, 2)), 5, 5).shape == (2, 0, 4, 5)


@pytest.mark.parametrize("change,match", [
    (dict(x=np.zeros((1, 2, 6))), "x: expected 4 dimensions, got 3"),
    (dict(x=np.zeros((1, 2, 6, 8), np.float32)), "x: expected an array of float64"),
    (dict(out=np.zeros((1, 2, 6, 6, 2))), "out: expected 5 columns, got 6"),
    (dict(out=np.zeros((1, 2, 6, 10, 2))[:, :, :, ::2]), "out: expected interleaved adjacent columns"),
    (dict(plane=0), "plane: expected at least 1"),
    (dict(plane=9), "load: expected a map where the stored rows are not the plane's"),
    (dict(load=np.full(8, 8)), "load: row 8 is not one of 8"),
    (dict(taper=np.zeros(7)), "taper: expected shape"),
    (dict(threads=0), "threads: expected at least 1"),
])
def test_refuses_what_does_not_fit(change, match):
    arguments = dict(x=np.zeros((1, 2, 6, 8)), out=np.zeros((1, 2, 6, 5, 2)), plane=8, load=None, taper=None, threads=1, dtype="float64")
    _C.rows_forward(**arguments)
    with pytest.raises(ValueError, match=match):
        _C.rows_forward(**{**arguments, **change})
