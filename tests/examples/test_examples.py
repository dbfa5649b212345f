"""examples/: the networks with svconv are the plain ones, outputs and gradients; every program runs."""
import importlib
import pathlib
import re
import runpy
import sys

import pytest
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples"
sys.path += [str(FOLDER), str(ROOT)]    # last: an installed svconv goes before the checkout
import side_by_side  # noqa: E402

from bench import examples  # noqa: E402

CASES = [(stem, name) for stem in side_by_side.NAMES for name in side_by_side.cases(importlib.import_module(stem))]
APPROXIMATE = "defocus_renderer, plain in 8 layers"
EXACT = [case for case in CASES if case[1] != APPROXIMATE]
# float32: outputs within 1e-5, gradients within 5e-4 of their largest value (sums over all pixels that nearly cancel, as those of a bias)
TOLERANCES = {torch.float64: (1e-8, 1e-8), torch.float32: (1e-5, 5e-4)}


def options_of(stem, name):
    example = importlib.import_module(stem)
    return example, side_by_side.cases(example)[name]


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("stem, name", EXACT)
@pytest.mark.parametrize("size", [(37, 45), (33, 50)], ids=str)
def test_both_networks_are_equal(stem, name, size, dtype):
    example, options = options_of(stem, name)
    found = side_by_side.differences(example, size, dtype, batch=2, **options)
    outputs, gradients = TOLERANCES[dtype]
    parameters = len(list(example.Plain(**options).parameters()))
    assert len(found) == 1 + parameters + len(example.inputs(size, 1, 2, **options))
    assert found.pop("output") < outputs and max(found.values()) < gradients, found


def test_layers_are_only_near():
    example, options = options_of("defocus_renderer", APPROXIMATE)
    assert 1e-3 < side_by_side.differences(example, (37, 45), torch.float64, **options)["output"] < 0.3


def test_layers_are_exact_at_their_own_radii():
    """So the layered version is what it says, not a strawman."""
    import defocus_renderer
    image = torch.rand(1, 3, 24, 31, dtype=torch.float64)
    for radius in (0.5, 1.0, 2.5, 4.0):
        uniform = torch.full((1, 1, 24, 31), radius, dtype=torch.float64)
        both = [defocus_renderer.Plain(layers).render(image, uniform) for layers in (8, None)]
        assert torch.allclose(*both, atol=1e-6)


@pytest.mark.parametrize("stem", side_by_side.NAMES)
def test_a_program_prints_equality_and_seconds(stem, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{stem}.py", "--size", "32", "--rounds", "1", "--no-memory"])
    runpy.run_path(str(FOLDER / f"{stem}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    count = len([case for case in CASES if case[0] == stem])
    assert len(re.findall(r"outputs differ by \S+ of the largest value, gradients by at most", printed)) == count
    assert len(re.findall(r"forward \+ backward: plain \S+ s, svconv \S+ s, \S+x", printed)) == count


def test_memory_is_measured_in_a_process_of_its_own():
    import burst_kpn
    plain, ours = (side_by_side.extra_memory(burst_kpn, (96, 96), which) for which in ("plain", "svconv"))
    assert plain > ours + (20 << 20) and ours > 0       # the patches alone are 21 MiB, their product with the head as much


def test_the_table_has_a_row_for_every_case(monkeypatch, capsys):
    monkeypatch.setattr(side_by_side, "extra_memory", lambda *arguments, **options: 3 << 20)
    examples.main(["--smoke"])
    printed = capsys.readouterr().out
    rows = re.findall(r"^\| (.+?) \| 40 x 40 \| \S+ \| \S+ \| \S+x \| 3 \| 3 \| \S+ \|$", printed, flags=re.MULTILINE)
    assert rows == [name for _, name in CASES] and "load average" in printed.lower()


def test_the_page_has_a_section_for_every_example():
    page = (ROOT / "docs" / "examples.md").read_text()
    found = re.findall(r"^## [^\n]+\n\n\[examples/(\w+)\.py\]\(\.\./examples/\1\.py\)", page, re.MULTILINE)
    assert tuple(found) == side_by_side.NAMES


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short(path):
    assert len(path.read_text().splitlines()) <= 150
