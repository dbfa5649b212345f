"""`svconv deblur --psf-grid --tiles`: pictures that stay in their files, exact or without seams; restarts that end with the same bytes."""
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
import torch

import svconv
from svconv.cli import demo, tiles
from svconv.cli.psf_grid import with_white
from svconv.files import images, limits, mapped

SIZE, GRID = (130, 150), (3, 4)


def psfs(colours=1):
    rng = np.random.default_rng(0)
    k = rng.random((*GRID, 5, 5)) + 4 * np.eye(5)
    return k if colours == 1 else np.stack([k, k[::-1], k[:, ::-1]], -1)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """(folder, blurred [3, H, W] in 0..1) with g.npy and colour.npy."""
    folder = tmp_path_factory.mktemp("large")
    photograph = demo.photograph(size=150)
    truth = torch.cat([photograph.plane(c) for c in range(3)], 1)[..., :130, :]
    k = psfs() / psfs().sum((2, 3), keepdims=True)
    y = svconv.eff_conv(truth, torch.from_numpy(k).reshape(1, 12, 5, 5).float(), svconv.EFFGrid(SIZE, GRID), padding="reflect")
    y = (y + 0.005 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0)))[0].numpy().clip(0, 1)
    np.save(folder / "g.npy", psfs())
    np.save(folder / "colour.npy", psfs(colours=3))
    return folder, y


def write(path, y):
    """y [C, H, W] in 0..1 in a file whose name says its type: KIND-TYPE.EXTENSION with KIND grey, planes (first) or colours (last)."""
    kind, dtype = path.stem.split("-")
    a = y[1] if kind == "grey" else y if kind == "planes" else np.moveaxis(y, 0, -1)
    dtype = np.dtype(dtype)
    a = (a if dtype.kind == "f" else np.rint(a * min(np.iinfo(dtype).max, 10**6))).astype(dtype)
    if path.suffix == ".npy":
        np.save(path, a)
    elif path.suffix == ".fits":
        from astropy.io import fits

        hdu = fits.PrimaryHDU(a)
        hdu.header["OBJECT"] = "M31"
        hdu.writeto(path)
    else:
        tifffile.imwrite(path, a, photometric="minisblack" if kind == "grey" else "rgb", planarconfig=None if kind == "grey" else (
            "separate" if kind == "planes" else "contig"))
    return path


FILES = ["grey-f4.npy", "grey-f8.npy", "grey-u2.npy", "grey-i2.npy", "colours-f4.npy", "planes-f4.npy", "colours-u1.npy", "grey-f4.fits",
         "grey-u2.fits", "grey-i4.fits", "planes-f8.fits", "planes-u2.fits", "grey-u2.tif", "colours-u1.tif", "planes-u2.tif",
         "grey-f4.tif", "colours-f8.tif"]


@pytest.mark.parametrize("name", FILES)
def test_the_quotient_by_tiles_is_that_of_the_whole(run, tmp_path, scene, name):
    folder, y = scene
    image = write(tmp_path / name, y)
    common = ("deblur", image, "--psf-grid", folder / "g.npy")
    whole, tiled = tmp_path / f"whole{image.suffix}", tmp_path / f"tiled{image.suffix}"
    assert run(*common, "-o", whole).status == 0
    outcome = run(*common, "--tiles", "50", "-o", tiled)
    assert outcome.status == 0 and "9 tiles" in outcome.out, outcome
    a, b = images.read_image(whole), images.read_image(tiled)
    assert a.pixels.dtype == b.pixels.dtype and a.stored == b.stored if a.stored is None else a.stored[:3] == b.stored[:3]
    unit = 1 if a.pixels.dtype.kind == "u" or (a.stored and a.stored.dtype.kind in "iu") else 1e-5 * a.pixels.max()
    assert np.abs(a.pixels.astype(float) - b.pixels).max() <= unit
    assert sorted(os.listdir(tmp_path)) == sorted([name, whole.name, tiled.name])
    if image.suffix == ".fits":
        from astropy.io import fits

        with fits.open(tiled) as file:
            file.verify("exception")
            assert file[0].header["OBJECT"] == "M31" and len(file) == 1
    if image.suffix != ".tif":
        return
    assert mapped.map_image(tiled).size == SIZE         # what came out can go in again


@pytest.mark.parametrize("name", ["grey-f4.npy", "planes-u2.fits", "colours-u1.tif"])
@pytest.mark.parametrize("extension", [".npy", ".fits", ".tif"])
def test_one_kind_of_file_becomes_another(run, tmp_path, scene, name, extension):
    folder, y = scene
    image, out = write(tmp_path / name, y), tmp_path / f"out{extension}"
    assert run("deblur", image, "--psf-grid", folder / "g.npy", "--tiles", "auto", "-o", out).status == 0
    assert run("deblur", image, "--psf-grid", folder / "g.npy", "-o", tmp_path / f"whole{extension}").status == 0
    found, expected = images.read_image(out).pixels, images.read_image(tmp_path / f"whole{extension}").pixels
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert np.abs(found.astype(float) - expected).max() <= (1 if found.dtype.kind == "u" else 1e-5)


