"""`data.SpectralRipples`: the true kernel explains a photograph best, parts agree under one kernel and not under two; sizes, bad input."""
import pytest
import torch

import svconv
from svconv.cli import demo
from svconv.data import SpectralRipples, motion_kernel, named_kernel


@pytest.fixture(scope="module")
def photograph():
    return demo.photograph().plane(1).double()


def blurred(x, kernel, noise=0.005):
    y = svconv.conv(x, kernel[None].to(x), padding="reflect")
    return y + noise * torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)


KERNELS = {"disk": named_kernel("disk:4"), "streak": named_kernel("motion:12:20"),
           "shake": motion_kernel(21, generator=torch.Generator().manual_seed(4))[0].double()}


@pytest.mark.parametrize("name", KERNELS)
def test_the_true_kernel_explains_most(photograph, name):
    ripples = SpectralRipples(blurred(photograph, KERNELS[name]))
    found = {other: ripples.explained(kernel) for other, kernel in KERNELS.items()}
    assert found[name] > 0.6 and all(found[name] > value + 0.4 for other, value in found.items() if other != name), found


def test_half_a_turn_and_a_scale_change_nothing(photograph):
    ripples, kernel = SpectralRipples(blurred(photograph, KERNELS["shake"])), KERNELS["shake"]
    assert ripples.explained(kernel.flip(0, 1)) == pytest.approx(ripples.explained(kernel), abs=1e-9)
    assert ripples.explained(7 * kernel) == pytest.approx(ripples.explained(kernel), abs=1e-9)
    assert ripples.explained(torch.ones(1, 1)) == pytest.approx(0, abs=0.01)


def test_parts_agree_under_one_kernel_only(photograph):
    streak, other = named_kernel("motion:14:80"), KERNELS["streak"]
    left, right = (blurred(photograph, k) for k in (streak, other))
    across = torch.linspace(0, 1, photograph.shape[-1], dtype=torch.float64)
    alike, unlike, sharp = (SpectralRipples(y).agreement for y in (left, left + (right - left) * (across > 0.5), photograph))
    assert alike > 0.5 and unlike < 0.35 and sharp < 0.35, (alike, unlike, sharp)


@pytest.mark.parametrize(("shape", "segment"), [((32, 40), 32), ((63, 200), 32), ((300, 129), 128)])
def test_small_photographs(shape, segment):
    y = blurred(torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64), KERNELS["disk"])
    ripples = SpectralRipples(y)
    assert ripples.segment == segment and -1 <= ripples.explained(KERNELS["disk"]) <= 1
    assert -1 <= ripples.explained(torch.rand(77, 45)) <= 1         # larger than the pieces: its middle counts
    assert ripples.agreement != ripples.agreement or abs(ripples.agreement) <= 1


def test_large_photographs_have_fewer_pieces(monkeypatch, photograph):
    import importlib

    module = importlib.import_module("svconv.data.spectral_ripples")
    y = blurred(photograph, KERNELS["disk"])
    all_pieces = SpectralRipples(y)
    monkeypatch.setattr(module, "MOST_SEGMENTS", 60)
    fewer = SpectralRipples(y)
    assert fewer.explained(KERNELS["disk"]) == pytest.approx(all_pieces.explained(KERNELS["disk"]), abs=0.1)


def test_a_constant_photograph_has_no_ripples():
    ripples = SpectralRipples(torch.full((1, 1, 256, 256), 0.25))
    assert ripples.explained(KERNELS["disk"]) == pytest.approx(0, abs=0.3) and abs(ripples.agreement) < 1e-6


def test_bad_input(photograph):
    for image in (torch.rand(1, 1, 31, 64), torch.rand(1, 3, 64, 64), torch.rand(2, 1, 64, 64)):
        with pytest.raises(ValueError, match="image"):
            SpectralRipples(image)
    with pytest.raises(ValueError, match="noise"):
        SpectralRipples(torch.rand(1, 1, 64, 64), noise=-1)
    ripples = SpectralRipples(torch.rand(1, 1, 64, 64))
    with pytest.raises(TypeError, match="kernel"):
        ripples.explained(torch.ones(3, dtype=torch.float64))
    for kernel in (torch.zeros(3, 3), torch.full((3, 3), float("nan")), -torch.ones(3, 3)):
        with pytest.raises(ValueError, match="kernel"):
            ripples.explained(kernel)
