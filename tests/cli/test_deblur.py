"""`svconv deblur --kernel`: restores what was blurred, keeps what was stored, refuses what it cannot do before it starts."""
import importlib.util
import os

import numpy as np
import pytest
import torch
from PIL import Image

import svconv
from svconv.cli import deblur, demo, memory
from svconv.files import images


def motion(size=9):
    k = np.eye(size, dtype=np.float32)
    k[size // 2] += 1
    return k / k.sum()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """(folder, sharp picture) with blurred.png, blurred16.png and kernel.npy: a piece of the photograph, blurred as the scene goes on
    outside of it."""
    folder = tmp_path_factory.mktemp("scene")
    photograph = demo.photograph(size=136)
    k = torch.from_numpy(motion())[None, None]
    sharp, blurred = photograph.empty(), np.empty(photograph.pixels.shape)
    for c in range(3):
        y = svconv.conv(photograph.plane(c), k) + 0.005 * torch.randn(136, 136, generator=torch.Generator().manual_seed(c))
        blurred[..., c] = y[0, 0].clamp(0, 1)
    inside = np.s_[4:-4, 4:-4]
    sharp.pixels = photograph.pixels[inside]
    images.write_image(folder / "blurred.png", images.Picture(np.rint(blurred[inside] * 255).astype(np.uint8)))
    if importlib.util.find_spec("imagecodecs"):
        images.write_image(folder / "blurred16.png", images.Picture(np.rint(blurred[inside] * 65535).astype(np.uint16)))
    np.save(folder / "kernel.npy", motion())
    return folder, sharp


def psnr(picture, truth):
    return -10 * np.log10(((picture.pixels / picture.scale - truth.pixels / truth.scale) ** 2).mean())


@pytest.mark.parametrize("method", memory.SOLVERS)
@pytest.mark.parametrize("source", ["blurred.png", "blurred16.png"])
def test_every_method_sharpens(run, tmp_path, scene, method, source):
    folder, sharp = scene
    if not (folder / source).exists():
        pytest.skip("16-bit PNG needs imagecodecs")
    if method == "hyper" and not hasattr(svconv.solvers, "hyper_laplacian"):
        pytest.skip("svconv.solvers.hyper_laplacian is not there")
    outcome = run("deblur", folder / source, "--kernel", folder / "kernel.npy", "--method", method, "-o", tmp_path / "out.png")
    assert outcome.status == 0 and "out.png" in outcome.out and method in outcome.out, outcome
    before, after = images.read_image(folder / source), images.read_image(tmp_path / "out.png")
    assert (after.bits, after.size, after.channels) == (before.bits, before.size, before.channels)
    assert psnr(after, sharp) > psnr(before, sharp) + {"irls": 4, "hyper": 4, "cg": 3}[method]
    assert os.listdir(tmp_path) == ["out.png"]


def test_reg_smooths(run, tmp_path, scene):
    folder, _ = scene
    rough = []
    for reg in ("1e-4", "1e-1"):
        assert (
            run(
                "deblur",
                folder / "blurred.png",
                "--kernel",
                folder / "kernel.npy",
                "--method",
                "cg",
                "--reg",
                reg,
                "-o",
                tmp_path / "out.png",
            ).status
            == 0
        )
        rough.append(np.abs(np.diff(images.read_image(tmp_path / "out.png").pixels.astype(float), axis=0)).mean())
    assert rough[0] > 1.3 * rough[1]


def test_the_delta_kernel_changes_little(run, tmp_path, photo_file, photo):
    k = np.zeros((5, 5))
    k[2, 2] = 3
    np.save(tmp_path / "delta.npy", k)
    assert run("deblur", photo_file, "--kernel", tmp_path / "delta.npy", "--reg", "1e-6", "-o", tmp_path / "out.png").status == 0
    assert np.abs(images.read_image(tmp_path / "out.png").pixels.astype(int) - photo).max() <= 1


def test_a_colour_kernel_acts_per_channel(run, tmp_path, scene):
    """One channel blurred, the others with a delta: only that one changes much."""
    folder, sharp = scene
    k = np.zeros((9, 9, 3), np.float32)
    k[4, 4] = 1
    k[..., 1] = motion()
    np.save(tmp_path / "k.npy", k)
    mixed = images.Picture(sharp.pixels.copy())
    mixed.pixels[..., 1] = images.read_image(folder / "blurred.png").pixels[..., 1]
    images.write_image(tmp_path / "mixed.png", mixed)
    assert run("deblur", tmp_path / "mixed.png", "--kernel", tmp_path / "k.npy", "--reg", "5e-4", "-o", tmp_path / "out.png").status == 0
    after = images.read_image(tmp_path / "out.png").pixels.astype(float)
    error = ((after - sharp.pixels) ** 2).mean((0, 1))
    blurred = ((mixed.pixels.astype(float) - sharp.pixels) ** 2).mean((0, 1))
    assert error[1] < blurred[1] / 2.5 and error[0] < blurred[1] / 4 and error[2] < blurred[1] / 4


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P"])
def test_grey_and_alpha_are_kept_and_palettes_become_rgb(run, tmp_path, photo, kernel_file, mode):
    im = Image.fromarray(photo)
    if mode == "P":
        im = im.quantize(16)
    else:
        im = im.convert(mode)
        if mode.endswith("A"):
            im.putalpha(Image.fromarray(photo[..., 1]))
    im.save(tmp_path / "in.png")
    assert run("deblur", tmp_path / "in.png", "--kernel", kernel_file, "-o", tmp_path / "out.png").status == 0
    with Image.open(tmp_path / "out.png") as out:
        assert out.mode == {"P": "RGB"}.get(mode, mode) and out.size == im.size
        if mode.endswith("A"):
            np.testing.assert_array_equal(np.asarray(out)[..., -1], photo[..., 1])


def test_the_input_may_be_the_output(run, photo_file, kernel_file):
    assert run("deblur", photo_file, "--kernel", kernel_file, "-o", photo_file, "--overwrite").status == 0
    assert images.read_image(photo_file).size == (24, 32)


def test_margins_of_zeros_are_cut_about_the_centre():
    k = np.zeros((1, 11, 8))
    k[0, 4, 5] = k[0, 5, 4] = 1
    cut = deblur.without_margin(k)
    assert cut.shape == (1, 3, 4)
    for y, x in ((4, 5), (5, 4)):
        assert cut[0, y - 5 + 3 // 2, x - 4 + 4 // 2] == 1
    np.testing.assert_array_equal(deblur.without_margin(motion()[None]), motion()[None])


class Started(Exception):
    """The long computation was reached."""


@pytest.fixture
def no_work(monkeypatch):
    def restore(*_):
        raise Started

    monkeypatch.setattr(deblur, "restore", restore)


def test_wrong_inputs_and_outputs_are_refused_before_the_work(refused, tmp_path, photo_file, kernel_file, no_work):
    def case(naming, image=photo_file, kernel=kernel_file, out="out.png", *more):
        refused("deblur", image, "--kernel", kernel, "-o", tmp_path / out, *more, naming=naming)

    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(photo_file.read_bytes()[:200])
    np.save(tmp_path / "large.npy", np.ones((25, 3)))
    np.save(tmp_path / "zero.npy", np.zeros((3, 3)))
    np.save(tmp_path / "nan.npy", np.full((3, 3), np.nan))
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "colour.npy", np.random.default_rng(0).random((5, 5, 3)))
    Image.open(photo_file).convert("L").save(tmp_path / "grey.png")
    Image.open(photo_file).convert("RGBA").save(tmp_path / "alpha.png")
    (tmp_path / "file").touch()
    case("text.png", image=tmp_path / "text.png")
    case("cut.png", image=tmp_path / "cut.png")
    case("missing.png", image=tmp_path / "missing.png")
    case(["large.npy", "25 x 3", "24 x 32"], kernel=tmp_path / "large.npy")
    case("zero.npy", kernel=tmp_path / "zero.npy")
    case("nan.npy", kernel=tmp_path / "nan.npy")
    case(["object.npy", "pickle"], kernel=tmp_path / "object.npy")
    case("missing.npy", kernel=tmp_path / "missing.npy")
    case("text.png", kernel=tmp_path / "text.png")
    case(["colour.npy", "grey"], image=tmp_path / "grey.png", kernel=tmp_path / "colour.npy")
    case(["no/out.png", "does not exist"], out="no/out.png")
    case("file/out.png", out="file/out.png")
    case(["out.gif", "extension"], out="out.gif")
    case(["out.jpg", "alpha"], image=tmp_path / "alpha.png", out="out.jpg")
    refused("deblur", photo_file, "--kernel", kernel_file, "-o", tmp_path / "out.png", "--reg", "-1", naming="--reg")
    refused("deblur", photo_file, "--kernel", kernel_file, "-o", tmp_path / "out.png", "--reg", "nan", naming="--reg")
    refused("deblur", photo_file, "--kernel", kernel_file, "-o", tmp_path / "out.png", "--method", "ltd", naming="--method")
    refused(
        "deblur",
        photo_file,
        "--kernel",
        kernel_file,
        "-o",
        tmp_path / "out.png",
        "--save-kernel",
        "k.png",
        naming="--save-kernel: only with --blind",
    )
    refused("deblur", photo_file, "--kernel", kernel_file, "--blind", "-o", tmp_path / "out.png", naming="not allowed")
    refused("deblur", photo_file, "-o", tmp_path / "out.png", naming="--kernel")
    assert not (tmp_path / "out.png").exists()


def test_the_checks_do_not_stop_good_calls(run, tmp_path, photo_file, kernel_file, no_work):
    """The counterpart of the test above: with everything right the work begins (and its failure is an internal error)."""
    outcome = run("deblur", photo_file, "--kernel", kernel_file, "-o", tmp_path / "out.png")
    assert outcome.status == 1 and "Started" in outcome.err


@pytest.mark.parametrize(
    "error, status", [(OSError(28, "No space left on device"), 2), (KeyboardInterrupt(), 130), (RuntimeError("broken"), 1)]
)
def test_an_existing_output_survives_a_failed_write(run, tmp_path, photo_file, kernel_file, monkeypatch, error, status):
    out = tmp_path / "results" / "out.png"
    out.parent.mkdir()
    out.write_bytes(b"precious")
    save = Image.Image.save

    def half(self, file, *args, **kwargs):
        file.write(b"\x89PNG half a picture")
        raise error

    monkeypatch.setattr(Image.Image, "save", half)
    outcome = run("deblur", photo_file, "--kernel", kernel_file, "-o", out)
    assert outcome.status == status and len(outcome.err.splitlines()) == 1
    if status == 2:
        assert "out.png" in outcome.err and "No space left" in outcome.err
    assert out.read_bytes() == b"precious" and os.listdir(out.parent) == ["out.png"]
    monkeypatch.setattr(Image.Image, "save", save)
    assert run("deblur", photo_file, "--kernel", kernel_file, "-o", out).status == 0
    assert images.read_image(out).size == (24, 32)
