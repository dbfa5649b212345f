"""The disk family in CUDA C++, `csrc/cuda/disk.cuh`: what a call launches, on tiles of 32 x 16 pixels with one thread for each.

`disk_gather` (pixels sum over their own disk) is the forward of the gather form and the adjoint of the scatter form; `disk_spread` (pixels
sum over the disks that reach them) is the other two, after `disk_blocks` has noted the radii of blocks of the map. Where image and map go
on beyond the edges an adjoint is computed on the whole plane that the disks reach and folded back. Memory beside the result: there the
plane (the image and a margin of the largest radius, or of max_radius) in the accumulator's type and what folding copies of it; with a
spread two whole numbers for every 16 x 16 pixels of the map.
"""
import dataclasses
import math

import torch

from svconv._boundary import PADDINGS
from svconv._disk_area import LARGEST, disk_reach
from svconv._plane import Plane
from svconv._shapes import sum_to
from svconv.backends.cuda.launch import TYPES, Launch, Resources, shared_limit

FILE = "disk.cuh"
WIDTH, HEIGHT = 32, 16              # of a tile
THREADS = WIDTH * HEIGHT
NOTED = 64 + 8 * THREADS            # bytes of a block: where its tile is, and two measures of each thread
SIDE = 16                           # of a block of the map
CHANNELS = (1, 3)                   # of a group, which shares areas
SHARED = 96 << 10                   # most bytes of a block that every GPU from compute capability 8.0 on grants
LONGEST = 2**30 - 1 - 2 * LARGEST   # side of an image whose plane has places of 32 bits

KERNELS = {f"svconv::disk_blocks<{name}>": Resources(SIDE * SIDE, 4, 8 * SIDE * SIDE) for name in TYPES.values()}
KERNELS |= {f"svconv::disk_{kind}<{name}, {channels}>":
            Resources(THREADS, 1, SHARED) if dtype == torch.float64 else Resources(THREADS, 2, SHARED, holds_on=("sm_90",))
            for kind in ("gather", "spread") for dtype, name in TYPES.items() for channels in CHANNELS}


