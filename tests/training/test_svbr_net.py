"""Training of SVBR-Net: learns, resumes bit for bit after a kill, its plan, its maps, its command."""
import dataclasses

import pytest
import torch

from svconv.cli import main
from svconv.data import interpolated_map
from svconv.models import SVBRNet
from svconv.training.checkpoint import load_checkpoint
from svconv.training.loop import Trainer
from svconv.training.svbr_net import SVBRNetTask
from svconv.training.svbr_net_settings import SVBRSettings
from svconv.training.task import Task

SMALL = dict(size=20, map_size=40, batch=2, steps=(3, 2), validation_pairs=2, validation_size=24, validate_every=2, save_every=2)


def options(settings):
    return [text for name, value in settings.items()
            for text in (f"--{name.replace('_', '-')}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value))]


def trained(photographs, out, settings=None, **more):
    return Trainer(SVBRNetTask, photographs, out, settings, **more)


def same(a, b):
    a, b = a.task.model.state_dict(), b.task.model.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(photographs, tmp_path, stop):
    settings = SVBRSettings(**SMALL, noise=0.01, average=0.5)
    whole = trained(photographs, tmp_path / "a", settings)
    assert whole.run(progress=False)
    first = trained(photographs, tmp_path / "b", settings)
    assert not first.run(max_steps=stop, progress=False)
    first.one_step()        # work that a kill throws away
    torch.manual_seed(99)
    second = trained(photographs, tmp_path / "b", resume=tmp_path / "b" / "last.pt")
    assert second.step == stop and second.run(progress=False) and same(whole, second)
    assert all(torch.equal(whole.task.average.values[k], second.task.average.values[k]) for k in whole.task.average.values)
    scores = [[(r["step"], r["ssim_true"], r["psnr_interpolated"]) for r in run.log.read()[1:]] for run in (whole, second)]
    assert scores[0] == scores[1] and len(scores[0]) == 4


def test_a_killed_run_resumes_from_its_last_checkpoint(photographs, killed_and_whole):
    a, b = killed_and_whole("svbr", photographs, options({**SMALL, "steps": (6, 400)}), 3)
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_it_learns(photographs, tmp_path):
    trainer = trained(photographs, tmp_path / "o", SVBRSettings(**{**SMALL, "steps": (40, 2), "rate": 0.003, "validate_every": 10}))
    known = trainer.task.batch(0, 2)
    before = trainer.task.loss(*known)[1]
    assert not trainer.run(max_steps=39, progress=False)
    trainer.one_step()
    assert trainer.task.loss(*known)[1] < 0.9 * before
    records = trainer.log.read()
    assert {"ssim_blurred", "psnr_blurred", "map_error"} < records[0].keys() and records[0]["map_error"] > 0
    assert records[-1]["maps"] == "true" and {"ssim_true", "psnr_true", "ssim_interpolated", "psnr_interpolated"} < records[-1].keys()
    assert trainer.best == min(round(1 - r["ssim_true"], 6) for r in records[1:])
    loaded = SVBRNet.load(tmp_path / "o" / "best-true.pt")
    with torch.no_grad():
        best = trainer.task.validate(loaded)["ssim_true"]
    assert best == pytest.approx(1 - trainer.best, abs=1e-5)


def test_the_second_phase_takes_interpolated_maps_half_of_them_by_either_method(photographs, tmp_path):
    task = trained(photographs, tmp_path / "o", SVBRSettings(**{**SMALL, "batch": 3})).task
    blurry, sharp, true = task.batch(6, 3)         # 6, 7 and 8, which begins the next eight
    plan = task.settings.plan()
    assert [phase.maps for phase in plan] == ["true", "interpolated"]
    task.begin(plan[1])
    again, _, found = task.batch(6, 3)
    items = [task.pairs[i] for i in (6, 7, 8)]
    assert torch.equal(again, blurry) and torch.equal(true, torch.stack([item[2] for item in items]))
    for i, method in enumerate(("matting", "domain", "matting")):
        expected = interpolated_map(true[i:i + 1], blurry[i:i + 1], method=method)
        assert float((found[i:i + 1] != expected).float().mean()) < 0.02        # rounding moves few pixels to the next radius
    assert not torch.equal(found, true) and torch.equal(task.batch(0, 3)[2], task.batch(0, 3)[2])
    assert torch.equal(task.batch(6, 3)[2], found)


def test_with_true_maps_only_both_phases_see_the_same_pairs(photographs, tmp_path):
    """The run to compare with goes on from a checkpoint of the other one, for equal steps."""
    settings = SVBRSettings(**SMALL)
    first = trained(photographs, tmp_path / "both", settings)
    first.run(max_steps=3, progress=False)
    other = trained(photographs, tmp_path / "true", dataclasses.replace(settings, phases="true"), resume=tmp_path / "both" / "last.pt")
    assert same(first, other) and first.position == other.position == 6
    assert other.run(progress=False) and first.run(progress=False) and other.step == first.step == 5 and not same(first, other)
    assert other.task.maps == "true" and first.task.maps == "interpolated"
    assert (tmp_path / "true" / "best-true.pt").is_file() and (tmp_path / "both" / "best-interpolated.pt").is_file()


def test_the_plan_and_the_learning_rate():
    s = SVBRSettings()
    assert s.plan() == [("true", 87360, False), ("interpolated", 87360, False)]
    assert (s.batch, s.optimiser, s.rate, s.average) == (8, "adam", 1e-3, 0)
    epoch = 2730
    found = [s.rate_at(n // 32, n % 32 * epoch) for n in (0, 19, 20, 31, 32, 39, 40, 59, 60, 63)]
    assert found == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-4, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6])
    again = SVBRSettings(restart=True, drops=(3, 5), steps=(8, 8))
    for phase in (0, 1):
        assert [again.rate_at(phase, step) for step in range(8)] == pytest.approx(3 * [1e-3] + 2 * [1e-4] + 3 * [1e-5])
    other = SVBRSettings(phases="true", drops=(10,), steps=(8, 8))
    assert [phase.maps for phase in other.plan()] == ["true", "true"]
    assert [other.rate_at(1, step) for step in (0, 1, 2, 7)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])


def test_a_phase_that_changes_its_maps_on_the_way_starts_its_best_score_afresh(photographs, tmp_path):
    settings = SVBRSettings(**{**SMALL, "steps": (1, 4)}, phases="true")
    first = trained(photographs, tmp_path / "o", settings)
    first.run(max_steps=3, progress=False)
    first.best = 0.0
    first.save()
    second = trained(photographs, tmp_path / "o", dataclasses.replace(settings, phases="both"), resume=tmp_path / "o" / "last.pt")
    assert second.phase == 1 and second.phase_step == 2 and second.run(progress=False) and second.best > 0
    assert (tmp_path / "o" / "best-interpolated.pt").is_file()


def test_statistics_may_be_kept_in_the_second_phase(photographs, tmp_path):
    settings = SVBRSettings(**SMALL, frozen=True)
    first = trained(photographs, tmp_path / "o", settings)
    first.run(max_steps=3, progress=False)
    before = {name: t.clone() for name, t in first.task.model.state_dict().items()}
    first.one_step()
    second = trained(photographs, tmp_path / "o", resume=tmp_path / "o" / "last.pt")
    second.one_step()
    assert same(first, second) and settings.plan()[1].frozen and not settings.plan()[0].frozen
    after = second.task.model.state_dict()
    assert all(torch.equal(t, before[name]) for name, t in after.items() if "running" in name or "tracked" in name)
    assert not torch.equal(after["image_branch.out.weight"], before["image_branch.out.weight"])


def test_the_absolute_error_may_be_added(photographs, tmp_path):
    plain, added = (trained(photographs, tmp_path / f"{w}", SVBRSettings(**SMALL, absolute=w)).task for w in (0, 2))
    added.model.load_state_dict(plain.model.state_dict())
    blurry, sharp, radius = plain.batch(0, 2)
    (a, error), (b, also) = plain.loss(blurry, sharp, radius), added.loss(blurry, sharp, radius)
    image = plain.model(blurry, radius)
    expected = 2 * float((image - sharp).abs().mean().detach())
    assert error == also == pytest.approx(float(a.detach())) and float((b - a).detach()) == pytest.approx(expected, rel=1e-4)


def test_everything_that_is_computed_with_is_placed_on_the_device(photographs, tmp_path, monkeypatch):
    """float64 stands for another device: a tensor that was not placed would be float32, which the model refuses beside float64."""
    monkeypatch.setattr(Task, "place", lambda self, thing: thing.double())
    trainer = trained(photographs, tmp_path / "o", SVBRSettings(**SMALL))
    assert not trainer.run(max_steps=4, progress=False)
    again = trained(photographs, tmp_path / "o", resume=tmp_path / "o" / "last.pt")
    assert again.run(progress=False) and next(again.task.model.parameters()).dtype == torch.float64


def test_the_command_trains_and_resumes(photographs, tmp_path, capsys):
    base = ["train", "svbr", "--data", str(photographs), "--out", str(tmp_path / "o"), "--quiet"]
    assert main([*base, *options(SMALL), "--phases", "true", "--no-rounding", "--max-steps", "2"]) == 0
    assert "budget used at step 2" in capsys.readouterr().out
    assert main([*base, "--resume", str(tmp_path / "o" / "last.pt"), "--phases", "both"]) == 0
    assert "done at step 5" in capsys.readouterr().out
    stored = load_checkpoint(tmp_path / "o" / "last.pt", "svbr")
    assert stored["settings"]["rounding"] is False and stored["settings"]["phases"] == "both"
    assert isinstance(SVBRNet.load(tmp_path / "o" / "best-interpolated.pt"), SVBRNet)


@pytest.mark.parametrize("change, named", [
    (("--steps", "4"), "--steps: expected two numbers"), (("--steps", "4,4,4"), "--steps: "), (("--phases", "one"), "--phases: "),
    (("--drops", "-1"), "--drops: "), (("--size", "10"), "--size: "), (("--validation-size", "8"), "--validation-size: "),
    (("--size", "400"), "as large as a crop of 400"), (("--noise", "nan"), "--noise: "), (("--absolute", "-1"), "--absolute: "),
    (("--data", "nowhere"), "nowhere"), (("--resume", "none.pt"), "none.pt"),
])
def test_mistakes_are_status_2_and_one_line(photographs, tmp_path, capsys, change, named):
    settings = {"--data": str(photographs), "--out": str(tmp_path / "o")}
    call = [*(t for pair in settings.items() for t in pair), "--quiet", *options(SMALL), *change]
    status = main(["train", "svbr", *call])
    error = capsys.readouterr().err
    assert status == 2 and named in error and len(error.strip().splitlines()) == 1


def test_a_checkpoint_of_another_model_is_named(photographs, tmp_path, capsys):
    trained(photographs, tmp_path / "a", SVBRSettings(**SMALL)).run(max_steps=1, progress=False)
    command = ["train", "ltd", "--data", str(photographs), "--out", str(tmp_path / "b"), "--resume", str(tmp_path / "a" / "last.pt")]
    assert main(command) == 2
    assert "last.pt: checkpoint of kind 'svbr'" in capsys.readouterr().err


def test_every_setting_is_an_option(capsys):
    assert main(["train", "svbr", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(SVBRSettings):
        assert f"--{field.name.replace('_', '-')}" in text and field.metadata["help"] in text
