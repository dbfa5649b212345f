"""What the bindings check: shapes in the words of the docstrings, and the names that C++ and Python share."""
import re

import numpy as np
import pytest
import torch  # noqa: F401  before svconv._C, so that one libgomp serves both

from svconv import _boundary

_C = pytest.importorskip("svconv._C", reason="svconv._C is not built")


def zeros(*shape):
    return np.zeros(shape, np.float32)


def test_one_table_of_padding_names():
    assert _C.PADDINGS == _boundary.PADDINGS


def test_the_error_of_an_unknown_padding_lists_the_table():
    with pytest.raises(ValueError, match="^padding: expected zeros, replicate, reflect, symmetric or circular, got 'mirrored'$"):
        _C.pixel_filter_fwd(zeros(1, 1, 4, 5), zeros(1, 1, 1, 3, 3, 4, 5), zeros(1, 1, 1, 4, 5), "mirrored", 1, "float32", "float32")


def tanh_features(**changed):
    arguments = dict(x=zeros(2, 1, 5, 6), latent=zeros(2, 3, 5, 6), filters=zeros(4, 4, 3, 3), hidden=zeros(2, 4, 4), biases=zeros(3, 4),
                     last=zeros(7, 4), y_out=zeros(2, 7, 5, 6), threads=1)
    return _C.tanh_features_fwd(**{**arguments, **changed})


@pytest.mark.parametrize("change,text", [
    (dict(x=zeros(2, 1, 5)), "x: expected 4 dimensions, got 3; [B, C0, H, W]"),
    (dict(x=zeros(2, 0, 5, 6)), "x: must not be empty: C0 is 0"),
    (dict(x=zeros(2, 1, 0, 6)), "x: dimension 2 must not be 0; [B, C0, H, W]"),
    (dict(latent=zeros(1, 3, 5, 6)), "latent: expected shape [B, C1, H, W] = [2, C1, 5, 6], got [1, 3, 5, 6]"),
    (dict(latent=None), "filters: expected shape [N, C0+C1, k, k] = [4, 1, k, k], got [4, 4, 3, 3]"),
    (dict(latent=[[1.0]]), "latent: expected an array or None"),
    (dict(filters=zeros(4, 4, 3, 5)), "filters: expected shape [N, C0+C1, k, k] = [4, 4, 3, 3], got [4, 4, 3, 5]"),
    (dict(filters=zeros(4, 4, 2, 2)), "filters: expected an odd side, got 2"),
    (dict(filters=zeros(0, 4, 3, 3)), "filters: must not be empty: N is 0"),
    (dict(hidden=zeros(2, 4, 5)), "hidden: expected shape [L, N, N] = [2, 4, 4], got [2, 4, 5]"),
    (dict(biases=zeros(2, 4)), "biases: expected shape [L+1, N] = [3, 4], got [2, 4]"),
    (dict(y_out=zeros(2, 6, 5, 6)), "y_out: expected shape [B, O, H, W] = [2, 7, 5, 6], got [2, 6, 5, 6]"),
])
def test_errors_are_made_of_the_words(change, text):
    tanh_features()
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        tanh_features(**change)


@pytest.mark.parametrize("shape,text", [
    ((3, 2, 1, 3, 3, 4, 5), "f: expected 1 or 2 in dimension 0, got 3; [B?, C?, M, kh, kw, H, W]"),
    ((2, 3, 1, 3, 3, 4, 5), "f: expected 1 or 2 in dimension 1, got 3; [B?, C?, M, kh, kw, H, W]"),
    ((1, 2, 1, 3, 0, 4, 5), "f: dimension 4 must not be 0; [B?, C?, M, kh, kw, H, W]"),
    ((1, 2, 1, 3, 3, 4, 1), "f: expected shape [B?, C?, M, kh, kw, H, W] = [1|2, 1|2, 1, 3, 3, 4, 5], got [1, 2, 1, 3, 3, 4, 1]"),
])
def test_errors_of_broadcast_axes(shape, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        _C.pixel_filter_fwd(zeros(2, 2, 4, 5), zeros(*shape), zeros(2, 2, 1, 4, 5), "zeros", 1, "float32", "float32")


def test_a_broadcast_axis_is_read_with_stride_0():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 4, 5), np.float32)
    f = rng.standard_normal((2, 3, 2, 3, 3, 4, 5), np.float32)
    for axes in ((0,), (1,), (0, 1)):
        shared = f[tuple(slice(0, 1) if axis in axes else slice(None) for axis in (0, 1))]  # a stride that is not 0
        results = [np.full((2, 3, 2, 4, 5), np.nan, np.float32) for _ in range(2)]
        for filters, out in zip((shared, np.broadcast_to(shared, f.shape)), results):
            _C.pixel_filter_fwd(x, filters, out, "reflect", 1, "float32", "float32")
        np.testing.assert_allclose(*results, rtol=0, atol=1e-5)
        assert np.abs(results[0]).min() > 0


def test_a_spectrum_with_its_parts_apart_is_refused():
    apart = np.zeros((1, 2, 6, 4, 4))[..., ::2]
    with pytest.raises(ValueError, match="^x: expected interleaved adjacent columns"):
        _C.quotient_estimate(apart, np.zeros((1, 2, 6, 4, 2)), np.zeros((1, 1, 3, 4, 2)), 6, 1, None, None, None, 1, "float64")
