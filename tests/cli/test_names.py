"""Names of files that a terminal, an encoding or a file system makes difficult; a full disk."""
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from svconv.files import outputs


def program(folder, *arguments, encoding=None, **options):
    environment = {**os.environ, **({"PYTHONIOENCODING": encoding} if encoding else {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([sys.executable, "-m", "svconv", *arguments], env=environment, cwd=folder, timeout=120, **options)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_terminal_that_cannot_print_a_name_prints_it_escaped(tmp_path, photo_file, kernel_file, encoding):
    name = "\u5199\u771f.png"
    done = program(tmp_path, "deblur", photo_file, "--kernel", kernel_file, "-o", name, encoding=encoding)
    assert done.returncode == 0 and (tmp_path / name).exists()
    assert done.stdout.startswith(name.encode() if encoding == "utf-8" else b"\\u5199\\u771f.png")
    assert done.stderr.count(b"printed escaped") == (encoding != "utf-8")
    missing = program(tmp_path, "deblur", "\u5199.png", "--kernel", kernel_file, "-o", "out.png", encoding=encoding)
    assert missing.returncode == 2 and len(missing.stderr.splitlines()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names in no encoding")
@pytest.mark.parametrize("suffix", [b".png", b".tif", b".jpg"])
def test_names_in_no_encoding_work(tmp_path, photo_file, kernel_file, suffix):
    name = b"bl\xfcrry" + suffix
    for source, target in ((photo_file, name), (name, name)):
        done = program(tmp_path, "deblur", source, "--kernel", kernel_file, "-o", target, "--overwrite", encoding="utf-8")
        assert done.returncode == 0, done.stderr
        assert b"bl\\udcfcrry" in done.stdout
    with Image.open(tmp_path / os.fsdecode(name)) as image:
        image.load()


@pytest.mark.parametrize("stem", ["x" * 251, "\u00fc" * 125, "\u5199" * 83, "\U0001f4f7" * 62])
def test_a_name_as_long_as_the_system_allows_is_written(tmp_path, stem):
    name = stem + ".png"
    assert len(os.fsencode(name)) > 250
    outputs.check_folder(tmp_path / name)
    with outputs.replacing(tmp_path / name) as file:
        file.write(b"x")
        assert all(len(os.fsencode(other)) < 60 for other in os.listdir(tmp_path))
    assert os.listdir(tmp_path) == [name]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_name_with_a_line_end_or_a_control_character_stays_on_one_line(run, refused, tmp_path, photo_file, kernel_file):
    name = tmp_path / "two\nlines\x1b[2J.png"
    outcome = run("deblur", photo_file, "--kernel", kernel_file, "-o", name)
    assert outcome.status == 0 and name.exists() and outcome.out.count("\n") == 1 and "two\\nlines\\x1b[2J.png" in outcome.out
    refused("deblur", tmp_path / "no\nsuch.png", "--kernel", kernel_file, "-o", tmp_path / "out.png", naming="no\\nsuch.png")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_behind_stdout_is_one_line(tmp_path):
    with open("/dev/full", "wb") as full:
        done = program(tmp_path, "info", stdout=full)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and b"No space left" in done.stderr


def test_too_little_memory_is_one_line(refused, tmp_path, photo_file, kernel_file, monkeypatch):
    def exhausted(*_, **__):
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr(np, "ascontiguousarray", exhausted)
    refused("deblur", photo_file, "--kernel", kernel_file, "-o", tmp_path / "out.png", naming=["photo.png", "memory"])
