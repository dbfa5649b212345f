"""Planes and shapes: entering, leaving, their transposes, the maps for compiled code, and the words of layouts."""
import itertools

import numpy as np
import pytest
import torch

import oracles
from oracles import PADDINGS
from svconv import _fourier
from svconv._boundary import source_indices
from svconv._fourier import kernel_spectrum
from svconv._plane import Axis, Plane, convolution_plane, division_plane, window_plane
from svconv._shapes import Dims, number, pair

AXES = [Axis(n, before, after, n + before + after + rest, padding)
        for padding in PADDINGS for n, before, after, rest in itertools.product((1, 2, 5), (0, 1, 4, 11), (0, 3, 7), (0, 2))]


@pytest.mark.parametrize("padding", PADDINGS)
def test_axes_enter_as_numpy_pads_and_fold_back_exactly(padding):
    for axis in (a for a in AXES if a.padding == padding):
        x = torch.randn(2, axis.n, 3, dtype=torch.float64)
        y = axis.enter(x, 1)
        expected = oracles.pad(x.mT.numpy(), (0, 0, axis.before, axis.after), padding)
        expected = np.pad(expected, [(0, 0), (0, 0), (0, axis.length - expected.shape[-1])])
        assert np.array_equal(y.mT.numpy(), expected), axis
        z = torch.randn_like(y)
        assert torch.isclose((y * z).sum(), (x * axis.enter_adjoint(z, 1)).sum()), axis
        assert torch.equal(axis.leave(y, 1), x)
        assert torch.isclose((axis.leave(z, 1) * x).sum(), (z * axis.leave_adjoint(x, 1)).sum()), axis


@pytest.mark.parametrize("padding", PADDINGS)
def test_maps_say_the_same(padding):
    for axis in (a for a in AXES if a.padding == padding):
        x = np.arange(1.0, axis.n + 1)
        places = [axis.enter_map, axis.leave_map]
        if axis.length == axis.n:
            assert places == [None, None]
            continue
        t = torch.from_numpy(x)
        for place, expected in zip(places, (axis.enter(t, 0), axis.leave_adjoint(t, 0))):
            assert place.dtype == np.int64 and np.array_equal(np.where(place < 0, 0, x[place.clip(0)]), expected.numpy()), axis


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("margins, more", [((0, 0, 0, 0), 0), ((2, 4, 3, 1), 0), ((0, 3, 1, 0), 2), ((0, 0, 0, 0), 3), ((9, 8, 0, 7), 1)])
def test_one_copy_enters_as_two_do(padding, margins, more):
    """Where nothing is recorded the plane is filled in place."""
    plane = Plane((3, 5), margins, (3 + margins[0] + margins[1] + more, 5 + margins[2] + margins[3] + more), padding)
    for x in (torch.randn(2, 1, 2, 3, 5), torch.randn(2, 5, 3).mT, torch.randn(2, 1, 1).expand(2, 3, 5), torch.randn(0, 2, 3, 5),
              torch.randn(3, 5).half()):
        recorded = plane.enter(x.clone().requires_grad_())
        assert recorded.requires_grad and torch.equal(plane.enter(x), recorded) and plane.enter(x).shape == recorded.shape


@pytest.mark.parametrize("padding", PADDINGS)
def test_planes_have_gradients_of_every_order(padding):
    plane = Plane((3, 2), (2, 4, 3, 1), (10, 7), padding)
    x, y = torch.randn(1, 3, 2, dtype=torch.float64, requires_grad=True), torch.randn(1, 10, 7, dtype=torch.float64, requires_grad=True)
    for function, t in ((plane.enter, x), (plane.enter_adjoint, y), (plane.leave, y), (plane.leave_adjoint, x)):
        assert torch.autograd.gradcheck(function, t)
        assert torch.autograd.gradgradcheck(lambda u, f=function: f(u).square(), t)


def test_a_fold_is_a_handful_of_calls():
    """185 calls for a 31 x 31 window once; every one is a launch on a GPU, and a table made on the host would wait for it."""
    plane, calls = window_plane((64, 64), (31, 31), "reflect"), []

    class Count(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            calls.append(str(func))
            return func(*args, **(kwargs or {}))

    y = torch.randn(1, 94, 94)
    with Count():
        plane.enter_adjoint(y)
        plane.enter(y[:, :64, :64])
    assert len(calls) < 60 and not any("_to_copy" in c or "tensor" in c.split(".")[1:2] for c in calls), calls


def test_planes_of_the_families():
    assert convolution_plane((9, 8), (4, 3), "circular").size == (9, 8)
    assert convolution_plane((9, 8), (4, 3), "zeros") == Plane((9, 8), (0, 0, 0, 0), (12, 9), "zeros")
    assert convolution_plane((9, 8), (4, 3), "reflect") == Plane((9, 8), (1, 2, 1, 1), (12, 10), "reflect")
    assert division_plane((9, 8), (4, 3), "reflect") == Plane((9, 8), (4, 5, 3, 3), (18, 14), "reflect")
    assert [int(i) for i in source_indices(-2, 4, 2, "reflect")] == [0, 1, 0, 1, 0, 1]


def test_complex_products_keep_full_precision():
    kernel = torch.randn(1, 1, 9, 7, requires_grad=True)
    exact = kernel_spectrum(kernel.double(), (64, 48), (4.0, 3.0))
    former = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        spectrum = kernel_spectrum(kernel, (64, 48), (4.0, 3.0))
        (gradient,) = torch.autograd.grad(spectrum.abs().square().sum(), kernel)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(former)
    (expected,) = torch.autograd.grad(exact.abs().square().sum(), kernel)
    assert float((spectrum - exact).detach().abs().max() / exact.abs().max()) < 2e-6
    assert float((gradient - expected).abs().max() / expected.abs().max()) < 2e-6


def test_products_are_made_with_the_highest_precision(monkeypatch):
    seen = []
    multiply = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: (seen.append(torch.get_float32_matmul_precision()), multiply(a, b))[1])
    former = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        kernel = torch.randn(1, 1, 3, 3, requires_grad=True)
        kernel_spectrum(kernel, (8, 8), (1.0, 1.0)).abs().sum().backward()
    finally:
        torch.set_float32_matmul_precision(former)
    assert len(seen) == 4 and set(seen) == {"highest"}


