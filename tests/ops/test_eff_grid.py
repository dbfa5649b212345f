"""EFFGrid: where the patches stand, what they weigh, which stretches of a continued axis repeat them."""
import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest
import torch

import svconv
from oracles import PADDINGS
from svconv import EFFGrid
from svconv._boundary import source_indices
from svconv._eff_grid import WINDOWS, PatchAxis, grid_of

OVERLAPS = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99)


def axis_by_hand(length, n, overlap, window):
    """Starts, P and windows as the contract states them, pixel by pixel."""
    p = length if n == 1 else math.ceil(length / (1 + (n - 1) * (1 - overlap)))
    starts = [0] if n == 1 else [math.floor(i * (length - p) / (n - 1) + 0.5) for i in range(n)]
    raw = np.zeros((n, length))
    for i, start in enumerate(starts):
        for t in range(p):
            u = (t + 0.5) / p
            raw[i, start + t] = {"hann": math.sin(math.pi * u) ** 2, "hat": 1 - abs(2 * u - 1),
                                 "barthann": 0.62 - 0.48 * abs(u - 0.5) + 0.38 * math.cos(2 * math.pi * (u - 0.5))}[window]
    return starts, p, raw / raw.sum(0)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_the_axes_are_those_of_the_contract(window, overlap):
    for length, n in ((1, 1), (7, 1), (8, 2), (64, 5), (65, 4), (33, 33), (100, 7), (257, 12)):
        grid = EFFGrid((length, 10), (n, 2), overlap=overlap, window=window)
        starts, p, windows = axis_by_hand(length, n, overlap, window)
        assert grid.patch_size[0] == p and list(grid.row_starts) == starts and starts[-1] + p == length
        assert grid.row_windows.shape == (n, length) and grid.row_windows.dtype == torch.float64
        np.testing.assert_allclose(grid.row_windows, windows, atol=2e-15)
        assert torch.equal(EFFGrid((10, length), (2, n), overlap=overlap, window=window).col_windows, grid.row_windows)


@pytest.mark.parametrize("window", WINDOWS)
def test_windows_add_up_to_one_in_any_order(window):
    for length in (1, 2, 3, 16, 61, 200):
        for n in {1, 2, 3, length // 2, length} & set(range(1, length + 1)):
            for overlap in OVERLAPS:
                windows = EFFGrid((length, 1), (n, 1), overlap=overlap, window=window).row_windows
                assert float((windows.sum(0) - 1).abs().max()) <= 1e-15 and float(windows.min()) >= 0
                assert bool((windows.sum(0) == 1).all()) and bool((windows.numpy()[::-1].cumsum(0)[-1] == 1).all())


def test_windows_are_products_and_centres_row_major():
    grid = EFFGrid((20, 31), (2, 3), overlap=0.3, window="barthann")
    whole = torch.einsum("ih,jw->ijhw", grid.row_windows, grid.col_windows)
    torch.testing.assert_close(whole.sum((0, 1)), torch.ones(20, 31, dtype=torch.float64), atol=1e-15, rtol=0)
    assert grid.patches == 6 and grid.centers.shape == (6, 2) and grid.centers.dtype == torch.float64
    (height, width), by_hand = grid.patch_size, []
    for row in grid.row_starts:
        by_hand += [[row + (height - 1) / 2, column + (width - 1) / 2] for column in grid.col_starts]
    assert grid.centers.tolist() == by_hand


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("k", [1, 2, 5, 30])
@pytest.mark.parametrize("n,patches,overlap", [(1, 1, 0.5), (12, 1, 0.5), (12, 3, 0.5), (13, 5, 0.8), (9, 9, 0.0)])
def test_pieces_cover_what_the_padding_repeats(padding, k, n, patches, overlap):
    """Their weights, put where they stand, are the windows continued by the padding."""
    axis = PatchAxis(n, patches, overlap, "hann")
    source = source_indices(k // 2 + 1 - k, n + k // 2, n, padding)
    windows = EFFGrid((n, 1), (patches, 1), overlap=overlap).row_windows.numpy()
    expected = np.where(source >= 0, windows[:, source], 0)
    found = np.zeros_like(expected)
    for piece in axis.pieces(k, padding):
        assert 1 <= len(piece.weights) <= axis.length and 0 <= piece.start < piece.stop <= len(source)
        found[piece.patch, piece.start:piece.stop] += piece.weights
    np.testing.assert_array_equal(found, expected)


def test_a_grid_is_a_value():
    grid = EFFGrid((40, 50), (3, 4), overlap=0.4, window="hat")
    same = EFFGrid(torch.Size([40, 50]), [3, 4], overlap=np.float64(0.4), window="hat")
    assert grid == same and hash(grid) == hash(same) and grid != EFFGrid((40, 50), (3, 4), overlap=0.4)
    assert grid_of((40, 50), *grid.options) == grid and pickle.loads(pickle.dumps(grid)) == copy.deepcopy(grid) == grid
    assert repr(grid) == "EFFGrid(image_size=(40, 50), grid=(3, 4), overlap=0.4, window='hat')"
    with pytest.raises(dataclasses.FrozenInstanceError):
        grid.overlap = 0.5
    grid.row_windows.zero_()
    assert float(grid.row_windows.sum()) == 40 and EFFGrid(8, 2) == EFFGrid((8, 8), (2, 2)) and svconv.EFFGrid is EFFGrid


@pytest.mark.parametrize("arguments,options,error,match", [
    (((8, 9), (9, 1)), {}, ValueError, r"grid: expected at most as many patches as pixels \(8, 9\), got \(9, 1\)"),
    (((8, 9), (1, 10)), {}, ValueError, r"grid: expected at most as many patches as pixels \(8, 9\), got \(1, 10\)"),
    (((8, 9), (0, 1)), {}, ValueError, r"grid: expected sides >= 1, got \(0, 1\)"),
    (((8, 9), (1.5, 1)), {}, TypeError, r"grid: expected integers, got \(1.5, 1\)"),
    (((8, 9), (1, 2, 3)), {}, ValueError, r"grid: expected a number or a pair \(rows, columns\), got \(1, 2, 3\)"),
    (((0, 9), (1, 1)), {}, ValueError, r"image_size: expected sides >= 1, got \(0, 9\)"),
    ((torch.zeros(1, 1, 8, 9), (1, 1)), {}, ValueError, "image_size: expected a number or a pair"),
    (((8, 9), (2, 2)), {"overlap": 1.0}, ValueError, r"overlap: expected a number in \[0, 1\), got 1.0"),
    (((8, 9), (2, 2)), {"overlap": -0.1}, ValueError, r"overlap: expected a number in \[0, 1\), got -0.1"),
    (((8, 9), (2, 2)), {"overlap": math.nan}, ValueError, r"overlap: expected a number in \[0, 1\), got nan"),
    (((8, 9), (2, 2)), {"overlap": "half"}, TypeError, "overlap: expected a number"),
    (((8, 9), (2, 2)), {"window": "box"}, ValueError, "window: expected one of hann, hat, barthann, got 'box'"),
])
def test_errors(arguments, options, error, match):
    with pytest.raises(error, match=match):
        EFFGrid(*arguments, **options)
