"""wiener(beta="auto"): the maximum of the marginal likelihood, scikit-image's unsupervised filter, and what it restores."""
import math

import numpy as np
import pytest
import torch

import svconv
from scenes import blur_kernel, picture, psnr
from svconv import Conv, Identity, PixelFilter, solvers
from svconv.solvers import wiener

F64 = torch.float64
LAPLACE = torch.tensor([[[0, -0.25, 0], [-0.25, 1, -0.25], [0, -0.25, 0]]], dtype=F64)
SIZE = 96, 110


def scene(side, noise, padding="circular", channels=1):
    x, k = picture(*SIZE)[:, :1].double(), blur_kernel(side, dtype=F64)
    x = torch.cat([x, 1 - x.flip(-1), 0.5 * x], 1)[:, :channels]
    y = svconv.conv(x, k, padding=padding)
    return x, k, y + noise * torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=F64)


def whole_spectrum(f, size):
    """|F|^2 of filters [J, fh, fw], summed."""
    plane = np.zeros((len(f), *size))
    plane[:, :f.shape[1], :f.shape[2]] = f
    return (abs(np.fft.fft2(plane)) ** 2).sum(0)


def expected_beta(y, k, priors):
    """The fixed point of expectation and maximisation in the precisions of noise and differences, on the whole spectrum of [C, H, W]."""
    size = y.shape[-2:]
    seen = abs(np.fft.fft2(y.numpy(), norm="ortho")) ** 2
    blur, rough = whole_spectrum(k.reshape(1, *k.shape[-2:]).numpy(), size), whole_spectrum(priors.numpy(), size)
    used = np.ones(size, bool)
    used[0, 0] = False
    seen, blur, rough = seen[:, used], blur[used], rough[used]
    noise, smooth = 1e3, 1.0
    for _ in range(3000):
        variance = 1 / (noise * blur + smooth * rough)
        square = noise ** 2 * blur * seen * variance ** 2
        misfit = seen - 2 * noise * blur * seen * variance + blur * square
        smooth = seen.size / (rough * (square + variance)).sum()
        noise = seen.size / (misfit + blur * variance).sum()
    return smooth / noise


GRADIENT = torch.tensor([[[1.0, -1], [0, 0]], [[1, 0], [-1, 0]]], dtype=F64)


@pytest.mark.parametrize("side, noise", [(5, 0.01), (5, 0.05), (9, 0.02)])
@pytest.mark.parametrize("prior, filters", [("gradient", GRADIENT), (LAPLACE, LAPLACE), ("identity", torch.ones(1, 1, 1, dtype=F64))],
                         ids=["gradient", "filters", "identity"])
def test_it_is_the_maximum_of_the_likelihood(side, noise, prior, filters):
    _, k, y = scene(side, noise, channels=3)
    found = wiener(Conv(k), y, beta="auto", prior=prior)
    assert float(found.beta) == pytest.approx(expected_beta(y[0], k, filters), rel=0.03)
    assert found.beta.shape == (1,) and found.beta.dtype == y.dtype
    torch.testing.assert_close(found.x, wiener(Conv(k), y, beta=float(found.beta), prior=prior).x)
    assert wiener(Conv(k), y, beta=0.1).beta is None


def test_scikit_images_chain_ends_near_it():
    """Its samples come from the same model, with the frequencies of the half spectrum counted a little otherwise."""
    restoration = pytest.importorskip("skimage.restoration")
    _, k, y = scene(5, 0.02)
    _, chain = restoration.unsupervised_wiener(y[0, 0].numpy(), k.reshape(k.shape[-2:]).numpy(), reg=LAPLACE[0].numpy(), clip=False, rng=0,
                                               user_params={"threshold": 0, "min_num_iter": 1500, "max_num_iter": 1500, "burnin": 500})
    theirs = np.mean(chain["prior"][500:]) / np.mean(chain["noise"][500:])
    assert abs(math.log(float(wiener(Conv(k), y, beta="auto", prior=LAPLACE).beta) / theirs)) < math.log(1.6)


def best(op, y, x, **options):
    return max(float(psnr(wiener(op, y, beta=10.0 ** (d / 4), **options).x, x)) for d in range(-20, 5))


