"""A new user's first hour, with the README alone: a photograph of one's own, a field of stars in FITS, the filters of one's own network."""
import pathlib
import shlex

import numpy as np
import pytest
import torch
from PIL import Image

import svconv
from svconv.cli import demo, main
from svconv.data import motion_kernel

README = pathlib.Path(__file__).resolve().parents[1] / "README.md"
if not README.is_file():
    pytest.skip("the README is not here", allow_module_level=True)


def commands(word):
    """The README's commands with that word, without the program's name."""
    return [shlex.split(line)[1:] for line in README.read_text().splitlines() if line.startswith("svconv ") and word in line.split()]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def psnr(x, truth):
    """The best over shifts of a few pixels, which a kernel that is not known leaves open."""
    inner = np.s_[16:-16, 16:-16]
    return max(-10 * np.log10(((np.roll(x, (down, right), (0, 1))[inner] - truth[inner]) ** 2).mean())
               for down in range(-4, 5) for right in range(-4, 5))


def opened(path):
    return np.asarray(Image.open(path).convert("RGB"), dtype=np.float64) / 255


def test_a_photograph_of_ones_own(here, capsys):
    """Shaken, from a camera; then the same with the kernel that was found; then a sharp one."""
    photograph = demo.photograph(260)
    sharp = torch.cat([photograph.plane(c) for c in range(3)], 1)
    blurry = svconv.conv(sharp, motion_kernel(13, generator=torch.Generator().manual_seed(3)), padding="symmetric")
    blurry = blurry + 0.004 * torch.randn(blurry.shape, generator=torch.Generator().manual_seed(0))
    exif = Image.Exif()
    exif[271] = "Camera"
    pixels = (blurry[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save("blurry.jpg", quality=97, subsampling=0, exif=exif)
    truth = sharp[0].permute(1, 2, 0).numpy()
    before = psnr(opened("blurry.jpg"), truth)
    (blind,) = commands("--blind")
    assert main(blind) == 0
    out = capsys.readouterr().out
    assert "verdict      restored" in out and psnr(opened("sharp.png"), truth) > before + 3
    assert "restored" in (here / "found.html").read_text() and Image.open("sharp.png").getexif()[271] == "Camera"
    (known,) = commands("--kernel")
    assert main([*known, "--overwrite"]) == 0 and psnr(opened("sharp.png"), truth) > before + 2
    Image.fromarray((truth * 255).round().astype(np.uint8)).save("mine.png")
    assert main(["deblur", "mine.png", "--blind"]) == 0 and "probably sharp already" in capsys.readouterr().out
    assert (opened("mine_deblurred.png") == opened("mine.png")).all()


def test_a_field_of_stars(here):
    """A PSF that widens over the field, sky taken off, dead pixels; the flux and the header stay."""
    fits = pytest.importorskip("astropy.io.fits")
    generator = torch.Generator().manual_seed(5)
    stars = torch.zeros(1, 1, 120, 160)
    for row, column in (torch.rand(60, 2, generator=generator) * torch.tensor([100.0, 140.0]) + 10).long().tolist():
        stars[..., row, column] += float(3000 * torch.rand(1, generator=generator) + 300)
    kernels = [svconv.data.named_kernel(f"gaussian:{sigma}").float() for sigma in (0.9, 1.0, 1.1, 1.2, 1.3, 1.4)]
    psfs = torch.stack([torch.nn.functional.pad(k, ((13 - len(k)) // 2,) * 4) for k in kernels])
    y = svconv.eff_conv(stars, psfs[None], svconv.EFFGrid((120, 160), (2, 3)), padding="zeros")
    image = (y + 0.2 * torch.randn(y.shape, generator=generator))[0, 0].numpy()
    image[50, 60:64] = np.nan
    header = fits.Header()
    header["OBJECT"] = "M 13"
    fits.writeto("sky.fits", image, header)
    fits.writeto("psfs.fits", psfs.reshape(2, 3, 13, 13).numpy())
    assert main("deblur sky.fits --psf-grid psfs.fits --method rl --background 2 --mask nan -o sharp.fits".split()) == 0
    found, truth = fits.getdata("sharp.fits"), stars[0, 0].numpy()
    assert fits.getheader("sharp.fits")["OBJECT"] == "M 13" and found.dtype.kind == "f"
    assert abs(found[5:-5, 5:-5].sum() / truth.sum() - 1) < 0.06
    assert ((found - truth)[:45] ** 2).sum() < 0.7 * ((image - truth)[:45] ** 2).sum()


def test_the_filters_of_ones_own_network():
    """Kernel prediction: 25 copies of the image by unfold and einsum, and the one call that takes their place, both ways."""
    torch.manual_seed(0)
    head = torch.nn.Conv2d(3, 25, 3, padding=1).double()
    x = torch.rand(2, 3, 20, 24, dtype=torch.float64)
    filters = head(x).softmax(1)
    patches = torch.nn.functional.unfold(torch.nn.functional.pad(x, (2, 2, 2, 2), mode="reflect"), 5).view(2, 3, 25, 20, 24)
    old = torch.einsum("bckhw,bkhw->bchw", patches, filters)
    new = svconv.pixel_filter(x, filters.view(2, 5, 5, 20, 24), padding="reflect")
    torch.testing.assert_close(new, old, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(y.square().sum(), list(head.parameters()), retain_graph=True) for y in (old, new)]
    for one, other in zip(*gradients):
        torch.testing.assert_close(other, one, rtol=1e-10, atol=1e-10)
