"""Listing, splitting, reading and caching of photographs."""
import numpy as np
import pytest
from PIL import Image

from svconv.data import PhotographCache, list_photographs, read_grey, split_photographs
from svconv.files import FileError, Picture, write_image


def test_files_are_listed_recursively_in_a_fixed_order(photographs):
    names = [p.relative_to(photographs).as_posix() for p in list_photographs(photographs)]
    assert names == ["photo0.png", "photo1.png", "photo2.png", "photo3.png", "sub/photo0.png", "sub/photo1.png"]


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        list_photographs(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no photographs"):
        list_photographs(tmp_path)


@pytest.mark.parametrize("count, every", [(2, 20), (6, 3), (45, 20)])
def test_a_split_is_disjoint_and_complete(count, every):
    files = list(range(count))
    training, held = split_photographs(files, every)
    assert held and training and sorted(training + held) == files


def test_a_single_photograph_cannot_be_split():
    with pytest.raises(ValueError, match="at least 2"):
        split_photographs([1])


def test_large_pictures_are_halved_and_exif_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.new("RGB", (40, 20), (255, 0, 0)).save(tmp_path / "a.jpg", exif=exif)
    image = read_grey(tmp_path / "a.jpg")
    assert image.shape == (40, 20) and image.dtype == np.uint8 and abs(int(image[0, 0]) - 76) < 3
    assert read_grey(tmp_path / "a.jpg", halve_above=30).shape == (20, 10)


def test_a_damaged_picture_is_named(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    with pytest.raises(OSError, match="bad.png"):
        read_grey(tmp_path / "bad.png")


def test_the_cache_stays_within_its_bound_and_drops_the_oldest(photographs):
    files = list_photographs(photographs)
    cache = PhotographCache(max_bytes=2 * 120 * 150)
    for f in files[:2]:
        cache.get(f)
    first = cache.get(files[0])
    cache.get(files[2])  # drops files[1], the least recently used
    assert len(cache) == 2 and cache.get(files[0]) is first


def test_16_bit_colours_have_the_grey_of_8_bits(tmp_path):
    pytest.importorskip("imagecodecs")
    colours = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    write_image(tmp_path / "8.png", Picture(colours))
    write_image(tmp_path / "16.png", Picture(colours.astype(np.uint16) * 257))
    np.testing.assert_array_equal(read_grey(tmp_path / "16.png"), read_grey(tmp_path / "8.png"))
    np.testing.assert_array_equal(read_grey(tmp_path / "8.png"), np.asarray(Image.fromarray(colours).convert("L")))


def test_what_is_not_a_photograph_in_grey_or_rgb_is_named(tmp_path):
    Image.new("CMYK", (8, 8)).save(tmp_path / "print.jpg")
    with pytest.raises(FileError, match="print.jpg.*CMYK"):
        read_grey(tmp_path / "print.jpg")


def test_hidden_files_and_folders_are_left_out(photographs):
    shown = list_photographs(photographs)
    for name in ("._photo0.png", ".photo9.png", "sub/._photo0.png", ".trash/photo0.png"):
        (photographs / name).parent.mkdir(exist_ok=True)
        (photographs / name).write_bytes(b"\0\5\x16\7\0\2\0\0")
    assert list_photographs(photographs) == shown


def test_a_hidden_folder_may_be_asked_for_by_name(tmp_path):
    (tmp_path / ".mine").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / ".mine" / "a.png")
    assert [p.name for p in list_photographs(tmp_path / ".mine")] == ["a.png"]


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_grey_values_do_not_depend_on_how_they_are_stored(tmp_path, bits):
    import tifffile

    full = 2**bits - 1
    ramp = np.rint(np.linspace(0, full, 900)).astype(np.uint16).reshape(30, 30)
    tifffile.imwrite(tmp_path / "container.tif", ramp)
    tifffile.imwrite(tmp_path / "float.tif", (ramp / full).astype(np.float32))
    tifffile.imwrite(tmp_path / "packed.tif", ramp, bitspersample=bits)
    for name in ("container.tif", "float.tif", "packed.tif"):
        assert np.abs(read_grey(tmp_path / name) - ramp / full * 255).max() <= 0.51, name


def test_colours_are_read_too(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    write_image(tmp_path / "colour.png", Picture(colours))
    write_image(tmp_path / "grey.png", Picture(colours[..., :1]))
    np.testing.assert_array_equal(PhotographCache(colour=True).get(tmp_path / "colour.png"), colours)
    np.testing.assert_array_equal(PhotographCache(colour=True).get(tmp_path / "grey.png"), colours[..., :1].repeat(3, 2))
    assert PhotographCache(halve_above=20, colour=True).get(tmp_path / "colour.png").shape == (10, 15, 3)
