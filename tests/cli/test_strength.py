"""`svconv deblur --reg`: auto follows the noise of the photograph, a number is taken as it is; what the last line says; bad values."""
import numpy as np
import pytest
import torch
from PIL import Image

import svconv
from svconv.cli import deblur, demo, strength
from svconv.files import images
from svconv.files.picture import Picture


@pytest.fixture
def noisy(tmp_path):
    """noisy(sigma) -> (file of the demo's photograph under a disk with that noise, kernel's name, sharp [1, 1, H, W])."""

    def make(sigma):
        x = demo.photograph(200).plane(1)
        y = svconv.conv(x, svconv.data.named_kernel("disk:3").float()[None], padding="reflect")
        y = y + sigma * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
        pixels = (y[0, 0].clamp(0, 1) * 65535).round().numpy().astype(np.uint16)
        images.write_image(tmp_path / "in.tif", Picture(pixels[..., None].copy()))
        return tmp_path / "in.tif", x

    return make


def psnr(path, x):
    found = images.read_image(path).pixels[..., 0] / 65535 - x[0, 0].numpy()
    return -10 * np.log10((found[20:-20, 20:-20] ** 2).mean())


@pytest.mark.parametrize("method", ["irls", "cg", "hyper"])
def test_auto_follows_the_noise(run, tmp_path, noisy, method):
    gains = []
    for sigma, words in ((0.005, "noise 0."), (0.05, "noise 5.")):
        path, x = noisy(sigma)
        command = ("deblur", path, "--kernel", "disk:3", "--method", method, "-o", tmp_path / "out.tif")
        outcome = run(*command)
        assert outcome.status == 0 and words in outcome.out and "--reg " in outcome.out
        auto = psnr(tmp_path / "out.tif", x)
        fixed = run(*command, "--reg", str({"hyper": 1 / 3000}.get(method, 2e-3)))
        assert fixed.status == 0 and "--reg" not in fixed.out
        gains.append(auto - psnr(tmp_path / "out.tif", x))
    assert gains[0] > -1 and gains[1] > 3, gains


def test_auto_may_be_said(run, tmp_path, noisy):
    path, _ = noisy(0.01)
    pixels = []
    for more in ((), ("--reg", "auto")):
        assert run("deblur", path, "--kernel", "disk:3", *more, "-o", tmp_path / "out.tif").status == 0
        pixels.append(images.read_image(tmp_path / "out.tif").pixels)
    np.testing.assert_array_equal(*pixels)


def test_more_noise_is_smoothed_more():
    for method in strength.BASE:
        values = [strength.strength(method, noise) for noise in (0, 0.002, 0.01, 0.03, 0.1, 0.5)]
        assert values[0] == values[1] < values[2] < values[3] < values[4] == values[5]
    for method in strength.BLIND:
        values = [strength.strength(method, noise, blind=True) for noise in (0, 0.01, 0.05)]
        assert values[0] == values[1] < values[2]


@pytest.mark.parametrize(("suffix", "told"), [(".jpg", True), (".webp", True), (".png", False)])
def test_jpeg_hides_noise(run, tmp_path, suffix, told):
    """What the compression took away is reckoned with: no less smoothing than for 1 %."""
    x = (demo.photograph(160).plane(1)[0, 0].clamp(0, 1) * 255).round().numpy().astype(np.uint8)
    smooth = svconv.conv(torch.from_numpy(x).float()[None, None] / 255, svconv.data.named_kernel("disk:3").float()[None], padding="reflect")
    Image.fromarray((smooth[0, 0] * 255).round().numpy().astype(np.uint8)).save(tmp_path / f"in{suffix}", quality=95)
    outcome = run("deblur", tmp_path / f"in{suffix}", "--kernel", "disk:3", "-o", tmp_path / "out.png")
    assert outcome.status == 0 and ("1 % reckoned with, JPEG hides some" in outcome.out) == told
    assert (f"--reg {strength.BASE['irls']:.2g}" in outcome.out) == told


def test_hidden_pixels_do_not_count():
    rng = np.random.default_rng(0)
    pixels = (128 + 5 * rng.standard_normal((96, 96, 3))).astype(np.uint8)
    alpha = np.full((96, 96), 255, np.uint8)
    alpha[40:60, 30:90] = 0
    found = []
    for hidden in (0, 255):
        pixels[alpha == 0] = hidden * (rng.random((1, 3)) > 0.5)
        found.append(strength.noise_of(Picture(pixels.copy(), alpha).with_white()[0]))
    assert found[0] == found[1] and abs(found[0] - 5 / 255) < 2e-3


def test_wrong_values(refused, tmp_path, photo_file, kernel_file):
    for value in ("much", "0", "-1", "nan"):
        refused("deblur", photo_file, "--kernel", kernel_file, "-o", tmp_path / "o.png", f"--reg={value}", naming=["--reg", value])
    assert not hasattr(deblur, "REG")
