"""`svconv deblur --psf-grid` and `svconv psf`: methods sharpen, types and headers stay, masks and backgrounds, every mistake one line."""
import os

import numpy as np
import pytest
import torch

import svconv
from svconv.cli import demo, psf_grid
from svconv.files import images

GRID = (2, 3)


def psfs(size=7, colours=1):
    """Gaussians that grow from patch to patch and turn from wide to high: [2, 3, k, k] or [2, 3, k, k, 3]."""
    t = np.arange(size) - size // 2
    k = np.stack([np.exp(-(t[:, None] ** 2 / (2 * a * a) + t ** 2 / (2 * b * b)))
                  for a, b in zip(np.linspace(0.6, 1.9, 6), np.linspace(1.9, 0.7, 6))])
    k = (k / k.sum((1, 2), keepdims=True)).reshape(2, 3, size, size)
    return k if colours == 1 else np.stack([k, k[::-1], k[:, ::-1]], -1)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """(folder, sharp [3, H, W], blurred [3, H, W]) with g.npy, colour.npy, and a piece of the photograph as blurred.png and .npy."""
    folder = tmp_path_factory.mktemp("scene")
    photograph = demo.photograph(size=120)
    truth = torch.cat([photograph.plane(c) for c in range(3)], 1)
    y = svconv.eff_conv(truth, torch.from_numpy(psfs()).reshape(1, 6, 7, 7).float(), svconv.EFFGrid((120, 120), GRID), padding="reflect")
    y = (y + 0.005 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0)))[0].numpy()
    np.save(folder / "g.npy", psfs())
    np.save(folder / "colour.npy", psfs(colours=3))
    images.write_image(folder / "blurred.png", images.Picture(np.rint(y.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0).copy()))
    np.save(folder / "blurred.npy", y[1])
    return folder, truth[0].numpy(), y


def psnr(a, b):
    return -10 * np.log10(((a - b) ** 2).mean())


@pytest.mark.parametrize("method,gain", [("quotient", 2), ("irls", 3), ("rl", 2)])
def test_every_method_sharpens(run, tmp_path, scene, method, gain):
    folder, sharp, y = scene
    outcome = run("deblur", folder / "blurred.png", "--psf-grid", folder / "g.npy", "--method", method, "-o", tmp_path / "out.png")
    assert outcome.status == 0 and f"2 x 3 PSFs of 7 x 7, {method}" in outcome.out, outcome
    after = images.read_image(tmp_path / "out.png").pixels.transpose(2, 0, 1) / 255
    assert psnr(after, sharp) > psnr(y, sharp) + gain
    assert os.listdir(tmp_path) == ["out.png"]


def test_the_quotient_is_the_default_and_equals_the_op(run, tmp_path, scene):
    folder, _, y = scene
    assert run("deblur", folder / "blurred.npy", "--psf-grid", folder / "g.npy", "--reg", "0.01", "-o", tmp_path / "out.npy").status == 0
    expected = svconv.eff_image_quotient(torch.from_numpy(y[1])[None, None], torch.from_numpy(psfs()).reshape(1, 6, 7, 7).float(),
                                         svconv.EFFGrid((120, 120), GRID), beta=0.01, prior="gradient", padding="replicate")
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected[0, 0], atol=1e-5)


@pytest.mark.parametrize("kind", ["u1", "u2", "i2", "i4", "f4", "f8"])
def test_fits_in_and_out_in_its_own_type_with_its_header(run, tmp_path, scene, kind):
    fits = pytest.importorskip("astropy.io.fits")
    _, sharp, y = scene
    top = 200 if kind == "u1" else 3000
    hdu = fits.PrimaryHDU((y[1].clip(0, 1) * top).astype(kind))
    hdu.header["OBJECT"] = "Coffee"
    hdu.writeto(tmp_path / "in.fits")
    fits.PrimaryHDU(psfs().astype("f4")).writeto(tmp_path / "g.fits")
    outcome = run("deblur", tmp_path / "in.fits", "--psf-grid", tmp_path / "g.fits", "-o", tmp_path / "o.fits")
    assert outcome.status == 0, outcome
    with fits.open(tmp_path / "o.fits") as file:
        assert file[0].header["OBJECT"] == "Coffee" and file[0].data.dtype.newbyteorder("=") == np.dtype(kind)
        assert psnr(file[0].data / top, sharp[1]) > psnr(hdu.data / top, sharp[1]) + 1.5


