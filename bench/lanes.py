"""Triton's per-pixel kernels with tiles of another number of pixels, for as long as a block lasts.

256 threads work on a tile. With 256 pixels each thread loads one: 32 bits of float32, 16 of bfloat16. With 512 it may load two neighbours
in one access of twice the width, where the compiler knows that rows begin at multiples of it; so the sizes, which these kernels usually
take as they come (one kernel for all sizes), are specialised too. Then the forward pass reads the filters wide. The image, and in the
adjoint the filters, are shifted by single pixels and are read as before.
"""
import contextlib
import functools
import sys


@functools.cache
def specialised(kernel):
    """The kernel compiled anew where a size is a multiple of 16 and where it is not."""
    import triton
    return triton.jit(kernel.fn)


@contextlib.contextmanager
def lanes(count):
    """Tiles of `count` pixels (a power of two, at least 128) in every Triton kernel of pixel_filter."""
    from svconv._triton import pixel_filter, tiles
    users = [tiles, *(module for name, module in sorted(sys.modules.items()) if name.startswith(pixel_filter.__name__ + "."))]
    before = [(module, {name: value for name, value in vars(module).items() if name == "LANES" or name.endswith("_kernel")})
              for module in users]
    for module, names in before:
        for name, value in names.items():
            setattr(module, name, count if name == "LANES" else specialised(value))
    try:
        yield
    finally:
        for module, names in before:
            for name, value in names.items():
                setattr(module, name, value)
