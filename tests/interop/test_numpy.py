"""svconv.interop.numpy against the same functions on tensors: axes, types, strides, results, libraries."""
import inspect
import pickle
import sys
import types

import numpy as np
import pytest
import torch

import svconv
from oracles import image, psf
from svconv import solvers
from svconv.interop import numpy as ours

SIZE = H, W = (12, 14)
GRID = svconv.EFFGrid(SIZE, (2, 3))
AXES = ("HW", "HWC", "BCHW")


def rand(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def images(axes, seed=0, maps=None):
    """A tensor for svconv and the array that stands for it."""
    b, c = {"HW": (1, 1), "HWC": (1, 3), "BCHW": (2, 3)}[axes]
    x = image(b, c, *SIZE, seed=seed).abs() + 0.1
    if maps:
        x = torch.stack([x * (m + 1) for m in range(maps)], 2)
    return x, as_array(x, axes)


def as_array(x, axes):
    if axes == "HW":
        return x[0, 0].numpy()
    return np.moveaxis(x[0].numpy(), 0, -1) if axes == "HWC" else x.numpy()


def same(found, expected, atol=0.0):
    expected = np.asarray(expected)
    assert type(found) is np.ndarray and found.dtype == expected.dtype and found.shape == expected.shape and found.flags.c_contiguous
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


K, KS = psf(1, 1, 3, 4)[0, 0], psf(6, 3, 4)
ONE, MANY = rand(3, 4, *SIZE), rand(2, 3, 4, *SIZE)
RADIUS = 3 * rand(*SIZE)
# name: (arguments without the image for arrays without a batch, the same for tensors, options)
OPS = {
    "conv": (K, K[None], {"padding": "reflect"}),
    "conv_adjoint": (K, K[None], {"padding": "symmetric"}),
    "pixel_filter": (ONE, ONE[None], {"padding": "replicate"}),
    "pixel_filter_adjoint": (ONE, ONE[None], {}),
    "image_quotient": (K, K[None], {"beta": 0.1, "prior": "gradient"}),
    "disk_blur": (RADIUS, RADIUS[None, None], {"form": "scatter"}),
    "disk_blur_adjoint": (RADIUS, RADIUS[None, None], {}),
}
EFF = {"eff_conv": {"form": "gather"}, "eff_conv_adjoint": {"padding": "reflect"}, "eff_image_quotient": {"beta": 0.1}}


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("name", OPS)
def test_ops(name, axes):
    flat, full, options = OPS[name]
    x, a = images(axes)
    expected = getattr(svconv, name)(x, full, **options)
    parameter = (full if axes == "BCHW" else flat).numpy()
    same(getattr(ours, name)(a, parameter, axes=axes, **options), as_array(expected, axes))
    if axes != "BCHW":
        same(getattr(ours, name)(a.tolist(), parameter.tolist(), axes=axes, **options), as_array(expected, axes))


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("name", EFF)
def test_eff(name, axes):
    x, a = images(axes)
    expected = getattr(svconv, name)(x, KS[None], GRID, **EFF[name])
    same(getattr(ours, name)(a, (KS[None] if axes == "BCHW" else KS).numpy(), GRID, axes=axes, **EFF[name]), as_array(expected, axes))


@pytest.mark.parametrize("axes", AXES)
def test_several_filters_for_every_pixel(axes):
    x, a = images(axes)
    full = MANY[None, None]
    filters = (full if axes == "BCHW" else MANY).numpy()
    y = svconv.pixel_filter(x, full)
    found = ours.pixel_filter(a, filters, axes=axes)
    assert found.shape == {"HW": (2, H, W), "HWC": (2, H, W, 3), "BCHW": (2, 3, 2, H, W)}[axes]
    same(found, as_array(y, axes))
    same(ours.pixel_filter_adjoint(found, filters, axes=axes), as_array(svconv.pixel_filter_adjoint(y, full), axes))
    op = ours.PixelFilter(filters, axes=axes)
    same(ours.apply(op, a, axes=axes), as_array(y, axes))
    same(ours.apply_adjoint(op, found, axes=axes), as_array(op.adjoint(y), axes))
    same(ours.apply(op.T, found, axes=axes), as_array(op.adjoint(y), axes))
    damped = {"beta": 0.1, "axes": axes}
    same(ours.wiener(op, found, **damped).x, as_array(solvers.wiener(svconv.PixelFilter(full), y, beta=0.1).x, axes), atol=1e-10)


def test_parameters_of_their_own_for_every_colour():
    x, a = images("HWC")
    last = dict(axes="HWC")
    k, ks = psf(1, 3, 3, 4), psf(1, 3, 6, 3, 4)
    radius, filters = 3 * rand(1, 3, *SIZE), rand(1, 3, 2, 3, 3, *SIZE)
    for found, expected in [
        (ours.conv(a, np.moveaxis(k[0].numpy(), 0, -1), **last), svconv.conv(x, k)),
        (ours.eff_conv(a, np.moveaxis(ks[0].numpy(), 0, -1), GRID, **last), svconv.eff_conv(x, ks, GRID)),
        (ours.disk_blur(a, np.moveaxis(radius[0].numpy(), 0, -1), **last), svconv.disk_blur(x, radius)),
        (ours.pixel_filter(a, np.moveaxis(filters[0].numpy(), 0, -1), **last), svconv.pixel_filter(x, filters)),
    ]:
        same(found, as_array(expected, "HWC"))


def test_kernel_quotient():
    x, y = rand(1, 3, *SIZE), rand(1, 3, *SIZE, seed=1)
    one = svconv.kernel_quotient(x[:, :1], y[:, :1], (3, 4), beta=0.1)
    same(ours.kernel_quotient(x[0, 0].numpy(), y[0, 0].numpy(), (3, 4), beta=0.1), one[0])
    three = svconv.kernel_quotient(x, y, 3)
    same(ours.kernel_quotient(as_array(x, "HWC"), as_array(y, "HWC"), 3, axes="HWC"), three[0])
    same(ours.kernel_quotient(x.numpy(), y.numpy(), 3, axes="BCHW"), three)


def test_priors_and_betas_of_their_own():
    x, a = images("BCHW")
    beta, prior = np.array([0.1, 0.2]), np.array([[[1.0, -1.0]]])
    expected = svconv.image_quotient(x, K[None], beta=torch.from_numpy(beta), prior=torch.from_numpy(prior))
    same(ours.image_quotient(a, K[None].numpy(), beta=beta, prior=prior, axes="BCHW"), expected)


# solvers ------------------------------------------------------------------------------------------------------------

def run_solver(module, name, op, y, mask, background, **more):
    """With a mask, a background and a start where the solver knows them."""
    options = {"wiener": {"beta": 0.1, "border": "replicate"}, "irls": {"mask": mask, "reg": 1e-2, "cg_iter": 20},
               "richardson_lucy": {"max_iter": 4, "mask": mask, "background": background, "x0": y}}[name]
    return getattr(module, name)(op, y, **options, **more)


def values(result):
    """Everything in a result, in the results inside of it and in tuples."""
    for value in vars(result).values() if hasattr(result, "x") else result:
        yield from values(value) if hasattr(value, "x") or isinstance(value, tuple) else [value]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("name", ["wiener", "irls", "richardson_lucy"])
def test_solvers(name, axes):
    y, a = images(axes)
    full = psf(1, 1, 3, 3)
    mask = (rand(1, 1, *SIZE, seed=2) > 0.1).double()
    background = 0.05 * rand(1, 1, *SIZE, seed=3)
    parts = [full, mask, background]
    k, m, bg = (t.numpy() if axes == "BCHW" else t[0, 0].numpy() for t in parts)
    expected = run_solver(solvers, name, svconv.Conv(full, padding="reflect"), y, mask, background)
    found = run_solver(ours, name, ours.Conv(k, padding="reflect", axes=axes), a, m, bg, axes=axes)
    same(found.x, as_array(expected.x, axes), atol=1e-12)
    assert type(found) is type(expected)
    same(found.iterations, expected.iterations) if hasattr(expected.iterations, "numpy") else None
    assert not any(isinstance(value, torch.Tensor) for value in values(found)) and "array(" not in repr(found)
    if axes == "HWC" and name != "wiener":      # one mask for every colour
        wide = np.repeat(m[..., None], 3, -1)
        same(run_solver(ours, name, ours.Conv(k, padding="reflect"), a, wide, np.repeat(bg[..., None], 3, -1), axes=axes).x, found.x,
             atol=1e-8)


@pytest.mark.parametrize("axes", AXES)
def test_hyper_laplacian(axes):
    y, a = images(axes)
    full = psf(1, 1, 3, 3)
    expected = solvers.hyper_laplacian(y, full, padding="circular")
    found = ours.hyper_laplacian(a, (full if axes == "BCHW" else full[0, 0]).numpy(), padding="circular", axes=axes)
    same(found.x, as_array(expected.x, axes))


@pytest.mark.parametrize("axes", AXES)
def test_cg(axes):
    b, a = images(axes)
    K = svconv.Conv(psf(1, 1, 3, 3))
    A = K.T @ K + 0.1 * svconv.Identity()
    expected = solvers.cg(A, b, tol=1e-8)
    found = ours.cg(A, a, tol=1e-8, axes=axes)
    same(found.x, as_array(expected.x, axes), atol=1e-9)
    same(found.converged, expected.converged)
    shapes, start = [], 0.5 * a

    def apply(x):
        assert type(x) is np.ndarray and x.shape == a.shape
        return ours.apply(A, x, axes=axes)

    again = ours.cg(apply, a, x0=start, preconditioner=lambda r: 2 * r, tol=1e-8, axes=axes,
                    callback=lambda step, steps, x: shapes.append((type(x), x.shape)))
    same(again.x, found.x, atol=1e-6)
    assert set(shapes) == {(np.ndarray, a.shape)} and (start == 0.5 * a).all()


def test_operators_are_those_of_svconv_and_follow_the_image():
    blur = ours.Conv(K.numpy()) @ ours.PixelFilter(ONE.numpy()) + ours.EFFBlur(KS.numpy(), GRID) - 2 * ours.DiskBlur(RADIUS.numpy())
    assert isinstance(blur, svconv.operators.Operator)
    x = rand(1, 1, *SIZE)
    same(ours.apply(blur, x[0, 0].numpy()), blur(x)[0, 0])
    same(ours.apply_adjoint(blur, x[0, 0].numpy()), blur.adjoint(x)[0, 0])
    assert ours.apply(blur, x[0, 0].float().numpy()).dtype == np.float32         # a float64 operator beside a float32 image
    learned = svconv.Conv(K[None].clone().requires_grad_())
    same(ours.apply(learned, x[0, 0].numpy()), learned(x).detach()[0, 0])
    assert repr(ours.Conv([[1, 2]])) == "Conv([1, 1, 1, 2], padding='circular', float64)"


# types, strides, libraries ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, bool, ">i2", ">f8", np.longdouble])
def test_other_types_are_computed_in_float64(dtype):
    a = (100 * rand(*SIZE).numpy()).astype(dtype)
    same(ours.conv(a, K.numpy()), ours.conv(a.astype(np.float64), K.numpy()))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ">f4"])
