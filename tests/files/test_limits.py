"""What a header claims is looked at before anything of that size is allocated; the limit can be raised, and memory is counted."""
import io
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import damage
from svconv.files import archives, images, kernels, limits
from svconv.files.errors import FileError

SIDE = 100_000


def png(name):
    data = bytearray(damage.SAMPLES[name]())
    data[16:24] = SIDE.to_bytes(4, "big") * 2
    return damage.checked(data)


def jpeg(name):
    data = bytearray(damage.SAMPLES[name]())
    frame = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC2))
    data[frame + 5 : frame + 9] = (65500).to_bytes(2, "big") * 2
    return bytes(data)


def tif(name):
    """The sides in a file of small byte order, whose entries are: tag, type, count, value."""
    data = damage.SAMPLES[name]()
    for tag in (256, 257):
        entry = re.compile(re.escape(tag.to_bytes(2, "little")) + b"[\3\4]\0\1\0\0\0....", re.DOTALL)
        data, count = entry.subn(tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + SIDE.to_bytes(4, "little"), data)
        assert count == 1
    return data


def bmp(name):
    data = bytearray(damage.SAMPLES[name]())
    data[18:26] = SIDE.to_bytes(4, "little") * 2
    return bytes(data)


def gif(name):
    data = bytearray(damage.SAMPLES[name]())
    frame = data.index(b"\x2c\0\0\0\0")
    for place in (6, frame + 5):
        data[place : place + 4] = b"\xff" * 4
    return bytes(data)


def webp(name):
    """The largest sides that WebP can say, 2^14."""
    data = bytearray(damage.SAMPLES[name]())
    place = data.index(b"VP8L") + 9
    data[place : place + 4] = (int.from_bytes(data[place : place + 4], "little") | (1 << 28) - 1).to_bytes(4, "little")
    return bytes(data)


def of_type(name):
    return {"png": png, "jpg": jpeg, "mpo": jpeg, "tif": tif, "bmp": bmp, "gif": gif, "webp": webp}[name.rsplit(".")[-1]](name)


PICTURES = ["rgb.png", "deep.png", "rgb.jpg", "progressive.jpg", "two.mpo", "rgb.tif", "deflate.tif", "packed.tif", "float.tif",
            "tiled.tif", "jpeg.tif", "palette.tif", "fax.tif", "rgb.bmp", "palette.gif", "lossless.webp"]


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_that_claims_to_be_huge_is_refused_before_it_is_decoded(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(of_type(name))
    for read in (lambda path: images.read_image(path, 2**28 - 1), kernels.read_kernel):
        with damage.Peak() as peak, pytest.raises(FileError, match=f"{re.escape(name)}.*max_pixels, raises it"):
            read(path)
        assert peak.bytes < (32 << 20)


@pytest.mark.parametrize("name", PICTURES)
def test_the_limit_is_exact_and_can_be_raised(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(damage.SAMPLES[name]())
    assert images.read_image(path, max_pixels=24 * 32).size == (24, 32)
    with pytest.raises(FileError, match=f"{re.escape(name)}.*24 x 32.*limit of 767"):
        images.read_image(path, max_pixels=24 * 32 - 1)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_within_the_limit_that_the_memory_does_not_hold_is_refused(tmp_path, monkeypatch, name):
    path = tmp_path / name
    path.write_bytes(damage.SAMPLES[name]())
    monkeypatch.setattr(limits, "free_memory", lambda: 1000)
    with pytest.raises(FileError, match=f"{re.escape(name)}.*GB of memory"):
        images.read_image(path)


def header(shape, descr="<f8"):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [(10**6, 10**6), (3, 10**6, 10**6), (10**6, 10**6, 3), (10**12,), (2**32, 2**32), (10**30, 1)])
def test_an_array_that_claims_to_be_huge_is_refused_before_it_is_read(tmp_path, shape):
    (tmp_path / "k.npy").write_bytes(header(shape) + bytes(80))
    with damage.Peak() as peak, pytest.raises(FileError, match="k.npy.*limit.*max_pixels"):
        kernels.read_kernel(tmp_path / "k.npy")
    assert peak.bytes < (8 << 20)


def test_an_array_that_is_shorter_than_its_header_says_is_refused_before_it_is_read(tmp_path):
    (tmp_path / "k.npy").write_bytes(header((4000, 4000)) + bytes(80))
    with damage.Peak() as peak, pytest.raises(FileError, match="k.npy.*ends before"):
        kernels.read_kernel(tmp_path / "k.npy")
    assert peak.bytes < (8 << 20)


def test_the_limit_of_arrays_can_be_raised(tmp_path):
    np.save(tmp_path / "k.npy", np.ones((40, 50)))
    assert kernels.read_kernel(tmp_path / "k.npy", max_pixels=2000).shape == (1, 40, 50)
    with pytest.raises(FileError, match="limit of 600 pixels"):
        kernels.read_kernel(tmp_path / "k.npy", max_pixels=600)


def test_arrays_of_a_zip_file_or_another_format_are_no_kernels(tmp_path):
    np.savez_compressed(tmp_path / "k.npz", np.zeros((2000, 2000)))
    (tmp_path / "k.fits").write_bytes(b"SIMPLE  =                    T".ljust(80) + b"NAXIS1  =        1000000000000".ljust(80))
    for name in ("k.npz", "k.fits"):
        with damage.Peak() as peak, pytest.raises(FileError, match=f"{name}.*not an image"):
            kernels.read_kernel(tmp_path / name)
        assert peak.bytes < (8 << 20)


def test_an_archive_that_unpacks_to_more_than_its_size_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in (("w/data.pkl", bytes(10**6)), ("w/data/0", bytes(40 << 20)), ("w/version", b"3\n")):
            file.writestr(name, data)
    with damage.Peak() as peak, pytest.raises(FileError, match="w.pt: not a readable weight file"):
        archives.read_archive(tmp_path / "w.pt", "weight file")
    assert peak.bytes < (16 << 20)


def test_an_archive_with_a_wrong_checksum_is_refused(tmp_path):
    import torch

    archives.write_archive(tmp_path / "w.pt", {"a": torch.full((50,), 1.5)})
    data = (tmp_path / "w.pt").read_bytes()
    place = data.index(torch.full((2,), 1.5).numpy().tobytes())
    (tmp_path / "w.pt").write_bytes(data[:place] + b"\1" + data[place + 1 :])
    with pytest.raises(FileError, match="w.pt: not a readable archive"):
        archives.read_archive(tmp_path / "w.pt", "archive")


@pytest.mark.parametrize("size", [(1, 65501), (65501, 1)])
def test_what_jpeg_cannot_hold_is_known_before_the_work(tmp_path, size):
    with pytest.raises(FileError, match="JPEG.*65500"):
        images.check_output(str(tmp_path / "a.jpg"), size=size)
    images.check_output(str(tmp_path / "a.jpg"), size=tuple(min(side, 65500) for side in size))
    images.check_output(str(tmp_path / "a.png"), size=size)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says")
def test_free_memory_knows_the_limit_of_the_shell():
    program = """
import resource
from svconv.files import limits
before = limits.free_memory()
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 50_000_000, resource.getrlimit(resource.RLIMIT_AS)[1]))
print(before, limits.free_memory())
"""
    before, after = map(int, subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split())
    assert after < 60_000_000 < before


def test_memory_that_nobody_knows_is_no_reason_to_refuse(monkeypatch):
    monkeypatch.setattr(limits, "free_memory", lambda: None)
    limits.check_memory("a.png", 10**18, "reading it")
