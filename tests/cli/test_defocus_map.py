"""`svconv deblur --defocus-map`: restores what a map of radii says is out of focus, and keeps what was stored."""
import dataclasses
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import svconv
from svconv import disk_blur
from svconv.cli import defocus_map, demo, map_options
from svconv.files import images

needs_scikit_image = pytest.mark.skipif(importlib.util.find_spec("skimage") is None, reason="scikit-image is missing")
SEAM = {"layered": 0.01, "irls": 0.03}      # seen: 0.0004 and 0.014 of the change; with an overlap of one pixel 0.024 and 0.060
BY_SOLVER = [method for method in defocus_map.METHODS if method != "svbr"]


def ramp(size, largest=4.0):
    """Radii [H, W] that grow to the right."""
    return np.linspace(0, largest, size[1], dtype=np.float32)[None].repeat(size[0], 0)


def blurred(picture, radii, linear=False):
    picture = dataclasses.replace(picture, light=linear)
    y = disk_blur(map_options.planes(picture), torch.from_numpy(radii)[None, None])
    return map_options.finished(picture, y)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """(folder, sharp picture, radii): blurred.png and blurred16.png with map.npy, linear.png blurred as light."""
    folder = tmp_path_factory.mktemp("scene")
    sharp = demo.photograph(size=96).with_white()[0]
    radii = ramp(sharp.size)
    images.write_image(folder / "blurred.png", blurred(sharp, radii))
    images.write_image(folder / "linear.png", blurred(sharp, radii, linear=True))
    if importlib.util.find_spec("imagecodecs"):
        deep = images.Picture(sharp.pixels.astype(np.uint16) * 257).with_white()[0]
        images.write_image(folder / "blurred16.png", blurred(deep, radii))
    np.save(folder / "map.npy", radii)
    return folder, sharp, radii


@pytest.fixture
def net_weights(tmp_path):
    """SVBR-Net that nobody has trained, in a file."""
    from svconv.models import SVBRNet

    torch.manual_seed(3)
    SVBRNet().eval().save(tmp_path / "net.pt")
    return tmp_path / "net.pt"


def options(method, net_weights):
    return ("--method", method, *(("--weights", net_weights) if method == "svbr" else ()))


def psnr(picture, truth):
    return -10 * np.log10(((picture.pixels / picture.scale - truth.pixels / truth.scale) ** 2).mean())


@pytest.mark.parametrize("method", BY_SOLVER)
@pytest.mark.parametrize("source", ["blurred.png", "blurred16.png", "linear.png"])
def test_it_sharpens(run, tmp_path, scene, method, source):
    folder, sharp, _ = scene
    if not (folder / source).exists():
        pytest.skip("16-bit PNG needs imagecodecs")
    light = ("--linear",) if source == "linear.png" else ()
    outcome = run("deblur", folder / source, "--defocus-map", folder / "map.npy", "--method", method, *light, "-o", tmp_path / "out.png")
    assert outcome.status == 0 and "radii 0 to 4 pixels" in outcome.out and method in outcome.out, outcome
    before, after = images.read_image(folder / source), images.read_image(tmp_path / "out.png")
    assert (after.bits, after.size, after.channels) == (before.bits, before.size, before.channels)
    assert psnr(after, sharp) > psnr(before, sharp) + 3
    assert os.listdir(tmp_path) == ["out.png"]


def test_the_first_method_is_the_default(run, tmp_path, scene):
    folder, _, _ = scene
    outcome = run("deblur", folder / "blurred.png", "--defocus-map", folder / "map.npy", "-o", tmp_path / "out.png")
    assert outcome.status == 0 and f", {defocus_map.METHODS[0]}, " in outcome.out


