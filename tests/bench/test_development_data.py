"""bench/development_data.py: programs that miss their data say so in one line; bench/quality.py goes on with the package's photograph."""
import importlib
import re
import sys

import pytest
import torch

from programs import ROOT

sys.path.append(str(ROOT))
from bench import development_data, quality, solver_settings
from svconv import conv

CALL = re.compile(r'development_data\.folder\("bench/(\w+)\.py"')
PROGRAMS = sorted(name for path in (ROOT / "bench").glob("*.py") for name in CALL.findall(path.read_text()))


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SVCONV_DATA", str(tmp_path / "none"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_without_its_data_ends_with_one_line(program, nothing, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"bench/{program}.py"])
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(f"bench.{program}").main()
    said = capsys.readouterr()
    assert stop.value.code == 2 and said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith(f"bench/{program}.py: needs ") and "SVCONV_DATA" in said.err and development_data.LAYOUT in said.err


def test_no_program_has_a_way_of_its_own():
    assert {"blind", "blind_verdict", "blur_spaces", "defocus_quality", "eff_quality", "noise_strength", "svmap_quality"} <= set(PROGRAMS)
    own = [path.name for path in (ROOT / "bench").rglob("*.py") if re.search(r'environ.*"SVCONV_DATA"', path.read_text())]
    assert own == ["development_data.py"]


def test_the_page_describes_every_folder_that_is_asked_for():
    page = (ROOT / development_data.LAYOUT).read_text()
    asked = {name for path in (ROOT / "bench").glob("*.py") for line in path.read_text().splitlines()
             if "development_data." in line or line.startswith(("CAPTURED", "    needed ="))
             for name in re.findall(r'"((?:images|kernels|pairs|psf_grids|defocus|train)(?:/\w+)?)"', line)}
    assert {"images/kodak24", "pairs/levin09"} <= asked
    assert [name for name in asked if f"`{name}/" not in page] == []


def test_what_is_there_is_not_missed(tmp_path, monkeypatch):
    monkeypatch.setenv("SVCONV_DATA", str(tmp_path))
    (tmp_path / "kernels" / "levin09").mkdir(parents=True)
    (tmp_path / "kernels" / "levin09" / "k.npy").touch()
    (tmp_path / "images").mkdir()
    assert development_data.missing("kernels/levin09", "images") == ["images"]                # empty
    assert development_data.folder("p", "kernels") == tmp_path


def test_the_crops_are_blurred_by_their_kernels_and_noise():
    for (_, sharp, blurred, kernel), size in zip(development_data.photograph_crops(), (11, 15, 19, 25), strict=True):
        assert sharp.shape == blurred.shape == (1, 1, 224, 224) and kernel.shape[-1] == size
        rest = (blurred - conv(sharp, kernel))[..., 16:-16, 16:-16]
        assert 0.008 < float(rest.std()) < 0.012 and abs(float(rest.mean())) < 1e-3
    assert float(kernel.sum()) == pytest.approx(1)


@pytest.mark.parametrize("sweep", [None, "wiener"])
def test_quality_prints_its_tables_of_the_photograph_and_writes_nothing(sweep, nothing, monkeypatch, capsys, tmp_path):
    page = tmp_path / "quality.md"
    monkeypatch.setattr(quality, "METHODS", {name: quality.METHODS[name] for name in ("blurred input", "hyper_laplacian, defaults")})
    monkeypatch.setitem(solver_settings.GRIDS, "wiener", ("beta", (0.01, 0.02), lambda op, y, v: y + v))
    monkeypatch.setattr(sys, "argv", ["bench/quality.py", "--output", str(page), *(["--sweep", sweep] if sweep else [])])
    torch.manual_seed(0)
    quality.main()
    said = capsys.readouterr().out
    assert not page.exists() and "CC0" in said and "Nothing was written" in said and "pairs/levin09/" in said
    if sweep:
        assert "first half: crops | mean | other half: crops | mean" in said and "chosen on the first half: `beta=0.01`" in said
        assert len({line.count("|") for line in said.splitlines() if line.startswith("|")}) == 1
    else:
        rows = [line for line in said.splitlines() if line.startswith("| ")]
        assert rows[2].startswith("| hyper_laplacian, defaults") and rows[3].startswith("| blurred input")
