"""What a long restoration will take is said before it begins."""
import re

import numpy as np
import pytest
from PIL import Image

from svconv.cli import announce, demo
from svconv.files import Picture


@pytest.mark.parametrize("method", ["irls", "cg", "hyper"])
def test_a_large_photograph_is_announced_and_a_small_one_is_not(run, tmp_path, monkeypatch, method):
    Image.fromarray(demo.photograph(size=96).pixels).save(tmp_path / "in.png")
    command = ("deblur", tmp_path / "in.png", "--kernel", "disk:2", "--method", method, "-o", tmp_path / "out.png")
    assert "restoring takes" not in run(*command).err
    monkeypatch.setattr(announce, "LONG", 96 * 96)
    outcome = run(*command)
    assert outcome.status == 0 and re.search(r"svconv: restoring takes about 1 s and \d\.\d GB", outcome.err)


def test_a_blind_restoration_is_announced_and_an_unchanged_photograph_is_not(run, tmp_path, monkeypatch, weights):
    monkeypatch.setattr(announce, "LONG", 1)
    Image.fromarray(demo.photograph(size=128).pixels).save(tmp_path / "in.png")
    command = ("deblur", tmp_path / "in.png", "--blind", "--weights", weights, "-o", tmp_path / "out.png")
    assert "restoring takes" in run(*command, "--force").err
    outcome = run(*command)
    assert ("unchanged" in outcome.out) == ("restoring takes" not in outcome.err)


def test_the_time_grows_with_the_photograph():
    random, times = np.random.default_rng(0), []
    kernel = np.full((1, 5, 5), 1 / 25)
    for side in (1200, 2400):
        picture = Picture((255 * random.random((side, side, 1))).astype(np.uint8)).with_white()[0]
        times.append(announce.seconds(picture, kernel, "hyper", 1e-3))
    assert 1.5 * times[0] < times[1] < 16 * times[0]


@pytest.mark.parametrize("duration, words", [(0.01, "1 s"), (42.4, "42 s"), (99, "99 s"), (150, "2 minutes"), (4000, "67 minutes")])
def test_words(duration, words):
    assert announce.in_words(duration) == words
