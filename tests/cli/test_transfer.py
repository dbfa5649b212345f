"""`svconv transfer`: the blur of a pair on a photograph and on a folder of them."""
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from svconv.files import images
from svconv.models import BlurKernelSpace, DegradationDeblur


@pytest.fixture(scope="module", autouse=True)
def space():
    torch.manual_seed(0)
    made = BlurKernelSpace(width=4).eval()
    for parameter in made.parameters():
        parameter.requires_grad_(False).mul_(1.5)       # so that the code can be seen in the result
    return made


@pytest.fixture
def files(tmp_path, space):
    """The folder with own.pt, sharp.png and blurry.png, 150 x 130."""
    space.save(tmp_path / "own.pt")
    sharp = picture(130, 150, 0)
    Image.fromarray(sharp).save(tmp_path / "sharp.png")
    Image.fromarray((sharp.astype(int) + np.roll(sharp, 3, 1) >> 1).astype(np.uint8)).save(tmp_path / "blurry.png")
    return tmp_path


def picture(height, width, seed):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.fixture
def transfer(run, files):
    def call(to, output, *more):
        pair = () if "--pair" in more else ("--pair", files / "sharp.png", files / "blurry.png")
        return run("transfer", *pair, "--to", files / to, "--weights", files / "own.pt", *more, "-o", files / output)

    return call


def tensor(pixels):
    return torch.from_numpy(np.atleast_3d(pixels).astype(np.float32)).permute(2, 0, 1)[None] / 255


def expected(files, space, to):
    """What the model says, [H, W, C] in 0..255."""
    x, y = (tensor(np.asarray(Image.open(files / f"{name}.png"))) for name in ("sharp", "blurry"))
    return 255 * space.transfer(x, y, tensor(to))[0].permute(1, 2, 0).clamp(0, 1).numpy()


def read(path):
    return np.atleast_3d(np.asarray(Image.open(path)))


# one photograph -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("size", [(130, 150), (128, 300), (300, 128)])
@pytest.mark.parametrize("grey", [False, True])
def test_the_blur_of_a_pair_on_another_photograph(transfer, files, space, size, grey):
    to = picture(*size, 1)[..., 0] if grey else picture(*size, 1)
    Image.fromarray(to).save(files / "photo.png")
    outcome = transfer("photo.png", "out.png")
    assert outcome.status == 0 and f"{size[1]} x {size[0]}, {'grey' if grey else 'colour'}, 8 bits, " in outcome.out, outcome
    found, whole = read(files / "out.png"), expected(files, space, to)
    assert found.shape == whole.shape and np.abs(found - whole).max() < 1
    assert np.abs(found - np.atleast_3d(to).astype(int)).max() > 2


def test_the_pair_counts(transfer, files):
    Image.fromarray(picture(128, 128, 1)).save(files / "photo.png")
    assert transfer("photo.png", "a.png").status == 0
    assert transfer("photo.png", "b.png", "--pair", files / "sharp.png", files / "sharp.png").status == 0
    assert (read(files / "a.png") != read(files / "b.png")).any()


def test_transparent_pixels_neither_count_nor_change(transfer, files):
    alpha, colours, results = np.full((140, 160), 200, np.uint8), picture(140, 160, 2), []
    alpha[:, 100:] = 0
    for hidden in (0, 255):
        pixels = np.dstack([np.where(alpha[..., None] > 0, colours, hidden).astype(np.uint8), alpha])
        Image.fromarray(pixels).save(files / "rgba.png")
        assert transfer("rgba.png", "out.png").status == 0
        results.append(read(files / "out.png"))
        assert (results[-1][..., 3] == alpha).all() and (results[-1][:, 100:, :3] == hidden).all()
    assert (results[0][:, :100] == results[1][:, :100]).all() and (results[0][:, :100, :3] != colours[:, :100]).any()