def test_the_net_is_applied_to_values_from_0_to_1(run, tmp_path, scene, net_weights):
    from svconv.models import SVBRNet

    folder, _, radii = scene
    assert run("deblur", folder / "blurred.png", "--defocus-map", folder / "map.npy", *options("svbr", net_weights), "-o",
               tmp_path / "out.png").status == 0
    y = torch.from_numpy(np.moveaxis(images.read_image(folder / "blurred.png").pixels / np.float32(255), 2, 0)[None].copy())
    with torch.no_grad():
        expected = SVBRNet.load(net_weights)(y, torch.from_numpy(radii)[None, None])[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(images.read_image(tmp_path / "out.png").pixels - expected).max() < 0.51


def test_grey_goes_through_the_net_as_three_equal_colours(run, tmp_path, scene, net_weights):
    folder, sharp, _ = scene
    grey = images.Picture(sharp.pixels[..., :1].copy())
    images.write_image(tmp_path / "grey.png", grey)
    images.write_image(tmp_path / "rgb.png", images.Picture(grey.pixels.repeat(3, 2)))
    found = []
    for name in ("grey", "rgb"):
        assert run("deblur", tmp_path / f"{name}.png", "--defocus-map", folder / "map.npy", *options("svbr", net_weights), "-o",
                   tmp_path / "out.png").status == 0
        found.append(images.read_image(tmp_path / "out.png").pixels)
    assert found[0].shape[2] == 1
    assert np.abs(found[0][..., 0] - found[1].mean(2)).max() <= 1


@pytest.mark.parametrize("method", defocus_map.METHODS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_a_sharp_map_changes_no_bit(run, tmp_path, net_weights, method, dtype):
    values = np.random.default_rng(0).random((7, 5, 3))
    images.write_image(tmp_path / "in.tif", images.Picture((values * 255).astype(dtype)))
    np.save(tmp_path / "map.npy", np.where(values[..., 0] > 0.5, 0.5, 0))
    for light in ((), ("--linear",)):
        assert run("deblur", tmp_path / "in.tif", "--defocus-map", tmp_path / "map.npy", *options(method, net_weights), *light, "-o",
                   tmp_path / "out.tif").status == 0
        np.testing.assert_array_equal(images.read_image(tmp_path / "out.tif").pixels, images.read_image(tmp_path / "in.tif").pixels)


@pytest.mark.parametrize("method", BY_SOLVER)
def test_pixels_in_focus_keep_their_bits(run, tmp_path, scene, method):
    folder, _, radii = scene
    assert run("deblur", folder / "blurred.png", "--defocus-map", folder / "map.npy", "--method", method, "-o",
               tmp_path / "out.png").status == 0
    before, after = images.read_image(folder / "blurred.png"), images.read_image(tmp_path / "out.png")
    np.testing.assert_array_equal(after.pixels[radii <= 0.5], before.pixels[radii <= 0.5])
    assert (after.pixels[radii > 0.5] != before.pixels[radii > 0.5]).any()


@pytest.mark.parametrize("method", BY_SOLVER)
def test_a_restored_picture_has_no_seams(monkeypatch, method):
    picture = demo.photograph(size=200)
    picture.pixels = picture.pixels[..., :1]
    picture, radii = picture.with_white()[0], ramp((200, 200), 3.0)
    picture = blurred(picture, radii)
    radius = torch.from_numpy(radii)[None, None]
    whole = defocus_map.restore(picture, radius, method, 2e-3).pixels.astype(float)
    monkeypatch.setattr(defocus_map, "TILE", 100)
    monkeypatch.setattr(defocus_map, "HALO", 32)
    tiled = defocus_map.restore(picture, radius, method, 2e-3).pixels.astype(float)
    changed, seam = np.abs(whole - picture.pixels).mean(), np.s_[16:-16, 90:110]
    assert np.abs(tiled - whole)[seam].mean() < SEAM[method] * changed


def test_tiles_of_the_net_do_not_show(monkeypatch, net_weights):
    from svconv.models import SVBRNet, svbr_net

    picture = demo.photograph(size=230).with_white()[0]
    picture.pixels = np.ascontiguousarray(picture.pixels[:, :197])
    radius, model = torch.from_numpy(ramp(picture.size, 6.0))[None, None], SVBRNet.load(net_weights)
    whole = defocus_map.restore(picture, radius, "svbr", model=model).pixels.astype(int)
    tiled = svbr_net.restore_tiled
    monkeypatch.setattr(svbr_net, "restore_tiled", lambda *a, **k: tiled(*a, **k, tile=60))
    assert np.abs(defocus_map.restore(picture, radius, "svbr", model=model).pixels - whole).max() <= 1


@pytest.mark.parametrize("method", defocus_map.METHODS)
def test_hidden_colours_do_not_reach_the_visible_ones(run, tmp_path, scene, net_weights, method):
    folder, _, radii = scene
    pixels, found = images.read_image(folder / "blurred.png").pixels, []
    alpha = np.full(radii.shape, 255, np.uint8)
    alpha[:, :20], alpha[40:50, 45:] = 0, 0
    for hidden in (0, 255):
        images.write_image(tmp_path / "in.png", images.Picture(np.where(alpha[..., None] > 0, pixels, hidden).astype(np.uint8), alpha))
        assert run("deblur", tmp_path / "in.png", "--defocus-map", folder / "map.npy", *options(method, net_weights), "-o",
                   tmp_path / "out.png").status == 0
        before, after = images.read_image(tmp_path / "in.png"), images.read_image(tmp_path / "out.png")
        np.testing.assert_array_equal(after.alpha, alpha)
        np.testing.assert_array_equal(after.pixels[alpha == 0], before.pixels[alpha == 0])
        found.append(after.pixels[alpha > 0])
    np.testing.assert_array_equal(*found)
    images.write_image(tmp_path / "in.png", images.Picture(pixels, 0 * alpha))
    assert run("deblur", tmp_path / "in.png", "--defocus-map", folder / "map.npy", *options(method, net_weights), "-o",
               tmp_path / "out.png").status == 0
    np.testing.assert_array_equal(images.read_image(tmp_path / "out.png").pixels, pixels)


@pytest.mark.parametrize("mode", ["L", "LA", "P"])
@pytest.mark.parametrize("method", defocus_map.METHODS)
def test_grey_and_alpha_are_kept_and_palettes_become_rgb(run, tmp_path, photo, net_weights, method, mode):
    image = Image.fromarray(photo).quantize(16) if mode == "P" else Image.fromarray(photo).convert(mode)
    image.save(tmp_path / "in.png")
    np.save(tmp_path / "map.npy", ramp((24, 32), 2.0))
    assert run("deblur", tmp_path / "in.png", "--defocus-map", tmp_path / "map.npy", *options(method, net_weights), "-o",
               tmp_path / "out.png").status == 0
    with Image.open(tmp_path / "out.png") as out:
        assert out.mode == {"P": "RGB"}.get(mode, mode) and out.size == image.size


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (13, 18)])
@pytest.mark.parametrize("method", defocus_map.METHODS)
def test_small_photographs_and_odd_sides(run, refused, tmp_path, net_weights, method, size):
    images.write_image(tmp_path / "in.png", images.Picture(np.full((*size, 3), 77, np.uint8)))
    np.save(tmp_path / "map.npy", np.full(size, 2.0))
    command = ("deblur", tmp_path / "in.png", "--defocus-map", tmp_path / "map.npy", *options(method, net_weights), "-o",
               tmp_path / "out.png")
    if method == "layered" and min(size) < 5:
        refused(*command, naming=["map.npy", "disks no larger than the photograph", "5 pixels"])
        return
    assert run(*command).status == 0
    found = images.read_image(tmp_path / "out.png").pixels
    assert found.shape == (*size, 3)
    if method != "svbr":
        assert np.abs(found.astype(int) - 77).max() <= 1


