"""TIFF: grey, palettes and RGB of any depth with their alpha, further samples and thumbnails (tifffile); Pillow reads what is rare."""
import numpy as np

from svconv.files import metadata, segments
from svconv.files.errors import FileError, library, reason
from svconv.files.limits import check_size
from svconv.files.picture import Picture

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_PAGES = 1000
_WHITE_TAGS = (341, 281)  # SMaxSampleValue, MaxSampleValue
_CLASSIC = 2**32 - 2**25  # bytes of pixels from which offsets need more than 32 bits


def read_tiff(path, max_pixels):
    """(Picture, None), or (None, the number of its page) where Pillow should read the file."""
    tifffile = library("tifffile", path)
    try:
        with tifffile.TiffFile(path) as tiff:
            page = _photograph(path, tiff)
            check_size(path, (page.imagelength, page.imagewidth), max(3, page.samplesperpixel) * 8, max_pixels)
            if _for_pillow(tifffile, page):
                return None, page.index
            return _picture(path, tifffile, page, max_pixels), None
    except (OSError, MemoryError):
        raise
    except Exception as error:  # tifffile and the codecs behind it raise errors of many types for damaged files
        raise FileError(f"cannot read {path}: the file is damaged ({reason(error)})") from error


def read_pages(path, max_pixels):
    """Of a stack: (array [N, H, W] or in colour [N, H, W, 3], the axes that the N come from, None, bits of packed values or None,
    colour profile, Metadata)."""
    tifffile = library("tifffile", path)
    try:
        with tifffile.TiffFile(path) as tiff:
            series = [found for found in tiff.series if not found.keyframe.subfiletype & 1]
            if len(series) != 1:
                raise FileError(f"cannot read {path}: expected a stack of pictures of one size, it holds {len(series)} kinds")
            axes, shape, page, kinds = series[0].axes, series[0].shape, series[0].keyframe, tifffile.PHOTOMETRIC
            colour = page.photometric == kinds.RGB and "S" in axes and page.samplesperpixel == 3
            if not (colour or page.photometric == kinds.MINISBLACK and page.samplesperpixel == 1):
                raise FileError(f"cannot read {path}: expected a stack of grey or RGB pictures without further samples")
            kind, depth = _sample_type(path, page)
            own = [axes.index(name) for name in ("YXS" if colour else "YX")]
            rest = tuple(n for i, n in enumerate(shape) if i not in own)
            height, width = int(np.prod(rest, dtype=object)) * shape[own[0]], shape[own[1]]
            check_size(path, (height, width), 6 * np.dtype(kind).itemsize, max_pixels, "stack")
            for one in series[0].pages:
                if isinstance(one, tifffile.TiffPage):
                    segments.check(path, one, max_pixels)
            a = np.moveaxis(series[0].asarray().astype(kind, copy=False), own, range(-len(own), 0))
            return a.reshape(-1, *a.shape[-len(own):]), rest, None, depth, page.iccprofile, metadata.of_tiff(page)
    except (FileError, MemoryError):
        raise
    except Exception as error:
        raise FileError(f"cannot read {path}: the file is damaged ({reason(error)})") from error


def map_tiff(path):
    """(array [H, W, C] that stays in the file, a Picture of the rest without pixels)"""
    tifffile = library("tifffile", path)
    try:
        with tifffile.TiffFile(path) as tiff:
            page, kinds = _photograph(path, tiff), tifffile.PHOTOMETRIC
            colours = 3 if page.photometric == kinds.RGB else 1
            upright = ("Orientation" not in page.tags or page.tags["Orientation"].value == 1) and page.imagedepth == 1
            plain = page.samplesperpixel == colours and page.photometric in (kinds.RGB, kinds.MINISBLACK)
            if not (page.is_memmappable and upright and plain):
                raise FileError(f"cannot map {path}: expected an uncompressed, upright, grey or RGB TIFF of 8 or 16 bits or float without "
                                "further samples")
            kind, depth = _sample_type(path, page)
            page_number, planar = page.index, page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
            like = Picture(np.empty((0, 0, colours), kind), icc=page.iccprofile, depth=depth, stated=_stated_white(page, colours),
                           metadata=metadata.of_tiff(page))
        a = tifffile.memmap(path, page=page_number, mode="r")
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise FileError(f"cannot read {path}: the file is damaged ({reason(error)})") from error
    return np.moveaxis(a, 0, -1) if planar and a.ndim == 3 else a[..., None] if a.ndim == 2 else a, like


