"""bench/svmap_quality.py: scenes, names of rows, choice of strengths, tables and what they conclude."""
import os
from pathlib import Path

import pytest
import torch

from bench import svmap_captured, svmap_methods, svmap_quality, svmap_scenes, svmap_tiles
from bench.eff_quality import Record
from svconv.models import SIMAP, SVMAP
from svconv.models.svmap import tiles

pytestmark = pytest.mark.usefixtures("one_thread")
DATA = Path(os.environ.get("SVCONV_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(not (DATA / "images").is_dir(), reason="the development data (SVCONV_DATA) is not here")


def scene(name="a", seed=0):
    generator = torch.Generator().manual_seed(seed)
    sharp = torch.nn.functional.interpolate(torch.rand(1, 3, 9, 9, generator=generator), size=48, mode="bilinear")
    kernel = torch.full((1, 1, 3, 3), 1 / 9)
    return svmap_scenes.Scene(name, sharp, sharp + 0.01 * torch.randn(sharp.shape, generator=generator), kernel)


# scenes ---------------------------------------------------------------------------------------------------------------

def test_nothing_is_used_twice():
    assert not set(svmap_scenes.REPORTED) & set(svmap_scenes.CHOSEN)
    assert len(svmap_scenes.SYNTHETIC) == len(svmap_scenes.REPORTED) and len(svmap_scenes.CHOSEN) == len(svmap_scenes.FOR_CHOOSING)
    assert not any("usrnet12" in name for name in (*svmap_scenes.MEASURED, *svmap_scenes.SYNTHETIC))


@needs_data
@pytest.mark.parametrize("case", svmap_scenes.CASES)
def test_scenes(case):
    name = svmap_scenes.SYNTHETIC[3]
    first, again = (svmap_scenes.scene(DATA, svmap_scenes.REPORTED[0], name, 5, case) for _ in range(2))
    assert torch.equal(first.blurred, again.blurred) and first.blurred.shape == first.sharp.shape == (1, 3, 192, 192)
    assert float(first.kernel.sum()) == pytest.approx(1) and max(first.kernel.shape) <= svmap_scenes.WIDEST
    assert 0 <= float(first.sharp.min()) and float(first.sharp.max()) <= 1
    if case == "saturated":
        assert float((first.blurred == 1).float().mean()) > 0.001 and float((first.sharp == 1).float().mean()) > 0.001
    assert 10 < svmap_scenes.scores(first.blurred, first.sharp)[0] < 35


@needs_data
def test_the_kernels_have_the_sides_of_the_paper():
    sides = [max(svmap_scenes.kernel(DATA, name).shape) for name in (*svmap_scenes.MEASURED, *svmap_scenes.SYNTHETIC)]
    assert 13 <= min(sides) and max(sides) <= 35


def test_light_comes_in_from_outside(monkeypatch):
    """The blurred image at the border is that of the larger photograph."""
    wide = torch.rand(1, 3, 192 + 40, 192 + 40, generator=torch.Generator().manual_seed(0))
    kernel = torch.zeros(1, 1, 1, 9)
    kernel[..., 0] = 1
    monkeypatch.setattr(svmap_scenes, "photograph", lambda data, name, margin: wide)
    monkeypatch.setattr(svmap_scenes, "kernel", lambda data, name: kernel)
    monkeypatch.setitem(svmap_scenes.CASES, "1 % noise", dict(gaussian=0.0))
    found = svmap_scenes.scene(None, "a", "k", 0)
    shifted = [wide[..., 20:212, 20 + shift:212 + shift] for shift in (4, -4)]
    assert any(torch.allclose(found.blurred, t, atol=1e-5) for t in shifted) and torch.equal(found.sharp, wide[..., 20:212, 20:212])


# methods --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("model, expected", [
    (SVMAP(width=4), "SVMAP, T = 2"), (SVMAP(1, width=4), "SVMAP, T = 1"), (SVMAP(share=True, width=4), "SVMAP_share"),
    (SVMAP(3, share=True, width=4), "SVMAP_share, T = 3"), (SIMAP(width=4), "SIMAP (3, 5)"), (SIMAP(2, 9, 15, width=4), "SIMAP (9, 15)"),
    (SVMAP(data_filters=0, width=4), "l2 data term, learned prior"),
])
def test_rows_are_named_by_the_configuration(tmp_path, model, expected):
    assert svmap_methods.label(model) == expected
    model.save(tmp_path / "w.pt")
    loaded, steps = svmap_methods.loaded(f"{tmp_path / 'w.pt'}@250")
    assert svmap_methods.label(loaded) == expected and steps == 250 and svmap_methods.mark(loaded) == svmap_methods.mark(model)
    assert svmap_methods.loaded(str(tmp_path / "w.pt"))[1] is None


def test_weights_that_are_not_there_are_left_out_with_a_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("svconv.models.pretrained.FOLDER", tmp_path)
    assert svmap_quality.networks_of([]) == ({}, {})
    assert "left out: gaussian1: name: no weights 'gaussian1'" in capsys.readouterr().out
    SVMAP(width=4).save(tmp_path / "svmap-gaussian1.pt")
    SIMAP(width=4).save(tmp_path / "simap-gaussian1.pt")
    networks, steps = svmap_quality.networks_of(["gaussian1@7", "simap-gaussian1"])
    assert list(networks) == ["SIMAP (3, 5)", "SVMAP, T = 2"] and steps == {"SVMAP, T = 2": 7, "SIMAP (3, 5)": None}
    networks, steps = svmap_quality.networks_of(["gaussian1", "gaussian1@7"])
    assert list(networks) == ["SVMAP, T = 2", "SVMAP, T = 2, 7 steps"] and list(steps.values()) == [None, 7]


