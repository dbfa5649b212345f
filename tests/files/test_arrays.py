"""Pictures as NPY and FITS: in and out in their own type and shape, the header kept; damaged and strange files in one line."""
import numpy as np
import pytest

from svconv.files import FileError, images

KINDS = ["u1", "u2", "i1", "i2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]


def values(kind, shape):
    rng = np.random.default_rng(0)
    if kind[0] == "f":
        return rng.normal(0, 3, shape).astype(kind)
    info = np.iinfo(kind)
    return rng.integers(max(info.min, -2**31), min(info.max, 2**31), shape).astype(kind)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", KINDS)
def test_npy_of_every_type_and_shape(tmp_path, kind, order):
    for shape in ((7, 9), (7, 9, 1), (7, 9, 3), (3, 7, 9), (1, 7, 9)):
        a = values(kind, shape)
        np.save(tmp_path / "a.npy", a.astype(order + kind))
        picture = images.read_image(tmp_path / "a.npy")
        assert picture.size == (7, 9) and picture.channels == (3 if 3 in shape else 1)
        images.write_image(tmp_path / "b.npy", picture)
        b = np.load(tmp_path / "b.npy")
        assert b.dtype == a.dtype
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(picture.pixels[..., 0], a[0])


@pytest.mark.parametrize("kind", ["u1", "u2", "i2", "i4", "i8", "f4", "f8"])
@pytest.mark.parametrize("shape", [(7, 9), (3, 7, 9), (1, 7, 9), (1, 1, 7, 9)])
def test_fits_with_its_header(tmp_path, kind, shape):
    fits = pytest.importorskip("astropy.io.fits")
    a = values(kind, shape)
    hdu = fits.PrimaryHDU(a)
    hdu.header["OBJECT"], hdu.header["CRVAL1"] = "M 51", 202.5
    hdu.header.add_history("flat-fielded")
    hdu.writeto(tmp_path / "a.fits", checksum=True)
    picture = images.read_image(tmp_path / "a.fits")
    images.write_image(tmp_path / "b.fits", picture)
    with fits.open(tmp_path / "b.fits", checksum=True) as file:
        header, b = file[0].header, file[0].data
        assert (header["OBJECT"], header["CRVAL1"], list(header["HISTORY"])) == ("M 51", 202.5, ["flat-fielded"])
        assert b.dtype.newbyteorder("=") == a.dtype and b.shape == a.shape
        np.testing.assert_array_equal(b, a)


def test_integers_are_rounded_and_clipped(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(-4, 5, dtype=np.int16).reshape(3, 3))
    picture = images.read_image(tmp_path / "a.npy")
    picture.pixels[0, :, 0] = 1e9, -1e9, 2.6
    images.write_image(tmp_path / "b.npy", picture)
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy")[0], [32767, -32768, 3])
    np.save(tmp_path / "a.npy", np.zeros((3, 3), np.int64))
    picture = images.read_image(tmp_path / "a.npy")
    picture.pixels[0, 0] = 1e30
    images.write_image(tmp_path / "b.npy", picture)
    assert np.load(tmp_path / "b.npy")[0, 0] > 9.2e18


def test_from_one_kind_to_another(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    rgb = values("u2", (7, 9, 3))
    for name in ("a.fits", "a.npy"):
        images.write_image(tmp_path / name, images.Picture(rgb))
        np.testing.assert_array_equal(images.read_image(tmp_path / name).pixels, rgb)
    assert fits.getdata(tmp_path / "a.fits").shape == (3, 7, 9) and np.load(tmp_path / "a.npy").shape == (7, 9, 3)
    picture = images.read_image(tmp_path / "a.fits")
    assert list(images.losses("x.npy", picture)) == ["NPY does not hold the FITS header of the input"]
    assert not list(images.losses("x.fits", picture))
    assert list(images.losses("x.fits", images.Picture(rgb, icc=b"x"))) == ["FITS does not hold the colour profile of the input"]
    with pytest.raises(FileError, match="FITS does not hold the alpha channel"):
        images.check_output(tmp_path / "x.fits", 16, True)


def test_one_of_several_images(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    a, b = values("f4", (7, 9)), values("i2", (5, 6))
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(a), fits.ImageHDU(b)]).writeto(tmp_path / "a.fits")
    with pytest.raises(FileError, match="it holds 2 images, --hdu chooses one of 1, 2"):
        images.read_image(tmp_path / "a.fits")
    with pytest.raises(FileError, match="--hdu: expected one of its images 1, 2, got 0"):
        images.read_image(tmp_path / "a.fits", hdu=0)
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.fits", hdu=2).pixels[..., 0], b)
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("x", "E", array=a[0])])]).writeto(tmp_path / "t.fits")
    with pytest.raises(FileError, match="it holds no image"):
        images.read_image(tmp_path / "t.fits")
    images.write_image(tmp_path / "a.png", images.Picture(np.zeros((4, 4, 1), np.uint8)))
    with pytest.raises(FileError, match="--hdu chooses an image of a FITS file"):
        images.read_image(tmp_path / "a.png", hdu=1)


