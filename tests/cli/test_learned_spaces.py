"""`svconv deblur --blind --method ebks|ldr`: what comes back, the search that is stopped and resumed, bad input, memory."""
import io
import os
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image

from svconv.cli import deep_prior, learned_spaces, progress
from svconv.files import images
from svconv.models import BlurKernelSpace, DegradationDeblur, LearningToDeblur, deep_prior_deblur
from svconv.models.degradation_deblur import restore_tiled

KINDS = {"ebks": BlurKernelSpace, "ldr": DegradationDeblur}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A warm-up of two steps, one thread."""
    monkeypatch.setattr(deep_prior, "WARMUP", 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def weights(tmp_path):
    """{method: file} of untrained models."""
    for seed, (name, kind) in enumerate(KINDS.items()):
        torch.manual_seed(seed)
        model = kind(width=4)
        if name == "ebks":
            model.typical.normal_()
        model.save(tmp_path / f"{name}.pt")
    return {name: tmp_path / f"{name}.pt" for name in KINDS}


@pytest.fixture
def photo():
    """uint8 [128, 128, 3]."""
    y, x = np.mgrid[:128, :128]
    return np.stack([128 + 100 * np.sin(x / 9 + c) * np.cos(y / 7) for c in range(3)], 2).astype(np.uint8)


@pytest.fixture
def blind(run, tmp_path, weights):
    """blind(method, picture's file, ...) -> outcome; writes out.png."""

    def call(method, image, *more, output="out.png"):
        steps = ("--steps", "2") if method == "ebks" and "--steps" not in more else ()
        return run("deblur", image, "--blind", "--method", method, "--weights", weights[method], *steps, *more, "-o", tmp_path / output)

    return call


def tensor(pixels, white=255):
    return torch.from_numpy(np.atleast_3d(pixels).astype(np.float32)).permute(2, 0, 1)[None] / white


def expected(method, weights, y, seed=0, steps=2):
    """What the model says, [H, W, C]."""
    model = KINDS[method].load(weights[method])
    if method == "ldr":
        x = restore_tiled(model, y)
    else:
        x = deep_prior_deblur(y, model, steps=steps, warmup=1, generator=torch.Generator().manual_seed(seed)).x
    return x[0].permute(1, 2, 0).clamp(0, 1).numpy()


# what comes back ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("grey", [False, True])
def test_it_restores_by_the_weights_of_a_file(blind, tmp_path, photo, photo_file, weights, method, grey):
    pixels = np.pad(photo, ((0, 0), (0, 8), (0, 0)), "reflect")[..., 0 if grey else slice(None)]    # no multiple of the networks' 128
    Image.fromarray(pixels).save(photo_file)
    outcome = blind(method, photo_file)
    said = "ebks, 2 steps, " if method == "ebks" else "ldr, "
    assert outcome.status == 0 and f"136 x 128, {'grey' if grey else 'colour'}, 8 bits, {said}" in outcome.out, outcome
    found = np.asarray(Image.open(tmp_path / "out.png"))
    assert found.shape == pixels.shape
    assert np.abs(np.atleast_3d(found) - 255 * expected(method, weights, tensor(pixels))).max() < 1.5
    assert not list(tmp_path.glob("*.search")) and not list(tmp_path.glob(".svconv*"))


@pytest.mark.parametrize("method", KINDS)
def test_transparent_pixels_neither_count_nor_change(blind, tmp_path, photo, method):
    alpha = np.full(photo.shape[:2], 200, np.uint8)
    alpha[:, 100:] = 0
    results = []
    for hidden in (0, 255):
        pixels = np.dstack([np.where(alpha[..., None] > 0, photo, hidden).astype(np.uint8), alpha])
        Image.fromarray(pixels).save(tmp_path / "rgba.png")
        assert blind(method, tmp_path / "rgba.png").status == 0
        results.append(np.asarray(Image.open(tmp_path / "out.png")))
        assert (results[-1][..., 3] == alpha).all() and (results[-1][:, 100:, :3] == hidden).all()
    assert (results[0][:, :100] == results[1][:, :100]).all() and (results[0][:, :100, :3] != photo[:, :100]).any()


@pytest.mark.parametrize("method", KINDS)
def test_deep_pictures_and_floats_keep_their_type_and_white(blind, tmp_path, photo, weights, method):
    pytest.importorskip("imagecodecs")
    whole = expected(method, weights, tensor(photo))
    images.write_image(tmp_path / "deep.png", images.Picture(photo.astype(np.uint16) * 257))
    assert blind(method, tmp_path / "deep.png").status == 0
    deep = images.read_image(tmp_path / "out.png")
    assert deep.bits == 16 and np.abs(deep.pixels / 65535 - whole).max() < 0.006
    values = photo.astype(np.float32) * 10
    np.save(tmp_path / "float.npy", values)
    outcome = blind(method, tmp_path / "float.npy", "--white", "2550", output="out.npy")
    assert outcome.status == 0 and "white 2550 (given)" in outcome.out
    floats = np.load(tmp_path / "out.npy")
    assert floats.dtype == np.float32 and np.abs(floats.clip(0, 2550) / 2550 - whole).max() < 0.006


def test_large_photographs_go_by_windows(blind, tmp_path, photo, photo_file, weights):
    Image.fromarray(np.tile(photo, (3, 2, 1))).save(photo_file)
    assert blind("ldr", photo_file).status == 0
    whole = expected("ldr", weights, tensor(np.tile(photo, (3, 2, 1))))
    assert np.abs(np.asarray(Image.open(tmp_path / "out.png")) - 255 * whole).max() < 1.5


def test_seed_and_precision_change_the_search(blind, tmp_path, photo, photo_file):
    Image.fromarray(photo).save(photo_file)
    found = []
    for more in (("--seed", "0"), ("--seed", "7"), ("--precision", "bfloat16")):
        assert blind("ebks", photo_file, "--steps", "1", *more).status == 0
        found.append(np.asarray(Image.open(tmp_path / "out.png")).astype(int))
    assert (found[0] != found[1]).any() and (found[0] != found[2]).any()


def test_features_of_vgg(blind, tmp_path, photo, photo_file, interrupting):
    generator, state = torch.Generator().manual_seed(0), {}
    layers = [(0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), *((n, 256, 256) for n in (12, 14, 16)), (19, 256, 512)]
    for place, inputs, outputs in (*layers, *((n, 512, 512) for n in (21, 23, 25, 28))):
        state[f"features.{place}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=generator) * (2 / (9 * inputs)) ** 0.5
        state[f"features.{place}.bias"] = torch.zeros(outputs)
    torch.save(state, tmp_path / "vgg.pth")
    Image.fromarray(photo).save(photo_file)
    interrupting(3)
    file = tmp_path / "out.png.search"
    assert blind("ebks", photo_file, "--vgg", tmp_path / "vgg.pth").status == 130
    assert "other --vgg features" in blind("ebks", photo_file, "--resume", file).err
    assert blind("ebks", photo_file, "--vgg", tmp_path / "vgg.pth", "--resume", file).status == 0


def test_shipped_weights_are_found_by_their_name(monkeypatch, tmp_path):
    monkeypatch.setattr("svconv.models.pretrained.FOLDER", tmp_path)
    BlurKernelSpace(width=4).save(tmp_path / "ebks-mixed.pt")
    BlurKernelSpace("reference", width=2).save(tmp_path / "ebks-other.pt")
    assert [learned_spaces.load_model(BlurKernelSpace, n, "").channels for n in (None, "mixed", "ebks-other")] == [32, 32, 16]


def test_the_shipped_space_has_to_be_named(refused, tmp_path, photo_file):
    refused("deblur", photo_file, "--blind", "--method", "ebks", "-o", tmp_path / "out.png", naming="ebks: name one of ebks-mixed")


# the search -----------------------------------------------------------------------------------------------------------

@pytest.fixture
def interrupting(monkeypatch):
    """interrupting(n): Ctrl-C in the middle of the n-th step from now on."""
    from svconv.models.deep_prior.search import Search

    whole, left = Search.step, []

    def step(self):
        if left and (left.append(left.pop() - 1) or left[0] == 0):
            signal.raise_signal(signal.SIGINT)
        whole(self)

    monkeypatch.setattr(Search, "step", step)
    return left.append


@pytest.mark.parametrize("place", [2, 4])
def test_a_stopped_search_goes_on_to_the_same_bytes(blind, tmp_path, photo, photo_file, interrupting, place):
    """At the end of the warm-up, in the search."""
    Image.fromarray(photo).save(photo_file)
    assert blind("ebks", photo_file, "--steps", "4", output="whole.png").status == 0
    before = set(os.listdir(tmp_path))
    interrupting(place)
    outcome = blind("ebks", photo_file, "--steps", "4", "--preview", tmp_path / "now.png")
    file = tmp_path / "out.png.search"
    assert outcome.status == 130 and not outcome.out
    assert outcome.err == f"svconv: interrupted; the same command with --resume {file} goes on"
    assert set(os.listdir(tmp_path)) - before == {"out.png.search", "now.png"}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    outcome = blind("ebks", photo_file, "--steps", "4", "--resume", file)
    assert outcome.status == 0 and not outcome.err and not file.exists()
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "whole.png").read_bytes()


def test_a_second_interrupt_ends_it_at_once(blind, tmp_path, photo, photo_file, monkeypatch):
    from svconv.models.deep_prior.search import Search

    def step(self):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    Image.fromarray(photo).save(photo_file)
    monkeypatch.setattr(Search, "step", step)
    outcome = blind("ebks", photo_file)
    assert outcome.status == 130 and outcome.err == "svconv: interrupted" and not (tmp_path / "out.png.search").exists()


def test_only_the_same_search_is_resumed(blind, refused, tmp_path, photo, photo_file, weights, interrupting):
    Image.fromarray(photo).save(photo_file)
    interrupting(3)
    assert blind("ebks", photo_file, "--steps", "4").status == 130
    file = tmp_path / "out.png.search"
    torch.manual_seed(5)
    BlurKernelSpace(width=4).save(tmp_path / "w4.pt")
    BlurKernelSpace(width=2).save(tmp_path / "w2.pt")
    Image.fromarray(photo[::-1]).save(tmp_path / "other.png")
    Image.fromarray(np.pad(photo, ((0, 0), (0, 2), (0, 0)))).save(tmp_path / "wide.png")
    torch.save({"a": 1}, tmp_path / "foreign.search")
    (tmp_path / "damaged.search").write_bytes(file.read_bytes()[:-50])

    def case(naming, *more, image=photo_file, resume=file, own=weights["ebks"], steps="4"):
        refused("deblur", image, "--blind", "--method", "ebks", "--weights", own, "--steps", steps, "--resume", resume, *more, "-o",
                tmp_path / "again.png", naming=["--resume: ", str(resume), naming])

    case("the search had steps 4, now it is 5", steps="5")
    case("precision float32, now it is bfloat16", "--precision", "bfloat16")
    case("other --weights", own=tmp_path / "w4.pt")
    case("other --weights", own=tmp_path / "w2.pt")
    case("another photograph", image=tmp_path / "other.png")
    case("another photograph", image=tmp_path / "wide.png")
    case("another photograph, or another --white", "--white", "200")
    case("svconv deblur --method ebks", resume=tmp_path / "foreign.search")
    case("not a readable file of a search", resume=tmp_path / "damaged.search")
    case("no such file of a search", resume=tmp_path / "none.search")
    assert not (tmp_path / "again.png").exists() and file.exists()


def test_a_search_that_is_not_resumed_is_named(blind, tmp_path, photo, photo_file):
    Image.fromarray(photo).save(photo_file)
    (tmp_path / "out.png.search").write_bytes(b"kept")
    outcome = blind("ebks", photo_file)
    assert outcome.status == 0 and "out.png.search: an interrupted search is there" in outcome.err
    assert (tmp_path / "out.png.search").read_bytes() == b"kept"


def test_the_preview_is_written_on_the_way_and_at_the_end(blind, tmp_path, photo, photo_file, monkeypatch):
    monkeypatch.setattr(deep_prior, "PREVIEW", 2)
    seen, whole = [], images.write_image

    def write(path, picture):
        seen.append((os.path.basename(path), picture.bits))
        whole(path, picture)

    monkeypatch.setattr(images, "write_image", write)
    pytest.importorskip("tifffile")
    images.write_image(tmp_path / "deep.tif", images.Picture(photo.astype(np.uint16) * 257))
    seen.clear()
    assert blind("ebks", tmp_path / "deep.tif", "--steps", "3", "--preview", tmp_path / "now.jpg", output="out.tif").status == 0
    assert seen == [("now.jpg", 8), ("now.jpg", 8), ("now.jpg", 8), ("out.tif", 16)]
    shown, found = np.asarray(Image.open(tmp_path / "now.jpg")), images.read_image(tmp_path / "out.tif").pixels / 257
    assert shown.shape == found.shape and np.abs(shown - found).mean() < 8      # JPEG


def test_a_preview_that_cannot_be_written_does_not_end_the_search(blind, tmp_path, photo, photo_file, monkeypatch):
    from svconv.files import FileError

    Image.fromarray(photo).save(photo_file)
    monkeypatch.setattr(deep_prior, "PREVIEW", 1)
    whole = images.write_image

    def write(path, picture):
        if os.path.basename(path) == "now.png":
            raise FileError(f"cannot write {path}: No space left on device")
        whole(path, picture)

    monkeypatch.setattr(images, "write_image", write)
    outcome = blind("ebks", photo_file, "--preview", tmp_path / "now.png")
    assert outcome.status == 0 and outcome.err.count("No space left") == 1 and outcome.err.startswith("svconv: warning: --preview: ")


def test_the_bar_shows_the_loss(blind, photo, photo_file, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(progress, "sys", types.SimpleNamespace(stderr=screen))
    Image.fromarray(photo).save(photo_file)
    assert blind("ebks", photo_file).status == 0
    assert "searching: 100%" in screen.getvalue() and "4/4" in screen.getvalue() and "loss " in screen.getvalue()


# bad input ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method, options, naming", [
    ("ebks", ("--steps", "0"), "--steps: expected a whole number >= 1, got 0"), ("ebks", ("--seed", "-1"), "--seed: expected"),
    ("ebks", ("--preview", "out.png"), "--preview: out.png is the output file too"), ("ebks", ("--preview", "now.xyz"), "now.xyz"),
    ("ebks", ("--preview", "no/now.png"), "no/now.png: the folder does not exist"), ("ebks", ("--vgg", "none.pth"), "--vgg: none.pth"),
    ("ebks", ("--vgg", "ldr.pt"), "--vgg: ldr.pt: not the weights of a VGG-19"),
    *((method, option, f"{option[0]}: not with --method {method}") for method in KINDS for option in
      (("--kernel-size", "17"), ("--final", "irls"), ("--save-kernel", "k.npy"), ("--refine",), ("--reg", "0"), ("--grid", "2x2"))),
    *((method, option, f"{option[0]}: only with --blind --method ebks") for method in ("ldr", "ltd") for option in
      (("--steps", "3"), ("--preview", "now.png"), ("--resume", "a.search"), ("--vgg", "v.pth"), ("--seed", "0"),
       ("--precision", "float32"))),
    ("ldr", ("--mask", "nan"), "--mask: only with --psf-grid"), ("ldr", ("--linear",), "--linear: ldr has learned"),
    ("ebks", ("--weights", "ldr.pt"), ["--weights: ldr.pt: holds weights of DegradationDeblur", "BlurKernelSpace"]),
    ("ldr", ("--weights", "ebks.pt"), "--weights: ebks.pt: holds weights of BlurKernelSpace"),
    ("ldr", ("--weights", "ltd.pt"), "--weights: ltd.pt: holds weights of LearningToDeblur"),
    ("ldr", ("--weights", "nowhere"), ["--weights: nowhere: no such file", "known: "]),
    ("ebks", ("--weights", "damaged.pt"), "--weights: damaged.pt: not a readable weight file"),
    ("ebks", ("--weights", "photo.png"), "--weights: photo.png: not a readable weight file"),
])
def test_wrong_options_and_weights_are_refused(refused, tmp_path, photo, photo_file, weights, monkeypatch, method, options, naming):
    Image.fromarray(photo).save(photo_file)
    LearningToDeblur(stages=1).save(tmp_path / "ltd.pt")
    (tmp_path / "damaged.pt").write_bytes(weights["ebks"].read_bytes()[:-30])
    monkeypatch.chdir(tmp_path)
    own = () if "--weights" in options or method not in weights else ("--weights", weights[method])
    refused("deblur", "photo.png", "--blind", "--method", method, *own, *options, "-o", "out.png", naming=naming)
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("mode", [("--kernel", "k.npy"), ("--psf-grid", "p.npy"), ("--defocus-map", "m.npy")])
def test_other_modes_do_not_take_them(refused, tmp_path, photo_file, mode):
    refused("deblur", photo_file, *mode, "--method", "ebks", "-o", tmp_path / "out.png", naming="--method: expected ")
    refused("deblur", photo_file, *mode, "--steps", "3", "-o", tmp_path / "out.png", naming="--steps: only with --blind --method ebks")


