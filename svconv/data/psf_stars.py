"""PSFs measured on stars or beads: stamps cut from an image, and a grid of PSFs that change smoothly over the field."""
from typing import NamedTuple

import torch
from torch.nn import functional

from svconv._shapes import number

SIGMAS = 8.0            # of the noise, that a star stands out of its sky
NEIGHBOUR = 0.05        # of a star's light: a neighbour so bright within half a stamp and nearer than a quarter disqualifies it
ROUNDS, CLIP = 4, 4.0   # of the fit; deviations from which a pixel of a stamp no longer counts
_CENTRING = 6           # rounds


class Stars(NamedTuple):
    """Stamps of single stars.

    Attributes:
        stamps: [N, k, k], sky taken off, centred on the middle pixel, light 1.
        weights: [N, k, k], 0 where a neighbour is nearer or the image has no value, else the square of the light over that of the
            brightest: the inverse variance of a stamp in the noise of the sky.
        positions: [N, 2], the stars' centres (row, column) in the image.
        light: [N], in the image's own values.
    """

    stamps: torch.Tensor
    weights: torch.Tensor
    positions: torch.Tensor
    light: torch.Tensor


def star_stamps(image, positions=None, *, size=25, saturation=None, sigmas=SIGMAS):
    """Stamps of the stars of an image: sky taken off, centred to a fraction of a pixel, neighbours masked, light 1.

    A star is a local maximum of the image smoothed by 3 x 3 pixels that stands out of the sky by `sigmas` times its noise (both from
    medians), without a plateau (saturated), without a neighbour of a twentieth of its brightness nearer than a quarter of a stamp, and
    a whole stamp from the border. The sky of a stamp is the median of its outermost ring. The centre is that of the light weighted by
    a Gaussian, found in six rounds; the stamp is moved there by bicubic interpolation. Pixels nearer to another star do not count.

    Args:
        image: [H, W], floating; NaN and infinite pixels do not count.
        positions: [N, 2] (row, column) of the stars, or of beads; None finds them.
        size: side of a stamp in pixels, odd, at least 7.
        saturation: the value from which pixels are saturated; None: the largest value, where it stands in several neighbouring pixels.

    Returns:
        `Stars`, brightest first, float64.

    Raises:
        ValueError, TypeError: naming the argument; no star that serves is a ValueError.

    >>> sky = torch.zeros(64, 64, dtype=torch.float64); sky[20, 20], sky[40, 45] = 1.0, 0.5
    >>> import svconv
    >>> image = svconv.conv(sky[None, None], svconv.data.named_kernel("gaussian:1.5")[None])[0, 0]
    >>> star_stamps(image, size=13).positions.round().tolist()
    [[20.0, 20.0], [40.0, 45.0]]
    """
    if image.dim() != 2 or not torch.is_floating_point(image):
        raise TypeError(f"image: expected a floating tensor [H, W], got {image.dtype} {list(image.shape)}")
    size = number("size", size, least=7, integer=True)
    if size % 2 == 0 or size > min(image.shape):
        raise ValueError(f"size: expected an odd number of pixels within the image of {list(image.shape)}, got {size}")
    sigmas = number("sigmas", sigmas, above=0)
    image = image.detach().double()
    good = torch.isfinite(image)
    if not bool(good.any()):
        raise ValueError("image: expected finite pixels")
    sky = image[good].median()
    noise = 1.4826 * float((image[good] - sky).abs().median())
    filled = torch.where(good, image, sky)
    found = _maxima(filled, sky, sigmas * noise / 3)
    wanted = found if positions is None else _given(positions, image)
    stars = [s for at in wanted.tolist() if (s := _stamp(filled, good, at, found, size, saturation, positions is None)) is not None]
    if not stars:
        raise ValueError(f"image: expected at least one single star that is not saturated, {size // 2 + 1} pixels from the border")
    parts = [torch.stack(part) for part in zip(*stars)]
    order = parts[3].argsort(descending=True)
    stamps, seen, centres, light = (part[order] for part in parts)
    return Stars(stamps, seen * (light / light[0]).square()[:, None, None], centres, light)


def _maxima(image, sky, least):
    """[N, 2]: the local maxima of the smoothed image above the sky."""
    smooth = functional.avg_pool2d(functional.pad(image[None, None], (1,) * 4, mode="replicate"), 3, 1)
    peak = (smooth == functional.max_pool2d(smooth, 5, 1, 2)) & (smooth > sky + max(float(least), 1e-12))
    return peak[0, 0].nonzero().double()


