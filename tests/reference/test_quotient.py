"""Fast lengths, the taper, and the transforms of small kernels inside large planes."""
import math

import pytest
import torch

from svconv import _fourier

DOUBLE = torch.float64


def test_fast_lengths_are_the_next_with_small_factors():
    def smooth(n):
        for factor in (2, 3, 5, 7):
            while n % factor == 0:
                n //= factor
        return n == 1
    for n in range(1, 300):
        fast = _fourier.fast_length(n)
        assert fast >= n and smooth(fast) and not any(smooth(m) for m in range(n, fast))


@pytest.mark.parametrize("n,k", [(1, 3), (2, 3), (7, 3), (9, 17), (16, 8), (40, 5)])
def test_barthann_taper(n, k):
    taper = _fourier.barthann_taper(n, k, DOUBLE)
    reach = min(k, n // 2)
    for i in range(n):
        edge = min(i, n - 1 - i)
        t = edge / (2 * reach - 1) - 0.5 if edge < reach else 0
        expected = 0.62 - 0.48 * abs(t) + 0.38 * math.cos(2 * math.pi * t) if edge < reach else 1
        assert abs(float(taper[i]) - expected) < 1e-15


@pytest.mark.parametrize("plane", [(8, 9), (9, 8), (5, 5), (1, 4)])
@pytest.mark.parametrize("size,center", [((3, 4), (1.0, 2.0)), ((1, 1), (0.0, 0.0)), ((11, 10), (5.0, 5.0)), ((3, 2), (-4.0, 7.0))])
def test_kernel_spectrum_is_the_transform_of_the_wrapped_kernel(plane, size, center):
    k = torch.randn(2, *size, dtype=DOUBLE)
    full = torch.zeros(2, *plane, dtype=DOUBLE)
    for i in range(size[0]):
        for j in range(size[1]):
            full[:, int(i - center[0]) % plane[0], int(j - center[1]) % plane[1]] += k[:, i, j]
    expected = torch.fft.rfft2(full)
    assert torch.allclose(_fourier.kernel_spectrum(k, plane, center), expected, atol=1e-12)
    values = _fourier.kernel_values(expected, plane, size, center)
    wrapped = torch.stack([torch.stack([full[:, int(i - center[0]) % plane[0], int(j - center[1]) % plane[1]] for j in range(size[1])], -1)
                           for i in range(size[0])], -2)
    assert torch.allclose(values, wrapped, atol=1e-12)


@pytest.mark.parametrize("width", [7, 8, 3, 1])
@pytest.mark.parametrize("center", [2.0, 1.3, -0.6])
def test_row_transforms_agree_with_the_tables(width, center):
    k = torch.randn(2, 3, 5, dtype=DOUBLE)
    rows = _fourier.kernel_rows(k, width, center)
    table = _fourier._table("columns", width, 5, center, DOUBLE, torch.device("cpu"))
    assert torch.allclose(rows, k.to(table.dtype) @ table, atol=1e-12)
    inverse = _fourier._table("inverse_columns", width, 5, center, DOUBLE, torch.device("cpu"))
    assert torch.allclose(_fourier.values_of_rows(rows, width, 5, center), (rows @ inverse.mT).real, atol=1e-12)


@pytest.mark.parametrize("plane", [(8, 6), (7, 9)])
def test_a_fractional_shift_and_its_values_are_transposes(plane):
    g, spectrum = torch.randn(3, 4, dtype=DOUBLE), torch.fft.rfft2(torch.randn(*plane, dtype=DOUBLE))
    left = torch.fft.irfft2(_fourier.kernel_spectrum(g, plane, (0.3, 1.7)), s=plane)
    right = torch.fft.irfft2(spectrum, s=plane)
    assert torch.isclose((left * right).sum(), (g * _fourier.kernel_values(spectrum, plane, (3, 4), (0.3, 1.7))).sum())