def test_what_the_output_cannot_hold_is_a_warning_as_in_memory(run, tmp_path, scene):
    folder, y = scene
    image = write(tmp_path / "grey-f4.fits", y)
    for options in ((), ("--tiles", "50")):
        outcome = run("deblur", image, "--psf-grid", folder / "g.npy", *options, "-o", tmp_path / "out.npy")
        assert outcome.status == 0 and "out.npy: NPY does not hold the FITS header of the input" in outcome.err, outcome


@pytest.mark.parametrize("method", ["irls", "rl"])
def test_solvers_by_tiles_come_near_to_the_whole(run, tmp_path, scene, method):
    folder, y = scene
    image = write(tmp_path / "grey-f4.npy", y)
    common = ("deblur", image, "--psf-grid", folder / "g.npy", "--method", method)
    assert run(*common, "-o", tmp_path / "whole.npy").status == 0
    assert run(*common, "--tiles", "65", "-o", tmp_path / "tiled.npy").status == 0
    whole, tiled = np.load(tmp_path / "whole.npy"), np.load(tmp_path / "tiled.npy")
    change, seam = np.abs(whole - y[1]), np.abs(tiled - whole)
    assert seam.mean() < 0.05 * change.mean() and seam[60:70].mean() < 0.05 * change[60:70].mean(), (seam.mean(), change.mean())


def test_masks_and_broken_pixels(run, tmp_path, scene):
    folder, y = scene
    y = y.copy()
    y[1, :60, :60] = np.nan         # a whole tile of it
    y[1, 100, 100] = np.inf
    image = write(tmp_path / "grey-f4.npy", y)
    mask = np.isfinite(y[1])
    images.write_image(tmp_path / "mask.png", images.Picture(np.where(mask, 255, 0).astype(np.uint8)[..., None]))
    np.save(tmp_path / "mask.npy", mask.astype(np.uint8))
    results = []
    for value in ("nan", tmp_path / "mask.png", tmp_path / "mask.npy"):
        out = tmp_path / f"out{len(results)}.npy"
        outcome = run("deblur", image, "--psf-grid", folder / "g.npy", "--mask", value, "--tiles", "40", "-o", out)
        assert outcome.status == 0 and "irls" in outcome.out, outcome
        results.append(np.load(out))
        assert np.isfinite(results[-1]).all() and np.array_equal(results[0], results[-1])
    assert np.abs(results[0] - y[1])[100:].mean(where=mask[100:]) < 0.2
    outcome = run("deblur", image, "--psf-grid", folder / "g.npy", "--tiles", "40", "-o", tmp_path / "no.npy")
    assert outcome.status == 2 and "grey-f4.npy: 3601 pixels are NaN or infinite" in outcome.err, outcome


def interrupted(monkeypatch, after):
    """Tiles are computed until `after` of them are kept."""
    put, done = tiles.TileRecord.put, []

    def one(self, number, a):
        if len(done) == after:
            raise KeyboardInterrupt
        put(self, number, a)
        done.append(number)

    monkeypatch.setattr(tiles.TileRecord, "put", one)
    return done


@pytest.mark.parametrize("method", ["quotient", "irls", "rl"])
def test_an_interrupted_run_goes_on_where_it_was(run, tmp_path, scene, monkeypatch, method):
    folder, y = scene
    image = write(tmp_path / "grey-u2.tif", y)
    command = ("deblur", image, "--psf-grid", folder / "g.npy", "--method", method, "--tiles", "50", "-o")
    assert run(*command, tmp_path / "straight.tif").status == 0
    (tmp_path / "out.tif").write_bytes(b"before")
    with monkeypatch.context() as patch:
        first = interrupted(patch, 4)
        outcome = run(*command, tmp_path / "out.tif")
        assert outcome.status == 130 and first == [0, 1, 2, 3]
        said, last = outcome.err.splitlines()
        assert "out.tif.tiles: 4 of 9 tiles are finished and kept, the same command goes on there" in said and last == "svconv: interrupted"
    assert (tmp_path / "out.tif").read_bytes() == b"before" and (tmp_path / "out.tif.tiles").is_dir()
    with monkeypatch.context() as patch:
        rest = interrupted(patch, 99)
        assert run(*command, tmp_path / "out.tif").status == 0 and rest == [4, 5, 6, 7, 8]
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "straight.tif").read_bytes()
    assert not (tmp_path / "out.tif.tiles").exists()


