"""What the Fourier families share, under the interpreter, against torch's complex arithmetic."""
import importlib

import pytest
import torch

triton = pytest.importorskip("triton")
tl = triton.language
spectrum_elements = importlib.import_module("svconv._triton.spectra").spectrum_elements
BLOCK = 512
TOLERANCE = {torch.float64: 1e-14, torch.float32: 1e-6}     # relative to the largest value of the result


@pytest.fixture
def spectra(nan_memory):
    """The module; every buffer it allocates is full of NaN."""
    return importlib.import_module("svconv._triton.spectra")


def random(*shape, dtype, seed=0):
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed)).to(dtype.to_complex())


def close(result, expected):
    return result.shape == expected.shape and (result - expected).abs().max() <= TOLERANCE[result.real.dtype] * expected.abs().max()


@pytest.mark.parametrize("shared", [(2, 3), (1, 3), (2, 1), (1, 1)])
@pytest.mark.parametrize("hw", [(1, 1), (16, 33), (5, 7)])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_transferred(spectra, shared, hw, dtype):
    """Products and quotients by transfer functions that planes share or not, in blocks that come out even, or not."""
    x, k = random(2, 3, *hw, dtype=dtype), random(*shared, *hw, dtype=dtype, seed=1)
    assert close(spectra.transferred(x, k), x * k)
    assert close(spectra.transferred(x, k, conjugate=True), x * k.conj())
    power = torch.rand(hw, dtype=dtype)
    for beta in (torch.rand(2, dtype=dtype) + 1, torch.rand(1, dtype=dtype) + 1):
        for times in (None, power):
            norm = k.abs().square() + beta[:, None, None, None] * (1 if times is None else times)
            assert close(spectra.transferred(x, k, True, beta, times), x * k.conj() / norm)


@pytest.mark.parametrize("shared", [(2, 3), (1, 3), (2, 1), (1, 1)])
@pytest.mark.parametrize("betas", [1, 2])
def test_transferred_in_groups(spectra, shared, betas):
    """Groups of batches with transfer functions of their own; beta is one for all groups."""
    x, k = random(4, 2, 3, 5, 7, dtype=torch.float64), random(4, *shared, 5, 7, dtype=torch.float64, seed=1)
    assert close(spectra.transferred(x, k), x * k)
    beta, power = torch.rand(betas, dtype=torch.float64) + 1, torch.rand(5, 7, dtype=torch.float64)
    expected = x * k.conj() / (k.abs().square() + beta[:, None, None, None] * power)
    assert close(spectra.transferred(x, k, True, beta, power), expected)


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 1, 16, 33), (4, 2, 3, 5, 7)])
def test_estimated(spectra, shape):
    """Sums over the features, and with beta the quotient, also in groups."""
    x, y = random(*shape, dtype=torch.float64), random(*shape, dtype=torch.float64, seed=1)
    numerator, denominator = (x.conj() * y).sum(-3), x.abs().square().sum(-3)
    assert close(spectra.estimated(x, y), numerator)
    for betas in ({1, shape[-4]} if len(shape) > 3 else ()):
        beta = torch.rand(betas, dtype=torch.float64) + 1
        assert close(spectra.estimated(x, y, beta), numerator / (denominator + beta[:, None, None]))


def test_strided_spectra(spectra):
    x, k = random(3, 2, 5, 9, dtype=torch.float64).transpose(0, 1), random(1, 1, 9, 5, dtype=torch.float64, seed=1).mT
    assert torch.equal(spectra.transferred(x, k), spectra.transferred(x.contiguous(), k.contiguous()))


def test_a_quotient_is_zero_where_the_divisor_vanishes(spectra):
    x, k, power = random(1, 2, 4, 3, dtype=torch.float32), random(1, 1, 4, 3, dtype=torch.float32, seed=1), torch.ones(4, 3)
    k[..., 0, 0] = power[0, 0] = 0
    result = spectra.transferred(x, k, True, torch.ones(1), power)
    assert result[..., 0, 0].eq(0).all() and result.isfinite().all()


@pytest.mark.parametrize("hw", [(1, 1), (3, 7), (32, 48)])
def test_windowed(spectra, hw):
    x, rows, columns = (torch.rand(shape, dtype=torch.float64) for shape in ((2, 3, *hw), hw[0], hw[1]))
    expected = x * rows[:, None] * columns
    assert close(spectra.windowed(x, rows, columns), expected)
    wide = torch.empty(2, 3, hw[0], 2 * hw[1], dtype=torch.float64)[..., ::2].copy_(x)
    assert close(spectra.windowed(wide, rows, columns), expected)


@triton.jit
def _place_kernel(found, pid, size, BLOCK: tl.constexpr):
    spectrum, i, inside = spectrum_elements(pid, size, BLOCK)
    tl.store(found, spectrum)
    tl.store(found + 1, tl.max(i, 0))
    tl.store(found + 2, tl.sum(inside.to(tl.int32), 0))


@pytest.mark.parametrize("size", [1, 512, 2**31 - 511, 2**31 - 1, 2**31, 2**33 + 1])
def test_elements_of_large_spectra(size):
    """Just below 2^31 elements the size is a 32-bit number."""
    blocks = -(-size // BLOCK)
    for pid, spectrum, block in ((0, 0, 0), (blocks - 1, 0, blocks - 1), (blocks, 1, 0), (3 * blocks - 1, 2, blocks - 1)):
        found = torch.empty(3, dtype=torch.int64)
        _place_kernel[(1,)](found, pid, size, BLOCK)
        assert found.tolist() == [spectrum, (block + 1) * BLOCK - 1, min(BLOCK, size - block * BLOCK)]
