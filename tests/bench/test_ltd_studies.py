"""bench/models/ltd_studies.py: equal budgets, trainings that are kept, pages of whole and of missing numbers, one smoke run."""
import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[2]))
from bench.eff_quality import OtherRun, Record
from bench.models import ltd_estimates, ltd_page, ltd_studies
from bench.models.ltd_trainings import COMMON, Workshop, nets, sorted_photographs
from svconv.models import LearningToDeblur

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = {**COMMON, "kernel_sizes": (5,), "smallest": 3, "batch": 2, "size": 24, "filter_size": 3, "warmup": 1, "frozen_steps": 1,
        "validation_pairs": 2, "validation_size": 32}


@pytest.fixture
def workshop(tmp_path):
    for i in range(7):
        ltd_studies.made_up_photograph(tmp_path / "photographs" / f"{i}.png", torch.Generator().manual_seed(i))
    folders = sorted_photographs(tmp_path / "photographs", tmp_path / "links", set("123456"))
    return Workshop(tmp_path, folders, 4, common=TINY, say=lambda text: None)


def test_nets_of_a_study_have_equal_steps_with_the_frozen_ones():
    found = nets(300)
    for net in found.values():
        assert sum(phase.steps for phase in net.settings(COMMON, 0).plan()) == net.steps
    assert {found[f"{n} stages"].steps for n in (1, 2, 3)} == {600}
    assert [phase.steps for phase in found["3 stages"].settings(COMMON, 0).plan()] == [186, 20, 186, 20, 188]
    assert {name for rows in ltd_studies.NETS.values() for name in rows.values() if name} == set(found)


def test_tested_buildings_are_in_no_training(workshop):
    names = {kind: sorted(path.name for path in folder.iterdir()) for kind, folder in workshop.folders.kinds.items()}
    assert [path.name for path in workshop.folders.tested] == ["5.png"]
    assert names == {"all": [f"{i}.png" for i in (0, 1, 2, 3, 4, 6)], "buildings": [f"{i}.png" for i in (1, 2, 3, 4, 6)]}


def test_a_training_is_done_once_and_refused_with_other_settings(workshop):
    said = []
    workshop.say = said.append
    first, again = (workshop.trained("8 filters, 0 hidden").averaged_model() for _ in range(2))
    assert len(said) == 1 and all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters()))
    assert workshop.expected_seconds(["8 filters, 0 hidden"]) == 0 < workshop.expected_seconds(["16 filters, 0 hidden"])
    workshop.nets = nets(6)
    with pytest.raises(OtherRun, match="--out"):
        workshop.trained("8 filters, 0 hidden")


def test_nets_go_on_from_another_one_with_all_stages(workshop):
    trainer = workshop.trained("buildings")
    former = LearningToDeblur.load(workshop.weights("3 stages"))
    assert trainer.step == 2 and trainer.task.model.arguments["stages"] == former.arguments["stages"] == 3
    shift = max(float((a - b).detach().abs().max()) for a, b in zip(trainer.task.model.parameters(), former.parameters()))
    assert 0 < shift < 0.05 and workshop.weights("buildings").parent.name == "buildings"


def test_what_other_weights_made_is_measured_again(workshop, tmp_path):
    record = Record(tmp_path / "record.json", {"steps": 4, "seed": 0})
    studies = ltd_studies.Studies(record, workshop, LearningToDeblur((5,), 1, 3), ([], []))
    assert [studies.score("crops", lambda: {"n": n}, True)["n"] for n in (1, 2)] == [1, 1]
    studies.mark = "another"
    assert studies.score("crops", lambda: {"n": 3}, True) == {"n": 3, "weights": "another"}
    assert json.loads((tmp_path / "record.json").read_text())["scores"]["crops"]["n"] == 3


def test_larger_crops_are_those_around_the_smaller_ones():
    image = torch.rand(80, 90, generator=torch.Generator().manual_seed(0))
    found = ltd_estimates.crop_errors(LearningToDeblur((5,), 1, 3).eval(), [image], (24, 48), 2)
    assert list(found) == ["24", "48"] and all(score["pairs"] == 2 and score["error"] > 0 for score in found.values())
    window, kernel = ltd_estimates.blurred_window(image, 5, 48, 24, 0.0, torch.Generator().manual_seed(1))
    assert window.shape == (1, 1, 48, 48) and kernel.sum() == pytest.approx(1)


def test_the_page_says_what_is_not_measured(tmp_path):
    scores = {"stages | 1": {"steps": 600, "parameters": 3744, "seconds": 87, "error": [0.0361], "relative": [0.81]},
              "stages | 3": {"steps": 600, "parameters": 16546, "seconds": 170, "error": [0.04, 0.03, 0.02], "relative": [1, 0.9, 0.75]},
              "sizes | 17": {**dict.fromkeys(ltd_estimates.METHODS, [1.0, 2.0, 6.0]), "weights": "abc"}}
    page = tmp_path / "page.md"
    page.write_text("# Page\n\nbefore\n\n<!-- bench:ltd_studies -->\n<!-- /bench:ltd_studies -->\n\n## Limits\n")
    ltd_page.write(page, scores, 7)
    text = page.read_text()
    assert text.startswith("# Page\n\nbefore\n") and text.endswith("\n\n## Limits\n") and ", seed 7." in text
    assert "| 1 | 600 | 3,744 | 87 | 0.0361 | 0.810 |" in text and "| 0.0400, 0.0300, 0.0200 | 0.750 |" in text
    assert "| 2 | not measured |  |  |  |  |" in text and "| 512 x 512 | not measured |" in text
    assert "| 17 pixels | 2.00 | 3.00 |" in text and "| 33 pixels | not measured |" in text
    assert max(map(len, (line for line in text.splitlines() if not line.startswith("|")))) <= 140


def test_the_smoke_run_fills_every_table():
    text = ltd_studies.smoke(say=lambda line: None)
    assert ltd_page.LOST not in text and text.count("| --- |") == 7
    assert "Last row minus the one before" in text and "| 4 |" in text and "| 8 |" in text and "| 8 + 2 |" in text
