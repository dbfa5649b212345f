"""What the quotient family and conv refuse, and how they say it."""
import math

import pytest
import torch

import svconv

DOUBLE = torch.float64

X, K = torch.zeros(2, 3, 8, 9), torch.ones(1, 3, 3)


@pytest.mark.parametrize(
    "call,error,match",
    [
        (lambda: svconv.conv(X[0], K), ValueError, r"x: expected \[B, C, H, W\], got \[3, 8, 9\]"),
        (lambda: svconv.conv(X.int(), K), TypeError, "x: expected dtype float32"),
        (lambda: svconv.conv(X, K[0]), ValueError, r"kernel: expected \[B\|1, C\|1, kh, kw\] or \[B\|1, kh, kw\], got \[3, 3\]"),
        (
            lambda: svconv.conv(X, torch.ones(3, 3, 3)),
            ValueError,
            r"kernel: expected a batch of 1 or that of x, = 1 or 2 at axis 0, got \[3, 3, 3\]",
        ),
        (lambda: svconv.conv(X, torch.ones(1, 2, 3, 3)), ValueError, "kernel: expected channels of 1 or those of x, = 1 or 3 at axis 1"),
        (lambda: svconv.conv(X, torch.ones(1, 0, 3)), ValueError, r"kernel: expected kh >= 1 and kw >= 1, got \[1, 0, 3\]"),
        (lambda: svconv.conv(X, K.double()), TypeError, "kernel: expected dtype torch.float32 like x, got torch.float64"),
        (lambda: svconv.conv(X, K, padding="odd"), ValueError, "padding: expected one of zeros"),
        (lambda: svconv.conv(X, K, backend="none"), ValueError, "backend: expected one of cuda"),
        (lambda: svconv.conv(X[:, :, :0], K), ValueError, "x: expected H >= 1"),
        (lambda: svconv.kernel_quotient(X, X[:1], 3), ValueError, r"y: expected the shape of x \[2, 3, 8, 9\], got \[1, 3, 8, 9\]"),
        (lambda: svconv.kernel_quotient(X, X, 9), ValueError, r"kernel_size: expected at most the image size \(8, 9\), got \(9, 9\)"),
        (lambda: svconv.kernel_quotient(X, X, (3, 0)), ValueError, r"kernel_size: expected sides >= 1, got \(3, 0\)"),
        (lambda: svconv.kernel_quotient(X, X, 3.0), TypeError, "kernel_size: expected integers, got 3.0"),
        (lambda: svconv.kernel_quotient(X, X, 3, taper="hann"), ValueError, "taper: expected None or \"barthann\", got 'hann'"),
        (lambda: svconv.kernel_quotient(X, X, 3, center=(1, 2, 3)), ValueError, "center: expected a number or a pair"),
        (lambda: svconv.kernel_quotient(X, X, 3, center=math.nan), ValueError, "center: expected finite numbers"),
        (lambda: svconv.kernel_quotient(X, X, 3, beta=0), ValueError, "beta: expected a number > 0, got 0"),
        (lambda: svconv.kernel_quotient(X, X, 3, beta=math.nan), ValueError, "beta: expected a number > 0, got nan"),
        (lambda: svconv.kernel_quotient(X, X, 3, beta="1"), TypeError, "beta: expected a number or a tensor, got str"),
        (
            lambda: svconv.kernel_quotient(X, X, 3, beta=torch.tensor([1.0, -1])),
            ValueError,
            "beta: expected values > 0, got a smallest value of -1",
        ),
        (lambda: svconv.kernel_quotient(X, X, 3, beta=torch.tensor(math.nan)), ValueError, "beta: expected values > 0"),
        (
            lambda: svconv.kernel_quotient(X, X, 3, beta=torch.ones(3)),
            ValueError,
            r"beta: expected a 0-d tensor or \[B\] with B = 2, got \[3\]",
        ),
        (lambda: svconv.kernel_quotient(X, X, 3, beta=torch.ones((), dtype=DOUBLE)), TypeError, "beta: expected dtype torch.float32"),
        (
            lambda: svconv.image_quotient(X, torch.ones(1, 9, 3), beta=1.0),
            ValueError,
            r"kernel: expected at most the image size \(8, 9\), got \(9, 3\)",
        ),
        (lambda: svconv.image_quotient(X, K, beta=-1.0), ValueError, "beta: expected a number > 0, got -1.0"),
        (lambda: svconv.image_quotient(X, K, beta=1.0, prior="tv"), ValueError, 'prior: expected "identity", "gradient" or filters'),
        (lambda: svconv.image_quotient(X, K, beta=1.0, prior=K[0]), ValueError, r"prior: expected filters \[J, fh, fw\], got \[3, 3\]"),
        (lambda: svconv.image_quotient(X, K, beta=1.0, prior=K.double()), TypeError, "prior: expected dtype torch.float32 like kernel"),
        (lambda: svconv.project_kernel(torch.ones(3)), ValueError, r"k: expected \[..., kh, kw\] with kh, kw >= 1, got \[3\]"),
        (lambda: svconv.project_kernel([1.0]), TypeError, "k: expected a torch.Tensor, got list"),
    ],
)
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()
