"""Random camera shakes as pose weights: distributions whose kernels lose nothing, rotation, seeds, lattices of any order, errors."""
import pytest
import torch

from svconv import EFFGrid, MotionBasis
from svconv.data import motion_poses
from svconv.data.poses import _lattice, _spread


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("image, grid, size", [
    ((64, 96), (2, 3), 9), ((41, 30), (1, 1), 5), ((50, 50), (3, 2), (7, 12)), ((30, 30), (2, 2), 1)])
def test_weights_are_distributions_and_kernels_lose_no_light(image, grid, size):
    basis = MotionBasis.default(EFFGrid(image, grid), size)
    mu = motion_poses(basis, 5, generator=seeded())
    assert mu.shape == (5, basis.poses) and mu.dtype == torch.float32 and (mu >= 0).all()
    torch.testing.assert_close(mu.sum(1), torch.ones(5))
    torch.testing.assert_close(basis.kernels(mu).sum((2, 3)), torch.ones(5, basis.shape[0]))
    assert motion_poses(basis, 0).shape == (0, basis.poses)


def test_points_are_shared_linearly_by_the_poses_around():
    axes = [torch.tensor([-0.1, 0.0, 0.2], dtype=torch.float64), torch.tensor([-1.0, 1.0], dtype=torch.float64),
            torch.tensor([3.0], dtype=torch.float64)]
    path = torch.tensor([[[0.5, -9.0], [0.0, 5.0], [0.05, 0.2]]], dtype=torch.float64)  # rows, columns, angles of two points
    expected = torch.zeros(3, 2, 1, dtype=torch.float64)
    expected[1, :, 0] = 0.5 * 0.75 * torch.tensor([0.25, 0.75])
    expected[2, :, 0] = 0.5 * 0.25 * torch.tensor([0.25, 0.75])
    expected[2, 0, 0] += 0.5
    torch.testing.assert_close(_spread(path, axes)[0], expected.flatten())


def test_the_order_of_the_poses_does_not_matter():
    grid = EFFGrid((64, 64), (2, 2))
    basis = MotionBasis.default(grid, 7)
    order = torch.randperm(len(basis.shifts), generator=seeded(1))
    turned = MotionBasis(grid, 7, shifts=basis.shifts[order], angles=basis.angles.flip(0))
    _, place = _lattice(turned)
    assert torch.equal(place.sort().values, torch.arange(turned.poses))
    a, b = (basis_.kernels(motion_poses(basis_, generator=seeded(2))) for basis_ in (basis, turned))
    torch.testing.assert_close(a, b)


def test_rotation_makes_the_kernels_differ():
    basis = MotionBasis.default(EFFGrid((120, 90), (3, 3)), 13)
    none, some, much = (basis.kernels(motion_poses(basis, 8, rotation=r, generator=seeded(3))) for r in (0, 1, 3))

    def spread(k):
        return (k[:, 0] - k[:, -1]).abs().sum((1, 2)).mean()

    assert spread(none) < 1e-5 and 0.3 < spread(some)
    assert spread(some) < spread(much)


def test_a_seed_means_the_same_shakes():
    basis = MotionBasis.default(EFFGrid((40, 40), (2, 2)), 9)
    a, b, c = (motion_poses(basis, 2, generator=seeded(s)) for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c) and not torch.equal(a[0], a[1])


def test_bad_input():
    grid = EFFGrid((40, 40), (2, 2))
    basis = MotionBasis.default(grid, 5)
    with pytest.raises(TypeError, match="basis: expected a MotionBasis, got EFFGrid"):
        motion_poses(grid)
    with pytest.raises(ValueError, match="n: "):
        motion_poses(basis, -1)
    with pytest.raises(ValueError, match="rotation: "):
        motion_poses(basis, rotation=-1)
    for shifts, angles in (([[0, 0], [1, 1]], [0.0]), ([[0, 0], [0, 0]], [0.0]), ([[0, 0]], [0.1, 0.1])):
        with pytest.raises(ValueError, match="basis: expected shifts that are all pairs"):
            motion_poses(MotionBasis(grid, 5, shifts=shifts, angles=angles))
    with pytest.raises(ValueError, match="basis: expected poses about zero"):
        motion_poses(MotionBasis(grid, 5, shifts=[[0, 4]], angles=[0.0]))
