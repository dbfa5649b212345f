"""Defocus maps from a photograph: the radius at its edges from two scales, carried to all pixels."""
import math

import numpy as np
import torch
from torch.nn import functional

from svconv._boundary import source_indices
from svconv._shapes import Dims, number, shape_text
from svconv.data.defocus_maps import nearest_radius
from svconv.data.domain_transform import domain_transform
from svconv.data.matting_propagation import matting_propagation

GREY = 0.299, 0.587, 0.114
METHODS = ("matting", "domain")


def _grey(image):
    Dims().check("image", image, "B C H W")
    if image.shape[1] not in (1, 3):
        raise ValueError(f"image: expected [B, 3|1, H, W], got {shape_text(image)}")
    return image if image.shape[1] == 1 else sum(w * image[:, c:c + 1] for c, w in enumerate(GREY))


def edge_map(image, *, sigma=1.0):
    """The edges of photographs by the detector of Canny (scikit-image), on grey values.

    Args:
        image: [B, 3|1, H, W] in 0..1. sigma: of the Gaussian that smooths first, in pixels, > 0.

    Returns:
        [B, 1, H, W], 1 on edges, dtype of the image.

    Raises:
        ImportError: scikit-image is missing (`pip install svconv[train]`).

    >>> x = torch.zeros(1, 1, 16, 16); x[..., 8:] = 1
    >>> edge_map(x)[0, 0, 8].nonzero().flatten().tolist()       # either pixel beside the step
    [7, 8]
    """
    try:
        from skimage.feature import canny
    except ImportError as error:
        raise ImportError("svconv.data.edge_map needs scikit-image (pip install svconv[train])") from error
    sigma, grey = number("sigma", sigma, above=0), _grey(image).detach().cpu().double().numpy()
    edges = np.stack([canny(part[0], sigma=sigma) for part in grey])[:, None]
    return torch.from_numpy(edges).to(image)


def _slope(x, sigma):
    """The size of the gradient of [B, 1, H, W] smoothed by a Gaussian, cut off at 4 sigma; the image goes on symmetrically."""
    reach = max(1, int(4 * sigma + 0.5))
    t = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    taps = torch.exp(-t.square() / (2 * sigma**2))
    taps = taps / taps.sum()
    derivative = t * taps / (t.square() * taps).sum()       # 1 for the slope 1

    def along(x, taps, axis):
        index = torch.from_numpy(source_indices(-reach, x.shape[axis] + reach, x.shape[axis], "symmetric")).to(x.device)
        return functional.conv2d(x.index_select(axis, index), taps.reshape((1, 1, 1, -1) if axis == -1 else (1, 1, -1, 1)))

    across, down = along(along(x, derivative, -1), taps, -2), along(along(x, taps, -1), derivative, -2)
    return (across**2 + down**2).sqrt()


def estimate_blur(image, *, sigma1=1.0, sigma2=1.5, most=5.0, edges=None):
    """The blur at the edges of photographs, from the ratio R of the gradients at two scales: `sigma = sqrt((R^2 s1^2 - s2^2) / (1 - R^2))`.

    A step blurred by a Gaussian of sigma and smoothed by s1 < s2 has a gradient `R = sqrt((sigma^2 + s2^2) / (sigma^2 + s1^2))` times as
    large at the finer scale. A sigma becomes a radius of 2 sigma, of equal variance. Where `R^2 s1^2 >= s2^2` the edge is sharp: 0.

    Args:
        image: [B, 3|1, H, W] in 0..1, float32 or float64; grey values count.
        sigma1, sigma2: the scales in pixels, 0 < sigma1 < sigma2.
        most: the largest sigma.
        edges: [B, 1, H, W], not 0 where to look; None: `edge_map(image)`.

    Returns:
        (radius [B, 1, H, W] in pixels, 0 off the edges; edges [B, 1, H, W]).

    Raises:
        ValueError, TypeError: naming the argument. ImportError as in `edge_map`.

    Zhuo and Sim 2011.

    >>> x = torch.zeros(1, 1, 32, 32, dtype=torch.float64); x[..., 16] = 0.5; x[..., 17:] = 1
    >>> radius, edges = estimate_blur(x)
    >>> bool(radius[edges > 0].max() < 1)
    True
    """
    sigma1, sigma2, most = number("sigma1", sigma1, above=0), number("sigma2", sigma2, above=0), number("most", most, above=0)
    if not sigma1 < sigma2:
        raise ValueError(f"sigma2: expected more than sigma1 = {sigma1}, got {sigma2}")
    grey = _grey(image).double()
    edges = edge_map(image) if edges is None else edges
    if tuple(edges.shape) != tuple(grey.shape):
        raise ValueError(f"edges: expected {shape_text(grey)}, got {shape_text(edges)}")
    fine, coarse = (_slope(grey, sigma) for sigma in (sigma1, sigma2))
    ratio = (fine / coarse.clamp_min(torch.finfo(fine.dtype).tiny)) ** 2
    sharp = ratio * sigma1**2 >= sigma2**2
    # R <= 1: no blur of a step explains it, the blur is beyond what can be told
    squared = torch.where(sharp, 0.0, torch.where(ratio > 1, (sigma2**2 - ratio * sigma1**2) / (ratio - 1).clamp_min(1e-12), math.inf))
    radius = 2 * squared.sqrt().clamp_max(most)
    return torch.where(edges != 0, radius, 0.0).to(image.dtype), edges.to(image.dtype)


