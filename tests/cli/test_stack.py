"""`svconv deblur --stack`: every slice is what the command makes of it alone, and the file keeps its kind, shape and texts."""
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from svconv.files.stacks import read_stack

COUNT, SIZE = 4, (40, 52)


@pytest.fixture
def slices():
    """[COUNT, H, W] float, 0..1: blurred noise, one slice darker than the others."""
    random = np.random.default_rng(5)
    a = np.stack([gaussian_filter(random.random(SIZE), 2.0) for _ in range(COUNT)])
    a = (a - a.min()) / (a.max() - a.min())
    a[2] *= 0.3
    return a


def tiff_of(path, a, **options):
    pytest.importorskip("tifffile").imwrite(path, a, **options)
    return path


def fits_of(path, a, **cards):
    fits = pytest.importorskip("astropy.io.fits")
    hdu = fits.PrimaryHDU(a)
    hdu.header.update(cards)
    hdu.writeto(path)
    return path


def single(run, folder, a, white, *options):
    """What the command makes of one slice, as float NPY with the same white."""
    np.save(folder / "one.npy", a)
    assert run("deblur", folder / "one.npy", *options, "--white", white, "-o", folder / "alone.npy").status == 0
    return np.load(folder / "alone.npy")


@pytest.mark.parametrize("options", [("--reg", "2e-3"), ("--method", "rl", "--iterations", "5")])
@pytest.mark.parametrize("shape", [(COUNT,), (2, 2)])
def test_every_slice_is_restored_as_alone(run, tmp_path, slices, shape, options):
    options = ("--kernel", "gaussian:1.2", *options)
    np.save(tmp_path / "in.npy", slices.reshape(*shape, *SIZE).astype(np.float32))
    outcome = run("deblur", tmp_path / "in.npy", *options, "--stack", "-o", tmp_path / "out.npy")
    assert outcome.status == 0 and f"{COUNT} slices of 52 x 40, grey" in outcome.out and outcome.out.count("\n") == 1
    found = np.load(tmp_path / "out.npy")
    assert found.shape == (*shape, *SIZE) and found.dtype == np.float32
    white = float(slices.max())
    for number, restored in enumerate(found.reshape(COUNT, *SIZE)):
        np.testing.assert_allclose(restored, single(run, tmp_path, slices[number].astype(np.float32), white, *options), atol=1e-5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["alone.npy", "in.npy", "one.npy", "out.npy"]


def test_a_stack_of_imagej_stays_one(run, tmp_path, slices):
    tifffile = pytest.importorskip("tifffile")
    tiff_of(tmp_path / "in.tif", (slices * 3000).astype(np.uint16), imagej=True, resolution=(5, 5),
            metadata={"axes": "ZYX", "unit": "um", "spacing": 0.5})
    assert run("deblur", tmp_path / "in.tif", "--kernel", "gaussian:1.2", "--stack", "-o", tmp_path / "out.tif").status == 0
    with tifffile.TiffFile(tmp_path / "out.tif") as out:
        assert out.is_imagej and out.imagej_metadata["images"] == COUNT and out.imagej_metadata["spacing"] == 0.5
        assert out.series[0].shape == (COUNT, *SIZE) and out.series[0].dtype == np.uint16 and len(out.pages) == COUNT


def test_ome_keeps_its_axes(run, tmp_path, slices):
    tifffile = pytest.importorskip("tifffile")
    tiff_of(tmp_path / "in.ome.tif", slices.reshape(2, 2, *SIZE).astype(np.float32), metadata={"axes": "CZYX"})
    assert run("deblur", tmp_path / "in.ome.tif", "--kernel", "gaussian:1.2", "--stack", "-o", tmp_path / "out.ome.tif").status == 0
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as out:
        assert out.is_ome and out.series[0].shape == (2, 2, *SIZE) and out.series[0].axes == "CZYX" and out.series[0].dtype == np.float32


def test_pages_in_colour(run, tmp_path, slices):
    pages = (np.stack([slices, slices**2, 1 - slices], -1) * 255).astype(np.uint8)
    tiff_of(tmp_path / "in.tif", pages, photometric="rgb", metadata=None)
    assert run("deblur", tmp_path / "in.tif", "--kernel", "gaussian:1.2", "--stack", "-o", tmp_path / "out.tif").status == 0
    found = read_stack(tmp_path / "out.tif").slices
    assert found.shape == pages.shape and found.dtype == np.uint8 and np.abs(found.astype(int) - pages).max() > 5


def test_a_cube_of_fits_with_its_header_and_numbers(run, tmp_path, slices):
    fits = pytest.importorskip("astropy.io.fits")
    fits_of(tmp_path / "in.fits", (slices * 900 - 20).astype(np.int16), OBJECT="M 31")
    outcome = run("deblur", tmp_path / "in.fits", "--kernel", "gaussian:1.2", "--stack", "-o", tmp_path / "out.fits")
    assert outcome.status == 0
    with fits.open(tmp_path / "out.fits") as out:
        assert out[0].data.shape == (COUNT, *SIZE) and out[0].data.dtype == ">i2" and out[0].header["OBJECT"] == "M 31"


@pytest.mark.parametrize("target", ["out.tif", "out.npy", "out.fits"])
def test_kinds_of_files_become_others_with_one_warning_for_all_slices(run, tmp_path, slices, target):
    pytest.importorskip("tifffile")
    fits_of(tmp_path / "in.fits", slices.astype(np.float32))
    outcome = run("deblur", tmp_path / "in.fits", "--kernel", "gaussian:1.2", "--stack", "-o", tmp_path / target)
    assert outcome.status == 0 and outcome.err.count("warning") == (target != "out.fits")
    assert read_stack(tmp_path / target).slices.shape == (COUNT, *SIZE)


def test_the_strength_is_that_of_the_whole_stack(run, tmp_path, slices):
    random = np.random.default_rng(0)
    noisy = np.repeat(slices[:1], COUNT, 0) + random.normal(0, [[[0.002]], [[0.02]], [[0.02]], [[0.02]]], (COUNT, *SIZE))
    np.save(tmp_path / "in.npy", noisy.astype(np.float32))
    assert run("deblur", tmp_path / "in.npy", "--kernel", "gaussian:1.2", "--white", "1", "--stack", "-o", tmp_path / "out.npy").status == 0
    quiet = single(run, tmp_path, noisy[0].astype(np.float32), 1, "--kernel", "gaussian:1.2")
    found = np.load(tmp_path / "out.npy")[0]
    assert np.diff(found).var() < 0.9 * np.diff(quiet).var()     # alone it would be smoothed less


@pytest.mark.parametrize("make, options, message", [
    (lambda p, a: np.save(p, a[0]), (), "expected several pictures, got an array [40, 52]"),
    (lambda p, a: np.save(p, a * np.nan), (), "in.npy [0]: it has NaN or infinite pixels"),
    (lambda p, a: p.write_bytes(b"no picture"), (), "expected a stack in a TIFF, FITS or NPY file"),
    (lambda p, a: np.save(p, a), ("--max-pixels", "1000"), "more than the limit of 1000 pixels"),
    (lambda p, a: np.save(p, a), ("-o", "out.png"), "a stack is written to .tif, .tiff, .fits, .fit, .npy, got '.png'"),
    (lambda p, a: np.save(p, a), ("--tiles", "auto"), "--tiles"),
    (lambda p, a: np.save(p, np.zeros((2, 3, 4, 5), np.complex64)), (), "expected integers or floats"),
    (lambda p, a: np.save(p, np.zeros((0, 4, 5))), (), "expected several pictures")])
def test_what_is_no_stack_is_one_line(run, tmp_path, slices, make, options, message):
    make(tmp_path / "in.npy", slices)
    outcome = run("deblur", tmp_path / "in.npy", "--kernel", "gaussian:1.2", "--stack", "-o", tmp_path / "out.npy", *options)
    assert outcome.status == 2 and message in outcome.err and "\n" not in outcome.err and outcome.err.count("cannot ") <= 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.npy"]


def test_blind_has_no_stack(run, tmp_path, slices):
    np.save(tmp_path / "in.npy", slices)
    outcome = run("deblur", tmp_path / "in.npy", "--blind", "--stack", "-o", tmp_path / "out.npy")
    assert outcome.status == 2 and "--stack: not with --blind" in outcome.err


@pytest.mark.parametrize("damage", ["cut", "sizes", "palette"])
def test_damaged_and_odd_tiffs(run, tmp_path, slices, damage):
    tifffile = pytest.importorskip("tifffile")
    path, pages = tmp_path / "in.tif", (slices * 255).astype(np.uint8)
    if damage == "sizes":
        with tifffile.TiffWriter(path) as writer:
            writer.write(pages[0], metadata=None)
            writer.write(pages[1, :20], metadata=None)
    elif damage == "palette":
        tiff_of(path, pages, photometric="palette", colormap=np.zeros((3, 256), np.uint16), metadata=None)
    else:
        tiff_of(path, pages, metadata=None)
        path.write_bytes(path.read_bytes()[:-3000])
    outcome = run("deblur", path, "--kernel", "gaussian:1.2", "--stack", "-o", tmp_path / "out.tif")
    assert outcome.status == 2 and "in.tif" in outcome.err and "\n" not in outcome.err and not (tmp_path / "out.tif").exists()
