"""bench/blind_verdict.py and its cases: enough of every class, nothing shared with the calibration, the table, one case from end to end."""
import collections
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "bench" / "blind_verdict.py").is_file():
    pytest.skip("the benchmarks are not here", allow_module_level=True)


@pytest.fixture(scope="module")
def bench():
    sys.path.append(str(ROOT))
    try:
        from bench import blind_verdict
        return blind_verdict
    finally:
        sys.path.remove(str(ROOT))


def test_the_cases_that_check_are_enough_and_others_than_those_that_calibrate(bench, shared_data):
    cases = bench.verdict_cases.check(shared_data)
    counts = collections.Counter(case.truth for case in cases)
    assert len(cases) >= 40 and set(counts) == set(bench.CLASSES) and min(counts.values()) >= 8
    noises = {case.noise for case in cases}
    assert {0.0, 0.01, 0.02, 0.05} <= noises and all(case.sharp.shape == case.blurry.shape for case in cases)
    calibration = {path.stem for path in (shared_data / "train").rglob("*.jpg")}
    assert not {case.name for case in cases} & calibration
    assert all(0 <= float(case.blurry.min()) and float(case.blurry.max()) <= 1 for case in cases if not case.name.startswith("im0"))


@pytest.mark.parametrize("factor", [0.12, 0.31])
def test_a_kernel_made_smaller_keeps_its_shape(bench, factor):
    rows, columns = np.mgrid[:64, :64] - 31.5
    disk = ((rows**2 + columns**2) < 30**2).astype(np.float32)
    small = bench.verdict_cases.shrunk(disk, factor)
    assert small.shape[0] % 2 == 1 and float(small.sum()) == pytest.approx(1, abs=1e-5)
    assert torch.allclose(small, small.flip(0, 1), atol=1e-5)
    assert bench.verdict_cases.spread(small.numpy()) == pytest.approx(factor * bench.verdict_cases.spread(disk), rel=0.05)


def test_the_table(bench):
    from svconv.models.find_blur import BlurFinding
    from svconv.models.find_blur.verdict import Signs

    def row(truth, said, gain):
        finding = BlurFinding(said, torch.ones(1, 1), "none", 0.0, {}, False, Signs(0.01, (0, 0), 0.5, (2.0, 0.1)))
        return bench.verdict_cases.Case("a", truth, "", 0.0, torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1)), finding, gain

    text = bench.table([row("sharp", "sharp", 0.0), row("restored", "restored", 2.0), row("restored", "unsure", -1.0),
                        row("varying", "restored", -0.5)])
    assert "| restored | 2 | 50% | restored 1, unsure 1 | +2.0 | -1.0 |" in text and "| all | 4 | 50% |" in text
    assert text.endswith("yet called restored: 1 of 4.") and "noisy" not in text


def test_a_case_from_end_to_end(bench):
    from svconv.cli import demo

    maker = bench.verdict_cases.Maker(0)
    photograph = demo.photograph(200).plane(1)[0, 0]
    maker.add("coffee", "sharp", "", photograph, photograph, 0.01)
    finding, gain = bench.measured(maker.cases[0])
    assert finding.verdict == "sharp" and gain == 0 and "sharp" in bench.line(maker.cases[0], finding, gain)
    shifted = photograph[None, None].roll((3, -5), (2, 3))
    assert bench.psnr(shifted, photograph[None, None]) == pytest.approx(80, abs=1e-6) and not math.isnan(gain)
