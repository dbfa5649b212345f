"""Between two stages of a restoration network: a first image, and features that it has judged."""
import torch
from torch import nn

from svconv._shapes import Dims, check_device, number


class SupervisedAttention(nn.Module):
    """An image made of features, which says in turn which of them go on.

        image_out = conv3(features) + image;    features_out = conv3(features) sigmoid(conv3(image_out)) + features

    A loss on image_out supervises the gate.

    Args:
        channels: of the features. images: channels of the image.

    Shapes:
        forward(features [B, channels, H, W], image [B, images, H, W]) -> (features_out, image_out), each as its input.

    Raises:
        ValueError, TypeError: naming the argument.

    Gradients of every order through autograd. Bit-identical from run to run with a fixed number of threads. Memory: a few times that
    of the features. MPRNet (2021).

    >>> import torch, svconv
    >>> attention = svconv.nn.SupervisedAttention(8)
    >>> features, image = attention(torch.rand(1, 8, 5, 6), torch.rand(1, 3, 5, 6))
    >>> features.shape, image.shape
    (torch.Size([1, 8, 5, 6]), torch.Size([1, 3, 5, 6]))
    """

    def __init__(self, channels, images=3):
        super().__init__()
        self.channels, self.images = number("channels", channels, least=1, integer=True), number("images", images, least=1, integer=True)
        self.passed = nn.Conv2d(channels, channels, 3, padding=1)
        self.to_image, self.gate = nn.Conv2d(channels, images, 3, padding=1), nn.Conv2d(images, channels, 3, padding=1)

    def forward(self, features, image):
        dims = Dims()
        dims.check("features", features, f"B {self.channels} H W")
        dims.check("image", image, f"B {self.images} H W")
        check_device("features", features, "image", image)
        image = self.to_image(features) + image
        return self.passed(features) * torch.sigmoid(self.gate(image)) + features, image

    def extra_repr(self):
        return f"{self.channels}, images={self.images}"
