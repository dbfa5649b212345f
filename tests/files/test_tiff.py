"""TIFF as scanners, cameras and laboratories write it: packed samples, kinds of extra samples, thumbnails, float64."""
import numpy as np
import pytest
import tifffile
from PIL import Image

import damage
from svconv.files import images
from svconv.files.errors import FileError

DTYPES = [np.uint8, np.uint16, np.float32, np.float64]


def full_scale(dtype):
    return np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1


def random(dtype, *shape):
    rng = np.random.default_rng(len(shape))
    return rng.random(shape).astype(dtype) if full_scale(dtype) == 1 else rng.integers(0, full_scale(dtype) + 1, shape).astype(dtype)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", range(9, 16))
def test_packed_samples_keep_their_depth(tmp_path, bits, channels):
    a = (random(np.uint16, 11, 13, channels) >> (16 - bits)).squeeze()
    tifffile.imwrite(tmp_path / "a.tif", a, bitspersample=bits, photometric="rgb" if channels == 3 else "minisblack")
    picture = images.read_image(tmp_path / "a.tif")
    assert picture.bits == bits and picture.scale == 2**bits - 1
    images.write_image(tmp_path / "b.tif", picture)
    with tifffile.TiffFile(tmp_path / "b.tif") as copy:
        assert copy.pages[0].bitspersample == bits
        np.testing.assert_array_equal(copy.asarray(), a)
    images.write_image(tmp_path / "b.png", picture)
    spread = images.read_image(tmp_path / "b.png")
    assert spread.scale == 65535
    np.testing.assert_allclose(spread.pixels / 65535, picture.pixels / picture.scale, atol=2.0**-bits)
    picture.set_plane(0, picture.plane(0) * 0 + 2, picture.scale)
    assert picture.pixels[..., 0].max() == 2**bits - 1
    with pytest.raises(FileError, match=f"{bits} bits"):
        images.check_output(str(tmp_path / "b.jpg"), picture.bits)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("colours", [1, 3])
def test_samples_of_unspecified_meaning_are_copied_and_are_no_alpha(tmp_path, dtype, colours):
    for kinds in (["unspecified"], ["unspecified", "unspecified"], ["unassalpha", "unspecified"]):
        a = random(dtype, 9, 10, colours + len(kinds))
        tifffile.imwrite(
            tmp_path / "a.tif", a, photometric="rgb" if colours == 3 else "minisblack", planarconfig="contig", extrasamples=kinds
        )
        picture = images.read_image(tmp_path / "a.tif")
        assert picture.channels == colours and (picture.alpha is not None) == ("unassalpha" in kinds)
        assert picture.extra.shape[2] == kinds.count("unspecified")
        images.write_image(tmp_path / "b.tif", picture)
        with tifffile.TiffFile(tmp_path / "b.tif") as copy:
            assert [kind.name.lower() for kind in copy.pages[0].extrasamples] == kinds and copy.pages[0].dtype == dtype
            np.testing.assert_array_equal(copy.asarray(), a)
        assert list(images.losses("b.tif", picture)) == []
        assert "unspecified meaning" in "".join(images.losses("b.png", picture))


