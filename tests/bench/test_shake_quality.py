"""bench/shake_quality.py: scenes, errors up to a common shift, plain gradients, choice on other photographs, the record, the page."""
import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[2]))
from bench import eff_quality, psf_scenes, shake_quality, shake_scenes
from svconv import EFFGrid, eff_conv, eff_kernel_quotient
from svconv.models import LearningToDeblur
from svconv.models.learning_to_deblur.features import differences
from svconv.models.learning_to_deblur.steps import KERNEL_BETA

pytestmark = pytest.mark.usefixtures("one_thread")


def images(*names):
    generator = torch.Generator().manual_seed(1)
    return {name: torch.rand(1, 3, 26, 32, generator=generator).repeat_interleave(4, 2).repeat_interleave(4, 3) for name in names}


def test_a_scene_follows_its_kernels():
    made = shake_scenes.scenes(images("a", "b"), paths=2, patches=(2, 3))
    assert [scene.name for scene in made] == ["a, path 1", "a, path 2", "b, path 1", "b, path 2"]
    for scene in made:
        again = eff_conv(scene.sharp, scene.kernels, scene.grid, padding="symmetric")
        assert float((again - scene.blurry).std()) == pytest.approx(shake_scenes.NOISE, rel=0.05)
        assert torch.allclose(scene.kernels.sum((2, 3)), torch.ones(1, 6), atol=1e-5)
        assert float((scene.kernels[0, 0] - scene.kernels[0, 5]).norm()) > 0.05
    assert torch.equal(made[0].kernels, made[2].kernels) and not torch.equal(made[0].kernels, made[1].kernels)
    assert not torch.equal(made[0].blurry - made[2].blurry, made[1].blurry - made[3].blurry)


def test_the_error_of_kernels_leaves_out_one_common_shift():
    truth = torch.zeros(1, 2, 17, 17)
    truth[0, 0, 6:9, 8], truth[0, 1, 8, 6:9] = 1, 1
    assert shake_scenes.kernel_error(truth.roll((2, -3), (2, 3)), truth) == 0
    apart = torch.stack([truth[:, 0].roll(2, 1), truth[:, 1].roll(-2, 1)], 1)
    assert shake_scenes.kernel_error(apart, truth) > 0.8
    assert shake_scenes.kernel_error(0 * truth, truth) == 1 and shake_scenes.kernel_error(1.5 * truth, truth) == pytest.approx(0.5)


def test_the_score_of_an_image_leaves_out_its_shift():
    truth = torch.rand(1, 1, 100, 100, generator=torch.Generator().manual_seed(0))
    wrong = truth.roll((3, -4), (2, 3)) + 0.01
    assert shake_scenes.psnr(wrong, truth) == pytest.approx(40, abs=0.01) and shake_scenes.psnr(truth.roll(6, 2), truth) < 20


def test_plain_gradients_take_the_place_of_the_features_they_should():
    torch.manual_seed(0)
    model = LearningToDeblur((9,), 3, filter_size=5, filters=4)
    blurry, latent = torch.rand(2, 1, 1, 30, 30, generator=torch.Generator().manual_seed(2))

    def plain(other):
        return [isinstance(stage, shake_quality.PlainGradients) for stage in other.scales[0]["stages"]]

    module = shake_quality.PlainGradients(KERNEL_BETA)
    assert plain(shake_quality.with_features(model, module, True)) == [False, False, True]
    assert plain(shake_quality.with_features(model, module, False)) == [True] * 3 and not any(plain(model))
    assert torch.equal(module(blurry, latent)[0], differences(latent)) and torch.equal(module(blurry)[0], differences(blurry))
    assert torch.equal(shake_quality.PlainGradients(KERNEL_BETA, latent)(blurry)[0], differences(latent))
    assert torch.equal(module(blurry, latent)[1], differences(blurry))


def test_scaled_gradients_are_another_beta():
    x, y = torch.rand(2, 1, 1, 40, 40, generator=torch.Generator().manual_seed(3))
    grid = EFFGrid((40, 40), (2, 2))
    scaled = eff_kernel_quotient(*shake_quality.PlainGradients(0.5, x)(y), grid, 9, beta=KERNEL_BETA)
    assert torch.allclose(scaled, eff_kernel_quotient(differences(x), differences(y), grid, 9, beta=0.5), rtol=1e-3, atol=1e-4)


def test_the_four_errors_are_those_of_one_direct_estimate():
    """With features that know the true image the direct estimate is better than with those that only have the blurry one."""
    scene = shake_scenes.scenes(images("a"), paths=1, patches=(2, 2))[0]
    model = LearningToDeblur.from_pretrained().eval()
    with torch.no_grad():
        known, plain = (shake_quality.kernel_errors(shake_quality.FEATURES[name](model, scene, 1.0), scene)
                        for name in ("gradients of the true image", "plain gradients in all stages"))
        found = model.estimate_varying(scene.blurry, scene.grid)
        learned = shake_quality.kernel_errors(model, scene)
    assert known[1] < plain[1] - 0.2
    assert learned[0] == pytest.approx(shake_scenes.kernel_error(found.direct, scene.kernels))
    assert learned[4] == pytest.approx(shake_scenes.kernel_error(found.kernels, scene.kernels), rel=1e-4)


