"""`data.estimate_noise`: white noise on flat, sloping and textured images, strips, clipped values, channels, bad input."""
import pytest
import torch

import svconv
from svconv.cli import demo
from svconv.data import estimate_noise


def noise(shape, sigma, seed=0):
    return sigma * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("sigma", [0.003, 0.01, 0.05])
@pytest.mark.parametrize("shape", [(1, 1, 256, 256), (1, 1, 131, 700), (1, 1, 1100, 97)])
def test_white_noise_on_a_plane(shape, sigma):
    slope = 0.3 + 0.4 * torch.linspace(0, 1, shape[-1], dtype=torch.float64)
    assert float(estimate_noise(slope + noise(shape, sigma))) == pytest.approx(sigma, rel=0.06)


@pytest.mark.parametrize(("sigma", "least", "most"), [(0.0, 0, 0.005), (0.01, 0.0095, 0.0125), (0.05, 0.047, 0.055)])
def test_noise_on_a_photograph(sigma, least, most):
    x = demo.photograph().plane(1).double()
    assert least <= float(estimate_noise(x + noise(x.shape, sigma))) <= most


def test_strips_change_nothing(monkeypatch):
    import importlib

    module = importlib.import_module("svconv.data.estimate_noise")
    x = 0.5 + noise((1, 1, 530, 70), 0.02)
    whole = estimate_noise(x)
    monkeypatch.setattr(module, "STRIP", 32)
    assert torch.equal(estimate_noise(x), whole)


def test_clipped_values_do_not_count():
    x = 0.5 + noise((1, 1, 256, 256), 0.02)
    x[..., :200] = 1
    assert float(estimate_noise(x)) == pytest.approx(0.02, rel=0.1)
    assert float(estimate_noise(torch.ones(1, 1, 64, 64))) == 0


def test_hidden_pixels_do_not_count():
    x, mask = 0.5 + noise((1, 1, 256, 256), 0.02), torch.ones(256, 256)
    mask[30:90, 50:250] = 0
    x[..., mask == 0] = 0.5
    assert float(estimate_noise(x)) < 0.001 and float(estimate_noise(x, mask=mask)) == pytest.approx(0.02, rel=0.06)
    assert float(estimate_noise(x, mask=0 * mask)) < 0.001, "where nothing is seen all of it counts"
    with pytest.raises(ValueError, match="mask"):
        estimate_noise(x, mask=mask[:9])


def test_every_channel_and_sample_has_its_own():
    sigma = torch.tensor([[0.01, 0.02], [0.03, 0.04]], dtype=torch.float64)
    found = estimate_noise(0.5 + noise((2, 2, 256, 256), 1.0) * sigma[:, :, None, None])
    torch.testing.assert_close(found, sigma, rtol=0.06, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_the_dtype_is_that_of_the_image(dtype):
    found = estimate_noise((0.5 + noise((1, 1, 128, 128), 0.05)).to(dtype))
    assert found.dtype == dtype and float(found) == pytest.approx(0.05, rel=0.1)


def test_the_smallest_and_wrong_images():
    assert estimate_noise(torch.rand(1, 1, 3, 3)).shape == (1, 1)
    for wrong in (torch.rand(1, 1, 2, 9), torch.rand(3, 9)):
        with pytest.raises(ValueError, match="image"):
            estimate_noise(wrong)
    with pytest.raises(TypeError, match="image"):
        estimate_noise(torch.zeros(1, 1, 9, 9, dtype=torch.uint8))
    assert float(svconv.data.estimate_noise(torch.full((1, 1, 40, 40), 0.5))) == 0
