"""The strips and tiles of a TIFF page, looked at before they are decoded: decoders take what a segment claims without asking."""
import math
import os
import re

from svconv.files.errors import FileError

# by number, because names differ between versions: none, CCITT (3), LZW, JPEG, deflate (2), PackBits, LZMA, Zstandard, JPEG 2000 (4)
_READABLE = (1, 2, 3, 4, 5, 7, 8, 32946, 32773, 34925, 50000, 33003, 33004, 33005, 34712)
_JPEG, _JPEG_2000 = (7,), (33003, 33004, 33005, 34712)
_HEAD = 1 << 16  # bytes in which the size of an embedded JPEG must stand


def check(path, page, max_pixels):
    """FileError unless the segments of a page are as large as the picture needs, lie in the file, and can be decoded."""
    if page.compression not in _READABLE:
        raise FileError(f"cannot read {path}: compression {getattr(page.compression, 'name', page.compression)} is not supported")
    rows = min(page.rowsperstrip or page.imagelength, page.imagelength)
    sides = (page.tilelength, page.tilewidth) if page.is_tiled else (rows, page.imagewidth)
    most = min(max(max_pixels, 1 << 20), 4 * max(page.imagelength * page.imagewidth, 1 << 20))
    if min(sides) < 1 or math.prod(sides) > most:
        raise FileError(f"cannot read {path}: the file is damaged (tiles of {sides[0]} x {sides[1]} pixels)")
    expected = math.ceil(page.imagelength / sides[0]) * math.ceil(page.imagewidth / sides[1])
    expected *= page.samplesperpixel if page.planarconfig == 2 else 1
    size, offsets, counts = os.stat(path).st_size, page.dataoffsets, page.databytecounts
    if len(offsets) != len(counts) or len(offsets) < expected:
        raise FileError(f"cannot read {path}: the file is damaged ({len(offsets)} strips or tiles, expected {expected})")
    if any(count <= 0 or offset + count > size for offset, count in zip(offsets, counts)):
        raise FileError(f"cannot read {path}: the file is damaged (pixels beyond its end)")
    if page.compression in (*_JPEG, *_JPEG_2000):
        _check_embedded(path, page, most)


def _check_embedded(path, page, most):
    """FileError if a JPEG or JPEG 2000 inside of the file claims to be larger than a tile can be."""
    find = jpeg_size if page.compression in _JPEG else jpeg_2000_size
    with open(path, "rb") as file:
        for offset, count in zip(page.dataoffsets, page.databytecounts):
            file.seek(offset)
            found = find(file.read(min(count, _HEAD)))
            if found is None or math.prod(found) > most:
                claim = "without a size" if found is None else f"of {found[0]} x {found[1]} pixels"
                raise FileError(f"cannot read {path}: the file is damaged (a compressed tile {claim})")


def jpeg_size(data):
    """(height, width) by the frame header of a JPEG stream, or None."""
    at = 2
    while data[at : at + 1] == b"\xff" and at + 9 <= len(data):
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
        at += 1 if marker == 0xFF else 2 if marker in (0x01, *range(0xD0, 0xD9)) else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def jpeg_2000_size(data):
    """(height, width) by the SIZ segment of a JPEG 2000 stream, the largest of several, or None."""
    sizes = []
    for start in re.finditer(b"\xff\x4f\xff\x51", data):
        right, bottom, left, top = (int.from_bytes(data[start.end() + 4 * i : start.end() + 4 * i + 4], "big") for i in range(1, 5))
        sizes.append((max(bottom - top, 0), max(right - left, 0)))
    return max(sizes, key=math.prod, default=None)