def run_of(record, say):
    torch.manual_seed(0)
    model = LearningToDeblur((17,), 1, filter_size=5, filters=4)
    regs = {"estimated": (0.01, 1000.0), "true": (0.002, 1000.0)}
    return shake_quality.Run(record, images("a", "b"), (("a",), ("b",)), regs, (1e-4, 1.0), model, say, paths=1, patches=(2, 2))


def test_a_stopped_run_goes_on_and_ends_with_the_same_results(tmp_path, monkeypatch):
    monkeypatch.setattr(shake_quality, "SHORT", dict(reweightings=1, cg_iter=5))
    said, path = [], tmp_path / "shake.json"

    def stop(line):
        said.append(line)
        if len(said) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_of(eff_quality.Record(path, {}), stop).results()
    assert len(json.loads(path.read_text())["scores"]) == 3
    results = run_of(eff_quality.Record(path, {}), said.append).results()
    assert len(said) == 1 + len(json.loads(path.read_text())["scores"])
    assert run_of(eff_quality.Record(path, {}), said.append).results() == results
    assert results["chosen"]["true"] == results["psnr"]["true"] and results["regs"]["true"] == [0.002, 0.002]
    assert list(results["psnr"]) == ["blurred", *shake_quality.METHODS] == list(shake_quality.NAMES)
    assert all(len(rows) == 2 and len(rows[0]) == 6 for rows in results["errors"].values())


def results_of(**psnr):
    values = dict.fromkeys(shake_quality.NAMES, [20.0, 22.0, 24.0]) | psnr
    return {"photographs": ["a", psf_scenes.REPORTED[0], psf_scenes.REPORTED[1]], "psnr": values,
            "errors": {name: [[0.9, 0.8, 0.7, 0.85, 0.6, 0.95]] * 3 for name in shake_quality.FEATURES},
            "betas": dict.fromkeys(shake_quality.FEATURES, [1.0, 1.0]), "chosen": values,
            "regs": dict.fromkeys(shake_quality.METHODS, [0.01, 0.03])}


def test_a_miss_is_printed_and_the_page_says_all():
    results = results_of(blurred=[19.0, 21.0, 25.0])
    text = shake_quality.wishes(results).splitlines()
    assert [("missed" in line) for line in text[:8]] == [False, False, False, True, False, False, True, True]
    assert text[3].startswith("- median kernel error of the direct estimate (clipped, sum 1) 0.800, projected with `eta=0.0314, ")
    assert text[8].startswith("- varying, `eta=1, fit_steps=10` over blurred: 2 of 3 scenes, median +1.00 dB (+0.00 dB on ")
    assert text[8].endswith("**missed**") and len(text) == 14 and all("missed" in line for line in text[9::2])
    page = shake_quality.section(results)
    assert "| varying, `eta=0.0314, fit_steps=0` | 0.01 | 22.00 | 2 of 3 | -1.00, +1.00 | 0.01, 0.03 | 22.00 |" in page
    assert "| learned | 1 | 0.900 | 0.800 | 0.700 | 0.850 | 0.600 | 0.950 |" in page and "3 scenes" in page and text[0] in page


def test_strengths_of_photographs_are_chosen_on_the_others():
    run = run_of(eff_quality.Record(None, {}), lambda line: None)
    scores = {("a", 0.01): 20, ("a", 1000.0): 21, ("b", 0.01): 23, ("b", 1000.0): 22}

    def score(scene, option):
        return scores[scene.photograph, option]

    chosen = run.choose((0.01, 1000.0), score)
    assert chosen == [0.01, 1000.0] and run.each(score, chosen) == [20, 22]


def test_the_smoke_run_restores_with_true_kernels(shared_data):
    results = shake_quality.smoke(shared_data, eff_quality.Record(None, {}), say=lambda line: None)
    for blurred, true in zip(results["psnr"]["blurred"], results["psnr"]["true"]):
        assert true > blurred + 1
    learned, known = (shake_quality.median_errors(results)[name] for name in ("learned", "gradients of the true image"))
    assert known[1] < learned[1] < 1.5
    assert psf_scenes.CHOSEN[0] in shake_scenes.scenes({psf_scenes.CHOSEN[0]: torch.rand(1, 3, 64, 64)}, 1, (1, 1))[0].name


def test_a_grid_over_the_whole_image():
    scene = shake_scenes.scenes(images("a"), paths=1, patches=(2, 3))[0]
    assert scene.grid == EFFGrid((104, 128), (2, 3)) and scene.sharp.shape == (1, 1, 104, 128)
    white = shake_scenes.luminance(torch.ones(1, 3, 4, 4))
    assert torch.allclose(white, torch.ones(1, 1, 4, 4))
