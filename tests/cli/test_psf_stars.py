"""`svconv psf --from-stars`: the grid it writes, its picture, tables of places, files of several kinds, every mistake one line."""
import numpy as np
import pytest
import torch
from PIL import Image

import svconv
from svconv.data import named_kernel
from svconv.files import psf_grids

SIDE = 200


@pytest.fixture(scope="module")
def places():
    return (torch.rand(25, 2, generator=torch.Generator().manual_seed(3)) * (SIDE - 60) + 30).round().long()


@pytest.fixture
def sky(tmp_path, places):
    """sky.npy: stars under a Gaussian of 1.6 pixels on a sky of 100 with noise."""
    image = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.float64)
    for i, (row, column) in enumerate(places.tolist()):
        image[..., row, column] = 4000 + 900 * i
    image = svconv.conv(image, named_kernel("gaussian:1.6")[None])[0, 0] + 100
    np.save(tmp_path / "sky.npy", (image + torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(0))).numpy())
    return tmp_path / "sky.npy"


def error(path, grid):
    psfs, found = psf_grids.read_psf_grid(path)
    truth = torch.nn.functional.pad(named_kernel("gaussian:1.6"), (5,) * 4)[:25, :25].numpy()
    assert found == grid and psfs.shape[-2:] == (25, 25)
    return np.abs(psfs - truth).max() / truth.max()


def test_the_grid_is_that_of_the_stars(run, tmp_path, sky):
    outcome = run("psf", "--from-stars", sky, "--grid", "2x3", "-o", tmp_path / "grid.npy", "--picture", tmp_path / "look.png")
    assert outcome.status == 0 and "2 x 3 PSFs of 25 x 25 from" in outcome.out and "% RMS" in outcome.out, outcome
    assert error(tmp_path / "grid.npy", (2, 3)) < 0.05
    picture = np.asarray(Image.open(tmp_path / "look.png"))
    assert picture.ndim == 2 and picture.shape[1] > 2 * picture.shape[0] and picture.std() > 20
    command = ("deblur", sky, "--psf-grid", tmp_path / "grid.npy", "--method", "rl", "--iterations", "3", "-o", tmp_path / "o.npy")
    assert run(*command).status == 0


@pytest.mark.parametrize("header", ["x,y", "row,column", "name,y,x"])
def test_places_of_a_table(run, tmp_path, sky, places, header):
    rows = {"x,y": "{c},{r}", "row,column": "{r},{c}", "name,y,x": "star,{r},{c}"}[header]
    (tmp_path / "at.csv").write_text("\n".join([header, *(rows.format(r=r, c=c) for r, c in places.tolist())]))
    outcome = run("psf", "--from-stars", sky, "--positions", tmp_path / "at.csv", "--order", "0", "-o", tmp_path / "grid.npy")
    assert outcome.status == 0 and error(tmp_path / "grid.npy", (4, 4)) < 0.05, outcome


def test_fits_and_dead_pixels(run, tmp_path, sky):
    fits = pytest.importorskip("astropy.io.fits")
    image = np.load(sky)
    image[40:44, 60:64] = np.nan
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image)]).writeto(tmp_path / "sky.fits")
    outcome = run("psf", "--from-stars", tmp_path / "sky.fits", "--hdu", "1", "--grid", "1x2", "-o", tmp_path / "grid.npy")
    assert outcome.status == 0 and error(tmp_path / "grid.npy", (1, 2)) < 0.05, outcome


def test_every_mistake_is_one_line(refused, tmp_path, sky):
    def case(naming, *more, image=sky, out="grid.npy"):
        refused("psf", "--from-stars", image, "-o", tmp_path / out, *more, naming=naming)

    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    (tmp_path / "words.csv").write_text("x,y\none,two\n")
    (tmp_path / "far.csv").write_text("x,y\n999,2\n")
    np.save(tmp_path / "empty.npy", np.random.default_rng(0).random((90, 90)))
    case("-o: expected a name that ends in .npy", out="grid.png")
    case(["--size", "odd"], "--size", "8")
    case("--order", "--order", "9")
    case(["bad.csv", "x, y or row, column"], "--positions", tmp_path / "bad.csv")
    case(["words.csv", "numbers"], "--positions", tmp_path / "words.csv")
    case(["far.csv", "expected places in the image"], "--positions", tmp_path / "far.csv")
    case(["none.csv", "No such file"], "--positions", tmp_path / "none.csv")
    case(["empty.npy", "at least one single star"], image=tmp_path / "empty.npy")
    case(["--size", "within the image"], "--size", "201")
    case("missing.fits", image=tmp_path / "missing.fits")
    case("--gamma: not with --from-stars", "--gamma", "2")
    refused("psf", "disk:2", "--from-stars", sky, "-o", tmp_path / "grid.npy", naming="--from-stars: not with disk:2")
    refused("psf", "-o", tmp_path / "grid.npy", naming="expected a name, a file, or --from-stars")
    refused("psf", "disk:2", "--size", "9", "-o", tmp_path / "k.npy", naming="--size: only with --from-stars")
    assert not (tmp_path / "grid.npy").exists()
