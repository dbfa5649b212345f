"""FilterBankFeatures: the filters against their definition, scales, what they answer to, gradients, bad input."""
import numpy as np
import pytest
import torch
from scipy.ndimage import convolve1d, correlate

from svconv.nn import FilterBankFeatures


def image(*shape, dtype=torch.float64):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(dtype)


def kernels():
    """Odd, then even filters, at 0, 45, 90 and 135 degrees, point by point."""
    found = []
    for even in (False, True):
        for direction in ((0, 1), (0.5**0.5, 0.5**0.5), (1, 0), (0.5**0.5, -(0.5**0.5))):
            kernel, gauss = np.zeros((7, 7)), np.zeros((7, 7))
            for row in range(-3, 4):
                for column in range(-3, 4):
                    u = direction[0] * row + direction[1] * column
                    gauss[row + 3, column + 3] = np.exp(-(row**2 + column**2) / 2)
                    kernel[row + 3, column + 3] = (u * u - 1 if even else u) * gauss[row + 3, column + 3]
            kernel -= gauss * kernel.sum() / gauss.sum()
            found.append(kernel / np.abs(kernel).sum())
    return found


@pytest.mark.parametrize("shape", [(2, 3, 12, 9), (1, 1, 1, 5)])
def test_it_is_the_definition(shape):
    x, bank = image(*shape), kernels()
    maps = FilterBankFeatures(3)(x)
    planes = x.numpy()
    for scale, found in enumerate(maps):
        if scale:
            for axis in (2, 3):
                planes = convolve1d(planes, [0.25, 0.5, 0.25], axis, mode="nearest")
            planes = planes[..., ::2, ::2]
        assert found.shape == (shape[0], 13 * shape[1], *planes.shape[-2:])
        found = found.unflatten(1, (shape[1], 13)).numpy()
        for b, c in np.ndindex(*shape[:2]):
            parts = [correlate(planes[b, c], kernel, mode="nearest") for kernel in bank]
            energy = [np.sqrt(o**2 + e**2 + 1e-6) for o, e in zip(parts[:4], parts[4:])]
            np.testing.assert_allclose(found[b, c], np.stack([planes[b, c], *parts, *energy]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("orientation, step", [(0, (0, 1)), (1, (1, 1)), (2, (1, 0)), (3, (1, -1))])
def test_edges_and_lines_answer_in_their_orientation(orientation, step):
    row, column = torch.meshgrid(torch.arange(-10, 11), torch.arange(-10, 11), indexing="ij")
    u = step[0] * row + step[1] * column
    for pattern, kind in (((u > 0).double() + 0.5 * (u == 0), 1), ((u == 0).double(), 5)):
        at = FilterBankFeatures(1)(pattern[None, None])[0][0, :, 10, 10].abs()
        assert int(at[kind:kind + 4].argmax()) == orientation and float(at[6 - kind:10 - kind].max()) < 1e-9
        assert int(at[9:13].argmax()) == orientation


def test_flat_images_have_neither_edges_nor_lines():
    for found in FilterBankFeatures()(torch.full((1, 1, 32, 32), 0.7, dtype=torch.float64)):
        assert float((found[:, :1] - 0.7).abs().max()) < 1e-12 and float(found[:, 1:9].abs().max()) < 1e-12
        assert float((found[:, 9:] - 1e-3).abs().max()) < 1e-12


def test_gradients():
    bank, x = FilterBankFeatures(2), image(1, 1, 5, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: tuple(bank(t)), (x,)) and torch.autograd.gradgradcheck(lambda t: tuple(bank(t)), (x,))


def test_half_types_are_computed_in_float32():
    x = image(1, 3, 16, 16, dtype=torch.float16)
    assert all(p.dtype == torch.float32 and torch.equal(p, q) for p, q in zip(FilterBankFeatures()(x), FilterBankFeatures()(x.float())))


def test_any_size_goes_through_all_scales_and_a_batch_may_be_empty():
    assert [tuple(m.shape[2:]) for m in FilterBankFeatures(8)(torch.zeros(1, 1, 1, 5))] == [(1, 5), (1, 3), (1, 2)] + [(1, 1)] * 5
    assert [tuple(m.shape) for m in FilterBankFeatures(2)(torch.zeros(0, 3, 8, 8))] == [(0, 39, 8, 8), (0, 39, 4, 4)]


def test_what_does_not_fit_is_named():
    for bad in (0, 9, 2.5):
        with pytest.raises(ValueError, match="^scales: "):
            FilterBankFeatures(bad)
    with pytest.raises(ValueError, match="^x: expected"):
        FilterBankFeatures()(torch.zeros(3, 8, 8))
    assert repr(FilterBankFeatures()) == "FilterBankFeatures(scales=5)" and not FilterBankFeatures().state_dict()
