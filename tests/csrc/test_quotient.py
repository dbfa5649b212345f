"""The column transforms of the compiled module at every kind of length, and its refusal of arrays that do not fit."""
import numpy as np
import pytest
import torch

import svconv
from svconv.reference import quotient as reference

_C = pytest.importorskip("svconv._C")
LENGTHS = [*range(1, 41), 49, 64, 74, 82, 121, 127, 128, 243, 255, 343, 347, 500, 694, 1024, 2082]


@pytest.mark.parametrize("dtype,tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("height", LENGTHS)
def test_columns_of_any_length(height, dtype, tolerance):
    x = torch.randn(1, 2, height, 37, dtype=torch.float64)
    k = torch.rand(1, 1, min(height, 3), 2, dtype=torch.float64)
    expected = reference.conv_fwd(x, k, "circular")
    y = svconv.conv(x.to(dtype), k.to(dtype), backend="cpu")
    assert (y.double() - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("columns", [1, 2, 7, 8, 9, 15, 16, 17, 31, 33])
def test_strips_of_any_width(columns):
    x = torch.randn(2, 1, 12, 2 * columns - 1, dtype=torch.float64)
    y = torch.randn(2, 1, 12, 2 * columns - 1, dtype=torch.float64)
    beta = torch.tensor([0.5], dtype=torch.float64)
    ours = svconv.kernel_quotient(x, y, (3, 1), beta=beta, backend="cpu")
    assert torch.allclose(ours, reference.kernel_quotient_fwd(x, y, beta, 3, 1, True, 1.0, 0.0), atol=1e-13)


# beyond the caches the pairs go one by one, their sums being kept: (batch, pairs, H, W) on both sides of that, and one pair left over
@pytest.mark.parametrize("shape", [(3, 1, 40, 50), (1, 3, 300, 301), (2, 3, 300, 301), (1, 5, 220, 224), (2, 2, 400, 400), (9, 4, 64, 66)])
def test_pairs_one_by_one_and_all_at_a_time(shape):
    x, y = torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    beta = torch.rand(shape[0], dtype=torch.float64) + 0.1
    ours = [svconv.kernel_quotient(x, y, (5, 4), beta=beta, center=(1.5, 2.25), backend="cpu") for _ in range(2)]
    expected = reference.kernel_quotient_fwd(x, y, beta, 5, 4, True, 1.5, 2.25)
    assert torch.equal(*ours)
    assert (ours[0] - expected).abs().max() <= 1e-11 * expected.abs().max()


@pytest.mark.parametrize("kernel_size", [(3, 9), (9, 3), (11, 13)])
@pytest.mark.parametrize("op", [svconv.conv, svconv.conv_adjoint])
def test_a_kernel_larger_than_the_plane_lies_on_itself(op, kernel_size):
    x, k = torch.randn(2, 3, 6, 5, dtype=torch.float64), torch.randn(2, 3, *kernel_size, dtype=torch.float64)
    assert torch.allclose(op(x, k, backend="cpu"), op(x, k, backend="reference"), atol=1e-12)


def arrays():
    return dict(
        x=np.zeros((1, 2, 6, 7)),
        kernel=np.zeros((1, 1, 3, 2)),
        out=np.zeros((1, 2, 6, 7)),
        mode="multiply",
        plane=6,
        width=7,
        offset=1,
        load=None,
        store=None,
        load_columns=None,
        store_columns=None,
        kernel_columns=np.array([0, 1, -1, -1, -1, -1, -1]),
        ramp=None,
        column_ramp=None,
        beta=None,
        power=None,
        threads=1,
        dtype="float64",
    )


@pytest.mark.parametrize("change,match", [
    (dict(x=np.zeros((1, 2, 6, 7), np.float32)), "x: expected an array of float64"),
    (dict(x=np.zeros((1, 2, 6))), "x: expected 4 dimensions, got 3"),
    (dict(kernel=np.zeros((1, 3, 3, 2))), "kernel: expected 1 or 2 in dimension 1"),
    (dict(kernel=np.zeros((1, 1, 3, 1))), "kernel_columns: row 1 is not one of 1"),
    (dict(kernel_columns=None), "kernel_columns: expected a map where the stored rows are not the plane's"),
    (dict(out=np.zeros((1, 2, 6, 14))[..., ::2]), "out: must be C-contiguous"),
    (dict(plane=7), "load: expected a map where the stored rows are not the plane's"),
    (dict(width=8), "load_columns: expected a map where the stored rows are not the plane's"),
    (dict(width=0), "width: expected at least 1 column"),
    (dict(load=np.full(6, 6)), "load: row 6 is not one of 6"),
    (dict(store_columns=np.full(7, 7)), "store_columns: row 7 is not one of 7"),
    (dict(load=np.zeros(5, np.int64)), "load: expected contiguous int64 values for the 6 rows"),
    (dict(ramp=np.zeros((5, 2))), "ramp: expected shape"),
    (dict(column_ramp=np.zeros((5, 2))), "column_ramp: expected 4 columns, got 5"),
    (dict(mode="divide"), "beta: is needed to divide"),
    (dict(mode="other"), "mode: expected multiply"),
    (dict(threads=0), "threads: expected at least 1"),
])
def test_a_filter_refuses_what_does_not_fit(change, match):
    _C.quotient_filter(**arrays())
    with pytest.raises(ValueError, match=match):
        _C.quotient_filter(**{**arrays(), **change})


@pytest.mark.parametrize("change,match", [
    (dict(x=np.zeros((1, 2, 6))), "x: expected 4 dimensions, got 3"),
    (dict(x=np.zeros((1, 0, 6, 7)), y=np.zeros((1, 0, 6, 7))), "x: "),
    (dict(y=np.zeros((1, 2, 6, 8))), "y: expected shape"),
    (dict(out=np.zeros((1, 2, 3, 2))), "out: expected shape"),
    (dict(taper=np.zeros(5)), "taper: expected shape"),
    (dict(column_taper=np.zeros(6)), "column_taper: expected shape"),
    (dict(beta=np.zeros(2)), "beta: expected 1"),
])
def test_a_kernel_estimate_refuses_what_does_not_fit(change, match):
    given = dict(x=np.zeros((1, 2, 6, 7)), y=np.zeros((1, 2, 6, 7)), out=np.zeros((1, 1, 3, 2)), offset=1,
                 kernel_columns=np.array([0, 1, -1, -1, -1, -1, -1]), taper=None, column_taper=None, ramp=None, column_ramp=None,
                 beta=np.ones(1), threads=1, dtype="float64")
    _C.quotient_kernel(**given)
    with pytest.raises(ValueError, match=match):
        _C.quotient_kernel(**{**given, **change})
