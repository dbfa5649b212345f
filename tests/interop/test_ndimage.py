"""svconv.interop.ndimage against scipy.ndimage: modes, kernels, origins, types, outputs."""
import numpy as np
import pytest

import svconv

ndimage = pytest.importorskip("scipy.ndimage")
ours = svconv.interop.ndimage

NAMES = ("correlate", "convolve")
SIZES = ((1, 1), (1, 6), (5, 1), (7, 9))
KERNELS = ((1, 1), (3, 3), (2, 4), (4, 5), (9, 8), (1, 7))
FLOATS = (np.float32, np.float64, ">f4", ">f8")
OTHERS = (np.uint8, np.int16, ">i4", np.uint64, bool)
LARGE = (11, 14)         # goes through svconv.conv


def scene(size, kernel, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return (200 * rng.random(size)).astype(dtype), rng.standard_normal(kernel)


def origins(kernel):
    """The middle, the first and the last that SciPy takes."""
    lowest, highest = [-(k // 2) for k in kernel], [(k - 1) // 2 for k in kernel]
    return [0, lowest, highest, [lowest[0], highest[1]]]


def same(found, expected):
    assert found.dtype == expected.dtype and found.shape == expected.shape
    if expected.dtype.kind == "f":
        bound = (1e-6 if expected.dtype.itemsize == 4 else 1e-13) * max(1e3, abs(expected).max())
        assert abs(found.astype(np.float64) - expected).max() <= bound
    else:
        assert (found == expected).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ours.MODES)
def test_modes_kernels_origins_and_types(name, mode):
    for size in SIZES:
        for kernel in (*KERNELS, LARGE):
            for dtype in (*FLOATS, *OTHERS):
                x, w = scene(size, kernel, dtype)
                for origin in origins(kernel):
                    options = dict(mode=mode, cval=3.25, origin=origin)
                    if np.dtype(dtype).kind in "ub":    # what is negative is undefined in an unsigned type
                        w = abs(w) / max(1, abs(w).sum())
                    if dtype is bool:                   # and SciPy counts modulo 256 in a bool
                        w = w + 1 / w.size
                    same(getattr(ours, name)(x, w, **options), getattr(ndimage, name)(x, w, **options))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("output", [np.float32, np.float64, np.dtype(np.int32), np.int8, np.uint8, "uint16", "float64", "<i8", np.uint64])
@pytest.mark.parametrize("kernel", [(3, 4), LARGE])
def test_output_types_are_cut_off_as_in_scipy(name, output, kernel):
    for dtype in (*FLOATS, np.uint8):
        x, w = scene((8, 9), kernel, dtype)
        w = w / abs(w).sum() * 0.6      # of either sign, within the range of a byte
        same(getattr(ours, name)(x, w, output=output), getattr(ndimage, name)(x, w, output=output))


def test_integers_come_out_whole():
    """What is exact in SciPy's sum is exact: a rounding error below a whole number would be cut off to the one before."""
    rng = np.random.default_rng(1)
    x, w = rng.integers(0, 1000, (40, 50)), rng.integers(-9, 9, (13, 12))
    assert (ours.convolve(x, w) == ndimage.convolve(x, w)).all()
    assert (ours.correlate(x, w, output=np.float64) == ndimage.correlate(x, w, output=np.float64)).all()
    assert (ours.convolve(x.astype(float), w, output=np.int64) == ndimage.convolve(x, w)).all()


def test_an_array_to_fill_may_be_strided_or_the_input_itself():
    x, w = scene((10, 12), LARGE)
    expected = ndimage.correlate(x, w)
    plane = np.zeros((20, 24), np.float32)
    assert ours.correlate(x, w, plane[::-2, ::2]) is not None
    same(plane[::-2, ::2], expected.astype(np.float32))
    assert plane[::-2, 1::2].any() == np.False_
    inside = x.copy()
    assert ours.correlate(inside, w, inside) is inside
    same(inside, expected)


@pytest.mark.parametrize("kernel", [(3, 4), LARGE])
def test_strides_of_image_and_kernel(kernel):
    x, w = scene((20, 24), (2 * kernel[0], kernel[1]))
    for image in (x[::-2, ::3], x.T, np.asfortranarray(x), np.broadcast_to(x[:1], (9, 24))):
        same(ours.convolve(image, w[::-2]), ndimage.convolve(image, w[::-2]))
        same(ours.convolve(image.tolist(), w[::2].tolist()), ndimage.convolve(image, w[::2]))


@pytest.mark.parametrize("kernel", [(3, 4), LARGE])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_not_finite_spoils_its_surroundings_only(kernel, value):
    x, w = scene((30, 30), kernel)
    w[0, 0] = 0                     # SciPy leaves out the weights that are zero
    x[10, 11] = value
    np.testing.assert_array_equal(ours.correlate(x, w), ndimage.correlate(x, w))
    np.testing.assert_array_equal(ours.correlate(scene((30, 30), kernel)[0], w, mode="constant", cval=value),
                                  ndimage.correlate(scene((30, 30), kernel)[0], w, mode="constant", cval=value))


def test_weights_that_scipy_counts_as_zero():
    x, w = scene((30, 30), LARGE)
    same(ours.correlate(x * 1e30, 1e-17 * w), ndimage.correlate(x * 1e30, 1e-17 * w))


def test_an_empty_image():
    assert ours.convolve(np.zeros((0, 4), np.uint8), np.ones((3, 3))).shape == (0, 4)


X, W = np.zeros((5, 6)), np.ones((3, 4))
BAD = {
    "image of 3 axes": ((X[None], W), {}, ValueError, r"input: expected an image \[H, W\], got \[1, 5, 6\]"),
    "signal": ((X[0], W), {}, ValueError, "input: expected an image"),
    "complex image": ((X + 1j, W), {}, TypeError, "input: expected bool, integers, float32 or float64, got complex128"),
    "half image": ((X.astype(np.float16), W), {}, TypeError, "input: .* got float16"),
    "text": (([["a"]], W), {}, TypeError, "input: "),
    "complex weights": ((X, W + 1j), {}, TypeError, "weights: expected real numbers, got complex128"),
    "weights of one axis": ((X, W[0]), {}, ValueError, r"weights: expected \[kh, kw\] with sides >= 1, got \[4\]"),
    "no weights": ((X, W[:0]), {}, ValueError, "weights: expected"),
    "mode": ((X, W), {"mode": "symmetric"}, RuntimeError, "mode: expected one of reflect, .* got 'symmetric'"),
    "modes": ((X, W), {"mode": ["wrap", "wrap"]}, RuntimeError, "mode: expected one of"),
    "origins": ((X, W), {"origin": (0, 0, 0)}, ValueError, "origin: expected an int or a pair"),
    "broken origin": ((X, W), {"origin": 0.5}, TypeError, "origin: expected an int or a pair of ints, got 0.5"),
    "shape of the output": ((X, W), {"output": np.zeros((6, 5))}, RuntimeError, "output: expected the shape of input"),
    "type of the output": ((X, W), {"output": np.complex64}, TypeError, "output: expected .* got complex64"),
    "half output": ((X, W), {"output": "float16"}, TypeError, "output: expected .* got float16"),
    "list as output": ((X, W), {"output": [[0.0]]}, TypeError, "output: expected an array or a dtype, got list"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    arguments, options, error, match = BAD[case]
    for name in NAMES:
        with pytest.raises(error, match=match):
            getattr(ours, name)(*arguments, **options)


@pytest.mark.parametrize("name", NAMES)
def test_an_origin_is_refused_where_scipy_refuses_it(name):
    for kernel in KERNELS:
        for axis in (0, 1):
            for value in range(-6, 7):
                origin = [0, 0]
                origin[axis] = value
                try:
                    getattr(ndimage, name)(X, np.ones(kernel), origin=list(origin))
                except ValueError as refusal:
                    with pytest.raises(ValueError, match=str(refusal)[:20]):
                        getattr(ours, name)(X, np.ones(kernel), origin=origin)
                else:
                    getattr(ours, name)(X, np.ones(kernel), origin=origin)


def test_random_sweep():
    rng = np.random.default_rng(7)
    for _ in range(150):
        size, kernel = rng.integers(1, 14, 2), rng.integers(1, 12, 2)
        x, w = rng.standard_normal(size), rng.standard_normal(kernel)
        name = NAMES[rng.integers(2)]
        origin = [int(rng.integers(low, high + 1)) for low, high in zip(*origins(kernel.tolist())[1:3])]
        options = dict(mode=list(ours.MODES)[rng.integers(8)], cval=float(rng.standard_normal()), origin=origin)
        same(getattr(ours, name)(x, w, **options), getattr(ndimage, name)(x, w, **options))
