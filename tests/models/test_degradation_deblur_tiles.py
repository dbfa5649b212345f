"""restore_tiled of DegradationDeblur: windows, their means, what one window is, bad input."""
import pytest
import torch
from torch import nn

from svconv.models import DegradationDeblur
from svconv.models.degradation_deblur import restore_tiled
from svconv.models.degradation_deblur.tiles import starts


def made(**options):
    torch.manual_seed(0)
    return DegradationDeblur(width=4, **options).eval()


def picture(*shape, dtype=torch.float32):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("length, side, overlap", [(16, 16, 0), (17, 16, 0), (100, 32, 8), (1280, 256, 32), (720, 256, 32), (257, 256, 255),
                                                   (64, 32, 0), (65, 32, 31)])
def test_windows_cover_the_axis_share_what_they_should_and_are_few(length, side, overlap):
    found = starts(length, side, overlap)
    assert found[0] == 0 and found[-1] == max(0, length - side) and found == sorted(set(found))
    assert all(a + side - b >= overlap for a, b in zip(found, found[1:]))
    if length > side:       # one fewer would share less
        assert (length - side) > (len(found) - 2) * (side - overlap)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("options", [{}, {"version": 2}, {"code": None}], ids=str)
def test_overlaps_are_means(options, channels):
    model, y = made(**options), picture(2, channels, 40, 70)
    total, number, steps = torch.zeros_like(y), torch.zeros(40, 70), []
    with torch.no_grad():
        for top in (0, 8):
            for left in (0, 19, 38):
                total[..., top:top + 32, left:left + 32] += model(y[..., top:top + 32, left:left + 32]).x
                number[top:top + 32, left:left + 32] += 1
    found = restore_tiled(model, y, tile=32, overlap=8, callback=lambda step, steps_: steps.append((step, steps_)))
    torch.testing.assert_close(found, total / number, rtol=0, atol=1e-6)
    assert steps == [(i, 6) for i in range(1, 7)] and found.is_contiguous() and not found.requires_grad


@pytest.mark.parametrize("height, width, tile", [(40, 50, 64), (16, 16, 16), (50, 50, 50), (30, 256, 256)])
def test_one_window_is_one_pass(height, width, tile):
    model, y = made(), picture(1, 3, height, width)
    with torch.no_grad():
        assert torch.equal(restore_tiled(model, y, tile=tile, overlap=0), model(y).x)


class Pointwise(nn.Module):
    """A generator whose pixels see nothing but themselves: for it, and for no network with statistics of its image, windows do not
    matter."""

    def forward(self, image, pyramid):
        return (image.square() + 0.1,)


@pytest.mark.parametrize("size, tile, overlap", [((40, 70), 32, 8), ((33, 90), 17, 16), ((16, 100), 30, 0)])
def test_windows_of_a_pointwise_generator_are_one_pass(size, tile, overlap):
    model = made(code=None).double()
    model.deblurring = Pointwise()
    model.weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))        # that the model has a dtype
    y = picture(1, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(restore_tiled(model, y, tile=tile, overlap=overlap), model(y).x.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("change, error, text", [
    (dict(tile=15), ValueError, "^tile: expected an integer >= 16"), (dict(tile=20.5), ValueError, "^tile: "),
    (dict(overlap=-1), ValueError, "^overlap: "), (dict(tile=32, overlap=32), ValueError, "^overlap: "),
    (dict(y=torch.zeros(1, 3, 15, 40)), ValueError, "^y: expected sides"),
    (dict(y=torch.zeros(1, 2, 20, 20)), ValueError, "^y: expected 3 or 1"),
    (dict(y=torch.full((1, 3, 20, 20), torch.nan)), ValueError, "^y: holds NaN"),
    (dict(y=torch.zeros(1, 3, 20, 20).double()), TypeError, "^y: expected torch.float32"),
])
def test_bad_input_is_named(change, error, text):
    with pytest.raises(error, match=text):
        restore_tiled(made(), **{"y": picture(1, 3, 20, 20), **change})


def test_a_network_in_training_is_not_tiled():
    with pytest.raises(ValueError, match="^model: "):
        restore_tiled(made().train(), picture(1, 3, 20, 20))