def test_a_map_of_another_size(run, refused, tmp_path, scene):
    folder, sharp, radii = scene
    np.save(tmp_path / "map.npy", radii[::3, ::2])
    command = ("deblur", folder / "blurred.png", "--defocus-map", tmp_path / "map.npy", "-o", tmp_path / "out.png")
    refused(*command, naming=["map.npy", "96 x 96", "got 48 x 32", "--resize-map"])
    assert run(*command, "--resize-map").status == 0
    assert psnr(images.read_image(tmp_path / "out.png"), sharp) > psnr(images.read_image(folder / "blurred.png"), sharp) + 3


def test_radii_that_the_net_does_not_know_are_a_warning(run, tmp_path, photo_file, net_weights):
    np.save(tmp_path / "map.npy", ramp((24, 32), 12.0))
    outcome = run("deblur", photo_file, "--defocus-map", tmp_path / "map.npy", *options("svbr", net_weights), "-o", tmp_path / "out.png")
    assert outcome.status == 0 and "map.npy: 384 radii above 6 pixels" in outcome.err and len(outcome.err.splitlines()) == 1


def test_weights_that_are_none_of_the_net(refused, tmp_path, photo_file, weights, monkeypatch):
    np.save(tmp_path / "map.npy", np.ones((24, 32)))
    command = ("deblur", photo_file, "--defocus-map", tmp_path / "map.npy", "-o", tmp_path / "out.png")
    refused(*command, "--method", "svbr", "--weights", weights, naming=["--weights", "own.pt", "LearningToDeblur", "SVBRNet"])
    refused(*command, "--method", "svbr", "--weights", tmp_path / "no.pt", naming=["--weights", "no.pt"])
    refused(*command, "--method", "layered", "--weights", weights, naming="--weights: only with --method svbr")
    monkeypatch.setattr(svconv.models.pretrained, "FOLDER", tmp_path)
    refused(*command, "--method", "svbr", naming=["--method svbr", "synthetic", "--weights FILE"])