def propagate_blur(radius, edges, image, *, method="matting", weights="edges"):
    """Radii that are known at edges carried to every pixel along the photograph's structure.

    "matting": nearly `matting_laplacian(image).propagate(radius, edges, strength=1e-3)`, from coarse to fine. "domain": the recursive
    domain transform of `edges radius` over that of `edges`, sigma_s an eighth of the smaller side and sigma_r 3.75, guided by the
    photograph smoothed by its own transform of sigma_s 7 and sigma_r 0.5; all colours count.

    Args:
        radius: [B, 1, H, W], read where `edges` [B, 1, H, W] is not 0.
        image: [B, 3|1, H, W] in 0..1.
        method: "matting" or "domain". weights: of "matting", "edges" or "radius".

    Returns:
        [B, 1, H, W], dtype of radius, >= 0; 0 everywhere where a photograph has no edge. With sides below 3 pixels "domain" stands for
        both methods.

    Raises:
        ValueError, TypeError: naming the argument.

    >>> x = torch.rand(1, 3, 16, 16)
    >>> known = torch.zeros(1, 1, 16, 16); known[..., ::4, ::4] = 1
    >>> for method in METHODS:
    ...     print(bool((propagate_blur(2 * known, known, x, method=method) - 2).abs().max() < 1e-2))
    True
    True
    """
    Dims().check("radius", radius, "B C H W")
    _grey(image)
    shape = image.shape[0], 1, *image.shape[-2:]
    for name, t in (("radius", radius), ("edges", edges)):
        if tuple(t.shape) != shape:
            raise ValueError(f"{name}: expected {list(shape)}, got {shape_text(t)}")
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    edges = (edges != 0).to(radius.dtype)
    known = torch.where(edges != 0, radius, 0)
    if method == "matting" and min(image.shape[-2:]) >= 3:
        return matting_propagation(known.double(), edges.double(), image, _transformed, weights=weights).clamp_min(0).to(radius.dtype)
    return _transformed(known, edges, image).to(radius.dtype)


def _transformed(known, edges, image):
    guide = domain_transform(image.double(), sigma_s=7, sigma_r=0.5)
    options = {"sigma_s": max(min(image.shape[-2:]) / 8, 1.0), "sigma_r": 3.75}
    spread = domain_transform(torch.cat([known, edges], 1).double(), guide, **options)
    return torch.where(spread[:, 1:] > 0, spread[:, :1] / spread[:, 1:].clamp_min(1e-300), 0)


def interpolated_map(radius, image, *, method="matting", weights="edges", edges=None, radii=None):
    """A true map as an estimator would know it: kept on the edges of the photograph, propagated, set to the nearest of some radii.

    Args:
        radius: true map [B, 1, H, W] in pixels. image: the blurry photograph [B, 3|1, H, W] in 0..1.
        method, weights: as in `propagate_blur`. edges: None: `edge_map(image)`. radii: as in `nearest_radius`.

    Returns:
        [B, 1, H, W], 0 where the propagated radius is at most 0.5.

    SVBR-Net (2023), second phase of the training.
    """
    edges = edge_map(image) if edges is None else edges
    return nearest_radius(propagate_blur(radius, edges, image, method=method, weights=weights), radii)
