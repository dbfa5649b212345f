"""Staged training: learns, resumes bit for bit after a kill, freezes, obeys budgets and interrupts."""
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

import svconv
from svconv.models import LearningToDeblur
from svconv.training.activation import activation_maximisation
from svconv.training.checkpoint import load_checkpoint, save_checkpoint
from svconv.training.learning_to_deblur import LearningToDeblurTask, LtDSettings, kernel_error
from svconv.training.loop import Trainer
from svconv.training.task import make_optimiser


def trained(photographs, out, settings=None, **more):
    return Trainer(LearningToDeblurTask, photographs, out, settings, **more)


def weights(trainer):
    return [p.detach().clone() for p in trainer.task.model.parameters()]


def same(a, b):
    return len(a) == len(b) and all(torch.equal(p, q) for p, q in zip(a, b))


@pytest.mark.parametrize("optimiser", ["soap", "adam", "adadelta"])
@pytest.mark.parametrize("stop", [3, 5, 8])
def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(photographs, tiny, tmp_path, optimiser, stop):
    settings = LtDSettings(**tiny, optimiser=optimiser)
    whole = trained(photographs, tmp_path / "a", settings)
    assert whole.run(progress=False)
    first = trained(photographs, tmp_path / "b", settings)
    assert not first.run(max_steps=stop, progress=False)
    first.one_step()  # work that a kill throws away
    torch.manual_seed(99)
    second = trained(photographs, tmp_path / "b", resume=tmp_path / "b" / "last.pt")
    assert second.step == stop and second.run(progress=False)
    assert same(weights(whole), weights(second))
    assert all(torch.equal(whole.task.average.values[k], second.task.average.values[k]) for k in whole.task.average.values)
    logs = [[{k: v for k, v in r.items() if k not in ("cpu_seconds", "train_error")} for r in t.log.read()] for t in (whole, second)]
    assert logs[0] == logs[1]


def train_in_child(photographs, out, settings=None, **run):
    """A training run in a fresh process, resumed from `out` without settings; equal processes give equal bits, this one has run other
    tests."""
    start = f"S(**{settings!r})" if settings else f"resume={str(out / 'last.pt')!r}"
    script = (
        "from svconv.training.loop import Trainer\n"
        "from svconv.training.learning_to_deblur import LearningToDeblurTask as T, LtDSettings as S\n"
        f"Trainer(T, {str(photographs)!r}, {str(out)!r}, {start}).run(progress=False, **{run!r})"
    )
    environment = dict(
        os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(svconv.__file__)), OMP_NUM_THREADS="1"
    )  # fixed: torch's sums depend on it
    return subprocess.Popen([sys.executable, "-c", script], env=environment)


def test_a_killed_process_resumes(photographs, tiny, tmp_path):
    settings = dict(tiny, steps=(4000,))
    process = train_in_child(photographs, tmp_path / "k", settings)
    try:
        last, deadline = tmp_path / "k" / "last.pt", time.monotonic() + 90
        while not last.exists() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.3)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    killed = trained(photographs, tmp_path / "k", resume=last)
    stopped = killed.step
    assert stopped >= 2 and stopped % 2 == 0 and all(r["step"] <= stopped for r in killed.log.read())
    assert train_in_child(photographs, tmp_path / "k", max_steps=2).wait(120) == 0
    assert train_in_child(photographs, tmp_path / "s", settings, max_steps=stopped + 2).wait(120) == 0
    resumed, straight = (trained(photographs, tmp_path / name, resume=tmp_path / name / "last.pt") for name in "ks")
    assert resumed.step == straight.step == stopped + 2
    assert same(weights(resumed), weights(straight))


def test_training_lowers_the_error(photographs, tiny, tmp_path):
    trainer = trained(photographs, tmp_path / "o", LtDSettings(**dict(tiny, steps=(60,), batch=8, size=32, validate_every=10, rate=0.01)))
    trainer.run(progress=False)
    first = trainer.log.read()[0]
    assert first["error_of_delta"] > first["error_of_mean_kernel"] > 0 and first["settings"]["batch"] == 8
    errors = [r["error"][-1] for r in trainer.log.read()[1:]]
    assert errors[-1] < 0.5 * errors[0]
    best = LearningToDeblur.load(tmp_path / "o" / "best-1.pt")
    assert best.arguments["stages"] == 1 and best.kernel_sizes == (5,)


def test_old_stages_are_frozen_after_a_stage_was_added(photographs, tiny, tmp_path):
    trainer = trained(photographs, tmp_path / "o", LtDSettings(**tiny))
    trainer.run(max_steps=4, progress=False)
    trainer.run(max_steps=1, progress=False)
    assert trainer.phase == 1 and trainer.task.model.arguments["stages"] == 2
    old = [p.detach().clone() for p in trainer.task.model.scales[0]["stages"][0].parameters()]
    new = [p.detach().clone() for p in trainer.task.model.scales[0]["stages"][1].parameters()]
    beta = trainer.task.model.scales[0]["log_beta"][0].item()
    trainer.run(max_steps=1, progress=False)
    assert same(old, list(trainer.task.model.scales[0]["stages"][0].parameters()))
    assert (
        not same(new, list(trainer.task.model.scales[0]["stages"][1].parameters()))
        and trainer.task.model.scales[0]["log_beta"][0].item() != beta
    )
    trainer.run(progress=False)
    assert trainer.phase == 3 and not same(old, list(trainer.task.model.scales[0]["stages"][0].parameters()))
    assert trainer.log.read()[-1]["stages"] == 2


