"""Random crops: the same ones on every machine and in every version, and what they have in common."""
import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from svconv.data import BlurPairs, DefocusPairs, KernelPairs
from svconv.data.crops import PhotographCrops, crop_sides, enough_gradient, odd_side, odd_sides, rounded, seeded, turned


@pytest.fixture
def coloured(tmp_path):
    random = np.random.default_rng(0)
    for i in range(4):
        pixels = np.kron(random.integers(0, 256, (20 + i, 25, 3)), np.ones((6, 6, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    return tmp_path


def digest(items):
    """Of values that every machine computes alike: bytes of photographs and multiples of a quarter."""
    whole = hashlib.sha256()
    for values, scale in items:
        whole.update((values * scale).round().to(torch.int32).numpy().astype("<i4").tobytes())
    return whole.hexdigest()[:16]


@pytest.mark.parametrize("make, parts, expected", [
    (lambda f: KernelPairs(f, 40), [(1, 255)], "f9da56864aeea472"),
    (lambda f: DefocusPairs(f, (40, 50), noise=0.1), [(1, 255), (2, 4)], "bbe88e6d6265d836"),
    (lambda f: BlurPairs(f, 48), [(1, 255)], "21ea9cf7113c3e37"),
], ids=["kernels", "defocus", "grey"])
def test_the_crops_of_an_index_never_change(coloured, make, parts, expected):
    pairs = make(coloured)
    assert digest((pairs[i][part], scale) for i in range(12) for part, scale in parts) == expected


def test_windows_have_their_margin_and_more_where_the_photograph_goes_on(tmp_path):
    rows, columns = np.mgrid[0:60, 0:70].astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, rows.shape).astype(np.uint8)
    Image.fromarray(np.stack([rows, columns, noise], -1)).save(tmp_path / "a.png")
    crops, cut, tops = PhotographCrops("x/", tmp_path, 100, 0, 1 << 20), 0, set()
    for i in range(60):
        window, (above, before) = crops.window((20, 24), crops.generator(i), margin=5, more=9)
        top, left = (round(float(v) * 255) for v in window[:2, 0, 0])
        bottom, right = (round(float(v) * 255) for v in window[:2, -1, -1])
        first = top + above, left + before                                  # of the crop
        assert 5 <= above <= 14 and 5 <= before <= 14 and 5 <= first[0] <= 35 and 5 <= first[1] <= 41
        assert (top, left) == (max(first[0] - 14, 0), max(first[1] - 14, 0))
        assert (bottom, right) == (min(first[0] + 20 + 14, 60) - 1, min(first[1] + 24 + 14, 70) - 1)
        cut += above < 14 or before < 14
        tops.add(first[0])
    assert cut > 5 and len(tops) > 15


@pytest.mark.parametrize("turn", range(8))
def test_turns_are_flips_and_a_transposition(turn):
    x = torch.arange(12.0).reshape(1, 3, 4)
    expected = np.flip(x.numpy(), [axis for axis in (1, 2) if turn & axis])
    assert np.array_equal(turned(x, turn, False).numpy(), expected)
    assert np.array_equal(turned(x, turn, True).numpy(), expected.swapaxes(1, 2) if turn & 4 else expected)


def test_numbers_that_are_drawn():
    found = [odd_side((3, 9), seeded(f"{i}")) for i in range(200)]
    assert set(found) == {3, 5, 7, 9} and odd_side((5, 5), seeded("")) == 5
    assert found[:5] == [odd_side((3, 9), seeded(f"{i}")) for i in range(5)]
    assert rounded(torch.tensor([-1.0, 0.5 / 256, 0.5, 2.0])).mul(255).tolist() == [0, 0, 128, 255]


def test_sides_of_a_crop():
    assert crop_sides(7) == (7, 7) and crop_sides([4, 5]) == (4, 5) and odd_sides("k", (3, 3)) == (3, 3)
    for bad in (0, (3, 4, 5), (3,), "9", 2.5):
        with pytest.raises((ValueError, TypeError), match="^size: "):
            crop_sides(bad)
    for bad in ((4, 9), (5, 8), (9, 5), 9, (1, 5)):
        with pytest.raises(ValueError, match="^strength: "):
            odd_sides("strength", bad, least=3)


def test_the_rejection_rule():
    image = torch.zeros(101, 101)
    assert not enough_gradient(image)
    image[:, ::25] = 1  # 4 or 5 lines, two gradients each: about 8 % of the pixels
    assert enough_gradient(image)
    assert not enough_gradient(image * 0.049)
