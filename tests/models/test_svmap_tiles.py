"""Large images: SVMAP and SIMAP tile by tile."""
from pathlib import Path

import pytest
import torch

import svconv
from svconv.data import degrade, motion_kernel
from svconv.files import read_image
from svconv.models import SIMAP, SVMAP
from svconv.models.svmap import HALO, restore_tiled, tiles

pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(kind, **arguments):
    torch.manual_seed(0)
    return kind(width=4, max_iter=40, **arguments)


@pytest.fixture(scope="module")
def scene():
    """(blurred, kernel): a long part of the demo photograph."""
    path = next(Path(svconv.cli.__file__).parent.glob("data/*.[jp][pn]g"))
    sharp = torch.from_numpy(read_image(path).pixels / 255.0).float().permute(2, 0, 1)[None, :, 100:180, 100:440].contiguous()
    generator = torch.Generator().manual_seed(0)
    kernel = motion_kernel(9, 1, generator=generator)
    return degrade(svconv.conv(sharp, kernel, padding="replicate"), gaussian=0.01, generator=generator), kernel


@pytest.mark.parametrize("kind", [SVMAP, SIMAP])
def test_tiles_leave_no_seam(scene, kind):
    """At the places of the cuts tiles and one pass differ no more than anywhere, and by little of what is restored.

    SIMAP's filters are the mean over a tile: they do not agree there, so that only the size of the difference is bounded.
    """
    model, (y, kernel) = seeded(kind), scene
    with torch.no_grad():
        whole = model(y, kernel)
    found = restore_tiled(model, y, kernel, tile=120, whole=0)
    difference, change = (found - whole).square().mean((0, 1, 2)).sqrt(), float((whole - y).square().mean().sqrt())
    assert float(difference.max()) < 0.3 * change and not torch.equal(found, whole)
    cuts = [tile[1].last for tile in tiles.tiles_of(y.shape[-2:], kernel.shape[-2:], 120, 0) if tile[1].last]
    assert len(cuts) == 2
    if kind is SVMAP:
        assert max(float(difference[cut - 4:cut + 4].max()) for cut in cuts) < 0.15 * change      # seen: 0.05
    alone = restore_tiled(model, y, kernel, tile=120, whole=y[0, 0].numel())
    assert torch.equal(alone, whole) and not found.requires_grad and found.is_contiguous()


def test_without_surroundings_a_seam_is_seen(scene, monkeypatch):
    model, (y, kernel) = seeded(SVMAP), scene
    monkeypatch.setattr(tiles, "HALO", -9)
    found = restore_tiled(model, y, kernel, tile=170, whole=0)
    with torch.no_grad():
        whole = model(y, kernel)
    difference = (found - whole).square().mean((0, 1, 2)).sqrt()
    assert float(difference[166:174].max()) > 0.25 * float((whole - y).square().mean().sqrt())


def test_the_callback_counts_all_steps(scene):
    model, (y, kernel) = seeded(SVMAP, tol=0), scene
    model.arguments["max_iter"] = 3
    steps = []
    restore_tiled(model, y, kernel, tile=120, whole=0, callback=lambda step, total, x: steps.append((step, total, tuple(x.shape[:2]))))
    assert steps == [(i, 18, (1, 3)) for i in range(1, 19)]


def test_a_batch_and_kernels_of_every_layout(scene):
    model, (y, kernel) = seeded(SVMAP, data_filters=0), scene
    y = torch.cat([y, y.flip(-1)])[..., :240]
    found = restore_tiled(model, y, kernel[:, None].expand(2, 3, -1, -1), tile=120, whole=0)
    assert found.shape == y.shape and bool(torch.isfinite(found).all())
    assert [len(tiles.tiles_of(size, (9, 9))) for size in ((800, 1024), (801, 1024), (1600, 1600))] == [1, 4, 9]
    assert HALO >= 48


@pytest.mark.parametrize("change, text", [
    (dict(tile=0), "tile: "), (dict(tile=1.5), "tile: "), (dict(whole=-1), "whole: "), (dict(kernel=torch.rand(3)), "kernel: "),
    (dict(y=torch.rand(1, 1, 9, 9)), "y: expected 3 at axis 1"),
])
def test_bad_arguments_are_named(scene, change, text):
    with pytest.raises(ValueError, match=text):
        restore_tiled(seeded(SVMAP), **{"y": scene[0], "kernel": scene[1], **change})