def test_a_killed_run_ends_with_the_same_bytes(tmp_path, scene):
    folder, y = scene
    image = write(tmp_path / "grey-f4.fits", y)
    command = [sys.executable, "-m", "svconv", "deblur", str(image), "--psf-grid", str(folder / "g.npy"), "--method", "irls",
               "--tiles", "40", "--quiet", "-o"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, tmp_path / "straight.fits"], check=True, env=environment, capture_output=True)
    with subprocess.Popen([*command, tmp_path / "out.fits"], env=environment, stdout=subprocess.DEVNULL) as process:
        while not list(tmp_path.glob("out.fits.tiles/tile-*.npy")) and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    kept = list(tmp_path.glob("out.fits.tiles/tile-*.npy"))
    assert process.returncode == -signal.SIGKILL and kept and not (tmp_path / "out.fits").exists()
    subprocess.run([*command, tmp_path / "out.fits"], check=True, env=environment, capture_output=True)
    assert (tmp_path / "out.fits").read_bytes() == (tmp_path / "straight.fits").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grey-f4.fits", "out.fits", "straight.fits"]


def test_two_runs_do_not_share_their_tiles(run, tmp_path, scene, monkeypatch):
    folder, y = scene
    command = ("deblur", write(tmp_path / "grey-f4.npy", y), "--psf-grid", folder / "g.npy", "--tiles", "50", "-o", tmp_path / "out.npy")
    put, inner = tiles.TileRecord.put, []

    def one(self, number, a):
        if number == 2 and not inner:
            inner.append(None)
            inner.append(run(*command))
        put(self, number, a)

    monkeypatch.setattr(tiles.TileRecord, "put", one)
    assert run(*command).status == 0 and inner[1].status == 2
    assert "out.npy.tiles: another run is working on these tiles" in inner[1].err and not (tmp_path / "out.npy.tiles").exists()


def test_tiles_of_another_run_are_refused_and_stay(run, tmp_path, scene, monkeypatch):
    folder, y = scene
    image, out = write(tmp_path / "grey-f4.npy", y), tmp_path / "out.npy"
    command = ["deblur", image, "--psf-grid", folder / "g.npy", "--tiles", "50", "-o", out]
    with monkeypatch.context() as patch:
        interrupted(patch, 2)
        assert run(*command).status == 130
    before = {path.name: path.read_bytes() for path in (tmp_path / "out.npy.tiles").iterdir()}
    for other in (("--reg", "0.1"), ("--method", "irls"), ("--tiles", "49"), ("--psf-grid", folder / "colour.npy")):
        changed = command[:-2] + list(other) + command[-2:]
        outcome = run(*changed)
        assert outcome.status == 2 and len(outcome.err.splitlines()) == 1, outcome
        if other[0] != "--psf-grid":
            assert "out.npy.tiles: it holds tiles of another run" in outcome.err, outcome
    os.utime(image, ns=(1, 1))
    assert run(*command).status == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "out.npy.tiles").iterdir()} == before and not out.exists()


