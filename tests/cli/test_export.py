"""`svconv export`: the names of models and weights, what is printed, what is refused."""
import json
import os
import subprocess
import sys

import pytest
import torch

from svconv.models import LearningToDeblur, SVBRNet
from svconv.models.pretrained import FOLDER

CHILD = """
import sys, torch, svconv.ops
image, kernel = torch.load(sys.argv[2])
with torch.no_grad():
    print(torch.equal(torch.export.load(sys.argv[1]).module()(image)[0], kernel), "svconv.models" in sys.modules)
"""


def described(path):
    inside = {"svconv.json": ""}
    torch.export.load(path, extra_files=inside)
    return json.loads(inside["svconv.json"])


def test_weights_of_a_file_become_a_program(run, tmp_path, weights):
    """Loaded where only torch and svconv.ops are imported, it gives the kernel of the model, bit for bit."""
    outcome = run("export", weights, "-o", tmp_path / "out.pt2")
    assert outcome.status == 0, outcome
    image = torch.rand(1, 1, 45, 38, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.save((image, LearningToDeblur.load(weights)(image).kernel), tmp_path / "case.pt")
    done = subprocess.run([sys.executable, "-c", CHILD, tmp_path / "out.pt2", tmp_path / "case.pt"], capture_output=True, text=True,
                          timeout=120)
    assert done.stdout == "True False\n", done.stderr


def test_what_is_printed(run, tmp_path, weights):
    lines = run("export", weights, "-o", tmp_path / "out.pt2").out.splitlines()
    assert lines[0].startswith(f"{tmp_path / 'out.pt2'}: LearningToDeblur, estimate, weights own.pt, torch.export, ") and "MB" in lines[0]
    assert lines[1] == "input image: float32 [batch, 1, height, width], the luminance of the blurred photograph, 0..1"
    assert lines[2] == "output kernel: float32 [batch, 9, 9], the blur kernel, sum 1, centre k // 2"
    assert lines[3].startswith("output latent: float32 [batch, 1, height, width], ")
    assert lines[4:] == ["any batch from 1, height from 18, width from 18", "the same bits as the model on the pictures that were compared"]


@pytest.mark.parametrize("arguments, name, license", [
    (["ltd"], "ltd-17", "BSD-3-Clause"), (["ltd-17"], "ltd-17", "BSD-3-Clause"), (["ltd", "--weights", "17"], "ltd-17", "BSD-3-Clause"),
    (["ltd", "--weights", "own.pt"], "own.pt", None), (["own.pt"], "own.pt", None),
    ([str(FOLDER / "ltd-17.pt")], "ltd-17.pt", None)])
def test_ways_to_name_weights(run, tmp_path, weights, monkeypatch, arguments, name, license):
    monkeypatch.chdir(tmp_path)
    outcome = run("export", *arguments, "-o", "out.pt2")
    assert outcome.status == 0, outcome
    inside = described("out.pt2")
    assert (inside["weights"], inside["license"], inside["model"]) == (name, license, "LearningToDeblur")


def test_a_second_run_replaces_the_file(run, tmp_path, weights):
    path = tmp_path / "out.pt2"
    assert run("export", weights, "-o", path).status == run("export", weights, "-o", path, "--size", 40, 50).status == 0
    assert described(path)["inputs"][0]["shape"] == [1, 1, 40, 50]
    assert sorted(os.listdir(tmp_path)) == ["out.pt2", "own.pt"]


def test_parts_and_sizes_reach_the_program(run, tmp_path):
    outcome = run("export", "ebks", "--part", "encode", "--size", "128", "160", "-o", tmp_path / "out.pt2")
    assert outcome.status == 0, outcome
    assert "output code: float32 [1, 128, 1, 2]" in outcome.out and "any" not in outcome.out and "ebks-mixed" in outcome.out


@pytest.mark.parametrize("arguments, naming", [
    (["none"], ["MODEL: none", "ebks, ldr, ltd, simap, svbr, svmap", "svbr-synthetic"]),
    (["ldr"], ["export ldr", "--weights"]), (["ltd", "--weights", "none.pt"], ["--weights: none.pt", "ltd-17"]),
    (["ltd-17", "--weights", "own.pt"], ["--weights: only beside one of ebks,", "got ltd-17"]),
    (["svbr", "--weights", "own.pt"], ["--weights: own.pt: holds weights of LearningToDeblur, expected SVBRNet"]),
    (["photo.pt"], ["photo.pt", "not a readable weight file"]), (["svmap"], ["--size: expected (height, width) for SVMAP"]),
    (["ltd", "--size", "20", "20"], ["--size: expected an integer >= 34, got 20"]),
    (["ltd", "--kernel-size", "5"], ["--kernel-size: expected None for LearningToDeblur"]),
    (["ebks", "--part", "all"], ["--part: expected 'transfer' or 'encode' or 'blur' for BlurKernelSpace, got 'all'"]),
    (["svbr", "--size", "20"], ["--size"])])
def test_mistakes_are_one_line_that_names_the_option(refused, tmp_path, weights, monkeypatch, arguments, naming):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.pt").write_bytes(b"no weights")
    refused("export", *arguments, "-o", "out.pt2", naming=naming)
    assert not (tmp_path / "out.pt2").exists()


@pytest.mark.parametrize("output, naming", [("out.pt", "expected a name that ends in .pt2"), ("none/out.pt2", "the folder does not exist"),
                                            ("folder.pt2", "it is a folder")])
def test_outputs_that_cannot_be(refused, tmp_path, weights, output, naming):
    (tmp_path / "folder.pt2").mkdir()
    refused("export", weights, "-o", tmp_path / output, naming=[output, naming])


def test_the_weights_are_not_overwritten(refused, tmp_path):
    path = tmp_path / "weights.pt2"
    SVBRNet().save(path)
    before = path.read_bytes()
    refused("export", path, "-o", path, naming="-o: ")
    assert path.read_bytes() == before


def test_without_a_compiler(refused, tmp_path, weights):
    with torch._inductor.config.patch({"cpp.cxx": "/no/such/compiler"}):
        refused("export", weights, "--aot", "-o", tmp_path / "out.pt2", naming="--aot: expected a C++ compiler")
    assert os.listdir(tmp_path) == ["own.pt"]


def test_a_program_that_differs_is_an_internal_error(run, tmp_path, weights, monkeypatch):
    monkeypatch.setattr(sys.modules["svconv.models.export.export"], "compared", lambda *_: (1e-3, 1e-5))
    outcome = run("export", weights, "-o", tmp_path / "out.pt2")
    assert outcome.status == 1 and "differs from the model by 0.001" in outcome.err and os.listdir(tmp_path) == ["own.pt"]
