"""Blur of pairs on other photographs: what is taken from where, determinism, variational codes, bad arguments."""
import numpy as np
import pytest
import torch
from PIL import Image

from svconv.data import TransferredBlur, VariedPairs
from svconv.models import BlurKernelSpace


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for i in range(3):
        Image.fromarray((np.kron(random.random((20, 21, 3)), np.ones((8, 8, 1))) * 255).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def pairs(folder):
    return VariedPairs(folder, 128, strength=(5, 9), length=3)


@pytest.fixture(scope="module", params=[False, True])
def space(request):
    torch.manual_seed(0)
    return BlurKernelSpace(variational=request.param, width=4).eval()


def test_an_item_is_a_crop_under_the_code_of_a_pair(space, pairs, folder):
    found = TransferredBlur(space, pairs, folder, rounding=False, seed=3)
    blurry, sharp, source = found[5]
    assert blurry.shape == sharp.shape == (3, 128, 128) and source.dtype == torch.int64 and 0 <= int(source) < 3
    with torch.no_grad():
        y, x = (t[None] for t in pairs[int(source)][:2])
        code = space.encode(x, y)
        expected = space.blur(sharp[None], code)[0]
    if space.variational:
        assert not torch.allclose(blurry, expected, atol=1e-5)
    else:
        assert torch.equal(blurry, expected)
    assert all(torch.equal(a, b) for a, b in zip((blurry, sharp, source), TransferredBlur(space, pairs, folder, rounding=False, seed=3)[5]))
    assert not torch.equal(sharp, TransferredBlur(space, pairs, folder, seed=4)[5][1])


def test_the_sharp_crop_does_not_come_from_the_pair(space, pairs, folder):
    found = TransferredBlur(space, pairs, folder)
    sources = {int(found[i][2]) for i in range(12)}
    assert sources == {0, 1, 2}
    assert all(not torch.equal(found[i][1], pairs[int(found[i][2])][1]) for i in range(3))


def test_eight_bits(space, pairs, folder):
    blurry = TransferredBlur(space, pairs, folder)[0][0]
    assert torch.equal(blurry, (blurry * 255).round() / 255) and 0 <= float(blurry.min()) and float(blurry.max()) <= 1


def test_agreement_is_the_psnr_of_the_pairs_themselves(space, pairs, folder):
    found = TransferredBlur(space, pairs, folder)
    with torch.no_grad():
        scores = [-10 * torch.log10((space(x[None], y[None])[0].clamp(0, 1) - y).square().mean()) for y, x, _ in (pairs[0], pairs[1])]
    assert found.agreement(2) == pytest.approx(float(sum(scores)) / 2, rel=1e-5)


def test_bad_arguments_are_named(space, pairs, folder):
    with pytest.raises(TypeError, match="^space: expected a BlurKernelSpace, got Identity"):
        TransferredBlur(torch.nn.Identity(), pairs, folder)
    with pytest.raises(ValueError, match="^pairs: expected at least one"):
        TransferredBlur(space, [], folder)
    with pytest.raises(IndexError, match="index: expected 0..4"):
        TransferredBlur(space, pairs, folder, length=5)[5]
    with pytest.raises(ValueError, match="^n: "):
        TransferredBlur(space, pairs, folder).agreement(4)
    small = [(torch.zeros(3, 64, 64), torch.zeros(3, 64, 64))]
    with pytest.raises(ValueError, match="^x: expected sides of at least 128"):
        TransferredBlur(space, small, folder)[0]
