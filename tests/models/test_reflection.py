"""Reflected borders on any size, as `numpy.pad` has them."""
import numpy as np
import pytest
import torch

from svconv.models.reflection import ReflectedConv2d, reflected


@pytest.mark.parametrize("height, width", [(1, 1), (1, 4), (2, 3), (5, 1), (8, 7), (2, 40)])
@pytest.mark.parametrize("reach", [1, 2, 3])
def test_borders(height, width, reach):
    x = torch.arange(float(2 * height * width)).reshape(1, 2, height, width)
    expected = np.pad(x.numpy(), ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="reflect")
    assert np.array_equal(reflected(x, reach).numpy(), expected)
    conv = ReflectedConv2d(2, 3, 2 * reach + 1)
    plain = torch.nn.functional.conv2d(torch.from_numpy(expected), conv.weight, conv.bias)
    assert torch.equal(conv(x), plain) and conv(x).shape == (1, 3, height, width)
