"""Random camera shake with rotation: pose weights along Gaussian-process paths."""
import torch

from svconv._shapes import number
from svconv.data.motion import motion_path
from svconv.ops.motion_basis import MotionBasis, corner_distance

_POINTS = 300  # along one path
_TRIES, _SHRINK = 200, 0.97


def motion_poses(basis, n=1, *, rotation=1.0, generator=None):
    """Random camera shakes as weights of the poses of a `MotionBasis`, sampled along Gaussian-process paths.

    A path (`motion_path`) has three coordinates, row, column and angle, which begin equally strong where the angle counts in the pixels
    that it moves the farthest corner. It is scaled as a whole so that shift and angle reach as far as the smaller half of the kernel,
    then shrunk in steps of 3 % until no patch loses light over the edge of its kernel. Each point is shared linearly by the poses around.

    Args:
        basis: a `MotionBasis` whose shifts are all pairs of some rows and some columns, such as `MotionBasis.default`, pose zero within.
        n: number of shakes.
        rotation: strength of the rotation beside the shifts, >= 0; 0 gives equal kernels in all patches.
        generator: `torch.Generator` on the CPU; the same state gives the same shakes. None uses torch's default one.

    Returns:
        float32 [n, P], >= 0, each of sum one; `basis.kernels` of them are the kernels of the patches.

    Raises:
        ValueError, TypeError: naming the argument; a basis whose shifts are no such pairs, or where no shake fits the kernels.

    >>> import torch, svconv
    >>> grid = svconv.EFFGrid((64, 96), (2, 3))
    >>> basis = svconv.MotionBasis.default(grid, 9)
    >>> mu = motion_poses(basis, 2, generator=torch.Generator().manual_seed(0))
    >>> mu.shape, bool(torch.allclose(basis.kernels(mu).sum((2, 3)), torch.ones(2, 6)))
    (torch.Size([2, 729]), True)
    """
    if not isinstance(basis, MotionBasis):
        raise TypeError(f"basis: expected a MotionBasis, got {type(basis).__name__}")
    n, rotation = number("n", n, least=0, integer=True), number("rotation", rotation, least=0)
    axes, order = _lattice(basis)
    path = motion_path(n, points=_POINTS, coordinates=3, generator=generator).double()
    path = path - path.mean(2, keepdim=True)
    path[:, 2] *= rotation
    room = (min(basis.kernel_size) - 1) // 2
    path = path * (room / path.abs().amax((1, 2), keepdim=True).clamp_min(1e-12))
    path[:, 2] /= max(corner_distance(basis.grid.image_size), 0.5)
    found = path.new_zeros(n, basis.poses)
    for _ in range(_TRIES):
        found[:, order] = _spread(path, axes)
        spilt = (1 - basis.kernels(found).sum((2, 3))).amax(1) > 1e-9
        if not bool(spilt.any()):
            return found.float()
        path = torch.where(spilt[:, None, None], path * _SHRINK, path)
    raise ValueError(f"basis: expected poses about zero that stay inside of the kernels, got {basis!r}")


def _lattice(basis):
    """((angles, rows, columns), each sorted; int64 [P]: the pose at each place of their product)."""
    axes = [torch.unique(t) for t in (basis.angles, *basis.shifts.T)]
    places = [torch.searchsorted(axis, t) for axis, t in zip(axes, (basis.angles, *basis.shifts.T.contiguous()))]
    cell = (places[0][:, None] * len(axes[1]) + places[1]) * len(axes[2]) + places[2]
    if len(torch.unique(cell)) != cell.numel() or cell.numel() != len(axes[0]) * len(axes[1]) * len(axes[2]):
        raise ValueError("basis: expected shifts that are all pairs of some rows and some columns, and angles, each once, "
                         f"got {basis!r}")
    return axes, cell.flatten().argsort()


def _spread(path, axes):
    """[n, P]: the points of paths [n, (row, column, angle), points] shared linearly along each axis; beyond an axis its end counts."""
    n, _, points = path.shape
    index, weight = torch.zeros(n, points, 1, dtype=torch.long), path.new_full((n, points, 1), 1 / points)
    for axis, t in zip(axes, (path[:, 2], path[:, 0], path[:, 1])):
        upper = torch.searchsorted(axis, t.contiguous()).clamp(1, max(len(axis) - 1, 1))
        ends = torch.stack([upper - 1, upper.clamp_max(len(axis) - 1)], -1)
        low, high = axis[ends].unbind(-1)
        part = torch.where(high > low, (t - low) / torch.where(high > low, high - low, 1.0), 0.0).clamp(0, 1)
        index = (index[..., None] * len(axis) + ends[:, :, None]).flatten(2)
        weight = (weight[..., None] * torch.stack([1 - part, part], -1)[:, :, None]).flatten(2)
    return path.new_zeros(n, len(axes[0]) * len(axes[1]) * len(axes[2])).scatter_add_(1, index.flatten(1), weight.flatten(1))
