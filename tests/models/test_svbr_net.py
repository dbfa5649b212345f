"""SVBR-Net: the network of the paper, what it takes, folded batch normalisation, weight files."""
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import svconv
from svconv.files import FileError
from svconv.models import LearningToDeblur, SVBRNet
from svconv.models.pretrained import FOLDER
from svconv.models.svbr_net import HALO, restore_tiled


def trained_like(seed=0, dtype=torch.float32):
    """A network whose batch normalisation has seen something: statistics and scales that are not those of the start."""
    torch.manual_seed(seed)
    model = SVBRNet().to(dtype)
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for t, low, high in ((module.running_mean, -0.3, 0.3), (module.running_var, 0.3, 1.5), (module.weight, 0.5, 1.5),
                                 (module.bias, -0.3, 0.3)):
                t.data.copy_(low + (high - low) * torch.rand(t.shape, generator=generator))
    return model.eval()


def scene(height, width, batch=1, maps=1, dtype=torch.float32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(batch, 3, height, width, generator=generator, dtype=torch.float64)
    return image.to(dtype), (7 * torch.rand(maps, 1, height, width, generator=generator, dtype=torch.float64)).to(dtype)


def plain(module, x):
    """ConvNorm without folding."""
    x = torch.nn.functional.batch_norm(module.conv(x), module.norm.running_mean, module.norm.running_var, module.norm.weight,
                                       module.norm.bias, False, 0.0, module.norm.eps)
    return x.relu() if module.relu else x


def test_it_has_the_papers_parameters():
    model = SVBRNet()
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 362_099
    assert sum(b.numel() for name, b in model.named_buffers() if name.endswith(("running_mean", "running_var"))) == 2_976
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.01)}
    assert model.arguments == {} and set(model.state_dict()) == {name for name, _ in [*model.named_parameters(), *model.named_buffers()]}


@pytest.mark.parametrize("height, width", [(32, 48), (30, 41), (4, 4), (1, 1), (1, 9), (7, 2)])
def test_any_size(height, width):
    model = trained_like()
    image, radius = scene(height, width, batch=2)
    with torch.no_grad():
        found = model(image, radius)
    assert found.shape == image.shape and found.dtype == image.dtype and 0 <= float(found.min()) and float(found.max()) <= 1


def test_sides_are_padded_by_replication_and_cropped():
    model = trained_like()
    image, radius = scene(18, 27)
    padded = [torch.nn.functional.pad(t, (0, 1, 0, 2), mode="replicate") for t in (image, radius)]
    with torch.no_grad():
        torch.testing.assert_close(model(image, radius), model(*padded)[..., :18, :27], rtol=0, atol=1e-6)


def test_radii_are_divided_by_six_and_larger_ones_count_as_six():
    model = trained_like()
    image, radius = scene(16, 16)
    seen = []
    model.map_branch.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    with torch.no_grad():
        a, b = model(image, radius), model(image, radius.clamp_max(6))
    assert float(radius.max()) > 6 and torch.equal(seen[0], (radius / 6).clamp_max(1)) and torch.equal(a, b)


def test_a_shared_map_is_that_map_for_each_image():
    model = trained_like(dtype=torch.float64)
    image, radius = scene(16, 20, batch=3, dtype=torch.float64)
    with torch.no_grad():
        each = torch.cat([model(part[None], radius) for part in image])
        torch.testing.assert_close(model(image, radius), each, rtol=0, atol=1e-12)


def test_folded_normalisation_is_the_normalisation(monkeypatch):
    model = trained_like(dtype=torch.float64)
    image, radius = scene(24, 20, dtype=torch.float64)
    folded = model(image, radius)
    monkeypatch.setattr("svconv.models.svbr_net.blocks.ConvNorm.forward", plain)
    torch.testing.assert_close(folded, model(image, radius), rtol=0, atol=1e-12)


def test_nothing_that_is_folded_goes_stale():
    """Weights changed in place, and statistics taken over by training, count in the next call."""
    model, other = trained_like(0), trained_like(1)
    image, radius = scene(16, 16)
    with torch.no_grad():
        first = model(image, radius)
        model.load_state_dict(other.state_dict())
        assert torch.equal(model(image, radius), other(image, radius)) and not torch.equal(first, other(image, radius))
        model.train()(image, radius)
        assert not torch.equal(model.eval()(image, radius), other(image, radius))


