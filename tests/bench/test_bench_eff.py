"""The eff benchmark: its baselines compute the same, deepinv is optional, memory is judged, transforms of patches are tabulated."""
import os
import pathlib
import subprocess
import sys

import pytest
import torch

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2]))
from bench import measure, record
from bench.cases import cases, eff

ROOT = measure.ROOT


def small(step):
    case, = (case for case in cases(["eff"], smoke=True) if case.step == step)
    return case


@pytest.mark.parametrize("step", [case.step for case in eff.cases() if case.smoke])
def test_the_plain_versions_compute_the_same(step):
    case = small(step)
    inputs = case.inputs("cpu")
    found = case.peers["torch.fft"](inputs)()
    assert record.deviation(found, record.sampled(case.run(inputs, "reference")())) < 1e-5


@pytest.mark.slow        # deepinv is a download of its own, which the other tests do not ask for
def test_deepinv_has_the_same_windows():
    pytest.importorskip("deepinv")
    for step in ("eff_conv", "eff_conv_adjoint", "eff_conv forward + backward"):
        case = small(step)
        inputs = case.inputs("cpu")
        assert record.deviation(case.peers["deepinv"](inputs)(), record.sampled(case.run(inputs, None)())) < 1e-5


def test_without_deepinv_there_is_a_reason(monkeypatch):
    for name in ("deepinv", "deepinv.physics"):
        monkeypatch.setitem(sys.modules, name, None)
    first = small("eff_conv")
    with pytest.raises(measure.Skip, match="deepinv: "):
        first.peers["deepinv"](first.inputs("cpu"))
    for case in (first, small("eff_image_quotient")):
        candidates, skipped, *_ = record.prepare(case, case.inputs("cpu"), "cpu")
        assert "torch.fft" in candidates and "patch FFTs" in candidates and set(skipped) <= {"deepinv", "deepinv's blur"}
        assert len(skipped) == 1 and next(iter(skipped.values())).startswith("deepinv: ")


def test_every_size_has_64_pixel_patches():
    for size in eff.FULL:
        assert size.grid.patch_size == (64, 64) and size.grid.col_starts == tuple(range(0, size.side - 63, 32))


def test_peers_that_take_minutes_are_left_out_at_the_largest_size():
    for case in cases(["eff"]):
        named = [*case.peers, *case.references, *(metric for metric, _, _ in case.targets)]
        assert any("deepinv" in name for name in named) == ("2048" not in case.size and case.step != "eff_kernel_quotient")
        assert bool(case.peers) == ("2048" not in case.size or "backward" not in case.step)


def test_memory_is_judged_with_the_other_metrics():
    case, = (case for case in cases(["eff"]) if case.step == "eff_conv" and "2048" in case.size)
    entry, megabyte = {"metrics": {"vs torch.fft": 3.0, "times patch FFTs": 1.0}}, 10**6
    record.add_memory(case, entry, {"inputs": 600 * megabyte, "results": 100 * megabyte, "peak_extra": 500 * megabyte})
    judged = {target["metric"]: target["met"] for target in entry["targets"]}
    spare = 400 * megabyte - torch.get_num_threads() * record.PER_THREAD
    assert judged == {"times patch FFTs": True, "peak gigabytes": False, "extra memory": False}
    assert entry["metrics"]["peak gigabytes"] == 1.1 and entry["metrics"]["extra memory"] == pytest.approx(spare / (700 * megabyte))
    record.add_memory(case, entry, {"error": "killed"})
    assert entry["memory"] == {"error": "killed"}


def test_the_smoke_run_of_the_transforms_writes_nothing():
    page = ROOT / "docs" / "ops" / "eff.md"
    before = page.read_text()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "bench/patch_fft.py", "--smoke"], cwd=ROOT, env=environment, capture_output=True, text=True,
                          timeout=120, check=False)
    if done.returncode and "bench/patch_fft.py: " in done.stderr:
        pytest.skip(done.stderr)        # no compiled module
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines()]
    assert [row[1].strip() for row in rows] == ["length", "---:", "64", "70"]
    assert all(float(row[6]) < 1e-13 for row in rows[2:]) and page.read_text() == before