def test_a_scale_is_added_with_the_old_one_frozen(photographs, tiny, tmp_path):
    settings = LtDSettings(**dict(tiny, kernel_sizes=(5, 7), steps=(1, 1, 2), frozen_steps=1))
    assert settings.plan() == [(1, 1, False, 1), (1, 2, True, 1), (1, 2, False, 1), (2, 2, True, 1), (2, 2, False, 2)]
    trainer = trained(photographs, tmp_path / "o", settings)
    trainer.run(max_steps=2, progress=False)
    model = trainer.task.model
    assert model.kernel_sizes == (5,) and trainer.task.batch(0, 1)[1].shape == (1, 5, 5)
    trainer.run(max_steps=1, progress=False)  # and begins the next phase
    assert model.kernel_sizes == (5, 7) and trainer.task.batch(0, 1)[1].shape == (1, 7, 7)
    frozen = {name: p.requires_grad for name, p in model.named_parameters()}
    assert all(learns == (name.startswith("scales.1") or name == "scales.0.log_beta.1") for name, learns in frozen.items())
    old = weights(trainer)[:3]
    assert trainer.run(progress=False) and not any(torch.equal(a, b) for a, b in zip(old, weights(trainer)))
    last = trainer.log.read()[-1]
    assert last["scales"] == 2 and len(last["error"]) == 2 and LearningToDeblur.load(tmp_path / "o" / "best-2-7.pt").kernel_sizes == (5, 7)


@pytest.mark.parametrize("stop", [3, 4, 5])
def test_a_run_that_adds_a_scale_resumes_bit_for_bit(photographs, tiny, tmp_path, stop):
    settings = LtDSettings(**dict(tiny, kernel_sizes=(5, 7), steps=(1, 1, 2), frozen_steps=1))
    whole = trained(photographs, tmp_path / "a", settings)
    assert whole.run(progress=False)
    assert not trained(photographs, tmp_path / "b", settings).run(max_steps=stop, progress=False)
    second = trained(photographs, tmp_path / "b", resume=tmp_path / "b" / "last.pt")
    assert second.run(progress=False) and same(weights(whole), weights(second))


def test_a_run_begins_with_the_weights_of_a_network_with_stages_and_scales(photographs, tiny, tmp_path):
    torch.manual_seed(3)
    small = LearningToDeblur((5,), 2, 3)
    small.save(tmp_path / "small.pt")
    settings = LtDSettings(**dict(tiny, kernel_sizes=(5, 7), steps=(0, 0, 2)))
    trainer = trained(photographs, tmp_path / "o", settings, weights=tmp_path / "small.pt")
    assert same(weights(trainer), list(small.parameters()))
    assert trainer.run(progress=False) and trainer.step == 6  # 2 x frozen_steps, 2 steps of the scale
    assert trainer.task.model.kernel_sizes == (5, 7)
    with pytest.raises(ValueError, match=r"small\.pt: weights of LearningToDeblur\(kernel_sizes=\(5,\), stages=2"):
        trained(photographs, tmp_path / "p", LtDSettings(**dict(tiny, steps=(1,))), weights=tmp_path / "small.pt")
    assert not (tmp_path / "p").exists()


def test_a_checkpoint_of_other_scales_is_refused(photographs, tiny, tmp_path):
    trained(photographs, tmp_path / "o", LtDSettings(**tiny)).run(max_steps=1, progress=False)
    with pytest.raises(ValueError, match=r"steps: the checkpoint is in training with 1 stages of \(5,\) pixels, the plan says 1 of \(7,\)"):
        trained(photographs, tmp_path / "q", LtDSettings(**dict(tiny, kernel_sizes=(7,))), resume=tmp_path / "o" / "last.pt")


@pytest.mark.parametrize("options", [dict(filters=4), dict(hidden=0), dict(hidden=2), dict(features=1), dict(fixed_gradients=True)])
def test_the_ablations_of_the_paper_can_be_trained(photographs, tiny, tmp_path, options):
    trainer = trained(photographs, tmp_path / "o", LtDSettings(**dict(tiny, **options)))
    assert trainer.run(max_steps=1, progress=False) is False
    assert all(trainer.task.model.arguments[name] == value for name, value in options.items())


@pytest.mark.parametrize("options, message", [
    (dict(kernel_sizes=(7, 5)), "kernel_sizes: expected growing sides"),
    (dict(kernel_sizes=(5, 7), steps=(3,)), "steps: expected a number per"),
    (dict(fixed_gradients=True, features=4), "features: fixed gradients are two")])
def test_settings_that_fit_no_network_are_refused(tiny, options, message):
    with pytest.raises(ValueError, match=message):
        LtDSettings(**dict(tiny, **options))


