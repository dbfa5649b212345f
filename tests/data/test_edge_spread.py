"""`data.edge_spread`: Gaussian blur is found in every direction, motion in that of its path alone; noise, too few edges, bad input."""
import math

import pytest
import torch

import svconv
from svconv.data import edge_spread, named_kernel

STEP = math.pi / 8


def shapes(side=256):
    """Turned squares: edges in many directions."""
    rows, columns = torch.meshgrid(torch.arange(side, dtype=torch.float64), torch.arange(side, dtype=torch.float64), indexing="ij")
    x = torch.zeros(side, side, dtype=torch.float64)
    for i in range(9):
        down, right, turn = 44 + 84 * (i // 3) - rows, 44 + 84 * (i % 3) - columns, i * math.pi / 18
        u, v = down * math.cos(turn) + right * math.sin(turn), right * math.cos(turn) - down * math.sin(turn)
        x[(u.abs() < 26) & (v.abs() < 26)] = 0.5 + i / 20
    return 0.05 + 0.9 * x[None, None]


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.5])
def test_a_gaussian_spreads_all_directions(sigma):
    y = svconv.conv(shapes(), named_kernel(f"gaussian:{sigma}")[None], padding="replicate")
    found = edge_spread(y, share=0.5)
    assert not found.isnan().any() and (found - sigma).abs().max() < 0.25 * sigma


def test_motion_spreads_the_edges_across_its_path():
    y = svconv.conv(shapes(), named_kernel("motion:9:0")[None], padding="replicate")
    found = edge_spread(y)
    assert found[0] > 2.5 * found[4] and found[4] < 0.7


def test_sharp_edges_with_noise_stay_sharp():
    y = shapes() + 0.02 * torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert edge_spread(y).max() < 0.7


@pytest.mark.parametrize("image", [torch.full((1, 1, 64, 64), 0.3), torch.zeros(1, 1, 16, 40)])
def test_without_edges_nothing_is_said(image):
    assert edge_spread(image).isnan().all()


def test_noise_alone_is_no_edge():
    y = 0.5 + 0.05 * torch.randn(1, 1, 200, 200, generator=torch.Generator().manual_seed(0))
    assert edge_spread(y).isnan().all()


def test_arguments():
    assert edge_spread(shapes(), directions=3).shape == (3,)
    for name, wrong in {"image": [torch.rand(1, 1, 15, 40), torch.rand(1, 3, 40, 40), torch.rand(2, 1, 40, 40)]}.items():
        for image in wrong:
            with pytest.raises(ValueError, match=name):
                edge_spread(image)
    for name, value in {"directions": 0, "share": 1.5, "noise": -1.0}.items():
        with pytest.raises(ValueError, match=name):
            edge_spread(shapes(), **{name: value})
