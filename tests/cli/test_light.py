"""`--linear`: blur of light under the curve of sRGB; and what an integer type cuts off is said."""
import numpy as np
import pytest
import torch
from PIL import Image

from svconv import conv
from svconv.cli import demo
from svconv.files.picture import decoded, encoded

KERNEL = "disk:2.5"
WAYS = {"kernel": ("--kernel", KERNEL, "--reg", "1e-4"), "cg": ("--kernel", KERNEL, "--method", "cg", "--reg", "1e-4"),
        "hyper": ("--kernel", KERNEL, "--method", "hyper", "--reg", "1e-4"),
        "masked": ("--kernel", KERNEL, "--mask", "nan", "--reg", "1e-4"),
        "rl": ("--kernel", KERNEL, "--method", "rl", "--iterations", "60"),
        "grid": ("--psf-grid", "grid.npy", "--method", "irls", "--reg", "1e-4"),
        "quotient": ("--psf-grid", "grid.npy", "--reg", "1e-4")}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """(folder with light.npy, a photograph with strong contrasts whose light is blurred, and grid.npy; its sharp values)"""
    from svconv.data.named_kernels import named_kernel

    folder, kernel = tmp_path_factory.mktemp("light"), named_kernel(KERNEL).float()
    sharp = decoded(demo.photograph(size=80).plane(0)) ** 2       # its highlights stand out
    blurred = encoded(conv(sharp, kernel[None, None], padding="replicate"))
    np.save(folder / "light.npy", blurred[0, 0].numpy())
    np.save(folder / "grid.npy", kernel.numpy()[None, None])
    return folder, encoded(sharp)[0, 0].numpy()


def error(a, b):
    return np.square(a - b)[8:-8, 8:-8].mean()


@pytest.mark.parametrize("way", WAYS)
def test_light_is_the_same_run_on_decoded_values(run, tmp_path, scene, way):
    folder, _ = scene
    options = [folder / o if o.endswith(".npy") else o for o in WAYS[way]] + ["--white", "1"]
    np.save(tmp_path / "decoded.npy", decoded(torch.from_numpy(np.load(folder / "light.npy"))).numpy())
    assert run("deblur", folder / "light.npy", *options, "--linear", "-o", tmp_path / "a.npy").status == 0
    assert run("deblur", tmp_path / "decoded.npy", *options, "-o", tmp_path / "b.npy").status == 0
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), encoded(torch.from_numpy(np.load(tmp_path / "b.npy"))).numpy())


def test_blurred_light_is_restored_better_as_light(run, tmp_path, scene):
    folder, sharp = scene
    options = WAYS["kernel"]
    errors = {"before": error(np.load(folder / "light.npy"), sharp)}
    for light in ("--linear", "--no-linear"):
        assert run("deblur", folder / "light.npy", *options, "--white", "1", light, "-o", tmp_path / f"{light}.npy").status == 0
        errors[light] = error(np.load(tmp_path / f"{light}.npy"), sharp)
    assert errors["--linear"] < 0.7 * errors["--no-linear"] and errors["--linear"] < 0.7 * errors["before"]


def test_values_are_the_default(run, tmp_path, scene):
    folder, _ = scene
    for name, options in (("default", ()), ("values", ("--no-linear",))):
        assert run("deblur", folder / "light.npy", "--kernel", KERNEL, *options, "-o", tmp_path / f"{name}.npy").status == 0
    np.testing.assert_array_equal(np.load(tmp_path / "default.npy"), np.load(tmp_path / "values.npy"))


def test_a_shaken_photograph_can_be_restored_as_light(run, tmp_path, weights):
    assert run("demo", "-o", tmp_path / "demo").status == 0
    found = {}
    for name, options in (("values", ()), ("light", ("--linear",))):
        assert run("deblur", tmp_path / "demo" / "shaken.png", "--blind", "--weights", weights, "--force", *options, "-o",
                   tmp_path / f"{name}.png").status == 0
        found[name] = np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int)
    assert np.abs(found["light"] - found["values"]).max() > 2


@pytest.mark.parametrize("options, message", [
    (("--kernel", KERNEL, "--method", "svmap"), "--linear: svmap has learned from the values as they are"),
    (("--blind", "--method", "ldr"), "--linear: ldr has learned"), (("--blind", "--method", "ebks"), "--linear: ebks has learned"),
    (("--psf-grid", "grid.npy", "--tiles", "auto"), "--linear: not with --tiles")])
def test_what_knows_no_light_says_so(refused, tmp_path, scene, options, message):
    folder, _ = scene
    options = [folder / o if o.endswith(".npy") else o for o in options]
    refused("deblur", folder / "light.npy", *options, "--linear", "-o", tmp_path / "out.npy", naming=message)
    assert not (tmp_path / "out.npy").exists()


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "f4"])
@pytest.mark.parametrize("extension", [".npy", ".fits"])
def test_numbers_that_are_cut_off_are_counted(run, tmp_path, kind, extension):
    """A star beside the top of the type overshoots when it is sharpened."""
    top = 255 if kind == "u1" else 32767 if kind == "i2" else 65535
    y = torch.zeros(1, 1, 40, 40)
    y[..., 18:22, 18:22] = 1.0
    y = conv(y, torch.ones(1, 1, 3, 3) / 9, padding="replicate")[0, 0].numpy()
    a = np.rint(y / y.max() * top).astype(kind)
    if extension == ".fits":
        pytest.importorskip("astropy.io.fits").PrimaryHDU(a).writeto(tmp_path / "in.fits")
    else:
        np.save(tmp_path / "in.npy", a)
    outcome = run("deblur", tmp_path / f"in{extension}", "--kernel", "gaussian:1.4", "--method", "rl", "-o", tmp_path / f"out{extension}")
    assert outcome.status == 0
    name = {"u1": "uint8", "i2": "int16", "u2": "uint16"}.get(kind)
    assert ("are cut off" in outcome.err) == (kind != "f4") and (name is None or f"range of {name} are cut off" in outcome.err)


def test_a_photograph_says_it_only_where_it_is_much(run, tmp_path):
    black = np.zeros((48, 48), np.uint8)
    black[20:28, 20:28] = 255
    Image.fromarray(black).save(tmp_path / "in.png")
    outcome = run("deblur", tmp_path / "in.png", "--kernel", "disk:3", "-o", tmp_path / "out.png")
    assert outcome.status == 0 and "% of the light" in outcome.err
    assert run("demo", "-o", tmp_path / "demo").status == 0
    outcome = run("deblur", tmp_path / "demo" / "shaken.png", "--kernel", tmp_path / "demo" / "kernel.png", "-o", tmp_path / "sharp.png")
    assert outcome.status == 0 and "cut off" not in outcome.err
