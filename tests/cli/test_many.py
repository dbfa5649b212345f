"""`svconv deblur` of several photographs: names, folders, suffixes, failures that do not stop the others, what is not written over."""
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from svconv.cli import many
from svconv.files import images


@pytest.fixture
def folder(tmp_path, photo_file, photo):
    """photos/ with a.png, b.jpg, c.tif, and files that are no photographs."""
    inside = tmp_path / "photos"
    inside.mkdir()
    shutil.copy(photo_file, inside / "a.png")
    Image.fromarray(photo).save(inside / "b.jpg")
    Image.fromarray(photo[..., 0]).save(inside / "c.tif")
    for name in ("notes.txt", ".hidden.png", "a_deblurred.png"):
        (inside / name).write_bytes(b"no photograph")
    return inside


BLUR = ("--kernel", "disk:1", "--quiet")


def test_one_photograph_has_its_result_beside_it(run, tmp_path, photo_file):
    outcome = run("deblur", photo_file, *BLUR)
    assert outcome.status == 0 and str(tmp_path / "photo_deblurred.png") in outcome.out
    assert images.read_image(tmp_path / "photo_deblurred.png").size == (24, 32)
    assert run("deblur", photo_file, *BLUR, "--suffix=-sharp").status == 0 and (tmp_path / "photo-sharp.png").exists()


def test_files_and_folders_go_into_a_folder(run, tmp_path, photo_file, folder):
    outcome = run("deblur", photo_file, folder, *BLUR, "-o", tmp_path / "new" / "out")
    assert outcome.status == 0 and len(outcome.out.splitlines()) == 4
    assert sorted(os.listdir(tmp_path / "new" / "out")) == ["a.png", "b.jpg", "c.tif", "photo.png"]
    assert images.read_image(tmp_path / "new" / "out" / "c.tif").channels == 1
    alone = run("deblur", photo_file, *BLUR, "-o", tmp_path / "one.png")
    assert alone.status == 0 and (tmp_path / "one.png").read_bytes() == (tmp_path / "new" / "out" / "photo.png").read_bytes()


def test_a_folder_alone_has_its_results_beside_the_photographs(run, folder):
    before = set(os.listdir(folder))
    (folder / "a_deblurred.png").unlink()
    assert run("deblur", folder, *BLUR).status == 0
    assert set(os.listdir(folder)) - before == {"b_deblurred.jpg", "c_deblurred.tif"}
    assert run("deblur", folder, *BLUR).status == 0, "a result is no photograph"
    assert set(os.listdir(folder)) - before == {"b_deblurred.jpg", "c_deblurred.tif"}


def test_a_failure_does_not_stop_the_others(run, tmp_path, folder):
    (folder / "b.jpg").write_bytes(b"damaged")
    outcome = run("deblur", folder, *BLUR, "-o", tmp_path / "out")
    assert outcome.status == 2 and sorted(os.listdir(tmp_path / "out")) == ["a.png", "c.tif"]
    lines = outcome.err.splitlines()
    assert len(lines) == 2 and "b.jpg" in lines[0] and lines[0].startswith("svconv: error:")
    assert lines[1] == "svconv: 1 of 3 photographs failed"


def test_an_error_of_any_kind_is_one_line(run, tmp_path, folder, monkeypatch):
    from svconv.cli import deblur

    def restore(picture, *_, **__):
        if picture.channels == 1:
            raise RuntimeError("out of order")
        return picture

    monkeypatch.setattr(deblur, "restore", restore)
    outcome = run("deblur", folder, *BLUR, "-o", tmp_path / "out")
    assert outcome.status == 2 and "c.tif: RuntimeError: out of order" in outcome.err and len(os.listdir(tmp_path / "out")) == 2


