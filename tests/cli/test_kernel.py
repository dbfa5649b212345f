"""Kernels that a person names: `--kernel NAME`, where the mass of a kernel lies, and `svconv psf` with kernels."""
import numpy as np
import pytest
from PIL import Image

from svconv.data import named_kernel
from svconv.files import read_image, read_kernel


@pytest.mark.parametrize("name", ["gaussian:0.8", "disk:1.5", "motion:3:30"])
def test_a_name_restores_like_the_file_of_that_kernel(run, tmp_path, photo_file, name):
    np.save(tmp_path / "k.npy", named_kernel(name).numpy())
    for given, out in ((name, "a.png"), (tmp_path / "k.npy", "b.png")):
        outcome = run("deblur", photo_file, "--kernel", given, "--method", "hyper", "-o", tmp_path / out)
        assert outcome.status == 0 and not outcome.err, outcome
    a, b = (read_image(tmp_path / out).pixels for out in ("a.png", "b.png"))
    np.testing.assert_array_equal(a, b)
    assert (a != np.asarray(Image.open(photo_file))).any()


def test_names_that_say_nothing_are_refused(run, refused, tmp_path, photo_file):
    for name in ("disk:", "disk:-1", "gaussian:x", "motion:1:2:3"):
        refused("deblur", photo_file, "--kernel", name, "-o", tmp_path / "o.png", naming=["--kernel: expected gaussian:SIGMA", repr(name)])
        refused("psf", name, "-o", tmp_path / "o.png", naming="--kernel: expected gaussian:SIGMA")
    refused("deblur", photo_file, "--kernel", "disk:40", "-o", tmp_path / "o.png", naming="larger than the image")
    assert not (tmp_path / "o.png").exists()


@pytest.fixture
def shifted(tmp_path):
    """A kernel whose mass is two pixels right of its middle and one above."""
    k = np.zeros((5, 7), np.float32)
    k[1, 4:7] = 0.25, 0.5, 0.25
    np.save(tmp_path / "k.npy", k)
    return tmp_path / "k.npy"


def test_mass_off_the_middle_is_announced_and_moved_on_request(run, tmp_path, shifted, photo_file):
    outcome = run("deblur", photo_file, "--kernel", shifted, "--method", "hyper", "-o", tmp_path / "a.png")
    assert outcome.status == 0 and "centre of mass lies 2.0 pixels right and 1.0 above of its middle" in outcome.err, outcome
    assert run("psf", shifted, "--recenter", "-o", tmp_path / "c.npy").status == 0
    moved = read_kernel(tmp_path / "c.npy")[0]
    assert all(n % 2 for n in moved.shape) and moved.sum() == pytest.approx(1)
    row, column = (n // 2 for n in moved.shape)
    np.testing.assert_allclose(moved[row, column - 1:column + 2], [0.25, 0.5, 0.25])
    for kernel, options, out in ((shifted, ["--recenter"], "b.png"), (tmp_path / "c.npy", [], "c.png")):
        outcome = run("deblur", photo_file, "--kernel", kernel, "--method", "hyper", *options, "-o", tmp_path / out)
        assert outcome.status == 0 and not outcome.err, outcome
    a, b, c = (read_image(tmp_path / f"{name}.png").pixels.astype(int) for name in "abc")
    np.testing.assert_array_equal(b, c)
    # y = k * x: a kernel whose mass is right of its middle moves the restored photograph to the left
    inside = np.s_[6:-6, 6:-6]
    assert abs(a[6:-6, 6:-6] - b[5:-7, 8:-4]).mean() < abs(a[inside] - b[inside]).mean() / 2


def test_recenter_needs_a_kernel(refused, tmp_path, photo_file):
    refused("deblur", photo_file, "--blind", "--recenter", "-o", tmp_path / "o.png", naming="--recenter: only with --kernel")
    np.save(tmp_path / "g.npy", np.ones((2, 2, 3, 3)))
    refused("deblur", photo_file, "--psf-grid", tmp_path / "g.npy", "--recenter", "-o", tmp_path / "o.png",
            naming="--recenter: only with --kernel")
    refused("psf", tmp_path / "g.npy", "--recenter", "-o", tmp_path / "o.png", naming="--recenter: only with a kernel")


def test_a_photograph_is_no_kernel(run, refused, tmp_path, photo_file):
    g = np.random.default_rng(0)
    Image.fromarray(g.integers(40, 220, (48, 64), dtype=np.uint8)).save(tmp_path / "photo2.png")
    Image.fromarray(g.integers(40, 220, (100, 120), dtype=np.uint8)).save(tmp_path / "large.png")
    refused("deblur", tmp_path / "large.png", "--kernel", tmp_path / "photo2.png", "-o", tmp_path / "o.png",
            naming=["photo2.png", "48 x 64", "a photograph rather than a blur kernel"])
    refused("psf", tmp_path / "photo2.png", "-o", tmp_path / "o.png", naming="a photograph rather than a blur kernel")
    box = np.full((9, 9), 255, np.uint8)       # a uniform kernel of a few pixels is one
    Image.fromarray(box).save(tmp_path / "box.png")
    assert run("psf", tmp_path / "box.png", "-o", tmp_path / "box.npy").status == 0
    np.testing.assert_allclose(read_kernel(tmp_path / "box.npy")[0], 1 / 81, rtol=1e-6)
    assert run("psf", "gaussian:8", "-o", tmp_path / "wide.png").status == 0       # 65 pixels, dark at its edges
    assert run("psf", tmp_path / "wide.png", "-o", tmp_path / "wide.npy").status == 0


@pytest.mark.parametrize("ending, tolerance", [("npy", 1e-7), ("png", 2e-5), ("tif", 2e-5)])
def test_psf_writes_what_deblur_reads(run, tmp_path, ending, tolerance):
    outcome = run("psf", "motion:9:20", "-o", tmp_path / f"k.{ending}")
    assert outcome.status == 0 and "kernel of 11 x 5, grey, its centre of mass 0.0 pixels right and 0.0" in outcome.out, outcome
    np.testing.assert_allclose(read_kernel(tmp_path / f"k.{ending}")[0], named_kernel("motion:9:20").numpy(), atol=tolerance)


def test_psf_writes_colours(run, tmp_path):
    k = np.stack([np.pad(named_kernel(f"disk:{r}").numpy(), 3 - int(np.ceil(r - 0.5))) for r in (0.8, 1.6, 2.4)], 2)
    Image.fromarray(np.rint(k / k.max() * 255).astype(np.uint8)).save(tmp_path / "k.png")
    outcome = run("psf", tmp_path / "k.png", "-o", tmp_path / "out.npy")
    assert outcome.status == 0 and "colour" in outcome.out and np.load(tmp_path / "out.npy").shape == (7, 7, 3), outcome


def test_psf_draws_a_kernel_large(run, refused, tmp_path):
    assert run("psf", "disk:2", "--gamma", "0.5", "-o", tmp_path / "look.png").status == 0
    assert read_image(tmp_path / "look.png").size == (5 * 8 + 4, 5 * 8 + 4)
    refused("psf", "disk:2", "--grid", "2x2", "-o", tmp_path / "o.png", naming="--grid: only with a PSF grid")
    refused("psf", "disk:2", "--scale", "each", "-o", tmp_path / "o.png", naming="--scale: only with a PSF grid")
    refused("psf", tmp_path / "missing.png", "-o", tmp_path / "o.png", naming="missing.png")
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY\x01\x00\x00")
    refused("psf", tmp_path / "broken.npy", "-o", tmp_path / "o.png", naming="broken.npy")