@pytest.mark.parametrize("dtype", DTYPES)
def test_associated_alpha_keeps_its_meaning(tmp_path, dtype):
    full = full_scale(dtype)
    colour, alpha = random(dtype, 9, 10, 3) / full, np.linspace(0.2, 1, 90).reshape(9, 10)
    alpha[2, 3:6] = 0
    stored = np.dstack([colour * alpha[..., None], alpha]) * full
    stored = np.rint(stored).astype(dtype) if full != 1 else stored.astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    picture = images.read_image(tmp_path / "a.tif")
    seen = alpha > 0
    shown = np.stack([picture.plane(c)[0, 0].numpy() * picture.scale / full for c in range(3)], 2)
    np.testing.assert_allclose(shown[seen], colour[seen], atol=0.02)
    assert (shown[~seen] == 0).all()
    copy = picture.empty()
    for c in range(3):
        copy.set_plane(c, picture.plane(c), picture.scale)
    np.testing.assert_allclose(copy.pixels, picture.pixels, rtol=1e-5, atol=1e-6 if full == 1 else 0)
    images.write_image(tmp_path / "b.tif", picture)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert [int(kind) for kind in file.pages[0].extrasamples] == [1]
        np.testing.assert_array_equal(file.asarray(), stored)
    if full != 1:
        images.write_image(tmp_path / "b.png", picture)
        other = images.read_image(tmp_path / "b.png")
        np.testing.assert_allclose(other.pixels[seen] / full, colour[seen], atol=0.02)
        np.testing.assert_array_equal(other.alpha, picture.alpha)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_thumbnail_is_not_a_second_picture(tmp_path, dtype):
    large, small = random(dtype, 32, 24, 3), random(dtype, 8, 6, 3)
    for order in ((0, 1), (1, 0)):
        with tifffile.TiffWriter(tmp_path / "a.tif") as file:
            for reduced in order:
                file.write(small if reduced else large, photometric="rgb", subfiletype=reduced)
        np.testing.assert_array_equal(images.read_image(tmp_path / "a.tif").pixels, large)
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        for page in (large, small):
            file.write(page, photometric="rgb")
    with pytest.raises(FileError, match="two.tif.*2 pictures"):
        images.read_image(tmp_path / "two.tif")


def test_a_thumbnail_before_a_picture_in_a_palette(tmp_path):
    a = np.arange(32 * 24, dtype=np.uint16).astype(np.uint8).reshape(32, 24)
    colours = np.stack([np.arange(256), np.arange(256)[::-1], np.zeros(256)]).astype(np.uint16) * 257
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(a[::4, ::4], photometric="palette", colormap=colours, subfiletype=1)
        file.write(a, photometric="palette", colormap=colours)
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.tif").pixels, np.dstack([a, 255 - a, 0 * a]))


def test_float64_stays_float64_and_its_range_is_kept(tmp_path):
    a = random(np.float64, 9, 10, 3) * 1e60
    tifffile.imwrite(tmp_path / "a.tif", a, photometric="rgb")
    picture = images.read_image(tmp_path / "a.tif")
    copy = picture.empty()
    for c in range(3):
        copy.set_plane(c, picture.plane(c), picture.scale)
    images.write_image(tmp_path / "b.tif", copy)
    back = tifffile.imread(tmp_path / "b.tif")
    assert back.dtype == np.float64
    np.testing.assert_allclose(back, a, rtol=1e-6, atol=1e53)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kinds", [[], ["unassalpha"], ["unspecified"]])
def test_samples_in_planes_are_the_same_picture(tmp_path, dtype, kinds):
    a = random(dtype, 9, 10, 3 + len(kinds))
    planes = np.moveaxis(a, 2, 0).copy()
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate", extrasamples=kinds or None)
    picture = images.read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels, a[..., :3])
    assert (picture.alpha is None, picture.extra is None) == (kinds != ["unassalpha"], kinds != ["unspecified"])


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 12, 16])
def test_a_negative_is_turned(tmp_path, bits):
    a = random(np.uint16, 9, 10) >> (16 - bits)
    stored = a.astype(bool if bits == 1 else np.uint8 if bits <= 8 else np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite", bitspersample=bits)
    picture = images.read_image(tmp_path / "a.tif")
    full = 2**max(bits, 8) - 1
    np.testing.assert_allclose(picture.pixels[..., 0], (1 - a / (2**bits - 1)) * full, atol=0.5)
    assert picture.scale == full


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "lzma", "packbits", "jpeg2000"])
def test_16_bits_are_read_whatever_the_compression(tmp_path, compression):
    a = random(np.uint16, 40, 50, 3)
    tifffile.imwrite(tmp_path / "a.tif", a, photometric="rgb", compression=compression, tile=(16, 32))
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.tif").pixels, a)


