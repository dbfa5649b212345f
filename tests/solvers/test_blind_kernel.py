"""Blind kernel estimation by alternation: known kernels are found again, the conventions of kernels hold, mistakes are named."""
import pytest
import torch

import svconv
from svconv.solvers.blind_kernel import _sizes, blind_kernel


def cartoon(height=110, width=130, seed=0):
    """Random rectangles of random brightness [1, 1, H, W]."""
    g = torch.Generator().manual_seed(seed)
    x = torch.full((1, 1, height, width), 0.5)
    for _ in range(60):
        top, left = int(torch.randint(height - 8, (1,), generator=g)), int(torch.randint(width - 8, (1,), generator=g))
        h, w = (int(n) for n in torch.randint(6, 30, (2,), generator=g))
        x[..., top : top + h, left : left + w] = torch.rand(1, generator=g)
    return x


def bent(size=11):
    """A bent path, not symmetric under any flip."""
    k = torch.zeros(size, size)
    for row, column in ((1, 3), (2, 3), (3, 4), (4, 4), (5, 5), (6, 5), (7, 6), (7, 7), (7, 8), (6, 9)):
        k[row, column] = 1
    return k / k.sum()


def likeness(a, b):
    """The largest correlation coefficient over shifts: the place in the window is arbitrary."""
    a, b = a - a.mean(), b - b.mean()
    return max(float((a.roll((i, j), (0, 1)) * b).sum() / (a.norm() * b.norm())) for i in range(-3, 4) for j in range(-3, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_known_kernel_is_found_the_right_way_round(dtype):
    x, k = cartoon().to(dtype), bent().to(dtype)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    y = svconv.conv(x, k[None, None], padding="replicate") + 0.002 * noise
    result = blind_kernel(y, 13)
    found = result.x[0]
    assert found.dtype == dtype and found.shape == (13, 13) and result.edges.shape == y.shape
    wide = torch.nn.functional.pad(k, (1, 1, 1, 1))
    assert likeness(found, wide) > 0.8
    assert likeness(found, wide.flip(0, 1)) < likeness(found, wide) - 0.15
    assert found.min() >= 0 and abs(float(found.sum()) - 1) < 1e-5


def test_samples_are_independent_and_runs_repeat():
    x = torch.cat([cartoon(seed=1), cartoon(seed=2)])
    y = svconv.conv(x, bent()[None, None], padding="replicate")
    both = blind_kernel(y, 11, steps=2).x
    assert torch.equal(both, blind_kernel(y, 11, steps=2).x)
    for i in range(2):
        assert torch.equal(both[i], blind_kernel(y[i : i + 1], 11, steps=2).x[0])


def test_a_start_on_the_finest_scales_is_used():
    y = svconv.conv(cartoon(), bent()[None, None], padding="replicate")
    good = torch.nn.functional.pad(bent(), (1, 1, 1, 1))[None]
    blind = blind_kernel(y, 13, scales=1, steps=1).x[0]
    started = blind_kernel(y, 13, scales=1, steps=1, start=good).x[0]
    assert likeness(started, good[0]) > likeness(blind, good[0]) + 0.1


def test_progress_counts_every_alternation():
    seen = []
    y = torch.rand(2, 1, 40, 40)
    blind_kernel(y, 9, steps=3, callback=lambda step, steps, x: seen.append((step, steps)))
    total = 2 * 3 * len(_sizes(9))
    assert seen == [(i + 1, total) for i in range(total)]


@pytest.mark.parametrize("size", [3, 5, 7, 9, 17, 25, 33, 95])
def test_pyramids_grow_in_odd_steps(size):
    sizes = _sizes(size)
    assert sizes[-1] == size and sizes[0] <= 5 and all(n % 2 for n in sizes) and sizes == sorted(set(sizes))


def test_a_constant_image_gives_the_delta():
    k = blind_kernel(torch.full((1, 1, 30, 30), 0.3), 7, steps=1).x[0]
    assert float(k[3, 3]) == 1 and float(k.sum()) == 1


def test_an_empty_batch():
    assert blind_kernel(torch.zeros(0, 1, 30, 30), 7).x.shape == (0, 7, 7)


@pytest.mark.parametrize("change, name", [
    (dict(y=torch.rand(1, 3, 40, 40)), "y"), (dict(y=torch.full((1, 1, 40, 40), float("nan"))), "y"), (dict(kernel_size=8), "kernel_size"),
    (dict(kernel_size=21), "kernel_size"), (dict(kernel_size=1), "kernel_size"), (dict(reg=0), "reg"),
    (dict(kernel_reg=float("nan")), "kernel_reg"),
    (dict(steps=0), "steps"), (dict(scales=0), "scales"), (dict(start=torch.zeros(1, 5, 5)), "start")])
def test_mistakes_are_named(change, name):
    arguments = {"y": torch.rand(1, 1, 40, 40), "kernel_size": 9, **change}
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        blind_kernel(**arguments)