def test_16_bit_and_float_tiff_keep_their_type(run, tmp_path, scene):
    folder, _, y = scene
    for dtype, top in ((np.uint16, 65535), (np.float32, 1)):
        images.write_image(tmp_path / "in.tif", images.Picture((y[1].clip(0, 1) * top).astype(dtype)[..., None]))
        assert run("deblur", tmp_path / "in.tif", "--psf-grid", folder / "g.npy", "-o", tmp_path / "out.tif").status == 0
        assert images.read_image(tmp_path / "out.tif").pixels.dtype == dtype


def test_colour_psfs_act_on_their_colours(run, tmp_path, scene):
    folder, _, _ = scene
    for name, grid in (("a", "g.npy"), ("b", "colour.npy")):
        assert run("deblur", folder / "blurred.png", "--psf-grid", folder / grid, "-o", tmp_path / f"{name}.png").status == 0
    a, b = (images.read_image(tmp_path / f"{name}.png").pixels for name in "ab")
    np.testing.assert_array_equal(a[..., 0], b[..., 0])
    assert not np.array_equal(a[..., 1], b[..., 1])


@pytest.mark.parametrize("method", [None, "rl"])
def test_masked_pixels_do_not_count(run, tmp_path, scene, method):
    """Whatever stands there, the result is the same; it is filled, near what the truth is."""
    folder, sharp, y = scene
    hole = np.zeros((120, 120), bool)
    hole[40:43, 50:54] = hole[90, 20] = True
    images.write_image(tmp_path / "mask.png", images.Picture(np.where(hole, 0, 255).astype(np.uint8)[..., None]))
    found = []
    for value, mask in ((9.0, tmp_path / "mask.png"), (np.nan, tmp_path / "mask.png"), (np.nan, "nan")):
        np.save(tmp_path / "in.npy", np.where(hole, np.float32(value), y[1]))
        outcome = run("deblur", tmp_path / "in.npy", "--psf-grid", folder / "g.npy", "--mask", mask, "--white", "1",
                      "-o", tmp_path / "out.npy", *(("--method", method) if method else ()))
        assert outcome.status == 0 and (method or "irls") in outcome.out, outcome
        found.append(np.load(tmp_path / "out.npy"))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[1], found[2])
    assert np.abs(found[0] - sharp[1])[hole].max() < 0.3


def test_background_is_the_sky_that_was_taken_off(run, tmp_path):
    """A star on a sky of 50 whose mean was subtracted: negative pixels, and the flux of the star comes back."""
    star = torch.zeros(1, 1, 40, 40)
    star[..., 20, 21] = 2000
    light = svconv.eff_conv(star, torch.from_numpy(psfs()).reshape(1, 6, 7, 7).float(), svconv.EFFGrid((40, 40), GRID)) + 50
    counts = torch.poisson(light, generator=torch.Generator().manual_seed(0)) - 50
    np.save(tmp_path / "in.npy", counts[0, 0].numpy())
    np.save(tmp_path / "g.npy", psfs())
    arguments = "deblur", tmp_path / "in.npy", "--psf-grid", tmp_path / "g.npy", "--method", "rl", "-o", tmp_path / "out.npy"
    refused = run(*arguments)
    assert refused.status == 2 and "pixels are negative, which rl cannot use (--background B" in refused.err
    assert not (tmp_path / "out.npy").exists()
    assert run(*arguments, "--background", "50").status == 0
    x = np.load(tmp_path / "out.npy")
    assert x.min() >= 0 and abs(x[18:23, 19:24].sum() - 2000) < 300 and x[20, 21] > 2 * float(counts.max())
    assert "with --background 1" in run(*arguments, "--background", "1").err


