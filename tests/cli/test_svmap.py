"""`svconv deblur --method svmap` and `svconv filters`."""
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from svconv.cli import filters, filters_picture, svmap
from svconv.files import images, kernels
from svconv.models import SIMAP, SVMAP

SMALL = dict(width=4, max_iter=6)


@pytest.fixture(params=[SVMAP, SIMAP])
def weights(request, tmp_path):
    torch.manual_seed(0)
    request.param(**SMALL).save(tmp_path / "own.pt")
    return tmp_path / "own.pt"


@pytest.fixture
def svmap_weights(tmp_path):
    torch.manual_seed(0)
    SVMAP(**SMALL).save(tmp_path / "own.pt")
    return tmp_path / "own.pt"


def expected(photo, weights, kernel_file):
    """What the model says, uint8 [H, W, 3]."""
    model = svmap.load_model(str(weights))
    y = torch.from_numpy(photo).float().permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        x = model(y, svmap.psf(kernels.read_kernel(kernel_file)))
    return np.rint(x[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255).astype(int)


# deblur ---------------------------------------------------------------------------------------------------------------

def test_it_restores_by_the_weights_of_a_file(run, tmp_path, photo, photo_file, kernel_file, weights):
    outcome = run("deblur", photo_file, "--kernel", kernel_file, "--method", "svmap", "--weights", weights, "-o", tmp_path / "out.png")
    assert outcome.status == 0 and "32 x 24, colour, 8 bits, kernel 3 x 3, svmap, " in outcome.out
    found = np.asarray(Image.open(tmp_path / "out.png")).astype(int)
    assert np.abs(found - expected(photo, weights, kernel_file)).max() <= 1


def test_grey_is_restored_as_three_equal_colours(run, tmp_path, photo, kernel_file, weights):
    Image.fromarray(photo[..., 0]).save(tmp_path / "grey.png")
    assert run("deblur", tmp_path / "grey.png", "--kernel", kernel_file, "--method", "svmap", "--weights", weights, "-o",
               tmp_path / "out.png").status == 0
    found = np.asarray(Image.open(tmp_path / "out.png"))
    whole = expected(photo[..., :1].repeat(3, 2), weights, kernel_file).mean(2)
    assert found.shape == (24, 32) and np.abs(found - whole).max() <= 1


def test_transparent_pixels_neither_count_nor_change(run, tmp_path, photo, kernel_file, svmap_weights):
    alpha = np.full(photo.shape[:2], 255, np.uint8)
    alpha[:, 20:] = 0
    results = []
    for hidden in (0, 255):
        pixels = np.dstack([np.where(alpha[..., None] > 0, photo, hidden).astype(np.uint8), alpha])
        Image.fromarray(pixels).save(tmp_path / "rgba.png")
        assert run("deblur", tmp_path / "rgba.png", "--kernel", kernel_file, "--method", "svmap", "--weights", svmap_weights, "-o",
                   tmp_path / "out.png").status == 0
        results.append(np.asarray(Image.open(tmp_path / "out.png")))
        assert (results[-1][..., 3] == alpha).all() and (results[-1][:, 20:, :3] == hidden).all()
    assert (results[0][:, :20] == results[1][:, :20]).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_bit_depth_and_kernels_of_three_colours(run, tmp_path, photo, svmap_weights, bits):
    pytest.importorskip("imagecodecs")
    deep = photo if bits == 8 else photo.astype(np.uint16) * 257
    images.write_image(tmp_path / "in.png", images.Picture(deep))
    np.save(tmp_path / "k.npy", np.random.default_rng(0).random((3, 5, 7)))
    assert run("deblur", tmp_path / "in.png", "--kernel", tmp_path / "k.npy", "--method", "svmap", "--weights", svmap_weights, "-o",
               tmp_path / "out.png").status == 0
    assert images.read_image(tmp_path / "out.png").bits == bits


@pytest.mark.parametrize("options, naming", [
    (("--method", "svmap", "--reg", "1e-3"), "--reg: svmap has no smoothing"), (("--weights", "own.pt"), "--weights: only with --blind or"),
    (("--method", "irls", "--weights", "own.pt"), "--weights: only with --blind or --method svmap"),
    (("--method", "svmap", "--weights", "nowhere"), ["--weights: nowhere: no such file", "known: "]),
    (("--method", "svmap", "--weights", "photo.png"), ["--weights: ", "photo.png: not a readable weight file"]),
    (("--method", "svmap", "--weights", "other.pt"), ["other.pt: holds weights of LearningToDeblur"]),
    (("--method", "svmap", "--refine"), "--refine: only with --blind"), (("--method", "svmap", "--iterations", "3"), "--iterations: only"),
])
@pytest.mark.usefixtures("svmap_weights")
def test_options_that_do_not_belong_together_are_refused(refused, tmp_path, photo_file, kernel_file, monkeypatch, options, naming):
    from svconv.models import LearningToDeblur

    LearningToDeblur(stages=1).save(tmp_path / "other.pt")
    monkeypatch.chdir(tmp_path)
    refused("deblur", photo_file, "--kernel", kernel_file, *options, "-o", tmp_path / "out.png", naming=naming)
    assert not (tmp_path / "out.png").exists()


def test_blind_and_maps_do_not_take_it(refused, tmp_path, photo_file):
    np.save(tmp_path / "map.npy", np.full((24, 32), 1.0, np.float32))
    for mode in (("--blind",), ("--defocus-map", tmp_path / "map.npy")):
        refused("deblur", photo_file, *mode, "--method", "svmap", "-o", tmp_path / "out.png", naming="--method: expected ")


def test_a_package_without_weights_says_so(refused, tmp_path, photo_file, kernel_file, monkeypatch):
    monkeypatch.setattr("svconv.models.pretrained.FOLDER", tmp_path)
    for command in ("deblur", "filters"):
        method = ("--method", "svmap") if command == "deblur" else ()
        refused(command, photo_file, "--kernel", kernel_file, *method, "-o", tmp_path / "out.png",
                naming=["no weights are shipped", "--weights FILE"])


def test_shipped_weights_are_found_by_their_name(monkeypatch, tmp_path):
    monkeypatch.setattr("svconv.models.pretrained.FOLDER", tmp_path)
    SVMAP(**SMALL).save(tmp_path / "svmap-gaussian1.pt")
    SIMAP(**SMALL).save(tmp_path / "simap-gaussian1.pt")
    kinds = {name: type(svmap.load_model(name)) for name in (None, "gaussian1", "svmap-gaussian1", "simap-gaussian1")}
    assert kinds == {None: SVMAP, "gaussian1": SVMAP, "svmap-gaussian1": SVMAP, "simap-gaussian1": SIMAP}


MEASURE = """
import damage, numpy as np, sys, torch
from svconv.cli import svmap
from svconv.files.picture import Picture
from svconv.models import SVMAP
model, kernel = SVMAP(max_iter=12), np.ones((1, 9, 9)) / 81
values = np.random.default_rng(0).integers(0, 255, (420, 500, 3)).astype(np.uint8)
svmap.restore(Picture(values[:40, :40]).with_white()[0], kernel, model, True)
picture = Picture(values).with_white()[0]
with damage.Peak() as peak:
    svmap.restore(picture, kernel, model, True)
print(peak.bytes, svmap.needed(picture, (9, 9)))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says")
def test_the_memory_that_is_announced_is_what_is_used():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, env=environment)
    used, announced = map(int, done.stdout.split())
    assert 0.5 * announced < used < announced


# filters --------------------------------------------------------------------------------------------------------------

def test_the_picture_of_the_filters(run, tmp_path, photo_file, kernel_file, weights):
    outcome = run("filters", photo_file, "--kernel", kernel_file, "--weights", weights, "--window", "3,4,10,20", "-o", tmp_path / "out.png")
    assert outcome.status == 0 and "2 iterations, 3 data and 5 prior filters of 10 x 20 pixels from row 3, column 4" in outcome.out
    drawn = np.asarray(Image.open(tmp_path / "out.png"))
    again = run("filters", photo_file, "--kernel", kernel_file, "--weights", weights, "--window", "3,4,10,20", "--minus-mean", "--colour",
                "green", "-o", tmp_path / "again.png")
    assert again.status == 0 and drawn.ndim == 3 and not np.array_equal(drawn, np.asarray(Image.open(tmp_path / "again.png")))


def test_every_tap_stands_where_it_should(svmap_weights):
    """Grey 128 is 0, white and black the limit; the panel of a filter shows tap (i, j) of pixel (r, c) at square (r, c)."""
    generator = np.random.default_rng(0)
    taps = generator.uniform(-1, 1, (3, 2, 5, 5, 4, 6)).astype(np.float32)
    cell = 5 * 3 + filters_picture.LINE
    panels = filters_picture._panels("filter {}", taps, "all", False, cell)
    assert [label for label, _ in panels] == [f"filter {i + 1}, 0 +- {np.abs(taps[:, i]).max():.2g}" for i in range(2)]
    for i, (_, panel) in enumerate(panels):
        limit = np.abs(taps[:, i]).max()
        for r, c, k, m in ((0, 0, 0, 0), (3, 5, 4, 4), (2, 1, 0, 3)):
            found = panel[r * cell + 3 * k:r * cell + 3 * k + 3, c * cell + 3 * m:c * cell + 3 * m + 3]
            grey = np.rint((0.5 + 0.5 * taps[:, i, k, m, r, c] / limit) * 255)
            assert (np.abs(found.astype(int) - grey) <= 1).all()
        assert (panel[cell - 1::cell] == filters_picture.LINES).all() and (panel[:, cell - 1::cell] == filters_picture.LINES).all()
    green = filters_picture._panels("filter {}", taps, "green", True, cell)[0][1]
    assert (green[..., 0] == green[..., 1]).all() and (green[..., 2] == green[..., 1]).all()


def test_the_default_window_has_the_strongest_edges(monkeypatch):
    y = torch.full((1, 3, 200, 240), 0.5)
    y[..., 120:130, 80:90] = torch.rand(3, 10, 10, generator=torch.Generator().manual_seed(0))
    arguments = type("Arguments", (), {"window": None})
    row, column, rows, columns = filters.chosen(arguments, y)
    assert (rows, columns) == filters.WINDOW and row <= 120 and row + rows >= 130 and column <= 80 and column + columns >= 90
    assert filters.chosen(arguments, y[..., :7, :9]) == (0, 0, 7, 9)


@pytest.mark.parametrize("place, size, expected", [
    ((0, 0, 20, 36), (24, 32), (0, 0, 24, 32)), ((400, 500, 20, 36), (2000, 3000), (250, 358, 320, 320)),
    ((1980, 0, 20, 36), (2000, 3000), (1830, 0, 170, 178)), ((400, 400, 20, 400), (2000, 3000), (250, 327, 320, 546)),
])
def test_the_model_sees_a_part_of_a_large_photograph(place, size, expected):
    assert filters.surroundings(place, size, 9) == expected


@pytest.mark.parametrize("text, naming", [
    ("1,2,3", "row,column,rows,columns"), ("0,0,0,5", "row,column"), ("0,0,100,100", "at most 4096 pixels"), ("0,0,10,-1", "row,column"),
    ("20,0,10,10", "--window: expected one within the photograph of 24 rows"),
])
def test_a_bad_window_is_refused(refused, tmp_path, photo_file, kernel_file, svmap_weights, text, naming):
    given = ("--kernel", kernel_file, "--weights", svmap_weights)
    refused("filters", photo_file, *given, "--window", text, "-o", tmp_path / "o.png", naming=naming)


def test_other_mistakes_are_one_line(refused, tmp_path, photo_file, kernel_file, svmap_weights):
    given = ("--kernel", kernel_file, "--weights", svmap_weights)
    refused("filters", tmp_path / "none.png", *given, "-o", tmp_path / "o.png", naming="none.png")
    refused("filters", photo_file, *given, "-o", tmp_path / "o.xyz", naming="o.xyz")
    np.save(tmp_path / "large.npy", np.ones((25, 3)))
    refused("filters", photo_file, "--kernel", tmp_path / "large.npy", *given[2:], "-o", tmp_path / "o.png", naming="larger than")
