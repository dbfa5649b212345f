"""VGG19Features: the layout of the published network, files of both kinds, names that are missing or do not fit."""
import pytest
import torch
from torch.nn import functional

from svconv.files import FileError
from svconv.nn import FeatureDistance, VGG19Features

# (place of the convolution, channels in, channels out, whether its map counts), "M" the pooling before it
LAYOUT = [(0, 3, 64, True), (2, 64, 64, False), "M", (5, 64, 128, True), (7, 128, 128, False), "M", (10, 128, 256, True),
          (12, 256, 256, False), (14, 256, 256, False), (16, 256, 256, False), "M", (19, 256, 512, True), (21, 512, 512, False),
          (23, 512, 512, False), (25, 512, 512, False), "M", (28, 512, 512, True)]


@pytest.fixture(scope="module")
def state():
    """Random weights that keep the size of what goes through, and names of the rest of the network."""
    generator, found = torch.Generator().manual_seed(0), {}
    for layer in LAYOUT:
        if layer != "M":
            n, channels, width, _ = layer
            found[f"features.{n}.weight"] = torch.randn(width, channels, 3, 3, generator=generator) * (2 / (9 * channels)) ** 0.5
            found[f"features.{n}.bias"] = 0.1 * torch.randn(width, generator=generator)
    return found | {"features.30.weight": torch.zeros(3), "classifier.0.weight": torch.zeros(2, 2)}


@pytest.fixture(scope="module")
def path(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(state, path)
    return path


def image(*shape, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)).to(dtype)


def test_it_is_the_published_layout(state):
    x = image(2, 3, 32, 20)
    y = (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    expected = []
    for layer in LAYOUT:
        if layer == "M":
            y = functional.max_pool2d(y, 2, 2)
        else:
            y = functional.relu(functional.conv2d(y, state[f"features.{layer[0]}.weight"], state[f"features.{layer[0]}.bias"], padding=1))
            expected += [y] if layer[3] else []
    features = VGG19Features(state)
    maps = features(x)
    assert [tuple(m.shape) for m in maps] == [(2, 64, 32, 20), (2, 128, 16, 10), (2, 256, 8, 5), (2, 512, 4, 2), (2, 512, 2, 1)]
    for found, wanted in zip(maps, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
        assert float(found.std()) > 0.05
    assert list(features.state_dict()) == [name for name in state if name not in ("features.30.weight", "classifier.0.weight")]
    assert sum(p.numel() for p in features.parameters()) == 12_944_960 and not any(p.requires_grad for p in features.parameters())


def test_a_distance_has_a_gradient_in_the_image_only(state):
    distance, x = FeatureDistance(VGG19Features(state)), image(1, 3, 16, 17).requires_grad_()
    value = distance(x, 1 - x.detach())
    value.backward()
    assert float(value.detach()) > 0 and float(x.grad.abs().max()) > 0 and all(p.grad is None for p in distance.parameters())


@pytest.mark.parametrize("archive", [True, False])
def test_files_of_torch_are_read_old_ones_too(state, tmp_path, archive):
    stored = {name: t.half() if archive else t for name, t in state.items()}
    torch.save(stored, tmp_path / "a.pth", _use_new_zipfile_serialization=archive)
    features = VGG19Features.from_file(tmp_path / "a.pth")
    assert all(t.dtype == torch.float32 and torch.equal(t, stored[name].float()) for name, t in features.state_dict().items())


def test_images_of_another_type_go_through_in_that_of_the_weights(path):
    features = VGG19Features.from_file(path)
    x = image(1, 3, 16, 16, dtype=torch.bfloat16)
    assert all(p.dtype == torch.float32 and torch.equal(p, q) for p, q in zip(features(x), features(x.float())))


def test_damaged_files_are_named(path, tmp_path):
    whole = path.read_bytes()
    for name, data in {"short": whole[:-1000], "half": whole[:len(whole) // 2], "text": b"no weights\n", "empty": b""}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FileError, match=f"{name}: not a readable weight file"):
            VGG19Features.from_file(tmp_path / name)
    with pytest.raises(FileError, match="nowhere: no such weight file"):
        VGG19Features.from_file(tmp_path / "nowhere")


@pytest.mark.parametrize("archive", [True, False])
def test_files_are_read_as_data_only(tmp_path, archive):
    torch.save({"features.0.weight": pytest.approx}, tmp_path / "code.pth", _use_new_zipfile_serialization=archive)
    with pytest.raises(FileError, match="code.pth: not a readable weight file"):
        VGG19Features.from_file(tmp_path / "code.pth")


def test_names_that_are_missing_or_do_not_fit_are_named(state, tmp_path):
    small = {"features.0.weight": state["features.0.weight"], "features.0.bias": torch.zeros(63)}
    for wrong, text in (({}, "features.0.weight is missing"), ({"conv1_1.weight": torch.zeros(1)}, "features.0.weight is missing"),
                        (small, r"features.0.bias: expected floating \[64\], got torch.float32 \[63\]"),
                        (small | {"features.0.bias": torch.zeros(64).long()}, "features.0.bias: expected .*torch.int64"),
                        (small | {"features.0.bias": 3}, "features.0.bias: expected .*got int"),
                        ({k: v for k, v in state.items() if k != "features.28.bias"}, "features.28.bias is missing")):
        with pytest.raises(ValueError, match=f"^state: {text}"):
            VGG19Features(wrong)
    torch.save(small, tmp_path / "small.pth")
    with pytest.raises(FileError, match=r"small.pth: not the weights of a VGG-19: features.0.bias: expected"):
        VGG19Features.from_file(tmp_path / "small.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(FileError, match="list.pth: not the weights of a VGG-19: expected a dict"):
        VGG19Features.from_file(tmp_path / "list.pth")


def test_bad_images_are_named(path):
    features = VGG19Features.from_file(path)
    with pytest.raises(ValueError, match="^x: expected sides of at least 16 pixels, got "):
        features(torch.zeros(1, 3, 15, 40))
    with pytest.raises(ValueError, match="^x: expected"):
        features(torch.zeros(1, 1, 16, 16))
