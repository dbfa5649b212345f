"""bench/choices.py: the tables by which svconv chooses between cuda and triton, from result files."""
import json

import pytest
import torch

from bench import choices, gpu_backends, record
from svconv import backends, ops
from svconv.backends import measured

CALL = {"op": "pixel_filter_gram", "dtype": "float32", "elements": 1 << 20, "kernel": 49}


def entry(backend, seconds, name="gram", calls=(CALL,), passed=True, **more):
    times = {"svconv": {"median": seconds}}
    return {"name": name, "backend": backend, "calls": list(calls), "verified": {"passed": passed}, "times": times} | more


def result(*records):
    return {"kind": "gpu", "gpu": {"name": "Made Up GPU 9000"}, "commit": "0123456789ab", "records": list(records)}


@pytest.fixture
def folders(tmp_path):
    for name in ("results", "measured"):
        (tmp_path / name).mkdir()
    return tmp_path / "results", tmp_path / "measured"


def test_a_case_of_both_backends_is_a_row():
    found = list(choices.rows(result(entry("triton", 2.0), entry("cuda", 1.0), entry("triton", 5.0, "other"))))
    assert found == [CALL | {"seconds": {"cuda": 1.0, "triton": 2.0}}]


@pytest.mark.parametrize("change", [
    {"passed": False}, {"passed": None}, {"variant": "512 lanes"}, {"calls": ()}, {"backend": "cuda + triton"},
    {"calls": (CALL, CALL | {"op": "pixel_filter_fwd"})}, {"calls": (CALL | {"kernel": 25},)}], ids=str)
def test_what_is_wrong_or_cannot_be_told_apart_is_no_row(change):
    change = dict(change)
    assert not list(choices.rows(result(entry("triton", 2.0), entry(change.pop("backend", "cuda"), 1.0, **change))))


def test_files_are_written_and_taken_away(folders, monkeypatch):
    results, kept = folders
    path = results / "made-up-gpu-9000.json"
    path.write_text(json.dumps(result(entry("triton", 2.0), entry("cuda", 1.0))))
    (results / "cpu.json").write_text(json.dumps({"kind": "cpu", "records": []}))
    assert choices.outdated(results, kept) == choices.write(results, kept) == ["made-up-gpu-9000.json"]
    assert not choices.outdated(results, kept)
    monkeypatch.setattr(measured, "FOLDER", kept)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Made Up GPU 9000")
    measured.table.cache_clear()
    x, filters = torch.empty(1, 1, 1024, 1024, device="meta"), torch.empty(1, 1, 5, 7, 7, 1024, 1024, device="meta")
    assert measured.why_not_cuda("pixel_filter_gram", x, filters, None, "zeros") is None
    measured.table.cache_clear()
    path.unlink()
    assert choices.write(results, kept) == ["made-up-gpu-9000.json"] and not list(kept.iterdir())


def test_what_ships_is_what_was_measured():
    assert not choices.outdated(choices.FOLDER.parents[2] / "bench" / "results")


def test_calls_are_noted():
    with record.used_backends() as used:
        for _ in range(2):
            ops.pixel_filter(torch.ones(1, 1, 4, 5), torch.ones(1, 3, 3, 4, 5))
    assert used and used.calls == [{"op": "pixel_filter_fwd", "dtype": "float32", "elements": 20, "kernel": 9}]
    assert set(used) <= set(backends.NAMES)


def test_every_op_has_kernels_for_gpus_or_a_reason(monkeypatch):
    """The page is what the program writes; an op without kernel and reason is refused."""
    section = gpu_backends.section()
    assert section in gpu_backends.PAGE.read_text()
    monkeypatch.setattr(gpu_backends, "served", lambda backend, stem, op: op != "disk_blur_fwd")
    with pytest.raises(ValueError, match="disk_blur_fwd: no triton kernel, and no reason"):
        gpu_backends.rows()
