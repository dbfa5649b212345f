"""The ops of the eff family on one tile of an image: what it has to see so that its pixels come out as on the whole image."""
from svconv._boundary import canonical_padding
from svconv._fourier import fast_length
from svconv.ops.eff import eff_conv, eff_conv_adjoint, eff_image_quotient

OPS = {"eff_conv": eff_conv, "eff_conv_adjoint": eff_conv_adjoint, "eff_image_quotient": eff_image_quotient}


class EFFTile:
    """An op of the family for the pixels rows x columns, (start, stop) each, of an image.

    Args:
        name: of `OPS`. grid: the `EFFGrid` of the whole image. kernel_size: (kh, kw).
        options: of the op; those that matter here are its form and padding.

    Attributes:
        grid: `EFFGridPart`, whose rectangle is what the tile has to see: `rows`, `columns`, (first, stop) of the image, beyond its border only where it goes on
            periodically. Its `indices` are the kernels that it needs.
    """

    def __init__(self, name, grid, kernel_size, rows, columns, **options):
        self.name, self.options, self.own = name, options, (rows, columns)
        padding = canonical_padding(options.get("padding", "replicate" if name == "eff_image_quotient" else "zeros"))
        form = options.get("form", "scatter")
        # the windows stand on the side of x in scatter, on that of y in gather; the ones that matter are those of the tile or of what it sees
        windows_of_seen = (form == "scatter") == (name == "eff_conv")
        reach = self._division if name == "eff_image_quotient" else self._convolution
        seen = [reach(axis, k, where, padding == "circular") for axis, k, where in zip((grid.rows, grid.columns), kernel_size, self.own)]
        used = seen if name != "eff_image_quotient" and windows_of_seen else self.own
        self.rows, self.columns = seen
        self.grid = grid.part(*seen, used)
        self.options = {**options, "padding": "zeros" if padding == "circular" else padding}

    @staticmethod
    def _clipped(start, stop, n, periodic):
        return (start, stop) if periodic else (max(0, start), min(n, stop))

    def _convolution(self, axis, k, where, periodic):
        return self._clipped(where[0] - k, where[1] + k, axis.n, periodic)

    def _division(self, axis, k, where, periodic):
        """Whole patches with their halo. The far side of a halo is the longer one, and a reflection reads as deep as it is long."""
        p, halo = axis.length, fast_length(axis.length + 2 * k) - axis.length - k
        turns = range(where[0] // axis.n - 1, (where[1] - 1) // axis.n + 1) if periodic else (0,)
        starts = [start + turn * axis.n for turn in turns for start in axis.starts]
        touching = [start for start in starts if start < where[1] and start + p > where[0]]
        return self._clipped(min(touching) - halo, max(touching) + p + halo, axis.n, periodic)

    def run(self, seen, kernels):
        """The pixels of the tile: `seen` [B, C, h, w] on its rows and columns, `kernels` the chosen ones."""
        result = OPS[self.name](seen, kernels, self.grid, **self.options)
        (top, bottom), (left, right) = ((start - first, stop - first) for (start, stop), (first, _) in zip(self.own, (self.rows, self.columns)))
        return result[..., top:bottom, left:right]
