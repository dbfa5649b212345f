"""irls: the objective it minimises, borders, masks, colour and batches, callback, messages; the stencil against the filters themselves."""
import pytest
import torch

from scenes import blur_kernel, photograph, picture, psnr
from svconv import Conv, PixelFilter
from svconv.solvers import irls
from svconv.solvers.derivatives import FILTERS, apply, derivative, stencil

F64 = torch.float64


def brute_weights(x, c):
    weight = {name: 0.1 * (1 if len(name) == 1 else 0.25) for name in FILTERS}
    return {name: weight[name] * derivative(x, name).abs().clamp_min(0.01) ** -1.2 for name in FILTERS} if c else None


@pytest.mark.parametrize("name", list(FILTERS))
def test_derivatives_are_correlations_with_their_filter(name):
    x = torch.randn(2, 3, 6, 7, dtype=F64)
    rows, columns = max(t[0] for t in FILTERS[name]) + 1, max(t[1] for t in FILTERS[name]) + 1
    kernel = torch.zeros(1, 1, rows, columns, dtype=F64)
    for i, j, c in FILTERS[name]:
        kernel[0, 0, i, j] = c
    expected = torch.nn.functional.conv2d(x.flatten(0, 1).unsqueeze(1), kernel).reshape(2, 3, 7 - rows, 8 - columns)
    torch.testing.assert_close(derivative(x, name), expected)
    assert abs(kernel.sum()) == 0


@pytest.mark.parametrize("height, width", [(6, 7), (2, 5), (1, 1), (1, 8)])
def test_the_stencil_is_the_weighted_normal_operator(height, width):
    x = torch.randn(2, 3, height, width, dtype=F64, requires_grad=True)
    weights = {name: torch.rand_like(derivative(x.detach(), name)) for name in FILTERS}
    energy = sum((weights[name] * derivative(x, name).square()).sum() for name in FILTERS)
    expected, = torch.autograd.grad(0.5 * 0.7 * energy, x)
    torch.testing.assert_close(apply(x.detach(), stencil(weights, x.detach(), scale=0.7)), expected)
    ones = stencil(dict.fromkeys(FILTERS, 1.0), x.detach())
    assert ones.shape[:2] == (1, 1)
    expected, = torch.autograd.grad(0.5 * sum(derivative(x, name).square().sum() for name in FILTERS), x)
    torch.testing.assert_close(apply(x.detach(), ones), expected)


@pytest.mark.parametrize("make", ["conv", "filters"])
def test_it_minimises_the_weighted_objective(make):
    """The gradient of the objective, written out with torch, vanishes at the result of every solve."""
    truth = picture(24, 26, channels=2, dtype=F64)
    k = blur_kernel(dtype=F64)
    op = Conv(k, "zeros") if make == "conv" else PixelFilter(torch.rand(1, 3, 3, 24, 26, dtype=F64) / 9, "reflect")
    mask = (torch.rand(1, 1, 24, 26) > 0.2).to(F64)
    y = op(truth) + 0.01 * torch.randn_like(truth)

    def gradient(x, weights):
        x = x.clone().requires_grad_()
        data = (mask * (op(x) - y).square()).sum()
        prior = sum((w * derivative(x, name).square()).sum() for name, w in weights.items())
        return torch.autograd.grad(data + 2e-3 * prior, x)[0]

    scale = 2 * op.adjoint(mask * y).norm()
    first = irls(op, y, reweightings=0, mask=mask, border=None).x
    assert gradient(first, dict.fromkeys(FILTERS, 1.0)).norm() < 2e-4 * scale
    second = irls(op, y, reweightings=1, mask=mask, border=None).x
    assert gradient(second, brute_weights(first, True)).norm() < 2e-4 * scale
    assert gradient(first, brute_weights(first, True)).norm() > 5e-4 * scale


def test_reweighting_sharpens_and_every_border_helps():
    truth = picture(64, 60)
    k = blur_kernel(7)
    y = photograph(Conv(k), truth)
    blurred = psnr(y, truth)
    once, thrice = (irls(Conv(k), y, reweightings=n).x for n in (0, 2))
    assert psnr(once, truth) > blurred + 3 and psnr(thrice, truth) > psnr(once, truth) + 0.5
    for border in ("taper", "replicate"):
        assert psnr(irls(Conv(k), y, border=border).x, truth) > blurred + 2
    assert psnr(irls(Conv(k, "reflect"), y, border=None).x, truth) > blurred + 3


def test_a_uniform_filter_map_gives_what_conv_gives():
    truth, k = picture().double(), blur_kernel().double()  # reweighting enlarges float32's rounding to more than 1e-3
    y = Conv(k, "replicate")(truth) + 0.01 * torch.randn_like(truth)
    filters = k.flip((-2, -1)).reshape(1, 5, 5, 1, 1).expand(1, 5, 5, 40, 44)
    one = irls(Conv(k, "replicate"), y, border=None).x
    other = irls(PixelFilter(filters, "replicate"), y, border=None).x
    assert (one - other).abs().max() < 1e-9
    masked = irls(PixelFilter(filters), y)
    assert psnr(masked.x, truth, margin=4) > psnr(y, truth, margin=4) + 3
    scatter = irls(PixelFilter(filters.flip((1, 2))).T, y)
    assert (scatter.x - masked.x).abs().max() < 1e-9


