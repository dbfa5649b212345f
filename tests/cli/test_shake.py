"""`svconv deblur --blind --grid`: kernels of all patches are estimated, saved and used; depth and transparency stay; wrong calls."""
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import svconv
from svconv.cli import deblur, demo, shake
from svconv.data import motion_poses
from svconv.files import images, limits

models = pytest.importorskip("svconv.models", reason="svconv.models is not there")


@pytest.fixture
def blind(run, tmp_path, weights):
    """blind(image, *more) -> (outcome, restored picture), with two by three patches and small weights."""

    def call(image, *more, out="out.png"):
        outcome = run("deblur", image, "--blind", "--grid", "2x3", "--weights", weights, "-o", tmp_path / out, *more)
        assert outcome.status == 0, outcome
        return outcome, images.read_image(tmp_path / out)

    return call


def test_the_kernels_are_saved_and_used(blind, tmp_path, photo_file, photo, weights):
    outcome, picture = blind(photo_file, "--save-kernel", tmp_path / "grid.npy", "--eta", "0.5", "--reg", "2e-3")
    k = np.load(tmp_path / "grid.npy")
    assert k.shape == (2, 3, 9, 9) and k.dtype == np.float32 and k.min() >= 0 and np.abs(k.sum((2, 3)) - 1).max() < 1e-5
    assert "colour, 8 bits, 2 x 3 estimated kernels 9 x 9, irls" in outcome.out
    grid, y = svconv.EFFGrid((24, 32), (2, 3)), torch.tensor(photo / 255, dtype=torch.float32).permute(2, 0, 1)[None]
    with torch.no_grad():
        grey = (y * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
        expected = models.LearningToDeblur.load(weights).eval().estimate_varying(grey, grid, eta=0.5).kernels
    np.testing.assert_allclose(k.reshape(6, 9, 9), expected[0].numpy(), atol=1e-3)
    blur = svconv.EFFBlur(torch.from_numpy(k.reshape(1, 6, 9, 9)), grid)
    x = svconv.solvers.irls(blur, y, reg=2e-3, cg_iter=deblur.CG_ITER, border="replicate").x
    difference = picture.pixels.astype(float) - np.clip(x[0].permute(1, 2, 0).numpy(), 0, 1) * 255
    assert np.abs(difference).max() <= 1


def test_grey_sixteen_bits_and_odd_sizes(blind, tmp_path, photo):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "in.tif", (photo[:23, :31, 0].astype(np.uint16) * 257))
    _, picture = blind(tmp_path / "in.tif", out="out.tif")
    assert picture.bits == 16 and picture.channels == 1 and picture.size == (23, 31)


def test_transparent_pixels_neither_count_nor_change(blind, tmp_path, photo):
    found = []
    for value in (0, 255):
        pixels = np.dstack([photo, np.full((24, 32), 255, np.uint8)])
        pixels[5:9, 20:27] = value, 255 - value, value, 0
        Image.fromarray(pixels).save(tmp_path / "in.png")
        found.append(blind(tmp_path / "in.png")[1])
        assert (found[-1].pixels[5:9, 20:27] == pixels[5:9, 20:27, :3]).all()
    seen = found[0].alpha > 0
    assert seen.sum() == 24 * 32 - 28 and (found[0].pixels[seen] == found[1].pixels[seen]).all()


def test_a_constant_image_stays_as_it_is(blind, tmp_path):
    Image.fromarray(np.full((40, 50, 3), 77, np.uint8)).save(tmp_path / "flat.png")
    outcome, picture = blind(tmp_path / "flat.png")
    assert "constant" in outcome.err and (picture.pixels == 77).all()


def test_small_patches_are_a_warning(blind, tmp_path, photo_file):
    assert "--grid: patches of 16 x 16 pixels are small for kernels of 9 x 9" in blind(photo_file)[0].err


def test_wrong_calls(refused, tmp_path, photo_file, kernel_file, weights):
    def case(naming, *more, image=photo_file, grid="2x3"):
        refused("deblur", image, "--blind", "-o", tmp_path / "out.png", "--grid", grid, "--weights", weights, *more, naming=naming)

    Image.fromarray(np.zeros((17, 40), np.uint8)).save(tmp_path / "small.png")
    Image.fromarray(np.zeros((24, 32, 4), np.uint8)).save(tmp_path / "clear.png")
    for grid in ("2", "2x", "x3", "0x3", "2x3x4", "-1x3", "axb", "2.5x3"):
        case(["--grid", "rows x columns", grid], f"--grid={grid}")
    case(["--grid", "24 x 32", "25 x 2"], grid="25x2")
    case(["--eta", "(0, 1]", "got 0"], "--eta", "0")
    case(["--eta", "(0, 1]", "got nan"], "--eta", "nan")
    case("--method l0: not with --grid", "--method", "l0")
    case("--refine: not with --grid", "--refine")
    case("--final hyper: not with --grid", "--final", "hyper")
    case(["--save-kernel", ".npy"], "--save-kernel", tmp_path / "k.png")
    case("no/k.npy", "--save-kernel", tmp_path / "no" / "k.npy")
    case(["small.png", "18"], image=tmp_path / "small.png")
    case(["clear.png", "not transparent"], image=tmp_path / "clear.png")
    output = "-o", tmp_path / "out.png"
    refused("deblur", photo_file, "--kernel", kernel_file, *output, "--grid", "2x2", naming="--grid: only with --blind")
    refused("deblur", photo_file, "--blind", *output, "--eta", "0.1", naming="--eta: only with --grid")
    assert not (tmp_path / "out.png").exists()


