"""Training of degradation representations: both phases, the discriminators, resuming, frozen parts, losses, options."""
import numpy as np
import pytest
import torch
from PIL import Image

from svconv.cli import main
from svconv.models import DegradationDeblur
from svconv.training.ldr import LDRTask
from svconv.training.ldr_settings import LDRSettings
from svconv.training.loop import Trainer

SMALL = dict(width=4, size=32, validation_size=32, batch=2, steps=(3, 2), validation_pairs=2, validate_every=2, save_every=2,
             kernel_least=5, kernel_most=7, periods=(3, 2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made, random = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    for i in range(3):
        Image.fromarray((np.kron(random.random((18, 19, 3)), np.ones((4, 4, 1))) * 255).astype(np.uint8)).save(made / f"{i}.png")
    return made


def trained(folder, out, **more):
    return Trainer(LDRTask, folder, out, LDRSettings(**{**SMALL, **more}))


def weights(module):
    return {name: t.clone() for name, t in module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_the_plan_is_the_published_one():
    s = LDRSettings()
    assert [(p.name, p.steps) for p in s.plan()] == [("joint", 240_000), ("deblur", 400_000)] and s.clip == 0.01
    assert s.rate_at(0, 0) == pytest.approx(2e-4) and s.rate_at(1, 0) == pytest.approx(3e-4)
    assert s.rate_at(0, 125_000) == pytest.approx(1e-4, rel=1e-2) and s.rate_at(1, 399_999) < 2e-7
    assert (s.adversarial, s.matching, s.perceptual, s.deblurred, s.features) == (1, 10, 30, 10, 1) and LDRTask.betas == (0.9, 0.99)


@pytest.mark.parametrize("stop, more", [(1, {"hints": 0.1}), (4, {}), (4, {"gan": False, "deblurring": False, "code": "vector"}),
                                        (1, {"version": 2, "code": "none", "average": 0.5})])
def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(folder, tmp_path, stop, more):
    whole = trained(folder, tmp_path / "a", **more)
    assert whole.run(progress=False)
    first = trained(folder, tmp_path / "b", **more)
    assert not first.run(max_steps=stop, progress=False)
    first.one_step()        # work that a kill throws away
    torch.manual_seed(99)
    second = Trainer(LDRTask, folder, tmp_path / "b", resume=tmp_path / "b" / "last.pt")
    assert second.step == stop and second.run(progress=False)
    assert same(whole.task.model.state_dict(), second.task.model.state_dict())
    if whole.task.discriminators is not None:
        assert same(whole.task.discriminators.state_dict(), second.task.discriminators.state_dict())
    assert [r["psnr"] for r in whole.log.read()[1:]] == [r["psnr"] for r in second.log.read()[1:]]
    assert (tmp_path / "a" / "best-joint.pt").exists() and (tmp_path / "a" / "best-deblur.pt").exists()
    assert DegradationDeblur.load(tmp_path / "a" / "best-deblur.pt").arguments == whole.task.model.arguments


def test_a_gan_step_changes_both_sides(folder, tmp_path):
    task = trained(folder, tmp_path / "o").task
    before = [weights(part) for part in (task.model.reblurring, task.model.encoder, task.model.deblurring, task.discriminators)]
    task.step(task.batch(0, 2), 1e-3)
    after = [weights(part) for part in (task.model.reblurring, task.model.encoder, task.model.deblurring, task.discriminators)]
    assert not any(same(a, b) for a, b in zip(before, after)) and task.judged != 0
    assert all(p.requires_grad for p in task.discriminators.parameters())


def test_without_discriminators_the_loss_is_the_absolute_error(folder, tmp_path):
    task = trained(folder, tmp_path / "o", gan=False, deblurring=False).task
    task.model.eval()       # the power iteration stands still
    blurry, sharp, kind = task.batch(0, 2)
    loss, error = task.loss(blurry, sharp, kind)
    expected = (task.model.reblur(sharp, task.model.degradation(blurry)) - blurry).abs().mean()
    assert float(loss) == pytest.approx(10 * float(expected), rel=1e-4) and error == pytest.approx(float(expected), rel=1e-4)


def test_what_is_frozen_stays(folder, tmp_path):
    alone = trained(folder, tmp_path / "a", deblurring=False).task
    before = weights(alone.model.deblurring)
    alone.step(alone.batch(0, 2), 1e-3)
    assert same(before, weights(alone.model.deblurring))
    task = trained(folder, tmp_path / "o").task
    task.begin(task.settings.plan()[1])
    parts = [task.model.encoder, task.model.upsampler, task.model.reblurring, task.discriminators, task.model.deblurring]
    before = [weights(part) for part in parts]
    task.step(task.batch(0, 2), 1e-3)
    assert [same(a, weights(part)) for a, part in zip(before, parts)] == [True] * 4 + [False]


def test_the_loss_of_the_second_phase(folder, tmp_path):
    task = trained(folder, tmp_path / "o").task
    task.begin(task.settings.plan()[1])
    task.model.eval()
    blurry, sharp, kind = task.batch(0, 2)
    loss, error = task.loss(blurry, sharp, kind)
    images = task.model(blurry).images
    assert len(images) == 2 and error == pytest.approx(float((images[-1] - sharp).abs().mean()), rel=1e-4)
    expected = sum(0.5 * (10 * torch.log10((image - sharp).square().mean((1, 2, 3)) + 1e-8)).mean() for image in images)
    found, wanted = task.model.encoder.features(images[-1]), task.model.encoder.features(sharp)
    assert len(found) == 5
    expected = expected + sum((a - b).abs().mean() for a, b in zip(found, wanted))
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)


def test_every_weight_changes_the_loss(folder, tmp_path):
    def value(phase, **more):
        task = trained(folder, tmp_path / repr(sorted(more.items()))[:40].replace("/", ""), **more).task
        task.begin(task.settings.plan()[phase])
        torch.manual_seed(3)
        return float(task.loss(*task.batch(0, 2))[0].detach())

    plain = value(0)
    for name in ("adversarial", "matching", "reblurred", "deblurred"):
        assert value(0, **{name: 0.5}) != plain
    assert value(1, features=0.5) != value(1, features=2.0)


def test_gradients_are_limited(folder, tmp_path):
    task = trained(folder, tmp_path / "o", clip=1e-3).task
    loss, _ = task.loss(*task.batch(0, 2))
    loss.backward()
    parameters = task.learning()
    assert task.usable(parameters)
    assert float(torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_features_of_vgg(folder, tmp_path):
    state = {name: 0.01 * torch.randn(shape, generator=torch.Generator().manual_seed(0)) for name, shape in vgg_shapes().items()}
    torch.save(state, tmp_path / "vgg.pt")
    with_vgg = trained(folder, tmp_path / "v", vgg=str(tmp_path / "vgg.pt"), gan=False).task
    without = trained(folder, tmp_path / "w", gan=False).task
    torch.manual_seed(0)
    a = float(with_vgg.loss(*with_vgg.batch(0, 2))[0])
    torch.manual_seed(0)
    assert a != float(without.loss(*without.batch(0, 2))[0])
    assert not any(name.startswith("perceptual") for name in with_vgg.model.state_dict())


def vgg_shapes():
    widths, shapes, inputs, place = (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512), {}, 3, 0
    for width in widths:
        if width == "M":
            place += 1
            continue
        shapes |= {f"features.{place}.weight": (width, inputs, 3, 3), f"features.{place}.bias": (width,)}
        inputs, place = width, place + 2
    return shapes


@pytest.mark.parametrize("given, text", [
    (["--steps", "5"], "--steps: expected two numbers, one for each phase, got 5"),
    (["--size", "40"], "--size: expected a multiple of 16, got 40"),
    (["--version", "3"], "--version: expected a whole number >= 1 and <= 2, got 3"),
    (["--code", "grid"], "--code: expected map, vector or none"),
    (["--vgg", "missing.pt"], "missing.pt: no such"),
])
def test_bad_options_are_one_line(folder, tmp_path, capsys, given, text):
    assert main(["train", "ldr", "--data", str(folder), "--out", str(tmp_path / "o"), *given]) == 2
    assert text in capsys.readouterr().err and not (tmp_path / "o").exists()


def test_the_command(folder, tmp_path):
    given = [text for name, value in SMALL.items()
             for text in (f"--{name.replace('_', '-')}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value))]
    assert main(["train", "ldr", "--data", str(folder), "--out", str(tmp_path / "o"), "--quiet", "--no-gan", *given]) == 0
    assert main(["train", "ldr", "--data", str(folder), "--out", str(tmp_path / "n"), "--quiet", "--weights",
                 str(tmp_path / "o" / "best-joint.pt"), "--no-gan", "--max-steps", "1", *given]) == 0
    assert main(["train", "ldr", "--data", str(folder), "--out", str(tmp_path / "m"), "--quiet", "--weights",
                 str(tmp_path / "o" / "best-joint.pt"), "--code", "vector", *given]) == 2
