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


def sky_with_a_star(op, star, size=48):
    """A sky of 1."""
    truth = torch.ones(1, 1, size, size, dtype=F64)
    truth[..., 20, 20] = star
    return op.to(F64)(truth)


def uniform_map(padding):
    return PixelFilter(blur_kernel(5)[:, 0].flip((-2, -1))[..., None, None].expand(1, 5, 5, 48, 48), padding)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("star", [1e4, 1e7, 1e9, 1e12])
def test_a_faint_sky_beside_a_bright_star_is_not_emptied(padding, star):
    """Against the written-out steps in float64 with sums, whose rounding errors are relative to each pixel; by transforms and by sums."""
    exact = uniform_map(padding).to(F64)
    y = sky_with_a_star(exact, star)
    seen = exact.adjoint(torch.ones_like(y))
    x = torch.full_like(y, float(y.sum() / seen.sum()))
    for _ in range(15):
        x = x * exact.adjoint(y / exact(x)) / seen
    for op in (Conv(blur_kernel(5), padding), uniform_map(padding)):
        for dtype in (torch.float32, F64):
            found = richardson_lucy(op.to(dtype), y.to(dtype), max_iter=15).x
            assert found.dtype == dtype
            torch.testing.assert_close(found.double(), x, rtol=2e-2, atol=0)
    masked = richardson_lucy(Conv(blur_kernel(5), padding), y.float(), max_iter=15, border="mask").x
    assert masked[..., 30:40, 30:40].min() > 0.5


def test_a_scaled_faint_sky():
    op = Conv(blur_kernel(5))
    y = sky_with_a_star(op, 1e9).float()
    expected = richardson_lucy(op, y, max_iter=10).x
    for scale in (1e-30, 1e20):
        torch.testing.assert_close(richardson_lucy(op, y * scale, max_iter=10).x / scale, expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("border", ["mask", "taper", "replicate", None])
def test_a_background_is_light_that_no_x_sends(border):
    op, star = Conv(blur_kernel(), "zeros"), torch.zeros(1, 1, 32, 32)
    star[..., 14, 17] = 100
    sky = 5 + torch.linspace(0, 3, 32).expand(1, 1, 32, 32)
    y = op(star).clamp_min(0) + sky
    x = richardson_lucy(op, y, max_iter=200, background=sky, border=border).x
    assert x[..., 14, 17] > 80 and float(x.median()) < 0.1
    flat = richardson_lucy(op, op(star).clamp_min(0) + 5, max_iter=200, background=5, border=border).x
    torch.testing.assert_close(richardson_lucy(op, op(star).clamp_min(0) + 5, max_iter=200, border=border,
                                               background=torch.full((1, 1, 1, 1), 5.0)).x, flat)
    assert flat[..., 14, 17] > 80 and float(flat.median()) < 0.1
    none = richardson_lucy(op, y, max_iter=9, background=0, border=border).x
    assert torch.equal(none, richardson_lucy(op, y, max_iter=9, border=border).x)


def test_the_steps_with_a_background_and_a_start_are_the_written_out_ones():
    op, y = PixelFilter(filters(dtype=F64), "reflect"), picture(dtype=F64)
    background, x0 = 0.1 * torch.rand_like(y), torch.rand_like(y)
    seen, x = op.adjoint(torch.ones_like(y)), x0
    for _ in range(5):
        x = x * op.adjoint(y / (op(x) + background)) / seen
    kept = x0.clone()
    torch.testing.assert_close(richardson_lucy(op, y, max_iter=5, background=background, x0=x0).x, x)
    assert torch.equal(x0, kept)


@pytest.mark.parametrize("border", ["mask", "taper", "replicate", None])
def test_a_run_goes_on_from_its_result(border):
    op, y = Conv(blur_kernel(), "reflect"), 50 * picture(channels=2)
    first = richardson_lucy(op, y, max_iter=10, border=border).x
    again = richardson_lucy(op, y, max_iter=10, x0=first, border=border).x
    through = richardson_lucy(op, y, max_iter=20, border=border).x
    margin = (..., slice(8, -8), slice(8, -8))      # what lies outside of the image is not in the result
    torch.testing.assert_close(again[margin], through[margin], rtol=2e-2, atol=0.5)
    assert (again - through).norm() < 0.3 * (first - through).norm() or border is not None
    x0 = first.clone()
    x0[..., 10:12, 10:12] = 0
    assert (richardson_lucy(op, y, max_iter=3, x0=x0, border=border).x[..., 10:12, 10:12] == 0).all()
    assert (richardson_lucy(op, y, max_iter=3, x0=0 * x0, border=border).x == 0).all()


@pytest.mark.parametrize("mask", [None, torch.ones(1, 1, 40, 44)])
def test_negative_pixels_are_an_error_or_clipped(mask):
    op, y = Conv(blur_kernel(), "zeros"), 10 * (picture() - 0.3)
    with pytest.raises(ValueError, match="y: expected pixels >= 0, got .*negative='clip'"):
        richardson_lucy(op, y, max_iter=3, mask=mask)
    kept = y.clone()
    clipped = richardson_lucy(op, y, max_iter=3, negative="clip", mask=mask).x
    torch.testing.assert_close(clipped, richardson_lucy(op, y.clamp_min(0), max_iter=3, mask=mask).x)
    assert torch.equal(y, kept)


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
    ({"negative": "keep"}, ValueError, "negative: expected 'error' or 'clip', got 'keep'"),
    ({"background": -1}, ValueError, "background: expected a number >= 0, got -1"),
    ({"background": "sky"}, TypeError, "background: expected a number >= 0, got 'sky'"),
    ({"background": torch.full((1, 1, 8, 8), float("nan"))}, ValueError, "background: expected finite pixels >= 0"),
    ({"background": torch.ones(8, 8)}, ValueError, r"background: expected a number or an image like y \[1, 1, 8, 8\], got \[8, 8\]"),
    ({"x0": torch.full((1, 1, 8, 8), -1.0)}, ValueError, "x0: expected finite pixels >= 0"),
    ({"x0": torch.ones(1, 1, 8, 9)}, ValueError, r"x0: expected \[B, C, H, W\] for y \[1, 1, 8, 8\], got \[1, 1, 8, 9\]"),
    ({"x0": 3.0}, TypeError, "x0: expected a torch.Tensor, got float"),
    ({"op": Conv(-blur_kernel(3))}, ValueError, "op: expected weights >= 0"),
    ({"op": blur_kernel(3)}, TypeError, "op: expected an operator"),
])
def test_messages_name_the_argument(options, error, message):
    options = {"op": Conv(blur_kernel(3)), "y": torch.rand(1, 1, 8, 8), "max_iter": 3, **options}
    with pytest.raises(error, match=message):
        richardson_lucy(options.pop("op"), options.pop("y"), **options)
