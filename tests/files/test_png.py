"""PNG beyond its pixels: the chunks that say what the colours mean, colours declared transparent; what other formats cannot hold."""
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from svconv.files import images, png

CHUNKS = {b"gAMA": struct.pack(">I", 100000), b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000),
          b"sRGB": b"\1", b"cICP": bytes([9, 16, 0, 1])}


def write(path, a, chunks):
    path.write_bytes(png.with_chunks(imagecodecs.png_encode(a), chunks))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(9, 8, 1), (9, 8, 3), (9, 8, 4)])
def test_colour_chunks_are_copied_once(tmp_path, dtype, shape):
    write(tmp_path / "a.png", np.full(shape, 99, dtype), CHUNKS.items())
    picture = images.read_image(tmp_path / "a.png")
    assert dict(picture.chunks) == CHUNKS
    images.write_image(tmp_path / "b.png", picture)
    assert png.read_chunks(tmp_path / "b.png").items() >= CHUNKS.items()
    data = (tmp_path / "b.png").read_bytes()
    assert all(data.count(name) == 1 for name in CHUNKS)
    with Image.open(tmp_path / "b.png") as other:
        other.load()
        assert other.info["gamma"] == 1


def test_what_a_format_cannot_hold_is_said():
    a = np.zeros((4, 5, 3), np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    def said(name, icc=None, *chunks):
        return " ".join(images.losses(name, images.Picture(a, icc=icc, chunks=tuple((c, CHUNKS[c]) for c in chunks))))

    assert "profile" in said("a.bmp", profile) and not any(said(n, profile) for n in ("a.png", "a.tif", "a.jpg"))
    assert "gAMA, cHRM" in said("a.jpg", None, b"gAMA", b"cHRM") and "cICP" in said("a.tif", profile, b"cICP")
    assert said("a.png", None, *CHUNKS) == said("a.tif", None, b"sRGB", b"gAMA") == said("a.jpg", profile, b"gAMA") == ""


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_colour_declared_transparent_becomes_alpha(tmp_path, dtype):
    full = np.iinfo(dtype).max
    colour = np.random.default_rng(0).integers(0, full, (6, 7, 3)).astype(dtype)
    colour[2, 3:5] = 7, 8, 9
    write(tmp_path / "a.png", colour, [(b"tRNS", struct.pack(">3H", 7, 8, 9))])
    picture = images.read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels, colour)
    np.testing.assert_array_equal(picture.alpha, np.where((colour == [7, 8, 9]).all(2), 0, full))


def test_a_grey_value_declared_transparent_in_16_bits(tmp_path):
    grey = np.arange(42, dtype=np.uint16).reshape(6, 7) * 100
    write(tmp_path / "a.png", grey, [(b"tRNS", struct.pack(">H", 300))])
    picture = images.read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels[..., 0], grey)
    np.testing.assert_array_equal(picture.alpha, np.where(grey == 300, 0, 65535))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("bits, colour, samples, expected", [
    (bytes([5, 6, 5]), 3, 3, [5, 6, 5]), (bytes([5, 6, 5, 8]), 3, 4, [5, 6, 5, 6]), (bytes([7]), 1, 1, [7]), (bytes([7, 7]), 3, 3, None)])
def test_significant_bits_name_every_sample_of_the_copy_once(tmp_path, dtype, bits, colour, samples, expected):
    alpha = np.zeros((4, 5), dtype) if samples > colour else None
    images.write_image(tmp_path / "a.png", images.Picture(np.zeros((4, 5, colour), dtype), alpha, chunks=((b"sBIT", bits),)))
    found = png.read_chunks(tmp_path / "a.png").get(b"sBIT")
    assert (None if found is None else list(found)) == expected