def test_transparent_pixels_are_left_out_and_alone(run, refused, tmp_path, scene):
    folder, _, _ = scene
    pixels = images.read_image(folder / "blurred.png").pixels.copy()
    alpha = np.full((120, 120), 255, np.uint8)
    alpha[:30, :40] = 0
    pixels[:30, :40] = 7
    images.write_image(tmp_path / "in.png", images.Picture(pixels, alpha))
    outcome = run("deblur", tmp_path / "in.png", "--psf-grid", folder / "g.npy", "-o", tmp_path / "out.png")
    after = images.read_image(tmp_path / "out.png")
    assert outcome.status == 0 and "irls" in outcome.out and (after.pixels[:30, :40] == 7).all()
    np.testing.assert_array_equal(after.alpha, alpha)
    refused("deblur", tmp_path / "in.png", "--psf-grid", folder / "g.npy", "--method", "quotient", "-o", tmp_path / "o.png",
            naming="transparent pixels and quotient")


@pytest.mark.parametrize("options,naming", [
    (("--mask", "nan", "--method", "quotient"), "--mask: quotient leaves no pixels out"),
    (("--method", "cg"), "--method: expected quotient, irls or rl with --psf-grid, got cg"),
    (("--method", "rl", "--reg", "1"), "--reg: rl has no smoothing"), (("--reg", "0"), "--reg: expected a number > 0"),
    (("--background", "3"), "--background: only with --method rl, got quotient"),
    (("--iterations", "3"), "--iterations: only with --method rl"),
    (("--method", "rl", "--background", "-1"), "--background: expected a number >= 0"),
    (("--method", "rl", "--background", "nan"), "--background: expected a number >= 0"),
    (("--method", "rl", "--iterations", "0"), "--iterations: expected a number >= 1"),
    (("--grid", "3x2"), "expected"), (("--grid", "0x2"), "--grid: expected rows x columns of patches such as 4x6, got '0x2'"),
    (("--kernel-size", "5"), "--kernel-size: only with --blind"), (("--hdu", "1"), "--hdu chooses an image of a FITS file, this is none"),
    (("--mask", "missing.png"), "cannot read missing.png"), (("--kernel", "k.npy"), "not allowed with argument"),
])
def test_options_that_do_not_belong_together(refused, tmp_path, scene, options, naming):
    folder, _, _ = scene
    refused("deblur", folder / "blurred.png", "--psf-grid", folder / "g.npy", "-o", tmp_path / "out.png", *options, naming=naming)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("option", ["--grid=2x3", "--background=1", "--iterations=3", "--hdu=0", "--psf-hdu=0"])
def test_options_of_a_psf_grid_alone(refused, tmp_path, photo_file, kernel_file, option):
    refused("deblur", photo_file, "--kernel", kernel_file, option, "-o", tmp_path / "out.png", naming=option.split("=")[0])


def test_data_that_cannot_be_used(refused, tmp_path, scene):
    folder, _, y = scene
    out, grid = tmp_path / "out.npy", folder / "g.npy"
    np.save(tmp_path / "nan.npy", np.where(y[1] > 0.9, np.nan, y[1]))
    refused("deblur", tmp_path / "nan.npy", "--psf-grid", grid, "-o", out, naming="it has NaN or infinite pixels")
    np.save(tmp_path / "all.npy", np.full((120, 120), np.nan))
    refused("deblur", tmp_path / "all.npy", "--psf-grid", grid, "--mask", "nan", "-o", out, naming="--mask: expected pixels to use")
    images.write_image(tmp_path / "white.png", images.Picture(np.full((120, 120, 1), 255, np.uint8)))
    refused("deblur", tmp_path / "nan.npy", "--psf-grid", grid, "--mask", tmp_path / "white.png", "-o", out,
            naming="that --mask does not leave out")
    images.write_image(tmp_path / "small.png", images.Picture(np.full((12, 120, 1), 255, np.uint8)))
    refused("deblur", folder / "blurred.npy", "--psf-grid", grid, "--mask", tmp_path / "small.png", "-o", out,
            naming="--mask: expected an image of")
    refused("deblur", folder / "blurred.npy", "--psf-grid", folder / "colour.npy", "-o", out, naming="3 colours but the image is grey")
    refused("deblur", folder / "blurred.npy", "--psf-grid", grid, "-o", tmp_path / "out.png", naming="PNG does not hold 32 bits")
    k = psfs()
    k[1, 2] = 0
    np.save(tmp_path / "dead.npy", k)
    refused("deblur", folder / "blurred.npy", "--psf-grid", tmp_path / "dead.npy", "-o", out,
            naming="patch 5 (row 1, column 2): expected a sum > 0")
    np.save(tmp_path / "many.npy", np.ones((121, 1, 2, 2)))
    refused("deblur", folder / "blurred.npy", "--psf-grid", tmp_path / "many.npy", "-o", out, naming="at most as many patches as pixels")
    assert not out.exists()


