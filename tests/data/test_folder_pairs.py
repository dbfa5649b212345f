"""Pairs from folders: which pictures belong together, crops at one place, turns; what does not fit is named."""
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from svconv.data import FolderPairs
from svconv.files import FileError


def picture(seed, size=(50, 60), noise=True):
    """Every pixel says where it stands; the blue of a sharp picture has noise, that of a blurry one is its number."""
    rows, columns = np.mgrid[0:size[0], 0:size[1]].astype(np.uint8)
    blue = np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8) if noise else np.full(size, seed, np.uint8)
    return np.stack([2 * rows, 2 * columns, blue], -1)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folders(tmp_path):
    for i, name in enumerate(("a", "deep/a", "b")):
        write(tmp_path / "s" / f"{name}.png", picture(i))
        write(tmp_path / "k" / f"{name}.{'bmp' if i else 'png'}", picture(i, noise=False))
    return tmp_path / "s", tmp_path / "k"


@pytest.fixture
def gopro(tmp_path):
    for i, scene in enumerate(("x", "y")):
        for part in ("sharp", "blur", "blur_gamma"):
            write(tmp_path / "g" / scene / part / "001.png", picture(i + 5 * (part == "blur_gamma"), noise=part == "sharp"))
    return tmp_path / "g"


@pytest.mark.parametrize("which", ["folders", "gopro"])
def test_both_crops_are_from_one_place_of_the_pictures_that_belong_together(which, request):
    source = request.getfixturevalue(which)
    pairs, count = (FolderPairs(*source, 20), 3) if which == "folders" else (FolderPairs(source, size=20), 2)
    turns, numbers = set(), set()
    for i in range(80):
        blurry, sharp, kind = pairs[i]
        assert blurry.shape == sharp.shape == (3, 20, 20) and blurry.dtype == sharp.dtype == torch.float32
        assert blurry.is_contiguous() and sharp.is_contiguous() and kind.dtype == torch.int64 and int(kind) == 0
        number = round(float(blurry[2, 0, 0]) * 255)
        assert torch.equal(blurry[:2], sharp[:2]) and bool((blurry[2] == number / 255).all())
        transposed = bool(sharp[0, 0, 0] == sharp[0, 1, 0])
        back = sharp.transpose(1, 2) if transposed else sharp
        flips = [axis for axis, channel in ((1, 0), (2, 1)) if back[channel, 0, 0] > back[channel, -1, -1]]
        top, left = (round(float(v) * 255 / 2) for v in back.flip(flips)[:2, 0, 0])
        whole = torch.from_numpy(picture(number)).permute(2, 0, 1) / 255
        assert torch.equal(back.flip(flips), whole[:, top:top + 20, left:left + 20])
        turns.add((transposed, *flips))
        numbers.add(number)
    assert len(turns) == 8 and numbers == set(range(count)) and len(pairs.pairs) == count


def test_an_index_has_one_pair_whatever_was_read_before(folders):
    a, b = FolderPairs(*folders, 20, seed=3), FolderPairs(*folders, 20, seed=3, length=50, cache_bytes=1)
    for i in (4, 0, 4, 2):
        assert all(torch.equal(p, q) for p, q in zip(a[i], b[i]))
    assert not torch.equal(a[1][1], a[2][1]) and not torch.equal(a[1][1], FolderPairs(*folders, 20, seed=4)[1][1]) and len(b) == 50
    batch = next(iter(torch.utils.data.DataLoader(b, batch_size=4, num_workers=0)))
    assert [tuple(t.shape) for t in batch] == [(4, 3, 20, 20), (4, 3, 20, 20), (4,)]


def test_it_can_be_sent_to_another_process(folders):
    pairs = FolderPairs(*folders, 20)
    copy = pickle.loads(pickle.dumps(pairs))
    assert all(torch.equal(p, q) for p, q in zip(pairs[3], copy[3]))


