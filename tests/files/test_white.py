"""Which stored value is white: what the file says, else a guess that broken pixels do not move."""
import imagecodecs
import numpy as np
import pytest
import tifffile

from svconv.files import images
from svconv.files.picture import Picture
from svconv.files.png import with_chunks


def ramp(top, dtype=np.uint16, size=(60, 70)):
    return np.linspace(0, top, size[0] * size[1]).reshape(size).astype(dtype)


def chosen(a, **more):
    picture, source = Picture(np.atleast_3d(a), **more).with_white()
    return picture.white, source


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_data_that_fill_a_depth_of_cameras_are_taken_for_it(bits):
    assert chosen(ramp(2**bits - 1)) == (2**bits - 1, "guess")
    assert chosen(ramp(0.6 * 2**bits)) == (2**bits - 1, "guess")


def test_full_scale_is_that_of_the_type_otherwise():
    assert chosen(ramp(65535)) == (65535, "type") and chosen(ramp(17000)) == (65535, "type")
    assert chosen(ramp(40, np.uint8)) == (255, "type") and chosen(np.zeros((4, 5), np.uint16)) == (65535, "type")
    assert chosen(ramp(900), depth=12) == (4095, "type")


@pytest.mark.parametrize("dtype, top", [(np.uint16, 4095), (np.float32, 3.5), (np.float64, 3.5)])
@pytest.mark.parametrize("hot", [[1], [1, 1e-3, 0.5]])
def test_hot_pixels_undo_nothing(dtype, top, hot):
    a = ramp(top, dtype)
    a[5, 7 : 7 + len(hot)] = np.array(hot) * (65535 if dtype == np.uint16 else 1e7)
    assert chosen(a)[0] == pytest.approx(top, rel=1e-6)
    broken = Picture(a[..., None]).with_white()[0].broken
    assert broken[5, 7] and broken.sum() == (a > 2 * top).sum() and Picture(a[..., None]).with_white(top)[0].broken is None


def test_stars_on_a_dark_sky_are_no_outliers():
    a = np.full((60, 70), 100, np.uint16)
    a[::6, ::7] = 50000
    assert chosen(a) == (65535, "type")
    assert chosen(a.astype(np.float32))[0] == 50000


def test_the_file_goes_before_the_guess(tmp_path):
    for code, value in ((341, 8000), (281, 9000)):
        tifffile.imwrite(tmp_path / "a.tif", ramp(3000), extratags=[(code, 3, 1, value, True)])
        picture, source = images.read_image(tmp_path / "a.tif").with_white()
        assert (picture.white, source) == (value, "file")
    images.write_image(tmp_path / "copy.tif", picture)
    assert images.read_image(tmp_path / "copy.tif").stated == 9000
    tifffile.imwrite(tmp_path / "wrong.tif", ramp(3000), extratags=[(341, 3, 1, 500, True)])
    assert images.read_image(tmp_path / "wrong.tif").scale == 4095


def test_a_float_file_whose_largest_pixel_is_noted_says_nothing_about_white(tmp_path):
    a = ramp(2, np.float32)
    a[3, 3] = 1e6
    tifffile.imwrite(tmp_path / "a.tif", a, extratags=[(341, 11, 1, 1e6, True)])
    assert images.read_image(tmp_path / "a.tif").scale == 2
    tifffile.imwrite(tmp_path / "b.tif", a, extratags=[(341, 11, 1, 8.0, True)])
    assert images.read_image(tmp_path / "b.tif").scale == 8


def test_significant_bits_of_png(tmp_path):
    def white(a, bits):
        (tmp_path / "a.png").write_bytes(with_chunks(imagecodecs.png_encode(a), [(b"sBIT", bytes([bits] * 3))]))
        return images.read_image(tmp_path / "a.png").scale

    a = np.repeat(ramp(900)[..., None], 3, 2)
    assert white(a, 12) == 4095 and white(a, 14) == 16383  # values as they came from the sensor
    assert white(a << 4, 12) == 65535 and white(a << 4 | a >> 8, 12) == 65535  # moved up, as the specification asks


def test_a_given_white_is_used():
    picture, source = Picture(ramp(3000)[..., None]).with_white(6000)
    assert source == "given" and picture.scale == 6000 and float(picture.plane(0).max()) == pytest.approx(0.5)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_what_is_transparent_has_no_say(dtype):
    alpha = np.where(np.arange(70) < 30, 0, 65535 if dtype == np.uint16 else 1) * np.ones((60, 1))
    found = []
    for hidden in (0, 60000):
        a = ramp(4000, dtype)
        a[alpha == 0] = hidden
        picture = Picture(a[..., None], alpha.astype(dtype)).with_white()[0]
        assert picture.broken is None
        found.append(picture.white)
    assert found[0] == found[1] == (4095 if dtype == np.uint16 else 4000)
    assert Picture(ramp(4000, dtype)[..., None], 0 * alpha.astype(dtype)).with_white()[0].white > 0


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e30, 3e38])
@pytest.mark.filterwarnings("error")
def test_floats_of_any_size_become_1(scale):
    a = ramp(1, np.float64) * scale
    for dtype in (np.float32, np.float64):
        assert float(Picture(a[..., None].astype(dtype)).with_white()[0].plane(0).max()) == 1


def test_the_largest_value_that_a_copy_states_is_no_smaller_than_its_values(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", ramp(3000), extratags=[(341, 3, 1, 5000, True)])
    picture = images.read_image(tmp_path / "a.tif")
    picture.pixels[2, 3] = 5600
    images.write_image(tmp_path / "b.tif", picture)
    assert images.read_image(tmp_path / "b.tif").stated == 5600
