"""Reading and writing of photographs: what is stored comes back, what is not a photograph is refused by name."""
import io

import numpy as np
import pytest
from PIL import Image

from svconv.files import images
from svconv.files.errors import FileError


def random_picture(dtype, channels, alpha=False, size=(7, 9)):
    rng = np.random.default_rng(channels)
    draw = (
        (lambda *s: rng.random(s, np.float32))
        if dtype == np.float32
        else (lambda *s: rng.integers(0, np.iinfo(dtype).max + 1, s).astype(dtype))
    )
    return images.Picture(draw(*size, channels), draw(*size) if alpha else None)


def needs(dtype, suffix):
    if dtype != np.uint8:
        pytest.importorskip("imagecodecs" if suffix == ".png" else "tifffile")


CASES = [(dtype, suffix) for suffix in (".png", ".tif") for dtype in (np.uint8, np.uint16)] + [(np.float32, ".tiff"), (np.uint8, ".bmp")]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "dtype, suffix, alpha", [(*case, alpha) for case in CASES for alpha in (False, True) if not (alpha and case[1] == ".bmp")]
)
def test_round_trip_is_exact(tmp_path, dtype, suffix, alpha, channels):
    needs(dtype, suffix)
    picture = random_picture(dtype, channels, alpha)
    images.write_image(tmp_path / f"a{suffix}", picture)
    back = images.read_image(tmp_path / f"a{suffix}")
    assert back.pixels.dtype == dtype and back.bits == picture.bits and back.channels == channels
    np.testing.assert_array_equal(back.pixels, picture.pixels)
    assert (back.alpha is None) == (not alpha)
    if alpha:
        np.testing.assert_array_equal(back.alpha, picture.alpha)


def test_jpeg_stays_close_and_grey(tmp_path, photo):
    for channels in (1, 3):
        images.write_image(tmp_path / "a.jpg", images.Picture(photo[..., :channels]))
        back = images.read_image(tmp_path / "a.jpg")
        assert back.channels == channels
        assert np.abs(back.pixels.astype(int) - photo[..., :channels]).mean() < 3


def test_16_bit_png_is_read_by_others_too(tmp_path):
    """Pillow keeps the high bytes of 16-bit colours: enough to see that the file is a true 16-bit PNG in RGB order."""
    pytest.importorskip("imagecodecs")
    picture = random_picture(np.uint16, 3)
    images.write_image(tmp_path / "a.png", picture)
    with Image.open(tmp_path / "a.png") as im:
        np.testing.assert_array_equal(np.asarray(im), (picture.pixels >> 8).astype(np.uint8))
    grey = random_picture(np.uint16, 1)
    images.write_image(tmp_path / "g.png", grey)
    with Image.open(tmp_path / "g.png") as im:
        np.testing.assert_array_equal(np.asarray(im), grey.pixels[..., 0])


@pytest.mark.parametrize("dtype, suffix", CASES[:-1])
def test_colour_profile_is_kept(tmp_path, dtype, suffix):
    from PIL import ImageCms

    needs(dtype, suffix)
    picture = random_picture(dtype, 3)
    picture.icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    images.write_image(tmp_path / f"a{suffix}", picture)
    assert images.read_image(tmp_path / f"a{suffix}").icc == picture.icc
    with Image.open(tmp_path / f"a{suffix}") if dtype != np.float32 else open(tmp_path / f"a{suffix}", "rb") as im:
        getattr(im, "load", lambda: None)()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "png16", "tif16"])
def test_exif_orientation_is_applied(tmp_path, kind, orientation):
    """The stored array is the upright one turned by the inverse of what EXIF says; reading gives the upright one."""
    upright = np.zeros((16, 24), np.uint8)
    upright[:8, :8] = 250
    upright[:8, 8:16] = 120
    inverse = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: np.transpose, 6: np.rot90,
               7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, -1)}
    stored = np.ascontiguousarray(inverse[orientation](upright))
    suffix, path = kind[:3], tmp_path / f"a.{kind[:3]}"
    if kind.endswith("16"):
        needs(np.uint16, f".{suffix}")
        stored, upright = stored.astype(np.uint16) * 256, upright.astype(np.uint16) * 256
    if kind == "tif16":
        import tifffile
        tifffile.imwrite(path, stored, photometric="minisblack", extratags=[(274, 3, 1, orientation, True)])
    else:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(stored).save(path, exif=exif, **({"quality": 95} if suffix == "jpg" else {}))
    got = images.read_image(path).pixels[..., 0].astype(float)
    assert got.shape == upright.shape
    assert np.abs(got - upright).mean() < (3 if suffix == "jpg" else 1e-9)


def test_palette_becomes_rgb(tmp_path, photo):
    palette = Image.fromarray(photo).quantize(16)
    for name in ("a.png", "a.gif"):
        palette.save(tmp_path / name)
        picture = images.read_image(tmp_path / name)
        assert picture.channels == 3 and picture.alpha is None
        np.testing.assert_array_equal(picture.pixels, np.asarray(palette.convert("RGB")))
    palette.save(tmp_path / "t.png", transparency=0)
    picture = images.read_image(tmp_path / "t.png")
    assert picture.channels == 3 and picture.alpha is not None and set(np.unique(picture.alpha)) <= {0, 255}


def test_one_bit_becomes_grey(tmp_path, photo):
    bits = Image.fromarray(photo).convert("1")
    bits.save(tmp_path / "a.png")
    picture = images.read_image(tmp_path / "a.png")
    assert picture.channels == 1 and set(np.unique(picture.pixels)) == {0, 255}