def computed(dtype):
    """The type that sums have."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def tables(reach):
    """How many tables of sums of 1, 3, 4, 8, 16, ... neighbours runs are made of, in a disk that reaches so far."""
    return max(1, (2 * reach - 1).bit_length()) if reach else 1


def window_bytes(reach, channels, item, spreads, rows=None):
    """Of `rows` rows of the window of a tile, by default all of them; where disks spread, radii and areas stand beside the tables."""
    rows = HEIGHT + 2 * reach if rows is None else rows
    return rows * (WIDTH + 2 * reach) * (channels * tables(reach) + 2 * spreads) * item


def why_not(op, *arguments):
    """None, or the reason why these arguments are refused."""
    x, padding, max_radius = arguments[0], arguments[-2], arguments[-1]
    if max(x.shape[-2:]) > LONGEST:
        return f"sides above {LONGEST}"
    if shared_limit(x.device) < SHARED:
        return f"takes {SHARED >> 10} KiB of shared memory, and a block has {shared_limit(x.device) >> 10} KiB"
    reach = max(0, math.ceil(max_radius - 0.5)) if max_radius <= LARGEST else LARGEST
    if max_radius <= LARGEST and NOTED + window_bytes(reach, 1, computed(x.dtype).itemsize, 1, rows=1) > SHARED:
        return f"max_radius = {max_radius:g}: no row of a window fits into {SHARED >> 10} KiB of shared memory"
    margin = 0 if padding in ("zeros", "circular") else reach
    blocks = x.shape[0] * x.shape[1] * -(-(x.shape[2] + 2 * margin) // HEIGHT) * -(-(x.shape[3] + 2 * margin) // WIDTH)
    return "more than 2^31 tiles" if blocks >= 2**31 else None


@dataclasses.dataclass(frozen=True, slots=True)
class Blur:
    """The blur of one map of radii, or with `slope` its derivative; `transposed`: its adjoint."""
    radius: torch.Tensor
    form: str
    padding: str
    max_radius: float
    slope: bool = False
    transposed: bool = False

    @property
    def gathers(self):
        return (self.form == "gather") != self.transposed

    @property
    def folds(self):
        """Whether results stand in the plane first. Of zeros and of a torus the transpose stays in the image."""
        return self.transposed and self.padding not in ("zeros", "circular")

    def reach(self):
        """Of the largest disk; a promise is believed, so that nobody looks at the map."""
        return max(0, math.ceil(self.max_radius - 0.5)) if self.max_radius <= LARGEST else disk_reach(self.radius, self.max_radius)

    def run(self, x, factor=None):
        """The result for x, or its products with the factor, summed over groups of channels; in the accumulator's type where something
        follows."""
        b, c, height, width = x.shape
        reach, wide = self.reach(), self.folds or factor is not None
        group, shared = self.group(c, reach, computed(x.dtype).itemsize)
        margin = reach if self.folds else 0
        size = height + 2 * margin, width + 2 * margin
        out = x.new_empty((b, c if factor is None else -(-c // group), *size), dtype=computed(x.dtype) if wide else x.dtype)
        tiles = -(-size[0] // HEIGHT) * -(-size[1] // WIDTH)
        kind = "gather" if self.gathers else "spread"
        launch = Launch(FILE, f"svconv::disk_{kind}<{TYPES[x.dtype]}, {group}>", b * -(-c // group) * tiles, THREADS, (), shared)
        sources = "zeros" if self.folds else self.padding
        given = x, *x.stride(), *self.map_arguments(x)
        sizes = c, height, width, margin, PADDINGS.index(sources)
        capacity = (shared - NOTED) // computed(x.dtype).itemsize
        if self.gathers:
            # results beside the image read the map where it goes on
            around = PADDINGS.index(self.padding if self.folds else "replicate")
            factors = (None, 0, 0, 0, 0) if factor is None else (factor, *factor.stride())
            launch.arguments = *given, *factors, out, int(wide), *sizes, around, *self.rule, capacity
        elif b and c:
            table, noted = self.note(x, 0 if sources == "zeros" else reach, sources)
            launch.arguments = *given, *noted, reach, out, int(wide), *sizes, *self.rule, capacity
        launch(x.device)
        if not margin:
            return out
        return Plane((height, width), (margin,) * 4, size, self.padding).enter_adjoint(out)

    def note(self, x, margin, padding):
        """The table of the blocks of the map and a margin, and what `disk_spread` is told of it."""
        maps_b, maps_c, height, width = self.radius.shape
        down, across = -(-(height + 2 * margin) // SIDE), -(-(width + 2 * margin) // SIDE)
        table = torch.empty((2, maps_b, maps_c, down, across), dtype=torch.int32, device=x.device)
        entries = table[0].numel()
        Launch(FILE, f"svconv::disk_blocks<{TYPES[x.dtype]}>", entries, SIDE * SIDE,
               (*self.map_arguments(x), table, maps_c, entries, down, across, height, width, margin, PADDINGS.index(padding), *self.rule),
               8 * SIDE * SIDE)(x.device)
        strides = (0 if n == 1 else stride for n, stride in zip((maps_b, maps_c), (maps_c * down * across, down * across)))
        return table, (table, *strides, entries, down, across, margin)

    @property
    def rule(self):
        return int(self.slope), float(self.max_radius)

    def map_arguments(self, x):
        strides = (0 if axis < 2 and self.radius.shape[axis] == 1 else stride for axis, stride in enumerate(self.radius.stride()))
        return self.radius, *strides, int(self.radius.dtype != computed(x.dtype))

    def group(self, channels, reach, item):
        """(channels of a group, bytes of shared memory): three where their window fits, or where not even that of one does."""
        windows = {n: NOTED + window_bytes(reach, n, item, not self.gathers) for n in CHANNELS}
        shares = self.radius.shape[1] == 1 and channels > 1
        row = NOTED + window_bytes(reach, 3, item, not self.gathers, rows=4)
        group = 3 if shares and (windows[3] <= SHARED or windows[1] > SHARED >= row) else 1
        return group, min(SHARED, windows[group])


def _blur(x, radius, form, padding, max_radius, slope, transposed):
    return Blur(radius, form, padding, max_radius, slope, transposed).run(x).to(x.dtype).contiguous()


def disk_blur_fwd(x, radius, form, padding, max_radius):
    """Every pixel blurred by its disk."""
    return _blur(x, radius, form, padding, max_radius, False, False)


def disk_blur_adjoint(y, radius, form, padding, max_radius):
    """The transpose of `disk_blur_fwd`."""
    return _blur(y, radius, form, padding, max_radius, False, True)


def disk_slope_fwd(x, radius, form, padding, max_radius):
    """The blur with dw/dr in the place of w."""
    return _blur(x, radius, form, padding, max_radius, True, False)


def disk_slope_adjoint(y, radius, form, padding, max_radius):
    """The transpose of `disk_slope_fwd`."""
    return _blur(y, radius, form, padding, max_radius, True, True)


def disk_blur_bwd_radius(x, g, radius, form, padding, max_radius):
    """The gradient of <g, blur of x> in the radius, like it: the products are summed over shared channels in the kernel, groups of them
    and a shared batch after it."""
    if x.shape[0] == 0 or x.shape[1] == 0:
        return radius.new_zeros(radius.shape)
    blur = Blur(radius, form, padding, max_radius, slope=True, transposed=form == "scatter")
    products = blur.run(x, g) if form == "gather" else blur.run(g, x)
    return sum_to(products, radius.shape).to(radius.dtype).contiguous()
