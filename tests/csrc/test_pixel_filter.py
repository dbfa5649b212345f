"""Every kernel of pixel_filter in the compiled module against direct NumPy sums, and its refusal of what does not fit."""
import numpy as np
import pytest
import torch

_C = pytest.importorskip("svconv._C", reason="svconv._C is not built")

PADDINGS = {"zeros": "constant", "replicate": "edge", "reflect": "reflect", "symmetric": "symmetric", "circular": "wrap"}
TORCH = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}
EPS = {"float32": 2.0**-24, "float64": 2.0**-53, "bfloat16": 2.0**-8, "float16": 2.0**-11}


# ---- arrays of every storage type

def stored(values, dtype):
    """A torch tensor of the type, and the float64 values it really holds."""
    tensor = torch.from_numpy(np.ascontiguousarray(values)).to(TORCH[dtype])
    return tensor, tensor.double().numpy()


def view(tensor):
    """NumPy view without a copy; half types as their bits."""
    return (tensor.view(torch.uint16) if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).numpy()


def result(shape, dtype):
    return torch.full(shape, float("nan"), dtype=TORCH[dtype])


# ---- oracles in float64: explicit sums over numpy.pad

def windows(x, kh, kw, padding):
    """[kh, kw, B, C, H, W] of the pixels that meet every tap."""
    cy, cx = (kh - 1) // 2, (kw - 1) // 2
    h, w = x.shape[-2:]
    padded = np.pad(x, [(0, 0), (0, 0), (cy, kh - 1 - cy), (cx, kw - 1 - cx)], mode=PADDINGS[padding])
    return np.stack([np.stack([padded[..., i : i + h, j : j + w] for j in range(kw)]) for i in range(kh)])


def forward(x, f, padding):
    return np.einsum("bcmijhw,ijbchw->bcmhw", np.broadcast_to(f, x.shape[:2] + f.shape[2:]), windows(x, *f.shape[3:5], padding))


def transpose(y, f, padding):
    """The transpose through the matrix of the index map: contributions return to the pixel that was read."""
    b, c, m, h, w = y.shape
    kh, kw = f.shape[3:5]
    places = windows(np.arange(1.0, h * w + 1).reshape(1, 1, h, w), kh, kw, padding)[:, :, 0, 0].astype(int)  # 0: outside
    f = np.broadcast_to(f, (b, c) + f.shape[2:])
    x = np.zeros((b, c, h * w + 1))
    for i in range(kh):
        for j in range(kw):
            part = (f[:, :, :, i, j] * y).sum(2).reshape(b, c, -1)
            np.add.at(x, (slice(None), slice(None), places[i, j].ravel()), part)
    return x[..., 1:].reshape(b, c, h, w)


def filter_gradient(x, g, filters_shape, padding):
    df = np.einsum("bcmhw,ijbchw->bcmijhw", g, windows(x, *filters_shape[3:5], padding))
    for axis in (0, 1):
        if filters_shape[axis] == 1:
            df = df.sum(axis, keepdims=True)
    return df


def normal(x, f, w, padding):
    y = forward(x, f, padding)
    return transpose(y if w is None else y * w, f, padding)


def close(got, expected, dtype, terms):
    """Within the rounding of the result plus that of float32 sums."""
    got = got.double().numpy()
    assert not np.isnan(got).any()
    sums = 2.0**-53 if dtype == "float64" else 2.0**-24
    scale = np.abs(expected).max() if expected.size else 0.0
    error = np.abs(got - expected)
    assert (error <= EPS[dtype] * 1.01 * np.abs(expected) + 2 * terms * sums * scale + 1e-7 * (dtype == "float16")).all(), (
        error.max() / scale
    )


# ---- one case, all four kernels

CASES = [  # B, C, M, H, W, kh, kw, filter batch, filter channels
    (1, 1, 1, 1, 1, 1, 1, 1, 1),
    (1, 1, 2, 1, 1, 3, 5, 1, 1),
    (2, 3, 2, 9, 37, 3, 3, 2, 3),
    (2, 3, 2, 12, 21, 4, 2, 1, 1),
    (2, 3, 1, 7, 6, 11, 9, 2, 1),
    (3, 2, 2, 5, 3, 9, 14, 1, 2),
    (1, 2, 1, 67, 33, 5, 17, 1, 1),
    (1, 1, 1, 3, 2, 13, 13, 1, 1),
]
TYPES = [("float32", "float32"), ("float64", "float64"), ("bfloat16", "bfloat16"), ("float16", "float16"),
         ("float32", "bfloat16"), ("float32", "float16")]


