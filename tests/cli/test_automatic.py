"""`svconv deblur --kernel --method auto`: by noise, size, weights and memory; what the last line says."""
import numpy as np
import pytest

from svconv.cli import automatic, strength, svmap
from svconv.files import limits
from svconv.files.picture import Picture
from svconv.models import SVMAP


def picture(height=64, width=64):
    return Picture(np.zeros((height, width, 3), np.uint8)).with_white()[0]


@pytest.mark.parametrize(("noise", "expected"), [(0.0, "irls"), (0.0079, "irls"), (0.01, "svmap"), (0.013, "svmap"), (0.02, "irls")])
def test_by_noise(monkeypatch, noise, expected):
    monkeypatch.setattr(strength, "noise_of", lambda _: noise)
    monkeypatch.setattr(SVMAP, "known_weights", classmethod(lambda cls: ["svmap-gaussian1"]))
    method, why = automatic.method_for(picture(), (5, 5))
    assert method == expected and f"noise {100 * noise:.1f} %" == why


def test_by_size_weights_and_memory(monkeypatch):
    monkeypatch.setattr(strength, "noise_of", lambda _: 0.01)
    assert automatic.method_for(picture(4000, 2000), (5, 5)) == ("hyper", "8 megapixels")
    monkeypatch.setattr(SVMAP, "known_weights", classmethod(lambda cls: []))
    assert automatic.method_for(picture(), (5, 5)) == ("irls", "no weights of svmap")
    monkeypatch.setattr(SVMAP, "known_weights", classmethod(lambda cls: ["svmap-gaussian1"]))
    monkeypatch.setattr(limits, "free_memory", lambda: svmap.needed(picture(), (5, 5)) - 1)
    assert automatic.method_for(picture(), (5, 5)) == ("irls", "too little memory for svmap")


@pytest.mark.parametrize("method", ["irls", "hyper", "svmap"])
def test_the_result_is_that_of_the_method(run, tmp_path, photo_file, kernel_file, monkeypatch, method):
    if method == "svmap" and not SVMAP.known_weights():
        pytest.skip("no weights of svmap are shipped")
    monkeypatch.setattr(automatic, "method_for", lambda *_: (method, "so it is"))
    assert run("deblur", photo_file, "--kernel", kernel_file, "--method", method, "-o", tmp_path / "a.png").status == 0
    outcome = run("deblur", photo_file, "--kernel", kernel_file, "--method", "auto", "-o", tmp_path / "b.png")
    assert outcome.status == 0 and f"{method} (auto: so it is)" in outcome.out
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
