"""SVBR-Net: a blurred photograph and the radius of its blur at every pixel, restored in one pass."""
import torch
from torch import nn

from svconv._shapes import Dims
from svconv.models.images import check_finite, continued, cropped
from svconv.models.pretrained import Pretrained
from svconv.models.svbr_net.blocks import ConvNorm, Down, Residual, Up

MAX_RADIUS = 6.0        # pixels; the map is divided by it, larger radii count as this one
MULTIPLE = 4            # of which the sides have to be


SHIFT, WEAK = 2.0, 0.1  # of the start: how far above 0 a normalised colour is held, so that ReLU lets it through; of what is added to it


class MapBranch(nn.Module):
    """The features of the radius map that the image branch takes in: widths 8 and 40 at full size, 16 and 32 at half, 32 at a quarter."""

    def __init__(self):
        super().__init__()
        self.b1, self.b2, self.b3 = ConvNorm(1, 8), Residual(8), Down(8, 16)
        self.b4, self.b5, self.b6 = ConvNorm(16, 16), Residual(16), Down(16, 32)
        self.b7, self.b8, self.b9, self.b10 = ConvNorm(32, 32), ConvNorm(32, 32), Residual(32), Residual(32)
        self.b11, self.b12, self.b13 = Up(32, 16), ConvNorm(16, 16), Residual(32)
        self.b14, self.b15, self.b16 = Up(32, 32), ConvNorm(32, 32), Residual(40)

    def forward(self, radius):
        b1 = self.b1(radius)
        b2 = self.b2(b1)
        b4 = self.b4(self.b3(b2))
        b5 = self.b5(b4)
        b10 = self.b10(self.b9(self.b8(self.b7(self.b6(b5)))))
        b13 = self.b13(torch.cat([self.b12(self.b11(b10)), b4], 1))
        return b2, b5, b10, b13, self.b16(torch.cat([self.b15(self.b14(b13)), b1], 1))


class ImageBranch(nn.Module):
    """From the blurred photograph to the sharp one, with the features of the map at every scale."""

    def __init__(self):
        super().__init__()
        self.a1, self.a2, self.a3, self.a4 = ConvNorm(3, 8), Residual(8), ConvNorm(16, 8), Down(8, 16)
        self.a5, self.a6, self.a7, self.a8 = ConvNorm(16, 16), Residual(16), ConvNorm(32, 16), Down(16, 32)
        self.a9, self.a10, self.a11, self.a12 = ConvNorm(32, 32), ConvNorm(32, 32), Residual(32), Residual(32)
        self.a13, self.a14, self.a15, self.a16 = ConvNorm(64, 32), Up(32, 16), ConvNorm(16, 16), Residual(16)
        self.a17, self.a18, self.a19 = ConvNorm(48, 16), ConvNorm(32, 32), Up(32, 8)
        self.a20, self.a21, self.a22, self.a23 = ConvNorm(8, 8), ConvNorm(16, 8), Residual(8), ConvNorm(48, 8)
        self.out = nn.Conv2d(8, 3, 3, padding=1)
        self._pass_through()

    @torch.no_grad()
    def _pass_through(self):
        """The start: the three colours pass all layers of full size, so that what has to be learned is the difference. From a random start
        thousands of steps go by until a network of eight channels has found the colours of its input again."""
        for block in (self.a1, self.a3, self.a21, self.a23):
            _pass_colours(block.conv.weight, 1.0)
            block.norm.bias[:3] = SHIFT
        for block in (self.a2, self.a22):
            block[1].norm.weight.fill_(WEAK)
        _pass_colours(self.out.weight, 1.0)
        self.out.bias.fill_(-SHIFT - 0.3)      # a colour x of mean 0.43 and deviation 0.25: sigmoid(4 (x - 0.5)) is nearly x

    def forward(self, image, features):
        b2, b5, b10, b13, b16 = features
        a3 = self.a3(torch.cat([self.a2(self.a1(image)), b2], 1))
        a7 = self.a7(torch.cat([self.a6(self.a5(self.a4(a3))), b5], 1))
        a11 = self.a11(self.a10(self.a9(self.a8(a7))))
        a14 = self.a14(self.a13(torch.cat([self.a12(a11), b10], 1)))
        a16 = torch.cat([self.a16(self.a15(a14)), b13], 1)
        a19 = self.a19(self.a18(torch.cat([a7, self.a17(a16)], 1)))
        a22 = torch.cat([self.a22(self.a21(torch.cat([a3, self.a20(a19)], 1))), b16], 1)
        return torch.sigmoid(self.out(self.a23(a22)))


def _pass_colours(weight, gain):
    """The first three outputs of a convolution become its first three inputs, and little of the others."""
    weight[:3] *= WEAK
    for colour in range(3):
        weight[colour, colour, 1, 1] = gain


class SVBRNet(Pretrained, nn.Module):
    """Defocus removed by a network that takes the blur radius at every pixel, and whose training has seen maps that are wrong in places.

    `image` and `radius / 6` enter two branches of three scales; features of the map's branch are joined to those of the image's. 362,099
    parameters. Sides are padded to multiples of 4 by replication and cropped.

    Shapes:
        forward(image [B, 3, H, W], 0..1; radius [B|1, 1, H, W] in pixels, 0 and more, dtype of the image) -> [B, 3, H, W] in 0..1.
        Radii above 6 count as 6.

    Raises:
        ValueError, TypeError: naming the argument: a wrong shape or dtype, NaN, infinite values, a radius below 0.

    In eval mode batch normalisation is folded into the convolutions. Memory under `no_grad`: about 200 float32 planes of the image's size;
    `svconv.models.svbr_net.restore_tiled` takes large photographs in tiles. Bit-identical from run to run with a fixed number of threads.

    SVBR-Net (2023).

    >>> import torch
    >>> model = SVBRNet().eval()
    >>> sum(p.numel() for p in model.parameters())
    362099
    >>> with torch.no_grad():
    ...     model(torch.rand(1, 3, 30, 41), torch.full((1, 1, 30, 41), 2.0)).shape
    torch.Size([1, 3, 30, 41])
    """

    weights_prefix, default_weights = "svbr-", "synthetic"

    def __init__(self):
        super().__init__()
        self.arguments = {}
        self.map_branch, self.image_branch = MapBranch(), ImageBranch()
        self.to(memory_format=torch.channels_last)      # the faster layout of such narrow convolutions

    def forward(self, image, radius):
        check_input(image, radius)
        size = image.shape[-2:]
        image, radius = continued(image, MULTIPLE), continued((radius / MAX_RADIUS).clamp_max(1), MULTIPLE)
        features = self.map_branch(radius)
        if radius.shape[0] != image.shape[0]:
            features = [t.expand(image.shape[0], -1, -1, -1) for t in features]
        return cropped(self.image_branch(image, features), size)


def check_input(image, radius):
    """Raises unless the two are what `SVBRNet` takes."""
    dims = Dims()
    dims.check("image", image, "B 3 H W")
    dims.check("radius", radius, "B? 1 H W")
    if radius.dtype != image.dtype:
        raise TypeError(f"radius: expected {image.dtype} like image, got {radius.dtype}")
    if radius.device != image.device:
        raise TypeError(f"radius: expected device {image.device} like image, got {radius.device}")
    if torch.compiler.is_compiling():
        return
    for name, t in (("image", image), ("radius", radius)):
        check_finite(name, t)
    least = float(radius.detach().min()) if radius.numel() else 0.0
    if least < 0:
        raise ValueError(f"radius: expected values >= 0, got {least:g}")
