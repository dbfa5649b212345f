"""Triton's per-pixel kernels with tiles of another number of pixels, for as long as a block lasts.

256 threads work on a tile. With 256 pixels each thread loads one: 32 bits of float32, 16 of bfloat16. With 512 it loads two neighbours in
one access of twice the width.
"""
import contextlib
import sys


@contextlib.contextmanager
def lanes(count):
    """Tiles of `count` pixels (a power of two, at least 128) in every Triton kernel of pixel_filter."""
    from svconv._triton import pixel_filter, tiles
    names = [name for name in sys.modules if name.startswith(pixel_filter.__name__ + ".")]
    users = [tiles, *(sys.modules[name] for name in names if hasattr(sys.modules[name], "LANES"))]
    before = [module.LANES for module in users]
    for module in users:
        module.LANES = count
    try:
        yield
    finally:
        for module, value in zip(users, before, strict=True):
            module.LANES = value
