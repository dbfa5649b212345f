"""Output files appear whole or not at all."""
import os
import stat

import pytest

from svconv.cli import outputs
from svconv.cli.errors import InputError


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
    with pytest.raises(InputError if isinstance(error, OSError) else type(error)) as caught:
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
    for path, text in ((tmp_path / "missing" / "a.png", "does not exist"), (tmp_path / "file" / "a.png", "not a folder|does not exist"), (tmp_path, "it is a folder")):
        with pytest.raises(InputError, match=text):
            outputs.check_folder(path)
    if os.path.isdir("/proc"):
        with pytest.raises(InputError, match="cannot write /proc/a.png"):
            outputs.check_folder("/proc/a.png")
    assert os.listdir(tmp_path) == ["file"]


def test_a_relative_path_is_fine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outputs.check_folder("a.png")
    with outputs.replacing("a.png") as file:
        file.write(b"x")
    assert os.listdir(tmp_path) == ["a.png"]
