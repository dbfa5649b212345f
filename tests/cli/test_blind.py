"""`svconv deblur --blind`: the estimated kernel is saved and used; shipped weights sharpen a photograph."""
import numpy as np
import pytest
import torch
from PIL import Image

import svconv
from svconv.cli import demo
from svconv.files import images, kernels

models = pytest.importorskip("svconv.models", reason="svconv.models is not there")


@pytest.fixture(scope="module")
def blurred(tmp_path_factory):
    """(file, sharp pixels): the photograph under a motion kernel of 13 x 13 with 0.2 % noise."""
    path = tmp_path_factory.mktemp("blind") / "blurred.png"
    photograph = demo.photograph()
    k = torch.zeros(13, 13)
    for i in range(13):
        k[i, 6 + round(3 * np.sin(i / 3))] += 1
    k /= k.sum()
    out = photograph.empty()
    for c in range(3):
        y = svconv.conv(photograph.plane(c), k[None, None], padding="reflect")
        out.set_plane(c, y + 0.002 * torch.randn(y.shape, generator=torch.Generator().manual_seed(c)), 255)
    images.write_image(path, out)
    return path, photograph.pixels


@pytest.mark.parametrize("final", ["irls", "hyper"])
def test_the_estimated_kernel_is_saved_and_used(run, tmp_path, photo_file, weights, final):
    """The same picture as with --kernel and the saved kernel."""
    assert (
        run(
            "deblur",
            photo_file,
            "--blind",
            "--weights",
            weights,
            "-o",
            tmp_path / "a.png",
            "--save-kernel",
            tmp_path / "k.npy",
            "--final",
            final,
            "--reg",
            "2e-3",
        ).status
        == 0
    )
    k = np.load(tmp_path / "k.npy")
    assert k.shape == (9, 9) and k.dtype == np.float32 and k.min() >= 0 and abs(k.sum() - 1) < 1e-5
    assert (
        run("deblur", photo_file, "--kernel", tmp_path / "k.npy", "--method", final, "--reg", "2e-3", "-o", tmp_path / "b.png").status == 0
    )
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.png").pixels, images.read_image(tmp_path / "b.png").pixels)


def test_the_kernel_comes_from_the_luminance(run, tmp_path, photo_file, photo, weights):
    grey = photo @ np.array([0.299, 0.587, 0.114]) / 255
    expected = models.LearningToDeblur.load(weights)(torch.tensor(grey, dtype=torch.float32)[None, None]).kernel[0].detach().numpy()
    assert (
        run("deblur", photo_file, "--blind", "--weights", weights, "-o", tmp_path / "a.png", "--save-kernel", tmp_path / "k.npy").status
        == 0
    )
    np.testing.assert_allclose(
        np.load(tmp_path / "k.npy"), expected, atol=5e-4
    )  # the kernel of an untrained model is sensitive to rounding


def test_a_grey_image_and_a_kernel_in_png(run, tmp_path, photo, weights):
    pytest.importorskip("imagecodecs")
    Image.fromarray(photo[..., 0]).save(tmp_path / "in.png")
    assert (
        run(
            "deblur",
            tmp_path / "in.png",
            "--blind",
            "--refine",
            "--weights",
            weights,
            "-o",
            tmp_path / "a.png",
            "--save-kernel",
            tmp_path / "k.png",
        ).status
        == 0
    )
    assert kernels.read_kernel(tmp_path / "k.png").shape == (1, 9, 9)
    assert images.read_image(tmp_path / "a.png").channels == 1


@pytest.mark.parametrize("method", ["ltd", "l0"])
def test_a_constant_image_stays_as_it_is(run, tmp_path, weights, method):
    Image.fromarray(np.full((40, 50, 3), 77, np.uint8)).save(tmp_path / "flat.png")
    more = ["--weights", weights] if method == "ltd" else []
    outcome = run("deblur", tmp_path / "flat.png", "--blind", "--method", method, *more, "-o", tmp_path / "a.png")
    assert outcome.status == 0 and "constant" in outcome.err
    assert (images.read_image(tmp_path / "a.png").pixels == 77).all()


