"""Blur estimated at edges and carried to all pixels: matting Laplacian against its matrix, domain transform against its recursion."""
import math

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch

from scenes import picture
from svconv.data import domain_transform, edge_map, estimate_blur, interpolated_map, matting_laplacian, nearest_radius, propagate_blur

F64 = torch.float64


def colours(height, width, channels=3, batch=1, dtype=F64):
    return torch.rand(batch, channels, height, width, dtype=dtype, generator=torch.Generator().manual_seed(0))


def laplacian_matrix(image, eps):
    """Window by window, as the formula stands. image [C, H, W]."""
    channels, height, width = image.shape
    matrix = np.zeros((height * width, height * width))
    for top in range(height - 2):
        for left in range(width - 2):
            pixels = [(top + i) * width + left + j for i in range(3) for j in range(3)]
            c = image[:, top:top + 3, left:left + 3].reshape(channels, 9).T
            centred = c - c.mean(0)
            inverse = np.linalg.inv(centred.T @ centred / 9 + eps / 9 * np.eye(channels))
            matrix[np.ix_(pixels, pixels)] += np.eye(9) - (1 + centred @ inverse @ centred.T) / 9
    return matrix


@pytest.mark.parametrize("channels, height, width, eps", [(3, 7, 9, 1e-7), (1, 6, 5, 1e-4), (3, 3, 3, 1e-2), (1, 3, 8, 1e-7)])
def test_the_laplacian_is_its_matrix(channels, height, width, eps):
    image = colours(height, width, channels)
    matrix, L = laplacian_matrix(image[0].numpy(), eps), matting_laplacian(image, eps=eps)
    p = torch.randn(1, 1, height, width, dtype=F64)
    np.testing.assert_allclose(L(p).flatten(), matrix @ p.flatten().numpy(), atol=1e-9)
    np.testing.assert_allclose(L.diagonal.flatten(), np.diag(matrix), atol=1e-9)
    assert float((L(p) * p).sum()) > 0 and np.allclose(matrix, matrix.T, atol=1e-9)


def test_a_batch_is_its_samples_and_flat_photographs_have_a_laplacian():
    image, p = colours(6, 7, batch=2), torch.randn(2, 1, 6, 7, dtype=F64)
    both = matting_laplacian(image)(p)
    for i in range(2):
        torch.testing.assert_close(both[i:i + 1], matting_laplacian(image[i:i + 1])(p[i:i + 1]))
    flat = matting_laplacian(torch.full((1, 3, 6, 7), 0.5))
    assert flat(p[:1].float()).dtype == torch.float32 and bool(torch.isfinite(flat(p[:1].float())).all())


@pytest.mark.parametrize("weights", ["edges", "radius"])
def test_propagation_is_the_direct_sparse_solve(weights):
    image = picture(20, 24, channels=3, dtype=F64)
    generator = torch.Generator().manual_seed(1)
    known = (torch.rand(1, 1, 20, 24, generator=generator, dtype=F64) < 0.2).double()
    values = 1 + 5 * torch.rand(1, 1, 20, 24, generator=generator, dtype=F64)
    eps, lam = 1e-3, 1e-3
    found = matting_laplacian(image, eps=eps).propagate(values, known, strength=lam, weights=weights, tol=1e-10, max_iter=20000)
    assert bool(found.converged.all())
    d = (known * values).flatten().numpy()
    pull = known.flatten().numpy() * (d if weights == "radius" else 1)
    matrix = scipy.sparse.csc_matrix(lam * np.diag(pull) + laplacian_matrix(image[0].numpy(), eps))
    direct = scipy.sparse.linalg.spsolve(matrix, lam * pull * d)
    np.testing.assert_allclose(found.x.flatten(), direct, rtol=0, atol=1e-6 * abs(direct).max())


