"""bench/defocus_quality.py: scenes follow their maps, the shared layers are those of the solver, choice, the record, captured scenes."""
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[2]))
from bench import defocus_quality, defocus_scenes, pixel4_scenes
from bench.defocus_methods import Restorer
from bench.eff_quality import Record
from svconv import disk_blur, solvers
from svconv.data import nearest_radius

pytestmark = pytest.mark.usefixtures("one_thread")


def photograph(height=72, width=84, seed=1):
    small = torch.rand(1, 3, height // 6, width // 6, generator=torch.Generator().manual_seed(seed))
    return small.repeat_interleave(6, 2).repeat_interleave(6, 3)


def made(pattern=6, seed=0):
    return defocus_scenes.scene("a", photograph(), pattern, seed)


@pytest.mark.parametrize("pattern", defocus_scenes.PATTERNS)
def test_a_scene_follows_its_true_map(pattern):
    scene = made(pattern)
    assert scene.sharp.shape == scene.blurry.shape == (1, 3, 60, 72) and set(scene.maps) == set(defocus_scenes.MAPS)
    true = scene.maps["true"]
    assert torch.equal(nearest_radius(true), true)
    again = disk_blur(scene.sharp, true)[..., 6:-6, 6:-6]
    assert float((again - scene.blurry[..., 6:-6, 6:-6]).std()) == pytest.approx(defocus_scenes.NOISE, rel=0.1)
    assert torch.equal((scene.blurry * 255).round() / 255, scene.blurry)
    assert all(0 <= float(radius.min()) and float(radius.max()) <= 6 for radius in scene.maps.values())
    assert torch.allclose(scene.maps["scale"], (1.2 * true).clamp_max(6)) and defocus_scenes.map_error(true, true) == 0
    assert torch.equal(made(pattern).blurry, scene.blurry) and not torch.equal(made(pattern, seed=1).blurry, scene.blurry)


def test_scores_are_of_the_inside():
    scene = made(9)
    wrong = scene.sharp.clone()
    wrong[..., :12, :] = 0
    assert defocus_scenes.scores(wrong, scene.sharp)[0] == pytest.approx(1)
    similarity, psnr = defocus_scenes.scores(scene.sharp * 0.9, scene.sharp * 0.9 + 0.01)
    assert similarity < 1 and psnr == pytest.approx(40, abs=1e-3)


def test_layers_that_are_shared_by_maps_are_those_of_the_solver():
    scene = made(6)
    restorer = Restorer(scene, {})
    for name in ("true", "noise"):
        expected = solvers.layered(scene.blurry, scene.maps[name], lam=2000).x
        torch.testing.assert_close(restorer.restored("layered", scene.maps[name], 2000), expected, rtol=0, atol=1e-6)


class Bright(torch.nn.Module):
    """Stands for a network: brightens, less where the map says more."""

    def __init__(self, gain):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain))

    def forward(self, image, radius):
        return image * (1 + self.gain * (6 - radius) / 6)


def run(record, networks, say=lambda text: None):
    def scenes(names, estimated=True):
        for name in names:
            yield made(6, seed=len(name))._replace(photograph=name)

    return defocus_quality.Run(record, networks, scenes, ("a", "bb"), ("ccc",), {"layered": (1.0, 2000)}, say=say)


def test_the_table_has_every_method_and_map_and_the_choice_is_made_on_other_photographs():
    networks = {"true-only": Bright(0.2).eval(), "svbr": Bright(0.0).eval()}
    results = run(Record(None, {}), networks).results()
    assert results["strengths"] == {"layered": 2000} and results["scenes"] == ["a, pattern 6", "bb, pattern 6"]
    assert list(results["scores"]) == ["blurred", "layered", "true-only", "svbr"]
    assert all(len(values) == 2 for rows in results["scores"].values() for values in rows.values())
    assert results["scores"]["svbr"]["true"] == results["scores"]["blurred"]["scale"]      # a gain of 0 changes nothing
    text = defocus_quality.table(results)
    assert len(text.splitlines()) == 7 and text.count("|") == 7 * 8
    said = defocus_quality.wishes(results)
    assert "SVBR-Net over blurred, SSIM: true map +0.000" in said and "**missed**" in said
    assert "kodim08" in defocus_quality.section(results) and text in defocus_quality.section(results)