def test_too_little_memory_is_said_before_the_work_begins(refused, tmp_path, photo_file, weights, monkeypatch):
    monkeypatch.setattr(limits, "free_memory", lambda: 200_000)
    monkeypatch.setattr(shake, "estimate", lambda *_: pytest.fail("the work began"))
    refused("deblur", photo_file, "--blind", "--grid", "2x3", "--weights", weights, "-o", tmp_path / "out.png",
            naming=["photo.png", "GB of memory", "GB are free"])


MEASURE = """
import damage, numpy as np, svconv, types
from svconv.cli import deblur, memory, shake
from svconv.files.picture import Picture
from svconv.models import LearningToDeblur
deblur.CG_ITER = 4  # the peak is reached in the first steps
picture = Picture(np.random.default_rng(0).integers(0, 255, (600, 700, 1)).astype(np.uint8)).with_white()[0]
grid, model = svconv.EFFGrid((600, 700), (3, 4)), LearningToDeblur((17,), stages=1)
arguments = types.SimpleNamespace(image="x", quiet=True, eta=None)
with damage.Peak() as peak:
    shake.restore(picture, shake.estimate(arguments, picture, model, grid), grid, 1e-2, True)
print(peak.bytes, memory.varying(picture, 17, 12))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says")
def test_what_is_announced_is_what_is_used():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, env=environment)
    used, announced = map(int, done.stdout.split())
    assert 0.4 * announced < used < announced


def test_a_shake_with_rotation_is_lessened(run, tmp_path):
    if "ltd-17" not in models.LearningToDeblur.known_weights():
        pytest.skip("the weights ltd-17 are not there")
    sharp = demo.photograph().plane(1)[..., :320, :480].contiguous()
    grid = svconv.EFFGrid((320, 480), (4, 6))
    basis, generator = svconv.MotionBasis.default(grid, 15), torch.Generator().manual_seed(1)
    y = svconv.eff_conv(sharp, basis.kernels(motion_poses(basis, generator=generator)), grid, padding="reflect")
    y = (y + 0.005 * torch.randn(y.shape, generator=generator)).clamp(0, 1)
    Image.fromarray((255 * y[0, 0]).round().byte().numpy()).save(tmp_path / "in.png")
    assert run("deblur", tmp_path / "in.png", "--blind", "--grid", "4x6", "-o", tmp_path / "out.png").status == 0

    def psnr(name):
        """The largest over small shifts: where the kernels stand in their windows is arbitrary."""
        pixels = images.read_image(tmp_path / name).pixels[..., 0] / 255
        errors = [np.roll(pixels, (dy, dx), (0, 1)) - sharp[0, 0].numpy() for dy in range(-3, 4) for dx in range(-3, 4)]
        return max(-10 * np.log10((e[20:-20, 20:-20] ** 2).mean()) for e in errors)

    assert psnr("out.png") > psnr("in.png") + 0.5


def test_a_grid_has_a_score_and_a_report(blind, tmp_path):
    import json

    images.write_image(tmp_path / "in.png", demo.photograph(size=200))
    outcome, _ = blind(tmp_path / "in.png", "--report", tmp_path / "found.json", "--save-kernel", tmp_path / "grid.npy")
    found = json.loads((tmp_path / "found.json").read_text())
    assert f"score        {found['score']:.2f} with a kernel for every patch, " in outcome.out and found["photograph"]["noise"] > 0
    np.testing.assert_allclose(np.array(found["kernels"]["values"]).reshape(2, 3, 9, 9), np.load(tmp_path / "grid.npy"), atol=1e-6)
    blind(tmp_path / "in.png", "--report", tmp_path / "found.html")
    page = (tmp_path / "found.html").read_text()
    assert page.count("data:image/png;base64,") == 3 and "one kernel for all" in page and "http" not in page


def test_the_score_tells_true_kernels_from_others():
    """A photograph whose left half moved across and whose right half moved along."""
    from svconv.data import named_kernel

    x = torch.rand(1, 1, 256, 384, generator=torch.Generator().manual_seed(0)).round()
    grid = svconv.EFFGrid((256, 384), (1, 2))
    across, along = (torch.nn.functional.pad(named_kernel(f"motion:9:{angle}"), (0, 0, *margin)).float() for angle, margin in (
        (0, (0, 0)), (90, (0, 0))))
    side = max(*across.shape, *along.shape)
    across, along = (torch.nn.functional.pad(k, ((side - k.shape[1]) // 2,) * 2 + ((side - k.shape[0]) // 2,) * 2) for k in (across, along))
    kernels = torch.stack([across, along])[None]
    y = svconv.eff_conv(x, kernels, grid)
    true, common = shake.explained(y, kernels, grid)
    wrong, _ = shake.explained(y, kernels.flip(1), grid)
    assert true > 0.6 and true > common + 0.1 and true > wrong + 0.3
    assert all(np.isnan(shake.explained(y[..., :20, :20], kernels, svconv.EFFGrid((20, 20), (1, 2)))))
