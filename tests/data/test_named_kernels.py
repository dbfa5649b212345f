"""Kernels by name: sums, centres, closed forms, turns, refusals."""
import math

import numpy as np
import pytest
import torch

from svconv import disk_kernel
from svconv.data import named_kernel
from svconv.data.named_kernels import is_named

NAMES = ["gaussian:0", "gaussian:0.3", "gaussian:2.7", "disk:0", "disk:0.5", "disk:0.6", "disk:7.25", "motion:0", "motion:1", "motion:9",
         "motion:9:30", "motion:12.5:-100", "motion:3:180", "motion:3:720", "motion:2.2:90"]


@pytest.mark.parametrize("name", NAMES)
def test_sum_centre_and_odd_sides(name):
    k = named_kernel(name)
    rows, columns = (torch.arange(n, dtype=torch.float64) - n // 2 for n in k.shape)
    assert k.dtype == torch.float64 and all(n % 2 for n in k.shape) and bool((k >= 0).all())
    assert float(k.sum()) == pytest.approx(1, abs=1e-12)
    assert float((k.sum(1) * rows).sum()) == pytest.approx(0, abs=1e-9) and float((k.sum(0) * columns).sum()) == pytest.approx(0, abs=1e-9)
    torch.testing.assert_close(k, k.flip(0, 1), rtol=0, atol=1e-12)
    assert k.numel() == 1 or bool(k[[0, -1]].any() and k[:, [0, -1]].any())     # no row or column too many


def test_a_gaussian_is_the_integral_over_each_pixel():
    k, half, sigma = named_kernel("gaussian:1.2"), 5, 1.2
    row = np.diff([0.5 * math.erfc(-(i - half - 0.5) / (sigma * math.sqrt(2))) for i in range(2 * half + 2)])
    np.testing.assert_allclose(k, np.outer(row, row) / row.sum() ** 2, rtol=1e-12)


def test_a_disk_is_that_of_the_library():
    torch.testing.assert_close(named_kernel("disk:3.4"), disk_kernel(torch.tensor(3.4, dtype=torch.float64), 7))


@pytest.mark.parametrize("length", [1, 4, 5, 10])
def test_a_level_streak_is_a_box_between_pixels(length):
    """A box of that length, every point shared between its two neighbours: the box between pixels smoothed by a triangle."""
    k = named_kernel(f"motion:{length}")
    assert k.shape[0] == 1
    half, fine = k.shape[1] // 2, 2000
    points = (np.arange(length * fine) + 0.5) / fine - length / 2
    expected = [np.clip(1 - abs(points - i), 0, None).sum() for i in range(-half, half + 1)]
    np.testing.assert_allclose(k[0], np.array(expected) / sum(expected), atol=1e-4)


def test_angles_go_from_right_towards_up():
    level, up = named_kernel("motion:8:0"), named_kernel("motion:8:90")
    torch.testing.assert_close(up, level.T, rtol=0, atol=1e-12)
    slanted = named_kernel("motion:8:45")
    n = slanted.shape[0]
    assert float(slanted[0, -1]) > 0 and float(slanted[0, 0]) == 0 and float(slanted[n // 2, n // 2]) > 0.99 * float(slanted.max())
    torch.testing.assert_close(named_kernel("motion:8:135"), slanted.flip(1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["gaussian", "gaussian:", "gaussian:a", "gaussian:-1", "gaussian:nan", "gaussian:inf", "gaussian:129",
                                  "disk:513", "disk:1:2", "motion:1:2:3", "motion:5:x", "motion:5:inf", "box:3", "", "psf.png"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match=r"kernel: expected gaussian:SIGMA, disk:RADIUS or motion:LENGTH:ANGLE"):
        named_kernel(name)


def test_files_are_told_from_names():
    assert is_named("disk:3") and is_named("motion:x")
    assert not any(map(is_named, ["disk", "disk.png", "./disk:3", "C:kernel.npy", "gaussian.npy"]))