@pytest.mark.parametrize("method", KINDS)
def test_a_package_without_weights_says_so(refused, tmp_path, photo_file, monkeypatch, method):
    monkeypatch.setattr("svconv.models.pretrained.FOLDER", tmp_path)
    refused("deblur", photo_file, "--blind", "--method", method, "-o", tmp_path / "out.png",
            naming=[f"--method {method}: no weights are shipped", "--weights"])


@pytest.mark.parametrize("method, size, least", [("ebks", (128, 127), 128), ("ldr", (15, 200), 16)])
def test_small_photographs_are_refused(refused, tmp_path, weights, method, size, least):
    Image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / "small.png")
    refused("deblur", tmp_path / "small.png", "--blind", "--method", method, "--weights", weights[method], "-o", tmp_path / "out.png",
            naming=["small.png: expected sides of at least", str(least), f"got {size[1]} x {size[0]}"])


@pytest.mark.parametrize("method", KINDS)
def test_nothing_to_see_nan_and_too_little_memory_are_one_line(refused, tmp_path, photo, photo_file, weights, monkeypatch, method):
    command = ("--blind", "--method", method, "--weights", weights[method], "-o", tmp_path / "out.npy")
    values = photo.astype(np.float32)
    values[3, 4] = np.nan
    np.save(tmp_path / "nan.npy", values)
    refused("deblur", tmp_path / "nan.npy", *command, naming="nan.npy: it has NaN")
    Image.fromarray(np.dstack([photo, np.zeros(photo.shape[:2], np.uint8)])).save(tmp_path / "clear.png")
    refused("deblur", tmp_path / "clear.png", *command[:-1], tmp_path / "out.png", naming="clear.png: expected pixels that are not")
    Image.fromarray(photo).save(photo_file)
    monkeypatch.setattr("svconv.files.limits.free_memory", lambda: 10_000_000)
    refused("deblur", photo_file, *command, naming=["photo.png: ", "GB of memory"])


