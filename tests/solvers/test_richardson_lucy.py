"""richardson_lucy: the written-out iteration, flux and positivity for every padding, borders, masks, damping, messages."""
import pytest
import torch

from scenes import blur_kernel, photograph, picture, psnr
from svconv import Conv, PixelFilter
from svconv._boundary import PADDINGS
from svconv.solvers import richardson_lucy

F64 = torch.float64


def filters(height=40, width=44, dtype=torch.float32):
    f = torch.rand(1, 3, 4, height, width, dtype=dtype)
    return f / f.sum((1, 2), keepdim=True)


def test_its_steps_are_the_written_out_ones():
    op, y = PixelFilter(filters(dtype=F64), "reflect"), picture(dtype=F64)
    seen = op.adjoint(torch.ones_like(y))
    x = torch.full_like(y, float(y.sum() / seen.sum()))
    for _ in range(5):
        x = x * op.adjoint(y / op(x)) / seen
    result = richardson_lucy(op, y, max_iter=5)
    torch.testing.assert_close(result.x, x)
    assert result.iterations == 5 and result.changes.shape == (5, 1)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_flux_and_positivity_for_every_padding(padding, dtype):
    y = 50 * picture(channels=2, batch=2, dtype=dtype)
    y[0, 0, 3, 4] = 2000
    for op in (Conv(blur_kernel(6, dtype=dtype), padding), PixelFilter(filters(dtype=dtype), padding)):
        x = richardson_lucy(op, y, max_iter=15).x
        assert (x >= 0).all()
        rtol = 1e-6 if dtype == torch.float32 else 1e-12
        torch.testing.assert_close(op(x).double().sum((-2, -1)), y.double().sum((-2, -1)), rtol=rtol, atol=0)


@pytest.mark.parametrize("border", ["mask", "taper", "replicate", None])
def test_every_border_restores_a_photograph(border):
    truth, k = picture(64, 60), blur_kernel(7)
    y = photograph(Conv(k), truth, noise=0.003).clamp_min(0)
    x = richardson_lucy(Conv(k, "replicate"), y, max_iter=40, border=border).x
    assert (x >= 0).all() and psnr(x, truth) > psnr(y, truth) + 3


def test_stars_become_points():
    truth = torch.zeros(1, 1, 32, 32)
    truth[0, 0, 8, 9], truth[0, 0, 20, 15] = 500, 300
    op = Conv(blur_kernel(7), "zeros")
    x = richardson_lucy(op, op(truth).clamp_min(0), max_iter=400).x
    assert x[0, 0, 8, 9] > 450 and x[0, 0, 20, 15] > 270


def test_a_mask_leaves_bad_pixels_out():
    truth, op = picture(), Conv(blur_kernel(), "replicate")
    y = op(truth)
    mask = torch.ones(1, 1, 40, 44)
    mask[..., 12:14, 20:23] = 0
    broken = torch.where(mask > 0, y, float("nan"))
    x = richardson_lucy(op, broken, max_iter=60, mask=mask).x
    assert x.isfinite().all() and psnr(x, truth) > psnr(y, truth) + 2
    torch.testing.assert_close(richardson_lucy(op, torch.where(mask > 0, y, -1.0), max_iter=60, mask=mask.bool()).x, x)


def test_damping_keeps_a_flat_noisy_field_flat():
    torch.manual_seed(0)
    y = torch.poisson(torch.full((1, 1, 48, 48), 100.0))
    op = Conv(blur_kernel(), "circular")
    plain, damped = (richardson_lucy(op, y, max_iter=60, damping=t).x.std() for t in (0.0, 3.0))
    assert damped < 0.2 * plain
    star = torch.zeros_like(y)
    star[..., 20, 20] = 20000
    y = torch.poisson(op(100 + star))
    assert richardson_lucy(op, y, max_iter=60, damping=3.0).x[..., 20, 20] > 10000


def test_black_images_empty_batches_and_samples_of_their_own():
    op = Conv(blur_kernel(), "zeros")
    assert (richardson_lucy(op, torch.zeros(1, 1, 12, 12), max_iter=3).x == 0).all()
    y = picture(batch=2, channels=2)
    y[0] = 0
    together = richardson_lucy(op, y, max_iter=10).x
    torch.testing.assert_close(together[1:], richardson_lucy(op, y[1:], max_iter=10).x)
    assert (together[0] == 0).all()


def test_callback_sees_every_step_and_the_input_is_kept():
    seen, y = [], picture()
    kept = y.clone()
    richardson_lucy(Conv(blur_kernel()), y, max_iter=4, border="mask", callback=lambda i, n, x: seen.append((i, n, tuple(x.shape))))
    assert seen == [(i, 4, (1, 1, 40, 44)) for i in (1, 2, 3, 4)] and torch.equal(y, kept)


@pytest.mark.parametrize("options, error, message", [
    ({"y": torch.full((1, 1, 8, 8), -0.5)}, ValueError, r"y: expected pixels >= 0, got 64 negative ones \(the least is -0.5\)"),
    ({"y": torch.full((1, 1, 8, 8), float("nan"))}, ValueError, "y: expected finite pixels"),
    ({"max_iter": 0}, ValueError, "max_iter: expected an integer >= 1, got 0"),
    ({"damping": -1.0}, ValueError, "damping: expected a number >= 0"),
    ({"border": "wrap"}, ValueError, "border: expected one of"),
    ({"op": Conv(-blur_kernel(3))}, ValueError, "op: expected weights >= 0"),
    ({"op": blur_kernel(3)}, TypeError, "op: expected an operator"),
])
def test_messages_name_the_argument(options, error, message):
    options = {"op": Conv(blur_kernel(3)), "y": torch.rand(1, 1, 8, 8), "max_iter": 3, **options}
    with pytest.raises(error, match=message):
        richardson_lucy(options.pop("op"), options.pop("y"), **options)