@pytest.mark.parametrize("side, noise", [(5, 0.01), (5, 0.05), (9, 0.02)])
def test_the_picture_is_nearly_as_good_as_with_the_best_value(side, noise):
    x, k, y = scene(side, noise)
    found = float(psnr(wiener(Conv(k), y, beta="auto").x, x))
    assert found > best(Conv(k), y, x) - 1.7 and found > float(psnr(y, x)) + 1
    # and where the image does not go on as on a torus
    _, _, y = scene(side, noise, "valid")
    inside = x[..., side // 2:-(side // 2), side // 2:-(side // 2)]
    for options in ({"border": "replicate"}, {"border": "taper"}):
        K = Conv(k, "replicate")
        found = float(psnr(wiener(K, y, beta="auto", **options).x, inside))
        assert found > best(K, y, inside, **options) - 2.5 and found > float(psnr(y, inside))


def test_samples_have_their_own_and_more_noise_a_larger_one():
    k = blur_kernel(5, dtype=F64)
    ys = [scene(5, noise)[2] for noise in (0.005, 0.02, 0.1)]
    betas = wiener(Conv(k), torch.cat(ys), beta="auto").beta
    assert (betas.diff() > 0).all()
    for y, beta in zip(ys, betas):
        torch.testing.assert_close(wiener(Conv(k), y, beta="auto").beta, beta[None])
        torch.testing.assert_close(wiener(Conv(k), 255 * y, beta="auto").beta, beta[None])        # of any scale


@pytest.mark.parametrize("op", [lambda k: 0.5 * Conv(k) + 0.5 * Conv(k), lambda k: Conv(k) @ Identity(), lambda k: Conv(k, "reflect"),
                                lambda k: Conv(torch.cat([k, k, k], 1) if k.dim() == 4 else k)], ids=str)
def test_operators_that_are_convolutions(op):
    _, k, y = scene(5, 0.02, channels=3)
    found = wiener(op(k), y, beta="auto")
    assert 1e-3 < float(found.beta) < 10
    if op(k).wraps:
        torch.testing.assert_close(found.beta, wiener(Conv(k), y, beta="auto").beta)


def test_precisions_and_gradients():
    _, k, y = scene(5, 0.02)
    expected = wiener(Conv(k), y, beta="auto").beta
    for dtype in (torch.float32, torch.bfloat16):
        found = wiener(Conv(k.to(dtype)), y.to(dtype), beta="auto")
        assert found.x.dtype == dtype and float(found.beta) == pytest.approx(float(expected), rel=0.05 if dtype == torch.float32 else 0.5)
    k, y = k.clone().requires_grad_(), y.clone().requires_grad_()
    found = wiener(Conv(k), y, beta="auto")
    assert not found.beta.requires_grad
    for ours, given in zip(*(torch.autograd.grad(result.x.square().sum(), (k, y))
                             for result in (found, wiener(Conv(k), y, beta=found.beta)))):
        torch.testing.assert_close(ours, given)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 1), (2, 3)])
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_small_and_constant_images(size, value):
    y = torch.full((2, 1, *size), value, dtype=F64)
    for options in ({}, {"border": "replicate"}):
        found = wiener(Conv(torch.ones(1, 1, 1, 1, dtype=F64)), y, beta="auto", **options)
        assert torch.isfinite(found.beta).all() and torch.isfinite(found.x).all()
    assert wiener(Conv(torch.ones(1, 1, 1, 1, dtype=F64)), y[:0], beta="auto").beta.shape == (0,)


def test_the_same_from_run_to_run():
    _, k, y = scene(5, 0.02)
    assert torch.equal(wiener(Conv(k), y, beta="auto").beta, wiener(Conv(k), y, beta="auto").beta)
    assert "beta=float64 [1]" in repr(wiener(Conv(k), y, beta="auto"))


@pytest.mark.parametrize("op", [PixelFilter(torch.ones(1, 3, 3, *SIZE, dtype=F64)), svconv.DiskBlur(torch.ones(1, 1, *SIZE, dtype=F64))])
def test_other_operators_are_refused(op):
    with pytest.raises(ValueError, match='beta: expected a number, because "auto" is for convolutions'):
        wiener(op, scene(5, 0.02)[2], beta="auto")


def test_other_words_are_refused():
    _, k, y = scene(5, 0.02)
    with pytest.raises(TypeError, match="beta: expected a number > 0, got 'automatic'"):
        solvers.wiener(Conv(k), y, beta="automatic")