def test_the_plan_and_the_learning_rate():
    s = LtDSettings(steps=(100, 50, 20), frozen_steps=10, rate=1.0, warmup=10, decay=0.5)
    assert s.plan() == [(1, 1, False, 100), (1, 2, True, 10), (1, 2, False, 50), (1, 3, True, 10), (1, 3, False, 20)]
    rates = [s.rate_at(0, i) for i in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[30] == 1 and rates[-1] == pytest.approx(0.069) and max(rates) == 1


def test_the_papers_optimiser():
    optimiser = make_optimiser(LtDSettings(optimiser="adadelta", rate=0.01), [torch.nn.Parameter(torch.zeros(1))])
    assert isinstance(optimiser, torch.optim.Adadelta) and optimiser.defaults["lr"] == 0.01 and optimiser.defaults["rho"] == 0.95


def test_kernel_errors():
    a, b = torch.zeros(2, 3, 3), torch.zeros(2, 3, 3)
    a[:, 1, 1], b[0, 1, 2], b[1, 1, 1] = 1, 1, 0.5
    assert kernel_error(a, b).tolist() == [2.0, 0.25] and kernel_error(a, b, "relative").tolist() == [2.0, 1.0]


@pytest.mark.parametrize(
    "bad", [dict(steps=()), dict(steps=(-1,)), dict(optimiser="lion"), dict(loss="cubic"), dict(batch=0), dict(rate=0)]
)
def test_bad_settings_are_named(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        LtDSettings(**bad)


def test_processor_time_is_the_budget(photographs, tiny, tmp_path):
    trainer = trained(photographs, tmp_path / "o", LtDSettings(**dict(tiny, steps=(100000,))))
    assert not trainer.run(cpu_minutes=0.3 / 60, progress=False)
    assert 0 < trainer.step < 5000 and 0.3 < trainer.cpu_seconds < 5


def test_foreign_and_damaged_checkpoints_are_named(tmp_path):
    path = tmp_path / "c.pt"
    with pytest.raises(ValueError, match="c.pt: no such"):
        load_checkpoint(path, "ltd")
    save_checkpoint(path, "svbr", {"a": 1})
    with pytest.raises(ValueError, match="c.pt.*'svbr'"):
        load_checkpoint(path, "ltd")
    path.write_bytes(b"\x00" * 100)
    with pytest.raises(ValueError, match="c.pt: not a readable"):
        load_checkpoint(path, "ltd")
    torch.save([1], path)
    with pytest.raises(ValueError, match="c.pt: not a training"):
        load_checkpoint(path, "ltd")


def test_a_failed_save_leaves_the_old_checkpoint_and_no_litter(tmp_path):
    path = tmp_path / "c.pt"
    save_checkpoint(path, "ltd", {"a": 1})
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(path, "ltd", {"a": lambda: 0})
    assert load_checkpoint(path, "ltd") == {"a": 1} and [p.name for p in tmp_path.iterdir()] == ["c.pt"]


def test_activation_maximisation_finds_images_with_less_kernel_error():
    torch.manual_seed(0)
    model = LearningToDeblur((5,), 1, 3)
    before = [p.detach().clone() for p in model.parameters()]
    seen = []
    image, errors = activation_maximisation(
        model, 24, 60, rate=0.05, generator=torch.Generator().manual_seed(1), callback=lambda s, n, x: seen.append((s, n))
    )
    assert image.shape == (1, 1, 24, 24) and 0 <= float(image.min()) and float(image.max()) <= 1
    assert float(errors[-15:].mean()) < float(errors[:5].mean()) and seen[-1] == (60, 60)
    assert same(before, list(model.parameters())) and all(p.grad is None for p in model.parameters())
    again, _ = activation_maximisation(model, 24, 60, rate=0.05, generator=torch.Generator().manual_seed(1))
    assert torch.equal(image, again)


def test_a_finished_run_can_be_extended(photographs, tiny, tmp_path):
    trainer = trained(photographs, tmp_path / "o", LtDSettings(**tiny))
    assert trainer.run(progress=False) and trainer.step == 9
    again = trained(photographs, tmp_path / "o", resume=tmp_path / "o" / "last.pt")
    assert again.run(progress=False) and again.step == 9 and same(weights(trainer), weights(again))
    longer = trained(photographs, tmp_path / "o", LtDSettings(**dict(tiny, steps=(4, 6))), resume=tmp_path / "o" / "last.pt")
    assert longer.run(progress=False) and longer.step == 12 and not same(weights(trainer), weights(longer))


def test_a_change_of_the_loss_restarts_what_was_measured_with_the_old_one(photographs, tiny, tmp_path):
    trainer = trained(photographs, tmp_path / "o", LtDSettings(**tiny))
    trainer.run(max_steps=2, progress=False)
    trainer.task.rejection.mean = 1e-9  # as if the old loss were much smaller
    trainer.save()
    changed = trained(photographs, tmp_path / "o", LtDSettings(**dict(tiny, loss="relative")), resume=tmp_path / "o" / "last.pt")
    changed.run(max_steps=1, progress=False)
    assert changed.task.rejection.rejected == 0 and changed.best is None