@pytest.mark.parametrize("weights, most", [("edges", 0.06), ("radius", 0.06)])
def test_coarse_to_fine_comes_near_to_the_direct_solve(weights, most):
    image = picture(60, 70, channels=3, dtype=F64) + 0.05 * colours(60, 70)
    known = (torch.rand(1, 1, 60, 70, generator=torch.Generator().manual_seed(1), dtype=F64) < 0.05).double()
    values = 1 + 4 * image[:, :1] * known
    d, lam = (known * values).flatten().numpy(), 1e-3
    pull = lam * known.flatten().numpy() * (d if weights == "radius" else 1)
    matrix = scipy.sparse.csc_matrix(laplacian_matrix(image[0].numpy(), 1e-7)) + scipy.sparse.diags(pull).tocsc()
    direct = scipy.sparse.linalg.spsolve(matrix.tocsc(), pull * d)
    found = propagate_blur(values, known, image, method="matting", weights=weights)
    assert abs(found.flatten().numpy() - direct.clip(0)).mean() < most


def recursion(x, guide, sigma_s, sigma_r, iterations):
    """As Gastal and Oliveira state it, pixel by pixel. x [C, H, W], guide [G, H, W]."""
    x = x.copy()
    for i in range(1, iterations + 1):
        sigma = sigma_s * math.sqrt(3) * 2 ** (iterations - i) / math.sqrt(4**iterations - 1)
        a = math.exp(-math.sqrt(2) / sigma)
        for _ in range(2):
            d = 1 + sigma_s / sigma_r * abs(np.diff(guide, axis=2)).sum(0)
            for n in range(1, x.shape[2]):
                v = a ** d[:, n - 1]
                x[..., n] += v * (x[..., n - 1] - x[..., n])
            for n in range(x.shape[2] - 2, -1, -1):
                v = a ** d[:, n]
                x[..., n] += v * (x[..., n + 1] - x[..., n])
            x, guide = x.transpose(0, 2, 1), guide.transpose(0, 2, 1)
    return x


@pytest.mark.parametrize("height, width", [(9, 13), (1, 17), (16, 1), (1, 1), (2, 33)])
@pytest.mark.parametrize("channels, guides", [(1, 3), (3, 1), (2, 2)])
def test_the_domain_transform_is_its_recursion(height, width, channels, guides):
    x, guide = colours(height, width, channels), colours(height, width, guides)
    for options in ({"sigma_s": 5, "sigma_r": 0.5, "iterations": 3}, {"sigma_s": 40, "sigma_r": 4, "iterations": 5}):
        found = domain_transform(x, guide, **options)
        np.testing.assert_allclose(found[0], recursion(x[0].numpy(), guide[0].numpy(), **options), atol=1e-12)


def test_the_domain_transform_keeps_constants_guides_itself_and_has_gradients():
    x, guide = colours(8, 9), colours(8, 9)
    torch.testing.assert_close(domain_transform(torch.full_like(x, 3), guide, sigma_s=9, sigma_r=1), torch.full_like(x, 3))
    torch.testing.assert_close(domain_transform(x, sigma_s=9, sigma_r=1), domain_transform(x, x, sigma_s=9, sigma_r=1))
    x, guide = colours(3, 5, 1).requires_grad_(), colours(3, 5, 1).add(torch.arange(5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: domain_transform(a, b, sigma_s=3, sigma_r=1, iterations=2), (x, guide))


@pytest.mark.parametrize("sigma", [0.8, 1.5, 2.5])
def test_the_blur_of_a_step_is_found(sigma):
    t = torch.arange(64, dtype=F64) - 32
    x = (0.5 + 0.5 * torch.erf(t / sigma / math.sqrt(2))).expand(1, 3, 64, 64).clone()
    for image in (x, x.transpose(2, 3).contiguous(), 0.2 + 0.3 * x):
        radius, edges = estimate_blur(image)
        found = radius[..., 8:-8, 8:-8][edges[..., 8:-8, 8:-8] > 0]
        assert len(found) >= 48 and bool((radius[edges == 0] == 0).all())
        assert abs(float(found.median()) - 2 * sigma) < 0.1, (sigma, float(found.median()))


def test_nothing_to_find_is_zero_and_what_cannot_be_told_is_clipped():
    radius, edges = estimate_blur(torch.full((1, 3, 16, 16), 0.3))
    assert float(radius.abs().max()) == 0 == float(edges.abs().max())
    everywhere = torch.ones(1, 1, 16, 16)
    radius, _ = estimate_blur(torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)), edges=everywhere, most=3)
    assert bool(torch.isfinite(radius).all()) and 0 <= float(radius.min()) and float(radius.max()) <= 6


