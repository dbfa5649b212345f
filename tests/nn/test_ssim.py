"""SSIMLoss: against the definition, window by window, and scikit-image; gradients; bad input."""
import math

import numpy as np
import pytest
import torch

from svconv.nn import SSIMLoss

PADDINGS = ("valid", "same")


def images(*shape, dtype=torch.float64, seed=0):
    x, y = torch.rand(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype).unbind(0)
    return x, 0.6 * y + 0.4 * x


def by_definition(x, y, padding, window=11, sigma=1.5, data_range=1.0):
    """The mean over all windows of one plane; weighted moments of the pixels in them."""
    reach, values = window // 2, []
    height, width = x.shape
    rows, columns = (range(height), range(width)) if padding == "same" else (range(reach, height - reach), range(reach, width - reach))
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    for i in rows:
        for j in columns:
            near = [(a, b) for a in range(i - reach, i + reach + 1) for b in range(j - reach, j + reach + 1)
                    if 0 <= a < height and 0 <= b < width]
            w = np.array([math.exp(-((a - i) ** 2 + (b - j) ** 2) / (2 * sigma**2)) for a, b in near])
            p, q = (np.array([t[a, b] for a, b in near]) for t in (x, y))
            w /= w.sum()
            mp, mq = w @ p, w @ q
            vp, vq, c = w @ (p - mp) ** 2, w @ (q - mq) ** 2, w @ ((p - mp) * (q - mq))
            values.append((2 * mp * mq + c1) * (2 * c + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return np.mean(values)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("options", [{}, {"window": 5, "sigma": 0.8, "data_range": 2.0}])
def test_it_is_the_definition(padding, options):
    x, y = images(2, 3, 13, 12)
    expected = [np.mean([by_definition(p.numpy(), q.numpy(), padding, **options) for p, q in zip(a, b)]) for a, b in zip(x, y)]
    loss = SSIMLoss(padding, **options)
    np.testing.assert_allclose(loss.similarity(x, y).numpy(), expected, rtol=1e-12)
    assert float(loss(x, y)) == pytest.approx(1 - np.mean(expected), abs=1e-12)


def test_valid_is_that_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    x, y = images(1, 1, 40, 33)
    _, full = metrics.structural_similarity(x[0, 0].numpy(), y[0, 0].numpy(), gaussian_weights=True, sigma=1.5, data_range=1.0,
                                            use_sample_covariance=False, full=True)
    assert float(SSIMLoss().similarity(x, y)) == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-12)


@pytest.mark.parametrize("padding", PADDINGS)
def test_gradients(padding):
    x, y = images(2, 1, 7, 6)
    loss = SSIMLoss(padding, window=5)
    assert torch.autograd.gradcheck(loss, (x.requires_grad_(), y.requires_grad_()))
    assert torch.autograd.gradgradcheck(loss, (x, y))


@pytest.mark.parametrize("padding", PADDINGS)
def test_equal_images_have_no_loss_and_gradient_and_images_of_one_pixel_do(padding):
    x, _ = images(1, 3, 20, 20)
    loss = SSIMLoss(padding)
    value = loss(x.requires_grad_(), x.detach())
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-12) and float(x.grad.abs().max()) < 1e-10
    one = torch.full((1, 1, 1, 1), 0.5), torch.full((1, 1, 1, 1), 0.25)
    assert float(SSIMLoss("same")(*one)) == pytest.approx(1 - (0.25 + 1e-4) / (0.3125 + 1e-4), abs=1e-6)


def test_half_types_are_computed_in_float32():
    x, y = images(1, 3, 16, 16, dtype=torch.bfloat16)
    value = SSIMLoss()(x, y)
    assert value.dtype == torch.float32 and torch.equal(value, SSIMLoss()(x.float(), y.float()))


def test_float32_is_near_float64_on_nearly_constant_images():
    x, y = images(1, 1, 32, 32)
    x, y = 0.9 + 1e-3 * x, 0.9 + 1e-3 * y
    assert abs(float(SSIMLoss()(x.float(), y.float())) - float(SSIMLoss()(x, y))) < 2e-3


@pytest.mark.parametrize("bad, named", [(dict(padding="full"), "padding"), (dict(window=4), "window"), (dict(window=0), "window"),
                                        (dict(sigma=0), "sigma"), (dict(data_range=-1), "data_range")])
def test_bad_settings_are_named(bad, named):
    with pytest.raises(ValueError, match=f"^{named}: "):
        SSIMLoss(**bad)


@pytest.mark.parametrize("x, y, error, text", [
    (torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 17), ValueError, "y: expected the shape of x"),
    (torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16).double(), TypeError, "y: expected torch.float32"),
    (torch.zeros(1, 3, 16, 10), torch.zeros(1, 3, 16, 10), ValueError, "x: expected sides of at least 11"),
    (torch.zeros(3, 16, 16), torch.zeros(3, 16, 16), ValueError, "x: expected"),
    (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), torch.zeros(1, 3, 16, 16), TypeError, "x: expected dtype"),
])
def test_bad_images_are_named(x, y, error, text):
    with pytest.raises(error, match=text.replace("[", r"\[")):
        SSIMLoss()(x, y)


def test_its_settings_are_shown_and_it_has_no_state():
    loss = SSIMLoss("same", window=7)
    assert repr(loss) == "SSIMLoss(padding='same', window=7, sigma=1.5, data_range=1)" and not loss.state_dict()
