"""Defocus maps: the thirteen patterns, their seeds, radii and what spoils them."""
import pytest
import torch

from svconv.data import defocus_map, defocus_radii, nearest_radius, spoiled_map

RADII = defocus_radii()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("pattern", range(1, 14))
@pytest.mark.parametrize("height, width", [(340, 360), (96, 120), (1, 1), (7, 400)])
def test_maps_are_seeded_and_in_range(pattern, height, width):
    maps = defocus_map(pattern, height, width, 3, generator=seeded())
    assert maps.shape == (3, 1, height, width) and maps.dtype == torch.float32
    assert float(maps.min()) >= 0 and float(maps.max()) <= 6 and bool(torch.isfinite(maps).all())
    assert torch.equal(maps, defocus_map(pattern, height, width, 3, generator=seeded()))
    if min(height, width) > 90:
        assert not torch.equal(maps, defocus_map(pattern, height, width, 3, generator=seeded(1)))
        assert pattern == 9 or not torch.equal(maps[0], maps[1])


@pytest.mark.parametrize("pattern", [1, 2, 3, 4])
def test_ramps(pattern):
    for seed in range(20):
        x = defocus_map(pattern, 360, 360, generator=seeded(seed))[0, 0]
        x = x if pattern in (1, 3) else x.T
        assert torch.equal(x, x[:1].expand_as(x))       # one line, repeated
        line = x[0] if pattern <= 2 else x[0].flip(0)
        start = int((line > 0).nonzero()[0])
        assert start < 100 and float(line[start]) in RADII[:6].tolist() and float(line[-1]) in RADII[16:].tolist()
        ramp = line[start:]
        stop = int((ramp == ramp[-1]).nonzero()[0]) + start
        assert 260 <= stop < 360 and bool((ramp.diff() >= 0).all())
        inner = line[start:stop + 1].diff()
        torch.testing.assert_close(inner, inner.mean().expand_as(inner), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pattern", [5, 6, 7, 8])
def test_stairs(pattern):
    for seed in range(20):
        x = defocus_map(pattern, 360, 360, generator=seeded(seed))[0, 0]
        x = x if pattern in (5, 7) else x.T
        line = x[0] if pattern <= 6 else x[0].flip(0)
        start = int((line > 0).nonzero()[0])
        values = [float(line[start + 50 * i]) for i in range(4)]
        first = RADII.tolist().index(values[0])
        assert start <= 140 and first <= 14 and values == RADII[first:first + 7:2].tolist()
        expected = torch.cat([torch.zeros(start), *(torch.full((50,), v) for v in values)])
        assert torch.equal(line[:start + 200], expected) and bool((line[start + 150:] == values[3]).all())


def test_uniform_and_geometric_means():
    flat = defocus_map(9, 20, 30, 50, generator=seeded())
    assert bool((flat == flat[..., :1, :1]).all()) and set(flat[:, 0, 0, 0].tolist()) <= set(RADII.tolist()) and len(flat.unique()) > 10
    means = defocus_map(10, 340, 340, generator=seeded())[0, 0]
    generator = seeded()
    first, second = (defocus_map(part, 340, 340, generator=generator)[0, 0] for part in (1, 2))
    torch.testing.assert_close(means, (first * second).sqrt())


def test_radii_nearest_and_spoiled():
    assert len(defocus_radii()) == 22 and len(defocus_radii(0.5)) == 23 and float(defocus_radii(0.5)[-1]) == 6
    x = torch.linspace(0, 8, 1001, dtype=torch.float64)
    found = nearest_radius(x)
    assert bool((found[x <= 0.5] == 0).all()) and bool(torch.isin(found[x > 0.5], RADII.double()).all())
    inside = (x > 0.625) & (x < 6)
    assert float((found - x)[inside].abs().max()) <= 0.125 + 1e-9
    assert bool(torch.isnan(nearest_radius(torch.tensor([float("nan")]))).all())
    assert set(nearest_radius(torch.tensor([0.6, 0.55]), defocus_radii(0.5)).tolist()) == {0.5}
    noisy = spoiled_map(torch.full((1, 1, 100, 100), 3.0), noise=0.5, generator=seeded())
    assert abs(float(noisy.std()) - 0.5) < 0.02 and torch.equal(noisy, spoiled_map(torch.full((1, 1, 100, 100), 3.0), noise=0.5,
                                                                                  generator=seeded()))
    assert float(spoiled_map(torch.zeros(1, 1, 50, 50), noise=1, generator=seeded()).min()) == 0


@pytest.mark.parametrize("call, error, match", [
    (lambda: defocus_map(0, 9, 9), ValueError, "pattern"), (lambda: defocus_map(14, 9, 9), ValueError, "pattern"),
    (lambda: defocus_map(1, 0, 9), ValueError, "height"), (lambda: defocus_map(1, 9, 9, -1), ValueError, "n: "),
    (lambda: defocus_map(1, 9, 9, radii=torch.ones(30)), ValueError, "radii: expected an increasing"),
    (lambda: defocus_map(1, 9, 9, radii=RADII[:5]), ValueError, "radii"), (lambda: defocus_radii(step=0), ValueError, "step"),
    (lambda: spoiled_map(torch.ones(1), noise=-1), ValueError, "noise"),
    (lambda: defocus_map(1.5, 9, 9), (TypeError, ValueError), "pattern")])
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_no_maps():
    assert defocus_map(3, 5, 6, 0).shape == (0, 1, 5, 6)
