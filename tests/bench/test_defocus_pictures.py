"""bench/defocus_pictures.py: what is restored and how the sheet is filled."""
import sys
from pathlib import Path

import pytest
from PIL import Image

sys.path.append(str(Path(__file__).resolve().parents[2]))
from bench import defocus_pictures
from svconv.cli.demo import photograph

pytest.importorskip("skimage")


def test_the_sheet_shows_what_is_gained(tmp_path):
    sharp = photograph(size=128).with_white()[0]
    found = defocus_pictures.make(sharp, tmp_path / "defocus.jpg")
    assert found["layered, true map"] > found["blurred"] + 2 < found["irls, true map"]
    picture = Image.open(tmp_path / "defocus.jpg")
    assert picture.format == "JPEG" and picture.width == 8 + 3 * 368


def test_the_radius_grows_to_the_right():
    radius = defocus_pictures.ramp((3, 11))
    assert radius.shape == (1, 1, 3, 11) and radius[0, 0, 0].tolist() == radius[0, 0, 2].tolist()
    assert radius.diff(dim=-1).min() > 0.49 and float(radius.max()) == defocus_pictures.LARGEST
