"""Training of SVMAP and SIMAP: learns, resumes bit for bit after a kill, refuses what does not fit, its command."""
import dataclasses
import warnings

import numpy as np
import pytest
import torch

from svconv.cli import main
from svconv.files import write_kernel
from svconv.models import SIMAP, SVMAP
from svconv.training.checkpoint import load_checkpoint
from svconv.training.loop import Trainer
from svconv.training.svmap import SIMAPTask, SVMAPTask
from svconv.training.svmap_settings import SIMAPSettings, SVMAPSettings
from svconv.training.task import Task

SMALL = dict(size=20, kernel_least=5, kernel_most=9, width=6, batch=2, steps=5, warmup=1, cg_iter=8, validation_pairs=2, validation_size=24,
             validate_every=2, save_every=2)
TASKS = {"svmap": SVMAPTask, "simap": SIMAPTask}


def settings(kind="svmap", **more):
    return TASKS[kind].settings_class(**{**SMALL, **more})


def trained(photographs, out, given=None, kind="svmap", **more):
    return Trainer(TASKS[kind], photographs, out, given, **more)


def options(values):
    return [text for name, value in values.items() for text in (f"--{name.replace('_', '-')}", str(value))]


def same(a, b):
    a, b = a.task.model.state_dict(), b.task.model.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("kind, stop", [("svmap", 1), ("svmap", 4), ("simap", 3)])
def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(photographs, tmp_path, kind, stop):
    given = settings(kind, average=0.5)
    whole = trained(photographs, tmp_path / "a", given, kind)
    assert whole.run(progress=False)
    first = trained(photographs, tmp_path / "b", given, kind)
    assert not first.run(max_steps=stop, progress=False)
    first.one_step()        # work that a kill throws away
    torch.manual_seed(99)
    second = trained(photographs, tmp_path / "b", kind=kind, resume=tmp_path / "b" / "last.pt")
    assert second.step == stop and second.run(progress=False) and same(whole, second)
    assert all(torch.equal(whole.task.average.values[k], second.task.average.values[k]) for k in whole.task.average.values)
    scores = [[(r["step"], r["psnr"], r["ssim"], r["adjoint_unsolved"]) for r in run.log.read()[1:]] for run in (whole, second)]
    assert scores[0] == scores[1] and [score[0] for score in scores[0]] == [2, 4, 5]


def test_a_killed_run_resumes_from_its_last_checkpoint(photographs, killed_and_whole):
    a, b = killed_and_whole("svmap", photographs, options({**SMALL, "steps": 4000}), 3)
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("kind", TASKS)
def test_it_learns_and_keeps_the_best(photographs, tmp_path, kind):
    trainer = trained(photographs, tmp_path / "o", settings(kind, steps=30, rate=0.003, noise=0.1, validate_every=10, cg_iter=20), kind)
    known = trainer.task.batch(0, 4)
    before = trainer.task.loss(*known)[1]
    assert trainer.run(progress=False) and trainer.task.loss(*known)[1] < 0.85 * before
    records = trainer.log.read()
    assert trainer.best == min(-r["psnr"] for r in records[1:]) and all(0 < r["cg_steps"] <= 20 for r in records[1:])
    loaded = trainer.task.model_class.load(tmp_path / "o" / "best.pt")
    assert loaded.arguments == trainer.task.model.arguments and loaded.arguments["max_iter"] == 20
    with torch.no_grad():
        assert trainer.task.validate(loaded)["psnr"] == pytest.approx(-trainer.best, abs=1e-3)


def test_the_log_begins_with_what_needs_no_training(photographs, tmp_path):
    trainer = trained(photographs, tmp_path / "o", settings())
    start = trainer.log.read()[0]
    assert start["psnr_blurred"] < start["psnr_first"] and 0 < start["ssim_blurred"] < start["ssim_first"] < 1
    blurred = [((blurry.clamp(0, 1) - sharp) ** 2).mean().log10() * -10 for blurry, sharp, _ in trainer.task.validation]
    assert start["psnr_blurred"] == pytest.approx(float(sum(blurred)) / 2, abs=1e-3)