def test_strengths_are_those_with_the_best_mean_and_every_score_is_kept(monkeypatch):
    asked = []

    def solved(s, strength, count=0):
        asked.append((s.name, strength, count))
        return s.sharp + abs(strength - {0: 2000, 1: 0.002, 50: 0.001}[count]) * 10 ** (0 if count else -4) + 0.001

    monkeypatch.setattr(svmap_methods, "hyper", solved)
    monkeypatch.setattr(svmap_methods, "levin", solved)
    def scenes(case, chosen, both):
        return [scene("b"), scene("c", 1)] if chosen else [scene("d", 2)]

    run = svmap_quality.Run(Record(None, {}), {}, scenes)
    found, chosen = run.rows("1 % noise", (1, 50), {})
    assert chosen == {"hyper": 2000, 1: 0.002, 50: 0.001} and list(found) == ["blurred", "hyper-Laplacian", "Levin, 1 re-weighting",
                                                                             "Levin, 50 re-weightings"]
    count = len(asked)
    run.rows("1 % noise", (1, 50), {})
    assert len(asked) == count and ("d", 0.002, 1) in asked and ("d", 0.004, 1) not in asked


# tables ---------------------------------------------------------------------------------------------------------------

def found(**psnr):
    names = {"blurred": "blurred", "hyper": "hyper-Laplacian", "levin": "Levin, 3 re-weightings", "simap": "SIMAP (3, 5)",
             "share": "SVMAP_share", "one": "SVMAP, T = 1", "two": "SVMAP, T = 2", "three": "SVMAP, T = 3"}
    return {names[name]: [[value - 1, 0.8], [value + 1, 0.9]] for name, value in psnr.items()}


def test_the_first_table():
    results = found(blurred=22, hyper=29, levin=30, one=30.2, two=30.5)
    table = svmap_quality.main_table(results, {"SVMAP, T = 2": 1200, "SVMAP, T = 1": None})
    assert "| SVMAP, T = 2 | 1,200 steps | 30.50 | 0.8500 |" in table and "| SVMAP, T = 1 | steps not known | 30.20 |" in table
    assert "| blurred |  | 22.00 | 0.8500 |" in table


def test_what_is_missed_is_said():
    good = svmap_quality.wishes(found(hyper=29, levin=30, simap=29, share=30.2, one=30.2, two=30.5, three=30.6))
    assert "(Levin, 3 re-weightings): +0.50 dB, ahead in 2 of 2 scenes" in good and "missed" not in good and good.count("as there") == 2
    bad = svmap_quality.wishes(found(hyper=30.6, levin=30, simap=31, two=30.5, three=30.4))
    assert "(hyper-Laplacian): -0.10 dB, ahead in 0 of 2 scenes; wanted above 0, **missed**" in bad and bad.count("not so here") == 2
    assert "left out: SVMAP_share; SVMAP, T = 1; l2 data term, learned prior" in bad


def test_the_table_of_degradations_has_empty_cells_where_nothing_is_known():
    table = svmap_quality.degradation_table({"a": (found(blurred=20, two=25), {}), "b": (found(blurred=21), {})})
    assert "| blurred | 20.00 / 0.8500 | 21.00 / 0.8500 |" in table and "| SVMAP, T = 2 | 25.00 / 0.8500 |  |" in table


def test_a_network_for_a_degradation_needs_its_name():
    with pytest.raises(SystemExit, match="--trained: expected one of 1 % noise, "):
        svmap_quality.trained_for(["rain=file.pt"])


# filters --------------------------------------------------------------------------------------------------------------

def test_areas_and_the_distances_of_filters():
    generator = torch.Generator().manual_seed(0)
    blurred = 0.4 + 0.0 * torch.rand(1, 3, 48, 48, generator=generator)
    blurred[..., 24:] += 0.2 * torch.rand(1, 3, 48, 24, generator=generator)
    blurred[..., :8, :] = 1
    kinds = svmap_captured.areas(scene()._replace(blurred=blurred))
    saturated, ordinary = kinds["saturated / ordinary"]
    flat, textured = kinds["flat / textured"]
    assert saturated[:8].all() and not saturated[8:].any() and not (saturated & ordinary).any()
    assert bool((flat[:, 28:].sum() == 0) & (textured[12:, :20].sum() == 0)) and int(flat.sum()) > 100 < int(textured.sum())
    filters = torch.randn(1, 3, 2, 3, 3, 48, 48, generator=generator)
    filters[..., :24] += 3
    left = torch.zeros(48, 48, dtype=torch.bool)
    left[:, :24] = True
    first, second, between = svmap_captured.distances(filters, left, ~left)
    assert between > 2 * max(first, second) and first == pytest.approx(second, rel=0.1)
    assert svmap_captured.distances(filters, left & False, ~left) is None


# tiles ----------------------------------------------------------------------------------------------------------------

def test_tiles_that_see_more_are_closer_to_one_pass():
    torch.manual_seed(0)
    model, usual = SVMAP(width=4, max_iter=25), tiles.HALO
    small = torch.rand(1, 3, 10, 20, generator=torch.Generator().manual_seed(0))
    y, kernel = torch.nn.functional.interpolate(small, scale_factor=10, mode="bilinear"), torch.full((1, 5, 5), 1 / 25)
    rows, change = svmap_tiles.measured(model, y, kernel, 100)
    assert tiles.HALO == usual and [row[0] for row in rows] == list(svmap_tiles.HALOS) and change > 0
    assert rows[0][2] > 3 * rows[-1][2] and rows[0][3] >= rows[0][2]
    assert "| 48 | " in svmap_tiles.section(rows, change, (100, 200), 100)