def _given(positions, image):
    positions = torch.as_tensor(positions, dtype=torch.float64)
    if positions.dim() != 2 or positions.shape[1] != 2 or not bool(torch.isfinite(positions).all()):
        raise ValueError(f"positions: expected finite numbers [N, 2] (row, column), got {list(positions.shape)}")
    inside = (positions >= 0).all(1) & (positions <= torch.tensor(image.shape) - 1).all(1)
    if not bool(inside.all()):
        raise ValueError(f"positions: expected places in the image of {list(image.shape)}, got {positions[~inside][0].tolist()}")
    return positions


def _stamp(image, good, at, found, size, saturation, choose):
    """(stamp, weights, centre, light) or None where the place does not serve."""
    at = torch.tensor(at)
    near = found[_between((found - at).square().sum(1).sqrt(), size)]
    if (centre := _centred(image, good, at, near, size)) is None:
        return None
    stamp, seen = _cut(image, good, centre, size)
    if stamp is None or _saturated(image, centre, stamp, saturation):
        return None
    sky = _sky(stamp, seen)
    if choose and _disturbed(image, centre, near - centre, sky, stamp.max(), size):
        return None
    seen = seen & _nearest(near - centre, size)
    light = ((stamp - sky) * seen).sum()
    return ((stamp - sky) / light, seen.double(), centre, light) if float(light) > 0 else None


def _offsets(size):
    half = size // 2
    return torch.meshgrid(*(torch.arange(-half, half + 1, dtype=torch.float64),) * 2, indexing="ij")


def _between(distance, size):
    """Neighbours: not the star itself, and not beyond its stamp."""
    return (distance > 2) & (distance < size)


def _nearest(others, size):
    """bool [k, k]: the pixels of a stamp that are nearer to its middle than to any of the others."""
    (rows, columns), mine = _offsets(size), torch.ones(size, size, dtype=torch.bool)
    for down, right in others.tolist():
        mine &= rows**2 + columns**2 < (rows - down) ** 2 + (columns - right) ** 2
    return mine


def _centred(image, good, at, near, size):
    """The centre of the light near a place, or None where there is no star."""
    centre, (rows, columns), half = at, _offsets(size), size // 2
    window = torch.exp(-(rows**2 + columns**2) / (2 * (size / 6) ** 2))
    for _ in range(_CENTRING):
        stamp, seen = _cut(image, good, centre, size)
        if stamp is None or not bool(seen[half - 1:half + 2, half - 1:half + 2].all()):
            return None
        weight = window * (stamp - _sky(stamp, seen)).clamp_min(0) * (seen & _nearest(near - centre, size))
        if not float(weight.sum()) > 0:
            return None
        moved = torch.stack([(weight * rows).sum(), (weight * columns).sum()]) / weight.sum()
        centre = centre + 1.5 * moved       # the window lets two thirds of the way be seen
        if bool((centre - at).abs().max() > size / 4):
            return None
    return centre


def _saturated(image, centre, stamp, saturation):
    """Whether values reach the saturation, or, where that is not known, the largest one stands in several pixels about the centre."""
    if saturation is not None:
        return bool(stamp.max() >= saturation)
    row, column = (round(float(c)) for c in centre)
    part = image[row - 2:row + 3, column - 2:column + 3]
    return int((part == part.max()).sum()) > 2


def _cut(image, good, centre, size):
    """(stamp [k, k] about a centre between pixels, which of its pixels have values), or (None, None) at the border."""
    half, place = size // 2, [round(float(c)) for c in centre]
    if any(not half + 2 <= p < n - half - 2 for p, n in zip(place, image.shape)):
        return None, None
    part = tuple(slice(p - half - 2, p + half + 3) for p in place)
    down, right = (float(c) - p for c, p in zip(centre, place))
    at = torch.arange(-half, half + 1, dtype=torch.float64) / (half + 2)
    grid = torch.stack(torch.meshgrid(at + down / (half + 2), at + right / (half + 2), indexing="ij")[::-1], -1)[None]
    stamp = functional.grid_sample(image[part][None, None], grid, mode="bicubic", padding_mode="border", align_corners=True)[0, 0]
    seen = functional.max_pool2d((~good[part]).double()[None, None], 3, 1, 1)[0, 0, 2:-2, 2:-2] == 0
    return stamp, seen


def _sky(stamp, seen):
    """The median of the outermost ring."""
    ring = torch.ones_like(seen)
    ring[1:-1, 1:-1] = False
    values = stamp[ring & seen]
    return values.median() if len(values) else stamp.min()


def _disturbed(image, centre, near, sky, top, size):
    """Whether another star is too near and too bright."""
    close = near[near.square().sum(1).sqrt() < size / 4]
    places = (close + centre).round().long()
    return any(float(image[row, column] - sky) > NEIGHBOUR * float(top - sky) for row, column in places.tolist()
               if 0 <= row < image.shape[0] and 0 <= column < image.shape[1])