def test_kernels_of_a_batch_are_padded_to_one_side_about_their_centres(photographs, tmp_path):
    task = trained(photographs, tmp_path / "o", settings(batch=8)).task
    blurry, sharp, kernels = task.batch(3, 8)
    assert blurry.shape == sharp.shape == (8, 3, 20, 20) and kernels.shape == (8, 1, 9, 9)
    sides = set()
    for i, kernel in enumerate(kernels):
        own = task.pairs[3 + i]
        side = own[2].shape[-1]
        inside = slice(4 - side // 2, 5 + side // 2)
        assert torch.equal(kernel[:, inside, inside], own[2]) and float(kernel.sum()) == pytest.approx(1, abs=1e-5)
        assert torch.equal(blurry[i], own[0]) and torch.equal(sharp[i], own[1])
        sides.add(side)
    assert len(sides) > 1
    single = task.batch(5, 1)       # what a crop learns from does not depend on its batch
    assert all(torch.equal(a[0], b[2]) for a, b in zip(single, (blurry, sharp, kernels)))


@pytest.mark.parametrize("relative", [False, True])
def test_the_images_before_the_last_may_count_too(photographs, tmp_path, relative):
    """relative: the error of each pair is divided by that of its first image."""
    plain, all_of_them = (trained(photographs, tmp_path / f"{w}", settings(intermediate=w, iterations=3, relative=relative)).task
                          for w in (0, 0.5))
    blurry, sharp, kernel = plain.batch(0, 2)
    (a, error), (b, also) = plain.loss(blurry, sharp, kernel), all_of_them.loss(blurry, sharp, kernel)
    with torch.no_grad():
        errors = torch.stack([(image - sharp).abs().mean((1, 2, 3)) for image in plain.model(blurry, kernel, details=True).images])
    assert len(errors) == 4 and error == pytest.approx(float(errors[-1].mean()), rel=1e-5) and also == pytest.approx(error, rel=1e-5)
    last, *earlier = (errors / errors[0] if relative else errors).mean(1)[[3, 1, 2]].tolist()
    assert a.item() == pytest.approx(last, rel=1e-5) and b.item() == pytest.approx(last + 0.25 * sum(earlier), rel=1e-5)


@pytest.mark.parametrize("steady", [True, False])
def test_a_gradient_is_at_most_twice_its_usual_norm(photographs, tmp_path, steady):
    task = trained(photographs, tmp_path / "o", settings(steady=steady, clip=1e9)).task
    sizes = []
    for size in (1.0, 1.0, 50.0, 1.5):
        for p in task.model.parameters():
            p.grad = torch.zeros_like(p)
        for predictor in (*task.model.data, *task.model.prior):
            predictor.layers[0].bias.grad[0] = size
        assert task.usable(list(task.model.parameters()))
        sizes.append([float(predictor.layers[0].bias.grad[0]) for predictor in (*task.model.data, *task.model.prior)])
    expected = [1.0, 1.0, 2.0, 1.5] if steady else [1.0, 1.0, 50.0, 1.5]
    torch.testing.assert_close(torch.tensor(sizes), torch.tensor(expected)[:, None].expand(4, 4))
    assert all(usual == pytest.approx(0.95 * 1.05 + 0.05 * 1.5) for usual in task.usual.values()) and len(task.usual) == 4 * steady


def test_gradients_are_clipped_and_those_that_are_not_finite_are_left_out(photographs, tmp_path, monkeypatch):
    task = trained(photographs, tmp_path / "o", settings(relative=False, steady=False, clip=1e-3)).task
    blurry, sharp, kernel = task.batch(0, 2)
    task.step((blurry, 1000 * sharp, kernel), 1e-4)
    largest = max(float(p.grad.abs().max()) for p in task.model.parameters())
    assert largest == pytest.approx(1e-3) and task.notes()["left_out"] == 0
    before = {name: t.clone() for name, t in task.model.state_dict().items()}
    task.step((blurry, sharp * float("nan"), kernel), 1e-4)
    assert task.notes()["left_out"] == 1 and all(torch.equal(t, before[name]) for name, t in task.model.state_dict().items())
    task.step((blurry, sharp, kernel), 1e-4)
    assert not any(torch.equal(t, before[name]) for name, t in task.model.state_dict().items() if name.endswith("bias"))


def test_adjoint_solves_that_stop_early_are_counted_and_other_warnings_pass(photographs, tmp_path, monkeypatch):
    task = trained(photographs, tmp_path / "o", settings(cg_iter=2)).task
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task.step(task.batch(0, 2), 1e-4)
    assert task.notes()["adjoint_unsolved"] == 2        # one in each of two MAP steps
    original = task.loss
    monkeypatch.setattr(task, "loss", lambda *tensors: (warnings.warn("something else", UserWarning, stacklevel=1), original(*tensors))[1])
    with pytest.warns(UserWarning, match="something else"):
        task.step(task.batch(0, 2), 1e-4)


@pytest.mark.parametrize("precision, device, expected", [("auto", "cpu", "float32"), ("bfloat16", "cpu", "bfloat16"),
                                                         ("float32", "cpu", "float32"), ("auto", "meta-gpu", "bfloat16")])
def test_the_precision_of_the_predictors(photographs, tmp_path, monkeypatch, precision, device, expected):
    place = torch.device("cpu") if device == "cpu" else torch.device("cuda")
    monkeypatch.setattr(Task, "place", lambda self, thing: thing)
    assert SVMAPTask(photographs, settings(precision=precision), place).model.precision == expected


def test_filters_that_are_predicted_again_learn_the_same(photographs, tmp_path):
    kept, again = (trained(photographs, tmp_path / f"{r}", settings(recompute=r, cg_iter=200)).task for r in (False, True))
    for task in (kept, again):
        loss = task.loss(*task.batch(0, 2))[0]
        loss.backward()
    assert again.model.recompute and not kept.model.recompute
    for a, b in zip(kept.model.parameters(), again.model.parameters()):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-3 * float(a.grad.abs().max()) + 1e-9)


