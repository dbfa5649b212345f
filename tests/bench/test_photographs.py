"""`bench/large_photograph.py`, `bench/star_psfs.py` and `bench/linear_light.py`: their parts on small data."""
import json

import pytest
import torch

from bench import large_photograph, linear_light, star_psfs
from svconv.data import named_kernel


def test_a_photograph_is_made_and_commands_are_measured(tmp_path):
    large_photograph.photograph(tmp_path, large_photograph.SMOKE)
    status, seconds, gigabytes = large_photograph.measured(tmp_path, ("--kernel", "kernel.npy", "--method", "hyper"))
    assert status == 0 and seconds > 0 and 0.05 < gigabytes < 4 and (tmp_path / "out.jpg").exists()
    assert large_photograph.measured(tmp_path, ("--kernel", "none.npy"))[0] == 2


def test_a_row_that_failed_is_not_measured():
    row = next(iter(large_photograph.ROWS))
    assert f"| {row} | not measured | 120 | no memory |" in large_photograph.table({row: "no memory"})
    assert f"| {row} | 42 | 120 | 1.50 |" in large_photograph.table({row: json.loads("[0, 42.2, 1.5]")})


def test_stars_are_moved_and_cells_compared(monkeypatch):
    psf = torch.nn.functional.pad(named_kernel("gaussian:1.5").double(), (6,) * 4)
    psf = psf[psf.shape[0] // 2 - 12:, psf.shape[1] // 2 - 12:][:25, :25]
    star = star_psfs.moved(psf / psf.sum(), 0.3, -0.2)
    middle = star_psfs.BOX // 2
    places = torch.arange(star_psfs.BOX, dtype=torch.float64) - middle
    assert abs(float((star.sum(1) * places).sum()) - 0.3) < 1e-3 and abs(float((star.sum(0) * places).sum()) + 0.2) < 1e-3
    grid = psf.expand(9, 9, 25, 25) / psf.sum()
    torch.testing.assert_close(star_psfs.psf_at(grid, 17.0, 1100.0), grid[0, 0])
    monkeypatch.setattr(star_psfs, "SIDE", 300)
    served, fit, flat = star_psfs.measured(grid, 40)
    assert served > 15 and fit.shape == (9, 9) and float(flat.max()) < 0.06


@pytest.mark.parametrize("light", [True, False])
def test_light_and_values(light):
    from svconv import conv
    from svconv.cli import demo
    from svconv.files.picture import decoded, encoded

    kernel = named_kernel("disk:2").float()
    sharp = demo.photograph(size=96).plane(0)
    blurry = encoded(conv(decoded(sharp), kernel[None, None])) if light else conv(sharp, kernel[None, None])
    itself, values, as_light, _ = linear_light.measured(sharp, blurry, kernel)
    assert (as_light > values) == light and max(values, as_light) > itself + 2
    assert "| a | 1 |" in linear_light.table({"a": [[1.0, 2.0, 3.0, 4.0]]})
