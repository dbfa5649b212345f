"""`svconv blurmap`: the map of a photograph whose defocus is known, its picture in colours, refusals."""
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from svconv import disk_blur
from svconv.cli import blurmap, map_options, map_picture
from svconv.files import images, read_blur_map

pytest.importorskip("skimage")


def scene(size, left, right):
    """A Picture of sharp rectangles of `size`, out of focus by the radius `left` in the left half and `right` in the right one."""
    generator = torch.Generator().manual_seed(0)
    y = torch.full((1, 3, *size), 0.5)
    for _ in range(size[0] * size[1] // 600):
        top, begin = (int(torch.randint(n, (), generator=generator)) for n in size)
        y[..., top:top + 40, begin:begin + 40] = torch.rand(1, 3, 1, 1, generator=generator)
    radius = torch.full((1, 1, *size), left)
    radius[..., size[1] // 2:] = right
    picture = images.Picture(np.zeros((*size, 3), np.uint8)).with_white()[0]
    return map_options.finished(picture, disk_blur(y, radius))


@pytest.mark.parametrize("method", blurmap.METHODS)
def test_it_tells_the_sharp_from_the_blurred(run, tmp_path, method):
    images.write_image(tmp_path / "in.png", scene((120, 160), 0.5, 4.0))
    outcome = run("blurmap", tmp_path / "in.png", "-o", tmp_path / "map.tif", "--method", method)
    assert outcome.status == 0 and method in outcome.out and not outcome.err, outcome
    radius = read_blur_map(tmp_path / "map.tif")
    assert radius.shape == (120, 160) and radius.min() >= 0
    sharp, blurred = np.median(radius[:, :70]), np.median(radius[:, 90:])
    assert sharp < 1.5 and 2.5 < blurred < 5.5


@pytest.mark.parametrize("method", blurmap.METHODS)
def test_a_wide_blur_is_told_on_a_smaller_photograph(monkeypatch, method):
    picture = scene((200, 240), 12.0, 12.0)
    monkeypatch.setattr(blurmap, "PROPAGATED", 200 * 240 // 3)
    found = np.median(blurmap.estimated(picture, method)[0])
    monkeypatch.setattr(blurmap, "WIDE", 1e9)
    assert found > 1.2 * np.median(blurmap.estimated(picture, method)[0])
    assert 8 < found < 16


@pytest.mark.parametrize("method", blurmap.METHODS)
@pytest.mark.parametrize("radius", [1.0, 3.0])
def test_large_photographs_are_carried_on_smaller_ones(monkeypatch, method, radius):
    picture = scene((150, 201), radius, radius)
    whole, share = blurmap.estimated(picture, method)
    monkeypatch.setattr(blurmap, "PROPAGATED", 150 * 201 // 3)
    monkeypatch.setattr(blurmap, "STRIP", 60 * 201)
    small, other = blurmap.estimated(picture, method)
    assert small.shape == whole.shape and small.dtype == np.float32 and small.min() >= 0
    assert 0.8 * share < other < 1.25 * share
    assert abs(np.median(small) - np.median(whole)) < 0.3


def test_strips_find_what_the_whole_finds(monkeypatch):
    y = map_options.planes(scene((260, 90), 0.5, 2.0))
    whole = blurmap.at_edges(y, blurmap.strips((260, 90)), lambda _: None)
    monkeypatch.setattr(blurmap, "STRIP", 70 * 90)
    parts = blurmap.strips((260, 90))
    assert len(parts) == 4
    calls = []
    radius, edges = blurmap.at_edges(y, parts, calls.append)
    assert calls == [1, 2, 3, 4]
    assert float((edges != whole[1]).float().mean()) < 1e-3
    same = edges == whole[1]
    torch.testing.assert_close(radius[same], whole[0][same])


def test_the_map_goes_into_deblur(run, tmp_path):
    pytest.importorskip("imagecodecs")
    images.write_image(tmp_path / "in.png", scene((64, 80), 0.5, 3.0))
    outcome = run("blurmap", tmp_path / "in.png", "-o", tmp_path / "map.png", "--picture", tmp_path / "colours.png")
    assert outcome.status == 0
    assert images.read_image(tmp_path / "map.png").pixels.dtype == np.uint16
    outcome = run("deblur", tmp_path / "in.png", "--defocus-map", tmp_path / "map.png", "--method", "layered", "-o", tmp_path / "out.png")
    assert outcome.status == 0 and not outcome.err
    assert images.read_image(tmp_path / "out.png").size == (64, 80)


@pytest.mark.parametrize("method", blurmap.METHODS)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2, 30), (40, 2), (5, 5)])
def test_small_photographs(run, tmp_path, size, method):
    images.write_image(tmp_path / "in.png", images.Picture(np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)))
    assert run("blurmap", tmp_path / "in.png", "-o", tmp_path / "map.npy", "--method", method).status == 0
    assert np.load(tmp_path / "map.npy").shape == size


@pytest.mark.parametrize("size", [(2, 90), (90, 2), (3, 70)])
def test_narrow_photographs_on_smaller_ones(monkeypatch, size):
    monkeypatch.setattr(blurmap, "PROPAGATED", 50)
    pixels = np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)
    radius, _ = blurmap.estimated(images.Picture(pixels).with_white()[0])
    assert radius.shape == size and np.isfinite(radius).all()


