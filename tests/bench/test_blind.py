"""bench/blind.py: the cases follow their kernels, the score finds the shift, the page, and the order of the kernels on one case."""
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from svconv import conv
from svconv.data import motion_kernel
from svconv.models import LearningToDeblur


@pytest.fixture(scope="module")
def blind():
    spec = importlib.util.spec_from_file_location("blind", Path(__file__).resolve().parents[2] / "bench" / "blind.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_measured_kernels_are_centred_in_17_pixels(blind):
    kernel = np.zeros((15, 19), np.float32)
    kernel[2:5, 3] = [1, 2, 1]
    box = blind.fitted(kernel)
    assert box.shape == (17, 17) and box.sum() == 1 and box[7:10, 8].tolist() == [0.25, 0.5, 0.25]


def test_the_score_finds_the_shift(blind):
    truth = torch.rand(1, 1, 80, 80)
    assert blind.smallest_error(truth.roll((2, -3), (2, 3)), truth) == 0
    assert blind.smallest_error(truth.roll((6, 0), (2, 3)), truth) > 0


def test_the_cases_follow_their_kernels(blind, shared_data):
    cases = blind.captured_pairs(shared_data)
    assert len(cases) == 4
    name, sharp, blurry, kernel = blind.blurred_photographs(shared_data)[3]
    again = conv(sharp, kernel[None, None], padding="replicate")
    assert float((again - blurry)[..., 20:-20, 20:-20].std()) == pytest.approx(blind.NOISE, rel=0.05)
    for _, sharp, blurry, kernel in cases:
        again = conv(sharp, kernel[None, None], padding="replicate")
        assert blind.smallest_error(again, blurry) < 0.5 * blind.smallest_error(again.roll(4, 2), blurry.roll(-4, 2))


def test_only_the_part_between_the_markers_is_written(blind, tmp_path):
    page = tmp_path / "quality.md"
    page.write_text("# Quality\n\nother\n")
    blind.pages.fill(page, blind.SECTION, "one", "Quality")
    blind.pages.fill(page, blind.SECTION, "two", "Quality")
    text = page.read_text()
    assert text.startswith("# Quality\n\nother\n") and "two" in text and "one" not in text
    assert "| a | 2.00 | 2.33 | 67% | 67% |" in blind.table({"a": [1, 2, 4]})


def test_the_shipped_network_beats_no_deblurring_and_plain_gradients_on_captured_pairs(blind, shared_data):
    ratios = blind.measure(LearningToDeblur.from_pretrained(), blind.captured_pairs(shared_data)[:2], say=lambda line: None)
    median = {name: float(np.median(values)) for name, values in ratios.items()}
    assert median["`LearningToDeblur`"] < median["no deblurring"] and median["`LearningToDeblur`"] < median["plain gradients"]


def test_the_true_kernel_is_the_unit_of_the_ratio(blind):
    sharp = torch.rand(1, 1, 20, 20).repeat_interleave(5, 2).repeat_interleave(5, 3)
    kernel = motion_kernel(17, generator=torch.Generator().manual_seed(0))[0]
    blurry = conv(sharp, kernel[None, None], padding="replicate")
    ratios = blind.measure(LearningToDeblur(stages=1).eval(), [("case", sharp, blurry, kernel)], say=lambda line: None)
    best = blind.smallest_error(blind.restore(blurry, kernel), sharp)
    assert ratios["no deblurring"][0] == pytest.approx(blind.smallest_error(blurry, sharp) / best) and ratios["no deblurring"][0] > 2