def test_negative_weights_are_left_out_of_rl_with_a_warning(run, tmp_path, scene):
    folder, _, _ = scene
    k = psfs()
    k[..., 0, 0] = -1e-3
    np.save(tmp_path / "g.npy", k)
    outcome = run("deblur", folder / "blurred.npy", "--psf-grid", tmp_path / "g.npy", "--method", "rl", "-o", tmp_path / "out.npy")
    assert outcome.status == 0 and "negative weights count as 0" in outcome.err


def test_memory_is_looked_at_first(refused, monkeypatch, tmp_path, scene):
    folder, _, _ = scene
    monkeypatch.setattr(psf_grid, "needed", lambda *a: 10**18)
    refused("deblur", folder / "blurred.npy", "--psf-grid", folder / "g.npy", "-o", tmp_path / "o.npy", naming="of memory")


def test_psf_draws_every_psf_at_its_place(run, refused, tmp_path, scene):
    folder, _, _ = scene
    for name, channels in (("g.npy", 1), ("colour.npy", 3)):
        outcome = run("psf", folder / name, "-o", tmp_path / "g.png")
        assert outcome.status == 0 and "2 x 3 PSFs of 7 x 7" in outcome.out, outcome
        picture = images.read_image(tmp_path / "g.png")
        zoom, gap = 8, 2
        assert picture.channels == channels and picture.size == (2 * (7 * zoom + gap) + gap, 3 * (7 * zoom + gap) + gap)
    assert run("psf", folder / "g.npy", "-o", tmp_path / "g.png", "--scale", "common", "--gamma", "1").status == 0
    pixels = images.read_image(tmp_path / "g.png").pixels[..., 0]
    for row in range(2):
        for column in range(3):
            top, left = gap + row * (7 * zoom + gap), gap + column * (7 * zoom + gap)
            part = pixels[top:top + 7 * zoom:zoom, left:left + 7 * zoom:zoom]
            np.testing.assert_array_equal(part, np.rint(psfs()[row, column] / psfs().max() * 255))
    refused("psf", folder / "g.npy", "-o", tmp_path / "g.txt", naming="unknown extension")
    refused("psf", folder / "missing.npy", "-o", tmp_path / "g.png", naming="missing.npy")
    refused("psf", folder / "g.npy", "--gamma", "0", "-o", tmp_path / "h.png", naming="--gamma: expected a number")


# one kernel ----------------------------------------------------------------------------------------------------------

@pytest.fixture
def sky(tmp_path):
    """(FITS of stars under a Gaussian with noise on a sky that was taken off, its kernel's name, the stars): float32, in counts."""
    fits = pytest.importorskip("astropy.io.fits")
    generator = torch.Generator().manual_seed(2)
    stars = torch.zeros(1, 1, 96, 80)
    places = torch.rand(40, 2, generator=generator) * torch.tensor([80.0, 64.0]) + 8
    for (row, column), flux in zip(places.long().tolist(), (2000 * torch.rand(40, generator=generator) + 500).tolist()):
        stars[..., row, column] += flux
    kernel = svconv.data.named_kernel("gaussian:1.5").float()
    image = svconv.conv(stars, kernel[None], padding="zeros") + 0.1 * torch.randn(stars.shape, generator=generator)
    fits.writeto(tmp_path / "sky.fits", image[0, 0].numpy())
    return tmp_path / "sky.fits", "gaussian:1.5", stars[0, 0].numpy()