def bad_files(tmp_path, scene):
    """{name: (arguments, text)}"""
    from astropy.io import fits

    folder, y = scene
    good = write(tmp_path / "grey-f4.npy", y)
    png = tmp_path / "photo.png"
    images.write_image(png, images.Picture(np.zeros((*SIZE, 1), np.uint8)))
    tifffile.imwrite(tmp_path / "packed.tif", np.zeros(SIZE, np.uint8), compression="zlib")
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(y[1])]).writeto(tmp_path / "packed.fits")
    scaled = fits.PrimaryHDU(np.zeros(SIZE, np.int16))
    scaled.header["BSCALE"] = 0.5
    scaled.writeto(tmp_path / "scaled.fits")
    (tmp_path / "cut.npy").write_bytes(good.read_bytes()[:-500])
    whole = write(tmp_path / "grey-f8.fits", y).read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[:len(whole) // 2])
    write(tmp_path / "grey-u2.tif", y)
    (tmp_path / "cut.tif").write_bytes((tmp_path / "grey-u2.tif").read_bytes()[:5000])
    np.save(tmp_path / "negative.npy", -np.ones(SIZE, np.float32))
    np.save(tmp_path / "small.npy", np.ones((9, 9), np.uint8))
    np.save(tmp_path / "none.npy", np.zeros(SIZE, np.uint8))
    return {
        "png": ((png,), "photo.png: expected NPY, FITS or uncompressed TIFF"),
        "compressed": ((tmp_path / "packed.tif",), "packed.tif: expected an uncompressed"),
        "packed fits": ((tmp_path / "packed.fits",), "packed.fits: its image is compressed"),
        "scaled": ((tmp_path / "scaled.fits",), "scaled.fits: its values are scaled"),
        "cut npy": ((tmp_path / "cut.npy",), "cut.npy: the file is damaged"),
        "cut fits": ((tmp_path / "cut.fits",), "cut.fits: the file is damaged"),
        "cut tiff": ((tmp_path / "cut.tif",), "cut.tif: the file is damaged"),
        "missing": ((tmp_path / "missing.npy",), "missing.npy: No such file"),
        "negative": ((tmp_path / "negative.npy", "--method", "rl"), "negative.npy: 19500 pixels are negative"),
        "mask size": ((good, "--mask", tmp_path / "small.npy"), "--mask: expected an image of 150 x 130 pixels, got 9 x 9"),
        "mask of nothing": ((good, "--mask", tmp_path / "none.npy"), "--mask: expected pixels to use"),
        "mask and quotient": ((good, "--mask", "nan", "--method", "quotient"), "--mask: quotient leaves no pixels out"),
        "hdu": ((good, "--hdu", "1"), "--hdu chooses an image of a FITS file"),
        "side": ((good, "--tiles", "3"), "--tiles: expected auto or a number of pixels >= 16"),
        "output": ((good, "-o", tmp_path / "out.png"), "out.png: expected .npy, .fits"),
    }


CASES = ("png", "compressed", "packed fits",
         "scaled", "cut npy", "cut fits", "cut tiff", "missing", "negative", "mask size", "mask of nothing",
         "mask and quotient", "hdu", "side", "output")


@pytest.mark.parametrize("case", CASES)
def test_every_mistake_is_one_line_and_writes_nothing(run, tmp_path, scene, case):
    cases = bad_files(tmp_path, scene)
    assert set(cases) == set(CASES)
    (image, *more), text = cases[case]
    before = sorted(os.listdir(tmp_path))
    outcome = run("deblur", image, "--psf-grid", scene[0] / "g.npy", "--tiles", "50", "-o", tmp_path / "out.npy", *more)
    assert outcome.status == 2 and text in outcome.err.splitlines()[-1], outcome
    assert sorted(os.listdir(tmp_path)) == before


def test_tiles_are_for_psf_grids(run, tmp_path, scene):
    np.save(tmp_path / "k.npy", np.ones((3, 3)))
    image = write(tmp_path / "grey-f4.npy", scene[1])
    outcome = run("deblur", image, "--kernel", tmp_path / "k.npy", "--tiles", "auto", "-o", tmp_path / "out.npy")
    assert outcome.status == 2 and "--tiles: only with --psf-grid" in outcome.err


def test_a_tile_that_needs_too_much_memory_is_one_line(run, tmp_path, scene, monkeypatch):
    monkeypatch.setattr(limits, "free_memory", lambda: 10**5)
    outcome = run("deblur", write(tmp_path / "grey-f4.npy", scene[1]), "--psf-grid", scene[0] / "g.npy", "--tiles", "auto", "-o",
                  tmp_path / "out.npy")
    assert outcome.status == 2 and "a tile of 2048 pixels needs 0.0 GB of memory" in outcome.err, outcome


def test_white_is_found_as_in_memory(tmp_path, scene):
    _, y = scene
    for name in FILES:
        path = write(tmp_path / name, y)
        picture = mapped.map_image(path)
        level = mapped.brightness(picture)
        for _, strip in picture.strips():
            level.add(np.abs(strip.pixels))
        expected, source = with_white(images.read_image(path), None)
        found, how = picture.with_white(None, level.value)
        assert (found.white, how) == (expected.white, source), name


MEASURE = """
import sys
import damage
from svconv.cli import main
main(["deblur", "small.npy", *sys.argv[1:-1], "small-out.npy"])
with damage.AnonymousPeak() as peak:
    status = main(["deblur", "image.npy", *sys.argv[1:]])
print(status, peak.bytes)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says")
@pytest.mark.parametrize("options", [["--method", "quotient"],
                                     pytest.param(["--method", "rl", "--iterations", "1"], marks=pytest.mark.slow)])
def test_memory_is_that_of_a_tile(tmp_path, options):
    """A picture of 196 MB, in much less memory."""
    np.save(tmp_path / "k.npy", np.ones((30, 30, 5, 5)))
    np.save(tmp_path / "small.npy", np.random.default_rng(0).random((600, 600), np.float32))
    image = np.lib.format.open_memmap(tmp_path / "image.npy", "w+", np.float32, (7000, 7000))
    image[:] = np.random.default_rng(0).random((1, 7000), np.float32)
    image.flush()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", MEASURE, "--psf-grid", "k.npy", *options, "--tiles", "512", "--quiet", "-o", "out.npy"],
                          capture_output=True, text=True, check=True, env=environment, cwd=tmp_path)
    status, used = done.stdout.splitlines()[-1].split()
    assert status == "0" and int(used) < 130e6, done.stdout