@pytest.mark.parametrize("method", ["matting", "domain"])
def test_a_map_comes_back_from_its_edges(method):
    image = 0.3 * torch.rand(1, 3, 18, 24, generator=torch.Generator().manual_seed(0)).repeat_interleave(4, 2).repeat_interleave(4, 3)
    image[..., 48:] += 0.6      # a dark and a bright thing, both with edges inside
    truth = torch.full((1, 1, 72, 96), 1.5)
    truth[..., 48:] = 4
    found = interpolated_map(truth, image, method=method)
    assert found.shape == truth.shape and torch.equal(found, nearest_radius(found))
    assert float((found - truth).abs().mean()) < 0.3 and float((found - truth).abs().median()) < 0.3
    assert float(propagate_blur(truth, torch.zeros_like(truth), image, method=method).abs().max()) == 0


def test_edges_are_those_of_grey_values():
    image = picture(40, 50, channels=3)
    edges = edge_map(image)
    assert edges.shape == (1, 1, 40, 50) and set(edges.unique().tolist()) == {0.0, 1.0}
    grey = 0.299 * image[:, :1] + 0.587 * image[:, 1:2] + 0.114 * image[:, 2:]
    assert torch.equal(edges, edge_map(grey))


IMAGE, MAP = torch.rand(1, 3, 8, 8), torch.ones(1, 1, 8, 8)


@pytest.mark.parametrize("call, match", [
    (lambda: matting_laplacian(IMAGE[:, :2]), "image: expected"), (lambda: matting_laplacian(IMAGE[..., :2]), "image: expected"),
    (lambda: matting_laplacian(IMAGE, eps=0), "eps"), (lambda: matting_laplacian(IMAGE[0]), "image"),
    (lambda: matting_laplacian(IMAGE).propagate(MAP[..., :4], MAP), "values: expected"),
    (lambda: matting_laplacian(IMAGE).propagate(MAP, MAP[..., :4]), "known: expected"),
    (lambda: matting_laplacian(IMAGE).propagate(MAP, MAP, weights="none"), "weights: expected"),
    (lambda: matting_laplacian(IMAGE).propagate(-MAP, MAP, weights="radius"), "values: expected none below 0"),
    (lambda: matting_laplacian(IMAGE).propagate(MAP, MAP, strength=0), "strength"),
    (lambda: domain_transform(IMAGE, IMAGE[..., :4], sigma_s=1, sigma_r=1), "guide"),
    (lambda: domain_transform(IMAGE, sigma_s=0, sigma_r=1), "sigma_s"), (lambda: domain_transform(IMAGE, sigma_s=1, sigma_r=-1), "sigma_r"),
    (lambda: domain_transform(IMAGE, sigma_s=1, sigma_r=1, iterations=0), "iterations"),
    (lambda: estimate_blur(IMAGE, sigma1=2, sigma2=1), "sigma2: expected more than sigma1"),
    (lambda: estimate_blur(IMAGE, edges=MAP[..., :3]), "edges: expected"), (lambda: estimate_blur(IMAGE[:, :2]), "image: expected"),
    (lambda: edge_map(IMAGE, sigma=0), "sigma"), (lambda: propagate_blur(MAP, MAP, IMAGE, method="none"), "method: expected"),
    (lambda: propagate_blur(MAP[..., :3], MAP, IMAGE), "radius: expected"), (lambda: propagate_blur(MAP, MAP[..., :3], IMAGE), "edges")])
def test_errors(call, match):
    with pytest.raises(ValueError, match=match):
        call()