def test_a_camera_jpeg_with_previews_is_one_picture(tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "a.mpo", append_images=[Image.fromarray(photo[::2, ::2])], save_all=True)
    assert images.read_image(tmp_path / "a.mpo").size == photo.shape[:2]


def damaged_files(folder, photo):
    Image.fromarray(photo).save(folder / "whole.png")
    Image.fromarray(photo).save(folder / "whole.jpg")
    Image.fromarray(photo).save(folder / "whole.tif")
    for suffix in ("png", "jpg", "tif"):
        data = (folder / f"whole.{suffix}").read_bytes()
        yield f"cut.{suffix}", data[: len(data) // 2]
        yield f"head.{suffix}", data[:20]
    data = bytearray((folder / "whole.png").read_bytes())
    data[60] ^= 0xFF
    yield "flipped.png", bytes(data)
    yield "empty.png", b""
    yield "text.png", b"not a picture\n" * 20


def test_files_that_are_no_pictures_are_refused_by_name(tmp_path, photo):
    for name, data in damaged_files(tmp_path, photo):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FileError, match=name):
            images.read_image(tmp_path / name)
    with pytest.raises(FileError, match="missing.png.*No such file"):
        images.read_image(tmp_path / "missing.png")
    with pytest.raises(FileError, match="directory"):
        images.read_image(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_cut_16_bit_files_are_refused(tmp_path, suffix):
    needs(np.uint16, suffix)
    images.write_image(tmp_path / f"a{suffix}", random_picture(np.uint16, 3, size=(40, 50)))
    data = (tmp_path / f"a{suffix}").read_bytes()
    for keep in (30, len(data) // 2, len(data) - 40):
        (tmp_path / f"cut{suffix}").write_bytes(data[:keep])
        with pytest.raises(FileError, match=f"cut{suffix}"):
            images.read_image(tmp_path / f"cut{suffix}")


def test_other_colours_and_animations_are_refused(tmp_path, photo):
    colour = Image.fromarray(photo)
    colour.convert("CMYK").save(tmp_path / "cmyk.jpg")
    colour.convert("LAB").save(tmp_path / "lab.tif")
    colour.save(tmp_path / "moving.gif", save_all=True, append_images=[Image.fromarray(255 - photo)])
    colour.save(tmp_path / "moving.png", save_all=True, append_images=[Image.fromarray(255 - photo)])
    colour.save(tmp_path / "pages.tif", save_all=True, append_images=[Image.fromarray(255 - photo)])
    for name, text in (
        ("cmyk.jpg", "CMYK"),
        ("lab.tif", "LAB"),
        ("moving.gif", "animation"),
        ("moving.png", "animation"),
        ("pages.tif", "2 pictures"),
    ):
        with pytest.raises(FileError, match=text):
            images.read_image(tmp_path / name)


def test_float_images(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    a = np.linspace(-3, 500, 63, dtype=np.float32).reshape(7, 9)
    tifffile.imwrite(tmp_path / "a.tif", a)
    picture = images.read_image(tmp_path / "a.tif")
    assert picture.bits == 32 and picture.plane(0).max() == 1
    copy = picture.empty()
    copy.set_plane(0, picture.plane(0), picture.scale)
    np.testing.assert_allclose(copy.pixels, picture.pixels, rtol=1e-6)
    a[3, 4] = np.nan
    tifffile.imwrite(tmp_path / "nan.tif", a)
    with pytest.raises(FileError, match="nan.tif.*NaN"):
        images.read_image(tmp_path / "nan.tif")
    tifffile.imwrite(tmp_path / "wide.tif", np.zeros((7, 9), np.uint32))
    with pytest.raises(FileError, match="uint32"):
        images.read_image(tmp_path / "wide.tif")


def test_pixels_are_rounded_and_clipped():
    import torch

    picture = images.Picture(np.zeros((1, 4, 1), np.uint8))
    picture.set_plane(0, torch.tensor([-0.5, 0.4999 / 255, 0.5001 / 255, 7.0]), 255)
    assert picture.pixels.ravel().tolist() == [0, 0, 1, 255]
    with pytest.raises(FloatingPointError, match="NaN"):
        picture.set_plane(0, torch.tensor([0, float("nan"), 0, 0]), 255)


@pytest.mark.parametrize("name, bits, alpha, text", [
    ("a.xyz", 8, False, "unknown extension"), ("a", 8, False, "unknown extension"), ("a.jpg", 16, False, "16 bits"),
    ("a.jpg", 8, True, "alpha"), ("a.png", 32, False, ".tif"), ("no/such/a.png", 8, False, "does not exist")])
def test_outputs_that_cannot_be_written_are_refused(tmp_path, name, bits, alpha, text):
    with pytest.raises(FileError, match=text):
        images.check_output(str(tmp_path / name), bits, alpha)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    pytest.importorskip("imagecodecs")
    images.write_image(tmp_path / "a.png", random_picture(np.uint16, 3))
    import importlib

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(FileError, match="pip install imagecodecs"):
        images.read_image(tmp_path / "a.png")


def test_pillow_limit_for_large_images_is_lifted_only_while_reading(tmp_path, photo, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.fromarray(photo).save(tmp_path / "a.png")
    assert images.read_image(tmp_path / "a.png").size == photo.shape[:2]
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO((tmp_path / "a.png").read_bytes()))
