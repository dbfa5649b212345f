"""Defocus pairs: the model they follow, determinism, borders, noise, rounding, light; bad arguments."""
import numpy as np
import pytest
import torch
from PIL import Image

from svconv.data import DefocusPairs, defocus_radii
from svconv.data.defocus_pairs import srgb_decoded, srgb_encoded
from svconv.ops import disk_kernel


@pytest.fixture
def coloured(tmp_path):
    folder, random = tmp_path / "coloured", np.random.default_rng(0)
    folder.mkdir()
    for i in range(3):
        Image.fromarray((np.kron(random.random((20, 25, 3)), np.ones((6, 6, 1))) * 255).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def blurred(sharp, radius, size=13):
    """Pixels farther than the kernel from the border, one at a time."""
    kernels = disk_kernel(torch.where(radius <= 0.5, 0.5, radius).double(), size)[0]
    windows = sharp.double().unfold(1, size, 1).unfold(2, size, 1)
    half = size // 2
    return (windows * kernels[half:-half, half:-half].flip(-2, -1)).sum((-2, -1))


@pytest.mark.parametrize("pattern", [1, 6, 9, 12])
def test_blurry_is_sharp_under_the_disk_of_each_pixel(coloured, pattern):
    pairs = DefocusPairs(coloured, 40, noise=0, rounding=False, patterns=[pattern], map_size=40)
    for i in range(3):
        blurry, sharp, radius = pairs[i]
        assert blurry.shape == sharp.shape == (3, 40, 40) and radius.shape == (1, 40, 40) and sharp.is_contiguous()
        np.testing.assert_allclose(blurry[:, 6:-6, 6:-6].numpy(), blurred(sharp, radius).numpy(), atol=1e-5)


def test_the_radii_are_those_of_the_paper(coloured):
    known = {0.0, *defocus_radii().tolist()}
    found = set()
    for blurry, sharp, radius in (DefocusPairs(coloured, 32)[i] for i in range(30)):
        found |= set(radius.flatten().tolist())
        assert not bool((blurry - sharp).abs()[:, radius[0] == 0].gt(0.51 / 255).any())     # there it is the photograph
    assert found <= known and len(found) > 15


def test_crops_are_parts_of_the_photographs_with_light_from_outside(tmp_path):
    """Every pixel of these photographs says where it stands, so a crop tells its place and its turn."""
    rows, columns = np.mgrid[0:100, 0:120].astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, rows.shape).astype(np.uint8)
    whole = np.stack([2 * rows, 2 * columns, noise], -1)
    for name in "ab":
        Image.fromarray(whole).save(tmp_path / f"{name}.png")
    whole = torch.nn.functional.pad(torch.from_numpy(whole).permute(2, 0, 1)[None] / 255, (6,) * 4, mode="replicate")[0]
    pairs, turns, borders = DefocusPairs(tmp_path, 30, noise=0, rounding=False, patterns=[9]), set(), 0
    for i in range(24):
        blurry, sharp, radius = pairs[i]
        turn = _is_turned(sharp)
        turns.add(turn)
        sharp, blurry = _turned_back(sharp, turn), _turned_back(blurry, turn)
        top, left = (round(float(v) * 255 / 2) for v in sharp[:2, 0, 0])
        part = whole[:, top:top + 42, left:left + 42]
        assert torch.equal(part[:, 6:-6, 6:-6], sharp)
        expected = blurred(part, torch.full((1, 42, 42), float(radius[0, 0, 0])))
        np.testing.assert_allclose(blurry.numpy(), expected.numpy(), atol=1e-5)
        borders += top < 6 or left < 6 or top > 64 or left > 84
    assert len(turns) == 8 and borders > 2


def _is_turned(sharp):
    """The turn of a crop whose first two colours are row and column."""
    transposed = bool(sharp[0, 0, 0] == sharp[0, 1, 0])
    row, column = (sharp[c].T if transposed else sharp[c] for c in (0, 1))
    return int(row[1, 0] < row[0, 0]) + 2 * int(column[0, 1] < column[0, 0]) + 4 * transposed


