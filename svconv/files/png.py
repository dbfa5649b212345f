"""What Pillow does not do for PNG: 16-bit colours, and the chunks that say what the colours mean."""
import os
import struct
import zlib

import numpy as np

from svconv.files.errors import FileError, library, reason

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"sBIT")
_LARGEST = 1 << 16  # bytes of such a chunk; each needs less than 40


def read_chunks(path):
    """{name: content} of the small chunks before the pixels of a PNG file."""
    return dict(_chunks(path))


def read_text(path, keyword):
    """The text of that keyword (tEXt) before the pixels of a PNG file, or None."""
    begin = keyword.encode("latin-1") + b"\0"
    for name, content in _chunks(path):
        if name == b"tEXt" and content.startswith(begin):
            return content[len(begin):].decode("latin-1")
    return None


def text_chunk(keyword, text):
    """The chunk that `read_text` reads, (name, content)."""
    return b"tEXt", f"{keyword}\0{text}".encode("latin-1")


def _chunks(path):
    """Every (name, content) of the small chunks before the pixels."""
    size = os.stat(path).st_size
    with open(path, "rb") as file:
        file.seek(len(SIGNATURE))
        while len(head := file.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
            length = struct.unpack(">I", head[:4])[0]
            if length > size:
                break
            if length <= _LARGEST:
                yield head[4:], file.read(length)
                file.seek(4, os.SEEK_CUR)
            else:
                file.seek(length + 4, os.SEEK_CUR)


def colour_chunks(chunks):
    return tuple((name, chunks[name]) for name in COLOUR_CHUNKS if name in chunks)


def fitting(chunks, colours, samples):
    """The chunks for a file of so many colours and samples: sBIT names every sample once, with alpha as deep as the colours."""
    chunks = dict(chunks)
    bits = chunks.pop(b"sBIT", b"")[:colours]
    if len(bits) == colours:
        chunks[b"sBIT"] = bits + bytes([max(bits)] * (samples - colours))
    return list(chunks.items())


def significant_bits(chunks, colours):
    """The bits that count in the colours according to sBIT, or None."""
    bits = chunks.get(b"sBIT", b"")[:colours]
    return max(bits) if len(bits) == colours and 0 < max(bits) <= 16 else None


def decode_16_bit(path, chunks):
    """The array of a 16-bit PNG, with alpha where one colour is declared transparent."""
    codecs = library("imagecodecs", path)
    with open(path, "rb") as file:
        data = file.read()
    try:
        a = codecs.png_decode(data)
    except codecs.PngError as error:
        raise FileError(f"cannot read {path}: the file is damaged ({reason(error)})") from error
    colours = 1 if a.ndim == 2 else a.shape[2]
    key = chunks.get(b"tRNS", b"")
    if len(key) == 2 * colours and colours in (1, 3):  # the decoder adds alpha to some of these files and not to others
        a = a.reshape(*a.shape[:2], colours)
        a = np.dstack([a, np.where((a == np.array(struct.unpack(f">{colours}H", key))).all(2), 0, 0xFFFF).astype(a.dtype)])
    return a


def with_chunks(png, chunks, icc=None):
    """A PNG file with the (name, content) chunks and the colour profile behind its header."""
    if icc:
        chunks = [*chunks, (b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))]
    inserted = b"".join(struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks)
    return b"".join([png[:33], inserted, png[33:]])
