"""`svconv bench`: what it prints and writes; speed is no test."""
import ast
import importlib.util
import json
from pathlib import Path

import pytest

from svconv.cli import bench


def test_tiny_sizes(run, tmp_path):
    out = tmp_path / "found.json"
    outcome = run("bench", "--smoke", "--stem", "disk", "-o", out)
    assert outcome.status == 0 and "disk | forward" in outcome.out and "% of reading" in outcome.out and "x layered conv2d" in outcome.out
    data = json.loads(out.read_text())
    assert data["kind"] == "user" and data["records"] and all(entry["stem"] == "disk" for entry in data["records"])
    assert all(entry["times"]["svconv"]["median"] > 0 for entry in data["records"])


def test_what_has_no_time_left_is_named(run, monkeypatch):
    monkeypatch.setattr(bench, "SECONDS", 0.0)
    outcome = run("bench", "--smoke", "--stem", "disk")
    assert outcome.status == 0 and "disk | forward" in outcome.out and "not measured: out of time" in outcome.out


def test_losses_say_so():
    entry = {"name": "a case", "backend": "cpu", "times": {"svconv": {"median": 0.002}}, "skipped": {"third": "not installed"},
             "metrics": {"gigabytes per second": 1.0, "percent of read": 50.0, "vs first": 2.0, "vs second": 0.5}}
    assert list(bench.lines(entry)) == ["a case [cpu]: 2 ms, 1 GB/s, 50 % of reading", "      2.00x first",
                                        "      0.50x second   (svconv is slower)", "         -  third: not installed"]


def test_refusals(refused, tmp_path):
    refused("bench", "--stem", "nothing", naming=["--stem", "nothing", "pixel_filter"])
    refused("bench", "--smoke", "-o", tmp_path / "no" / "x.json", naming=["x.json", "folder does not exist"])


def test_an_installation_without_it(refused, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if "_bench" in name else find(name, *rest))
    refused("bench", naming="without its benchmark")


@pytest.mark.parametrize("part", ["", "cases", "peers"])
def test_what_is_installed_needs_nothing_beside_it(part):
    """The modules import each other relatively: in an installed package there is no folder bench/."""
    import svconv._bench

    setup = Path(__file__).resolve().parents[2] / "setup.py"
    installed = next(ast.literal_eval(node.value) for node in ast.parse(setup.read_text()).body
                     if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "BENCH")
    folder = Path(svconv._bench.__path__[0]) / part
    files = [path for path in folder.glob("*.py") if part or path.stem in installed]
    assert files
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""] if isinstance(
                node, ast.ImportFrom) and not node.level else []
            assert not any(name.split(".")[0] == "bench" for name in names), path
            if isinstance(node, ast.ImportFrom) and node.level and not part:
                assert {node.module or alias.name for alias in node.names} <= {*installed, "cases", "peers"}, path