def test_a_photograph_without_edges_is_a_warning(run, tmp_path):
    images.write_image(tmp_path / "in.png", images.Picture(np.full((20, 30, 1), 99, np.uint8)))
    outcome = run("blurmap", tmp_path / "in.png", "-o", tmp_path / "map.npy")
    assert outcome.status == 0 and "in.png: no edges" in outcome.err
    assert (np.load(tmp_path / "map.npy") == 0).all()


def test_hidden_colours_have_no_influence(run, tmp_path):
    pixels = scene((60, 70), 1.0, 3.0).pixels
    alpha, found = np.full((60, 70), 255, np.uint8), []
    alpha[20:40, 10:50] = 0
    for hidden in (0, 255):
        images.write_image(tmp_path / "in.png", images.Picture(np.where(alpha[..., None] > 0, pixels, hidden).astype(np.uint8), alpha))
        assert run("blurmap", tmp_path / "in.png", "-o", tmp_path / "map.npy").status == 0
        found.append(np.load(tmp_path / "map.npy"))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("kind", ["grey", "deep", "upright"])
def test_kinds_of_photographs(run, tmp_path, kind):
    pixels = scene((50, 60), 1.0, 2.0).pixels
    if kind == "upright":
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(pixels).save(tmp_path / "in.png", exif=exif)
    else:
        pixels = pixels[..., :1].copy() if kind == "grey" else pixels.astype(np.uint16) * 257
        images.write_image(tmp_path / "in.tif", images.Picture(pixels))
    source = tmp_path / ("in.png" if kind == "upright" else "in.tif")
    assert run("blurmap", source, "-o", tmp_path / "map.npy").status == 0
    radius = np.load(tmp_path / "map.npy")
    assert radius.shape == ((60, 50) if kind == "upright" else (50, 60)) and radius.max() > 0


def test_what_is_wrong_is_one_line(refused, tmp_path, photo_file, monkeypatch):
    out = tmp_path / "map.png"
    refused("blurmap", tmp_path / "missing.png", "-o", out, naming="missing.png")
    refused("blurmap", photo_file, naming="-o")
    refused("blurmap", photo_file, "-o", tmp_path / "map.jpg", naming=["map.jpg", "extension"])
    refused("blurmap", photo_file, "-o", out, "--picture", tmp_path / "p.gif", naming=["p.gif", "extension"])
    refused("blurmap", photo_file, "-o", out, "--picture", out, naming="--picture")
    refused("blurmap", photo_file, "-o", out, "--method", "guess", naming="--method")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "skimage.feature", None)
        refused("blurmap", photo_file, "-o", out, naming=["scikit-image", "pip install"])
    from svconv.files import limits

    monkeypatch.setattr(limits, "free_memory", lambda: 20_000)
    refused("blurmap", photo_file, "-o", out, naming=["photo.png", "GB of memory"])
    assert not out.exists()


# the picture in colours -----------------------------------------------------------------------------------------------

def test_colours_rise_evenly_in_lightness():
    found = map_picture.coloured(np.linspace(0, 7, 200), 7.0).astype(float) @ (0.299, 0.587, 0.114)
    steps = np.diff(found)
    assert steps.min() > 0 and found[0] < 40 and found[-1] > 200
    np.testing.assert_array_equal(map_picture.coloured(np.array([0.0, 7.0]), 7.0), [map_picture.COLOURS[0], map_picture.COLOURS[-1]])


@pytest.mark.parametrize("top, expected", [(0.0, [0]), (5.0, [0, 1, 2, 3, 4, 5]), (7.3, [0, 2, 4, 6]), (0.043, [0, 0.01, 0.02, 0.03, 0.04]),
                                           (128.0, [0, 50, 100])])
def test_ticks_are_round(top, expected):
    np.testing.assert_allclose(map_picture.ticks(top), expected)


@pytest.mark.parametrize("size", [(1, 1), (24, 32), (700, 300)])
def test_the_picture_holds_the_map_and_a_bar(size):
    radius = np.random.default_rng(0).uniform(0, 3, size).astype(np.float32)
    found = map_picture.drawn(radius)
    zoom = found.shape[0] // size[0]
    assert zoom * min(size) >= 160 and found.dtype == np.uint8
    np.testing.assert_array_equal(found[::zoom, :size[1] * zoom:zoom], map_picture.coloured(radius, radius.max()))
    bar = found[:, size[1] * zoom + map_picture.GAP + 2].astype(float) @ (0.299, 0.587, 0.114)
    assert len(np.unique(bar)) > 50       # it goes through the colours


def test_a_map_that_is_0_everywhere_can_be_drawn():
    assert (map_picture.drawn(np.zeros((200, 180), np.float32))[:, :180] == map_picture.COLOURS[0]).all()


MEASURE = """
import damage, numpy as np, sys
from svconv.cli import blurmap, demo
from svconv.files.picture import Picture
blurmap.PROPAGATED, blurmap.STRIP = 80_000, 100_000
pixels = np.tile(demo.photograph().pixels, (2, 1, 1))
blurmap.estimated(demo.photograph(64).with_white()[0], quiet=True)
picture = Picture(pixels).with_white()[0]
for method in blurmap.METHODS:
    with damage.Peak() as peak:
        blurmap.estimated(picture, method, quiet=True)
    print(method, peak.bytes, blurmap.needed(picture))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says")
def test_what_is_announced_is_what_is_used():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, env=environment)
    found = [line.split() for line in done.stdout.splitlines()]
    assert [method for method, *_ in found] == list(blurmap.METHODS)
    for method, used, announced in found:
        assert 0.3 * int(announced) < int(used) < int(announced), (method, used, announced)