def psf_grid(stamps, positions, grid, *, image_size, weights=None, order=2):
    """PSFs for the patches of a grid, from stamps at places of the image: every pixel of the PSF is a polynomial of the place.

        PSF(r, c) = sum over i + j <= order of  a_ij u^i v^j,    u, v in -1..1 over the image

    by least squares over the stamps, in four rounds that leave out pixels of a stamp beyond four deviations, at the middle of each patch;
    negative weights become 0, the sum 1. Where there are fewer than three stamps for each term, the order is lowered.

    Args:
        stamps: [N, k, k], as `star_stamps` makes them. positions: [N, 2] (row, column).
        grid: (rows, columns) of the patches. image_size: (H, W).
        weights: [N, k, k], inverse variances, 0 where a pixel does not count; None: all alike.
        order: of the polynomial, 0 for one PSF everywhere, at most 5.

    Returns:
        float64 [rows, columns, k, k], each of sum 1, centre k // 2; `svconv.EFFBlur` and `svconv deblur --psf-grid` take it.

    Raises:
        ValueError, TypeError: naming the argument.

    >>> stamps, places = torch.rand(40, 9, 9), 100 * torch.rand(40, 2)
    >>> psf_grid(stamps, places, (2, 3), image_size=(100, 100), order=1).shape
    torch.Size([2, 3, 9, 9])
    """
    stamps, positions, weights = _checked(stamps, positions, weights)
    rows, columns = (number("grid", n, least=1, integer=True) for n in grid)
    height, width = (number("image_size", n, least=1, integer=True) for n in image_size)
    order = number("order", order, least=0, most=5, integer=True)
    while order and len(stamps) < 3 * (order + 1) * (order + 2) // 2:
        order -= 1
    scale = torch.tensor([max(height - 1, 1), max(width - 1, 1)], dtype=torch.float64)
    terms = _terms(2 * positions / scale - 1, order)
    values, given = stamps.flatten(1), weights.flatten(1)
    used = given
    for _ in range(ROUNDS):
        found = _least_squares(terms, values, used)
        off = (values - terms @ found).abs() * given.sqrt()
        spread = 1.2533 * off.mul(used > 0).sum(0) / (used > 0).sum(0).clamp_min(1)
        used = given * (off <= CLIP * spread.clamp_min(1e-12))
    middles = [(torch.arange(n, dtype=torch.float64) + 0.5) / n * s for n, s in zip((rows, columns), scale)]
    places = torch.cartesian_prod(*middles)
    psfs = (_terms(2 * places / scale - 1, order) @ found).clamp_min(0).reshape(rows, columns, *stamps.shape[1:])
    sums = psfs.sum((-2, -1), keepdim=True)
    if not bool((sums > 0).all()):
        raise ValueError("stamps: expected light in them, a patch of the grid has none")
    return psfs / sums


def _checked(stamps, positions, weights):
    stamps = torch.as_tensor(stamps).detach().double()
    if stamps.dim() != 3 or not len(stamps) or not bool(torch.isfinite(stamps).all()):
        raise ValueError(f"stamps: expected finite values [N, k, k] of at least one, got {list(stamps.shape)}")
    positions = torch.as_tensor(positions).detach().double()
    if tuple(positions.shape) != (len(stamps), 2) or not bool(torch.isfinite(positions).all()):
        raise ValueError(f"positions: expected [{len(stamps)}, 2], got {list(positions.shape)}")
    weights = torch.ones_like(stamps) if weights is None else torch.as_tensor(weights).detach().double()
    if weights.shape != stamps.shape or not bool((weights >= 0).all()):
        raise ValueError(f"weights: expected values >= 0 {list(stamps.shape)}, got {list(weights.shape)}")
    return stamps, positions, weights


def _terms(place, order):
    """[N, terms]: the products of powers of two coordinates up to an order."""
    u, v = place.T
    return torch.stack([u**i * v**j for i in range(order + 1) for j in range(order + 1 - i)], 1)


def _least_squares(terms, values, weights):
    """[terms, pixels]: the coefficients of every pixel with weights of its own; where nothing counts, 0."""
    normal = torch.einsum("nt,np,ns->pts", terms, weights, terms)
    ridge = 1e-9 * normal.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-30)
    normal = normal + ridge[:, None, None] * torch.eye(terms.shape[1], dtype=terms.dtype)
    right = torch.einsum("nt,np->pt", terms, weights * values)
    return torch.linalg.solve(normal, right[..., None])[..., 0].T