def test_the_precision_of_the_image_is_kept(dtype):
    a = rand(*SIZE).numpy().astype(dtype)
    native = np.dtype(dtype).newbyteorder("=")
    expected = svconv.conv(torch.from_numpy(a.astype(native))[None, None], K[None].to(getattr(torch, native.name)))
    same(ours.conv(a, K.numpy()), expected[0, 0])        # the kernel is float64


def test_strides_and_read_only_arrays():
    a = rand(2 * H, 3 * W).numpy()
    a.setflags(write=False)
    record = np.zeros(SIZE, [("flag", "u1"), ("value", "f8")])      # fields at odd strides, as in a table of a file
    record["value"] = a[:H, :W]
    for view in (a[::2, ::3], a[::-2, ::-3], a[:W, :H].T, np.broadcast_to(a[0, :W], SIZE), record["value"]):
        same(ours.conv(view, K.numpy()[::-1, ::-1]), ours.conv(view.copy(), K.numpy()[::-1, ::-1].copy()))


def test_nothing_is_copied_on_the_way_in():
    a = rand(*SIZE).numpy()
    assert np.shares_memory(ours._tensor("x", a).numpy(), a) and np.shares_memory(ours._tensor("x", a[::2]).numpy(), a)


class Array:
    """An array of a library that only speaks DLPack."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack__(self, **options):
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


class Standard(Array):
    """One that says so as the array API standard has it."""

    def __array_namespace__(self):
        return types.SimpleNamespace(from_dlpack=lambda t: Standard(torch.from_dlpack(t)))


@pytest.mark.parametrize("kind", [Array, Standard])
def test_any_library_with_dlpack(kind, monkeypatch):
    elsewhere = types.ModuleType("elsewhere")
    elsewhere.from_dlpack = lambda t: Array(torch.from_dlpack(t))
    monkeypatch.setitem(sys.modules, "elsewhere", elsewhere)
    monkeypatch.setattr(Array, "__module__", "elsewhere.arrays")
    x = rand(*SIZE)
    expected = svconv.conv(x[None, None], K[None])[0, 0]
    for kernel in (kind(K), K.numpy(), K):
        found = ours.conv(kind(x), kernel)
        assert type(found) is kind and torch.equal(found.tensor, expected)
    steps = []
    result = ours.richardson_lucy(ours.Conv(kind(K)), kind(x), max_iter=2, mask=kind(torch.ones(SIZE)),
                                  callback=lambda step, steps_, x: steps.append(x))
    assert type(result.x) is kind and type(result.changes) is kind and {type(step) for step in steps} == {kind}
    assert type(ours.conv(x.numpy(), kind(K))) is np.ndarray        # the image says which
    whole = ours.conv(kind((10 * x).long()), K)
    assert whole.tensor.dtype == torch.float64
    with pytest.raises(TypeError, match="x: expected real numbers, got torch.complex128"):
        ours.conv(kind(x + 1j), K)


def test_tensors_stay_tensors():
    x = rand(*SIZE).requires_grad_()
    found = ours.conv(x, K)
    assert isinstance(found, torch.Tensor) and not found.requires_grad


def test_a_library_that_cannot_make_arrays():
    with pytest.raises(TypeError, match=r"x: expected an array of a library that has from_dlpack, got .*Array"):
        ours.conv(Array(rand(*SIZE)), K)


@pytest.mark.gpu
def test_cupy():
    cupy = pytest.importorskip("cupy")
    x = rand(*SIZE)
    found = ours.richardson_lucy(ours.Conv(K.numpy()), cupy.asarray(x.numpy()), max_iter=3)
    assert isinstance(found.x, cupy.ndarray)
    np.testing.assert_allclose(found.x.get(), ours.richardson_lucy(ours.Conv(K.numpy()), x.numpy(), max_iter=3).x, rtol=1e-9)


# errors and names ---------------------------------------------------------------------------------------------------

X, k = np.ones(SIZE), np.ones((3, 3))
BAD = {
    "axes": (lambda: ours.conv(X, k, axes="CHW"), ValueError, "axes: expected one of HW, HWC, BCHW, got 'CHW'"),
    "colours": (lambda: ours.conv(X[..., None], k), ValueError, r"x: expected \[H, W\] with axes='HW', got \[12, 14, 1\]"),
    "grey": (lambda: ours.conv(X, k, axes="HWC"), ValueError, r"x: expected \[H, W, C\] with axes='HWC', got \[12, 14\]"),
    "kernel": (lambda: ours.conv(X, k[None]), ValueError, r"kernel: expected \[kh, kw\] with axes='HW', got \[1, 3, 3\]"),
    "kernel of colours": (lambda: ours.conv(X[..., None], k[0], axes="HWC"), ValueError, r"kernel: expected \[kh, kw\] or \[kh, kw, C\]"),
    "filters": (lambda: ours.pixel_filter(X, k), ValueError, r"filters: expected \[kh, kw, H, W\] or \[M, kh, kw, H, W\] with"),
    "maps": (lambda: ours.pixel_filter_adjoint(X, np.ones((2, 3, 3, *SIZE))), ValueError, r"y: expected \[M, H, W\] with axes='HW'"),
    "mask": (lambda: ours.irls(ours.Conv(k), X, mask=X[0]), ValueError, r"mask: expected \[H, W\] with axes='HW', got \[14\]"),
    "text": (lambda: ours.conv([["a"]], k), TypeError, "x: expected real numbers, got <U1"),
    "complex": (lambda: ours.conv(X, k + 1j), TypeError, "kernel: expected real numbers, got complex128"),
    "a mask of its own": (lambda: ours.conv(np.ma.masked_invalid(X), k), TypeError, "x: expected an array without a mask of its own"),
    "no operator": (lambda: ours.apply(k, X), TypeError, "op: expected an operator such as Conv or PixelFilter of this module, got Tensor"),
    "unknown option": (lambda: ours.conv(X, k, boundary="wrap"), TypeError, "unexpected keyword argument 'boundary'"),
    "gradients": (lambda: ours.cg(lambda x: x, X, params=()), TypeError, "unexpected keyword argument 'params'"),
    # of svconv
    "padding": (lambda: ours.conv(X, k, padding="edges"), ValueError, "padding: expected one of"),
    "size": (lambda: ours.pixel_filter(X, np.ones((3, 3, 4, 4))), ValueError, "filters: expected H of x = 12"),
    "shape": (lambda: ours.conv(X, k, axes="BCHW"), ValueError, r"x: expected \[B, C, H, W\], got \[12, 14\]"),
    "beta": (lambda: ours.wiener(ours.Conv(k), X, beta=0), ValueError, "beta: expected a number > 0, got 0"),
    "NaN": (lambda: ours.irls(ours.Conv(k), X * np.nan), ValueError, "y: expected finite pixels"),
    "size of an operator": (lambda: ours.apply(ours.DiskBlur(X), X.T), ValueError, "x: expected"),
    "solver without an operator": (lambda: ours.wiener(lambda x: x, X, beta=1), TypeError, "op: expected an operator such as svconv.Conv"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    call, error, match = BAD[case]
    with pytest.raises(error, match=match):
        call()


def test_functions_have_names_signatures_and_can_be_sent_elsewhere():
    public = {name: value for name, value in vars(ours).items()
              if inspect.isfunction(value) and not name.startswith("_") and value.__module__ == ours.__name__}
    assert {"conv", "pixel_filter", "kernel_quotient", "eff_conv", "disk_blur", "wiener", "irls", "cg", "Conv", "apply"} <= set(public)
    for name, function in public.items():
        assert function.__name__ == name and ">>>" in function.__doc__ and pickle.loads(pickle.dumps(function)) is function
        assert "axes" in inspect.signature(function).parameters
    assert list(inspect.signature(ours.conv).parameters) == ["x", "kernel", "padding", "backend", "axes"]
