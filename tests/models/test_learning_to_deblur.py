"""Learning to Deblur: parameter counts, conventions, features against convolution, degenerate images, files."""
import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from torch.nn import functional as F

from svconv.data import motion_kernel
from svconv.models import LearningToDeblur
from svconv.models.learning_to_deblur.features import FeatureModule, differences
from svconv.models.learning_to_deblur.model import sharpen_kernel

pytestmark = pytest.mark.usefixtures("one_thread")


def count(model):
    return sum(p.numel() for p in model.parameters())


def texture(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (dict(stages=1), 3744),
        (dict(stages=2), 10081),
        (dict(), 16546),
        (dict(kernel_sizes=(17, 25)), 35685),
        (dict(kernel_sizes=(17, 25, 33)), 54824),
        (dict(stages=1, filters=8), 8 * 81 + 64 + 32),
        (dict(stages=1, hidden=0), 2592 + 128),
        (dict(stages=1, hidden=2), 3744 + 1024),
        (dict(stages=1, features=4), 3744 + 128),
        (dict(stages=1, fixed_gradients=True), 3744 - 64),
        (dict(stages=1, bias=True), 3744 + 64),
        (dict(stages=1, filter_size=5), 32 * 25 + 1024 + 128),
    ],
)
def test_parameter_counts(arguments, expected):
    assert count(LearningToDeblur(**arguments)) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        dict(),
        dict(kernel_sizes=(5, 9), stages=2),
        dict(hidden=0, output_tanh=True),
        dict(fixed_gradients=True),
        dict(bias=True, hidden=2, features=3),
        dict(sharpen=True),
    ],
)
def test_shapes_and_kernels_that_are_distributions(arguments):
    model = LearningToDeblur(**{"kernel_sizes": (9,), "stages": 3, "filters": 6, "filter_size": 5, **arguments}).eval()
    result = model(texture(2, 1, 40, 51))
    assert result.latent.shape == (2, 1, 40, 51)
    assert len(result.kernels) == len(model.kernel_sizes) * model.arguments["stages"]
    for k in (result.kernel, *result.kernels):
        assert (k >= 0).all()
        torch.testing.assert_close(k.sum((1, 2)), torch.ones(2))
    assert result.kernel.shape == (2, 9, 9)
    result.kernel.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.scales[0]["stages"][0].parameters())


class Oracle(torch.nn.Module):
    """Feature module that knows the sharp image: what remains are the quotients and their conventions."""

    def __init__(self, sharp):
        super().__init__()
        self.sharp = sharp

    def forward(self, blurry, latent=None):
        return differences(self.sharp), differences(blurry)


@pytest.mark.parametrize("size", [9, 8])
def test_with_perfect_features_it_finds_the_kernel_of_a_true_convolution(size):
    sharp = texture(1, 1, 96, 90)
    kernel = motion_kernel(size, generator=torch.Generator().manual_seed(2))[0]
    c = size // 2
    full = convolve2d(sharp[0, 0].numpy(), kernel.numpy(), boundary="symm")
    blurry = torch.from_numpy(full[c : c + 96, c : c + 90].astype(np.float32))[None, None]
    model = LearningToDeblur((size,), 1).eval()
    model.scales[0]["stages"][0] = Oracle(sharp)
    with torch.no_grad():
        result = model(blurry)
    assert float((result.kernel[0] - kernel).abs().max()) < 0.01
    inner = (slice(None), slice(None), slice(16, -16), slice(16, -16))
    before, after = (float((t - sharp)[inner].square().mean()) for t in (blurry, result.latent))
    assert after < 0.3 * before


@pytest.mark.parametrize("channels, bias, hidden", [(1, False, 1), (2, True, 2), (2, False, 0)])
def test_the_features_are_the_convolutions_that_the_paper_draws(channels, bias, hidden):
    module = FeatureModule(channels, 2, 8, 5, hidden, bias)
    images = texture(2, channels, 44, 39).split(1, 1)
    biases = [None] * (hidden + 1) if module.bias is None else [torch.nn.init.normal_(b) for b in module.bias]
    h = torch.tanh(F.conv2d(F.pad(torch.cat(images, 1), (2,) * 4, mode="replicate"), module.filters, biases[0]))
    for mix, b in zip(module.hidden, biases[1:]):
        h = torch.tanh(F.conv2d(h, mix[:, :, None, None], b))
    for features, weights in zip(module(*images), (module.sharp, module.blurry)):
        torch.testing.assert_close(features, F.conv2d(h, weights[:, :, None, None]), atol=1e-5, rtol=1e-4)


def test_brightness_does_not_matter():
    model, y = LearningToDeblur(stages=2).eval(), 0.5 * texture(1, 1, 48, 48)
    with torch.no_grad():
        a, b = model(y), model(y + 0.25)
    torch.testing.assert_close(a.kernel, b.kernel, atol=1e-4, rtol=0)
    torch.testing.assert_close(a.latent + 0.25, b.latent, atol=1e-3, rtol=0)