def operands(case, x_dtype, f_dtype, seed=0):
    b, c, m, h, w, kh, kw, fb, fc = case
    rng = np.random.default_rng(seed)
    make = lambda shape, dtype: stored(rng.standard_normal(shape), dtype)  # noqa: E731
    return dict(x=make((b, c, h, w), x_dtype), f=make((fb, fc, m, kh, kw, h, w), f_dtype), y=make((b, c, m, h, w), x_dtype),
                w=make((fb, fc, m, h, w), x_dtype))


def run_all(ops, x_dtype, f_dtype, padding, threads):
    x, f, y, w = (ops[name][0] for name in "xfyw")
    tail = (padding, threads, x_dtype, f_dtype)
    outs = dict(fwd=result(y.shape, x_dtype), adjoint=result(x.shape, x_dtype), df=result(f.shape, f_dtype),
                gram=result(x.shape, x_dtype), weighted=result(x.shape, x_dtype))
    _C.pixel_filter_fwd(view(x), view(f), view(outs["fwd"]), *tail)
    _C.pixel_filter_adjoint(view(y), view(f), view(outs["adjoint"]), *tail)
    _C.pixel_filter_bwd_filters(view(x), view(y), view(outs["df"]), *tail)
    _C.pixel_filter_gram(view(x), view(f), None, view(outs["gram"]), *tail)
    _C.pixel_filter_gram(view(x), view(f), view(w), view(outs["weighted"]), *tail)
    return outs


def check_all(outs, ops, x_dtype, f_dtype, padding):
    x, f, y, w = (ops[name][1] for name in "xfyw")
    taps = f.shape[2] * f.shape[3] * f.shape[4]
    images = y.shape[0] * y.shape[1]
    close(outs["fwd"], forward(x, f, padding), x_dtype, taps)
    fold = taps * (1 + f.shape[3] * f.shape[4])
    close(outs["adjoint"], transpose(y, f, padding), x_dtype, fold)
    close(outs["df"], filter_gradient(x, y, f.shape, padding), f_dtype, images)
    close(outs["gram"], normal(x, f, None, padding), x_dtype, fold)
    close(outs["weighted"], normal(x, f, w, padding), x_dtype, fold)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_against_numpy(case, padding):
    for x_dtype, f_dtype in TYPES:
        ops = operands(case, x_dtype, f_dtype)
        check_all(run_all(ops, x_dtype, f_dtype, padding, 2), ops, x_dtype, f_dtype, padding)


def relaid(tensor, order):
    """The same tensor with memory in another order of its axes."""
    inverse = np.argsort(order).tolist()
    return tensor.permute(*order).contiguous().permute(*inverse)


@pytest.mark.parametrize("x_dtype,f_dtype", TYPES, ids=lambda t: t)
def test_strides(x_dtype, f_dtype):
    """channels_last images and network heads, transposed planes, reversed and expanded axes."""
    case = (2, 3, 2, 10, 35, 3, 5, 2, 1)
    ops = operands(case, x_dtype, f_dtype, seed=1)
    laid = {"x": relaid(ops["x"][0], (0, 2, 3, 1)), "y": relaid(ops["y"][0], (0, 3, 4, 1, 2)),
            "f": relaid(ops["f"][0], (0, 5, 6, 1, 2, 3, 4)), "w": relaid(ops["w"][0], (0, 1, 2, 4, 3))}
    changed = {name: (laid[name], ops[name][1]) for name in laid}
    check_all(run_all(changed, x_dtype, f_dtype, "symmetric", 2), changed, x_dtype, f_dtype, "symmetric")
    plain, moved = (run_all(o, x_dtype, f_dtype, "reflect", 1) for o in (ops, changed))
    for name in ("fwd", "df"):
        assert torch.equal(plain[name], moved[name]), name


def test_negative_zero_and_sliced_strides():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((1, 2, 8, 40))[:, :, ::-1, ::-2]
    f = np.broadcast_to(rng.standard_normal((1, 1, 1, 3, 3, 1, 1)), (1, 1, 1, 3, 3, 8, 20))
    out = np.full((1, 2, 1, 8, 20), np.nan)
    _C.pixel_filter_fwd(x, f, out, "circular", 1, "float64", "float64")
    np.testing.assert_allclose(out, forward(x, f, "circular"), rtol=0, atol=1e-13)


@pytest.mark.parametrize("x_dtype", ["float32", "float16"])
@pytest.mark.parametrize("case", [(1, 3, 2, 150, 130, 5, 7, 1, 1), (2, 2, 1, 40, 4200, 3, 3, 2, 2)], ids=str)
def test_thread_count_and_repetition_change_no_bit(case, x_dtype):
    ops = operands(case, x_dtype, x_dtype, seed=3)
    runs = [run_all(ops, x_dtype, x_dtype, "reflect", threads) for threads in (1, 2, 3, 7, 2)]
    for other in runs[1:]:
        for name, value in runs[0].items():
            assert torch.equal(value, other[name]), name
    check_all(runs[0], ops, x_dtype, x_dtype, "reflect")


