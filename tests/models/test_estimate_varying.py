"""Learning to Deblur with a kernel per patch: the uniform estimate, camera motions, degenerate images, errors."""
import pytest
import torch

import svconv
from svconv.data import motion_poses
from svconv.models import LearningToDeblur
from svconv.models.learning_to_deblur.features import differences
from svconv.models.learning_to_deblur.steps import with_sum_one

pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def texture(*shape, seed=0):
    return torch.rand(*shape, generator=seeded(seed))


def small(kernel_sizes=(9,), stages=2, **more):
    torch.manual_seed(0)
    return LearningToDeblur(kernel_sizes, stages, filter_size=5, filters=6, **more).eval()


class Known(torch.nn.Module):
    """A feature module that knows the sharp image: what remains are the steps between the features."""

    def __init__(self, sharp):
        super().__init__()
        self.sharp = differences(sharp)

    def forward(self, blurry, latent=None):
        return self.sharp, differences(blurry)


def with_known_features(sharp, size, **more):
    model = LearningToDeblur((size,), stages=1, **more).to(sharp.dtype).eval()
    model.scales[0]["stages"][0] = Known(sharp)
    return model


def shifts_only(grid, size):
    return svconv.MotionBasis(grid, size, shifts=svconv.MotionBasis.default(grid, size).shifts, angles=[0.0])


def error(kernels, truth):
    return ((kernels - truth).square().sum((2, 3)) / truth.square().sum((2, 3))).median().item()


@torch.no_grad()
def test_one_patch_and_shifts_only_are_the_uniform_estimate():
    """All that is left between the two is that the uniform quotient wraps at the border and that of a patch does not: nothing where the
    image ends in a flat margin and the features are exact."""
    sharp = torch.zeros(1, 1, 72, 81, dtype=torch.float64)
    sharp[..., 16:-16, 16:-16] = texture(40, 49).double()
    kernel = torch.zeros(1, 9, 9, dtype=torch.float64)
    kernel[0, 2, 3:7], kernel[0, 3:6, 6] = 0.1, 0.2
    y = svconv.conv(sharp, kernel[:, None], padding="zeros")
    model, grid = with_known_features(sharp, 9), svconv.EFFGrid((72, 81), (1, 1))
    uniform, varying = model(y), model.estimate_varying(y, grid, basis=shifts_only(grid, 9), eta=1)
    assert (uniform.kernel - kernel).abs().max() < 1e-3
    assert (varying.kernels[:, 0] - uniform.kernel).abs().max() < 1e-3
    assert (varying.latent - uniform.latent).abs().max() < 0.02


@torch.no_grad()
def test_the_trained_network_with_one_patch_is_near_its_uniform_estimate():
    model, grid = LearningToDeblur.from_pretrained().eval(), svconv.EFFGrid((120, 131), (1, 1))
    sharp = torch.nn.functional.interpolate(texture(1, 1, 12, 13), (120, 131), mode="nearest")
    kernel = torch.zeros(1, 1, 17, 17)
    kernel[..., 8, 4:13] = 1 / 9
    y = svconv.conv(sharp, kernel, padding="reflect") + 0.01 * torch.randn(sharp.shape, generator=seeded(1))
    uniform, varying = model(y), model.estimate_varying(y, grid, basis=shifts_only(grid, 17), eta=1)
    assert (varying.kernels[:, 0] - uniform.kernel).norm() < 0.2 * uniform.kernel.norm()


@torch.no_grad()
@pytest.mark.parametrize("eta", [1.0, 0.0314])
def test_projection_lowers_the_error_of_the_kernels_of_a_noisy_shake(eta):
    """Also against the quotients clipped at 0 and scaled to sum one: the patches share one motion, which averages their noise."""
    sharp, grid = texture(1, 1, 96, 120, seed=4), svconv.EFFGrid((96, 120), (3, 4))
    basis = svconv.MotionBasis.default(grid, 9)
    truth = basis.kernels(motion_poses(basis, generator=seeded(4)))
    assert (truth[0, 0] - truth[0, -1]).abs().max() > 0.02  # it does vary
    y = svconv.eff_conv(sharp, truth, grid, padding="reflect") + 0.4 * torch.randn(sharp.shape, generator=seeded(3))
    result = with_known_features(sharp, 9).estimate_varying(y, grid, eta=eta)
    clipped = with_sum_one(result.direct.clamp_min(0))
    assert error(result.kernels, truth) < 0.8 * error(clipped, truth) < 0.8 * error(result.direct, truth)


