"""Tiles: weights that sum to 1, and a restored picture without seams."""
import numpy as np
import pytest
import torch

from svconv import _tiles
from svconv.cli import deblur, demo, memory, tiles


@pytest.mark.parametrize("length, side, halo", [(10, 10, 3), (100, 40, 8), (101, 13, 5), (97, 24, 40), (1, 5, 3), (50, 7, 30), (40, 9, 0)])
def test_weights_are_a_partition_of_unity(length, side, halo):
    total = torch.zeros(length)
    for span in _tiles.spans(length, side, halo):
        w, (start, stop) = span.weights, span.kept
        assert w.min() >= 0 and span.start <= start < stop <= span.stop <= span.start + side + 2 * halo
        assert span.inner == slice(start - span.start, stop - span.start)
        total[start:stop] += torch.from_numpy(w)
    torch.testing.assert_close(total, torch.ones(length))


def test_pointwise_functions_come_back_whole():
    y = torch.rand(1, 1, 70, 83)
    seen = []

    def square(t, _):
        seen.append(t.shape)
        return t * t

    torch.testing.assert_close(tiles.apply(square, y, _tiles.plan((70, 83), 30, 9)), y * y)
    assert len(seen) == 9


@pytest.mark.parametrize("method", memory.SOLVERS)
def test_a_restored_picture_has_no_seams(monkeypatch, method):
    picture = demo.photograph(size=200)
    picture.pixels = picture.pixels[..., :1]
    k = np.eye(7)[None] / 7
    from svconv import conv

    picture.set_plane(0, conv(picture.plane(0), torch.tensor(k, dtype=torch.float32)[None], padding="reflect"), 255)
    whole = deblur.restore(picture, k, method, 2e-3).pixels.astype(float)
    monkeypatch.setattr(deblur, "TILE", 100)
    monkeypatch.setattr(deblur, "HALO", 32)
    tiled = deblur.restore(picture, k, method, 2e-3).pixels.astype(float)
    changed, seam = np.abs(whole - picture.pixels).mean(), np.s_[16:-16, 90:110]
    # seen: 0.012, 0.10, 0.004 of the change; with an overlap of one pixel 0.067, 0.30, 0.078 (cg stops early, at a slightly different
    # place each time)
    assert np.abs(tiled - whole)[seam].mean() < {"irls": 0.03, "cg": 0.15, "hyper": 0.02}[method] * changed