def test_what_is_wrong_is_one_line(refused, tmp_path, photo_file, kernel_file, monkeypatch):
    np.save(tmp_path / "map.npy", np.ones((24, 32)))

    def case(naming, *options, use=tmp_path / "map.npy", image=photo_file, out="out.png"):
        refused("deblur", image, "--defocus-map", use, *options, "-o", tmp_path / out, naming=naming)

    for option, value in (("--scale", "-1"), ("--reg", "0"), ("--reg", "nan")):
        case(option, option, value)
    case(["--method", "layered", "irls", "svbr", "got cg"], "--method", "cg")
    case("--reg: svbr", "--method", "svbr", "--reg", "1")
    for option, value in (("--kernel-size", "9"), ("--final", "irls"), ("--save-kernel", "k.npy"), ("--eta", "0.1"), ("--grid", "2x2")):
        case(f"{option}: not with --defocus-map", option, value)
    for option, value in (("--tiles", "auto"), ("--mask", "nan"), ("--background", "2")):
        case(f"{option}: only with --psf-grid", option, value)
    case("not allowed with", "--kernel", kernel_file)
    case("missing.npy", use=tmp_path / "missing.npy")
    case(["photo.png", "colours"], use=photo_file)
    case("missing.png", image=tmp_path / "missing.png")
    case(["out.gif", "extension"], out="out.gif")
    for option, value in (("--scale", "2"), ("--resize-map", None)):
        more = (option,) if value is None else (option, value)
        refused("deblur", photo_file, "--kernel", kernel_file, *more, "-o", tmp_path / "out.png",
                naming=f"{option}: only with --defocus-map")
    from svconv.files import limits

    monkeypatch.setattr(limits, "free_memory", lambda: 20_000)
    case(["photo.png", "GB of memory"])
    assert not (tmp_path / "out.png").exists()


MEASURE = """
import damage, numpy as np, torch
from svconv.cli import deblur, defocus_map
from svconv.files.picture import Picture
deblur.CG_ITER = 4  # the peak is reached in the first steps
model = None
picture = Picture(np.random.default_rng(0).integers(0, 65535, (600, 600, 3)).astype(np.uint16)).with_white()[0]
radius = torch.full((1, 1, 600, 600), 3.0)
small = Picture(picture.pixels[:40, :40]).with_white()[0]
for method in defocus_map.METHODS:
    if method == "svbr":
        from svconv.models import SVBRNet
        model = SVBRNet().eval()
    defocus_map.restore(small, radius[..., :40, :40], method, 1e-3, model=model)
    with damage.Peak() as peak:
        defocus_map.restore(picture, radius, method, 1e-3, model=model)
    print(method, peak.bytes, defocus_map.needed(picture, 7, method))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says")
def test_what_is_announced_is_what_is_used():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, env=environment)
    found = [line.split() for line in done.stdout.splitlines()]
    assert [method for method, *_ in found] == list(defocus_map.METHODS)
    for method, used, announced in found:
        assert 0.3 * int(announced) < int(used) < int(announced), (method, used, announced)
