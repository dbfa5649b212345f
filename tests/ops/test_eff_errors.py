"""What the eff family refuses, and how it says it."""
import math

import pytest
import torch

from svconv import EFFGrid, eff_conv, eff_conv_adjoint, eff_image_quotient, eff_kernel_adjoint, eff_kernel_quotient

GRID = EFFGrid((8, 9), (2, 2))
X, K = torch.zeros(2, 3, 8, 9), torch.ones(1, 4, 3, 3)


def quotient(y=X, k=K, grid=GRID, beta=0.1, **options):
    return eff_image_quotient(y, k, grid, beta=beta, **options)


@pytest.mark.parametrize("call,error,match", [
    (lambda: eff_conv(X[0], K, GRID), ValueError, r"x: expected \[B, C, H, W\], got \[3, 8, 9\]"),
    (lambda: eff_conv(X.int(), K, GRID), TypeError, "x: expected dtype float32"),
    (lambda: eff_conv(X[..., :8], K, GRID), ValueError, r"x: expected an image of the grid's size \(8, 9\), got \[2, 3, 8, 8\]"),
    (lambda: eff_conv_adjoint(X.mT, K, GRID), ValueError, r"y: expected an image of the grid's size \(8, 9\), got \[2, 3, 9, 8\]"),
    (lambda: eff_conv(X, K, (2, 2)), TypeError, "grid: expected an EFFGrid, got tuple"),
    (lambda: eff_conv(X, K[:, :3], GRID), ValueError, r"kernels: expected R of grid = 4 at axis 1, got \[1, 3, 3, 3\]"),
    (lambda: eff_conv(X, K[0], GRID), ValueError,
     r"kernels: expected \[B\|1, C\|1, R, kh, kw\] or \[B\|1, R, kh, kw\], got \[4, 3, 3\]"),
    (lambda: eff_conv(X, torch.ones(3, 4, 3, 3), GRID), ValueError, "kernels: expected a batch of 1 or that of x, = 1 or 2 at axis 0"),
    (lambda: eff_conv(X, torch.ones(1, 2, 4, 3, 3), GRID), ValueError, "kernels: expected channels of 1 or those of x, = 1 or 3 at axis 1"),
    (lambda: eff_conv(X[:1], torch.ones(2, 4, 3, 3), GRID), ValueError, "kernels: expected a batch of 1 or that of x, = 1 at axis 0"),
    (lambda: eff_conv(X, torch.ones(1, 4, 0, 3), GRID), ValueError, "kernels: expected kh >= 1 and kw >= 1"),
    (lambda: eff_conv(X, K.double(), GRID), TypeError, "kernels: expected dtype torch.float32 like x, got torch.float64"),
    (lambda: eff_conv(X, K, GRID, form="sideways"), ValueError, 'form: expected "scatter" or "gather", got \'sideways\''),
    (lambda: eff_conv(X, K, GRID, padding="odd"), ValueError, "padding: expected one of zeros"),
    (lambda: eff_conv(X, K, GRID, backend="none"), ValueError, "backend: expected one of cuda"),
    (lambda: eff_kernel_adjoint(X, X[:1], GRID, 3), ValueError, r"y: expected the shape of x \[2, 3, 8, 9\], got \[1, 3, 8, 9\]"),
    (lambda: eff_kernel_adjoint(X, X.double(), GRID, 3), TypeError, "y: expected dtype torch.float32 like x"),
    (lambda: eff_kernel_adjoint(X, X, GRID, 0), ValueError, r"kernel_size: expected sides >= 1, got \(0, 0\)"),
    (lambda: eff_kernel_adjoint(X, X, GRID, 3, form=None), ValueError, 'form: expected "scatter" or "gather", got None'),
    (lambda: quotient(k=torch.ones(1, 4, 9, 3)), ValueError, r"kernels: expected at most the image size \(8, 9\), got \(9, 3\)"),
    (lambda: quotient(beta=-1.0), ValueError, "beta: expected a number > 0, got -1.0"),
    (lambda: quotient(beta=math.nan), ValueError, "beta: expected a number > 0, got nan"),
    (lambda: quotient(beta=torch.tensor([1.0, 0.0])), ValueError, "beta: expected values > 0, got a smallest value of 0"),
    (lambda: quotient(beta=torch.ones(3)), ValueError, r"beta: expected a 0-d tensor or \[B\] with B = 2, got \[3\]"),
    (lambda: quotient(prior="tv"), ValueError, 'prior: expected "identity", "gradient" or filters'),
    (lambda: quotient(prior=torch.ones(1, 99, 2)), ValueError,
     r"prior: expected at most the size of the divided plane \(12, 12\), got \(99, 2\)"),
    (lambda: quotient(prior=K[0].double()), TypeError, "prior: expected dtype torch.float32 like kernel"),
    (lambda: eff_kernel_quotient(X, X[:, :1], GRID, 3), ValueError, r"y: expected the shape of x \[2, 3, 8, 9\], got \[2, 1, 8, 9\]"),
    (lambda: eff_kernel_quotient(X, X, GRID, 9), ValueError, r"kernel_size: expected at most the image size \(8, 9\), got \(9, 9\)"),
    (lambda: eff_kernel_quotient(X, X, GRID, 3.0), TypeError, "kernel_size: expected integers, got 3.0"),
    (lambda: eff_kernel_quotient(X, X, GRID, 3, beta="1"), TypeError, "beta: expected a number or a tensor, got str"),
    (lambda: eff_kernel_quotient(X, X, EFFGrid((8, 8), 2), 3), ValueError, r"x: expected an image of the grid's size \(8, 8\)"),
])
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()
