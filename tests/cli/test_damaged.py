"""Damaged copies through the command line: a picture and status 0, or one line that names the file and status 2."""
import subprocess
import sys

import numpy as np
import pytest

import damage
from svconv.files import images

COPIES = 4


def check(status, err, source, output):
    assert status in (0, 2), err
    if status == 0:
        assert images.read_image(output).size and all(line.startswith("svconv: warning: ") for line in err.splitlines()), err
    else:
        assert err.startswith("svconv: error: ") and len(err.splitlines()) == 1 and str(source) in err, err
        assert not output.exists()


@pytest.mark.parametrize("name", [name for name in damage.SAMPLES if not name.endswith(".pt")])
def test_damaged_pictures_and_kernels(run, tmp_path, photo_file, kernel_file, request, name):
    whole, path, output = damage.SAMPLES[name](), tmp_path / name, tmp_path / "out.tif"
    rng = np.random.default_rng(request.config.getoption("--sweep-seed") + 1)
    for _ in range(COPIES):
        path.write_bytes(damage.damaged(whole, rng, name.endswith(".png")))
        image, kernel = (photo_file, path) if name.endswith(".npy") else (path, kernel_file)
        outcome = run("deblur", image, "--kernel", kernel, "--method", "cg", "--max-pixels", 1e6, "-o", output)
        check(outcome.status, outcome.err, path, output)
        output.unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["deep.png", "deflate.tif", "jpeg.tif"])
def test_damaged_pictures_in_a_process_of_their_own(tmp_path, kernel_file, name):
    """Here everything that libraries print is seen too."""
    whole, path, output = damage.SAMPLES[name](), tmp_path / name, tmp_path / "out.tif"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    done = subprocess.run([sys.executable, "-m", "svconv", "deblur", path, "--kernel", kernel_file, "-o", output], capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 2
    check(done.returncode, done.stderr, path, output)


def test_damaged_weights(refused, tmp_path, photo_file):
    (tmp_path / "w.pt").write_bytes(damage.archive()[:-40])
    refused("deblur", photo_file, "--blind", "--weights", tmp_path / "w.pt", "-o", tmp_path / "out.png", naming=["--weights", "w.pt"])


@pytest.mark.parametrize("option", ["0", "-5", "nan", "many"])
def test_bad_limits_are_named(refused, tmp_path, photo_file, kernel_file, option):
    command = ("deblur", photo_file, "--kernel", kernel_file, "-o", tmp_path / "out.png")
    refused(*command, f"--max-pixels={option}", naming=["--max-pixels", option])


def test_the_limit_is_an_option(run, refused, tmp_path, photo_file, kernel_file):
    command = ("deblur", photo_file, "--kernel", kernel_file, "-o", tmp_path / "out.png", "--max-pixels")
    refused(*command, 24 * 32 - 1, naming=["photo.png", "24 x 32", "--max-pixels"])
    assert run(*command, 24 * 32).status == 0


def test_a_pipe_is_not_waited_for(refused, tmp_path, photo_file, kernel_file):
    import os

    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "pipe.png")
    refused("deblur", tmp_path / "pipe.png", "--kernel", kernel_file, "-o", tmp_path / "out.png", naming=["pipe.png", "pipe"])
    refused("deblur", photo_file, "--kernel", tmp_path / "pipe.png", "-o", tmp_path / "out.png", naming=["pipe.png", "pipe"])