def _turned_back(image, turn):
    image = image.transpose(1, 2) if turn & 4 else image
    return image.flip([axis for axis in (1, 2) if turn & axis])


def test_crops_of_two_sides_are_not_transposed_and_may_be_the_whole_photograph(coloured):
    blurry, sharp, radius = DefocusPairs(coloured, (120, 150))[0]
    assert blurry.shape == (3, 120, 150) and radius.shape == (1, 120, 150)


def test_an_index_has_one_pair_whatever_was_read_before(coloured):
    a, b = DefocusPairs(coloured, 40, seed=3, noise=0.02), DefocusPairs(coloured, 40, seed=3, noise=0.02, length=50, cache_bytes=1)
    for i in (4, 0, 4, 2):
        assert all(torch.equal(p, q) for p, q in zip(a[i], b[i]))
    assert not torch.equal(a[1][1], a[2][1]) and not torch.equal(a[1][1], DefocusPairs(coloured, 40, seed=4)[1][1])


def test_rounding_is_to_8_bits(coloured):
    raw, stored = (DefocusPairs(coloured, 40, rounding=rounding, patterns=[9])[0][0] for rounding in (False, True))
    assert torch.equal(stored * 255, (stored * 255).round()) and 0 < float((raw - stored).abs().max()) <= 0.501 / 255


def test_noise_is_drawn_up_to_the_largest(coloured):
    clean, noisy = (DefocusPairs(coloured, 64, noise=noise, rounding=False) for noise in (0, 0.03))
    sizes = [float((noisy[i][0] - clean[i][0]).std()) for i in range(20)]
    assert all(torch.equal(noisy[i][1], clean[i][1]) for i in range(3))
    assert 0.02 < max(sizes) < 0.031 and min(sizes) < 0.01


def test_light_is_blurred_in_linear_values(coloured):
    plain, light = (DefocusPairs(coloured, 40, rounding=False, patterns=[9], linear=linear) for linear in (False, True))
    for i in range(3):
        blurry, sharp, radius = light[i]
        assert torch.equal(sharp, plain[i][1])
        expected = srgb_encoded(blurred(srgb_decoded(sharp), radius))
        np.testing.assert_allclose(blurry[:, 6:-6, 6:-6].numpy(), expected.numpy(), atol=1e-5)


def test_the_curve_of_srgb():
    x = torch.linspace(0, 1, 1001, dtype=torch.float64)
    torch.testing.assert_close(srgb_encoded(srgb_decoded(x)), x, rtol=0, atol=2e-7)
    assert float(srgb_decoded(torch.tensor(0.5))) == pytest.approx(0.21404, abs=1e-5)
    assert bool(torch.isfinite(srgb_encoded(torch.tensor([-1e-8, 0.0]))).all())


def test_flat_crops_are_drawn_again(coloured, tmp_path):
    for i in range(3):
        Image.new("RGB", (150, 120), (90, 120, 90)).save(tmp_path / f"coloured/flat{i}.png")
    pairs = DefocusPairs(coloured, 40)
    assert sum(float(pairs[i][1].std()) > 0.01 for i in range(12)) == 12     # 20 tries miss all three of six once in a million draws


@pytest.mark.parametrize("bad, named", [(dict(size=0), "size"), (dict(map_size=0), "map_size"), (dict(noise=-1), "noise"),
                                        (dict(patterns=()), "patterns"), (dict(patterns=[14]), "patterns"), (dict(seed=0.5), "seed")])
def test_bad_arguments_are_named(coloured, bad, named):
    with pytest.raises(ValueError, match=f"^{named}: "):
        DefocusPairs(coloured, **{"size": 40, **bad})


def test_too_small_photographs_and_indices_are_named(coloured):
    with pytest.raises(ValueError, match="as large as a crop of 200 x 200"):
        DefocusPairs(coloured, 200)[0]
    with pytest.raises(IndexError, match="^index:"):
        DefocusPairs(coloured, 40, length=3)[3]
