"""MotionBasis: poses moved by hand, transposes, gradients, the projection, errors."""
import copy
import math
import pickle

import numpy as np
import pytest
import torch

import svconv
from svconv import EFFGrid, MotionBasis

DOUBLE = torch.float64
SHIFTS = [[0, 0], [0, 1], [-1.25, 0.5], [2, -2], [0.3, 40.0]]
ANGLES = [-0.06, 0.0, 0.011]


def example(size=(7, 6), image=(40, 31), grid=(3, 2)):
    return MotionBasis(EFFGrid(image, grid, overlap=0.4), size, shifts=SHIFTS, angles=ANGLES)


def moved_by_hand(basis, r, p):
    """The impulse of pose p at patch r: the centre of the patch is turned about the centre of the image, then shifted."""
    (h, w), (kh, kw), (s_count, (row, column)) = basis.grid.image_size, basis.kernel_size, (len(SHIFTS), basis.grid.centers[r].tolist())
    angle, shift = ANGLES[p // s_count], SHIFTS[p % s_count]
    dy, dx = row - (h - 1) / 2, column - (w - 1) / 2
    to = (math.cos(angle) * dy - math.sin(angle) * dx + (h - 1) / 2 + shift[0], math.sin(angle) * dy + math.cos(angle) * dx + (w - 1) / 2
          + shift[1])
    at = to[0] - row + kh // 2, to[1] - column + kw // 2
    kernel = np.zeros((kh, kw))
    for i in range(kh):
        for j in range(kw):
            kernel[i, j] = max(0.0, 1 - abs(i - at[0])) * max(0.0, 1 - abs(j - at[1]))
    return kernel


@pytest.mark.parametrize("size", [(7, 6), (2, 9), (1, 1), (12, 12)])
def test_a_pose_moves_the_centre_of_every_patch(size):
    basis = example(size)
    assert basis.poses == 15 and basis.shape == (6, *size) and basis.displacements.shape == (6, 15, 2)
    kernels = basis.kernels(torch.eye(15, dtype=DOUBLE))
    for p in range(15):
        for r in range(6):
            np.testing.assert_allclose(kernels[p, r], moved_by_hand(basis, r, p), atol=1e-12)


def test_the_motion_is_that_of_a_point_in_a_blurred_image():
    """A point at the centre of a patch that alone covers it lands where the pose moves it, brightness shared by four pixels."""
    grid = EFFGrid((33, 33), (1, 1))
    basis = MotionBasis(grid, 11, shifts=[[1.25, -3]], angles=[0.0])
    x = torch.zeros(1, 1, 33, 33, dtype=DOUBLE)
    x[..., 16, 16] = 1
    y = svconv.eff_conv(x, basis.kernels(torch.ones(1, 1, dtype=DOUBLE)), grid)
    expected = torch.zeros(33, 33, dtype=DOUBLE)
    expected[17, 13], expected[18, 13] = 0.75, 0.25
    torch.testing.assert_close(y[0, 0], expected, atol=1e-13, rtol=0)


def test_backprojection_is_the_transpose():
    basis = example()
    mu, k = torch.randn(3, 15, dtype=DOUBLE), torch.randn(3, 6, 7, 6, dtype=DOUBLE)
    left, right = (basis.kernels(mu) * k).sum((1, 2, 3)), (mu * basis.backproject(k)).sum(1)
    assert float((left - right).abs().max()) < 1e-12
    dense = basis.kernels(torch.eye(15, dtype=DOUBLE)).flatten(1)
    torch.testing.assert_close(basis.backproject(k), k.flatten(1) @ dense.T, atol=1e-12, rtol=0)


def test_gradients():
    basis = example((3, 4), (9, 8), (2, 2))
    mu, k = torch.randn(2, 15, dtype=DOUBLE, requires_grad=True), torch.rand(2, 4, 3, 4, dtype=DOUBLE, requires_grad=True)
    for function, t in ((basis.kernels, mu), (basis.backproject, k), (lambda k: basis.project(k, 0.4), k), (basis.project, k),
                        (lambda k: basis.project(k, 0.4, fit_steps=2), k)):
        assert torch.autograd.gradcheck(function, t, check_forward_ad=True, check_batched_grad=True)
        assert torch.autograd.gradgradcheck(function, t)
    many = torch.randn(5, 2, 15, dtype=DOUBLE)
    torch.testing.assert_close(torch.vmap(basis.kernels)(many), torch.stack([basis.kernels(one) for one in many]))
    jacobian = torch.func.jacrev(basis.kernels)(mu.detach()[:1])
    torch.testing.assert_close(jacobian[0, ..., 0, :].movedim(-1, 0), basis.kernels(torch.eye(15, dtype=DOUBLE)))


@pytest.mark.parametrize("eta,kept", [(1.0, 15), (0.0314, 1), (0.1, 2), (0.5, 8), (1e-9, 1)])
def test_projection_keeps_the_largest_weights(eta, kept):
    basis = example()
    k = basis.kernels(torch.rand(2, 15, dtype=DOUBLE, generator=torch.Generator().manual_seed(3)) - 0.1)
    mu = basis.backproject(k).clamp(min=0).numpy()
    for sample in mu:
        sample[np.argsort(-sample, kind="stable")[kept:]] = 0
    mu /= mu.sum(1, keepdims=True)
    weights = basis.pose_weights(k, eta)
    np.testing.assert_allclose(weights, mu, atol=1e-14)
    torch.testing.assert_close(basis.project(k, eta), basis.kernels(torch.as_tensor(mu)))


def test_the_fit_goes_to_the_least_squares_with_weights_that_are_not_negative():
    from scipy.optimize import nnls

    basis = example()
    generator = torch.Generator().manual_seed(5)
    k = basis.kernels(torch.rand(1, 15, dtype=DOUBLE, generator=generator))
    k = k + 0.02 * torch.rand(k.shape, dtype=DOUBLE, generator=generator)
    dense = basis.kernels(torch.eye(15, dtype=DOUBLE)).flatten(1).T
    best = torch.as_tensor(nnls(dense.numpy(), k.flatten().numpy())[0])
    scale = best.sum()

    def error(steps):
        return float((basis.project(k, fit_steps=steps) * scale - k).norm())

    errors = [error(steps) for steps in (0, 2, 10, 50, 3000)]
    least = float((dense @ best - k.flatten()).norm())
    assert errors == sorted(errors, reverse=True) and errors[2] < 0.7 * errors[0] and errors[-1] < 1.01 * least
    kept = basis.pose_weights(k, 0.2, fit_steps=3000)[0] > 0
    alone = torch.as_tensor(nnls(dense[:, kept].numpy(), k.flatten().numpy())[0])
    assert kept.sum() == 3
    torch.testing.assert_close(basis.pose_weights(k, 0.2, fit_steps=3000)[0, kept], alone / alone.sum(), atol=1e-3, rtol=0)


def test_poses_that_do_not_overlap_need_no_fit():
    basis = MotionBasis(EFFGrid((20, 20), (2, 2)), 5, shifts=[[0, 0], [1, 0], [0, -2]], angles=[0.0])
    k = torch.rand(1, 4, 5, 5, dtype=DOUBLE, generator=torch.Generator().manual_seed(6)) - 0.3
    torch.testing.assert_close(basis.project(k, fit_steps=3), basis.project(k))


def test_projection_of_nothing_is_the_pose_at_rest():
    basis = example()
    k = (-torch.rand(2, 6, 7, 6, dtype=DOUBLE)).requires_grad_()
    projected = basis.project(k, eta=0.1, fit_steps=2)
    rest = torch.zeros(6, 7, 6, dtype=DOUBLE)
    rest[:, 3, 3] = 1
    assert torch.equal(projected[0], rest) and torch.equal(projected[1], rest)
    projected.square().sum().backward()
    assert not k.grad.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_types_and_empty_batches(dtype):
    basis = example()
    mu = torch.rand(2, 15).to(dtype)
    k = basis.kernels(mu)
    assert k.dtype == dtype and torch.equal(k, basis.kernels(mu.float()).to(dtype)) and k.is_contiguous()
    assert basis.backproject(k).dtype == basis.project(k).dtype == dtype
    assert basis.kernels(mu[:0]).shape == (0, 6, 7, 6) and basis.project(k[:0]).shape == (0, 6, 7, 6)


def test_arguments_may_be_tensors_arrays_or_lists():
    grid, mu = EFFGrid((20, 20), (2, 2)), torch.rand(1, 10)
    given = [(np.array(SHIFTS), np.array(ANGLES[:2])), (torch.tensor(SHIFTS), torch.tensor(ANGLES[:2], dtype=DOUBLE)), (SHIFTS, ANGLES[:2])]
    found = [MotionBasis(grid, 5, shifts=shifts, angles=angles).kernels(mu) for shifts, angles in given]
    assert all(torch.allclose(found[0], one) for one in found)
    basis = example()
    basis.kernels(torch.rand(1, 15))
    assert torch.equal(pickle.loads(pickle.dumps(basis)).displacements, copy.deepcopy(basis).displacements)


GRID = EFFGrid((8, 9), (2, 2))


@pytest.mark.parametrize("call,error,match", [
    (lambda: MotionBasis((8, 9), 3, shifts=SHIFTS, angles=ANGLES), TypeError, "grid: expected an EFFGrid, got tuple"),
    (lambda: MotionBasis(GRID, 0, shifts=SHIFTS, angles=ANGLES), ValueError, "kernel_size: expected sides >= 1"),
    (lambda: MotionBasis(GRID, 3, shifts=[1, 2], angles=ANGLES), ValueError, r"shifts: expected \[S, 2\] with S >= 1, got \[2\]"),
    (lambda: MotionBasis(GRID, 3, shifts=SHIFTS, angles=[]), ValueError, r"angles: expected \[A\] with A >= 1, got \[0\]"),
    (lambda: MotionBasis(GRID, 3, shifts=SHIFTS, angles=[math.nan]), ValueError, "angles: expected finite numbers"),
    (lambda: MotionBasis(GRID, 3, shifts="no", angles=ANGLES), TypeError, r"shifts: expected numbers \[S, 2\], got 'no'"),
    (lambda: example().kernels(torch.ones(1, 14)), ValueError, r"mu: expected P of the basis = 15 at axis 1, got \[1, 14\]"),
    (lambda: example().kernels(torch.ones(1, 15).long()), TypeError, "mu: expected dtype float32"),
    (lambda: example().backproject(torch.ones(1, 6, 7, 7)), ValueError, r"k: expected \[B, 6, 7, 6\], got \[1, 6, 7, 7\]"),
    (lambda: example().project(torch.ones(1, 6, 7, 6), 0), ValueError, r"eta: expected a number in \(0, 1\], got 0"),
    (lambda: example().project(torch.ones(1, 6, 7, 6), 1.5), ValueError, r"eta: expected a number in \(0, 1\], got 1.5"),
    (lambda: example().project(torch.ones(1, 6, 7, 6), fit_steps=-1), ValueError, "fit_steps: expected an integer >= 0, got -1"),
])
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize("image, size", [((64, 96), 17), ((31, 30), (5, 8)), ((50, 20), 1), ((1, 2), 3), ((1, 1), 3)])
def test_the_default_basis_moves_the_farthest_corner_by_whole_pixels_within_the_kernel(image, size):
    basis = MotionBasis.default(EFFGrid(image, (1, 1)), size)
    (kh, kw), corner = basis.kernel_size, [(n - 1) / 2 for n in image]
    assert {tuple(s) for s in basis.shifts.int().tolist()} == {(i - kh // 2, j - kw // 2) for i in range(kh) for j in range(kw)}
    n = (min(kh, kw) - 1) // 2 if image != (1, 1) else 0
    assert len(basis.angles) == 2 * n + 1 and basis.angles[n] == 0
    for steps in range(1, n + 1):
        turned = [abs(complex(*corner) * (np.exp(1j * float(basis.angles[n + sign * steps])) - 1)) for sign in (-1, 1)]
        assert turned[0] == pytest.approx(turned[1]) and turned[0] <= steps + 1e-9 and (steps > 1 or turned[0] == pytest.approx(1))
