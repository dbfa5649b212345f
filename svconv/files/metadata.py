"""What a file says of its photograph beside the pixels: EXIF, XMP, resolution, texts; from one kind of file to another."""
import dataclasses
import re
import struct

ORIENTATION, MAKER_NOTE, EXIF_IFD, XMP_TAG = 0x0112, 0x927C, 0x8769, 700
TEXTS = {270: "ImageDescription", 271: "Make", 272: "Model", 305: "Software", 306: "DateTime", 315: "Artist", 33432: "Copyright"}
XMP_KEYWORD, XMP_HEAD = "XML:com.adobe.xmp", b"http://ns.adobe.com/xap/1.0/\0"
_LARGEST = 65000    # bytes of a segment of JPEG
_TURNED = (re.compile(rb'(tiff:Orientation\s*=\s*["\'])\d(["\'])'), re.compile(rb"(<tiff:Orientation>)\d(</tiff:Orientation>)"))


@dataclasses.dataclass(frozen=True)
class Metadata:
    """Of an upright photograph.

    Attributes:
        exif: the block of EXIF (a small TIFF) without its orientation and its thumbnail, or None.
        xmp: the packet of XMP, or None.
        resolution: (across, down) in pixels per inch, or None.
        texts: ((number of the TIFF tag, its text), ...): description, camera, author.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    resolution: tuple | None = None
    texts: tuple = ()

    def has_exposure(self):
        """Whether EXIF says more than what the texts hold."""
        return self.exif is not None and any(tag not in TEXTS for tag in _tags(self.exif))

    def block(self):
        """The block of EXIF, made of the texts where there is none."""
        if self.exif is not None or not self.texts:
            return self.exif
        from PIL import Image

        exif = Image.Exif()
        for code, text in self.texts:
            exif[code] = text
        return exif.tobytes().removeprefix(b"Exif\0\0")


def exif_of(image):
    """The EXIF of an open file of Pillow; none where it is damaged."""
    from PIL import Image

    image.load()            # damaged pixels are an error, and some readers look at them first
    try:
        return image.getexif()
    except Exception:       # Pillow's reader raises errors of many types
        return Image.Exif()


def of_pillow(image, exif):
    """The Metadata of an open file of Pillow with that EXIF; what is damaged in it is left out."""
    texts = tuple((code, str(exif[code]).rstrip("\0")) for code in TEXTS if isinstance(exif.get(code), str))
    xmp = image.info.get("xmp") or image.info.get(XMP_KEYWORD)
    return Metadata(_exif_block(exif), _upright(xmp), _resolution(image.info.get("dpi")), texts)


def of_tiff(page):
    """The Metadata of a page of tifffile."""
    tags = page.tags
    texts = tuple((code, text) for code in TEXTS if code in tags and isinstance(text := tags[code].value, str) and text
                  and not text.startswith('{"shape"'))     # what tifffile says of its own arrays
    xmp = tags[XMP_TAG].value if XMP_TAG in tags else None
    return Metadata(None, _upright(xmp), _tiff_resolution(tags), texts)


def jpeg_options(metadata):
    """What Pillow's JPEG writer takes."""
    options = {}
    if (block := metadata.block()) is not None and len(block) < _LARGEST:
        options["exif"] = b"Exif\0\0" + block
    if metadata.xmp is not None and len(metadata.xmp) < _LARGEST:
        body = XMP_HEAD + metadata.xmp
        options["extra"] = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    if metadata.resolution is not None:
        options["dpi"] = metadata.resolution
    return options


def png_chunks(metadata):
    """The chunks of a PNG, (name, content) each."""
    chunks = []
    if metadata.resolution is not None:
        chunks.append((b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in metadata.resolution), 1)))
    if (block := metadata.block()) is not None:
        chunks.append((b"eXIf", block))
    if metadata.xmp is not None:
        chunks.append((b"iTXt", XMP_KEYWORD.encode() + b"\0\0\0\0\0" + metadata.xmp))
    return chunks


def tiff_options(metadata):
    """(arguments of tifffile.imwrite, extra tags)."""
    options = {} if metadata.resolution is None else {"resolution": metadata.resolution, "resolutionunit": 2}
    texts = dict(metadata.texts)
    options["description"] = texts.pop(270, "").encode("utf-8") or None
    options["software"] = texts.pop(305, "").encode("utf-8") or False
    tags = [(code, 2, 0, text.encode("utf-8"), True) for code, text in texts.items()]
    if metadata.xmp is not None:
        tags.append((XMP_TAG, 1, len(metadata.xmp), metadata.xmp, True))
    return options, tags


def losses(metadata, name):
    """What a format cannot hold, one text each."""
    if name in ("FITS", "NPY", "BMP"):
        if metadata.exif is not None or metadata.xmp is not None:
            yield f"{name} does not hold what the input says of camera and author (EXIF, XMP)"
    elif name == "TIFF":
        if metadata.has_exposure():
            yield "the exposure data (EXIF) of the input are not written to TIFF; camera, author and XMP are"
    elif name == "JPEG" and max(len(metadata.block() or b""), len(metadata.xmp or b"")) >= _LARGEST:
        yield "EXIF or XMP of more than 65,000 bytes of the input are not written to JPEG"


def _exif_block(exif):
    """bytes, or None where there is none or it cannot be written."""
    if not len(exif):
        return None
    for drop_maker_note in (False, True):
        try:
            inner = exif.get_ifd(EXIF_IFD)      # read, so that it is written again
            exif.pop(ORIENTATION, None)
            if drop_maker_note:
                inner.pop(MAKER_NOTE, None)
            block = exif.tobytes().removeprefix(b"Exif\0\0")
        except Exception:       # values of types that do not belong to their tags
            continue
        if len(block) < _LARGEST:
            return block
    return None


def _tags(block):
    """The numbers of the tags in the first directory of a block of EXIF, pointers to others included."""
    from PIL import Image

    exif = Image.Exif()
    exif.load(b"Exif\0\0" + block)
    return list(exif)


def _upright(xmp):
    """The packet with the orientation of an upright photograph."""
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8")
    if not isinstance(xmp, bytes) or not xmp:
        return None
    for pattern in _TURNED:
        xmp = pattern.sub(rb"\g<1>1\g<2>", xmp)
    return xmp


def _resolution(values):
    """Two positive numbers, or None."""
    try:
        across, down = (float(value) for value in values)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 0 < across < 1e6 and 0 < down < 1e6 else None


def _tiff_resolution(tags):
    unit = tags[296].value if 296 in tags else 2
    if unit not in (2, 3) or not {282, 283} <= {tag.code for tag in tags}:
        return None
    try:
        across, down = (tags[code].value[0] / tags[code].value[1] * (2.54 if unit == 3 else 1) for code in (282, 283))
    except (TypeError, ZeroDivisionError, IndexError):
        return None
    return _resolution((across, down))
