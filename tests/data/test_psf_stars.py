"""`data.star_stamps` and `data.psf_grid`: stars are found and centred, neighbours masked, the field's variation followed; bad input."""
import math

import pytest
import torch

import svconv
from svconv.data import named_kernel, psf_grid, star_stamps

SIDE = 300


def psf(sigma, down=0.0, right=0.0, size=25):
    """A Gaussian about a place between pixels, integrated over them."""
    half = size // 2
    edges = torch.arange(size + 1, dtype=torch.float64) - half - 0.5
    rows, columns = (torch.special.ndtr((edges - shift) / sigma).diff() for shift in (down, right))
    return rows[:, None] * columns


def sigma_at(row, column):
    return 1.2 + 0.8 * column / SIDE + 0.3 * row / SIDE


@pytest.fixture(scope="module")
def field():
    """(image with sky and noise, places [N, 2], lights [N]): stars whose PSF widens over the field."""
    generator = torch.Generator().manual_seed(1)
    places = torch.rand(70, 2, generator=generator, dtype=torch.float64) * (SIDE - 60) + 30
    lights = 10 ** (3.5 + torch.rand(70, generator=generator, dtype=torch.float64))
    image = 50 + torch.randn(SIDE, SIDE, generator=generator, dtype=torch.float64)
    for (row, column), light in zip(places.tolist(), lights.tolist()):
        r, c = round(row), round(column)
        image[r - 12:r + 13, c - 12:c + 13] += light * psf(sigma_at(row, column), row - r, column - c)
    return image, places, lights


def test_stars_are_found_where_they_are(field):
    image, places, lights = field
    stars = star_stamps(image)
    assert len(stars.light) > 40 and (stars.light.diff() <= 0).all()
    distance = torch.cdist(stars.positions, places)
    assert distance.min(1).values.quantile(0.9) < 0.1
    alone = torch.cdist(places, places).fill_diagonal_(99).min(1).values[distance.argmin(1)] > 25
    assert ((stars.light / lights[distance.argmin(1)] - 1)[alone].abs() < 0.05).all()
    torch.testing.assert_close((stars.stamps * (stars.weights > 0)).sum((1, 2)), torch.ones(len(stars.light), dtype=torch.float64))


def test_the_grid_follows_the_field(field):
    image, _, _ = field
    stars = star_stamps(image)
    errors = {}
    for order in (0, 2):
        found = psf_grid(stars.stamps, stars.positions, (3, 4), image_size=(SIDE, SIDE), weights=stars.weights, order=order)
        assert found.shape == (3, 4, 25, 25) and found.min() >= 0
        torch.testing.assert_close(found.sum((2, 3)), torch.ones(3, 4, dtype=torch.float64))
        truth = torch.stack([psf(sigma_at((r + 0.5) * 100, (c + 0.5) * 75)) for r in range(3) for c in range(4)]).reshape(found.shape)
        errors[order] = ((found - truth).square().sum((2, 3)) / truth.square().sum((2, 3))).sqrt()
    assert errors[2].median() < 0.05 and errors[2].median() < 0.5 * errors[0].median()


def test_places_may_be_given_and_serve_a_deconvolution(field):
    image, places, _ = field
    stars = star_stamps(image, places[:20])
    assert 12 <= len(stars.light) <= 20
    grid = svconv.EFFGrid((SIDE, SIDE), (2, 2))
    psfs = psf_grid(stars.stamps, stars.positions, (2, 2), image_size=(SIDE, SIDE), weights=stars.weights)
    blur = svconv.EFFBlur(psfs.reshape(1, 4, 25, 25).float(), grid)
    assert blur(torch.ones(1, 1, SIDE, SIDE)).shape == (1, 1, SIDE, SIDE)


def test_what_spoils_a_star(field):
    """Saturation, a bright neighbour, dead pixels in the middle, the border."""
    kernel = named_kernel("gaussian:1.5")
    sky = torch.zeros(1, 1, 160, 160, dtype=torch.float64)
    for row, column, light in ((30, 30, 1.0), (80, 80, 1.0), (80, 85, 0.8), (30, 120, 1.0), (120, 30, 9.0), (3, 80, 1.0)):
        sky[..., row, column] = light
    image = svconv.conv(sky, kernel[None])[0, 0]
    image[120 - 2:120 + 3, 30 - 2:30 + 3] = image[118:123, 28:33].clamp_max(0.2)     # a plateau
    image[30, 120] = float("nan")
    stars = star_stamps(image, size=25)
    assert stars.positions.round().tolist() == [[30.0, 30.0]]
    with pytest.raises(ValueError, match="image: expected at least one single star"):
        star_stamps(image, size=25, saturation=0.01)


def test_a_neighbour_is_masked():
    kernel = named_kernel("gaussian:1.2")
    sky = torch.zeros(1, 1, 60, 60, dtype=torch.float64)
    sky[..., 30, 30], sky[..., 30, 40] = 1.0, 0.6
    stars = star_stamps(svconv.conv(sky, kernel[None])[0, 0], torch.tensor([[30.0, 30.0]]), size=21)
    assert stars.weights[0, 10, 10] > 0 and stars.weights[0, 10, 20] == 0 and stars.weights[0, :, 17:].sum() == 0


def test_few_stamps_lower_the_order():
    stamps = psf(1.5)[None].repeat(2, 1, 1)
    found = psf_grid(stamps, [[5.0, 5.0], [9.0, 40.0]], (2, 2), image_size=(50, 50), order=3)
    torch.testing.assert_close(found, psf(1.5).expand(2, 2, -1, -1) / psf(1.5).sum(), rtol=1e-4, atol=1e-6)


def test_an_outlier_does_not_count():
    generator = torch.Generator().manual_seed(0)
    stamps = psf(1.5) + 1e-4 * torch.randn(30, 25, 25, generator=generator, dtype=torch.float64)
    stamps[3, 4, 4] += 5
    found = psf_grid(stamps, torch.rand(30, 2, generator=generator) * 50, (1, 1), image_size=(50, 50), order=0)
    assert (found[0, 0] - psf(1.5)).abs().max() < 1e-3


def test_bad_input(field):
    image, places, _ = field
    with pytest.raises(TypeError, match="image"):
        star_stamps(image.long())
    for name, arguments in {"size": {"size": 8}, "sigmas": {"sigmas": 0}, "positions": {"positions": [[1.0, math.nan]]}}.items():
        with pytest.raises(ValueError, match=name):
            star_stamps(image, **arguments)
    with pytest.raises(ValueError, match="positions.*400"):
        star_stamps(image, [[400.0, 5.0]])
    with pytest.raises(ValueError, match="image"):
        star_stamps(torch.full((40, 40), math.nan))
    stamps = torch.rand(3, 9, 9)
    good = {"stamps": stamps, "positions": torch.rand(3, 2), "grid": (1, 1), "image_size": (9, 9)}
    for name, value in {"stamps": torch.zeros(0, 9, 9), "positions": torch.rand(2, 2), "weights": -torch.ones(3, 9, 9), "order": 7,
                        "grid": (0, 1)}.items():
        with pytest.raises(ValueError, match=name):
            psf_grid(**{**good, name: value})
    with pytest.raises(ValueError, match="stamps: expected light"):
        psf_grid(**{**good, "stamps": -stamps})