def test_one_kernel_with_rl_keeps_the_flux_and_the_header(run, tmp_path, sky):
    from astropy.io import fits

    path, kernel, stars = sky
    outcome = run("deblur", path, "--kernel", kernel, "--method", "rl", "--background", "1", "--iterations", "40", "-o",
                  tmp_path / "out.fits")
    assert outcome.status == 0 and "kernel 13 x 13, rl" in outcome.out, outcome
    found, before = fits.getdata(tmp_path / "out.fits"), fits.getdata(path)
    assert found.dtype == before.dtype and abs(found.sum() - stars.sum()) < 0.03 * stars.sum()
    assert found.max() > 2 * before.max() and ((found - stars) ** 2).sum() < 0.8 * ((before - stars) ** 2).sum()


def test_one_kernel_leaves_out_what_a_mask_does(run, tmp_path, sky):
    from astropy.io import fits

    path, kernel, _ = sky
    image = fits.getdata(path)
    image[20:24, 30:34] = np.nan
    fits.writeto(tmp_path / "holes.fits", image)
    for method in ("irls", "rl"):
        more = ("--background", "1") if method == "rl" else ()
        outcome = run("deblur", tmp_path / "holes.fits", "--kernel", kernel, "--method", method, "--mask", "nan", *more, "-o",
                      tmp_path / "out.npy")
        assert outcome.status == 0 and np.isfinite(np.load(tmp_path / "out.npy")[:18]).all(), outcome


def test_one_kernel_chooses_the_image_of_a_file(run, refused, tmp_path, sky):
    from astropy.io import fits

    path, kernel, _ = sky
    image = fits.getdata(path)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image), fits.ImageHDU(2 * image)]).writeto(tmp_path / "two.fits")
    assert run("deblur", tmp_path / "two.fits", "--kernel", kernel, "--hdu", "2", "-o", tmp_path / "out.npy").status == 0
    assert np.load(tmp_path / "out.npy").shape == image.shape
    refused("deblur", tmp_path / "two.fits", "--kernel", kernel, "--hdu", "7", "-o", tmp_path / "x.npy", naming=["two.fits", "7"])


def test_what_integers_cut_off_is_said(run, tmp_path):
    image = np.full((64, 64), 10, np.uint16)
    image[30:33, 30:33] = 60000
    np.save(tmp_path / "in.npy", image)
    outcome = run("deblur", tmp_path / "in.npy", "--kernel", "gaussian:1", "--method", "rl", "-o", tmp_path / "out.npy")
    assert outcome.status == 0 and "values beyond the range of uint16 are cut off" in outcome.err and "% of the flux" in outcome.err
    assert np.load(tmp_path / "out.npy").max() == 65535


def test_options_of_one_kernel_that_do_not_fit(refused, tmp_path, sky):
    path, kernel, _ = sky
    out = ("-o", tmp_path / "out.fits")
    refused("deblur", path, "--kernel", kernel, "--method", "cg", "--mask", "nan", *out, naming=["--mask", "irls or rl", "cg"])
    refused("deblur", path, "--kernel", kernel, "--background", "5", *out, naming=["--background", "--method rl"])
    refused("deblur", path, "--kernel", kernel, "--method", "rl", "--reg", "1", *out, naming="--reg")
    refused("deblur", path, "--kernel", kernel, "--method", "rl", "--tiles", "auto", *out, naming="--tiles: not with --kernel")
    refused("deblur", path, "--kernel", kernel, "--method", "rl", *out, naming=["pixels are negative", "--background"])
    assert not (tmp_path / "out.fits").exists()