def test_wrong_calls(refused, tmp_path, photo_file, weights):
    def case(naming, *more, image=photo_file):
        refused("deblur", image, "--blind", "-o", tmp_path / "out.png", *more, naming=naming)

    (tmp_path / "foreign.pt").write_bytes(b"no weights")
    torch.save({"a": 1}, tmp_path / "other.pt")
    Image.fromarray(np.zeros((17, 40), np.uint8)).save(tmp_path / "small.png")
    case("foreign.pt", "--weights", tmp_path / "foreign.pt")
    case("other.pt", "--weights", tmp_path / "other.pt")
    case("missing.pt", "--weights", tmp_path / "missing.pt")
    case(["--kernel-size", "9"], "--weights", weights, "--kernel-size", "17")
    case(["--kernel-size", "shipped", "got 16", "--method l0"], "--kernel-size", "16")
    case("--kernel-size: expected auto", "--kernel-size", "many")
    case("--method", "--method", "irls")
    case("--weights: only with --method ltd", "--method", "l0", "--weights", weights)
    case("--refine: only with --method ltd", "--method", "l0", "--refine")
    case(["--kernel-size", "odd"], "--method", "l0", "--kernel-size", "16")
    case(["photo.png", "34"], "--method", "l0", "--kernel-size", "17")
    case(["small.png", "18"], "--weights", weights, image=tmp_path / "small.png")
    case(["k.jpg", "16 bits"], "--weights", weights, "--save-kernel", tmp_path / "k.jpg")
    case("no/k.npy", "--weights", weights, "--save-kernel", tmp_path / "no" / "k.npy")
    case("--save-kernel", "--weights", weights, "--save-kernel", tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def psnr(name, sharp):
    """The largest over small shifts: the place of the kernel in its window is arbitrary."""
    inner, restored = np.s_[12:-12, 12:-12], images.read_image(name).pixels
    return max(-10 * np.log10(((np.roll(restored, (dy, dx), (0, 1))[inner] / 255 - sharp[inner] / 255) ** 2).mean())
               for dy in range(-4, 5) for dx in range(-4, 5))


@pytest.mark.parametrize("method", ["ltd", "l0"])
def test_blind_restoration_gains(run, tmp_path, blurred, method):
    if method == "ltd" and "ltd-17" not in models.LearningToDeblur.known_weights():
        pytest.skip("the weights ltd-17 are not there")
    path, sharp = blurred
    outcome = run("deblur", path, "--blind", "--kernel-size", "17", "--method", method, "-o", tmp_path / "out.png")
    assert outcome.status == 0 and "estimated kernel 17 x 17" in outcome.out
    assert psnr(tmp_path / "out.png", sharp) > psnr(path, sharp) + 2


def test_the_window_with_most_edges_is_taken():
    from svconv.models.find_blur.search import richest_window

    y = torch.zeros(1, 1, 300, 90)
    y[..., 210:240, 20:60] = torch.rand(30, 40)
    part = richest_window(y, 100)
    assert part.shape == (1, 1, 100, 90) and part.abs().sum() > 0.99 * y.abs().sum()
    assert richest_window(y, 300) is y


def test_what_was_found_is_printed_and_reported(run, tmp_path, blurred):
    import json

    path, sharp = blurred
    command = ("deblur", path, "--blind", "--method", "l0", "--kernel-size", "17", "-o", tmp_path / "out.png")
    outcome = run(*command, "--report", tmp_path / "found.json", "--save-kernel", tmp_path / "k.npy")
    assert outcome.status == 0 and "verdict      restored: one kernel explains the blur" in outcome.out
    assert any(set(line) & set("#%@") for line in outcome.out.splitlines()), "no picture of the kernel"
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["verdict"] == "restored" and found["score"] == found["candidates"]["l0-17"] > 0.5 and found["image"] == str(path)
    np.testing.assert_allclose(found["kernel"]["values"], np.load(tmp_path / "k.npy"), atol=1e-7)
    assert found["kernel"]["window"] == [17, 17] and 11 <= max(found["kernel"]["extent"]) <= 17 and found["seconds"] > 0
    assert 0 < found["photograph"]["noise"] < 0.02 and found["photograph"]["agreement"] > 0.37


def test_the_report_is_a_page_with_pictures(run, tmp_path, photo_file, weights):
    import base64
    import html.parser
    import io

    class Page(html.parser.HTMLParser):
        def __init__(self):
            super().__init__()
            self.images, self.text = [], ""

        def handle_starttag(self, tag, attributes):
            self.images += [dict(attributes)] if tag == "img" else []
            assert not any(name in ("href", "src") and not value.startswith("data:") for name, value in attributes), "from elsewhere"

        def handle_data(self, data):
            self.text += data

    named = tmp_path / "a & <b>.png"
    photo_file.rename(named)
    assert run("deblur", named, "--blind", "--weights", weights, "-o", tmp_path / "o.png", "--report", tmp_path / "r.html").status == 0
    page = Page()
    page.feed((tmp_path / "r.html").read_text())
    sizes = {i["alt"]: Image.open(io.BytesIO(base64.b64decode(i["src"].split(",")[1]))).size for i in page.images}
    assert sizes == {"the photograph": (32, 24), "the result": (32, 24), "the kernel": (234, 234)}
    assert "a & <b>.png: unsure" in page.text and "ltd-9" in page.text


def test_a_sharp_photograph_comes_back_unchanged(run, tmp_path):
    photograph = demo.photograph()
    images.write_image(tmp_path / "sharp.png", photograph)
    outcome = run("deblur", tmp_path / "sharp.png", "--blind", "-o", tmp_path / "out.png", "--report", tmp_path / "r.json",
                  "--save-kernel", tmp_path / "k.npy")
    assert outcome.status == 0 and "probably sharp already (unchanged; --force restores it)" in outcome.out
    assert (images.read_image(tmp_path / "out.png").pixels == photograph.pixels).all()
    assert np.load(tmp_path / "k.npy").tolist() == [[1.0]]
    forced = run("deblur", tmp_path / "sharp.png", "--blind", "--force", "--method", "l0", "--kernel-size", "3", "-o", tmp_path / "out.png")
    assert forced.status == 0 and "unchanged" not in forced.out
    assert (images.read_image(tmp_path / "out.png").pixels != photograph.pixels).any()


def test_the_size_is_found(run, tmp_path, blurred):
    """Without a size and a method."""
    path, sharp = blurred
    small = Image.open(path).crop((150, 60, 410, 320))
    small.save(tmp_path / "in.png")
    outcome = run("deblur", tmp_path / "in.png", "--blind", "-o", tmp_path / "out.png")
    assert outcome.status == 0 and all(name in outcome.out for name in ("ltd-17", "l0-17", "l0-35", "score", "kernel "))
    assert psnr(tmp_path / "out.png", sharp[60:320, 150:410]) > psnr(tmp_path / "in.png", sharp[60:320, 150:410]) + 1


def test_reports_are_refused_before_the_work(refused, tmp_path, photo_file, kernel_file, weights):
    out = ("-o", tmp_path / "out.png")
    refused("deblur", photo_file, "--blind", *out, "--report", "found.txt", naming=["--report", ".html or .json", "found.txt"])
    refused("deblur", photo_file, "--blind", *out, "--report", tmp_path / "no" / "r.html", naming="r.html")
    refused("deblur", photo_file, "--blind", *out, "--report", tmp_path / "k.json", "--save-kernel", tmp_path / "k.json",
            naming="--report: " + str(tmp_path / "k.json") + " is the save kernel file too")
    refused("deblur", photo_file, "--kernel", kernel_file, *out, "--report", "r.html", naming="--report: only with --blind")
    refused("deblur", photo_file, "--kernel", kernel_file, *out, "--force", naming="--force: only with --blind")
    grid = ("--blind", "--grid", "2x2", "--weights", weights)
    refused("deblur", photo_file, *grid, *out, "--force", naming="--force: not with --grid")
    refused("deblur", photo_file, *grid, *out, "--report", "found.txt", naming=["--report", ".html or .json", "found.txt"])
    refused("deblur", photo_file, *grid, *out, "--report", tmp_path / "no" / "r.html", naming="r.html")
    assert not list(tmp_path.glob("out*"))


def test_large_photographs_are_restored_by_the_fastest_method(monkeypatch):
    import types

    from svconv.cli import automatic, blind

    monkeypatch.setattr(automatic, "LARGE", 2e6)
    for size, final, expected in (((1000, 1999), None, ("irls", "")), ((1000, 2000), None, ("hyper", " (2 megapixels)")),
                                  ((1000, 2000), "irls", ("irls", ""))):
        assert blind.final_method(types.SimpleNamespace(final=final), types.SimpleNamespace(size=size)) == expected
