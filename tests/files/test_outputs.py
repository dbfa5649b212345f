"""Output files appear whole or not at all, with the mode that the umask or the replaced file gives."""
import os
import stat

import numpy as np
import pytest
import torch

from svconv.files import archives, images, kernels, outputs
from svconv.files.errors import FileError


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with outputs.replacing(path) as file:
        file.write(b"new and longer")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new and longer"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("error", [RuntimeError("half-way"), OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(FileError if isinstance(error, OSError) else type(error)) as caught:
        with outputs.replacing(path) as file:
            file.write(b"ne")
            raise error
    if isinstance(error, OSError):
        assert "a.bin" in str(caught.value) and "No space left" in str(caught.value)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]


def test_a_new_file_gets_the_usual_mode(tmp_path):
    with outputs.replacing(tmp_path / "a.bin"):
        pass
    (tmp_path / "b.bin").touch()
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "b.bin").stat().st_mode


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.bin").write_bytes(b"old")
    (tmp_path / "a.bin").symlink_to(tmp_path / "real" / "a.bin")
    with outputs.replacing(tmp_path / "a.bin") as file:
        file.write(b"new")
    assert (tmp_path / "a.bin").is_symlink() and (tmp_path / "real" / "a.bin").read_bytes() == b"new"


def test_folders_that_take_no_file_are_refused_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    for path, text in (
        (tmp_path / "missing" / "a.png", "does not exist"),
        (tmp_path / "file" / "a.png", "not a folder|does not exist"),
        (tmp_path, "it is a folder"),
    ):
        with pytest.raises(FileError, match=text):
            outputs.check_folder(path)
    if os.path.isdir("/proc"):
        with pytest.raises(FileError, match="cannot write /proc/a.png"):
            outputs.check_folder("/proc/a.png")
    assert os.listdir(tmp_path) == ["file"]


def test_a_relative_path_is_fine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outputs.check_folder("a.png")
    with outputs.replacing("a.png") as file:
        file.write(b"x")
    assert os.listdir(tmp_path) == ["a.png"]


def write_weights(path):
    from svconv.models import LearningToDeblur

    LearningToDeblur(stages=1, filters=2).save(path)


def write_checkpoint(path):
    from svconv.training.checkpoint import save_checkpoint

    save_checkpoint(path, "ltd", {"step": 1})


def write_log(path):
    from svconv.training.metrics import MetricsLog

    MetricsLog(path).rewind(3)


WRITERS = {
    "picture.png": lambda path: images.write_image(path, images.Picture(np.zeros((4, 5, 3), np.uint8))),
    "picture.tif": lambda path: images.write_image(path, images.Picture(np.zeros((4, 5, 1), np.float32))),
    "kernel.npy": lambda path: kernels.write_kernel(path, np.ones((3, 3))),
    "kernel.png": lambda path: kernels.write_kernel(path, np.ones((3, 3))),
    "archive.pt": lambda path: archives.write_archive(path, {"a": torch.zeros(2)}),
    "page.md": lambda path: outputs.write_text(path, "text"),
    "weights.pt": write_weights,
    "checkpoint.pt": write_checkpoint,
    "metrics.jsonl": write_log,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_output_has_the_mode_of_the_umask_or_of_the_file_before(tmp_path, name):
    path = tmp_path / name
    for umask in (0o022, 0o027, 0o077):
        former = os.umask(umask)
        try:
            WRITERS[name](path)
        finally:
            os.umask(former)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
        path.unlink()
    WRITERS[name](path)
    path.chmod(0o640)
    WRITERS[name](path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 and os.listdir(tmp_path) == [name]


def test_archives_hold_data_only(tmp_path):
    data = {"a": torch.arange(3.0), "b": [1, "two", None, 3.5]}
    archives.write_archive(tmp_path / "a.pt", data)
    back = archives.read_archive(tmp_path / "a.pt", "weight file")
    assert torch.equal(back["a"], data["a"]) and back["b"] == data["b"]
    torch.save(print, tmp_path / "code.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:100])
    for name, text in (("code.pt", "not a readable"), ("cut.pt", "not a readable"), ("missing.pt", "no such"), (".", "no such")):
        with pytest.raises(FileError, match=f"{name}: {text} weight file"):
            archives.read_archive(tmp_path / name if name != "." else ".", "weight file")


def test_errors_of_files_are_both_kinds_that_callers_know():
    assert issubclass(FileError, OSError) and issubclass(FileError, ValueError) and str(FileError("a.png: text")) == "a.png: text"


FULL = {
    "rgb.png": np.uint8, "deep.png": np.uint16, "rgb.tif": np.uint8, "deep.tif": np.uint16, "float.tif": np.float32, "rgb.jpg": np.uint8,
    "rgb.bmp": np.uint8, "kernel.npy": None, "kernel.png": None, "archive.pt": None,
}


@pytest.mark.parametrize("name", FULL)
def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path, name):
    """A limit on the size of files fails a write half-way, as a full disk does."""
    resource = pytest.importorskip("resource", reason="only Unix has such limits")
    path, dtype, former = tmp_path / name, FULL[name], resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(0).random((90, 80, 3))
    path.write_bytes(b"old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, former[1]))
    try:
        with pytest.raises(FileError, match=f"cannot write .*{name}: File too large") as caught:
            if name == "archive.pt":
                archives.write_archive(path, {"a": torch.rand(3000)})
            elif dtype is None:
                kernels.write_kernel(path, noise[..., 0])
            else:
                images.write_image(path, images.Picture((noise * (np.iinfo(dtype).max if dtype != np.float32 else 1)).astype(dtype)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert len(str(caught.value).splitlines()) == 1
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == [name]