def test_deep_pictures_and_floats_keep_their_type_and_white(transfer, files, space):
    pytest.importorskip("imagecodecs")
    to = picture(128, 130, 3)
    whole = expected(files, space, to)
    images.write_image(files / "deep.png", images.Picture(to.astype(np.uint16) * 257))
    assert transfer("deep.png", "deep-out.png").status == 0
    deep = images.read_image(files / "deep-out.png")
    assert deep.bits == 16 and np.abs(deep.pixels / 257 - whole).max() < 1
    np.save(files / "float.npy", to.astype(np.float32))
    assert transfer("float.npy", "out.npy", "--white", "255").status == 0
    floats = np.load(files / "out.npy")
    assert floats.dtype == np.float32 and np.abs(floats.clip(0, 255) - whole).max() < 1


def test_floats_of_a_pair_have_one_white(transfer, files):
    """Blur has lowered the largest value of one of them."""
    Image.fromarray(picture(128, 128, 1)).save(files / "photo.png")
    for name in ("sharp", "blurry"):
        values = read(files / f"{name}.png").astype(np.float32)
        np.save(files / f"{name}.npy", values if name == "sharp" else values * 0.5)
    pair = ("--pair", files / "sharp.npy", files / "blurry.npy")
    top = np.load(files / "sharp.npy").max()
    assert transfer("photo.png", "a.png", *pair).status == 0
    for name in ("sharp", "blurry"):
        np.save(files / f"{name}.npy", np.load(files / f"{name}.npy") * (255 / top) / 255)
    assert transfer("photo.png", "b.png", *pair, "--white", "255").status == 0
    assert np.load(files / "blurry.npy").max() < 0.6 and np.load(files / "sharp.npy").max() == pytest.approx(1)
    assert transfer("photo.png", "c.png", *pair).status == 0
    assert (read(files / "a.png") == read(files / "c.png")).all() and not (read(files / "a.png") == read(files / "b.png")).all()


# a folder -------------------------------------------------------------------------------------------------------------

@pytest.fixture
def folder(files):
    (files / "in" / "deeper").mkdir(parents=True)
    for n, name in enumerate(("one.png", "deeper/two.png", "three.bmp")):
        Image.fromarray(picture(128 + n, 140, n)).save(files / "in" / name)
    return files / "in"


def test_every_photograph_of_a_folder(transfer, files, space, folder):
    (folder / ".hidden.png").write_bytes(b"none")
    (folder / "notes.txt").write_text("none")
    outcome = transfer("in", "out")
    assert outcome.status == 0 and not outcome.err and "out: 3 of 3 photographs, " in outcome.out
    written = sorted(p.relative_to(files / "out").as_posix() for p in (files / "out").rglob("*") if p.is_file())
    assert written == ["deeper/two.png", "one.png", "three.bmp"]
    for name in written:
        assert np.abs(read(files / "out" / name) - expected(files, space, read(folder / name))).max() < 1
    assert outcome.status == transfer("in", "in/out").status == transfer("in", "in/out").status == 0
    assert not (folder / "out" / "out").exists()


def test_photographs_that_fail_are_named_and_the_others_written(transfer, files, folder):
    (folder / "bad.png").write_bytes((folder / "one.png").read_bytes()[:200])
    Image.fromarray(picture(60, 140, 0)).save(folder / "small.png")
    Image.fromarray(picture(130, 140, 0)).save(folder / "web.webp")
    outcome = transfer("in", "out")
    lines = outcome.err.splitlines()
    assert outcome.status == 2 and len(lines) == 3 and all(line.startswith("svconv: error: ") for line in lines)
    for line, text in zip(lines, ("bad.png", "small.png: expected sides of at least 128 pixels, got 140 x 60", "web.webp")):
        assert text in line
    assert "out: 3 of 6 photographs, 3 could not be blurred, " in outcome.out
    assert len([p for p in (files / "out").rglob("*") if p.is_file()]) == 3


def test_folders_that_do_not_fit(transfer, files, folder):
    def case(naming, to, output):
        outcome = transfer(to, output)
        assert outcome.status == 2 and len(outcome.err.splitlines()) == 1 and naming in outcome.err, outcome

    (files / "empty").mkdir()
    case("is the folder of the photographs", "in", "in")
    case("-o: expected a folder, as --to is one, got the file", "in", "own.pt")
    case("no photographs", "empty", "out")
    case("-o: expected a file, as --to is no folder, got the folder", "in/one.png", "empty")
    case("none.png", "none.png", "out.png")
    assert not (files / "out").exists()