@pytest.mark.parametrize("bias", [False, True])
def test_a_constant_image_gives_the_delta_and_leaves_the_others_alone(bias):
    model = LearningToDeblur(stages=2, bias=bias).eval()
    if bias:
        for stage in model.scales[0]["stages"]:
            for b in stage.bias:
                torch.nn.init.normal_(b)
    y = texture(2, 1, 40, 40)
    y[1] = 0.3
    with torch.no_grad():
        both, alone = model(y), model(y[:1])
    delta = torch.zeros(17, 17)
    delta[8, 8] = 1
    assert torch.equal(both.kernel[1], delta)
    torch.testing.assert_close(both.latent[1], y[1])
    torch.testing.assert_close(both.kernel[0], alone.kernel[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "y",
    [
        torch.full((1, 1, 40, 40), float("nan")),
        torch.full((1, 1, 40, 40), float("inf")),
        torch.zeros(1, 3, 40, 40),
        torch.zeros(1, 1, 33, 40),
        torch.zeros(1, 1, 40, 40, dtype=torch.uint8),
        torch.zeros(40, 40),
    ],
)
def test_bad_images_are_refused(y):
    with pytest.raises(ValueError, match="^y:"):
        LearningToDeblur(stages=1)(y)


@pytest.mark.parametrize(
    "arguments, name",
    [
        (dict(kernel_sizes=()), "kernel_sizes"),
        (dict(kernel_sizes=(25, 17)), "kernel_sizes"),
        (dict(stages=0), "stages"),
        (dict(filter_size=4), "filter_size"),
        (dict(features=(2,)), "features"),
        (dict(features=0), "features"),
        (dict(features=4, fixed_gradients=True), "features"),
    ],
)
def test_bad_constructor_arguments_are_named(arguments, name):
    with pytest.raises(ValueError, match=f"^{name}:"):
        LearningToDeblur(**arguments)


def test_an_added_stage_keeps_the_kernels_of_the_former_ones():
    model, y = LearningToDeblur(stages=1), texture(1, 1, 48, 48)
    with torch.no_grad():
        before = model.estimate(y)[0]
        model.add_stage()
        model.add_stage()
        after = model.estimate(y)[0]
    assert count(model) == 16546 and len(after) == 3
    torch.testing.assert_close(after[0], before[0])
    LearningToDeblur(**model.arguments).load_state_dict(model.state_dict())


def test_a_warm_stage_starts_near_the_kernel_of_the_former_one():
    y, errors = texture(1, 1, 64, 64), []
    for warm in (True, False):
        torch.manual_seed(0)
        model = LearningToDeblur(stages=1)
        model.add_stage(warm=warm)
        model.add_stage(warm=warm)  # four pairs after two
        with torch.no_grad():
            kernels = model.estimate(y)[0]
        errors.append(float((kernels[-1] - kernels[0]).abs().sum()))
    assert errors[0] < 0.5 * errors[1]


def test_an_added_scale_keeps_the_kernels_of_the_coarser_ones():
    model, y = LearningToDeblur((5,), stages=2, filter_size=3), texture(1, 1, 48, 48)
    with torch.no_grad():
        coarse = model.estimate(torch.nn.functional.interpolate(y, (34, 34), mode="bicubic", antialias=True))[0]
        model.add_scale(7)
        kernels = model.estimate(y)[0]
    assert model.kernel_sizes == (5, 7) and [k.shape[-1] for k in kernels] == [5, 5, 7, 7]
    torch.testing.assert_close(kernels[0], coarse[0], atol=1e-5, rtol=0)
    LearningToDeblur(**model.arguments).load_state_dict(model.state_dict())
    with pytest.raises(ValueError, match="^kernel_size: expected more than 7"):
        model.add_scale(7)
    model.add_scale(33)
    assert model.sharpen


def test_sharpening_narrows_a_blurred_kernel():
    k = torch.zeros(1, 9, 9)
    k[0, 3:6, 3:6] = torch.tensor([[1.0, 2, 1], [2, 8, 2], [1, 2, 1]])
    k /= k.sum()
    sharp = sharpen_kernel(k)
    torch.testing.assert_close(sharp.sum(), torch.tensor(1.0))
    assert float(sharp[0, 4, 4]) > 1.2 * float(k[0, 4, 4])
    assert LearningToDeblur((17, 25, 33)).sharpen and not LearningToDeblur((17, 25)).sharpen


def test_two_runs_agree_in_every_bit():
    model, y = LearningToDeblur().eval(), texture(1, 1, 64, 70)
    with torch.no_grad():
        assert torch.equal(model(y).kernel, model(y).kernel)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_saved_weights_come_back(tmp_path, dtype):
    model = LearningToDeblur((5, 9), stages=2, filters=4, features=(1, 2)).eval()
    model.save(tmp_path / "w.pt", dtype)
    again = LearningToDeblur.load(tmp_path / "w.pt")
    assert again.arguments == model.arguments and not again.training
    for a, b in zip(model.parameters(), again.parameters()):
        torch.testing.assert_close(a.to(dtype).float(), b)


def test_damaged_and_foreign_files_are_named(tmp_path):
    path = tmp_path / "w.pt"
    with pytest.raises(ValueError, match="w.pt: no such"):
        LearningToDeblur.load(path)
    LearningToDeblur(stages=1, filters=4).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="w.pt: not a readable"):
        LearningToDeblur.load(path)
    for stored in (
        {"a": 1},
        [1],
        {"model": "SVMAP", "arguments": {}, "state": {}},
        {"model": "LearningToDeblur", "arguments": {"stages": 1}, "state": {}},
        {"model": "LearningToDeblur", "arguments": {"colour": 1}, "state": {}},
    ):
        torch.save(stored, path)
        with pytest.raises(ValueError, match="w.pt"):
            LearningToDeblur.load(path)


def test_unknown_weights_name_the_known_ones():
    with pytest.raises(ValueError, match="^name: .*'ltd-99'.*known: "):
        LearningToDeblur.from_pretrained("ltd-99")
    with pytest.raises(ValueError, match="^name:"):
        LearningToDeblur.from_pretrained("../weights/ltd-17")
