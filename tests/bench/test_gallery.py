"""bench/gallery.py: the page shows the commands that the program runs, and a case from its inputs to its section."""
import re
import sys

import pytest
import torch

from programs import ROOT

sys.path.append(str(ROOT))
from bench import gallery

PAGE = (ROOT / "docs" / "gallery.md").read_text()


@pytest.mark.parametrize("name", gallery.CASES)
def test_the_page_shows_the_commands_that_were_run(name):
    (body,) = re.findall(f"<!-- gallery:{name} -->\n(.*?)\n<!-- /gallery:{name} -->", PAGE, flags=re.DOTALL)
    shown = [line for line in body.splitlines() if line.startswith("svconv ")]
    assert shown == list(gallery.CASES[name].commands)
    assert body.count("dB |") + body.count("bit for bit |") == len(gallery.CASES[name].scored)


def test_the_pictures_are_those_of_the_cases_and_small():
    pictures = sorted((ROOT / "docs" / "gallery").iterdir())
    assert [path.name for path in pictures] == sorted(f"{name}.jpg" for name in gallery.CASES)
    assert sum(path.stat().st_size for path in pictures) < 1.5e6


def test_the_psnr_takes_a_shift_off():
    truth = torch.rand(1, 3, 80, 90, generator=torch.Generator().manual_seed(0))
    assert gallery.psnr(truth.roll((5, -8), (2, 3)) + 0.1, truth) == pytest.approx(20, abs=1e-3)
    assert gallery.decibels(gallery.psnr(truth, truth)) == "bit for bit"


def test_a_case_writes_its_picture_and_section_and_keeps_the_rest(tmp_path):
    from PIL import Image

    (tmp_path / "gallery.md").write_text("# Gallery\n\n<!-- gallery:stars -->\n<!-- /gallery:stars -->\n\nWhat is seen.\n")
    gallery.make("stars", tmp_path)
    text = (tmp_path / "gallery.md").read_text()
    assert text.endswith("\n\nWhat is seen.\n") and "![sky.npy, rl, measured PSFs" in text and "sharp.npy: 200 x 160" in text
    assert not re.search(r"\d s$", text, flags=re.MULTILINE)
    picture = Image.open(tmp_path / "gallery" / "stars.jpg")
    assert picture.format == "JPEG" and picture.width > 900