# bad input ------------------------------------------------------------------------------------------------------------

def test_pairs_that_do_not_fit(transfer, files):
    Image.fromarray(picture(128, 128, 1)).save(files / "photo.png")
    Image.fromarray(picture(130, 151, 1)).save(files / "wide.png")
    Image.fromarray(picture(130, 150, 1)[..., 0]).save(files / "grey.png")
    Image.fromarray(picture(130, 127, 1)).save(files / "small.png")
    np.save(files / "nan.npy", np.full((130, 150, 3), np.nan, np.float32))
    (files / "damaged.png").write_bytes((files / "sharp.png").read_bytes()[:300])

    def case(naming, sharp, blurry):
        outcome = transfer("photo.png", "out.png", "--pair", files / sharp, files / blurry)
        assert outcome.status == 2 and len(outcome.err.splitlines()) == 1 and all(text in outcome.err for text in naming), outcome

    case(["the same size, got 150 x 130 in", "sharp.png and 151 x 130 in", "wide.png"], "sharp.png", "wide.png")
    case(["the same number of channels, got 3 in", "sharp.png and 1 in", "grey.png"], "sharp.png", "grey.png")
    case(["small.png: expected sides of at least 128 pixels, got 127 x 130"], "small.png", "small.png")
    case(["nan.npy: it has NaN"], "nan.npy", "nan.npy")
    case(["damaged.png"], "sharp.png", "damaged.png")
    case(["none.png"], "none.png", "sharp.png")
    assert not (files / "out.png").exists()


def test_photographs_and_weights_that_do_not_fit(transfer, refused, files, monkeypatch):
    Image.fromarray(picture(128, 127, 1)).save(files / "small.png")
    Image.fromarray(picture(128, 128, 1)).save(files / "photo.png")
    DegradationDeblur(width=2).save(files / "other.pt")
    (files / "damaged.pt").write_bytes((files / "own.pt").read_bytes()[:-40])

    def case(naming, to, output, *more):
        outcome = transfer(to, output, *more)
        assert outcome.status == 2 and len(outcome.err.splitlines()) == 1 and naming in outcome.err, outcome

    case("small.png: expected sides of at least 128 pixels, got 127 x 128", "small.png", "out.png")
    case("out.xyz: unknown extension", "photo.png", "out.xyz")
    for name, text in (("other.pt", "holds weights of DegradationDeblur"), ("damaged.pt", "not a readable"), ("none.pt", "no such file")):
        case(f"--weights: {files / name}: {text}", "photo.png", "out.png", "--weights", files / name)
    monkeypatch.setattr("svconv.files.limits.free_memory", lambda: 1_000_000)
    case("GB of memory", "photo.png", "out.png")
    monkeypatch.undo()
    monkeypatch.setattr("svconv.models.pretrained.FOLDER", files / "none")
    refused("transfer", "--pair", files / "sharp.png", files / "blurry.png", "--to", files / "photo.png", "-o", files / "out.png",
            naming=["transfer: no weights are shipped", "--weights"])
    assert not (files / "out.png").exists()


MEASURE = """
import damage, numpy as np, torch
from svconv.cli import map_options, transfer
from svconv.files import limits
from svconv.files.picture import Picture
from svconv.models import BlurKernelSpace
space = BlurKernelSpace(width=16).eval()
values = np.random.default_rng(0).integers(0, 255, (512, 640, 3)).astype(np.uint8)

def whole(picture):
    with torch.no_grad():
        y = map_options.planes(picture)
        code = space.encode(y, y)
        return map_options.finished(picture, space.blur(y, code))

whole(Picture(values[:128, :128]).with_white()[0])
picture = Picture(values).with_white()[0]
with damage.Peak() as peak:
    whole(picture)
announced = []
limits.check_memory = lambda path, needed, purpose: announced.append(needed)
transfer.check_memory("", picture, space, "")
print(peak.bytes, int(announced[0]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says")
def test_the_memory_that_is_announced_is_what_is_used():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, env=environment)
    used, announced = map(int, done.stdout.split())
    assert 0.4 * announced < used < announced
