"""hyper_laplacian: its steps written out, every border, batches and colour, callback, messages."""
import pytest
import torch

import svconv
from scenes import blur_kernel, photograph, picture, psnr
from svconv import Conv
from svconv.solvers import hyper_laplacian, hyper_laplacian_shrink

F64 = torch.float64


def written_out(y, kernel, lam, a):
    """SEEDS' splitting with full complex transforms and explicit filters."""
    height, width = y.shape[-2:]
    K = torch.fft.fft2(Conv(kernel)(torch.eye(height * width, dtype=y.dtype)[0].reshape(1, 1, height, width)))
    x, betas = y, [2 ** (1.5 * i) for i in range(6)]
    D = [torch.fft.fft2(torch.tensor(d, dtype=y.dtype), s=(height, width)) for d in ([[1.0, -1.0]], [[1.0], [-1.0]])]
    for beta in betas:
        numerator, denominator = K.conj() * torch.fft.fft2(y), K.abs() ** 2
        for d in D:
            w = hyper_laplacian_shrink(torch.fft.ifft2(d * torch.fft.fft2(x)).real, beta, a)
            numerator = numerator + beta / lam * d.conj() * torch.fft.fft2(w)
            denominator = denominator + beta / lam * d.abs() ** 2
        x = torch.fft.ifft2(numerator / denominator).real
    return x


@pytest.mark.parametrize("exponent", [2 / 3, 0.5, 0.8])
@pytest.mark.parametrize("height, width", [(20, 24), (21, 23)])
def test_its_steps_are_the_written_out_ones(exponent, height, width):
    y, k = torch.rand(1, 1, height, width, dtype=F64), blur_kernel(4, dtype=F64)
    result = hyper_laplacian(y, k, lam=500, exponent=exponent, padding="circular")
    torch.testing.assert_close(result.x, written_out(y, k, 500, exponent), rtol=1e-9, atol=1e-10)
    assert [round(b, 9) for b in result.betas] == [round(2 ** (1.5 * i), 9) for i in range(6)] and result.changes.shape == (6, 1)


@pytest.mark.parametrize("options", [{}, {"padding": "reflect"}, {"border": "mask"}, {"border": "taper"}, {"border": "replicate"}])
def test_every_border_restores_a_photograph(options):
    truth, k = picture(64, 60), blur_kernel(7)
    y = photograph(Conv(k), truth)
    gain = psnr(hyper_laplacian(y, k, **options).x, truth) - psnr(y, truth)
    assert gain > 3


def test_the_mask_is_better_than_a_guess_at_the_border():
    truth, k = picture(64, 60), blur_kernel(9)
    y = photograph(Conv(k), truth, noise=0.003)
    masked, guessed = (hyper_laplacian(y, k, lam=8000, **options).x for options in ({"border": "mask"}, {"padding": "replicate"}))
    assert psnr(masked, truth) > psnr(guessed, truth) + 0.5


def test_batches_and_colour_are_restored_one_by_one_and_the_input_is_kept():
    truth = picture(channels=3, batch=2, dtype=F64)
    k = torch.cat([blur_kernel(dtype=F64), blur_kernel(dtype=F64).flip(2)])
    y = Conv(k)(truth) + 0.005 * torch.randn_like(truth)
    kept = y.clone()
    for options in ({"padding": "replicate"}, {"border": "mask"}):
        together = hyper_laplacian(y, k, **options).x
        assert torch.equal(y, kept) and together.shape == y.shape
        alone = hyper_laplacian(y[1:], k[1:], **options).x
        torch.testing.assert_close(together[1:], alone, rtol=0, atol=1e-9)
        torch.testing.assert_close(hyper_laplacian(y, k.squeeze(1), **options).x, together)
        one_channel = hyper_laplacian(y[:, 1:2], k, **options).x
        torch.testing.assert_close(together[:, 1:2], one_channel, rtol=0, atol=1e-9)