def test_training_statistics_follow_the_rule_of_keras():
    model = SVBRNet()
    image, radius = scene(16, 16, batch=4, maps=4)
    first = model.image_branch.a1
    model.train()(image, radius)
    seen = first.conv(image)
    torch.testing.assert_close(first.norm.running_mean, 0.01 * seen.mean((0, 2, 3)).detach(), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(first.norm.running_var, 0.99 + 0.01 * seen.var((0, 2, 3)).detach(), rtol=1e-4, atol=1e-7)


def test_the_transposed_convolution_drops_the_last_row_and_column():
    up = SVBRNet().map_branch.b11.double()
    x = torch.rand(1, 32, 5, 6, dtype=torch.float64)
    seen = {}
    up.enlarge.register_forward_hook(lambda module, arguments, output: seen.update(x=arguments[0]))
    up.after[0].register_forward_pre_hook(lambda module, arguments: seen.update(y=arguments[0]))
    up(x)
    expected = up.enlarge.bias[None, :, None, None].repeat(1, 1, 10, 12)
    for k in range(3):      # y[2 i + k] += w[k] x[i]
        for m in range(3):
            part = torch.einsum("bchw,cd->bdhw", seen["x"], up.enlarge.weight[:, :, k, m])
            rows, columns = (5 if k < 2 else 4), (6 if m < 2 else 5)
            expected[:, :, k:k + 2 * rows:2, m:m + 2 * columns:2] += part[:, :, :rows, :columns]
    torch.testing.assert_close(seen["y"], expected, rtol=0, atol=1e-12)


def test_every_parameter_learns_and_gradients_reach_image_and_radius():
    model = SVBRNet()
    image, radius = scene(20, 18, batch=2, maps=2)
    radius = (radius / 2).requires_grad_()
    model(image.requires_grad_(), radius).square().sum().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.parameters())
    without = [name for name, p in model.named_parameters() if not p.grad.any() and not name.endswith("conv.bias")]
    assert not without and bool(image.grad.any()) and bool(radius.grad.any())


@pytest.mark.parametrize("change, error, text", [
    (lambda x, r: (x[:, :2], r), ValueError, "image: expected 3 "),
    (lambda x, r: (x, r[..., :-1]), ValueError, "radius: expected W of image = 16"),
    (lambda x, r: (x, r.expand(1, 3, -1, -1)), ValueError, "radius: expected"),
    (lambda x, r: (x, torch.cat([r, r, r])), ValueError, "radius: expected"),
    (lambda x, r: (x, r.double()), TypeError, "radius: expected torch.float32 like image"),
    (lambda x, r: ((255 * x).to(torch.uint8), r), TypeError, "image: expected dtype"),
    (lambda x, r: (x, -r), ValueError, "radius: expected values >= 0, got -"),
    (lambda x, r: (x, torch.where(r > 3, torch.nan, r)), ValueError, "radius: holds NaN"),
    (lambda x, r: (torch.where(x > 0.5, torch.inf, x), r), ValueError, "image: holds NaN or infinite"),
])
def test_bad_input_is_named(change, error, text):
    with pytest.raises(error, match=text):
        SVBRNet().eval()(*change(*scene(16, 16)))


def test_an_empty_batch_stays_one():
    image, radius = scene(16, 16, batch=0)
    assert trained_like()(image, radius).shape == (0, 3, 16, 16)


def test_large_finite_values_are_no_error():
    image, radius = scene(16, 16)
    image[0, :, 3] = 3e38
    with torch.no_grad():
        SVBRNet().eval()(image, radius)


def test_weight_files(tmp_path):
    model = trained_like()
    model.save(tmp_path / "w.pt")
    loaded = SVBRNet.load(tmp_path / "w.pt")
    image, radius = scene(16, 20)
    with torch.no_grad():
        assert torch.equal(loaded(image, radius), model(image, radius)) and not loaded.training
    with pytest.raises(FileError, match="w.pt: holds weights of SVBRNet, expected LearningToDeblur"):
        LearningToDeblur.load(tmp_path / "w.pt")
    LearningToDeblur(stages=1).save(tmp_path / "other.pt")
    with pytest.raises(FileError, match="other.pt: holds weights of LearningToDeblur, expected SVBRNet"):
        SVBRNet.load(tmp_path / "other.pt")
    with pytest.raises(ValueError, match="name: no weights 'nowhere'"):
        SVBRNet.from_pretrained("nowhere")