def begin_tiff(file, path, like, size):
    """Writes all of an uncompressed TIFF but its values, for a Picture without pixels; (their type in the file, where they begin)."""
    tifffile = library("tifffile", path)
    kind, colours = like.pixels.dtype, like.channels
    count = size[0] * size[1] * colours * kind.itemsize
    options, tags = metadata.tiff_options(like.metadata)
    begin, _ = tifffile.imwrite(
        file, shape=(*size, colours) if colours > 1 else size, dtype=kind, returnoffset=True, bigtiff=count > _CLASSIC,
        photometric="rgb" if colours == 3 else "minisblack", planarconfig="contig" if colours > 1 else None, iccprofile=like.icc or None,
        metadata=None, extratags=tags, **options)
    return kind, begin


def _photograph(path, tiff):
    """The one page that is not a smaller copy of another."""
    stack = tiff.is_imagej and (tiff.imagej_metadata or {}).get("images", 1)  # which may have one page for all its pictures
    if stack and stack > 1:
        raise FileError(f"cannot read {path}: it holds {stack} pictures (a stack of ImageJ), expected one")
    pages = []
    for number, page in enumerate(tiff.pages):
        if number == MAX_PAGES:
            raise FileError(f"cannot read {path}: it holds {MAX_PAGES} pictures or more (several pages), expected one")
        pages.append(page)
    full = [page for page in pages if not page.subfiletype & 1] or pages[:1]
    if len(full) != 1:
        raise FileError(f"cannot read {path}: it holds {len(full)} pictures (several pages), expected one")
    if full[0].subfiletype & 1 and full[0].subifds:
        raise FileError(f"cannot read {path}: it holds a small copy only, beside data of another kind (a raw photograph of a camera?)")
    return full[0]


def _for_pillow(tifffile, page):
    """What tifffile does not read but Pillow may: JPEG of the old kind, colours of fewer pixels than the brightness, mixed depths."""
    if page.photometric == tifffile.PHOTOMETRIC.YCBCR and page.compression != tifffile.COMPRESSION.JPEG:
        return True
    return page.dtype is None or page.compression == tifffile.COMPRESSION.OJPEG


def _picture(path, tifffile, page, max_pixels):
    kinds = tifffile.PHOTOMETRIC
    kind, depth = _sample_type(path, page)
    if page.photometric not in (kinds.MINISBLACK, kinds.MINISWHITE, kinds.RGB, kinds.YCBCR, kinds.PALETTE) or (
            page.photometric == kinds.MINISWHITE and page.dtype.kind == "f"):
        name = getattr(page.photometric, "name", page.photometric)
        raise FileError(f"cannot read {path}: colour mode {name} is not supported, expected grey or RGB")
    if page.imagedepth != 1:
        raise FileError(f"cannot read {path}: it is a volume of {page.imagedepth} layers, expected one picture")
    segments.check(path, page, max_pixels)
    a = page.asarray().astype(kind, copy=False)
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and a.ndim == 3:
        a = np.moveaxis(a, 0, -1)
    a = np.atleast_3d(oriented(a, page.tags["Orientation"].value if "Orientation" in page.tags else 1))
    colours = 3 if page.photometric in (kinds.RGB, kinds.YCBCR) else 1  # JPEG in YCbCr comes as RGB
    if a.ndim != 3 or a.shape[2] < colours:
        raise FileError(f"cannot read {path}: expected grey or RGB with or without alpha, got an array of shape {a.shape}")
    alpha, associated, extra = _further_samples(tifffile, page, a[..., colours:])
    a, stated = np.ascontiguousarray(a[..., :colours]), _stated_white(page, colours)
    if page.photometric == kinds.PALETTE:
        a, depth, stated = _palette(path, page)[a[..., 0]], None, None
    elif page.bitspersample < 8:
        a, stated = np.rint(a * (255 / (2**page.bitspersample - 1))).astype(np.uint8), None
    if page.photometric == kinds.MINISWHITE:
        a, stated = kind.type(2 ** (depth or 8 * kind.itemsize) - 1) - a, None
    return Picture(a, alpha, page.iccprofile, associated, extra, depth=depth, stated=stated, metadata=metadata.of_tiff(page),
                   lossy=page.compression == tifffile.COMPRESSION.JPEG)


