"""The first layers of VGG-19 with the weights of a file that the user has: the maps of a feature distance."""
import torch
from torch import nn

from svconv._shapes import Dims, computed
from svconv.files import FileError
from svconv.files.archives import read_archive

BLOCKS = (2, 2, 4, 4, 1)                    # convolutions before each pooling, of the last block one
WIDTHS = (64, 128, 256, 512, 512)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGG19Features(nn.Module):
    """The maps relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 of VGG-19, of images in 0..1.

    The images are normalised by the mean and the deviation of ImageNet. Then come convolutions of 3 x 3 pixels, zero padded, each with a
    ReLU: two of 64 channels, two of 128, four of 256, four of 512, one of 512, and the largest of 2 x 2 pixels before each new width.

    Args:
        state: the weights by name, `features.0.weight`, `features.0.bias`, `features.2.weight`, ..., `features.28.bias`, as torchvision
            and its files name them; other names, those of the rest of the network, are not looked at. They are not trained.

    Shapes:
        forward(x [B, 3, H, W]) -> five maps: [B, 64, H, W], [B, 128, H/2, W/2], [B, 256, H/4, W/4], [B, 512, H/8, W/8],
        [B, 512, H/16, W/16], each side rounded down. Sides of at least 16 pixels. Images of another type go through in
        that of the weights, float32 or what the module was made by `.to`.

    Raises:
        ValueError, TypeError: naming the argument and the first name that is missing or does not fit.

    Gradients in x through autograd. Memory: 12,944,960 weights, and the maps of all layers for a gradient. Simonyan and Zisserman 2014.
    """

    def __init__(self, state):
        super().__init__()
        with torch.device("meta"):
            self.features = nn.Sequential(*_layers())
        self.features.load_state_dict({name.removeprefix("features."): t for name, t in _checked(state, self.state_dict()).items()},
                                      assign=True)
        self.requires_grad_(False).eval()
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32)[:, None, None], persistent=False)

    @classmethod
    def from_file(cls, path):
        """The features with the weights of a file of torch, read as data only.

        FileError (a ValueError) naming the file: missing, damaged, or without the weights of a VGG-19, with the first name that is
        missing or does not fit.
        """
        state = read_archive(path, "weight file", old=True)
        try:
            return cls(state)
        except (TypeError, ValueError) as error:
            raise FileError(f"{path}: not the weights of a VGG-19: {str(error).removeprefix('state: ')}") from error

    def forward(self, x):
        dims = Dims()
        dims.check("x", x, "B 3 H W")
        if min(dims["H"], dims["W"]) < 16:
            raise ValueError(f"x: expected sides of at least 16 pixels, got {tuple(x.shape[-2:])}")
        x, maps, first = (x.to(self.mean.dtype) - self.mean) / self.deviation, [], True
        for layer in self.features:
            x = layer(x)
            if first and isinstance(layer, nn.ReLU):
                maps.append(x)
            first = isinstance(layer, nn.MaxPool2d) or first and not isinstance(layer, nn.ReLU)
        return maps


def _layers():
    channels = 3
    for block, (count, width) in enumerate(zip(BLOCKS, WIDTHS)):
        if block:
            yield nn.MaxPool2d(2)
        for _ in range(count):
            yield nn.Conv2d(channels, width, 3, padding=1)
            yield nn.ReLU()
            channels = width


def _checked(state, needed):
    """The tensors of the needed names, float32 where they are half."""
    if not isinstance(state, dict):
        raise TypeError(f"state: expected a dict of tensors by name, got {type(state).__name__}")
    found = {}
    for name, like in needed.items():
        t = state.get(name)
        if t is None:
            raise ValueError(f"state: {name} is missing")
        if not isinstance(t, torch.Tensor) or not t.is_floating_point() or t.shape != like.shape:
            got = f"{t.dtype} {list(t.shape)}" if isinstance(t, torch.Tensor) else type(t).__name__
            raise ValueError(f"state: {name}: expected floating {list(like.shape)}, got {got}")
        found[name] = computed(t.detach())
    return found