def test_without_a_word_about_the_border_it_is_masked():
    truth, k = picture(), blur_kernel()
    y = photograph(Conv(k), truth)
    assert torch.equal(hyper_laplacian(y, k).x, hyper_laplacian(y, k, border="mask").x)
    assert torch.equal(hyper_laplacian(y, k, padding="edge").x, hyper_laplacian(y, k, border="replicate").x)


@pytest.mark.parametrize("options", [{}, {"padding": "circular"}, {"padding": "reflect"}, {"border": "taper"}])
def test_a_mask_leaves_bad_pixels_out(options):
    truth, k = picture(), blur_kernel()
    y = Conv(k)(truth) + 0.005 * torch.randn_like(truth)
    mask = torch.ones(1, 1, 40, 44)
    mask[..., 12:15, 20:23] = 0
    broken = torch.where(mask > 0, y, float("nan"))
    restored = hyper_laplacian(broken, k, mask=mask, **options).x
    assert restored.isfinite().all() and psnr(restored, truth, 4) > psnr(y, truth, 4) + 2
    torch.testing.assert_close(hyper_laplacian(torch.where(mask > 0, y, 7.0), k, mask=mask.bool(), **options).x, restored)
    with pytest.raises(ValueError, match="y: expected finite pixels, got 9 .*mask="):
        hyper_laplacian(broken, k, **options)


def test_callback_and_determinism():
    seen, y, k = [], picture(), blur_kernel()
    one = hyper_laplacian(y, k, callback=lambda i, n, x: seen.append((i, n, tuple(x.shape)))).x
    assert seen == [(i, 6, (1, 1, 40, 44)) for i in range(1, 7)]
    assert torch.equal(one, hyper_laplacian(y, k).x)


def test_a_constant_image_stays_constant():
    x = hyper_laplacian(torch.full((1, 1, 20, 20), 0.4), blur_kernel()).x
    torch.testing.assert_close(x, torch.full_like(x, 0.4), rtol=0, atol=1e-5)


@pytest.mark.parametrize("options, error, message", [
    ({"lam": 0}, ValueError, "lam: expected a number > 0, got 0"),
    ({"exponent": 2}, ValueError, r"exponent: expected a number in \(0, 1\], got 2"),
    ({"padding": "mirrored"}, ValueError, "padding: expected one of"),
    ({"padding": "reflect", "border": "mask"}, ValueError, "padding: expected None beside border='mask', got 'reflect'"),
    ({"mask": torch.ones(8, 8)}, ValueError, r"mask: expected \[B\|1, C\|1, H, W\]"),
    ({"lam": "8"}, TypeError, "lam: expected a number > 0, got '8'"),
    ({"border": "wrap"}, ValueError, "border: expected one of"),
    ({"y": torch.full((1, 1, 8, 8), float("nan"))}, ValueError, "y: expected finite pixels, got 64"),
    ({"y": torch.zeros(8, 8)}, ValueError, "y: expected"),
    ({"kernel": torch.ones(1, 1, 9, 3)}, ValueError, "kernel: expected at most the image's 8 x 8, got 9 x 3"),
    ({"kernel": torch.ones(1, 2, 3, 3)}, ValueError, "kernel: expected channels of 1 or those of y"),
    ({"kernel": torch.ones(1, 1, 3, 3, dtype=F64)}, TypeError, "kernel: expected torch.float32"),
    ({"kernel": torch.full((1, 1, 3, 3), float("inf"))}, ValueError, "kernel: expected finite values"),
])
def test_messages_name_the_argument(options, error, message):
    options = {"y": torch.rand(1, 1, 8, 8), "kernel": blur_kernel(3), **options}
    with pytest.raises(error, match=message):
        hyper_laplacian(options.pop("y"), options.pop("kernel"), **options)


def test_it_is_reached_from_the_package():
    assert svconv.solvers.hyper_laplacian is hyper_laplacian
