"""Motion kernels: shape, sum, centre, box, seeds, the covariance of the paths."""
import math

import pytest
import torch

from svconv.data import motion_kernel, motion_path
from svconv.data.motion import _path_factor


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 33])
def test_a_kernel_is_a_centred_distribution(size):
    k = motion_kernel(size, 20, generator=seeded())
    assert k.shape == (20, size, size) and k.dtype == torch.float32
    assert (k >= 0).all()
    torch.testing.assert_close(k.sum((1, 2)), torch.ones(20))
    t = torch.arange(float(size))
    for axis in (1, 2):
        centre = (k.sum(3 - axis) * t).sum(1)
        torch.testing.assert_close(centre, torch.full((20,), float(size // 2)), atol=1e-4, rtol=0)


def test_the_longer_side_of_the_box_is_two_pixels_less_than_the_kernel_unless_centring_needs_room():
    k = motion_kernel(17, 300, generator=seeded())
    used = torch.stack([(k.sum(a) > 0).sum(1) for a in (1, 2)])
    longest = used.amax(0)
    assert int(longest.max()) <= 16  # 15 pixels, one more when the path starts between two pixels
    assert (longest >= 14).float().mean() > 0.7


def test_the_same_seed_gives_the_same_kernels_and_another_one_others():
    a, b, c = (motion_kernel(9, 5, generator=seeded(s)) for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    torch.manual_seed(3)
    first = motion_kernel(9)
    torch.manual_seed(3)
    assert torch.equal(first, motion_kernel(9))


def test_the_paths_have_the_stated_covariance():
    p = motion_path(4000, points=200, generator=seeded())
    t = torch.linspace(0, 1, 200)
    for i, j in ((0, 0), (50, 50), (20, 60), (0, 199), (100, 130)):
        d = math.sqrt(5) * abs(float(t[i] - t[j])) / 0.3
        expected = 0.25**2 * (1 + d + d * d / 3) * math.exp(-d)
        assert abs(float((p[:, :, i] * p[:, :, j]).mean()) - expected) < 0.003
    assert abs(float((p[:, 0, 80] * p[:, 1, 80]).mean())) < 0.003


def test_many_kernels_are_drawn_in_chunks():
    assert motion_kernel(3, 4100, generator=seeded()).shape == (4100, 3, 3)
    assert motion_kernel(5, 0).shape == (0, 5, 5)


@pytest.mark.parametrize("arguments, name", [((0,), "size"), ((2.5,), "size"), ((5, -1), "n")])
def test_bad_arguments_are_named(arguments, name):
    with pytest.raises(ValueError, match=f"^{name}:"):
        motion_kernel(*arguments)


def test_the_kernels_do_not_depend_on_the_number_of_threads():
    """The factor of the covariance is kept for the whole process: it must not remember how many threads there were when it was first
    needed."""
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            _path_factor.cache_clear()
            found.append((_path_factor(1000), motion_kernel(17, 8, generator=seeded())))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other))