def test_scaled_integers_become_floats(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    hdu = fits.PrimaryHDU(np.arange(12, dtype=np.int16).reshape(3, 4))
    hdu.header["BSCALE"], hdu.header["BZERO"] = 0.5, 10.0
    hdu.writeto(tmp_path / "a.fits")
    picture = images.read_image(tmp_path / "a.fits")
    images.write_image(tmp_path / "b.fits", picture)
    np.testing.assert_array_equal(fits.getdata(tmp_path / "b.fits"), fits.getdata(tmp_path / "a.fits"))
    assert picture.pixels.dtype.kind == "f" and "BSCALE" not in fits.getheader(tmp_path / "b.fits")


@pytest.mark.parametrize("shape", [(7,), (2, 7, 9), (7, 9, 4), (2, 1, 7, 9)])
def test_what_is_no_picture(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape))
    with pytest.raises(FileError, match=r"expected an array \[H, W\], \[H, W, 3\] or \[3, H, W\]"):
        images.read_image(tmp_path / "a.npy")


def test_damage_and_nan(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    fits.PrimaryHDU(values("f4", (70, 90))).writeto(tmp_path / "a.fits")
    whole = (tmp_path / "a.fits").read_bytes()
    for end in (9, 100, 2000, 2879, 2880, 2881, 9000, 2880 + 4 * 6299):
        (tmp_path / "cut.fits").write_bytes(whole[:end])
        with pytest.raises(FileError, match="cut.fits"):
            images.read_image(tmp_path / "cut.fits")
    for seed in range(40):
        rng = np.random.default_rng(seed)
        damaged = bytearray(whole)
        for at in rng.integers(0, 600, 4):
            damaged[at] = rng.integers(0, 256)
        (tmp_path / "d.fits").write_bytes(damaged)
        try:
            images.read_image(tmp_path / "d.fits")
        except FileError as error:
            assert "\n" not in str(error)
    huge = whole.replace(b"NAXIS1  =                   90", b"NAXIS1  =            900000000")
    (tmp_path / "huge.fits").write_bytes(huge)
    with pytest.raises(FileError, match="more than the limit"):
        images.read_image(tmp_path / "huge.fits")
    np.save(tmp_path / "nan.npy", np.full((3, 3), np.nan))
    with pytest.raises(FileError, match="it has NaN or infinite pixels"):
        images.read_image(tmp_path / "nan.npy")
    assert np.isnan(images.read_image(tmp_path / "nan.npy", finite=False).pixels).all()


@pytest.mark.parametrize("dtype", ["i2", "i4", "f4", "f8"])
def test_compressed_fits_images_are_read(tmp_path, dtype):
    """Their file is shorter than the values that they hold."""
    fits = pytest.importorskip("astropy.io.fits")
    a = (100 * np.sin(np.arange(60.0))[:, None] * np.ones(80)).astype(dtype)
    options = {} if a.dtype.kind == "i" else {"compression_type": "GZIP_1", "quantize_level": 0}
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(a, **options)]).writeto(tmp_path / "a.fits")
    picture = images.read_image(tmp_path / "a.fits")
    np.testing.assert_array_equal(picture.pixels[..., 0], a)
    images.write_image(tmp_path / "b.fits", picture)
    np.testing.assert_array_equal(images.read_image(tmp_path / "b.fits").pixels, picture.pixels)
    with fits.open(tmp_path / "b.fits") as file:
        file.verify("exception")
        assert file[0].data.dtype.newbyteorder("=") == np.dtype(dtype)
