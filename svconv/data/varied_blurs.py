"""Four kinds of random blur, each an operator on windows of a fixed size: motion, shake, defocus, and the mean of moving frames."""
import functools
import math

import torch

from svconv._shapes import shape_text
from svconv.data.crops import draw, odd_side
from svconv.data.defocus_maps import PATTERNS, defocus_map, defocus_radii, nearest_radius
from svconv.data.motion import motion_kernel, motion_path
from svconv.data.pairs import valid_convolution
from svconv.data.poses import motion_poses
from svconv.ops import EFFGrid, MotionBasis, disk_blur, eff_conv

LEAST = 5                           # side of a kernel: in smaller ones a rotation finds no room
PATCH = 48                          # pixels of a side for each patch of a shake
RADII, SMALLEST = 22, 0.75
FRAMES, POINTS = (7, 13), 300
BLOB, LOBES, SWING, EDGE = (0.15, 0.4), (2, 3, 4), 0.2, 2.0


class CropBlur:
    """A blur that turns a window [C, h + 2 margin, w + 2 margin] into the blurred crop [C, h, w] in its middle; linear in the window.

    Attributes:
        kind: "motion", "shake", "defocus" or "frames". size: (h, w). margin: how far its light comes from, in pixels.
    """

    kind = ""

    def __init__(self, size, margin):
        self.size, self.margin = size, margin

    def __call__(self, window):
        height, width = (side + 2 * self.margin for side in self.size)
        if not isinstance(window, torch.Tensor) or not window.is_floating_point():
            raise TypeError(f"window: expected a floating tensor, got {getattr(window, 'dtype', type(window).__name__)}")
        if window.dim() != 3 or tuple(window.shape[1:]) != (height, width):
            raise ValueError(f"window: expected [C, {height}, {width}], got {shape_text(window)}")
        return self.apply(window).contiguous()

    def inside(self, window):
        """The crop in the middle of a window, which the blur leaves in its place."""
        m = self.margin
        return window[..., m:m + self.size[0], m:m + self.size[1]]

    def __repr__(self):
        return f"{type(self).__name__}(size={self.size}, margin={self.margin})"


class UniformMotion(CropBlur):
    """One `motion_kernel` of an odd side everywhere."""

    kind = "motion"

    def __init__(self, size, strength, generator):
        side = odd_side(strength, generator)
        super().__init__(size, side // 2)
        self.kernel = motion_kernel(side, generator=generator)[0]

    def apply(self, window):
        return valid_convolution(window, self.kernel.to(window))


class Shake(CropBlur):
    """Camera shake with rotation about the middle: `motion_poses` under a grid of patches, "gather", so that a flat image stays flat."""

    kind = "shake"

    def __init__(self, size, strength, generator):
        side = odd_side(strength, generator)
        super().__init__(size, side // 2)
        self.basis = _basis(tuple(n + 2 * self.margin for n in size), side)
        self.kernels = self.basis.kernels(motion_poses(self.basis, generator=generator))

    def apply(self, window):
        return self.inside(eff_conv(window[None], self.kernels.to(window), self.basis.grid, form="gather")[0])


@functools.lru_cache(maxsize=32)
def _basis(sides, kernel):
    return MotionBasis.default(EFFGrid(sides, tuple(min(n, max(2, round(n / PATCH))) for n in sides)), kernel)


class Defocus(CropBlur):
    """Disks whose radius changes in one of the patterns of `defocus_map`, drawn over the crop."""

    kind = "defocus"

    def __init__(self, size, strength, generator):
        side = odd_side(strength, generator)
        super().__init__(size, side // 2)
        most = side // 2
        radii = defocus_radii(SMALLEST, most, (most - SMALLEST) / (RADII - 1))
        pattern = PATTERNS[draw(len(PATTERNS), generator)]
        self.radius = nearest_radius(defocus_map(pattern, *size, radii=radii, generator=generator), radii)

    def apply(self, window):
        radius = torch.nn.functional.pad(self.radius.to(window), (self.margin,) * 4)
        return self.inside(disk_blur(window[None], radius)[0])


class MovingFrames(CropBlur):
    """The mean of 7 to 13 frames in which the scene moves along one path and what lies in a blob along another one.

        y(p) = mean_t [ m(p - b_t) x(p - b_t) + (1 - m(p - b_t)) x(p - a_t) ],   a = b = 0 in the middle frame, which is x

    m is 1 in the blob and 0 outside, with a soft edge; between pixels x and m are bilinear.
    """

    kind = "frames"

    def __init__(self, size, strength, generator):
        ground, blob = odd_side(strength, generator), odd_side(strength, generator)
        super().__init__(size, max(ground, blob) // 2)
        count = odd_side(FRAMES, generator)
        self.ground, self.blob = _frame_path(ground // 2, count, generator), _frame_path(blob // 2, count, generator)
        self.mask = _blob_mask(size, self.margin, generator)

    def apply(self, window):
        marked, total = torch.cat([window, self.mask.to(window)]), 0
        for ground, blob in zip(self.ground, self.blob):
            behind, before = self._moved(window, ground), self._moved(marked, blob)
            total = total + torch.lerp(behind, before[:-1], before[-1:])
        return total / len(self.ground)

    def _moved(self, image, step):
        """The crop when the image moves by `step`, (rows, columns)."""
        for axis, (length, move) in enumerate(zip(self.size, step), start=1):
            first = self.margin - move
            low = min(math.floor(first), 2 * self.margin - 1)
            image = torch.lerp(image.narrow(axis, low, length), image.narrow(axis, low + 1, length), first - low)
        return image


def _frame_path(reach, count, generator):
    """[(row, column)] of so many frames relative to the middle one, the farthest `reach` pixels away along an axis."""
    path = motion_path(points=POINTS, generator=generator)[0, :, torch.linspace(0, POINTS - 1, count).round().long()].double()
    path = path - path[:, count // 2, None]
    return (path * (reach / path.abs().max().clamp_min(1e-12))).clamp(-reach, reach).T.tolist()


def _blob_mask(size, margin, generator):
    """[1, H, W] of a window: 1 in a random smooth blob whose middle lies in the crop."""
    row, column, radius = torch.rand(3, generator=generator, dtype=torch.float32).tolist()
    swing, phase = torch.rand(2, len(LOBES), generator=generator, dtype=torch.float32).tolist()
    radius = (BLOB[0] + radius * (BLOB[1] - BLOB[0])) * min(size)
    y, x = (torch.arange(n + 2 * margin, dtype=torch.float32) - margin - share * (n - 1) for n, share in zip(size, (row, column)))
    angle, far = torch.atan2(y[:, None], x), torch.hypot(y[:, None], x)
    border = 1 + sum(SWING * s * torch.cos(n * angle + 2 * math.pi * p) for n, s, p in zip(LOBES, swing, phase))
    return ((radius * border - far) / EDGE + 0.5).clamp(0, 1)[None]


KINDS = {blur.kind: blur for blur in (UniformMotion, Shake, Defocus, MovingFrames)}