def test_a_resumed_run_keeps_the_precision_and_takes_other_solver_settings(photographs, tmp_path):
    first = trained(photographs, tmp_path / "o", settings(precision="bfloat16"))
    first.run(max_steps=2, progress=False)
    again = trained(photographs, tmp_path / "o", dataclasses.replace(first.settings, cg_iter=11, cg_tol=1e-3, initial=0.1),
                    resume=tmp_path / "o" / "last.pt")
    arguments = again.task.model.arguments
    assert again.task.model.precision == "bfloat16" and (arguments["max_iter"], arguments["tol"], arguments["initial"]) == (11, 1e-3, 0.1)
    assert same(first, again) and again.best == first.best is not None and again.run(progress=False)


@pytest.mark.parametrize("change", [dict(kernel_most=11), dict(noise=0.05), dict(degradation="jpeg"), dict(validation_size=32),
                                    dict(measured=True), dict(size=24)])
def test_other_crops_and_kernels_from_a_checkpoint(photographs, tmp_path, change):
    """Larger kernels from the weights of smaller ones; the best score starts afresh where it was measured otherwise."""
    first = trained(photographs, tmp_path / "o", settings())
    first.run(max_steps=2, progress=False)
    if "measured" in change:
        change = {"measured": str(tmp_path / "kernels")}
        (tmp_path / "kernels").mkdir()
        write_kernel(tmp_path / "kernels" / "a.npy", np.ones((5, 5)))
    again = trained(photographs, tmp_path / "p", dataclasses.replace(first.settings, **change), resume=tmp_path / "o" / "last.pt")
    assert same(first, again) and (again.best is None) == ("size" not in change)
    assert again.run(progress=False) and again.step == 5 and (tmp_path / "p" / "best.pt").is_file()


@pytest.mark.parametrize("change", [dict(iterations=3), dict(data_filters=0), dict(prior_filters=4), dict(width=8), dict(share=True),
                                    dict(zero_sum=False)])
def test_a_checkpoint_of_another_model_shape_is_named(photographs, tmp_path, change):
    trained(photographs, tmp_path / "o", settings()).run(max_steps=1, progress=False)
    (name, value), = change.items()
    with pytest.raises(ValueError, match=f"^{name}: expected {SMALL.get(name, getattr(SVMAPSettings(), name))} .*, got {value}$"):
        trained(photographs, tmp_path / "p", settings(**change), resume=tmp_path / "o" / "last.pt")


def test_a_run_may_start_from_the_weights_of_another(photographs, tmp_path, capsys):
    first = trained(photographs, tmp_path / "o", settings())
    first.run(max_steps=2, progress=False)
    base = ["train", "svmap", "--data", str(photographs), "--quiet", "--max-steps", "0", "--weights", str(tmp_path / "o" / "best.pt")]
    assert main([*base, "--out", str(tmp_path / "p"), *options({**SMALL, "noise": 0.05})]) == 0
    stored = load_checkpoint(tmp_path / "p" / "last.pt", "svmap")
    weights = SVMAP.load(tmp_path / "o" / "best.pt").state_dict()
    assert stored["step"] == 0 and all(torch.equal(t, weights[name]) for name, t in stored["task"]["model"].items())
    assert trained(photographs, tmp_path / "q", settings(), weights=tmp_path / "o" / "best.pt").log.read()[0]["weights"] == "best.pt"
    capsys.readouterr()
    for change, named in ((("--width", "8"), "best.pt: weights of SVMAP("), (("--no-zero-sum",), "best.pt: weights of SVMAP("),
                          (("--resume", str(tmp_path / "o" / "last.pt")), "--weights: "),
                          (("--weights", str(photographs / "photo0.png")), "photo0.png")):
        assert main([*base, "--out", str(tmp_path / "r"), *options(SMALL), *change]) == 2
        error = capsys.readouterr().err
        assert named in error and len(error.strip().splitlines()) == 1 and not (tmp_path / "r").exists()


