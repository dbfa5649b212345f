"""bench/eff_pictures.py: the blurs, the order of the restorations, the sheet."""
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[2]))
from bench import eff_pictures
from svconv import EFFGrid
from svconv.cli.demo import photograph


@pytest.fixture(scope="module")
def truth():
    picture = photograph()
    return torch.cat([picture.plane(c) for c in range(3)], 1)[..., 120:280, 200:400].contiguous()


def test_the_lens_is_sharp_in_the_middle_and_points_outwards():
    grid = EFFGrid((200, 300), (3, 5))
    psfs = eff_pictures.lens(grid)[0]
    assert torch.allclose(psfs.sum((1, 2)), torch.ones(15)) and psfs[7].max() > 3 * psfs[0].max()
    assert torch.allclose(psfs[4], psfs[0].flip(1), atol=1e-6) and torch.allclose(psfs[14], psfs[0].flip(0, 1), atol=1e-6)
    offsets = torch.arange(eff_pictures.LENS_SIZE) - eff_pictures.LENS_SIZE // 2
    assert (psfs[14].sum(1) * offsets).sum() > 0.5 < (psfs[14].sum(0) * offsets).sum()
    assert float(psfs[:, [0, -1]].sum((1, 2)).max()) < 0.02     # they fit


def test_a_psf_per_patch_restores_more(truth, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    panels, _ = eff_pictures.lens_panels(truth, (3, 5))
    torch.set_num_threads(threads)
    psnr = {title: eff_pictures.psnr(x, truth) for title, x in panels.items() if title != "truth"}
    assert psnr["a PSF per patch, irls"] > max(psnr["blurred"], psnr["the PSF of the middle"]) + 1


def test_the_sheet_has_a_place_for_everything(truth, tmp_path, monkeypatch):
    grid = EFFGrid((160, 200), (2, 3))
    kernels = eff_pictures.shake(grid)
    assert kernels.shape == (1, 6, 17, 17) and float((kernels[0, 0] - kernels[0, 5]).norm()) > 0.05
    drawn = [("a", kernels, grid), ("b", kernels, grid)]
    monkeypatch.setitem(eff_pictures.PICTURES, "small", lambda t: ({"blurred": t * 0.9, "truth": t}, drawn))
    found = eff_pictures.make("small", truth, tmp_path / "small.jpg")
    from PIL import Image

    picture = Image.open(tmp_path / "small.jpg")
    assert list(found) == ["blurred"] and picture.format == "JPEG" and picture.width == 8 + 3 * 368
    row = torch.tensor([picture.getpixel((x, 8 + 26 + 100)) for x in range(picture.width)])
    white = (row > 235).all(1).float()
    assert white[:5].all() and white[370:374].all()                                     # gaps
    assert white[10:366].mean() < 0.5 and white[380:734].mean() < 0.5                    # photographs
