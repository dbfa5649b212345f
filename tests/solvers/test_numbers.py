"""NumPy scalars, and arrays and tensors of no dimension, wherever a number is: np.uint8 would wrap around where it is negated."""
import fractions

import numpy as np
import pytest
import torch

from scenes import blur_kernel, picture
from svconv import Conv, Identity, models, nn, solvers
from svconv._shapes import number, pair

INTEGERS = {"uint8": np.uint8, "int8": np.int8, "uint64": np.uint64, "0-d array": lambda v: np.array(v, np.uint8),
            "0-d tensor": lambda v: torch.tensor(v, dtype=torch.uint8)}
NUMBERS = {**INTEGERS, "float16": np.float16, "float32": np.float32, "0-d float array": lambda v: np.array(v, np.float32),
           "0-d float tensor": lambda v: torch.tensor(float(v)), "longdouble": np.longdouble, "fraction": fractions.Fraction}
every_integer = pytest.mark.parametrize("i", INTEGERS.values(), ids=INTEGERS)
every_number = pytest.mark.parametrize("n", NUMBERS.values(), ids=NUMBERS)


def image():
    return picture(20, 22)


def psf():
    return Conv(blur_kernel(3))


@every_integer
@pytest.mark.parametrize("call", [
    lambda i: solvers.irls(psf(), image(), reweightings=i(1), cg_iter=i(3)).x,
    lambda i: solvers.richardson_lucy(psf(), image(), max_iter=i(3)).x,
    lambda i: solvers.cg(2 * Identity(), image(), max_iter=i(3), check_every=i(2)).x,
    lambda i: solvers.cg(2 * Identity(), image(), max_iter=i(3), check_every=i(2), implicit=False).x,
    lambda i: solvers.blind_kernel(image(), i(9), steps=i(2), scales=i(1)).x,
    lambda i: solvers.blind_kernel(image(), i(9), steps=i(1), scales=i(2)).x,
    lambda i: psf().norm((i(8), i(9))),
    lambda i: psf().input_shape((i(1), i(1), i(8), i(9))),
    lambda i: nn.Barthann(i(3))(image()),
    lambda i: nn.Barthann((i(3), i(2)))(image()),
    lambda i: nn.KernelQuotient(i(3))(image(), image()),
    lambda i: nn.KernelQuotient((i(3), i(5)))(image(), image()),
    lambda i: nn.FilterPredictor(i(1), i(2), i(3), channels=i(1), width=i(4), depth=i(1))(image()).shape,
    lambda i: [p.shape for p in models.LearningToDeblur((i(7),), i(2), i(9), filters=i(8), hidden=i(2)).parameters()],
    lambda i: [p.shape for p in models.LearningToDeblur(i(7), i(1), i(5), features=i(2)).parameters()],
])
def test_integers(call, i):
    torch.testing.assert_close(call(i), call(int))


@every_number
@pytest.mark.parametrize("call", [
    lambda n: solvers.irls(psf(), image(), reg=n(2), cg_iter=3).x,
    lambda n: solvers.wiener(psf(), image(), beta=n(2)).x,
    lambda n: solvers.wiener(Conv(blur_kernel(3), "reflect"), image(), beta=n(2)).x,
    lambda n: solvers.richardson_lucy(psf(), image(), max_iter=2, damping=n(2), background=n(1)).x,
    lambda n: solvers.hyper_laplacian(image(), blur_kernel(3), lam=n(100), exponent=n(1), padding="circular").x,
    lambda n: solvers.hyper_laplacian_shrink(image(), n(2), n(1)),
    lambda n: solvers.cg(2 * Identity(), image(), tol=n(0), atol=n(1)).x,
    lambda n: solvers.blind_kernel(image(), 5, reg=n(1), kernel_reg=n(3), steps=1).x,
    lambda n: (n(2) * psf())(image()),
    lambda n: (psf() * n(2))(image()),
    lambda n: (psf() / n(3))(image()),
    lambda n: (n(0) + psf())(image()),
    lambda n: sum([psf(), psf()], n(0))(image()),
    lambda n: nn.KernelQuotient(3, beta=n(2), center=(n(1), n(1)))(image(), image()),
    lambda n: nn.ImageQuotient(n(2), center=(n(1), n(1)))(image(), blur_kernel(3)),
    lambda n: nn.ImageQuotient(n(2), learnable=False)(image(), blur_kernel(3)),
])
def test_numbers(call, n):
    torch.testing.assert_close(call(n), call(float), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("wrong", [True, np.True_, torch.tensor(True), "2", None, 2j, np.complex64(2), np.ones(1), torch.ones(1), [2]])
def test_what_is_no_number(wrong):
    with pytest.raises(TypeError, match="^reg: expected a number >= 0"):
        number("reg", wrong, least=0)
    with pytest.raises((TypeError, ValueError), match="^size: expected"):
        pair("size", (wrong, 2), integer=True)


@pytest.mark.parametrize("wrong", [2.5, np.float32(2.5), torch.tensor(2.5), np.float64("nan"), torch.tensor(float("inf"))])
def test_what_is_no_integer(wrong):
    with pytest.raises(ValueError, match="^steps: expected an integer >= 1"):
        number("steps", wrong, least=1, integer=True)


def test_a_number_is_a_python_number():
    for value in (np.uint8(3), np.array(3), torch.tensor(3, dtype=torch.int8), 3):
        assert type(number("n", value, integer=True)) is int and type(number("n", value)) is float
        assert pair("n", value, integer=True) == (3, 3) and pair("n", (value, value), integer=True) == (3, 3)
    assert -number("n", np.uint8(3), integer=True) == -3
