"""Varied pairs: the model of each kind of blur, determinism, borders, kinds by turns; bad arguments."""
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import map_coordinates

from svconv.data import VariedPairs
from svconv.data.varied_blurs import KINDS, MovingFrames
from svconv.ops import disk_kernel

ALL = tuple(KINDS)


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("coloured"), np.random.default_rng(0)
    for i in range(3):
        Image.fromarray((np.kron(random.random((24, 25, 3)), np.ones((4, 4, 1))) * 255).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def window_of(blur, channels=3, seed=0):
    sides = (side + 2 * blur.margin for side in blur.size)
    return torch.rand(channels, *sides, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def valid(window, kernel):
    """The convolution of [C, H, W] with [k, k] wherever the kernel lies inside, one tap at a time."""
    k = kernel.shape[-1]
    height, width = (n - k + 1 for n in window.shape[1:])
    return sum(kernel[i, j] * window[:, k - 1 - i:k - 1 - i + height, k - 1 - j:k - 1 - j + width] for i in range(k) for j in range(k))


def of_motion(blur, window):
    return valid(window, blur.kernel.double())


def of_shake(blur, window):
    grid = blur.basis.grid
    weights = torch.zeros(grid.patches, *grid.image_size, dtype=torch.float64)
    for i, (top, row) in enumerate(zip(grid.rows.starts, grid.rows.weights)):
        for j, (left, column) in enumerate(zip(grid.columns.starts, grid.columns.weights)):
            weights[i * len(grid.columns.starts) + j, top:top + len(row), left:left + len(column)] = torch.from_numpy(np.outer(row, column))
    assert torch.allclose(weights.sum(0), torch.ones(()).double())
    return sum(blur.inside(w) * valid(window, k) for w, k in zip(weights, blur.kernels[0].double()))


def of_defocus(blur, window):
    size = 2 * blur.margin + 1
    kernels = disk_kernel(blur.radius.double().clamp_min(0.5), size)[0]
    return (window.unfold(1, size, 1).unfold(2, size, 1) * kernels.flip(-2, -1)).sum((-2, -1))


def of_frames(blur, window):
    height, width = blur.size
    places = np.mgrid[0:height, 0:width].astype(float) + blur.margin
    mask, total = blur.mask[0].double().numpy(), 0
    for ground, blob in zip(blur.ground, blur.blob):
        at, on = (places - np.array(step)[:, None, None] for step in (ground, blob))
        share = map_coordinates(mask, on, order=1)
        total = total + np.stack([share * map_coordinates(c, on, order=1) + (1 - share) * map_coordinates(c, at, order=1)
                                  for c in window.numpy()])
    return torch.from_numpy(total / len(blur.ground))


@pytest.mark.parametrize("size", [(30, 30), (25, 52)])
@pytest.mark.parametrize("kind, model", [("motion", of_motion), ("shake", of_shake), ("defocus", of_defocus), ("frames", of_frames)])
def test_each_kind_follows_its_model(coloured, kind, model, size):
    pairs = VariedPairs(coloured, size, kinds=(kind,), strength=(5, 11))
    for i in range(4):
        blur = pairs.blur(i)
        window = window_of(blur, 2)
        blurred = blur(window)
        assert blur.kind == kind and blurred.shape == (2, *size) and blurred.is_contiguous()
        torch.testing.assert_close(blurred, model(blur, window), rtol=0, atol=2e-6)
        torch.testing.assert_close(blur(window.float()).double(), blurred, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ALL)
def test_an_item_is_its_window_under_its_blur(tmp_path, kind):
    """The photograph is as large as a window, so that only the turn is unknown."""
    pixels = np.random.default_rng(0).integers(0, 256, (44, 44, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    whole, turns = torch.from_numpy(pixels).permute(2, 0, 1) / 255, set()
    pairs = VariedPairs(tmp_path, 36, kinds=(kind,), strength=(9, 9), rounding=False)
    for i in range(16):
        blurry, sharp, number = pairs[i]
        assert blurry.dtype == sharp.dtype == torch.float32 and sharp.is_contiguous() and blurry.is_contiguous() and int(number) == 0
        fits = [(t, flips) for t in (False, True) for flips in ((), (1,), (2,), (1, 2))
                if torch.equal(_turned(whole, t, flips)[:, 4:-4, 4:-4], sharp)]
        assert len(fits) == 1
        assert torch.equal(pairs.blur(i)(_turned(whole, *fits[0])), blurry)
        turns.add(fits[0])
    assert len(turns) >= 5


def _turned(image, transposed, flips):
    return (image.transpose(1, 2) if transposed else image).flip(flips).contiguous()


@pytest.mark.parametrize("kind", ALL)
def test_blurs_keep_the_light_to_the_border_and_are_linear(coloured, kind):
    pairs = VariedPairs(coloured, 32, kinds=(kind,))
    for i in range(6):
        blur = pairs.blur(i)
        x, y = window_of(blur), window_of(blur, seed=1)
        torch.testing.assert_close(blur(torch.ones_like(x)), torch.ones(3, 32, 32).double(), rtol=0, atol=2e-5)
        torch.testing.assert_close(blur(2 * x - 3 * y), 2 * blur(x) - 3 * blur(y), rtol=0, atol=1e-5)
        assert float((blur(x) - blur.inside(x)).abs().mean()) > 0.02


@pytest.mark.parametrize("kind, least, most", [("motion", 0, 0), ("shake", 14, 16), ("defocus", 10, 15), ("frames", 14, 16)])
def test_which_blurs_vary_over_the_crop(coloured, kind, least, most):
    """Seen on impulses: their images differ, where those of a uniform blur are equal."""
    pairs, different = VariedPairs(coloured, 96, kinds=(kind,), strength=(13, 13)), 0
    for i in range(16):
        blur = pairs.blur(i)
        window = torch.zeros(1, 96 + 2 * blur.margin, 96 + 2 * blur.margin)
        window[:, 6 + 15::20, 6 + 15::20] = 1
        images = blur(window)[0, 5:85].unfold(0, 20, 20)[:, 5:85].unfold(1, 20, 20).flatten(0, 1)
        different += float((images - images.mean(0)).abs().sum((1, 2)).max()) > 0.1
    assert least <= different <= most


def test_frames_move_the_blob_and_the_middle_one_is_sharp(coloured):
    counts = set()
    for i in range(24):
        blur = VariedPairs(coloured, 40, kinds=("frames",), strength=(5, 15)).blur(i)
        counts.add(len(blur.ground))
        for path in (blur.ground, blur.blob):
            reach = np.abs(path).max()
            assert path[len(path) // 2] == [0, 0] and reach == pytest.approx(round(reach), abs=1e-9) and 2 <= round(reach) <= 7
        inside = float(blur.inside(blur.mask).mean())
        assert 0.01 < inside < 0.8 and float(blur.mask.max()) == 1 and float(blur.mask.min()) == 0
    assert counts == {7, 9, 11, 13}


def test_equal_paths_of_frames_are_one_convolution():
    blur = MovingFrames((20, 24), (7, 7), torch.Generator().manual_seed(0))
    blur.blob, window = blur.ground, window_of(MovingFrames((20, 24), (7, 7), torch.Generator().manual_seed(0)))
    blur.mask = torch.zeros_like(blur.mask)
    alone = blur(window)
    blur.mask = torch.ones_like(blur.mask)
    torch.testing.assert_close(blur(window), alone, rtol=0, atol=1e-12)


def test_kinds_come_by_turns_and_sides_are_all_drawn(coloured):
    pairs = VariedPairs(coloured, 32, strength=(5, 9), kinds=("frames", "motion", "defocus"), length=40)
    batch = next(iter(torch.utils.data.DataLoader(pairs, batch_size=6)))
    assert [tuple(t.shape) for t in batch] == [(6, 3, 32, 32), (6, 3, 32, 32), (6,)] and batch[2].tolist() == [0, 1, 2, 0, 1, 2]
    assert batch[2].dtype == torch.int64 and [pairs.blur(i).kind for i in range(3)] == ["frames", "motion", "defocus"]
    assert {pairs.blur(i).margin for i in range(36)} == {2, 3, 4}
    assert ALL == ("motion", "shake", "defocus", "frames") == VariedPairs(coloured).kinds


def test_an_index_has_one_pair_whatever_was_read_before(coloured):
    a, b = VariedPairs(coloured, 40, seed=3, noise=0.02), VariedPairs(coloured, 40, seed=3, noise=0.02, length=50, cache_bytes=1)
    for i in (4, 0, 5, 4, 7, 2):
        b.blur(i)
        assert all(torch.equal(p, q) for p, q in zip(a[i], b[i]))
    other = VariedPairs(coloured, 40, seed=4, noise=0.02)
    for i in range(4):
        assert not torch.equal(a[i][1], a[i + 4][1]) and not torch.equal(a[i][1], other[i][1]) and len(b) == 50


def test_the_default_dtype_changes_nothing(coloured):
    pairs = VariedPairs(coloured, 40, noise=0.02)
    expected = [pairs[i] for i in range(4)]
    torch.set_default_dtype(torch.float64)
    try:
        found = [pairs[i] for i in range(4)]
    finally:
        torch.set_default_dtype(torch.float32)
    for item, other in zip(expected, found):
        assert all(p.dtype == q.dtype and torch.equal(p, q) for p, q in zip(item, other))


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_give_the_same_items(coloured, workers):
    pairs = VariedPairs(coloured, 32, length=8)
    batches = list(torch.utils.data.DataLoader(pairs, batch_size=4, num_workers=workers))
    for i in range(8):
        assert all(torch.equal(batches[i // 4][part][i % 4], pairs[i][part]) for part in range(3))


def test_noise_and_rounding_are_those_asked_for(coloured):
    raw, stored = (VariedPairs(coloured, 64, rounding=rounding) for rounding in (False, True))
    noisy = VariedPairs(coloured, 64, rounding=False, noise=0.03)
    for i in range(4):
        x, y, z = raw[i], stored[i], noisy[i]
        assert torch.equal(x[1], y[1]) and torch.equal(x[1], z[1]) and 0.028 < float((z[0] - x[0]).std()) < 0.032
        assert torch.equal(y[0] * 255, (y[0] * 255).round()) and 0 < float((x[0] - y[0]).abs().max()) <= 0.501 / 255


def test_flat_crops_are_drawn_again(coloured, tmp_path):
    flat = []
    for i in range(3):
        flat.append(tmp_path / f"flat{i}.png")
        Image.new("RGB", (100, 100), (90, 120, 90)).save(flat[-1])
    pairs = VariedPairs([*coloured.iterdir(), *flat], 40)
    assert sum(float(pairs[i][1].std()) > 0.01 for i in range(12)) == 12     # 20 tries miss all three of six once in a million draws


def test_crops_of_two_sides_are_not_transposed(coloured):
    for i in range(4):
        blurry, sharp, _ = VariedPairs(coloured, (84, 88), strength=(5, 9))[i]
        assert blurry.shape == sharp.shape == (3, 84, 88)


@pytest.mark.parametrize("size, strength", [(8, (5, 5)), (1, (5, 7)), ((5, 60), (21, 21))])
def test_small_crops_and_kernels(coloured, size, strength):
    pairs = VariedPairs(coloured, size, strength=strength)
    for i in range(8):
        blurry, sharp, _ = pairs[i]
        assert bool(blurry.isfinite().all()) and blurry.shape == sharp.shape


@pytest.mark.parametrize("bad, named", [
    (dict(size=0), "size"), (dict(size=(3, 4, 5)), "size"), (dict(strength=(4, 9)), "strength"), (dict(strength=(9, 5)), "strength"),
    (dict(strength=(3, 5)), "strength"), (dict(strength=7), "strength"), (dict(kinds=()), "kinds"), (dict(kinds=("rain",)), "kinds"),
    (dict(kinds=("motion", "motion")), "kinds"), (dict(kinds="rain"), "kinds"), (dict(noise=-1), "noise"), (dict(seed=0.5), "seed"),
    (dict(length=-1), "length"),
])
def test_bad_arguments_are_named(coloured, bad, named):
    with pytest.raises(ValueError, match=f"^{named}: "):
        VariedPairs(coloured, **{"size": 40, **bad})


def test_what_does_not_fit_is_named(coloured):
    with pytest.raises(ValueError, match="as large as a crop of 98 x 98"):
        VariedPairs(coloured, 90, strength=(9, 9))[0]
    pairs = VariedPairs(coloured, 40, length=3, strength=(9, 9))
    for wrong in (pairs.blur, pairs.__getitem__):
        with pytest.raises(IndexError, match="^index: expected 0..2, got 3"):
            wrong(3)
    for i in range(3):
        blur = pairs.blur(i)
        with pytest.raises(ValueError, match=r"^window: expected \[C, 48, 48\], got \[3, 40, 40\]"):
            blur(torch.zeros(3, 40, 40))
        with pytest.raises(TypeError, match="^window: expected a floating tensor"):
            blur(torch.zeros(3, 48, 48, dtype=torch.uint8))
        assert repr(blur) == f"{type(blur).__name__}(size=(40, 40), margin=4)"
