"""bench/blur_spaces.py and bench/deep_prior.py: pairs, tables and what they conclude."""
import json
import os
from pathlib import Path

import pytest
import torch

from bench import blur_captured, blur_scenes, blur_search, blur_spaces, deep_prior
from bench.eff_quality import Record
from svconv.models import BlurKernelSpace, DegradationDeblur
from svconv.models.deep_prior import variables
from svconv.models.deep_prior.image_prior import ImagePrior

pytestmark = pytest.mark.usefixtures("one_thread")
DATA = Path(os.environ.get("SVCONV_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(not (DATA / "images").is_dir(), reason="the development data (SVCONV_DATA) is not here")


@pytest.fixture(scope="module")
def space():
    torch.manual_seed(0)
    return BlurKernelSpace(width=4).eval()


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch):
    monkeypatch.setattr(variables, "ImagePrior", lambda: ImagePrior(width=8))


@needs_data
def test_pairs_and_their_photographs():
    assert not any("train" in name for name in blur_scenes.PHOTOGRAPHS)
    pairs = blur_scenes.pairs(DATA)
    blurry, sharp, kind = pairs[5]
    assert blurry.shape == sharp.shape == (3, 128, 128) and blur_scenes.KINDS[int(kind)] == "shake"
    assert 10 < blur_scenes.psnr(sharp, blurry) < 40
    for sharp, blurry in blur_scenes.GOPRO.values():
        assert blur_scenes.photograph(DATA / "pairs" / "gopro" / sharp).shape == (1, 3, 720, 1280)
        assert (DATA / "pairs" / "gopro" / blurry).is_file()


def test_the_best_uniform_kernel_explains_uniform_blur():
    x = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    y = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(x, (2,) * 4, mode="replicate"), 5, 1)
    assert blur_scenes.psnr(blur_spaces.uniform(x, y), y) > blur_scenes.psnr(x, y) + 10


@needs_data
def test_tables_of_the_space(space):
    text = blur_spaces.space_section(DATA, space, 4)
    assert all(f"| {row} |" in text for row in blur_spaces.ROWS) and "**missed**" in text
    text = blur_spaces.transfer_section(DATA, space, 4)
    assert "| left sharp |" in text and "| transferred |" in text
    (before, explained, best), = blur_spaces.undone_scores(DATA, space, (2,))
    assert best >= before and explained > 10 and "| motion 1 | shake 1 | mean |" in blur_spaces.undone_section(DATA, space, (0, 1))


@needs_data
def test_searches_are_kept_in_the_record(space, tmp_path):
    run = blur_search.Run(Record(tmp_path / "record.json", {}), "weights", steps={"prior": 1, "parts": 2}, warmup=0, images=1)
    text = blur_search.prior_section(DATA, space, run) + blur_search.parts_section(DATA, space, run)
    assert all(f"| {form} |" in text for form in blur_search.FORMS) and "| joint, 1 steps |" in text
    assert len(json.loads((tmp_path / "record.json").read_text())["scores"]) == 1 + len(blur_search.FORMS)
    again = blur_search.Run(Record(tmp_path / "record.json", {}), "weights", steps={"prior": 1, "parts": 2}, warmup=0, images=1)
    assert again.score(DATA, None, 0, "joint", 1) == run.score(DATA, space, 0, "joint", 1)


@needs_data
def test_captured_blur_goes_through_every_method(space):
    torch.manual_seed(0)
    text = blur_captured.section(DATA, space, DegradationDeblur(width=4).eval(), side=128, steps=1)
    assert all(f"| {row}" in text for row in ("blurry", "ltd, irls", "l0, irls", "ebks, 1 steps", "ldr"))


def test_the_table_of_reblurring_compares_equal_steps(tmp_path):
    runs = {}
    for row, steps, deblurs in (("map", (2, 4, 6), True), ("no code", (2, 4), False)):
        records = [{"step": 0, "settings": {"deblurring": deblurs}, "psnr_blurred": 20.0}]
        records += [{"step": s, "part": "joint", "error_reblurred": 0.1 / s, "psnr_reblurred": 20.0 + s, "psnr": 21.0 + s} for s in steps]
        runs[row] = tmp_path / f"{row}.jsonl"
        runs[row].write_text("".join(json.dumps(r) + "\n" for r in records))
    text = blur_spaces.reblur_section(runs)
    assert "after 4 steps each" in " ".join(text.split())
    assert "| map | 0.02500 | 24.00 | 25.00 |" in text and "| no code | 0.02500 | 24.00 | not trained |" in text


def test_the_plain_step_is_the_same_step():
    y = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    losses = []
    for plain in (False, True):
        torch.manual_seed(0)
        one = deep_prior.search(BlurKernelSpace(width=4).eval().requires_grad_(False), y, plain=plain)
        with torch.enable_grad():
            one.step()
        losses.append(float(one.losses[0]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
