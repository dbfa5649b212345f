"""`svconv defocus`: a photograph blurred by a radius per pixel, in the light that is asked for, tile by tile without a trace."""
import numpy as np
import pytest
import torch
from PIL import Image

from svconv import disk_blur
from svconv.cli import defocus, demo, map_options
from svconv.files import images, write_blur_map
from svconv.files.picture import decoded, encoded


@pytest.fixture
def radii():
    """A ramp, [24, 32]."""
    return np.linspace(0, 3, 32, dtype=np.float32)[None].repeat(24, 0)


@pytest.fixture
def map_file(tmp_path, radii):
    np.save(tmp_path / "map.npy", radii)
    return tmp_path / "map.npy"


def tensor(a):
    return torch.from_numpy(np.moveaxis(np.asarray(a, np.float32), 2, 0)[None].copy())


@pytest.mark.parametrize("form", defocus.FORMS)
def test_it_is_disk_blur(run, tmp_path, photo, photo_file, map_file, radii, form):
    outcome = run("defocus", photo_file, "--map", map_file, "--form", form, "-o", tmp_path / "out.png")
    assert outcome.status == 0 and "radii 0 to 3 pixels" in outcome.out and form in outcome.out, outcome
    expected = disk_blur(tensor(photo), torch.from_numpy(radii)[None, None], form=form)
    found = images.read_image(tmp_path / "out.png").pixels
    assert (tensor(found) - expected).abs().max() < 0.51
    assert (found != photo).any()


def test_linear_blurs_decoded_light(run, tmp_path, map_file, radii):
    pixels = np.zeros((24, 32, 3), np.uint8)
    pixels[:, ::4] = 255
    images.write_image(tmp_path / "in.png", images.Picture(pixels))
    found = {}
    for name, options in (("plain", ()), ("linear", ("--linear",))):
        assert run("defocus", tmp_path / "in.png", "--map", map_file, *options, "-o", tmp_path / "out.png").status == 0
        found[name] = images.read_image(tmp_path / "out.png").pixels.astype(float)
    light = disk_blur(tensor(pixels / 255), torch.from_numpy(radii)[None, None])[0, 0].numpy()
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    assert np.abs(found["linear"][..., 0] - expected).max() < 0.51
    assert found["linear"][:, 16:].mean() > found["plain"][:, 16:].mean() + 20     # half of the light is more than half of the grey value


def test_light_is_srgb_and_comes_back():
    v = torch.linspace(-0.5, 2, 501, dtype=torch.float64)
    torch.testing.assert_close(encoded(decoded(v)), v, atol=1e-9, rtol=0)
    table = {0.0: 0.0, 0.04: 0.04 / 12.92, 0.5: 0.21404114, 1.0: 1.0, -0.5: -0.21404114}
    torch.testing.assert_close(decoded(torch.tensor(list(table), dtype=torch.float64)),
                               torch.tensor(list(table.values()), dtype=torch.float64), atol=1e-7, rtol=0)


@pytest.mark.parametrize("form", defocus.FORMS)
@pytest.mark.parametrize("largest", [2.0, 9.3])
def test_tiles_do_not_show(monkeypatch, form, largest):
    picture = demo.photograph(size=100).with_white()[0]
    picture.pixels = picture.pixels[:, :90].astype(np.float32).copy()
    picture.white = 255.0
    radius = largest * torch.rand(1, 1, 100, 90, generator=torch.Generator().manual_seed(0))
    whole = defocus.blurred(picture, radius, form).pixels
    monkeypatch.setattr(defocus, "TILE", 24)
    np.testing.assert_allclose(defocus.blurred(picture, radius, form).pixels, whole, atol=0.01)


@pytest.mark.parametrize("value", [0.0, 0.5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_a_sharp_map_changes_no_bit(run, tmp_path, dtype, value):
    values = np.random.default_rng(0).random((7, 5, 3))
    pixels = (values * np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else values).astype(dtype)
    images.write_image(tmp_path / "in.tif", images.Picture(pixels))
    np.save(tmp_path / "map.npy", np.full((7, 5), value))
    for options in ((), ("--linear",), ("--form", "scatter")):
        assert run("defocus", tmp_path / "in.tif", "--map", tmp_path / "map.npy", *options, "-o", tmp_path / "out.tif").status == 0
        np.testing.assert_array_equal(images.read_image(tmp_path / "out.tif").pixels, pixels)


def test_pixels_that_gather_nothing_keep_their_bits(run, tmp_path, photo_file, map_file, radii, photo):
    assert run("defocus", photo_file, "--map", map_file, "--linear", "-o", tmp_path / "out.png").status == 0
    np.testing.assert_array_equal(images.read_image(tmp_path / "out.png").pixels[radii <= 0.5], photo[radii <= 0.5])


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P"])
def test_grey_and_alpha_are_kept(run, tmp_path, photo, map_file, mode):
    image = Image.fromarray(photo).quantize(16) if mode == "P" else Image.fromarray(photo).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(np.where(np.arange(32) < 8, 0, photo[..., 1]).astype(np.uint8)))
    image.save(tmp_path / "in.png")
    assert run("defocus", tmp_path / "in.png", "--map", map_file, "-o", tmp_path / "out.png").status == 0
    before, after = (images.read_image(tmp_path / name) for name in ("in.png", "out.png"))
    assert after.channels == before.channels and after.bits == 8
    if mode.endswith("A"):
        np.testing.assert_array_equal(after.alpha, before.alpha)
        np.testing.assert_array_equal(after.pixels[before.alpha == 0], before.pixels[before.alpha == 0])


def test_hidden_colours_do_not_reach_the_visible_ones(run, tmp_path, photo, map_file):
    alpha, found = np.full((24, 32), 255, np.uint8), []
    alpha[8:16, 12:26] = 0
    for hidden in (0, 255):
        images.write_image(tmp_path / "in.png", images.Picture(np.where(alpha[..., None] > 0, photo, hidden).astype(np.uint8), alpha))
        assert run("defocus", tmp_path / "in.png", "--map", map_file, "-o", tmp_path / "out.png").status == 0
        found.append(images.read_image(tmp_path / "out.png").pixels[alpha > 0])
    np.testing.assert_array_equal(*found)


def test_an_upright_photograph_meets_an_upright_map(run, tmp_path, photo, radii):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo).save(tmp_path / "in.png", exif=exif)
    np.save(tmp_path / "map.npy", np.ones((32, 24)))
    assert run("defocus", tmp_path / "in.png", "--map", tmp_path / "map.npy", "-o", tmp_path / "out.png").status == 0
    assert images.read_image(tmp_path / "out.png").size == (32, 24)


