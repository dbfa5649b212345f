"""kernel_quotient, image_quotient, project_kernel on every backend that runs here: oracles, gradients, registration, errors."""
import math

import numpy as np
import pytest
import torch
from battery import Battery, Call

import oracles
import svconv
from oracles import PADDINGS, close, image, psf
from svconv.ops.quotient import _image_bwd, _image_fwd, _kernel_bwd, _kernel_fwd, prior_power

BACKENDS = oracles.usable_backends("quotient", "kernel_quotient_fwd")
SIZES = [(1, 1), (3, 3), (4, 5), (2, 6), (7, 4)]
DOUBLE = torch.float64


def pytest_generate_tests(metafunc):
    if metafunc.cls is None and "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", BACKENDS)


def barthann(n, k):
    """The taper as the contract states it, sample by sample."""
    k = min(k, n // 2)
    taper = np.ones(n)
    for i in range(k):
        t = i / (2 * k - 1)
        taper[i] = taper[n - 1 - i] = 0.62 - 0.48 * abs(t - 0.5) + 0.38 * math.cos(2 * math.pi * (t - 0.5))
    return taper


# kernel quotient -----------------------------------------------------------------------------------------------------

def oracle_kernel_quotient(x, y, size, beta, taper, center):
    """Full complex transforms in NumPy; the shift is a ramp over signed frequencies, real at half the sampling rate."""
    b, n, h, w = x.shape
    window = np.outer(barthann(h, size[0]), barthann(w, size[1])) if taper else 1.0
    fx, fy = (np.fft.fft2(t.double().numpy() * window) for t in (x, y))
    quotient = (fx.conj() * fy).sum(1) / ((abs(fx) ** 2).sum(1) + np.reshape(beta, (-1, 1, 1)))
    ramps = []
    for m, c in zip((h, w), center):
        f = np.fft.fftfreq(m) * m
        ramp = np.exp(-2j * np.pi * f * c / m)
        ramps.append(np.where(2 * abs(f) == m, ramp.real, ramp))
    moved = np.fft.ifft2(quotient * ramps[0][:, None] * ramps[1])
    assert abs(moved.imag).max() < 1e-12
    return moved.real[:, :size[0], :size[1]]


@pytest.mark.parametrize("hw", [(12, 10), (13, 15), (16, 9), (127, 8)])
@pytest.mark.parametrize("size", [(3, 5), (4, 2), (1, 1)])
@pytest.mark.parametrize("taper", ["barthann", None])
@pytest.mark.parametrize("center", [None, (0.3, -1.6)])
def test_kernel_quotient_matches_the_formula(backend, hw, size, taper, center, nan_memory):
    x, y = image(2, 3, *hw), image(2, 3, *hw, seed=5)
    beta = torch.tensor([0.5, 2.0], dtype=DOUBLE)
    shift = (size[0] // 2, size[1] // 2) if center is None else center
    expected = oracle_kernel_quotient(x, y, size, beta.numpy(), taper, shift)
    result = svconv.kernel_quotient(x, y, size, beta=beta, taper=taper, center=center, backend=backend)
    close(result, expected, scale=200)
    single = svconv.kernel_quotient(x.float(), y.float(), size, beta=beta.float(), taper=taper, center=center, backend=backend)
    close(single, result, scale=200)


@pytest.mark.parametrize("size", [(3, 3), (5, 4), (2, 7)])
def test_kernel_quotient_recovers_the_kernel(backend, size):
    x, k = image(2, 2, 24, 21), psf(2, *size)
    y = svconv.conv(x, k)
    close(svconv.kernel_quotient(x, y, size, beta=1e-10, taper=None, backend=backend), k, scale=1e6)
    close(svconv.kernel_quotient(x, x, size, beta=1e-10, taper=None, backend=backend)[0], delta(*size), scale=1e6)


def delta(kh, kw, dtype=DOUBLE):
    d = torch.zeros(kh, kw, dtype=dtype)
    d[kh // 2, kw // 2] = 1
    return d


def test_kernel_size_may_be_an_int_and_the_taper_is_capped(backend):
    x, y = image(1, 1, 6, 6), image(1, 1, 6, 6, seed=2)
    assert torch.equal(svconv.kernel_quotient(x, y, 5, backend=backend), svconv.kernel_quotient(x, y, (5, 5), backend=backend))
    close(svconv.kernel_quotient(x, y, 5, backend=backend), oracle_kernel_quotient(x, y, (5, 5), [1e-4], True, (2, 2)), scale=1e5)


def test_kernels_without_a_channel_axis_are_shared_by_the_channels(backend):
    x, k = image(), psf(2, 3, 3)
    assert torch.equal(svconv.conv(x, k, backend=backend), svconv.conv(x, k[:, None], backend=backend))
    assert torch.equal(
        svconv.image_quotient(x, k, beta=0.1, backend=backend), svconv.image_quotient(x, k[:, None], beta=0.1, backend=backend)
    )


# image quotient ------------------------------------------------------------------------------------------------------

def wrapped(f, shape):
    """A filter on a circular plane, which may be smaller than the filter."""
    plane = np.zeros(shape)
    for (i, j), value in np.ndenumerate(np.asarray(f, dtype=float)):
        plane[i % shape[0], j % shape[1]] += value
    return plane


def smooth(n):
    """The next length whose only prime factors are 2, 3, 5 and 7."""
    return next(
        m
        for m in range(n, 2 * n + 1)
        if m in {2**a * 3**b * 5**c * 7**d for a in range(8) for b in range(5) for c in range(4) for d in range(4)}
    )


def oracle_image_quotient(y, k, beta, prior, padding, center):
    (kh, kw), (h, w) = k.shape[-2:], y.shape[-2:]
    top, left = (0, 0) if padding == "circular" else (kh, kw)
    far = [0 if padding == "circular" else smooth(n + 2 * k) - n - k for n, k in ((h, kh), (w, kw))]
    plane = oracles.pad(y.double().numpy(), (top, far[0], left, far[1]), padding)
    shape = plane.shape[-2:]
    transfer = 0
    for i in range(kh):
        for j in range(kw):
            waves = []
            for m, s in zip(shape, (i - center[0], j - center[1])):
                f = np.fft.fftfreq(m) * m
                wave = np.exp(-2j * np.pi * f * s / m)
                waves.append(np.where(2 * abs(f) == m, wave.real, wave))
            transfer = transfer + k[..., i, j].double().numpy()[..., None, None] * waves[0][:, None] * waves[1]
    filters = {"identity": [[[1.0]]], "gradient": [[[1.0, -1.0], [0, 0]], [[1, 0], [-1, 0]]]}.get(
        prior if isinstance(prior, str) else "", prior
    )
    power = sum(abs(np.fft.fft2(wrapped(f, shape))) ** 2 for f in filters)
    quotient = transfer.conj() * np.fft.fft2(plane) / (abs(transfer) ** 2 + np.reshape(beta, (-1, 1, 1, 1)) * power)
    return np.fft.ifft2(quotient).real[..., top:top + h, left:left + w]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("size", [(3, 3), (4, 5), (1, 2)])
@pytest.mark.parametrize("prior", ["identity", "gradient", "filters"])
@pytest.mark.parametrize("center", [None, (0.4, 1.0)])
def test_image_quotient_matches_the_formula(backend, padding, size, prior, center, nan_memory):
    y, k = image(2, 3, 12, 9), psf(2, 1, *size)
    prior = torch.randn(2, 2, 3, dtype=DOUBLE) if prior == "filters" else prior
    beta = torch.tensor([0.2, 0.03], dtype=DOUBLE)
    expected = oracle_image_quotient(y, k, beta.numpy(), prior, padding, center or (size[0] // 2, size[1] // 2))
    close(svconv.image_quotient(y, k, beta=beta, prior=prior, padding=padding, center=center, backend=backend), expected, scale=500)
    single = svconv.image_quotient(y.float(), k.float(), beta=0.2, prior="gradient", padding=padding, backend=backend)
    close(single, svconv.image_quotient(y, k, beta=0.2, prior="gradient", padding=padding), scale=100)


@pytest.mark.parametrize("kernel", [(1, 1, 3, 4), (2, 1, 3, 4), (1, 3, 3, 4), (2, 3, 3, 4), (2, 3, 4), (1, 3, 4)])
def test_image_quotient_recovers_the_image(backend, kernel):
    x, k = image(h=16, w=15), psf(*kernel)
    k[..., 1, 2] += 1
    restored = svconv.image_quotient(svconv.conv(x, k), k, beta=1e-13, backend=backend)
    close(restored, x, scale=1e4)


@pytest.mark.parametrize("padding", PADDINGS)
def test_where_the_divisor_vanishes_the_quotient_is_zero(backend, padding):
    y, k, beta = image().requires_grad_(), psf(2, 3, 3, 3), torch.tensor([0.5, 0.1], dtype=DOUBLE, requires_grad=True)
    k[0, 1] = 0
    k.requires_grad_()
    x = svconv.image_quotient(y, k, beta=beta, prior="gradient", padding=padding, backend=backend)
    assert x.isfinite().all() and not x[0, 1].any() and x[0, 0].any()
    close(x.detach(), svconv.image_quotient(y, k, beta=beta, prior="gradient", padding=padding, backend="reference").detach(), scale=100)
    grads = torch.autograd.grad(x.square().sum() + x.sum(), (y, k, beta))
    assert all(g.isfinite().all() for g in grads) and not grads[0][0, 1].any()
    spoiled = k.detach().clone()
    spoiled[0, 1, 0, 0] = math.nan
    x = svconv.image_quotient(y, spoiled, beta=beta, prior="gradient", padding=padding, backend=backend)
    assert x[0, 1].isnan().all() and x[0, 0].isfinite().all() and x[1].isfinite().all()


def test_a_delta_kernel_only_scales(backend):
    y = image()
    close(svconv.image_quotient(y, delta(4, 3)[None], beta=1.0, backend=backend), y / 2, scale=10)


# the battery ---------------------------------------------------------------------------------------------------------

def feature_pair(b, c, hw, seed):
    return image(b, c, *hw, seed=seed), image(b, c, *hw, seed=seed + 7), torch.linspace(0.5, 1.5, max(b, 1), dtype=DOUBLE)[:b]


def size_for(x):
    return min(3, x.shape[-2]), min(2, x.shape[-1])


def run_kernel_quotient(x, y, beta, padding, backend):
    return svconv.kernel_quotient(x, y, size_for(x), beta=beta, backend=backend)


def blurred(b, c, hw, seed):
    kernel = psf(b, 1, min(3, hw[0]), min(2, hw[1]), seed=seed + 1)
    return image(b, c, *hw, seed=seed), kernel, torch.linspace(0.2, 0.4, max(b, 1), dtype=DOUBLE)[:b]


def run_image_quotient(y, k, beta, **options):
    return svconv.image_quotient(y, k, beta=beta, prior="gradient", **options)


class TestBattery(Battery):
    stem, op = "quotient", "kernel_quotient_fwd"
    calls = (
        Call(
            "kernel_quotient",
            feature_pair,
            run_kernel_quotient,
            paddings=("circular",),
            linear=False,
            scale=300,
            spread=True,
            computes=torch.float32,
            oracle=lambda x, y, beta, _: oracle_kernel_quotient(x, y, size_for(x), beta.numpy(), True, tuple(n // 2 for n in size_for(x))),
        ),
        Call(
            "image_quotient",
            blurred,
            run_image_quotient,
            scale=500,
            spread=True,
            computes=torch.float32,
            oracle=lambda y, k, beta, p: oracle_image_quotient(y, k, beta.numpy(), "gradient", p, tuple(n // 2 for n in k.shape[-2:])),
        ),
    )

    def registered(self):
        x, y, k = image(dtype=torch.float32), image(dtype=torch.float32, seed=2), psf(1, 3, 3, 4, dtype=torch.float32)
        beta, g, power = torch.tensor([0.1, 0.2]), torch.randn(2, 3, 4), torch.rand(9, 5)
        yield _kernel_fwd, (x, y, beta, 3, 4, True, 1.0, 2.0, "")
        yield _kernel_bwd, (g, x, y, beta, True, 1.0, 2.0, False, False, True, "")
        yield _image_fwd, (x, k, beta, None, "zeros", 1.0, 2.0, "")
        yield _image_bwd, (y, x, k, beta, power, "circular", 1.0, 2.0, False, True, False, False, "")


# project_kernel ------------------------------------------------------------------------------------------------------

def test_project_kernel():
    k = torch.tensor([[[1.0, -2, 3]], [[-1, -1, 0]], [[math.nan, 1, 1]]], dtype=DOUBLE, requires_grad=True)
    p = svconv.project_kernel(k)
    assert p[:2].tolist() == [[[0.25, 0, 0.75]], [[0, 1, 0]]] and p[2].isnan().any()
    (p[:2] * torch.tensor([1.0, 2, 5])).sum().backward()
    assert torch.allclose(k.grad[0], torch.tensor([[-0.75, 0, 0.25]], dtype=DOUBLE)) and not k.grad[1].any()
    assert svconv.project_kernel(torch.zeros(4, 4)).argmax() == 2 * 4 + 2
    assert svconv.project_kernel(torch.zeros(0, 3, 3)).shape == (0, 3, 3)
    x = torch.randn(3, 4, 5, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(svconv.project_kernel, x) and torch.autograd.gradgradcheck(svconv.project_kernel, x)


# gradients -----------------------------------------------------------------------------------------------------------

def check_gradients(function, *inputs):
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize("hw", [(4, 4), (5, 6), (6, 5)])
@pytest.mark.parametrize("taper", ["barthann", None])
@pytest.mark.parametrize("beta", [(), (1,), (2,)])
@pytest.mark.parametrize("center", [None, (0.7, 1.2)])
def test_kernel_quotient_gradients(backend, hw, taper, beta, center):
    x, y = image(2, 2, *hw).requires_grad_(), image(2, 2, *hw, seed=4).requires_grad_()
    beta = (torch.rand(beta, dtype=DOUBLE) + 0.5).requires_grad_()
    check_gradients(
        lambda x, y, beta: svconv.kernel_quotient(x, y, (2, 3), beta=beta, taper=taper, center=center, backend=backend), x, y, beta
    )
    check_gradients(lambda x: svconv.kernel_quotient(x, x * x, (2, 3), beta=0.5, taper=taper, center=center, backend=backend), x)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", [(2, 3, 3, 2), (1, 1, 2, 3), (2, 2, 2)])
@pytest.mark.parametrize("prior", ["identity", "gradient", "filters"])
def test_image_quotient_gradients(backend, padding, kernel, prior):
    inputs = [image(2, 3, 4, 5).requires_grad_(), psf(*kernel).requires_grad_(), (torch.rand(2, dtype=DOUBLE) + 0.2).requires_grad_()]
    if prior == "filters":
        inputs.append(torch.randn(2, 2, 2, dtype=DOUBLE, requires_grad=True))

    def function(y, k, beta, prior=prior):
        return svconv.image_quotient(y, k, beta=beta, prior=prior, padding=padding, center=(0.3, 1), backend=backend)

    check_gradients(function, *inputs)


def test_backward_agrees_with_the_reference(backend):
    """The fused gradients at a size with several blocks, each output asked for alone and together."""
    x, y, g = image(2, 3, 70, 65), image(2, 3, 70, 65, seed=2), image(1, 2, 5, 4, seed=3)[0]
    beta = torch.tensor([0.4], dtype=DOUBLE)
    for need in ((True, True, True), (True, False, False), (False, True, False), (False, False, True)):
        results = [_kernel_bwd(g, x, y, beta, True, 2.0, 1.5, *need, name) for name in (backend, "reference")]
        for ours, expected in zip(*results):
            close(ours, expected, scale=100)
    k = psf(1, 3, 5, 4)
    power = prior_power("gradient", k, (70, 65))
    for need in ((True, True, True, True), (True, False, False, False), (False, True, False, False), (False, False, True, False)):
        results = [_image_bwd(y, x, k, beta, power, "circular", 2.0, 1.5, *need, name) for name in (backend, "reference")]
        for ours, expected in zip(*results):
            close(ours, expected, scale=100)


# dtypes, layouts, containment ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_compute_in_float32(backend, dtype):
    x, y, k = image(dtype=dtype), image(dtype=dtype, seed=2), psf(1, 3, 3, dtype=dtype).requires_grad_()
    for f in (lambda x, y, k: svconv.conv(x, k, backend=backend), lambda x, y, k: svconv.image_quotient(y, k, beta=0.1, backend=backend),
              lambda x, y, k: svconv.kernel_quotient(x, y, 3, beta=torch.tensor(0.1), backend=backend)):
        half, single = f(x, y, k), f(x.float(), y.float(), k.float())
        assert half.dtype == dtype and torch.equal(half, single.to(dtype))
    svconv.conv(x, k, backend=backend).sum().backward()
    assert k.grad.dtype == dtype
    assert svconv.project_kernel(k).dtype == dtype


def test_autocast_casts_mixed_inputs_to_float32(backend):
    x, k, beta = image(dtype=torch.float32), psf(1, 3, 3, dtype=torch.bfloat16), torch.tensor(0.1, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = svconv.image_quotient(x, k, beta=beta, backend=backend)
        again = svconv.kernel_quotient(x, x.bfloat16(), 3, beta=beta, backend=backend)
    assert y.dtype == again.dtype == torch.float32
    close(y.detach(), svconv.image_quotient(x, k.float(), beta=0.1).double(), scale=10)
    close(again.detach(), svconv.kernel_quotient(x, x.bfloat16().float(), 3, beta=0.1).double(), scale=10)
    with pytest.raises(TypeError, match="kernel: expected dtype torch.float32 like y, got torch.bfloat16"):
        svconv.image_quotient(x, k, beta=beta)


def test_a_nan_stays_in_its_own_sample(backend):
    x, y, k = image(), image(seed=2), psf(1, 3, 3)
    bad = x.clone()
    bad[1, 1, 3, 3] = math.nan
    for padding in PADDINGS:
        for f in (
            lambda t: svconv.conv(t, k, padding=padding, backend=backend),
            lambda t: svconv.image_quotient(t, k, beta=0.1, padding=padding, backend=backend),
        ):
            spoiled, clean = f(bad), f(x)
            assert spoiled[1, 1].isnan().any()
            spoiled[1, 1] = clean[1, 1]
            assert torch.equal(spoiled, clean)
    estimate = svconv.kernel_quotient(bad, y, 3, backend=backend)
    assert estimate[1].isnan().all() and torch.equal(estimate[0], svconv.kernel_quotient(x, y, 3, backend=backend)[0])


def test_each_sample_is_what_it_would_be_alone(backend):
    x, y, k = image(3, 2, 17, 14), image(3, 2, 17, 14, seed=2), psf(3, 2, 4, 5)
    beta = torch.rand(3, dtype=DOUBLE) + 0.1
    for i in range(3):
        one = slice(i, i + 1)
        close(svconv.conv(x, k, backend=backend)[one], svconv.conv(x[one], k[one], backend=backend))
        close(
            svconv.image_quotient(y, k, beta=beta, backend=backend)[one],
            svconv.image_quotient(y[one], k[one], beta=beta[one], backend=backend),
            scale=10,
        )
        close(
            svconv.kernel_quotient(x, y, 5, beta=beta, backend=backend)[one],
            svconv.kernel_quotient(x[one], y[one], 5, beta=beta[one], backend=backend),
            scale=10,
        )


@pytest.mark.parametrize("threads", [1, 2])
def test_two_runs_and_any_number_of_threads_give_equal_bits(backend, threads):
    x, y, k = (
        image(1, 2, 150, 170, dtype=torch.float32),
        image(1, 2, 150, 170, dtype=torch.float32, seed=2),
        psf(1, 9, 9, dtype=torch.float32),
    )
    runs = []
    before = torch.get_num_threads()
    for count in (threads if backend == "reference" else 1, threads):       # the reference keeps its bits for a fixed number
        torch.set_num_threads(count)
        runs.append((svconv.conv(x, k, padding="zeros", backend=backend), svconv.image_quotient(x, k, beta=0.1, backend=backend),
                     svconv.kernel_quotient(x, y, 9, backend=backend)))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*runs))


def test_empty_and_zero_inputs(backend):
    k = psf(1, 3, 3)
    assert svconv.conv(image(0, 3), k, backend=backend).shape == (0, 3, 9, 8)
    assert svconv.image_quotient(image(2, 0), k, beta=0.1, backend=backend).shape == (2, 0, 9, 8)
    assert svconv.kernel_quotient(image(0, 3), image(0, 3), 3, backend=backend).shape == (0, 3, 3)
    assert not svconv.kernel_quotient(image(2, 0), image(2, 0), 3, backend=backend).any()
    assert not svconv.image_quotient(image(), torch.zeros(1, 3, 3, dtype=DOUBLE), beta=0.1, backend=backend).any()
    assert not svconv.kernel_quotient(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), 3, backend=backend).any()
    assert svconv.image_quotient(image(1, 1, 1, 1), psf(1, 1, 1), beta=1.0, backend=backend).shape == (1, 1, 1, 1)
    close(svconv.kernel_quotient(torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 3.0), 1, beta=2.0, backend=backend), [[[1.0]]])
