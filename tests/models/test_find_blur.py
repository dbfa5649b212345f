"""`models.find_blur`: what is said of photographs whose blur is known, the choice among candidates, the rule of the verdicts, bad input."""
import dataclasses
import math

import pytest
import torch

import svconv
from svconv.cli import demo
from svconv.data import named_kernel
from svconv.models import LearningToDeblur, find_blur
from svconv.models.find_blur import VERDICTS, search
from svconv.models.find_blur.verdict import Signs, verdict

SHAKE = svconv.data.motion_kernel(15, generator=torch.Generator().manual_seed(6))[0]


@pytest.fixture(scope="module")
def photograph():
    return demo.photograph().plane(1)


def blurred(x, kernel, noise=0.005):
    y = svconv.conv(x, kernel[None].to(x), padding="reflect")
    return y + noise * torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)


def test_a_sharp_photograph_is_left_alone(photograph):
    found = find_blur(photograph)
    assert found.verdict == "sharp" and found.method == "none" and found.kernel.tolist() == [[1.0]] and not found.candidates
    forced = find_blur(photograph, force=True, methods=("l0",), kernel_size=3)
    assert forced.verdict == "sharp" and forced.method == "l0-3"


def test_a_shake_is_found(photograph):
    found = find_blur(blurred(photograph, SHAKE), methods=("l0",), kernel_size=17)
    assert found.verdict == "restored" and found.explained > 0.6 and found.kernel.shape == (17, 17)
    assert found.candidates == {"l0-17": found.explained} and "restored" in repr(found)
    assert float(found.kernel.sum()) == pytest.approx(1, abs=1e-5)


def test_defocus_noise_and_blur_that_changes(photograph):
    disk = find_blur(blurred(photograph, named_kernel("disk:4")), methods=("disk",))
    assert disk.verdict == "defocus" and disk.method == "disk-4"
    assert find_blur(blurred(photograph, SHAKE, 0.05), methods=("disk",)).verdict == "noisy"
    left, right = (blurred(photograph, named_kernel(f"motion:14:{angle}")) for angle in (80, 10))
    across = torch.linspace(0, 1, photograph.shape[-1]) > 0.5
    assert find_blur(torch.where(across, right, left), methods=("disk",)).verdict == "varying"


def test_the_candidate_that_explains_most_is_kept(photograph, monkeypatch):
    tried = []

    def estimate(y, size, **_):
        tried.append(size)
        kernel = torch.zeros(1, size, size)
        kernel[0, size // 2, :] = 1 / size
        return type("Found", (), {"x": kernel})

    monkeypatch.setattr(search, "blind_kernel", estimate)
    y = blurred(photograph, named_kernel("motion:24:0"), 0.002)
    names = []
    found = find_blur(y, methods=("l0",), callback=lambda done, total, name: names.append((done, total, name)))
    assert tried == [17, 35, 25, 51] and found.method == "l0-25" and found.explained == max(found.candidates.values())
    assert names[-1] == (4, 4, "l0-25") and [name for _, _, name in names[:-1]] == ["l0-17", "l0-35", "l0-25", "l0-51"]
    assert found.reaches_edge


def test_the_network_and_what_alternation_makes_of_it(photograph):
    torch.manual_seed(0)
    model = LearningToDeblur((9,), stages=1)
    found = find_blur(blurred(photograph, SHAKE)[..., :100, :100], methods=("ltd",), model=model, refine=True)
    assert set(found.candidates) == {"ltd-9", "ltd-9+l0"}


@pytest.mark.parametrize(("verdict_expected", "explained", "changes"), [
    ("restored", 0.6, {}), ("unsure", 0.59, {}), ("noisy", 0.9, {"noise": 0.04}),
    ("sharp", 0.2, {"spread": (0.0, 0.3), "agreement": 0.1}), ("sharp", 0.2, {"spread": (0.0, 0.3)}),
    ("restored", 0.8, {"spread": (0.0, 0.3)}), ("varying", 0.6, {"agreement": 0.2}), ("restored", 0.75, {"agreement": 0.2}),
    ("sharp", 0.6, {"agreement": 0.2, "spread": (0.4, 0.6)}), ("restored", 0.6, {"agreement": math.nan}),
    ("defocus", 0.7, {"disk": (4.0, 0.65)}), ("defocus", 0.9, {"disk": (4.0, 0.45)}), ("unsure", 0.42, {"disk": (4.0, 0.4)}),
    ("varying", 0.3, {"agreement": 0.2, "spread": (math.nan, math.nan)})])
def test_the_rule(verdict_expected, explained, changes):
    signs = dataclasses.replace(Signs(0.01, (0.8, 1.4), 0.6, (2.0, 0.1)), **changes)
    assert verdict(signs, explained) == verdict_expected and verdict_expected in VERDICTS


def test_constant_and_tiny_photographs():
    flat = find_blur(torch.full((1, 1, 64, 64), 0.3))
    assert flat.verdict == "unsure" and flat.kernel.tolist() == [[1.0]]
    tiny = find_blur(torch.linspace(0, 1, 24).expand(1, 1, 20, 24), methods=("l0",))
    assert tiny.verdict == "unsure" and tiny.explained == 0 and tiny.kernel.shape == (9, 9)


def test_bad_input(photograph):
    for y in (torch.rand(1, 3, 64, 64), torch.rand(2, 1, 64, 64), torch.rand(1, 1, 17, 64), torch.full((1, 1, 64, 64), math.nan)):
        with pytest.raises(ValueError, match="y:"):
            find_blur(y)
    y = torch.rand(1, 1, 64, 64)
    for name, wrong in {"kernel_size": (4, 33, 1), "methods": ((), ("ltd", "other")), "window": (8,)}.items():
        for value in wrong:
            with pytest.raises(ValueError, match=name):
                find_blur(y, **{name: value})