def test_without_gradients_a_product_is_torchs_own(monkeypatch):
    """An autograd.Function costs the host more than the product of small matrices."""
    kernel = torch.randn(1, 1, 3, 3)
    expected = kernel_spectrum(kernel, (8, 8), (1.0, 1.0))
    monkeypatch.setattr(_fourier._Product, "apply", None)
    assert torch.equal(kernel_spectrum(kernel, (8, 8), (1.0, 1.0)), expected)
    with torch.no_grad():
        assert torch.equal(kernel_spectrum(kernel.requires_grad_(), (8, 8), (1.0, 1.0)), expected)


# words of layouts ----------------------------------------------------------------------------------------------------

def dims():
    found = Dims()
    found.check("x", torch.zeros(2, 3, 4, 5), "B C H W")
    return found


@pytest.mark.parametrize("name,shape,layouts,text", [
    ("k", (3, 3), ("B? C? kh kw", "B? kh kw"), r"k: expected \[B\|1, C\|1, kh, kw\] or \[B\|1, kh, kw\], got \[3, 3\]"),
    ("k", (3, 3, 3), ("B? kh kw",), r"k: expected a batch of 1 or that of x, = 1 or 2 at axis 0, got \[3, 3, 3\]"),
    ("k", (1, 2, 3, 3), ("B? C? kh kw",), r"k: expected channels of 1 or those of x, = 1 or 3 at axis 1"),
    ("k", (1, 3, 0), ("B? kh kw",), r"k: expected kh >= 1 and kw >= 1, got \[1, 3, 0\]"),
    ("w", (2, 3, 4, 6), ("B C H W",), r"w: expected W of x = 5 at axis -1, got \[2, 3, 4, 6\]"),
    ("v", (2, 2, 4), ("B 3 H",), r"v: expected 3 at axis 1"),
    ("k", (3,), ("... kh kw",), r"k: expected \[..., kh, kw\] with kh, kw >= 1, got \[3\]"),
])
def test_shape_errors_are_made_of_the_layout(name, shape, layouts, text):
    with pytest.raises(ValueError, match=text):
        dims().check(name, torch.zeros(shape), *layouts)


def test_letters_bind_at_first_sight_and_empty_batches_pass():
    found = Dims()
    found.check("x", torch.zeros(0, 3, 4, 5), "B C H W")
    found.check("k", torch.zeros(1, 7, 8), "B? kh kw")
    assert [found[letter] for letter in ("B", "kh", "kw")] == [0, 7, 8]
    with pytest.raises(TypeError, match="k: expected a torch.Tensor, got list"):
        found.check("k", [1.0], "B? kh kw")
    with pytest.raises(TypeError, match="k: expected dtype float32 or float64, got torch.float16"):
        found.check("k", torch.zeros(1, 1, 1).half(), "B? kh kw", dtypes=(torch.float32, torch.float64))


def test_numbers():
    assert number("a", np.uint8(3), integer=True) == 3 and number("a", np.array(0.5), above=0, most=1) == 0.5
    assert number("a", torch.tensor(0.5)) == 0.5 and number("a", torch.tensor(3), integer=True) == 3
    assert pair("size", np.int64(4), integer=True) == (4, 4) and pair("size", (np.float32(0.5), 2)) == (0.5, 2.0)
    for value, error, text in [
        ("1", TypeError, "a: expected a number > 0, got '1'"),
        (True, TypeError, "got True"),
        (0, ValueError, "a number > 0, got 0"),
        (float("nan"), ValueError, "got nan"),
        (float("inf"), ValueError, "got inf"),
        (torch.ones(1), TypeError, "a: expected"),
    ]:
        with pytest.raises(error, match=text):
            number("a", value, above=0)
    with pytest.raises(ValueError, match="a: expected an integer >= 1, got 1.5"):
        number("a", 1.5, least=1, integer=True)
    with pytest.raises(ValueError, match=r"a: expected a number in \(0, 1\], got 2"):
        number("a", 2, above=0, most=1)
