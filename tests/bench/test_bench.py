"""The benchmark programs: registry, interleaving, judgement, tables, plan, rehearsal and smoke run. Nothing here asserts a time."""
import json
import os
import sys

import pytest
import torch

from programs import ROOT, run


@pytest.fixture(autouse=True)
def checkout_on_path(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])


# programs -----------------------------------------------------------------------------------------------------------

def test_smoke_run_agrees_with_the_baselines(tmp_path):
    text = run("bench/cpu.py", "--smoke", "--stem", "pixel_filter").stdout
    assert "smoke run, nothing written" in text and "in-place shift loop" in text and "peak memory" in text


# measuring ----------------------------------------------------------------------------------------------------------

def test_interleaving_alternates_and_caps_the_slow_one():
    from bench.measure import interleave
    order, cost = [], {"fast": 0.001, "slow": 10.0}

    def candidate(name):
        def call():
            order.append(name)
            return name
        return call

    def broken():
        raise RuntimeError("no such\nkernel")

    samples, failures = interleave({"fast": candidate("fast"), "broken": broken, "slow": candidate("slow")},
                                   lambda call: cost[call()], rounds=6, budget=24.0)
    assert order[2:8] == ["fast", "slow"] * 3 and order[8:] == ["fast"] * 3
    assert len(samples["fast"]) == 6 and len(samples["slow"]) == 3
    samples, _ = interleave({"fast": candidate("fast"), "slow": candidate("slow")}, lambda call: cost[call()], rounds=6, budget=4.0)
    assert len(samples["fast"]) == 6 and len(samples["slow"]) == 1
    assert failures == {"broken": "RuntimeError: no such kernel"}


def test_priming_calls_twice_and_times_the_second():
    from bench.measure import interleave
    cost = iter([50.0, 1.0] * 3)
    samples, _ = interleave({"a": lambda: None}, lambda call: next(cost), rounds=3, budget=1e3, prime=True)
    assert samples == {"a": [1.0] * 3}


def test_ratio_pairs_neighbours_in_time():
    from bench.measure import ratio
    drift = [1.0, 2.0, 4.0, 8.0]
    assert ratio([3 * t for t in drift], drift) == pytest.approx(3)


def test_peak_memory_sees_temporaries_and_results():
    code = ("import torch; from bench.measure import peak_extra_memory; x = torch.ones(16 << 20); "
            "print(peak_extra_memory(lambda: (x * 2).sum()), peak_extra_memory(lambda: x.sum()))")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with_temporary, without = map(int, run("-c", code, PYTHONPATH=path, MALLOC_MMAP_THRESHOLD_="65536").stdout.split())
    assert 60 << 20 < with_temporary < 90 << 20
    assert without < 16 << 20


def test_a_baseline_that_computes_something_else_is_refused():
    from bench import measure, record
    from bench.cases import Case
    case = Case("pixel_filter", "forward", "sum", lambda device: {"x": torch.arange(8.0)}, lambda v, backend=None: v["x"].sum,
                read=lambda v: 32, written=lambda v: 4, flops=lambda v: 8,
                peers={"right": lambda v: lambda: v["x"].mean() * 8, "wrong": lambda v: lambda: v["x"].mean()},
                targets=(("vs right", ">=", 0.0), ("vs wrong", ">=", 0.0)))
    entry = record.measure_case(case, "cpu", measure.CPUStopwatch(), measure.Ceilings("cpu", 1), rounds=2, budget=0.1)
    assert "computes something else" in entry["skipped"]["wrong"] and "vs right" in entry["metrics"]
    assert [target["met"] for target in entry["targets"]] == [True, False]
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry


def test_every_case_has_a_name_of_its_own_and_counts_its_bytes():
    from bench.cases import cases, find
    names = [case.name for smoke in (True, False) for device in ("cpu", "cuda") for case in cases(smoke=smoke, device=device)]
    assert len(set(names)) >= len(names) // 2 and all(find(name).name == name for name in set(names))
    case = next(case for case in cases(["pixel_filter"], smoke=True) if case.step == "forward")
    inputs = case.inputs("cpu")
    out = case.run(inputs, None)()
    assert case.read(inputs) == 4 * (inputs["x"].numel() + inputs["filters"].numel()) and case.written(inputs) == 4 * out.numel()
    assert case.flops(inputs) == 2 * inputs["filters"].numel()


def test_a_family_is_found_by_its_file(tmp_path, monkeypatch):
    from bench import cases
    (tmp_path / "double.py").write_text("""
from bench.cases import Case

def cases():
    yield Case("double", "forward", "8", lambda device: {}, lambda v, backend=None: None, read=None, written=None, flops=None, smoke=True)
""")
    assert list(cases.families()) == sorted(cases.families()) and {"pixel_filter", "quotient"} <= set(cases.families())
    monkeypatch.setattr(cases, "__path__", [*cases.__path__, str(tmp_path)])
    assert [case.name for case in cases.cases(["double"], smoke=True)] == ["double | forward | 8"]
    assert cases.find("double | forward | 8").stem == "double"
    monkeypatch.undo()
    with pytest.raises(ValueError, match="stem: expected one of .*, got 'doubl'"):
        cases.cases(["doubl"])