@pytest.mark.parametrize("height, width, tile, count", [(240, 40, 32, 16), (30, 251, 60, 5), (50, 50, 64, 1), (1, 1, 1, 1)])
def test_tiles_are_one_pass(height, width, tile, count):
    model = trained_like(dtype=torch.float64)
    image, radius = scene(height, width, batch=2, dtype=torch.float64)
    steps = []
    found = restore_tiled(model, image, radius, tile=tile, callback=lambda step, total: steps.append((step, total)))
    with torch.no_grad():
        torch.testing.assert_close(found, model(image, radius), rtol=0, atol=1e-12)
    assert steps == [(i, count) for i in range(1, count + 1)] and found.is_contiguous() and not found.requires_grad


def positive(model):
    """The model with weights above 0, so that every pixel that can matter does."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.zero_() if name.endswith("bias") else p.abs_()
            if p.dim() == 4:
                p /= p.sum() / p.shape[0]
    return model


@pytest.mark.parametrize("what", ["image", "map"])
@pytest.mark.parametrize("place", range(4))
def test_the_halo_is_the_receptive_field(what, place):
    model, seen = positive(SVBRNet().double().eval()), []
    model.image_branch.out.register_forward_hook(lambda module, arguments, output: seen.append(output))
    image, radius = scene(16, 192, dtype=torch.float64)
    with torch.no_grad():
        model.image_branch(image, model.map_branch(radius))
        (image if what == "image" else radius)[..., 96 + place] = 1e60
        model.image_branch(image, model.map_branch(radius))
    reached = (seen[0] != seen[1]).flatten(0, 2).any(0).nonzero().flatten() - 96 - place
    assert -HALO <= int(reached.min()) < -76 and 76 < int(reached.max()) <= HALO


@pytest.mark.parametrize("change, error, text", [
    (dict(tile=0), ValueError, "^tile: "), (dict(tile=1.5), ValueError, "^tile: "),
    (dict(radius=torch.full((1, 1, 8, 8), -1.0)), ValueError, "^radius: expected values"),
])
def test_bad_tiles_are_named(change, error, text):
    image, radius = scene(8, 8)
    with pytest.raises(error, match=text):
        restore_tiled(SVBRNet().eval(), **{"image": image, "radius": radius, **change})


def test_a_network_in_training_is_not_tiled():
    with pytest.raises(ValueError, match="^model: "):
        restore_tiled(SVBRNet(), *scene(8, 8))


def test_at_the_start_the_colours_pass_through():
    """Nearly: normalised by the batch, without the tails that ReLU and the sigmoid cut off."""
    torch.manual_seed(3)
    small = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.interpolate(small, scale_factor=8, mode="bicubic").clamp(0, 1)
    with torch.no_grad():
        found = SVBRNet()(image, torch.full((1, 1, 64, 64), 2.0))
    for colour in range(3):
        pair = torch.stack([found[:, colour].flatten(), image[:, colour].flatten()])
        assert float(torch.corrcoef(pair)[0, 1]) > 0.9
    assert float((found - image).square().mean().sqrt()) < 0.15


def test_the_shipped_weights_restore_a_photograph_with_a_right_and_with_a_wrong_map():
    """The photograph of the demo, which they have not seen."""
    path = next(Path(svconv.cli.__file__).parent.glob("data/*.[jp][pn]g"))
    sharp = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None, :, 60:260, 100:340] / 255
    radius = torch.linspace(0.5, 5, 240).expand(1, 1, 200, 240).contiguous()
    blurry = svconv.disk_blur(sharp, radius)
    model = SVBRNet.from_pretrained("synthetic")
    assert not model.training and SVBRNet.known_weights() == ["svbr-synthetic"] and (FOLDER / "svbr-synthetic.pt").stat().st_size < 6e6
    with torch.no_grad():
        right, wrong = model(blurry, radius), model(blurry, (1.2 * radius - 0.3).clamp_min(0))
    psnr = [-10 * float((x - sharp).square().mean().log10()) for x in (blurry, right, wrong)]
    assert psnr[1] > psnr[0] + 1 and psnr[2] > psnr[0] + 0.6, psnr
    similarity = [float(svconv.nn.SSIMLoss().similarity(x, sharp)) for x in (blurry, right, wrong)]
    assert similarity[1] > similarity[0] + 0.02 and similarity[2] > similarity[0] + 0.01, similarity
