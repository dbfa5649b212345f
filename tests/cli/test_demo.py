"""`svconv demo`: the blur is what it says, the restored picture is better, the printed numbers are those of the pictures."""
import re

import numpy as np
import pytest
import torch

import svconv
from svconv.cli import demo
from svconv.files import images


def numbers(out):
    return [float(v) for v in re.findall(r"PSNR (?:before|after)\s+([\d.]+) dB", out)]


def check_pictures(folder, out, gain):
    before, after = numbers(out)
    assert after >= before + gain
    truth = images.read_image(folder / "truth.png").pixels / 255
    for name, printed in (("before", before), ("after", after)):
        mse = ((images.read_image(folder / f"{name}.png").pixels / 255 - truth) ** 2).mean()
        assert abs(-10 * np.log10(mse) - printed) < 0.05  # the files are rounded to 8 bits
    comparison = images.read_image(folder / "comparison.png")
    assert comparison.size[1] > 3 * truth.shape[1]


def test_a_piece_gains_4_db(run, tmp_path):
    outcome = run("demo", "--size", "160", "-o", tmp_path / "new")
    assert outcome.status == 0, outcome
    assert "160 x 160" in outcome.out and "backend " in outcome.out and re.search(r"[\d.]+ s for the restoration", outcome.out)
    check_pictures(tmp_path / "new", outcome.out, 4)


def test_the_command_that_is_printed_restores_the_other_photograph(run, tmp_path):
    import shlex

    folder = tmp_path / "with space"
    outcome = run("demo", "--size", "160", "-o", folder)
    line = next(line for line in outcome.out.splitlines() if line.startswith("try it"))
    program, *command = shlex.split(line.removeprefix("try it"))
    assert program == "svconv" and run(*command).status == 0
    truth, shaken, sharp = (images.read_image(folder / f"{name}.png").pixels[20:-20, 20:-20] / 255 for name in ("truth", "shaken", "sharp"))
    assert -10 * np.log10(((sharp - truth) ** 2).mean() / ((shaken - truth) ** 2).mean()) > 3


@pytest.mark.slow
def test_the_whole_photograph_gains_4_db(run, tmp_path):
    outcome = run("demo", "-o", tmp_path)
    assert outcome.status == 0 and "600 x 400" in outcome.out
    check_pictures(tmp_path, outcome.out, 4)


def test_filters_are_psfs_that_change_over_the_field():
    filters = demo.camera_shake(48, 64)
    assert filters.shape == (demo.SIZE, demo.SIZE, 48, 64) and filters.min() >= 0
    torch.testing.assert_close(filters.sum((0, 1)), torch.ones(48, 64))
    rim = filters.clone()
    rim[1:-1, 1:-1] = 0
    assert rim.sum((0, 1)).max() < 0.01  # the window is large enough
    left, right = filters[..., 24, 2], filters[..., 24, 61]
    assert (left - right).abs().sum() > 1


def test_filters_move_the_scene_along_the_path_of_the_shake():
    """A point of light becomes the PSF of its place, not its mirror image: correlating with the filters draws the path (y, x) of
    `camera_shake`."""
    filters = demo.camera_shake(41, 41)
    point = torch.zeros(1, 1, 41, 41)
    point[..., 20, 20] = 1
    drawn = svconv.pixel_filter(point, filters[None])[0, 0]
    rows, columns = torch.meshgrid(torch.arange(41.0) - 20, torch.arange(41.0) - 20, indexing="ij")
    t = torch.linspace(-1, 1, 25)
    expected = (2.2 * torch.sin(2.2 * t) + 0.7 * t * t - 0.3).mean(), (3.0 * t * t + 0.8 * t - 1.1).mean()
    assert abs((drawn * rows).sum() / drawn.sum() - expected[0]) < 0.3
    assert abs((drawn * columns).sum() / drawn.sum() - expected[1]) < 0.3


def test_bad_arguments(refused, tmp_path):
    (tmp_path / "file").touch()
    refused("demo", "-o", tmp_path / "file", naming="file")
    refused("demo", "-o", tmp_path / "file" / "below", naming="file")
    refused("demo", "--size", "7", "-o", tmp_path / "d", naming="--size")
    assert not (tmp_path / "d").exists()


def test_the_photograph_ships_with_its_provenance():
    from importlib import resources

    text = (resources.files("svconv.cli") / "data" / "coffee.txt").read_text()
    assert "CC0" in text and "Rachel Michetti" in text and "Pikolo Espresso Bar" in text
    picture = demo.photograph()
    assert picture.size == (400, 600) and picture.channels == 3
