"""Blur maps in files: radii in pixels, the scale that a PNG carries, refusals."""
import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from svconv.files import FileError, blur_maps, images, png, read_blur_map, write_blur_map


@pytest.fixture
def radii():
    return np.random.default_rng(0).uniform(0, 7, (6, 9)).astype(np.float32)


def test_a_png_counts_in_256ths_and_says_so(tmp_path, radii):
    pytest.importorskip("imagecodecs")
    write_blur_map(tmp_path / "m.png", radii)
    stored = images.read_image(tmp_path / "m.png")
    assert stored.pixels.dtype == np.uint16 and stored.channels == 1
    np.testing.assert_array_equal(stored.pixels[..., 0], np.rint(256 * radii))
    assert blur_maps.stored_scale(tmp_path / "m.png") == 1 / 256
    with Image.open(tmp_path / "m.png") as image:
        assert float(image.text[blur_maps.KEYWORD]) == 1 / 256
    np.testing.assert_array_equal(read_blur_map(tmp_path / "m.png"), np.rint(256 * radii) / 256)
    np.testing.assert_array_equal(read_blur_map(tmp_path / "m.png", scale=1), np.rint(256 * radii))


@pytest.mark.parametrize("largest", [255.99, 256.5, 1000.0, 16384.0])
def test_large_radii_fit_into_a_png(tmp_path, largest):
    pytest.importorskip("imagecodecs")
    write_blur_map(tmp_path / "m.png", np.array([[0, 1, largest]]))
    np.testing.assert_allclose(read_blur_map(tmp_path / "m.png"), [[0, 1, largest]], atol=largest / 65000)


@pytest.mark.parametrize("suffix", blur_maps.EXACT)
def test_arrays_are_exact(tmp_path, radii, suffix):
    if suffix.startswith(".fit"):
        pytest.importorskip("astropy")
    write_blur_map(tmp_path / f"m{suffix}", radii)
    found = read_blur_map(tmp_path / f"m{suffix}")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, radii)


@pytest.mark.parametrize("scale", [None, 0.5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_a_radius_is_scale_times_the_stored_value(tmp_path, dtype, scale):
    values = np.arange(12).reshape(3, 4).astype(dtype)
    name = tmp_path / ("m.npy" if np.dtype(dtype).kind == "f" else "m.png")
    if name.suffix == ".npy":
        np.save(name, values)
    else:
        Image.fromarray(values).save(name)
    np.testing.assert_array_equal(read_blur_map(name, scale), values * (scale or 1.0))


def test_an_upright_map_is_what_counts(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(tmp_path / "m.png", exif=exif)
    assert read_blur_map(tmp_path / "m.png").shape == (4, 3)


def write(path, kind):
    grey = np.full((4, 5), 3, np.uint8)
    if kind == "alpha16":
        images.write_image(path, images.Picture(np.full((4, 5, 1), 3, np.uint16), np.full((4, 5), 9, np.uint16)))
    elif kind in ("nan", "infinite", "negative", "huge"):
        values = np.ones((4, 5), np.float32)
        values[1, 2] = {"nan": np.nan, "infinite": np.inf, "negative": -0.25, "huge": 20000}[kind]
        np.save(path, values)
    elif kind == "extra":
        tifffile.imwrite(path, np.zeros((4, 5, 2), np.uint8), photometric="minisblack", planarconfig="contig", extrasamples=["unspecified"])
    else:
        image = Image.fromarray(grey)
        image.convert({"colour": "RGB", "palette": "P", "alpha": "LA"}[kind]).save(path)


@pytest.mark.parametrize("kind, suffix, text", [
    ("colour", ".png", "colours or a palette"), ("palette", ".png", "colours or a palette"), ("colour", ".tif", "colours or a palette"),
    ("alpha", ".png", "alpha"), ("alpha16", ".png", "alpha"), ("extra", ".tif", "alpha or further samples"),
    ("nan", ".npy", "NaN or infinite"), ("infinite", ".npy", "NaN or infinite"), ("negative", ".npy", "got -0.25 to 1"),
    ("huge", ".npy", "0 to 16384 pixels, got 1 to 20000")])
def test_what_is_no_map_is_refused_by_name(tmp_path, kind, suffix, text):
    write(tmp_path / f"map{suffix}", kind)
    with pytest.raises(FileError, match=f"map{suffix}.*({text})"):
        read_blur_map(tmp_path / f"map{suffix}")


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_a_scale_is_a_number_above_0(tmp_path, scale):
    np.save(tmp_path / "m.npy", np.ones((2, 2)))
    with pytest.raises(ValueError, match="scale: expected a number > 0"):
        read_blur_map(tmp_path / "m.npy", scale)


@pytest.mark.parametrize("text", ["", "wide", "0", "-1", "nan", "inf"])
def test_a_scale_in_a_file_that_is_none_is_refused(tmp_path, text):
    values = np.ones((3, 3, 1), np.uint8)
    images.write_image(tmp_path / "m.png", images.Picture(values, chunks=(png.text_chunk(blur_maps.KEYWORD, text),)))
    with pytest.raises(FileError, match="m.png.*expected a number > 0"):
        read_blur_map(tmp_path / "m.png")


def test_other_texts_do_not_matter(tmp_path):
    texts = PngInfo()
    for keyword, text in (("Software", "paint"), (blur_maps.KEYWORD, "0.5"), ("Comment", "0.25")):
        texts.add_text(keyword, text)
    Image.fromarray(np.full((3, 3), 8, np.uint8)).save(tmp_path / "m.png", pnginfo=texts)
    assert (read_blur_map(tmp_path / "m.png") == 4).all()


@pytest.mark.parametrize("name", ["m.jpg", "m.bmp", "m", "no/m.png"])
def test_outputs_are_looked_at_first(tmp_path, name):
    with pytest.raises(FileError, match=f"cannot write .*{name}"):
        blur_maps.check_map_output(tmp_path / name)


def test_a_map_of_another_size_is_refused_with_both_sizes(tmp_path, radii):
    picture = images.Picture(np.zeros((6, 8, 3), np.uint8))
    with pytest.raises(FileError, match="m.png: expected 8 x 6 pixels .* got 9 x 6"):
        blur_maps.check_fits("m.png", radii, picture)
    blur_maps.check_fits("m.png", radii[:, :8], picture)


def test_the_reader_keeps_to_its_limit(tmp_path, radii):
    np.save(tmp_path / "m.npy", radii)
    with pytest.raises(FileError, match="m.npy.*limit of 53"):
        read_blur_map(tmp_path / "m.npy", max_pixels=53)
    assert read_blur_map(tmp_path / "m.npy", max_pixels=54).shape == (6, 9)