MEASURE = """
import damage, numpy as np, sys, torch
from types import SimpleNamespace
from svconv.cli import deep_prior, learned_spaces
from svconv.files.picture import Picture
from svconv.models import BlurKernelSpace, DegradationDeblur
method, width, side = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
values = np.random.default_rng(0).integers(0, 255, (side, side, 3)).astype(np.uint8)
arguments = SimpleNamespace(image="", output="/tmp/svconv-none.png", preview=None, resume=None, vgg=None, precision=None, seed=0, steps=2,
                            quiet=True)
deep_prior.WARMUP = 1
module, kind = (deep_prior, BlurKernelSpace) if method == "ebks" else (learned_spaces, DegradationDeblur)
module.restore(arguments, Picture(values[:128, :128]).with_white()[0], kind(width=2).eval())
picture, model = Picture(values).with_white()[0], kind(width=width).eval()
with damage.Peak() as peak:
    module.restore(arguments, picture, model)
print(peak.bytes, module.needed(picture, model))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says")
@pytest.mark.parametrize("method, width, side", [("ebks", 4, 256), ("ebks", 16, 256), ("ldr", 16, 400), ("ldr", 4, 400)])
def test_the_memory_that_is_announced_is_what_is_used(method, width, side):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", MEASURE, method, str(width), str(side)], capture_output=True, text=True, check=True,
                          env=environment)
    used, announced = map(int, done.stdout.split())
    assert 0.4 * announced < used < announced


@pytest.mark.parametrize("version", [1, 2])
def test_a_megapixel_needs_less_than_six_gigabytes(version):
    """At width 64, with the weights."""
    picture = images.Picture(np.zeros((720, 1280, 3), np.uint8))
    model = types.SimpleNamespace(arguments={"version": version, "width": 64})
    with torch.device("meta"):
        weights = 4 * sum(p.numel() for p in DegradationDeblur(version).parameters())
    assert learned_spaces.needed(picture, model) + weights < 6e9
