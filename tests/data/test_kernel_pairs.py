"""Kernel pairs: the convolution they follow, determinism, measured kernels, every degradation; bad arguments."""
import numpy as np
import pytest
import torch
from PIL import Image

from svconv.data import KernelPairs, jpeg_round_trip
from svconv.data.measured_kernels import measured_kernels
from svconv.files import FileError, write_kernel


@pytest.fixture
def coloured(tmp_path):
    folder, random = tmp_path / "coloured", np.random.default_rng(0)
    folder.mkdir()
    for i in range(3):
        Image.fromarray((np.kron(random.random((24, 25, 3)), np.ones((4, 4, 1))) * 255).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def blurred(window, kernel):
    """The convolution of [3, H, W] with [k, k] wherever the kernel lies inside, one tap at a time in double precision."""
    k, window = kernel.shape[-1], window.double()
    height, width = window.shape[1] - k + 1, window.shape[2] - k + 1
    return sum(kernel[i, j].double() * window[:, k - 1 - i:k - 1 - i + height, k - 1 - j:k - 1 - j + width]
               for i in range(k) for j in range(k))


def test_blurry_is_the_valid_convolution_of_the_photograph(tmp_path):
    """Every pixel of these photographs says where it stands, so a crop tells its place and its turn."""
    rows, columns = np.mgrid[0:80, 0:90].astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, rows.shape).astype(np.uint8)
    whole = np.stack([2 * rows, 2 * columns, noise], -1)
    Image.fromarray(whole).save(tmp_path / "a.png")
    whole, turns, sides = torch.from_numpy(whole).permute(2, 0, 1) / 255, set(), set()
    pairs = KernelPairs(tmp_path, 20, kernel_sizes=(5, 11), noise=0)
    for i in range(40):
        blurry, sharp, kernel = pairs[i]
        half = kernel.shape[-1] // 2
        assert blurry.shape == sharp.shape == (3, 20, 20) and kernel.shape == (1, 2 * half + 1, 2 * half + 1)
        assert all(t.dtype == torch.float32 and t.is_contiguous() for t in (blurry, sharp, kernel))
        transposed = bool(sharp[0, 0, 0] == sharp[0, 1, 0])
        back = [t.transpose(-2, -1) if transposed else t for t in (blurry, sharp, kernel)]
        flips = [axis for axis, channel in ((-2, 0), (-1, 1)) if back[1][channel, 0, 0] > back[1][channel, -1, -1]]
        blurry, sharp, kernel = (t.flip(flips) for t in back)
        top, left = (round(float(v) * 255 / 2) - half for v in sharp[:2, 0, 0])
        window = whole[:, top:top + 20 + 2 * half, left:left + 20 + 2 * half]
        assert torch.equal(window[:, half:half + 20, half:half + 20], sharp)
        torch.testing.assert_close(blurry.double(), blurred(window, kernel[0]), rtol=0, atol=2e-6)
        turns.add((transposed, *flips))
        sides.add(2 * half + 1)
    assert len(turns) == 8 and sides == {5, 7, 9, 11}


def test_an_index_has_one_pair_whatever_was_read_before(coloured):
    a, b = KernelPairs(coloured, 32, seed=3), KernelPairs(coloured, 32, seed=3, length=50, cache_bytes=1)
    for i in (4, 0, 4, 2):
        assert all(torch.equal(p, q) for p, q in zip(a[i], b[i]))
    assert not torch.equal(a[1][0], a[2][0]) and not torch.equal(a[1][1], KernelPairs(coloured, 32, seed=4)[1][1])
    assert len(b) == 50


@pytest.mark.parametrize("degradation", ["gaussian", "jpeg", "impulse"])
def test_degradations_leave_the_sharp_image_and_the_kernel(coloured, degradation):
    clean, spoiled = KernelPairs(coloured, 48, noise=0), KernelPairs(coloured, 48, noise=0.05, degradation=degradation)
    noisy = KernelPairs(coloured, 48, noise=0.05)
    hit = []
    for i in range(12):
        (x, *known), (y, *also), (z, *_) = clean[i], spoiled[i], noisy[i]
        assert all(torch.equal(p, q) for p, q in zip(known, also)) and 0.045 < float((z - x).std()) < 0.055
        if degradation == "jpeg":
            assert torch.equal(y, jpeg_round_trip(z, 90)) and not torch.equal(y, z)
        changed = (y != z).all(0)
        hit.append(float(changed.float().mean()))
        if degradation == "impulse":
            struck = y[:, changed]
            assert bool(((struck == 0) | (struck == 1)).all()) and bool((struck[:1] == struck).all())
            assert torch.equal(y[:, ~changed], z[:, ~changed])
    mean = sum(hit) / len(hit)
    assert mean == 0 if degradation == "gaussian" else mean > 0.5 if degradation == "jpeg" else 0.006 < mean < 0.014


