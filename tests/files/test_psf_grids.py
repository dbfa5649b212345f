"""PSF grids in files: every layout, and every grid that cannot be used in one line."""
import numpy as np
import pytest

from svconv.files import FileError, psf_grids
from svconv.files.picture import Picture


def psfs(*shape):
    return np.random.default_rng(0).uniform(0.1, 1, shape)


def saved(tmp_path, a):
    np.save(tmp_path / "g.npy", a)
    return tmp_path / "g.npy"


def fits_file(path, *arrays):
    fits = pytest.importorskip("astropy.io.fits")
    parts = [fits.PrimaryHDU(arrays[0]), *(fits.ImageHDU(a) for a in arrays[1:])]
    fits.HDUList(parts).writeto(path)
    return path


@pytest.mark.parametrize("shape,given,grid,colours", [
    ((2, 3, 5, 4), None, (2, 3), 1), ((6, 5, 4), (3, 2), (3, 2), 1), ((2, 3, 5, 4, 3), None, (2, 3), 3), ((3, 2, 4, 5, 7), None, (2, 4), 3),
    ((6, 5, 5, 3), (2, 3), (2, 3), 3), ((6, 5, 5, 3), (6, 5), (6, 5), 1), ((5, 4), None, (1, 1), 1), ((1, 5, 4), None, (1, 1), 1),
    ((2, 3, 5, 4), (2, 3), (2, 3), 1)])
def test_every_layout(tmp_path, shape, given, grid, colours):
    a = psfs(*shape)
    k, found = psf_grids.read_psf_grid(saved(tmp_path, a.astype(np.float32)), given)
    assert found == grid and k.shape[:2] == (colours, grid[0] * grid[1]) and k.dtype == np.float64
    np.testing.assert_allclose(k.sum((-2, -1)), 1, rtol=1e-12)
    if colours == 3:
        a = a if shape[0] == 3 and shape[-1] != 3 else np.moveaxis(a, -1, 0)
    a = a.reshape(k.shape)
    np.testing.assert_allclose(k, a / a.sum((-2, -1), keepdims=True), rtol=1e-6)


def test_equal_colours_are_one(tmp_path):
    a = psfs(2, 2, 3, 3, 1).repeat(3, 4)
    assert psf_grids.read_psf_grid(saved(tmp_path, a))[0].shape == (1, 4, 3, 3)


def test_fits(tmp_path):
    a = psfs(2, 3, 5, 4).astype(np.float32)
    k, grid = psf_grids.read_psf_grid(fits_file(tmp_path / "g.fits", a))
    np.testing.assert_allclose(k[0], (a / a.sum((-2, -1), keepdims=True)).reshape(6, 5, 4), rtol=1e-6)
    two = fits_file(tmp_path / "two.fits", np.ones((9, 9)), a)
    with pytest.raises(FileError, match="it holds 2 images, --psf-hdu chooses one of 0, 1"):
        psf_grids.read_psf_grid(two)
    assert grid == psf_grids.read_psf_grid(two, hdu=1)[1] == (2, 3)


def changed(place, value, shape=(2, 3, 5, 4)):
    a = psfs(*shape)
    a[place] = value
    return a


@pytest.mark.parametrize("a,given,text", [
    (psfs(6, 5, 4), None, "6 PSFs, expected --grid RxC"),
    (psfs(6, 5, 4), (2, 2), r"for 2 x 2 patches, got \[6, 5, 4\]"),
    (psfs(2, 3, 5, 4), (3, 2), r"expected \[rows, columns, kh, kw\].*for 3 x 2 patches, got \[2, 3, 5, 4\]"),
    (psfs(6, 5, 5, 3), None, r"\[6, 5, 5, 3\] is ambiguous, --grid says"),
    (psfs(3, 2, 5, 5, 3), None, "is ambiguous"),
    (psfs(5), None, r"got \[5\]"), (psfs(2, 2, 2, 2, 2), None, r"got \[2, 2, 2, 2, 2\]"),
    (np.zeros((2, 3, 0, 4)), None, "expected sides >= 1"),
    (changed((1, 1), 0), None, r"patch 4 \(row 1, column 1\): expected a sum > 0, got 0"),
    (changed((0, 2), -1), None, r"patch 2 \(row 0, column 2\): expected a sum > 0, got -20"),
    (changed((1, 0, 2, 2), np.nan), None, r"patch 3 \(row 1, column 0\): expected finite values, got NaN"),
    (changed((1, 0, 2, 2, 1), np.inf, (2, 3, 5, 4, 3)), None, r"patch 3 \(row 1, column 0, colour 1\): expected finite values"),
    (psfs(2, 3, 5, 4) * 1j, None, "expected real numbers, got complex128"),
])
def test_what_cannot_be_used_is_named(tmp_path, a, given, text):
    with pytest.raises(FileError, match=f"^PSF grid .*{text}"):
        psf_grids.read_psf_grid(saved(tmp_path, a), given)


def test_files_that_hold_none(tmp_path):
    path = saved(tmp_path, psfs(2, 3, 5, 4))
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(FileError, match="the file is damaged .it ends before"):
        psf_grids.read_psf_grid(path)
    with pytest.raises(FileError, match="more than the limit of 10 pixels"):
        psf_grids.read_psf_grid(saved(tmp_path, psfs(2, 3, 5, 4)), max_pixels=10)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(FileError, match="expected a PSF grid as .npy or FITS"):
        psf_grids.read_psf_grid(tmp_path / "text")
    with pytest.raises(FileError, match="No such file"):
        psf_grids.read_psf_grid(tmp_path / "missing.npy")
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match="pickled Python objects"):
        psf_grids.read_psf_grid(tmp_path / "o.npy")


def test_it_must_fit_the_image(tmp_path):
    grey = Picture(np.zeros((8, 9, 1), np.uint8))
    for shape, text in (((9, 1, 3, 4), r"at most as many patches as pixels \(8 x 9 rows x columns\), got 9 x 1"),
                        ((2, 2, 9, 4), "PSFs of 9 x 4 pixels .* larger than the image of 8 x 9"),
                        ((2, 2, 3, 4, 3), "3 colours but the image is grey")):
        k, grid = psf_grids.read_psf_grid(saved(tmp_path, psfs(*shape)))
        with pytest.raises(FileError, match=text):
            psf_grids.check_fits("g.npy", k, grid, grey)
