"""Random camera-shake blur kernels: paths drawn from a Gaussian process, drawn onto a pixel grid."""
import functools
import math

import torch

from svconv._shapes import number

_POINTS = 1000  # points along one path
_LENGTH = 0.3  # correlation length on t in [0, 1]
_SCALE = 0.25  # standard deviation of a coordinate, before the path is fitted to its box


@functools.lru_cache(maxsize=4)
def _path_factor(points):
    """Lower Cholesky factor of the Matern 5/2 covariance: unlike eigenvectors it is unique, so a seed means the same path everywhere."""
    t = torch.linspace(0, 1, points, dtype=torch.float64)
    d = math.sqrt(5) * (t[:, None] - t[None, :]).abs() / _LENGTH
    covariance = _SCALE**2 * (1 + d + d * d / 3) * torch.exp(-d)
    covariance.diagonal().add_(1e-9)  # smooth paths make the matrix nearly singular; this moves a path by 3e-5 of a kernel
    threads = torch.get_num_threads()
    torch.set_num_threads(
        1
    )  # LAPACK rounds differently with several, a nearly singular matrix shows it, and the factor stays for the whole process
    try:
        return torch.linalg.cholesky(covariance)
    finally:
        torch.set_num_threads(threads)


def motion_path(n=1, *, points=_POINTS, coordinates=2, generator=None):
    """Zero-mean Gaussian-process paths over t in [0, 1], of independent coordinates.

    Covariance s^2 (1 + sqrt5 d/l + 5 d^2/(3 l^2)) exp(-sqrt5 d/l), d = |t - t'|, l = 0.3, s = 1/4 (Matern 5/2).

    Args:
        n: number of paths.
        points: equidistant values of t.
        coordinates: 2 for (row, column), 3 for (row, column, angle).
        generator: `torch.Generator` on the CPU; None uses torch's default one.

    Returns:
        float32 [n, coordinates, points], without unit.
    """
    coordinates = number("coordinates", coordinates, least=1, integer=True)
    n, points = number("n", n, least=0, integer=True), number("points", points, least=1, integer=True)
    white = torch.randn(n, coordinates, points, generator=generator, dtype=torch.float32)
    return (white.double() @ _path_factor(points).T).float()   # in float32 some libraries round differently with several threads


def motion_kernel(size, n=1, *, generator=None):
    """Random motion-blur kernels as in "Learning to Deblur" (TPAMI 2016), section on training data.

    A path (`motion_path`) is scaled so that its bounding box measures `size - 2` pixels along its longer side, its centre of mass is
    moved to pixel `size // 2`, every point is spread over its four neighbours by bilinear weights, and the sum is scaled to 1. A path that
    would leave the kernel after centring is shrunk until it fits, so nothing is cut off and the centre of mass is exact.

    Args:
        size: side of the kernel in pixels, >= 1; even sizes are allowed.
        n: number of kernels, >= 0.
        generator: `torch.Generator` on the CPU; the same state gives the same kernels. None uses torch's default generator.

    Returns:
        float32 [n, size, size], non-negative, each with sum 1; a PSF for convolution with centre `size // 2`.

    Raises:
        ValueError: size < 1 or n < 0.

    Example:
        >>> import torch
        >>> k = motion_kernel(17, 3, generator=torch.Generator().manual_seed(0))
        >>> k.shape, bool((k >= 0).all()), [round(float(s), 4) for s in k.sum((1, 2))]
        (torch.Size([3, 17, 17]), True, [1.0, 1.0, 1.0])
    """
    size, n = number("size", size, least=1, integer=True), number("n", n, least=0, integer=True)
    if n == 0:
        return torch.zeros(0, size, size, dtype=torch.float32)
    chunk = 4096  # bounds the memory of one draw to about 100 MB
    if n > chunk:
        return torch.cat([motion_kernel(size, min(chunk, n - i), generator=generator) for i in range(0, n, chunk)])
    path = motion_path(n, generator=generator)
    path = path - path.mean(2, keepdim=True)
    extent = (path.amax(2) - path.amin(2)).amax(1).clamp_min(1e-12)
    reach = path.abs().amax((1, 2)).clamp_min(1e-12)
    room = max(size - 1 - size // 2, 0)  # pixels between the centre and the nearer edge
    scale = torch.minimum(max(size - 3, 0) / extent, room / reach)
    position = (size // 2 + path * scale[:, None, None]).clamp_(0, size - 1)
    return _splat(position, size)


def _splat(position, size):
    """Bilinear sum of the points [n, 2, points] on a size x size grid, scaled to sum 1."""
    n, _, points = position.shape
    low = position.floor().clamp_(max=max(size - 2, 0))
    fraction = position - low
    low = low.long()
    base = torch.arange(n)[:, None] * (size * size)
    kernel = position.new_zeros(n * size * size)
    for dr in (0, 1):
        for dc in (0, 1):
            if size == 1 and (dr or dc):
                continue
            weight = (fraction[:, 0] if dr else 1 - fraction[:, 0]) * (fraction[:, 1] if dc else 1 - fraction[:, 1])
            index = base + (low[:, 0] + dr) * size + low[:, 1] + dc
            kernel.index_add_(0, index.reshape(-1), weight.reshape(-1))
    kernel = kernel.view(n, size, size)
    return kernel / kernel.sum((1, 2), keepdim=True)