@pytest.mark.parametrize("padding", PADDINGS)
def test_nan_stays_inside_the_kernels(padding):
    """A NaN in an image, a filter or a map reaches only pixels whose kernel's rectangle holds it."""
    case = (1, 2, 1, 20, 40, 3, 5, 1, 2)
    ops = operands(case, "float32", "float32", seed=4)
    reach = np.zeros((1, 2, 20, 40))
    for name in ("x", "y", "f"):
        changed = {key: (value[0].clone(), value[1]) for key, value in ops.items()}
        at = (0, 1, 9, 21) if name == "x" else (0, 1, 0, 9, 21) if name == "y" else (0, 1, 0, 1, 2, 9, 21)
        changed[name][0][at] = float("nan")
        outs = run_all(changed, "float32", "float32", padding, 2)
        reach[:] = 0
        reach[0, 1, 8:11, 19:24] = 1
        wide = np.zeros_like(reach)
        wide[0, 1, 7:12, 17:26] = 1
        if name != "y":
            assert not (np.isnan(outs["fwd"].numpy())[:, :, 0] & (reach == 0)).any()
            assert np.isnan(outs["fwd"].numpy()).any()
            assert not (np.isnan(outs["gram"].numpy()) & (wide == 0)).any()
        if name != "x":
            assert not (np.isnan(outs["adjoint"].numpy()) & (reach == 0)).any()
            assert np.isnan(outs["adjoint"].numpy()).any()


def test_empty_axes_return_at_once():
    empty = lambda *shape: np.zeros(shape, np.float32)  # noqa: E731
    tail = ("zeros", 2, "float32", "float32")
    for b, c in ((0, 3), (2, 0)):
        _C.pixel_filter_fwd(empty(b, c, 4, 4), empty(1, 1, 2, 3, 3, 4, 4), empty(b, c, 2, 4, 4), *tail)
        _C.pixel_filter_adjoint(empty(b, c, 2, 4, 4), empty(b, c, 2, 3, 3, 4, 4), empty(b, c, 4, 4), *tail)
        _C.pixel_filter_gram(empty(b, c, 4, 4), empty(b, 1, 2, 3, 3, 4, 4), None, empty(b, c, 4, 4), *tail)
        df = np.full((1, 1, 2, 3, 3, 4, 4), np.nan, np.float32)
        _C.pixel_filter_bwd_filters(empty(b, c, 4, 4), empty(b, c, 2, 4, 4), df, *tail)
        assert (df == 0).all()
    x = np.full((1, 1, 4, 4), np.nan, np.float32)
    _C.pixel_filter_adjoint(empty(1, 1, 0, 4, 4), empty(1, 1, 0, 3, 3, 4, 4), x, *tail)
    assert (x == 0).all()


@pytest.mark.parametrize("change,match", [
    (dict(x=np.zeros((1, 4, 5), np.float32)), "^x: expected 4 dimensions"),
    (dict(x=np.zeros((1, 1, 4, 5))), "^x: expected an array of float32"),
    (dict(f=np.zeros((2, 1, 1, 3, 3, 4, 5), np.float32)), "^f: expected 1 or 1 in dimension 0"),
    (dict(f=np.zeros((1, 1, 1, 3, 3, 4, 6), np.float32)), "^f: expected shape"),
    (dict(f=np.zeros((1, 1, 1, 0, 3, 4, 5), np.float32)), "^f: dimension 3 must not be 0"),
    (dict(y_out=np.zeros((1, 1, 2, 4, 5), np.float32)), "^y_out: expected shape"),
    (dict(y_out=np.zeros((1, 1, 1, 4, 10), np.float32)[..., ::2]), "^y_out: must be C-contiguous"),
    (dict(padding="mirrored"), "^padding: expected zeros"),
    (dict(threads=0), "^threads: expected at least 1"),
    (dict(f_dtype="float64", f=np.zeros((1, 1, 1, 3, 3, 4, 5))), "^f_dtype: expected the image's dtype"),
    (dict(x_dtype="int8"), "^x_dtype: expected float32"),
    (dict(x=np.frombuffer(bytes(81), np.uint8)[1:].view(np.float32).reshape(1, 1, 4, 5)), "^x: address and strides"),
])
def test_what_does_not_fit_is_refused(change, match):
    args = dict(x=np.zeros((1, 1, 4, 5), np.float32), f=np.zeros((1, 1, 1, 3, 3, 4, 5), np.float32),
                y_out=np.zeros((1, 1, 1, 4, 5), np.float32), padding="zeros", threads=1, x_dtype="float32", f_dtype="float32")
    _C.pixel_filter_fwd(**args)
    with pytest.raises(ValueError, match=match):
        _C.pixel_filter_fwd(**{**args, **change})
