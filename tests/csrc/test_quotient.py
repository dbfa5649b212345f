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


def arrays():
    return dict(
        x=np.zeros((1, 2, 6, 4, 2)),
        kernel=np.zeros((1, 1, 3, 4, 2)),
        out=np.zeros((1, 2, 6, 4, 2)),
        mode="multiply",
        plane=6,
        offset=1,
        load=None,
        store=None,
        ramp=None,
        beta=None,
        power=None,
        threads=1,
        dtype="float64",
    )


@pytest.mark.parametrize("change,match", [
    (dict(x=np.zeros((1, 2, 6, 4, 2), np.float32)), "x: expected an array of float64"),
    (dict(x=np.zeros((1, 2, 6, 4))), "x: expected 5 dimensions, got 4"),
    (dict(kernel=np.zeros((1, 3, 3, 4, 2))), "kernel: expected 1 or 2 in dimension 1"),
    (dict(kernel=np.zeros((1, 1, 3, 5, 2))), "kernel: expected 4 columns, got 5"),
    (dict(out=np.zeros((1, 2, 6, 8, 2))[:, :, :, ::2]), "out: expected interleaved adjacent columns"),
    (dict(plane=7), "load: expected a map where the stored rows are not the plane's"),
    (dict(load=np.full(6, 6)), "load: row 6 is not one of 6"),
    (dict(load=np.zeros(5, np.int64)), "load: expected contiguous int64 values for the 6 rows"),
    (dict(ramp=np.zeros((5, 2))), "ramp: expected shape"),
    (dict(mode="divide"), "beta: is needed to divide"),
    (dict(mode="other"), "mode: expected multiply"),
    (dict(threads=0), "threads: expected at least 1"),
])
def test_refuses_what_does_not_fit(change, match):
    _C.quotient_apply(**arrays())
    with pytest.raises(ValueError, match=match):
        _C.quotient_apply(**{**arrays(), **change})