def _sample_type(path, page):
    """(dtype, packed bits or None)"""
    bits = page.bitspersample
    if page.dtype.kind == "f":
        return (np.float64 if page.dtype.itemsize == 8 else np.float32), None
    if page.dtype in (np.uint8, np.uint16, np.bool_) and isinstance(bits, int) and (bits >= 8 or page.samplesperpixel == 1):
        return np.dtype(np.uint16 if bits > 8 else np.uint8), bits if 8 < bits < 16 else None
    raise FileError(f"cannot read {path}: {page.samplesperpixel} samples of type {page.dtype} and {bits} bits are not supported, "
                    "expected 8 to 16 bits or float, or one sample of 1 to 7 bits")


def _palette(path, page):
    """[2^bits, 3] uint8"""
    colours = np.asarray(page.colormap).T
    if colours.shape != (2**page.bitspersample, 3):
        raise FileError(f"cannot read {path}: the file is damaged (a palette of shape {colours.shape})")
    return (colours if colours.max() < 256 else colours >> 8).astype(np.uint8)  # some writers store 8 of the 16 bits


def _further_samples(tifffile, page, a):
    """(alpha, whether the colours are multiplied by it, the samples of unspecified meaning) from the samples behind the colours."""
    kinds = list(page.extrasamples)[: a.shape[2]]
    if not kinds and a.shape[2] == 1:  # many writers leave the tag out beside an alpha channel
        kinds = [tifffile.EXTRASAMPLE.UNASSALPHA]
    meant = [i for i, kind in enumerate(kinds) if kind in (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)][:1]
    rest = [i for i in range(a.shape[2]) if i not in meant]
    alpha = a[..., meant[0]].copy() if meant else None
    return alpha, bool(meant) and kinds[meant[0]] == tifffile.EXTRASAMPLE.ASSOCALPHA, a[..., rest].copy() if rest else None


def _stated_white(page, colours):
    for code in _WHITE_TAGS:
        if code in page.tags:
            values = np.atleast_1d(page.tags[code].value)[:colours]
            if values.dtype.kind in "uif" and len(values) and 0 < values.max() < float("inf"):
                return float(values.max())
    return None


def oriented(a, orientation):
    """The upright image of an array with EXIF orientation 1..8."""
    if orientation in (2, 7):
        a = a[:, ::-1]
    if orientation in (4, 5):
        a = a[::-1]
    turns = {3: 2, 5: 3, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.rot90(a, turns)


def write_tiff(file, path, *pictures):
    """Writes Pictures into an open file, a page each; the texts of the first one stand for all."""
    tifffile = library("tifffile", path)
    parts = [part for p in pictures for part in (p.pixels, p.alpha, p.extra) if part is not None]
    with tifffile.TiffWriter(file, bigtiff=sum(part.nbytes for part in parts) > _CLASSIC) as writer:
        for number, picture in enumerate(pictures):
            a, options = _page(picture)
            writer.write(a, **options | ({"description": None} if number else {}))


def _page(picture):
    """(array, options of tifffile's writer)"""
    parts, kinds = [picture.pixels], []
    if picture.alpha is not None:
        parts.append(picture.alpha[..., None])
        kinds.append("assocalpha" if picture.associated else "unassalpha")
    if picture.extra is not None:
        parts.append(picture.extra)
        kinds += ["unspecified"] * picture.extra.shape[2]
    a = np.concatenate(parts, 2) if len(parts) > 1 else picture.pixels
    samples = a.shape[2]
    options, tags = metadata.tiff_options(picture.metadata)
    return a[..., 0] if samples == 1 else a, dict(
        photometric="rgb" if picture.channels == 3 else "minisblack", planarconfig="contig" if samples > 1 else None,
        extrasamples=kinds or None, compression=None if picture.depth else "zlib", bitspersample=picture.depth,
        iccprofile=picture.icc or None, metadata=None, extratags=[*_white_tags(picture, samples), *tags], **options)


def _white_tags(picture, samples):
    if picture.stated is None:
        return ()
    if picture.pixels.dtype.kind == "f":
        code, value = (12 if picture.pixels.itemsize == 8 else 11), max(picture.stated, float(picture.pixels.max()))
    else:
        code, value = (3 if picture.pixels.itemsize == 2 else 1), int(min(max(picture.stated, picture.pixels.max()), picture.full))
    return [(_WHITE_TAGS[0], code, samples, (value,) * samples if samples > 1 else value, True)]
