"""EXIF, XMP, resolution and descriptions go from one kind of file to another, with the orientation reset; damaged and large ones."""
import io

import numpy as np
import pytest
from PIL import Image

from svconv.files import images, metadata

tifffile = pytest.importorskip("tifffile")

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="Caf\xc3\xa9"/></x:xmpmeta>'
OME = '<?xml version="1.0" encoding="UTF-8"?><OME><Image><Pixels PhysicalSizeX="0.2" PhysicalSizeXUnit="\u00b5m"/></Image></OME>'
EXPOSURE, GPS = 0x829A, 0x8825


def exif(note=b"maker"):
    block = Image.Exif()
    block[metadata.ORIENTATION], block[271], block[315] = 6, "Camera & Co", "Ann"
    inner = block.get_ifd(metadata.EXIF_IFD)
    inner[EXPOSURE], inner[metadata.MAKER_NOTE] = 1 / 125, note
    block.get_ifd(GPS)[1] = "N"
    return block


@pytest.fixture
def photograph(tmp_path):
    """A JPEG of 40 x 20 pixels that lies on its side, with everything."""
    pixels = np.random.default_rng(0).integers(0, 255, (40, 20, 3), np.uint8)
    body = metadata.XMP_HEAD + XMP
    extra = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    Image.fromarray(pixels).save(tmp_path / "in.jpg", exif=exif(), dpi=(300, 150), extra=extra)
    return tmp_path / "in.jpg"


def through(source, target):
    """The target that svconv writes from what it has read."""
    images.write_image(target, images.read_image(source))
    return target


def found(path):
    """(EXIF of Pillow, XMP, dpi) by a reader of its own."""
    with Image.open(path) as image:
        image.load()
        return image.getexif(), image.info.get("xmp") or image.info.get("XML:com.adobe.xmp"), image.info.get("dpi")


@pytest.mark.parametrize("name", ["out.jpg", "out.png"])
def test_jpeg_and_png_keep_all_of_it(photograph, tmp_path, name):
    block, xmp, dpi = found(through(photograph, tmp_path / name))
    assert images.read_image(tmp_path / name).size == (20, 40)
    assert block.get(metadata.ORIENTATION, 1) == 1 and block[271] == "Camera & Co" and block[315] == "Ann"
    assert float(block.get_ifd(metadata.EXIF_IFD)[EXPOSURE]) == pytest.approx(1 / 125, rel=1e-3) and block.get_ifd(GPS)[1] == "N"
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    assert xmp == XMP.replace(b'Orientation="6"', b'Orientation="1"')
    assert dpi == pytest.approx((300, 150), rel=1e-3)


def test_tiff_keeps_texts_xmp_and_resolution_and_says_what_it_does_not(photograph, tmp_path):
    picture = images.read_image(photograph)
    assert any("exposure data (EXIF)" in text for text in images.losses(tmp_path / "out.tif", picture))
    with tifffile.TiffFile(through(photograph, tmp_path / "out.tif")) as tiff:
        tags = tiff.pages[0].tags
        assert tags[271].value == "Camera & Co" and tags[315].value == "Ann" and b'Orientation="1"' in tags[700].value
        assert tags[282].value[0] / tags[282].value[1] == pytest.approx(300) and tags[296].value == 2 and 274 not in tags
    block, _, dpi = found(through(tmp_path / "out.tif", tmp_path / "back.jpg"))
    assert block[271] == "Camera & Co" and block[315] == "Ann" and dpi == (300, 150)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_description_of_a_microscope_stays(tmp_path, dtype):
    pixels = (100 * np.random.default_rng(0).random((12, 16))).astype(dtype)
    tifffile.imwrite(tmp_path / "in.tif", pixels, description=OME.encode(), metadata=None, resolution=(50000, 50000), resolutionunit=3)
    with tifffile.TiffFile(through(tmp_path / "in.tif", tmp_path / "out.tif")) as tiff:
        assert tiff.pages[0].tags[270].value == OME and tiff.is_ome
        across = tiff.pages[0].tags[282].value
        assert across[0] / across[1] / 2.54 == pytest.approx(50000, rel=1e-6)
        np.testing.assert_array_equal(tiff.pages[0].asarray(), pixels)


def test_16_bits_keep_it_in_png(tmp_path):
    pytest.importorskip("imagecodecs")
    pixels = np.random.default_rng(0).integers(0, 65535, (12, 16, 3), np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric="rgb", description="a leaf", metadata=None, resolution=(200, 200),
                     resolutionunit=2)
    block, _, dpi = found(through(tmp_path / "in.tif", tmp_path / "out.png"))
    assert block[270] == "a leaf" and dpi == pytest.approx((200, 200), rel=1e-3)
    again = images.read_image(through(tmp_path / "out.png", tmp_path / "again.png"))
    assert (again.pixels == pixels).all() and dict(again.metadata.texts)[270] == "a leaf"


def test_without_any_nothing_is_added(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "in.png")
    for name in ("a.png", "a.jpg", "a.bmp"):
        block, xmp, _ = found(through(tmp_path / "in.png", tmp_path / name))
        assert not len(block) and xmp is None
    with tifffile.TiffFile(through(tmp_path / "in.png", tmp_path / "a.tif")) as tiff:
        assert not {270, 305, 700} & {tag.code for tag in tiff.pages[0].tags}


@pytest.mark.parametrize(("name", "lost"), [("a.bmp", True), ("a.npy", True), ("a.png", False), ("a.jpg", False)])
def test_what_is_lost_is_said(photograph, tmp_path, name, lost):
    assert any("EXIF" in text for text in images.losses(tmp_path / name, images.read_image(photograph))) == lost


def test_a_large_note_of_the_maker_is_left_out(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "in.png", exif=exif(bytes(70_000)))
    block, _, _ = found(through(tmp_path / "in.png", tmp_path / "out.jpg"))
    assert float(block.get_ifd(metadata.EXIF_IFD)[EXPOSURE]) == pytest.approx(1 / 125, rel=1e-3)


def test_damaged_blocks_do_not_stop_the_photograph(photograph, tmp_path):
    data = photograph.read_bytes()
    place = data.index(b"Exif\0\0") + 6
    for at in range(place, place + 60, 3):
        (tmp_path / "bad.jpg").write_bytes(data[:at] + bytes([data[at] ^ 0x5A]) + data[at + 1:])
        assert 0 not in images.read_image(tmp_path / "bad.jpg").pixels.shape
        through(tmp_path / "bad.jpg", tmp_path / "out.jpg")
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "PNG", exif=b"Exif\0\0nonsense")
    (tmp_path / "bad.png").write_bytes(buffer.getvalue())
    through(tmp_path / "bad.png", tmp_path / "out.png")
