"""Damaged copies of every readable type: each is read or is a FileError of one line that names it; nothing hangs, nothing is printed."""
import time

import numpy as np
import pytest

import damage
from svconv.files import archives, images, kernels
from svconv.files.errors import FileError

COPIES = 200
MAX_PIXELS = 1 << 18
READERS = {"npy": lambda path: kernels.read_kernel(path, MAX_PIXELS), "pt": lambda path: archives.read_archive(path, "archive")}


def read(path):
    kind = path.suffix[1:]
    if kind in READERS:
        return READERS[kind](path)
    picture = images.read_image(path, MAX_PIXELS).with_white()[0]
    for channel in range(picture.channels):
        assert np.isfinite(picture.plane(channel).numpy()).all()
    assert picture.white > 0 and (picture.weights is None or picture.weights.max() <= 1)
    return picture


@pytest.mark.parametrize("name", damage.SAMPLES)
def test_damaged_copies_are_read_or_refused_by_name(tmp_path, request, capfd, name):
    whole, path = damage.SAMPLES[name](), tmp_path / name
    path.write_bytes(whole)
    assert read(path) is not None
    rng, refused, start = np.random.default_rng(request.config.getoption("--sweep-seed")), 0, time.perf_counter()
    with damage.Peak() as peak:
        for _ in range(COPIES):
            path.write_bytes(damage.damaged(whole, rng, name.endswith(".png")))
            try:
                read(path)
            except FileError as error:
                assert str(path) in str(error) and len(str(error).splitlines()) == 1, error
                refused += 1
    assert refused > COPIES // 10, "the damage is too weak to say anything"
    assert peak.bytes < (64 << 20) and time.perf_counter() - start < 60
    assert capfd.readouterr() == ("", "")