@torch.no_grad()
@pytest.mark.parametrize("eta", [1.0, 0.1])
def test_the_fit_of_the_poses_undoes_what_the_back_projection_smooths(eta):
    sharp, grid = texture(1, 1, 96, 120, seed=4), svconv.EFFGrid((96, 120), (3, 4))
    basis = svconv.MotionBasis.default(grid, 9)
    truth = basis.kernels(motion_poses(basis, generator=seeded(4)))
    y = svconv.eff_conv(sharp, truth, grid, padding="reflect") + 0.01 * torch.randn(sharp.shape, generator=seeded(3))
    model = with_known_features(sharp, 9)
    smooth, fitted = (model.estimate_varying(y, grid, eta=eta, fit_steps=steps).kernels for steps in (0, 10))
    assert error(fitted, truth) < 0.6 * error(smooth, truth)
    assert torch.equal(model.estimate_varying(y, grid).kernels, model.estimate_varying(y, grid, eta=1.0, fit_steps=10).kernels)


@torch.no_grad()
@pytest.mark.parametrize("kernel_sizes", [(9,), (5, 9)])
def test_kernels_are_those_of_the_poses(kernel_sizes):
    model, grid, y = small(kernel_sizes), svconv.EFFGrid((47, 58), (2, 3)), texture(2, 1, 47, 58)
    result = model.estimate_varying(y, grid, eta=0.1)
    assert result.kernels.shape == result.direct.shape == (2, 6, 9, 9) and result.latent.shape == y.shape
    assert result.basis.grid == grid and result.poses.shape == (2, result.basis.poses)
    assert (result.poses >= 0).all() and ((result.poses > 0).sum(1) <= round(0.1 * result.basis.poses) + 1).all()
    torch.testing.assert_close(result.poses.sum(1), torch.ones(2))
    torch.testing.assert_close(result.kernels, with_sum_one(result.basis.kernels(result.poses)))
    torch.testing.assert_close(result.kernels.sum((2, 3)), torch.ones(2, 6))
    again = model.estimate_varying(y, grid, eta=0.1)
    assert all(torch.equal(a, b) for a, b in zip(result[:4], again[:4]))
    for b in range(2):
        torch.testing.assert_close(model.estimate_varying(y[b:b + 1], grid, eta=0.1).kernels[0], result.kernels[b], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_basis_is_the_same_motion_at_every_scale():
    model, grid, y = small((5, 10)), svconv.EFFGrid((60, 50), (2, 2)), texture(1, 1, 60, 50)
    basis = svconv.MotionBasis(grid, 10, shifts=[[0, 0], [2, 0], [0, 4]], angles=[0.0, 0.02])
    found = []
    result = model.estimate_varying(y, grid, basis=basis, eta=1, callback=lambda step, steps, kernels: found.append((step, steps, kernels)))
    assert result.basis is basis and [call[:2] for call in found] == [(i, 4) for i in (1, 2, 3, 4)]
    coarse = svconv.MotionBasis(svconv.EFFGrid((30, 25), (2, 2)), 5, shifts=[[0, 0], [1, 0], [0, 2]], angles=[0.0, 0.02])
    k = found[0][2]
    mu = torch.linalg.lstsq(coarse.kernels(torch.eye(6)).flatten(1).T, k.flatten()[:, None]).solution
    torch.testing.assert_close(coarse.kernels(mu.T), k, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("kernel_sizes", [(9,), (5, 9)])
def test_a_constant_image_beside_another_gives_deltas(kernel_sizes):
    y = torch.cat([torch.full((1, 1, 41, 60), 0.3), texture(1, 1, 41, 60)])
    result = small(kernel_sizes).estimate_varying(y, svconv.EFFGrid((41, 60), (3, 2)))
    delta = torch.zeros(6, 9, 9)
    delta[:, 4, 4] = 1
    assert torch.equal(result.kernels[0], delta) and torch.equal(result.latent[0], y[0])
    assert all(t.isfinite().all() for t in result[:4]) and not torch.equal(result.kernels[1], delta)


@torch.no_grad()
def test_a_flat_patch_has_the_kernel_of_the_motion_of_the_others():
    y, grid = texture(1, 1, 64, 64), svconv.EFFGrid((64, 64), (2, 2), overlap=0)
    y[..., :40, :40] = 0.5
    result = small().estimate_varying(y, grid)
    assert result.latent.isfinite().all()
    assert result.kernels[0, 0].max() < 0.9


@torch.no_grad()
def test_poses_that_leave_a_kernel():
    """A turn by which the corner patches move beyond their kernels and the centre does not."""
    grid, y = svconv.EFFGrid((90, 90), (3, 3)), texture(1, 1, 90, 90)
    basis = svconv.MotionBasis(grid, 9, shifts=[[0, 0]], angles=[0.5])
    result = small().estimate_varying(y, grid, basis=basis, eta=1)
    assert basis.kernels(result.poses)[0, 0].sum() == 0 and result.kernels[0, 0, 4, 4] == 1
    torch.testing.assert_close(result.kernels.sum((2, 3)), torch.ones(1, 9))


def test_gradients_reach_the_features():
    model, grid = small().train(), svconv.EFFGrid((40, 40), (2, 2))
    model.estimate_varying(texture(1, 1, 40, 40), grid, eta=1).kernels.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.scales[0]["stages"][0].parameters())


@torch.no_grad()
def test_a_large_kernel_is_sharpened_in_eval_mode_only():
    y, grid = texture(1, 1, 44, 40), svconv.EFFGrid((44, 40), (2, 2))
    model = small(sharpen=True)
    sharpened, plain = model.estimate_varying(y, grid), model.train().estimate_varying(y, grid)
    assert torch.equal(sharpened.poses, plain.poses) and not torch.equal(sharpened.kernels, plain.kernels)
    torch.testing.assert_close(sharpened.kernels.sum((2, 3)), torch.ones(1, 4))


def test_bad_input():
    model, y, grid = small((5, 9)), texture(1, 1, 40, 50), svconv.EFFGrid((40, 50), (2, 2))
    other = svconv.EFFGrid((50, 40), (2, 2))

    def refused(error, text, *arguments, **options):
        with pytest.raises(error, match=text):
            model.estimate_varying(*arguments, **options)

    refused(TypeError, "grid: expected an EFFGrid, got tuple", y, (2, 2))
    refused(ValueError, r"grid: expected one over the image \(40, 50\), got one over \(50, 40\)", y, other)
    refused(ValueError, "grid: expected at most as many patches", y, svconv.EFFGrid((40, 50), (30, 2)))
    refused(TypeError, "basis: expected a MotionBasis or None, got Tensor", y, grid, basis=torch.eye(3))
    refused(ValueError, "basis: expected one over the same grid", y, grid, basis=svconv.MotionBasis.default(other, 9))
    refused(ValueError, "basis: expected .* kernels of 9 x 9", y, grid, basis=svconv.MotionBasis.default(grid, 5))
    for eta in (0, 1.5, float("nan")):
        refused(ValueError, "eta: expected", y, grid, eta=eta)
    refused(ValueError, "fit_steps: expected an integer >= 0, got -1", y, grid, fit_steps=-1)
    refused(ValueError, "y: holds NaN", y * float("nan"), grid)
    refused(ValueError, "y: expected sides of at least 18", texture(1, 1, 17, 50), svconv.EFFGrid((17, 50), (1, 1)))
    refused(ValueError, r"y: expected a floating image \[B, 1, H, W\]", y.expand(1, 3, 40, 50), grid)
