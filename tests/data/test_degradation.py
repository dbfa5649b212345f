"""Degradations: each model's statistics, the seed, the ranges, JPEG through Pillow."""
import pytest
import torch

from svconv.data import degrade


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


GREY = torch.full((2, 1, 128, 128), 0.4)


def test_without_options_it_is_a_copy():
    out = degrade(GREY)
    assert torch.equal(out, GREY) and out.data_ptr() != GREY.data_ptr()


def test_gaussian_noise():
    noise = degrade(GREY, gaussian=0.05, generator=seeded()) - GREY
    assert abs(float(noise.std()) - 0.05) < 0.002 and abs(float(noise.mean())) < 0.002


def test_poisson_noise_has_the_variance_of_its_photons():
    out = degrade(GREY, poisson=1000, generator=seeded())
    assert abs(float(out.mean()) - 0.4) < 0.002 and abs(float(out.var()) - 0.4 / 1000) < 2e-5


def test_impulse_noise_hits_all_channels_of_a_pixel():
    out = degrade(torch.full((1, 3, 200, 200), 0.4), impulse=0.1, generator=seeded())
    hit = out != 0.4
    assert torch.equal(hit[:, 0], hit[:, 1]) and torch.equal(hit[:, 0], hit[:, 2])
    assert abs(float(hit.float().mean()) - 0.1) < 0.01
    assert abs(float(out[hit].mean()) - 0.5) < 0.03 and set(out[hit].unique().tolist()) == {0.0, 1.0}


def test_saturation_is_a_gain_clipped_after_the_noise():
    x = torch.tensor([0.2, 0.5, 0.9]).view(1, 1, 1, 3)
    torch.testing.assert_close(degrade(x, saturation=1.5), torch.tensor([0.3, 0.75, 1.0]).view(1, 1, 1, 3))
    noisy = degrade(torch.ones(1, 1, 64, 64), saturation=1.0, gaussian=0.1, generator=seeded())
    assert float(noisy.max()) == 1.0 and float(noisy.min()) < 0.9


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_gets_worse_with_lower_quality(channels):
    t = torch.linspace(0, 1, 48)
    x = (0.5 + 0.4 * torch.sin(20 * t[:, None] + 9 * t)).expand(2, channels, 48, 48) * torch.tensor([1.0, 0.5]).view(2, 1, 1, 1)
    fine, coarse = (float((degrade(x, jpeg=q) - x).abs().mean()) for q in (95, 10))
    assert 0 < fine < coarse / 2
    assert degrade(x, jpeg=95).shape == x.shape


def test_the_same_seed_gives_the_same_bits():
    options = dict(gaussian=0.01, poisson=500, impulse=0.01, saturation=1.2, jpeg=80)
    a, b, c = (degrade(GREY, **options, generator=seeded(s)) for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_noise_is_differentiable_and_the_input_is_kept():
    x = GREY.clone().requires_grad_(True)
    degrade(x, gaussian=0.1, generator=seeded()).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x)) and torch.equal(x.detach(), GREY)


@pytest.mark.parametrize(
    "options",
    [dict(gaussian=-1), dict(gaussian=float("nan")), dict(poisson=0), dict(impulse=1.5), dict(saturation=0), dict(jpeg=0), dict(jpeg=101)],
)
def test_bad_values_are_named(options):
    with pytest.raises(ValueError, match=f"^{next(iter(options))}:"):
        degrade(GREY, **options)


def test_bad_images_are_named():
    with pytest.raises(TypeError, match="^x:"):
        degrade(torch.zeros(1, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match="^x:"):
        degrade(torch.zeros(2, 4, 4), jpeg=90)