def test_a_network_loses_what_the_worst_map_costs():
    scores = {name: [[0.9 - 0.1 * i, 20.0]] for i, name in enumerate(defocus_scenes.MAPS)}
    lost, worst = defocus_quality.lost({"scores": {"svbr": scores}}, "svbr")
    assert lost == pytest.approx(0.5) and worst == "scale"


def test_a_stopped_run_goes_on_and_other_weights_are_other_scores(tmp_path):
    path, said = tmp_path / "record.json", []

    def again(gain):
        networks = {"svbr": Bright(gain).eval()}
        return run(defocus_quality.OfNetworks(Record(path, {}), networks), networks, said.append).results()

    first, count = again(0.1), len(said)
    assert again(0.1) == first and len(said) == count
    other = again(0.3)
    assert len(said) == count + 12 and all("svbr" in text for text in said[count:])
    assert other["scores"]["svbr"] != first["scores"]["svbr"] and other["scores"]["layered"] == first["scores"]["layered"]


# captured scenes ------------------------------------------------------------------------------------------------------

def disk_of_camera_pixels(radius, size=61):
    t = torch.arange(size * 8, dtype=torch.float64) / 8 - size / 2 + 1 / 16
    fine = ((t[:, None] ** 2 + t**2) <= radius**2).double()
    kernel = torch.nn.functional.avg_pool2d(fine[None, None], 8)[0, 0]
    return kernel / kernel.sum()


def test_a_measured_disk_has_its_own_radius_wherever_it_stands():
    kernel = disk_of_camera_pixels(9.0)
    assert pixel4_scenes.equal_radius(kernel) == pytest.approx(9, abs=0.05)
    moved = kernel.roll((3, -4), (0, 1))
    assert torch.equal(pixel4_scenes._centred(moved), kernel)


def test_measured_disks_blur_as_disks_do():
    kernels = disk_of_camera_pixels(9.0).expand(*pixel4_scenes.GRID, -1, -1)
    sharp = photograph(60, 96)[:, :1]
    scale = torch.full((1, 1, 60, 96), 1.0)
    scale[..., 48:] = 0.5
    scene = SimpleNamespace(sharp=sharp, scale=scale, kernels=kernels)
    found, expected = pixel4_scenes.measured_blur(scene), disk_blur(sharp, 9.0 / pixel4_scenes.SHRUNK * scale)
    assert float((found - expected).abs().max()) < 0.03 and float((sharp - expected).abs().max()) > 0.3


def test_scores_are_after_the_best_shift_gain_and_offset_where_the_truth_is_known():
    truth = photograph(96, 108)[:, :1]
    image = (0.5 * truth + 0.2).roll((2, -3), (-2, -1))
    valid = torch.ones_like(truth)
    assert pixel4_scenes.scores(image, truth, valid)[0] == pytest.approx(1) and pixel4_scenes.scores(image, truth, valid)[1] > 100
    spoiled, valid = image.clone(), valid.clone()
    spoiled[..., 40:60, 40:60], valid[..., 30:70, 30:70] = 5, 0
    assert pixel4_scenes.scores(spoiled, truth, valid)[1] > 100 and pixel4_scenes.scores(spoiled, truth, torch.ones_like(valid))[1] < 40
    assert pixel4_scenes.scores(image.roll(3, -1), truth, torch.ones_like(valid))[1] > 100      # back to within reach
    assert pixel4_scenes.scores(image.roll(-3, -1), truth, torch.ones_like(valid))[1] < 40


def test_holes_of_the_map_do_not_enter_its_means():
    t, known = torch.full((1, 1, 6, 6), 7.0), torch.ones(1, 1, 6, 6)
    t[..., 0, 0], known[..., 0, 0] = 0, 0
    assert torch.allclose(pixel4_scenes.shrunk(t, known), torch.full((1, 1, 2, 2), 7.0)) and np.isfinite(pixel4_scenes.SLOPE)
