"""bench/eff_quality.py: scenes, scores, choice on some photographs and report on others, the record, the page, the smoke run."""
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[2]))
from bench import eff_quality, measure, pages, psf_scenes


@pytest.fixture
def lens():
    kernels = torch.zeros(2, 3, 5, 5)
    for i in range(2):
        for j in range(3):
            kernels[i, j, 1 + i:4, 1 + j:4] = 1
    return psf_scenes.lens("small", kernels.numpy())


def test_a_lens_keeps_the_order_of_its_patches(lens):
    assert lens.kernels.shape == (1, 1, 6, 5, 5) and torch.allclose(lens.kernels.sum((-2, -1)), torch.ones(1, 1, 6))
    assert lens.kernels[0, 0, 5, 2:4, 3].tolist() == [0.5, 0.5] and lens.central() == [1, 4]
    coloured = psf_scenes.lens("colours", np.arange(2 * 2 * 3 * 3 * 3, dtype=float).reshape(2, 2, 3, 3, 3))
    assert coloured.kernels.shape == (1, 3, 4, 3, 3)
    assert float(coloured.kernels[0, 1, 2, 0, 0]) == pytest.approx(55 / sum(range(55, 82, 3)))


def test_wrong_grids(lens):
    noisy, shifted = psf_scenes.noisy(lens).kernels, psf_scenes.shifted(lens).kernels
    relative = (noisy - lens.kernels).norm(dim=(-2, -1)) / lens.kernels.norm(dim=(-2, -1))
    assert torch.allclose(relative, torch.full_like(relative, psf_scenes.WRONG), atol=1e-3) and float(noisy.min()) >= 0
    assert torch.allclose(noisy.sum((-2, -1)), torch.ones(1, 1, 6))
    assert torch.equal(shifted[:, :, [0, 1, 2, 3, 4, 5]], lens.kernels[:, :, [1, 2, 2, 4, 5, 5]])


def test_spots_are_found_where_they_stand():
    image = np.full((360, 360), 20.0)
    lines = [round((i + 0.5) * 24 + (7 - i) * 1.15) for i in range(15)]
    places = [(row, column + i % 2) for i, row in enumerate(lines) for column in lines]
    for row, column in places:
        image[row - 1:row + 2, column - 1:column + 2] = 200
    spots = psf_scenes.fibre_spots(image)
    expected = np.zeros((21, 21))
    expected[9:12, 9:12] = 180
    assert (spots == expected).all()


def test_scores_leave_the_border_out():
    x = torch.rand(1, 3, 120, 130, generator=torch.Generator().manual_seed(0))
    wrong = x + 0.1
    wrong[..., :32, :] = 9
    assert psf_scenes.psnr(wrong, x) == pytest.approx(20, abs=1e-4)
    assert psf_scenes.ssim(x, x) == pytest.approx(1) and psf_scenes.ssim(x * 0 + 0.5, x) < 0.1 < psf_scenes.ssim(0.7 * x + 0.15, x)


def run_of(record, lens, say):
    generator = torch.Generator().manual_seed(1)
    images = {name: torch.rand(1, 1, 30, 40, generator=generator).repeat_interleave(4, 2).repeat_interleave(4, 3) for name in ("a", "b")}
    return eff_quality.Run(record, images, ("a",), ("b",), {"quotient": (0.01, 1000.0), "irls": (0.002,), "rl": (2,)}, cg_iter=2, say=say)


def test_a_stopped_run_goes_on_and_ends_with_the_same_scores(tmp_path, lens):
    whole = run_of(eff_quality.Record(None, {}), lens, lambda line: None).lens(lens)
    said, path = [], tmp_path / "record.json"

    def stop(line):
        said.append(line)
        if len(said) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_of(eff_quality.Record(path, {"commit": "one"}), lens, stop).lens(lens)
    assert len(json.loads(path.read_text())["scores"]) == 4
    again = run_of(eff_quality.Record(path, {"commit": "one"}), lens, said.append).lens(lens)
    scores = json.loads(path.read_text())["scores"]
    assert again == whole and len(said) == len(scores) + 1
    assert whole["quotient"]["strength"] == 0.01 and set(whole["irls"]) == {"strength", "index", "each", *eff_quality.VARIANTS}
    assert "exact" in whole["central irls"] and "noise" not in whole["central irls"]
    assert whole["rl"]["each"] == [whole["rl"]["exact"][0]]
    assert not any(" b | " in key and "1000" in key for key in scores)      # strengths are chosen without the photographs reported


def test_a_record_of_other_settings_is_refused(tmp_path):
    path = tmp_path / "record.json"
    eff_quality.Record(path, {"commit": "one"}).get("key", lambda: [1.0])
    with pytest.raises(ValueError, match="a record of another run"):
        eff_quality.Record(path, {"commit": "two"})


def test_versions_name_the_committed_content():
    found = measure.versions_of("bench/psf_scenes.py", "bench/pages.py", "bench/pages.py")
    assert not found or len(found) == 3 and found[1] == found[2] != found[0]       # nothing outside of a checkout


def test_a_miss_is_printed():
    psnr = {"blurred": 20, "central quotient": 21, "central irls": 21.5, "quotient": 21.9, "irls": 23, "rl": 21}
    rows = {method: {"strength": 1, "exact": [value, 0.5], "each": [value, value]} for method, value in psnr.items()}
    rows["irls"]["each"] = [21.3, 24.7]
    rows["rl"]["noise"] = [20.5, 0.4]
    text = eff_quality.wishes({"Pixel 4": rows, "DECam": rows, "fibre": rows}).splitlines()
    assert text[0].endswith("+0.90 dB, wanted +1.00, **missed**") and text[1].endswith("+1.50 dB, wanted +1.00")
    assert len(text) == 6 and sum("missed" in line for line in text) == 3
    assert text[5] == "- DECam, eff over the central PSF, IRLS, the worst photograph: -0.20 dB, wanted -0.05, **missed**"
    assert "| fibre | eff Richardson-Lucy | 1 | 21.00 | 0.500 | 20.50 |  |" in eff_quality.table({"fibre": rows})


def test_the_section_fills_its_place(tmp_path):
    rows = {"blurred": {"strength": "", "exact": [20.0, 0.5]}}
    page = tmp_path / "quality.md"
    page.write_text("# Quality\n\nother\n")
    pages.fill(page, eff_quality.SECTION, eff_quality.section({"fibre": rows}), "Quality")
    assert "other\n" in page.read_text() and "| fibre | blurred |  | 20.00 | 0.500 |  |  |" in page.read_text()


def test_a_kernel_per_patch_beats_one_for_all(shared_data):
    results = eff_quality.smoke(shared_data, say=lambda line: None)
    rows, = results.values()
    psnr = {method: row["exact"][0] for method, row in rows.items()}
    assert list(rows) == list(eff_quality.NAMES) and min(psnr[m] for m in eff_quality.METHODS) > psnr["blurred"] + 1
    lens = psf_scenes.lenses(shared_data)[1]
    x = psf_scenes.photograph(shared_data, "kodim05")[..., :240, :320].contiguous()
    y = psf_scenes.blurred(x, lens, 0)
    own = psf_scenes.psnr(eff_quality.quotient(lens, y, 0.01), x)
    single = psf_scenes.psnr(eff_quality.central_quotient(lens, y, 0.01, 53), x)
    assert own > single + 1 and own > psf_scenes.psnr(y, x) + 2
