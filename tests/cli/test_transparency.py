"""`svconv deblur` of pictures with transparent parts: what nobody sees changes nothing that is seen, and stays as it was."""
import numpy as np
import pytest
import tifffile
import torch
from scipy.ndimage import uniform_filter

from svconv.cli import deblur, demo, memory, unseen
from svconv.files import images


@pytest.fixture
def blurred():
    """The photograph under a box of 5 x 5, float 0..1, [72, 72, 3]."""
    pixels = demo.photograph(size=72).pixels / 255
    return np.stack([uniform_filter(pixels[..., c], 5, mode="nearest") for c in range(3)], 2)


def seen(shape):
    alpha = np.ones(shape)
    alpha[:, :20], alpha[40:50, 45:] = 0, 0
    return alpha


CASES = [(np.uint8, ".png"), (np.uint16, ".png"), (np.uint8, ".tif"), (np.uint16, ".tif"), (np.float32, ".tif"), (np.float64, ".tif")]


def full_scale(dtype):
    return np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1


def stored(dtype, colour, alpha):
    full = full_scale(dtype)
    return images.Picture(*((np.rint(a * full) if full != 1 else a).astype(dtype) for a in (colour, alpha)))


@pytest.mark.parametrize("method", memory.SOLVERS)
@pytest.mark.parametrize("dtype, suffix", CASES)
def test_hidden_colours_do_not_reach_the_visible_ones(run, tmp_path, blurred, dtype, suffix, method):
    np.save(tmp_path / "k.npy", np.ones((5, 5)))
    alpha, found = seen(blurred.shape[:2]), []
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    for hidden in (0, 1):
        images.write_image(source, stored(dtype, np.where(alpha[..., None] > 0, blurred, hidden), alpha))
        options = ("--kernel", tmp_path / "k.npy", "--method", method, "--white", full_scale(dtype))
        assert run("deblur", source, *options, "-o", target).status == 0
        before, after = images.read_image(source), images.read_image(target)
        np.testing.assert_array_equal(after.alpha, before.alpha)
        np.testing.assert_array_equal(after.pixels[alpha == 0], before.pixels[alpha == 0])
        found.append(after.pixels[alpha > 0])
    np.testing.assert_array_equal(*found)
    assert (found[0] != before.pixels[alpha > 0]).any()


@pytest.mark.parametrize("method", memory.SOLVERS)
def test_tiles_carry_the_mask(monkeypatch, blurred, method):
    alpha = seen(blurred.shape[:2])
    alpha[:40, :40] = 0
    monkeypatch.setattr(deblur, "TILE", 30)
    monkeypatch.setattr(deblur, "HALO", 4)
    pictures = [stored(np.uint8, np.where(alpha[..., None] > 0, blurred, hidden), alpha) for hidden in (0, 1)]
    found = [deblur.restore(picture, np.full((1, 5, 5), 1 / 25), method, 2e-3).pixels for picture in pictures]
    np.testing.assert_array_equal(*(pixels[alpha > 0] for pixels in found))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_associated_alpha_is_restored_like_the_same_picture_without(run, tmp_path, blurred, dtype):
    np.save(tmp_path / "k.npy", np.ones((5, 5)))
    alpha = seen(blurred.shape[:2])
    plain = stored(dtype, blurred * alpha[..., None], alpha)
    for name, kind in (("assoc", "assocalpha"), ("unass", "unassalpha")):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.dstack([plain.pixels, plain.alpha]), photometric="rgb", extrasamples=[kind])
        assert run("deblur", tmp_path / f"{name}.tif", "--kernel", tmp_path / "k.npy", "-o", tmp_path / f"{name}-out.tif").status == 0
    a, b = (images.read_image(tmp_path / f"{name}-out.tif") for name in ("assoc", "unass"))
    assert a.associated and not b.associated
    np.testing.assert_array_equal(a.pixels[alpha > 0], b.pixels[alpha > 0])


def test_a_wholly_transparent_picture_stays_as_it_is(run, tmp_path, blurred):
    np.save(tmp_path / "k.npy", np.ones((5, 5)))
    images.write_image(tmp_path / "in.png", stored(np.uint8, blurred, np.zeros(blurred.shape[:2])))
    assert run("deblur", tmp_path / "in.png", "--kernel", tmp_path / "k.npy", "-o", tmp_path / "out.png").status == 0
    np.testing.assert_array_equal(images.read_image(tmp_path / "out.png").pixels, images.read_image(tmp_path / "in.png").pixels)


@pytest.mark.parametrize("method", ["ltd", "l0"])
def test_a_kernel_is_estimated_from_what_is_seen(run, refused, tmp_path, blurred, method):
    alpha, kernels = seen(blurred.shape[:2]), []
    options = ("--blind", "--method", method, "--kernel-size", "17" if method == "ltd" else "9", "-o", tmp_path / "out.png")
    for hidden in (0, 1):
        images.write_image(tmp_path / "in.png", stored(np.uint8, np.where(alpha[..., None] > 0, blurred, hidden), alpha))
        assert run("deblur", tmp_path / "in.png", *options, "--save-kernel", tmp_path / "k.npy").status == 0
        kernels.append(np.load(tmp_path / "k.npy"))
    np.testing.assert_array_equal(*kernels)
    images.write_image(tmp_path / "in.png", stored(np.uint8, blurred, 0 * alpha))
    refused("deblur", tmp_path / "in.png", *options, naming=["in.png", "not transparent"])


def test_filling_goes_on_from_the_seen_pixels():
    y = torch.linspace(0, 1, 40).expand(1, 1, 30, 40).clone()
    mask = torch.ones(30, 40, dtype=torch.bool)
    mask[10:20, 12:20] = False
    expected = y.clone()
    y[..., 10:20, 12:20] = 1e3
    out = unseen.filled(y, mask)
    assert torch.equal(out[..., mask], expected[..., mask]) and (out - expected).abs().max() < 0.02