def test_an_unknown_stem_is_one_line():
    assert "stem: expected one of" in run("bench/cpu.py", "--smoke", "--stem", "nothing", expect=1).stderr


# tables -------------------------------------------------------------------------------------------------------------

def sample(kind):
    times = {"svconv": {"median": 0.0123, "q1": 0.012, "q3": 0.013, "min": 0.012, "runs": 9}}
    entry = {"name": "n", "stem": "pixel_filter", "step": "gram", "size": "7 x 7", "dtype": "float32", "backend": "cpu", "commit": "abc",
             "rates": {"read": 4e10, "copy": 5e10}, "times": times, "skipped": {"PyLops (numba)": "not installed"},
             "metrics": {"gigabytes per second": 31.4, "percent of read": 87.2, "percent of copy": 70.0, "percent of roofline": 65.0,
                         "vs shift loop": 0.8, "vs unfold": 14.04},
             "targets": [{"metric": "vs shift loop", "sign": ">=", "limit": 1, "value": 0.8, "met": False},
                         {"metric": "vs unfold", "sign": ">=", "limit": 3, "value": 14.04, "met": True}],
             "memory": {"inputs": 1 << 30, "results": 1 << 30, "peak_extra": 1 << 30, "ratio": 1.021}}
    return {
        "kind": kind,
        "torch": "2.13",
        "threads": 2,
        "triton": "3.6",
        "records": [entry],
        "ceilings": {"copy": 4.1e12},
        "cpu": {"name": "Some CPU", "family": "25", "model": "17", "cores": 2, "isa": "avx512f"},
        "gpu": {"name": "Some GPU", "driver": "1"},
        "tests": {"summary": "12 passed"},
        "steps": [{"name": "build", "error": "no compiler"}],
    }


def test_report_prints_wins_and_losses_and_keeps_targets_to_itself(tmp_path):
    from bench import report
    (tmp_path / "a.json").write_text(json.dumps(sample("cpu")))
    text = report.rewrite("a\n<!-- bench:cpu -->stale words<!-- /bench:cpu -->\nb\n<!-- bench:gpu -->\n<!-- /bench:gpu -->\nc\n", tmp_path)
    assert "stale words" not in text and text.startswith("a\n") and text.endswith("c\n")
    for words in ("12.3 ms", "87 %", "**shift loop 0.80x (slower)**", "unfold 14.0x", "PyLops (numba)", "1.021x", "Some CPU", "abc",
                  "python bench/cpu.py"):
        assert words in text
    assert "asked" not in text
    targets = run("bench/report.py", "--targets", "--results", tmp_path).stdout
    assert "vs shift loop 0.8, asked >= 1" in targets and "vs unfold 14" not in targets
    gpu = text[text.index("<!-- bench:gpu -->"):]
    assert "not measured" in gpu and "Some GPU" not in gpu
    assert report.rewrite(text, tmp_path) == text


def test_the_summary_has_the_headlines_alone(tmp_path):
    from bench import report
    data = sample("cpu")
    stem, step, size = report.HEADLINES[0]
    data["records"] += [{**data["records"][0], "stem": stem, "step": step, "size": size}]
    (tmp_path / "a.json").write_text(json.dumps(data))
    text = report.rewrite("<!-- bench:summary -->\n<!-- /bench:summary -->\n", tmp_path)
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 1 and rows[0].startswith(f"| {stem} {step} | {size} | 12.3 ms | ") and "**shift loop 0.80x (slower)**" in rows[0]
    assert "1.021x" in text and "asked" not in text


def test_report_prints_the_gpu_file(tmp_path):
    from bench import report
    (tmp_path / "g.json").write_text(json.dumps(sample("gpu")))
    text = report.section("gpu", tmp_path)
    for words in ("Some GPU", "4100 GB/s", "65 %", "12 passed", "build: no compiler", "float32"):
        assert words in text
    assert report.section("cpu", tmp_path).startswith("not measured")


def test_report_command_checks_and_writes(tmp_path):
    readme, page = tmp_path / "README.md", tmp_path / "speed.md"
    readme.write_text("<!-- bench:summary -->\n<!-- /bench:summary -->\n")
    page.write_text("<!-- bench:cpu -->\n<!-- /bench:cpu -->\n")
    command = ("bench/report.py", "--readme", readme, "--page", page, "--results", tmp_path, "--measured", tmp_path / "measured")
    run(*command, "--check", expect=1)
    run(*command)
    assert "not measured" in readme.read_text() and "not measured" in page.read_text()
    run(*command, "--check")
    readme.write_text("<!-- bench:cpu -->\n")
    assert "expected both" in run(*command, expect=2).stderr


def test_results_in_the_repository_can_be_tabulated():
    from bench import report
    for kind in ("cpu", "gpu", "summary"):
        assert report.section(kind)
    (data,) = report.load(report.RESULTS, "cpu")
    assert len(report.headlines(data)["records"]) == len(report.HEADLINES)
