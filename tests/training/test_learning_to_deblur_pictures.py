"""Pictures of filters and features: sizes, what they show, and the option of `svconv train ltd`."""
import numpy as np
import pytest
import torch

from svconv.cli import main
from svconv.files import read_image
from svconv.models import LearningToDeblur
from svconv.training import learning_to_deblur_pictures as pictures

SMALL = "--kernel-sizes 5 --smallest 3 --size 24 --batch 2 --validation-pairs 2 --validation-size 32 --filter-size 3 --quiet".split()


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LearningToDeblur((9,), 2, 5, filters=20).eval()


def test_a_tile_for_every_filter_and_image_that_it_looks_at(model):
    picture = pictures.filter_picture(model)
    tile, line = 5 * pictures.FILTER_SCALE + pictures.GAP, pictures.CAPTION
    assert picture.dtype == np.uint8 and picture.shape[0] == 2 * line + (2 + 4) * tile and picture.shape[1] >= 16 * tile
    first = model.scales[0]["stages"][0].filters[17, 0].detach()       # the second tile of the second row
    shown = picture[line + tile:][2:20:4, tile:][:, 2:20:4].astype(float) - 127.5
    assert np.abs(shown / 127.5 - (first / first.abs().max()).numpy()).max() < 0.01


def test_one_row_of_four_disks_for_every_feature(model):
    picture = pictures.feature_picture(model)
    tile, line = 2 * 4 * 9 + pictures.GAP, pictures.CAPTION     # pixels are doubled to reach 64
    assert picture.shape == (3 * line + (1 + 2 + 2) * tile, 8 * tile + 4 * pictures.GAP)
    disks = [picture[line:line + tile - 2, i * tile:(i + 1) * tile - 2].astype(float) for i in range(4)]
    steepest = [np.abs(np.diff(disk)).max() for disk in disks]
    assert steepest == sorted(steepest, reverse=True) and steepest[0] > 2 * steepest[3]
    assert all(picture[2 * line + tile:][:tile - 2, i * tile:(i + 1) * tile - 2].std() > 1 for i in range(4))


def test_every_stage_of_every_scale_has_its_features():
    torch.manual_seed(0)
    model = LearningToDeblur((5, 9), 2, 3, filters=4)
    found = pictures.features_of(model, pictures.blurred_disks(9))
    assert [caption for caption, _, _ in found] == [f"stage {t} at {size} pixels" for size in (5, 9) for t in (1, 2)]
    assert [sharp.shape for _, sharp, _ in found] == [blurry.shape for _, _, blurry in found] == [(4, 2, 20, 20)] * 2 + [(4, 2, 36, 36)] * 2
    assert not any(stage._forward_hooks for _, stage in pictures.named_stages(model))
    assert pictures.feature_picture(model).std() > 1


def test_the_command_writes_them_at_the_end_and_for_finished_weights(photographs, tmp_path, capsys):
    call = ["train", "ltd", "--data", str(photographs), *SMALL]
    assert main([*call, "--out", str(tmp_path / "a"), "--steps", "2", "--pictures", str(tmp_path / "new" / "a")]) == 0
    assert main([*call, "--out", str(tmp_path / "b"), "--max-steps", "0", "--weights", str(tmp_path / "a" / "best-1.pt"), "--pictures",
                 str(tmp_path / "b")]) == 0
    model = LearningToDeblur.load(tmp_path / "a" / "best-1.pt")
    for folder in (tmp_path / "new" / "a", tmp_path / "b"):
        assert {"filters.png", "features.png"} <= {path.name for path in folder.iterdir()}
        assert np.array_equal(read_image(folder / "filters.png").pixels[..., 0], pictures.filter_picture(model))
        assert np.array_equal(read_image(folder / "features.png").pixels[..., 0], pictures.feature_picture(model))


@pytest.mark.parametrize("blocked", ["pictures", "pictures/filters.png"])
def test_pictures_that_cannot_be_written_are_one_line_before_the_training(photographs, tmp_path, capsys, blocked):
    if blocked == "pictures":
        (tmp_path / blocked).write_text("a file where the folder should be")
    else:
        (tmp_path / blocked).mkdir(parents=True)
    call = ["train", "ltd", "--data", str(photographs), "--out", str(tmp_path / "o"), *SMALL, "--pictures", str(tmp_path / "pictures")]
    assert main(call) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / blocked) in error and len(error.strip().splitlines()) == 1 and not (tmp_path / "o").exists()


def test_only_this_model_has_the_option(capsys):
    assert main(["train", "svbr", "--data", "a", "--out", "b", "--pictures", "c"]) == 2
    assert "--pictures" in capsys.readouterr().err
