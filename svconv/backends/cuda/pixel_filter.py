"""The normal operator of per-pixel filters in CUDA C++ (csrc/cuda/pixel_filter.cuh), which reads the filters once; the other ops of the
family are Triton's.

Memory: what the tiles of 8 x 32 pixels give to themselves and their halos passes through a workspace in the accumulator's type, for sides
of 3, 5 and 7 taps 1.3, 1.7 and 2.1 values per pixel. Planes go through together up to a workspace of 16 MiB and a tenth of the filters, the
image and the result; the least are the planes of a block, which read the same filters: one, or up to four.
"""
import torch

from svconv._boundary import PADDINGS
from svconv.backends.cuda.launch import GRANTED, TYPES, Launch, Resources

FILE = "pixel_filter.cuh"
TALL, WIDE, THREADS = 8, 32, 256        # a tile, one thread for each pixel
SIDES = (3, 5, 7)
LARGEST_SIDE = 2**30 - 1                # two periods of an axis fit in an int
PLANES = 4                              # most planes of a block, which read the same filters
BLOCKS = {(4, 3): 6, (4, 5): 4, (4, 7): 3, (8, 3): 3, (8, 5): 2, (8, 7): 1}     # by bytes of the accumulator and side, as in the .cuh
FOLD = Resources(THREADS, 5)
SPARE = 16 << 20                        # bytes of workspace that are always allowed
HALF = (torch.float16, torch.bfloat16)


def _accumulator(dtype):
    return torch.float32 if dtype in HALF else dtype


def _halo(side):
    """Elements of a tile with what its windows reach."""
    return (TALL + side - 1) * (WIDE + side - 1)


def _shared(side, dtype):
    """Bytes of shared memory for a plane: the tile of the image, and of the result a copy for each column of taps."""
    return (_halo(side) + side * (TALL + side - 1) * WIDE) * _accumulator(dtype).itemsize


def _most_planes(side, dtype):
    """Of one block, within what every block has without asking."""
    return min(PLANES, GRANTED // _shared(side, dtype))


def _gram(dtype, filters_dtype, side):
    return f"svconv::pixel_filter_gram<{TYPES[dtype]}, {TYPES[filters_dtype]}, {side}>"


def _fold(dtype):
    return f"svconv::pixel_filter_fold<{TYPES[dtype]}>"


def _resources(dtype, side):
    """With one plane in a block the count holds everywhere; with several not on GPUs with 100 KB."""
    return Resources(THREADS, BLOCKS[_accumulator(dtype).itemsize, side], _most_planes(side, dtype) * _shared(side, dtype),
                     holds_on=("sm_80", "sm_90"))


PAIRS = [(dtype, filters) for dtype in TYPES for filters in ((dtype, *HALF) if dtype == torch.float32 else (dtype,))]
KERNELS = {_gram(*pair, side): _resources(pair[0], side) for pair in PAIRS for side in SIDES}
KERNELS |= {_fold(dtype): FOLD for dtype in TYPES}


def why_not(op, *arguments):
    """None, or the reason why these arguments are refused."""
    x, filters = arguments[:2]
    side = tuple(filters.shape[3:5])
    if side[0] != side[1] or side[0] not in SIDES:
        return f"keeps filters of 3 x 3, 5 x 5 and 7 x 7 in registers, not of {side[0]} x {side[1]}"
    if (x.dtype, filters.dtype) not in PAIRS:
        return f"no kernel for filters of {filters.dtype} beside an image of {x.dtype}"
    if max(x.shape[-2:]) > LARGEST_SIDE:
        return f"sides above {LARGEST_SIDE}"
    return None


def pixel_filter_gram(x, filters, weights, padding):
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    if out.numel() == 0 or filters.shape[2] == 0:
        return out.zero_()
    for part in _parts(x, filters):
        of_part = (None if t is None else _cut(t, part) for t in (x, filters, weights, out))
        for launch in _launches(*of_part, padding):
            launch(x.device)
    return out


def _block(x, filters):
    """(axis, number) of the planes of a block: the channels if they read the same filters, otherwise the images if these do."""
    of_images, of_channels = (x.shape[axis] > 1 and 0 in (filters.stride(axis), filters.shape[axis] - 1) for axis in (0, 1))
    axis = 0 if of_images and not of_channels else 1
    return axis, min(_most_planes(filters.shape[3], x.dtype), x.shape[axis]) if of_images or of_channels else 1


def _parts(x, filters):
    """(images, channels) as slices, of as many planes as the workspace may have, blocks not torn apart."""
    axis, together = _block(x, filters)
    moved = filters.numel() * filters.element_size() + 2 * x.numel() * x.element_size()
    plane = _tiles(x) * _halo(filters.shape[3]) * _accumulator(x.dtype).itemsize
    planes = max(together, (SPARE + moved // 10) // plane)
    steps = [max(1, planes // x.shape[axis])] * 2
    steps[axis] = min(planes // together * together, x.shape[axis])
    for b in range(0, x.shape[0], steps[0]):
        for c in range(0, x.shape[1], steps[1]):
            yield slice(b, b + steps[0]), slice(c, c + steps[1])


def _cut(t, part):
    """The images and channels of a part; an axis of 1 serves all of them."""
    images, channels = (slice(None) if n == 1 else some for n, some in zip(t.shape[:2], part))
    return t[images, channels]


def _tiles(x):
    """Of one plane."""
    return -(-x.shape[2] // TALL) * -(-x.shape[3] // WIDE)


def _strides(t, outer, inner):
    """Those of axes `outer` and `inner`, 0 where they have one entry for all, and the others."""
    first = [0 if t.shape[axis] == 1 else t.stride(axis) for axis in (outer, inner)]
    return *first, *t.stride()[2:]


def _launches(x, filters, weights, out, padding):
    (batch, channels, height, width), (maps, side), dtype = x.shape, filters.shape[2:4], x.dtype
    inner, together = _block(x, filters)
    outer = 1 - inner
    planes, tiles, rule = batch * channels, _tiles(x), PADDINGS.index(padding)
    partial = torch.empty(planes * tiles * _halo(side), dtype=_accumulator(dtype), device=x.device)
    weighted = (weights, *_strides(weights, outer, inner)) if weights is not None else (None, 0, 0, 0, 0, 0)
    sizes = x.shape[outer], x.shape[inner], maps, height, width, together, rule
    yield Launch(FILE, _gram(dtype, filters.dtype, side), x.shape[outer] * -(-x.shape[inner] // together) * tiles, THREADS,
                 (x, *_strides(x, outer, inner), filters, *_strides(filters, outer, inner), *weighted, partial, *sizes),
                 together * _shared(side, dtype))
    yield Launch(FILE, _fold(dtype), planes * tiles, THREADS,
                 (partial, out, out.stride(outer), out.stride(inner), x.shape[inner], height, width, side, rule))
