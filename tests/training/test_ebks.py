"""Training of the blur kernel space: learns, resumes bit for bit, its schedule, the variational form, folders of pairs, its command."""

import numpy as np
import pytest
import torch
from PIL import Image

from svconv.cli import main
from svconv.data.varied_blurs import KINDS
from svconv.models import BlurKernelSpace
from svconv.training import ebks_settings
from svconv.training.band_energies import BANDS, BandEnergies
from svconv.training.ebks import EBKSTask, divergence
from svconv.training.ebks_settings import EBKSSettings
from svconv.training.loop import Trainer

SMALL = dict(width=4, size=128, validation_size=128, batch=2, steps=4, validation_pairs=2, validate_every=2, save_every=2, kernel_least=5,
             kernel_most=9, periods=(4,), rate=1e-3)


def colours(path, seed, side=176):
    pixels = np.kron(np.random.default_rng(seed).random((side // 8, side // 8 + 1, 3)), np.ones((8, 8, 1)))
    Image.fromarray((pixels * 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("colours")
    for i in range(3):
        colours(made / f"{i}.png", i)
    return made


def options(settings):
    return [text for name, value in settings.items()
            for text in (f"--{name.replace('_', '-')}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value))]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_the_schedule_is_the_published_one():
    s = EBKSSettings()
    assert s.plan()[0].steps == 600_000 and (s.batch, s.size, s.optimiser, EBKSTask.betas) == (16, 256, "adam", (0.9, 0.99))
    for start in (0, 50_000, 150_000, 300_000, 450_000):
        assert s.rate_at(0, start) == pytest.approx(1e-4)
    assert s.rate_at(0, 25_000) == pytest.approx((1e-4 + 1e-8) / 2)
    for last in (49_999, 149_999, 299_999, 449_999, 599_999):
        assert s.rate_at(0, last) < 2e-8
    assert EBKSSettings(periods=(10,)).rate_at(0, 10) == pytest.approx(1e-4) and s.divergence == 10 and s.hints == 0
    assert ebks_settings.KINDS == tuple(KINDS)


@pytest.mark.parametrize("more", [{}, {"variational": True, "variant": "reference", "average": 0.5}])
@pytest.mark.parametrize("stop", [1, 2])
def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(folder, tmp_path, stop, more):
    settings = EBKSSettings(**SMALL, hints=0.1, hint_steps=3, **more)
    whole = Trainer(EBKSTask, folder, tmp_path / "a", settings)
    assert whole.run(progress=False)
    first = Trainer(EBKSTask, folder, tmp_path / "b", settings)
    assert not first.run(max_steps=stop, progress=False)
    first.one_step()        # work that a kill throws away
    torch.manual_seed(99)
    second = Trainer(EBKSTask, folder, tmp_path / "b", resume=tmp_path / "b" / "last.pt")
    assert second.step == stop and second.run(progress=False)
    assert same(whole.task.model.state_dict(), second.task.model.state_dict())
    assert same(whole.task.reader.state_dict(), second.task.reader.state_dict())
    scores = [[(r["step"], r["psnr"], r["psnr_mean_code"]) for r in run.log.read()[1:]] for run in (whole, second)]
    assert scores[0] == scores[1] and len(scores[0]) == 2


def test_a_killed_run_resumes_from_its_last_checkpoint(folder, killed_and_whole):
    a, b = killed_and_whole("ebks", folder, options({**SMALL, "steps": 400, "periods": (400,)}), 1)
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_it_learns(folder, tmp_path):
    trainer = Trainer(EBKSTask, folder, tmp_path / "o", EBKSSettings(**{**SMALL, "steps": 40, "periods": (40,), "validate_every": 20}))
    known = trainer.task.batch(0, 2)
    before = trainer.task.loss(*known)[1]
    assert trainer.run(progress=False)
    assert trainer.task.loss(*known)[1] < before
    records = trainer.log.read()
    assert {"psnr_sharp", "psnr_sharp_motion"} < records[0].keys()
    assert {"psnr", "psnr_motion", "psnr_shake", "psnr_mean_code", "code_spread"} < records[-1].keys()
    assert trainer.best == min(-r["psnr"] for r in records[1:])
    loaded = BlurKernelSpace.load(tmp_path / "o" / "best.pt")
    with torch.no_grad():
        assert trainer.task.validate(loaded)["psnr"] == pytest.approx(-trainer.best, abs=1e-3)
    assert bool(loaded.typical.abs().sum() > 0)


def test_the_loss_is_its_formula(folder, tmp_path):
    task = Trainer(EBKSTask, folder, tmp_path / "o", EBKSSettings(**SMALL)).task
    blurry, sharp, kind = task.batch(0, 2)
    loss, error = task.loss(blurry, sharp, kind)
    expected = ((task.model(sharp, blurry) - blurry).square() + 1e-6).sqrt().sum() / blurry.numel()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5) and error == pytest.approx(float(expected), rel=1e-5)
    mean, deviation = torch.tensor([1.0, -2.0]), torch.tensor([1.0, -0.5])
    assert float(divergence(mean, deviation)) == pytest.approx(1 + 1 - 0 - 1 + 4 + 0.25 - np.log(0.25) - 1, rel=1e-5)


def test_the_divergence_and_the_hints_count(folder, tmp_path):
    losses = {}
    for name, more in {"plain": {}, "strong": {"divergence": 20.0}, "hints": {"hints": 1.0}}.items():
        task = Trainer(EBKSTask, folder, tmp_path / name, EBKSSettings(**SMALL, variational=True, **more)).task
        torch.manual_seed(5)
        losses[name] = float(task.loss(*task.batch(0, 2))[0])
    assert losses["plain"] < losses["strong"] and losses["plain"] < losses["hints"]


def test_a_variational_run_begins_with_a_plain_one(folder, tmp_path):
    Trainer(EBKSTask, folder, tmp_path / "plain", EBKSSettings(**SMALL)).run(progress=False)
    weights = tmp_path / "plain" / "best.pt"
    wide = Trainer(EBKSTask, folder, tmp_path / "wide", EBKSSettings(**SMALL, variational=True), weights=weights).task
    plain, (blurry, sharp, _) = BlurKernelSpace.load(weights), wide.batch(0, 2)
    with torch.no_grad():
        assert torch.allclose(wide.model.encode(sharp, blurry), plain.encode(sharp, blurry), atol=1e-5)
    with pytest.raises(ValueError, match="best.pt: weights of BlurKernelSpace"):
        Trainer(EBKSTask, folder, tmp_path / "other", EBKSSettings(**{**SMALL, "width": 5}, variational=True), weights=weights)


def test_the_energy_of_bands_by_place():
    x = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    rows = torch.fft.fftfreq(128)[:, None].square() + torch.fft.rfftfreq(128).square()
    passed = torch.fft.irfft2(torch.fft.rfft2(x) * (rows.sqrt() < 0.06), s=(128, 128))
    energies = BandEnergies()
    found = (energies(passed, (1, 1)) - energies(x, (1, 1)))[:, :, 0, 0]
    assert found.shape == (2, BANDS) and float(found[:, :4].max()) < -3 and float(found[:, 12:].abs().max()) < 1
    left = torch.cat([x[..., :64], 0.5 * x[..., 64:]], 3)
    parts = energies(left, (2, 2)) - energies(x, (2, 2))
    assert torch.allclose(parts[:, :8, :, 1], torch.tensor(0.25).log(), atol=0.1) and float(parts[:, :8, :, 0].abs().max()) < 0.1


def test_folders_of_pairs(folder, tmp_path):
    blurry = tmp_path / "blurry"
    blurry.mkdir()
    for i in range(3):
        colours(blurry / f"{i}.png", i + 10)
    settings = EBKSSettings(**SMALL, blurry=str(blurry))
    trainer = Trainer(EBKSTask, folder, tmp_path / "o", settings)
    assert trainer.task.kinds == ("pairs",) and len(trainer.task.pairs.pairs) == 2 and trainer.run(progress=False)
    assert "psnr_motion" not in trainer.log.read()[-1]
    gopro = tmp_path / "gopro"
    for i in range(2):
        for part in ("sharp", "blur"):
            (gopro / f"scene{i}" / part).mkdir(parents=True)
            colours(gopro / f"scene{i}" / part / "1.png", i)
    assert len(Trainer(EBKSTask, gopro, tmp_path / "g", EBKSSettings(**SMALL, blurry=str(gopro))).task.pairs.pairs) == 1


@pytest.mark.parametrize("given, text", [
    (["--kinds", "motion,rain"], "--kinds: expected some of motion, shake, defocus, frames"),
    (["--kernel-least", "6"], "--kernel-least: expected an odd number, got 6"),
    (["--kernel-most", "7", "--kernel-least", "9"], "--kernel-most: expected at least the least side 9"),
    (["--size", "200"], "--size: expected a multiple of 128, got 200"),
    (["--blurry", "nowhere"], "nowhere: not a folder"),
])
def test_bad_options_are_one_line(folder, tmp_path, capsys, given, text):
    assert main(["train", "ebks", "--data", str(folder), "--out", str(tmp_path / "o"), *given]) == 2
    assert text in capsys.readouterr().err and not (tmp_path / "o").exists()


def test_another_structure_than_that_of_the_checkpoint_is_refused(folder, tmp_path, capsys):
    Trainer(EBKSTask, folder, tmp_path / "o", EBKSSettings(**{**SMALL, "steps": 1})).run(progress=False)
    for name, value in (("width", "5"), ("variant", "reference")):
        assert main(["train", "ebks", "--data", str(folder), "--out", str(tmp_path / "n"), "--resume", str(tmp_path / "o" / "last.pt"),
                     f"--{name}", value]) == 2
        assert f"--{name}: expected" in capsys.readouterr().err