def test_a_compression_whose_claims_cannot_be_looked_at_is_refused_by_name(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", random(np.uint8, 40, 50, 3), photometric="rgb", compression="webp")
    with pytest.raises(FileError, match="a.tif: compression WEBP is not supported"):
        images.read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", ["ycbcr", "rgb"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_inside_that_claims_to_be_huge_is_refused_before_it_is_decoded(tmp_path, kind, progressive):
    tifffile.imwrite(tmp_path / "a.tif", random(np.uint8, 40, 48, 3), photometric=kind, compression="jpeg", tile=(16, 16))
    data = bytearray((tmp_path / "a.tif").read_bytes())
    frame = data.rindex(b"\xff\xc0")
    data[frame + 1], data[frame + 5 : frame + 9] = 0xC2 if progressive else 0xC0, b"\xff\xf0" * 2
    (tmp_path / "a.tif").write_bytes(data)
    with damage.Peak() as peak, pytest.raises(FileError, match="a.tif.*damaged.*65520 x 65520"):
        images.read_image(tmp_path / "a.tif")
    assert peak.bytes < (16 << 20)


def test_a_preview_of_a_raw_photograph_is_not_the_photograph(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(random(np.uint8, 8, 6, 3), photometric="rgb", subfiletype=1, subifds=1)
        file.write(random(np.uint16, 32, 24), photometric="cfa", extratags=[(33421, 3, 2, (2, 2), True), (33422, 1, 4, b"\0\1\1\2", True)])
    with pytest.raises(FileError, match="a.tif.*small copy only"):
        images.read_image(tmp_path / "a.tif")


def test_a_lone_small_copy_and_smaller_copies_below_the_picture_are_read(tmp_path):
    a = random(np.uint8, 32, 24, 3)
    tifffile.imwrite(tmp_path / "lone.tif", a, photometric="rgb", subfiletype=1)
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        file.write(a, photometric="rgb", subifds=1)
        file.write(a[::2, ::2], photometric="rgb", subfiletype=1)
    for name in ("lone.tif", "pyramid.tif"):
        np.testing.assert_array_equal(images.read_image(tmp_path / name).pixels, a)


def test_stacks_and_volumes_are_refused(tmp_path):
    a = random(np.uint16, 5, 12, 14)
    tifffile.imwrite(tmp_path / "stack.tif", a, imagej=True)
    cube = np.zeros((16, 16, 16), np.uint16)
    tifffile.imwrite(tmp_path / "volume.tif", cube, photometric="minisblack", volumetric=True, tile=(16, 16, 16))
    for name, text in (("stack.tif", "5 pictures"), ("volume.tif", "volume of 16 layers")):
        with pytest.raises(FileError, match=f"{name}.*{text}"):
            images.read_image(tmp_path / name)


def test_a_palette_that_stores_8_of_its_16_bits(tmp_path):
    a = np.arange(63, dtype=np.uint8).reshape(7, 9)
    for scale in (1, 257):
        colours = np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 9)]).astype(np.uint16) * scale
        tifffile.imwrite(tmp_path / "a.tif", a, photometric="palette", colormap=colours)
        np.testing.assert_array_equal(images.read_image(tmp_path / "a.tif").pixels, np.dstack([a, 255 - a, 0 * a + 9]))


def test_a_palette_of_the_wrong_size_is_refused(tmp_path):
    colours = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((7, 9), np.uint8), photometric="palette", colormap=colours)
    data = (tmp_path / "a.tif").read_bytes()
    entry = data.index((320).to_bytes(2, "little") + b"\3\0")
    for count in (1, 3, 255, 767):
        (tmp_path / "a.tif").write_bytes(data[: entry + 4] + count.to_bytes(4, "little") + data[entry + 8 :])
        with pytest.raises(FileError, match="a.tif.*damaged"):
            images.read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", ["none", "tiff_lzw", "tiff_deflate", "packbits", "jpeg"])
def test_8_bits_are_read_whatever_the_compression(tmp_path, photo, compression):
    for a in (photo, photo[..., 0]):
        Image.fromarray(a).save(tmp_path / "a.tif", compression=None if compression == "none" else compression)
        with Image.open(tmp_path / "a.tif") as other:
            np.testing.assert_array_equal(images.read_image(tmp_path / "a.tif").pixels.squeeze(), np.asarray(other))
