"""bench/quality.py: orientation of the pairs, the score, the page, and the order of the solvers on one pair."""
import importlib.util
from pathlib import Path

import pytest
import torch

from svconv import Conv, solvers


@pytest.fixture(scope="module")
def quality():
    spec = importlib.util.spec_from_file_location("quality", Path(__file__).resolve().parents[2] / "bench" / "quality.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_score_finds_the_shift(quality):
    truth = torch.rand(1, 1, 60, 60)
    assert quality.best_psnr(truth.roll((3, -4), (-2, -1)) + 0.1, truth) == pytest.approx(20, abs=1e-3)


def test_the_page_keeps_what_others_wrote(quality, tmp_path):
    page = tmp_path / "quality.md"
    quality.pages.fill(page, quality.SECTION, "one", "Quality")
    page.write_text(page.read_text() + "\nmore\n")
    quality.pages.fill(page, quality.SECTION, "two", "Quality")
    text = page.read_text()
    assert "two" in text and "one" not in text and text.endswith("\nmore\n") and list(tmp_path.iterdir()) == [page]


def test_the_order_of_the_solvers_is_sensible(quality, shared_data):
    _, x, y, kernel = quality.load_pairs(shared_data / "pairs" / "levin09")[2]
    op = Conv(kernel)
    blurred = quality.best_psnr(y, x)
    score = {"wiener": quality.best_psnr(solvers.wiener(op, y, beta=0.003, border="mask").x, x),
             "hyper": quality.best_psnr(solvers.hyper_laplacian(y, kernel, lam=8000, border="mask").x, x),
             "irls": quality.best_psnr(solvers.irls(op, y, reg=1e-3).x, x)}
    assert blurred + 6 < score["wiener"] < score["hyper"] < score["irls"]
    turned = quality.best_psnr(solvers.irls(Conv(kernel.flip((-2, -1))), y, reg=1e-3).x, x)
    assert turned < score["irls"] - 3
