"""The memory of `svconv deblur` is known before the work begins, and too little of it is one line."""
import os
import subprocess
import sys

import numpy as np
import pytest

from svconv.cli import blind, deblur, memory, psf_grid
from svconv.files import limits
from svconv.files.picture import Picture

MEASURE = """
import damage, numpy as np, sys
from svconv.cli import deblur, memory, psf_grid
from svconv.files.picture import Picture
deblur.CG_ITER = 4  # the peak is reached in the first steps
values = np.random.default_rng(0).integers(0, 65535, (800, 700, 4)).astype(np.uint16)
values[:9, :, 3] = 0
picture = Picture(values[..., :3].copy(), values[..., 3].copy()).with_white()[0]
kernel = np.ones((1, 15, 15)) / 225
for method in memory.SOLVERS:
    small = Picture(picture.pixels[:40, :40], picture.alpha[:40, :40]).with_white()[0]
    deblur.restore(small, kernel, method, 1e-3)
    with damage.Peak() as peak:
        deblur.restore(picture, kernel, method, 1e-3)
    print(method, peak.bytes, memory.needed(picture, (15, 15), method, deblur.TILE, deblur.HALO))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says")
def test_what_is_announced_is_what_is_used():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    environment["MALLOC_MMAP_THRESHOLD_"] = "65536"  # what is freed goes back at once, so that the methods do not share it
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, env=environment)
    found = [line.split() for line in done.stdout.splitlines()]
    own = [m for m in deblur.METHODS["kernel"] if m not in ("svmap", "rl", "auto")]
    assert [method for method, *_ in found] == list(memory.SOLVERS) == own
    for method, used, announced in found:
        assert 0.4 * int(announced) < int(used) < int(announced), (method, used, announced)


GRID = """
import damage, numpy as np
from svconv.cli import deblur, parser, psf_grid
from svconv.files.picture import Picture
deblur.CG_ITER = 4
values = np.random.default_rng(0).integers(0, 65535, (800, 700, 1)).astype(np.uint16)
psfs = np.ones((1, 30, 15, 15), np.float32) / 225
for method in psf_grid.METHODS:
    arguments = parser.build_parser().parse_args(["deblur", "x", "--psf-grid", "g", "--method", method, "-o", "o", "--quiet"])
    arguments.iterations = 3 if method == "rl" else None
    psf_grid.restore(arguments, Picture(values[:40, :40].copy()).with_white()[0], psfs, (5, 6), method, None)
    picture = Picture(values).with_white()[0]
    with damage.Peak() as peak:
        psf_grid.restore(arguments, picture, psfs, (5, 6), method, None)
    print(method, peak.bytes, psf_grid.needed(picture, psfs, method))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says")
def test_what_is_announced_for_a_psf_grid_is_what_is_used():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", GRID], capture_output=True, text=True, check=True, env=environment)
    found = [line.split() for line in done.stdout.splitlines()]
    assert [method for method, *_ in found] == list(psf_grid.METHODS)
    for method, used, announced in found:
        assert 0.2 * int(announced) < int(used) < int(announced), (method, used, announced)


def picture(side, **more):
    return Picture(np.zeros((side, side, 3), np.uint8), **more)


def test_tiles_bound_the_memory():
    small, large = (memory.needed(picture(side), (9, 9), "irls", 100, 10) for side in (300, 600))
    assert large - small < 40 * (600**2 - 300**2) and large > small


def test_a_kernel_that_is_estimated_needs_its_window_too():
    assert memory.needed(picture(400), (9, 9), "hyper", 50, 5, window=400) >= 4 * memory.ESTIMATE * 400**2


@pytest.mark.parametrize("options", [("--kernel", "kernel.npy"), ("--blind", "--method", "l0", "--kernel-size", "5")])
def test_a_run_that_does_not_fit_is_refused_before_it_begins(refused, tmp_path, photo_file, kernel_file, monkeypatch, options):
    def work(*_, **__):
        raise AssertionError("the work began")

    monkeypatch.setattr(deblur, "restore", work)
    monkeypatch.setattr(blind, "find", work)
    monkeypatch.setattr(limits, "free_memory", lambda: 200_000)
    options = [kernel_file if text == "kernel.npy" else text for text in options]
    refused("deblur", photo_file, *options, "-o", tmp_path / "out.png", naming=["photo.png", "GB of memory", "GB are free"])


@pytest.mark.parametrize("error", [
    MemoryError("Unable to allocate 9 GiB"), RuntimeError("CUDA out of memory. Tried to allocate"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000000 bytes.")])
def test_memory_that_runs_out_during_the_work_is_one_line(refused, tmp_path, photo_file, kernel_file, monkeypatch, error):
    def restore(*_, **__):
        raise error

    monkeypatch.setattr(deblur, "restore", restore)
    refused("deblur", photo_file, "--kernel", kernel_file, "-o", tmp_path / "out.png", naming=["not enough memory", str(error)[:20]])
    assert not (tmp_path / "out.png").exists()