def test_blind_and_grids_take_several_too(run, tmp_path, folder, weights, photo):
    assert run("deblur", folder, "--blind", "--weights", weights, "-o", tmp_path / "blind").status == 0
    np.save(tmp_path / "grid.npy", np.ones((2, 3, 5, 5)) / 25)
    assert run("deblur", folder, "--psf-grid", tmp_path / "grid.npy", "-o", tmp_path / "grid").status == 0
    np.save(tmp_path / "map.npy", np.ones(photo.shape[:2], np.float32))
    assert run("deblur", folder, "--defocus-map", tmp_path / "map.npy", "--method", "irls", "-o", tmp_path / "map").status == 0
    assert all(sorted(os.listdir(tmp_path / name)) == ["a.png", "b.jpg", "c.tif"] for name in ("blind", "grid", "map"))


def test_nothing_is_written_over_by_accident(run, refused, tmp_path, photo_file):
    before = photo_file.read_bytes()
    refused("deblur", photo_file, *BLUR, "-o", photo_file, naming=["photo.png is the photograph itself", "--overwrite"])
    refused("deblur", photo_file, *BLUR, "--suffix", "", naming=["photo.png is the photograph itself", "--overwrite"])
    assert photo_file.read_bytes() == before
    assert run("deblur", photo_file, *BLUR, "-o", photo_file, "--overwrite").status == 0 and photo_file.read_bytes() != before
    target = tmp_path / "kept.png"
    target.write_bytes(b"kept")
    assert run("deblur", photo_file, *BLUR, "-o", target).status == 0, "other files are replaced"


@pytest.mark.skipif(os.name == "nt", reason="modes of files")
def test_a_file_that_is_read_only_is_kept(run, refused, tmp_path, photo_file, monkeypatch):
    target = tmp_path / "kept.png"
    target.write_bytes(b"kept")
    target.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda path, mode: os.stat(path).st_mode & 0o200 != 0)     # root may write anything
    refused("deblur", photo_file, *BLUR, "-o", target, naming=["kept.png is read-only", "--overwrite"])
    assert target.read_bytes() == b"kept"
    assert run("deblur", photo_file, *BLUR, "-o", target, "--overwrite").status == 0 and target.read_bytes() != b"kept"


def test_wrong_calls(refused, tmp_path, photo_file, folder):
    (tmp_path / "empty").mkdir()
    shutil.copy(photo_file, tmp_path / "a.png")
    refused("deblur", tmp_path / "empty", *BLUR, naming=["IMAGE", "no photographs in the folder", "empty"])
    refused("deblur", photo_file, folder, *BLUR, "-o", photo_file, naming=["-o", "folder", "photo.png is a file"])
    refused("deblur", tmp_path / "a.png", folder / "a.png", *BLUR, "-o", tmp_path / "out", naming=["-o", "would both be written to"])
    refused("deblur", photo_file, *BLUR, "-o", tmp_path / "x.png", "--suffix", "s", naming="--suffix")
    refused("deblur", photo_file, *BLUR, "--suffix", "a/b", naming="--suffix")
    for option in ("--save-kernel", "--report"):
        refused("deblur", folder, "--blind", option, tmp_path / "k.json", "-o", tmp_path / "out",
                naming=[option, "only with one photograph, got 3"])


@pytest.mark.parametrize(("name", "naming"), [("IMG.CR2", "darktable-cli"), ("shot.dng", "darktable-cli"), ("phone.HEIC", "heif-convert")])
def test_photographs_that_have_to_be_converted(refused, tmp_path, photo, name, naming):
    Image.fromarray(photo).save(tmp_path / name, "TIFF")     # as a raw file begins
    refused("deblur", tmp_path / name, *BLUR, naming=[name, naming])


def test_names_of_results():
    assert many.result_name("x/a.webp", None, None) == os.path.join("x", "a_deblurred.png")
    assert many.result_name("x/a.b.JPG", "out", None) == os.path.join("out", "a.b.JPG")
    assert many.result_name("a.fts", "out", "_s") == os.path.join("out", "a_s.fits")