def test_saturation_clips_both_images_and_light_spreads_from_far_above_the_white(coloured):
    plain, lit = KernelPairs(coloured, 64, noise=0), KernelPairs(coloured, 64, noise=0, degradation="saturation")
    shares, gains, brighter = [], [], 0
    for i in range(16):
        (_, x, k), (y, sharp, kernel) = plain[i], lit[i]
        assert torch.equal(k, kernel) and all(0 <= float(t.min()) and float(t.max()) <= 1 for t in (y, sharp))
        dark = x.amax(0) < 0.9 * float(x[:, sharp.amax(0) >= 1].amax(0).min())       # far from the white: the gain and nothing else
        gain = (sharp / x.clamp_min(1e-3))[:, dark & (x.amin(0) > 0.05)]
        gains.append(float(gain.median()))
        assert float((gain - gains[-1]).abs().max()) < 1e-3
        shares.append(float((sharp.amax(0) >= 1).float().mean()))
        padded = torch.nn.functional.conv2d(sharp[:, None], kernel[None].flip(-2, -1))[:, 0]
        half = kernel.shape[-1] // 2
        brighter += float((y[:, half:-half, half:-half] - padded).max()) > 0.05
    assert 0.002 < min(shares) and max(shares) < 0.2 and 0.02 < sum(shares) / 16 < 0.12
    assert 0.999 < min(gains) and max(gains) < 4.001 and brighter >= 8


def test_noise_comes_before_the_clipping(coloured):
    for i in range(4):
        y = KernelPairs(coloured, 64, noise=0.2, degradation="saturation")[i][0]
        assert float(y.min()) == 0 and float(y.max()) == 1 and float((y == 0).float().mean()) > 0.005


@pytest.fixture
def measured(tmp_path):
    folder = tmp_path / "measured"
    (folder / "deep").mkdir(parents=True)
    random = np.random.default_rng(1)
    for name, shape in (("a.npy", (5, 5)), ("deep/b.png", (4, 7)), ("large.npy", (21, 3))):
        write_kernel(folder / name, random.random(shape))
    (folder / "notes.txt").write_text("no kernel")
    (folder / ".hidden.npy").write_text("no kernel")
    return folder


def test_measured_kernels_are_odd_centred_and_small_enough(measured):
    a, b = measured_kernels(measured, 13)
    assert a.shape == (5, 5) and b.shape == (7, 7) and all(float(k.sum()) == pytest.approx(1, abs=1e-5) for k in (a, b))
    rows, columns = (b.sum(axis) > 0 for axis in (1, 0))
    assert rows.tolist() == [False, *[True] * 4, False, False] and bool(columns.all())      # row 4 // 2 = 2 of the file in the middle
    assert len(measured_kernels([measured / "large.npy"], 21)) == 1


def test_every_second_kernel_is_a_measured_one_in_any_turn(coloured, measured):
    pairs = KernelPairs(coloured, 24, kernel_sizes=(9, 13), measured=measured, noise=0)
    turns = [(k, [r.transpose(0, 1) if t else r for r in (k, k.flip(0), k.flip(1), k.flip(0, 1)) for t in (False, True)])
             for k in pairs.measured]
    found = []
    for i in range(120):
        kernel = pairs[i][2][0]
        fits = [(n, m) for n, (k, turned) in enumerate(turns) if k.shape == kernel.shape
                for m, t in enumerate(turned) if torch.equal(t, kernel)]
        assert fits or kernel.shape[-1] in (9, 11, 13)
        found += fits[:1]
    assert 40 <= len(found) <= 80 and {n for n, _ in found} == {0, 1} and len({m for _, m in found}) == 8


def test_kernel_files_are_named(coloured, measured, tmp_path):
    with pytest.raises(ValueError, match="^measured: expected kernels with sides of at most 3 pixels, got 3 files"):
        KernelPairs(coloured, 24, kernel_sizes=(1, 3), measured=measured)
    with pytest.raises(ValueError, match="^measured: .*nowhere is not a folder"):
        KernelPairs(coloured, 24, measured=tmp_path / "nowhere")
    with pytest.raises(FileError, match="notes.txt"):
        KernelPairs(coloured, 24, measured=[measured / "notes.txt"])


def test_crops_of_two_sides_are_not_transposed(coloured):
    blurry, sharp, kernel = KernelPairs(coloured, (88, 92), kernel_sizes=(9, 9))[0]
    assert blurry.shape == sharp.shape == (3, 88, 92) and kernel.shape == (1, 9, 9)


@pytest.mark.parametrize("bad, named", [
    (dict(size=0), "size"), (dict(kernel_sizes=(4, 9)), "kernel_sizes"), (dict(kernel_sizes=(5, 8)), "kernel_sizes"),
    (dict(kernel_sizes=(9, 5)), "kernel_sizes"), (dict(kernel_sizes=9), "kernel_sizes"), (dict(noise=-1), "noise"),
    (dict(degradation="rain"), "degradation"), (dict(seed=0.5), "seed"), (dict(length=-1), "length"),
])
def test_bad_arguments_are_named(coloured, bad, named):
    with pytest.raises(ValueError, match=f"^{named}: "):
        KernelPairs(coloured, **{"size": 40, **bad})


def test_too_small_photographs_and_indices_are_named(coloured):
    with pytest.raises(ValueError, match="as large as a crop of 98 x 98"):
        KernelPairs(coloured, 90, kernel_sizes=(9, 9))[0]
    with pytest.raises(IndexError, match="^index:"):
        KernelPairs(coloured, 40, length=3)[3]