def test_samples_and_channels_are_restored_one_by_one_and_the_input_is_kept():
    truth, k = picture(channels=2, batch=2), blur_kernel()
    y = Conv(k)(truth) + 0.01 * torch.randn_like(truth)
    kept = y.clone()
    together = irls(Conv(k), y)
    assert torch.equal(y, kept) and together.x.shape == y.shape and together.x.is_contiguous()
    assert together.iterations.shape == (3, 2) and together.iterations.dtype == torch.int64 and together.converged.tolist() == [True, True]
    alone = irls(Conv(k), y[1:])
    torch.testing.assert_close(together.x[1:], alone.x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("border", ["mask", "taper", "replicate", None])
def test_one_channel_does_not_change_another(border):
    """A bright channel beside a dark one: each has its own steps, few enough that they do not amplify rounding."""
    truth, k = picture(channels=2, dtype=F64), blur_kernel(7, dtype=F64)
    y = Conv(k, "reflect")(truth) + 0.02 * torch.randn_like(truth)
    y[:, 0] *= 3
    options = {"border": border, "reweightings": 1, "cg_iter": 12}
    together = irls(Conv(k, "reflect"), y, **options)
    alone = [irls(Conv(k, "reflect"), y[:, c:c + 1], **options) for c in range(2)]
    torch.testing.assert_close(together.x, torch.cat([one.x for one in alone], 1), rtol=0, atol=1e-10)
    torch.testing.assert_close(together.residuals, torch.maximum(*(one.residuals for one in alone)))
    assert together.iterations.tolist() == torch.maximum(*(one.iterations for one in alone)).tolist()


def test_a_mask_leaves_bad_pixels_out():
    truth, k = picture(), blur_kernel()
    y = Conv(k, "replicate")(truth) + 0.005 * torch.randn_like(truth)
    mask = torch.ones(1, 1, 40, 44)
    mask[..., 12:15, 20:23] = 0
    broken = torch.where(mask > 0, y, float("nan"))
    for op in (Conv(k), PixelFilter(k.flip((-2, -1)).reshape(1, 5, 5, 1, 1).expand(1, 5, 5, 40, 44))):
        restored = irls(op, broken, mask=mask).x
        assert restored.isfinite().all() and psnr(restored, truth, 4) > psnr(y, truth, 4) + 2
        torch.testing.assert_close(irls(op, torch.where(mask > 0, y, 7.0), mask=mask.bool()).x, restored)
    with pytest.raises(ValueError, match="y: expected finite pixels, got 9 .*mask="):
        irls(Conv(k), broken)


def test_several_filters_per_pixel_are_one_observation_each():
    truth = picture(20, 22, dtype=F64)
    F = PixelFilter(torch.rand(1, 1, 3, 3, 3, 20, 22, dtype=F64) / 9, "replicate")
    y = F(truth) + 0.002 * torch.randn(1, 1, 3, 20, 22, dtype=F64)
    for border in ("mask", None):
        result = irls(F, y, reg=1e-4, border=border, mask=torch.ones(1, 1, 20, 22))
        assert psnr(result.x, truth) > psnr(y.mean(2), truth) + 10


def test_callback_runs_over_all_steps():
    seen = []
    y = picture()
    result = irls(Conv(blur_kernel()), y, reweightings=1, cg_iter=30, callback=lambda i, n, x: seen.append((i, n, tuple(x.shape))))
    steps = [i for i, _, _ in seen]
    assert steps == sorted(steps) and steps[-1] == 60 and steps[0] == 1 and {(n, s) for _, n, s in seen} == {(60, (1, 1, 40, 44))}
    assert len(steps) == int(result.iterations.sum()) + 1


def test_not_converging_is_reported():
    assert irls(Conv(blur_kernel()), picture(), cg_iter=2).converged.tolist() == [False]


@pytest.mark.parametrize("options, error, message", [
    ({"op": blur_kernel()}, TypeError, "op: expected an operator .*got Tensor"),
    ({"y": torch.zeros(4, 4)}, ValueError, r"y: expected \[B, C, H, W\], got \[4, 4\]"),
    ({"y": torch.zeros(1, 1, 8, 8).long()}, TypeError, "y: expected dtype float32, float64, bfloat16 or float16, got torch.int64"),
    ({"penalty": "huber"}, ValueError, "penalty: expected one of 'levin', got 'huber'"),
    ({"reg": -1.0}, ValueError, "reg: expected a number >= 0"),
    ({"reweightings": 1.5}, ValueError, "reweightings: expected an integer >= 0"),
    ({"cg_iter": 0}, ValueError, "cg_iter: expected an integer >= 1"),
    ({"mask": torch.ones(8, 8)}, ValueError, r"mask: expected \[B\|1, C\|1, H, W\] for y"),
    ({"mask": -torch.ones(1, 1, 8, 8)}, ValueError, "mask: expected weights >= 0"),
    ({"border": "wrap"}, ValueError, "border: expected one of 'mask', 'taper', 'replicate', None, got 'wrap'"),
    ({"op": PixelFilter(torch.ones(1, 9, 9, 8, 8))}, ValueError, "border: no pixel of 8 x 8 has its kernel inside the image"),
    ({"op": PixelFilter(torch.ones(1, 3, 3, 8, 9))}, ValueError, r"y: expected \[B, C, 8, 9\], got \[1, 1, 8, 8\]"),
])
def test_messages_name_the_argument(options, error, message):
    options = {"op": Conv(blur_kernel()), "y": torch.rand(1, 1, 8, 8), **options}
    with pytest.raises(error, match=message):
        irls(options.pop("op"), options.pop("y"), **options)