def test_everything_that_is_computed_with_is_placed_on_the_device(photographs, tmp_path, monkeypatch):
    """float64 stands for another device: a tensor that was not placed would be float32, which the ops refuse beside float64."""
    monkeypatch.setattr(Task, "place", lambda self, thing: thing.double())
    trainer = trained(photographs, tmp_path / "o", settings())
    assert not trainer.run(max_steps=3, progress=False)
    again = trained(photographs, tmp_path / "o", resume=tmp_path / "o" / "last.pt")
    assert again.run(progress=False) and next(again.task.model.parameters()).dtype == torch.float64


@pytest.mark.parametrize("kind, model", [("svmap", SVMAP), ("simap", SIMAP)])
def test_the_command_trains_and_resumes(photographs, tmp_path, capsys, kind, model):
    base = ["train", kind, "--data", str(photographs), "--out", str(tmp_path / "o"), "--quiet"]
    assert main([*base, *options(SMALL), "--degradation", "impulse", "--max-steps", "2"]) == 0
    assert "budget used at step 2" in capsys.readouterr().out
    assert main([*base, "--resume", str(tmp_path / "o" / "last.pt"), "--noise", "0.02"]) == 0
    assert "done at step 5" in capsys.readouterr().out
    stored = load_checkpoint(tmp_path / "o" / "last.pt", kind)["settings"]
    assert (stored["degradation"], stored["noise"], stored["measured"]) == ("impulse", 0.02, None)
    assert isinstance(model.load(tmp_path / "o" / "best.pt"), model)


@pytest.mark.parametrize("change, named", [
    (("--kernel-most", "8"), "--kernel-most: expected an odd number"), (("--kernel-least", "11"), "--kernel-most: expected at least"),
    (("--size", "5"), "--size: "), (("--validation-size", "10"), "--validation-size: "), (("--size", "400"), "as large as a crop of 40"),
    (("--measured", "nowhere"), "--measured: nowhere is not a folder"), (("--measured", ""), "--measured: "), (("--clip", "0"), "--clip: "),
    (("--degradation", "rain"), "--degradation: "), (("--precision", "half"), "--precision: "), (("--noise", "nan"), "--noise: "),
    (("--cg-iter", "0"), "--cg-iter: "), (("--prior-filters", "0"), "--prior-filters: "), (("--data", "nowhere"), "nowhere"),
])
def test_mistakes_are_status_2_and_one_line(photographs, tmp_path, capsys, change, named):
    call = ["--data", str(photographs), "--out", str(tmp_path / "o"), "--quiet", *options(SMALL), *change]
    status = main(["train", "svmap", *call])
    error = capsys.readouterr().err
    assert status == 2 and named in error and len(error.strip().splitlines()) == 1 and not (tmp_path / "o").exists()


@pytest.mark.parametrize("kind, fields", [("svmap", SVMAPSettings), ("simap", SIMAPSettings)])
def test_every_setting_is_an_option(capsys, kind, fields):
    assert main(["train", kind, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(fields):
        assert f"--{field.name.replace('_', '-')}" in text and field.metadata["help"] in text
    assert "[--measured PATH|none]" in text and ("--share" in text) == (kind == "svmap")


@pytest.mark.parametrize("former", [{"share": True}, {"iterations": 1}])
def test_a_run_begins_with_a_model_that_has_fewer_predictors(photographs, tmp_path, former):
    assert not trained(photographs, tmp_path / "a", settings(**former)).run(max_steps=2, progress=False)
    path = tmp_path / "a" / "best.pt"
    kept = SVMAP.load(path).state_dict()
    model = trained(photographs, tmp_path / "b", settings(), weights=path).task.model
    for name, weight in model.state_dict().items():
        net, _, rest = name.split(".", 2)
        assert torch.equal(weight, kept[f"{net}.0.{rest}"])


def test_the_prior_imitates_the_filters_of_reweighted_least_squares(photographs, tmp_path):
    """Before it restores, without a solve: the distance falls; a resumed run goes through both phases to the same bits."""
    given = settings(imitate=12, steps=2, rate=1e-3, validate_every=6, average=0.5)
    whole = trained(photographs, tmp_path / "a", given)
    assert whole.run(progress=False) and whole.step == 14
    first, second = [r["train_error"] for r in whole.log.read()[1:3]]
    assert second < first
    begun = trained(photographs, tmp_path / "b", given)
    assert not begun.run(max_steps=5, progress=False)
    resumed = trained(photographs, tmp_path / "b", resume=tmp_path / "b" / "last.pt")
    assert resumed.run(progress=False) and same(whole, resumed)
