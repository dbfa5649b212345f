"""From an op to its launches."""
import math

from svconv._triton.disk.gather import gather_launch
from svconv._triton.disk.spread import SPLIT, blocks_launch, spread_launch
from svconv._triton.radial import Radial

from svconv._disk_area import LARGEST, disk_reach


class Blur(Radial):
    """The blur of one map of radii. With a max_radius the reach is that of the promise, and the map is not looked at."""

    def __init__(self, radius, form, padding, max_radius, slope, transposed=False):
        reach = max(0, math.ceil(max_radius - 0.5)) if max_radius <= LARGEST else disk_reach(radius, max_radius)
        super().__init__(radius, reach, form, padding, slope, transposed)
        self.limit = None if math.isinf(max_radius) else self.scalar(max_radius)

    def launches(self, x, out, factor=None):
        if self.gathers:
            yield gather_launch(x, self.map, self.limit, out, self.margin, self.far, self.sources, self.around, self.slope, factor)
            return
        table = self.block_table(3, x)
        yield blocks_launch(self.map, self.limit, table, self.source_margin, self.far, self.sources, self.slope)
        most = table[1].amax() if self.reach > SPLIT else None
        yield spread_launch(x, self.map, self.limit, table, most, out, self.margin, self.source_margin, self.far, self.sources, self.slope)