@pytest.mark.parametrize("size, radius", [((1, 1), 5.0), ((1, 9), 2.0), ((7, 1), 40.0), ((5, 6), 12.5)])
@pytest.mark.parametrize("form", defocus.FORMS)
def test_small_photographs_and_disks_larger_than_them(run, tmp_path, size, radius, form):
    images.write_image(tmp_path / "in.png", images.Picture(np.full((*size, 3), 77, np.uint8)))
    np.save(tmp_path / "map.npy", np.full(size, radius))
    assert run("defocus", tmp_path / "in.png", "--map", tmp_path / "map.npy", "--form", form, "-o", tmp_path / "out.png").status == 0
    assert (images.read_image(tmp_path / "out.png").pixels == 77).all()


def test_scale_and_what_a_file_says_of_it(run, tmp_path, photo_file, radii):
    pytest.importorskip("imagecodecs")
    write_blur_map(tmp_path / "map.png", radii)
    outcome = run("defocus", photo_file, "--map", tmp_path / "map.png", "-o", tmp_path / "out.png")
    assert outcome.status == 0 and not outcome.err and "radii 0 to 3 pixels" in outcome.out
    outcome = run("defocus", photo_file, "--map", tmp_path / "map.png", "--scale", "0.001", "-o", tmp_path / "out.png")
    assert outcome.status == 0 and "0.768 pixels" in outcome.out and "0.00390625 that the file says" in outcome.err
    np.save(tmp_path / "map.npy", radii)
    outcome = run("defocus", photo_file, "--map", tmp_path / "map.npy", "--scale", "0.5", "-o", tmp_path / "out.png")
    assert outcome.status == 0 and not outcome.err and "radii 0 to 1.5 pixels" in outcome.out


def test_a_map_of_another_size(run, refused, tmp_path, photo_file, radii):
    np.save(tmp_path / "map.npy", radii[:, ::2])
    refused("defocus", photo_file, "--map", tmp_path / "map.npy", "-o", tmp_path / "out.png",
            naming=["map.npy", "32 x 24", "got 16 x 24", "--resize-map"])
    outcome = run("defocus", photo_file, "--map", tmp_path / "map.npy", "--resize-map", "-o", tmp_path / "out.png")
    assert outcome.status == 0 and "radii 0 to 2.9 pixels" in outcome.out


def test_resampling_keeps_the_radii():
    ramp = torch.linspace(0, 5, 40)[None, None, None].expand(1, 1, 30, 40)
    for size in ((90, 80), (15, 20), (30, 17)):
        found = map_options.resampled(ramp.contiguous(), size)
        assert found.shape[-2:] == size
        expected = ((torch.arange(size[1]) + 0.5) * 40 / size[1] - 0.5).clamp(0, 39) * 5 / 39
        torch.testing.assert_close(found[0, 0, 0, 2:-2], expected[2:-2], atol=0.02, rtol=0)
        assert abs(float(found.mean()) - 2.5) < 0.01


def test_what_is_wrong_is_one_line(refused, tmp_path, photo, photo_file, map_file):
    def case(naming, *options, image=photo_file, use=map_file, out="out.png"):
        refused("defocus", image, "--map", use, *options, "-o", tmp_path / out, naming=naming)

    case("--scale", "--scale", "0")
    case("--scale", "--scale", "nan")
    case("--form", "--form", "sideways")
    case("missing.npy", use=tmp_path / "missing.npy")
    case(["photo.png", "colours"], use=photo_file)
    case("missing.png", image=tmp_path / "missing.png")
    case(["out.gif", "extension"], out="out.gif")
    np.save(tmp_path / "negative.npy", -np.ones((24, 32)))
    case(["negative.npy", "got -1"], use=tmp_path / "negative.npy")
    np.save(tmp_path / "nan.npy", np.full((24, 32), np.nan))
    case(["nan.npy", "NaN"], use=tmp_path / "nan.npy")
    refused("defocus", photo_file, "-o", tmp_path / "out.png", naming="--map")
    assert not (tmp_path / "out.png").exists()


def test_too_little_memory_is_one_line(refused, tmp_path, photo_file, map_file, monkeypatch):
    from svconv.files import limits

    monkeypatch.setattr(limits, "free_memory", lambda: 20_000)
    refused("defocus", photo_file, "--map", map_file, "-o", tmp_path / "out.png", naming=["photo.png", "GB of memory"])