def test_large_pictures_keep_their_size_and_the_gradient_is_that_of_the_sharp_one(tmp_path):
    flat, busy = np.full((1400, 20, 3), 90, np.uint8), np.random.default_rng(0).integers(0, 256, (1400, 20, 3)).astype(np.uint8)
    for name, (sharp, blurry) in {"flat": (flat, busy), "busy": (busy, flat)}.items():
        write(tmp_path / "s" / f"{name}.png", sharp)
        write(tmp_path / "k" / f"{name}.png", blurry)
    pairs = FolderPairs(tmp_path / "s", tmp_path / "k", (1400, 20))
    for i in range(8):                                                          # 20 tries miss one of two once in a million draws
        blurry, sharp, _ = pairs[i]
        assert sharp.shape == (3, 1400, 20) and float(sharp.std()) > 0.2 and float(blurry.std()) < 1e-6


def test_grey_pictures_are_three_equal_channels(tmp_path):
    for part in ("s", "k"):
        write(tmp_path / part / "a.png", picture(0)[..., 2])
    blurry, sharp, _ = FolderPairs(tmp_path / "s", tmp_path / "k", 30)[0]
    assert torch.equal(blurry, sharp) and torch.equal(sharp[0], sharp[1]) and torch.equal(sharp[0], sharp[2]) and float(sharp.std()) > 0.2


def test_sizes_and_channels_that_differ_are_named(folders):
    sharp, blurry = folders
    write(blurry / "a.png", picture(0, (50, 61)))
    with pytest.raises(FileError, match=r"k/a.png: expected 50 x 60 pixels, colour as in .*s/a.png, got 50 x 61 pixels, colour"):
        [FolderPairs(sharp, blurry, 20)[i] for i in range(20)]
    write(blurry / "a.png", picture(0)[..., 2])
    with pytest.raises(FileError, match=r"k/a.png: expected .*colour as in .*s/a.png, got 50 x 60 pixels, grey"):
        [FolderPairs(sharp, blurry, 20)[i] for i in range(20)]
    (blurry / "a.png").write_bytes((blurry / "a.png").read_bytes()[:60])
    with pytest.raises(FileError, match="k/a.png"):
        [FolderPairs(sharp, blurry, 20)[i] for i in range(20)]


def test_pictures_without_their_other_are_named(folders, gopro, tmp_path):
    sharp, blurry = folders
    (gopro / "y/blur/001.png").rename(gopro / "y/blur/002.png")
    with pytest.raises(ValueError, match=r"y/sharp/001.png: no blurry picture of this name in "):
        FolderPairs(gopro)
    (blurry / "deep/a.bmp").rename(blurry / "deep/c.bmp")
    with pytest.raises(ValueError, match=r"s/deep/a.png: no blurry picture of this name in .*k"):
        FolderPairs(sharp, blurry)
    (sharp / "deep/a.png").unlink()
    with pytest.raises(ValueError, match=r"k/deep/c.bmp: no sharp picture of this name in .*s"):
        FolderPairs(sharp, blurry)
    write(sharp / "a.bmp", picture(0))
    with pytest.raises(ValueError, match=r"s/a.png: .*s/a.bmp has the same name"):
        FolderPairs(sharp, blurry)
    with pytest.raises(ValueError, match=r"expected pairs of pictures .../sharp/NAME and .../blur/NAME"):
        FolderPairs(blurry)
    with pytest.raises(ValueError, match="nowhere: not a folder"):
        FolderPairs(tmp_path / "nowhere", sharp)


@pytest.mark.parametrize("bad, named", [(dict(size=0), "size"), (dict(seed=0.5), "seed"), (dict(length=-1), "length")])
def test_bad_arguments_are_named(folders, bad, named):
    with pytest.raises(ValueError, match=f"^{named}: "):
        FolderPairs(*folders, **bad)


def test_too_small_pictures_and_indices_are_named(folders):
    with pytest.raises(ValueError, match="as large as a crop of 51 x 51"):
        FolderPairs(*folders, 51)[0]
    with pytest.raises(IndexError, match="^index:"):
        FolderPairs(*folders, 20, length=3)[3]
