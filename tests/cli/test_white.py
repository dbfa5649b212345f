"""`svconv deblur --white`: the same photograph at any depth is restored equally well."""
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import svconv
from svconv.cli import demo


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """(folder with kernel.npy, sharp, blurred), grey 0..1."""
    folder = tmp_path_factory.mktemp("levels")
    k = torch.eye(7)[None, None] / 7
    np.save(folder / "kernel.npy", k[0, 0].numpy())
    x = demo.photograph(size=96).plane(1)
    y = svconv.conv(x, k, padding="reflect") + 0.005 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    return folder, x[0, 0].numpy(), y[0, 0].clamp(0, 1).numpy()


def error(run, scene, full, *more, dtype=np.uint16, hot=None, method="irls", **options):
    folder, x, y = scene
    a = (np.rint(y * full) if dtype == np.uint16 else y * full).astype(dtype)
    if hot is not None:
        a[3, 4] = hot
    tifffile.imwrite(folder / "in.tif", a, **options)
    outcome = run("deblur", folder / "in.tif", "--kernel", folder / "kernel.npy", "--method", method, "-o", folder / "out.tif", *more)
    assert outcome.status == 0, outcome
    back = tifffile.imread(folder / "out.tif")
    assert back.dtype == dtype
    return float(np.sqrt((((back / full - x)[12:-12, 12:-12]) ** 2).mean())), outcome


@pytest.mark.parametrize("method", ["irls", "cg", "hyper"])
def test_every_depth_and_unit_is_restored_equally_well(run, scene, method):
    best, outcome = error(run, scene, 65535, method=method)
    assert "white" not in outcome.out
    for full, options, said in (
        (4095, {}, "white 4095 (guessed"),
        (1023, {}, "white 1023 (guessed"),
        (4095, {"bitspersample": 12}, "12 bits"),
        (4095, {"hot": 65535}, "white 4095 (guessed"),
        (1e-4, {"dtype": np.float32, "hot": 3e5}, "guessed"),
        (1e9, {"dtype": np.float64, "hot": 1e20}, "guessed"),
    ):
        found, outcome = error(run, scene, full, method=method, **options)
        assert ("1 pixels far above white" in outcome.err) == ("hot" in options)
        assert found < 1.05 * best + 1e-3 and said in outcome.out, (full, options, found, best, outcome.out)


def test_a_given_white_goes_before_the_guess(run, scene):
    best, _ = error(run, scene, 4095, "--reg", "2e-3")
    given, outcome = error(run, scene, 4095, "--reg", "2e-3", "--white", "65535")
    assert given > 1.3 * best and "white 65535 (given)" in outcome.out
    assert error(run, scene, 20000, "--white", "2e4")[0] == pytest.approx(error(run, scene, 20000, "--white", "20000")[0])


def test_8_bits_have_a_white_of_their_own_too(run, tmp_path, scene):
    Image.fromarray(np.full((20, 20), 30, np.uint8)).save(tmp_path / "a.png")
    outcome = run("deblur", tmp_path / "a.png", "--kernel", scene[0] / "kernel.npy", "--white", "60", "-o", tmp_path / "b.png")
    assert outcome.status == 0 and "white 60 (given)" in outcome.out


@pytest.mark.parametrize("value", ["0", "-3", "nan", "inf", "bright"])
def test_bad_values_are_named(refused, photo_file, kernel_file, tmp_path, value):
    refused("deblur", photo_file, "--kernel", kernel_file, "-o", tmp_path / "out.png", f"--white={value}", naming=["--white", value])
