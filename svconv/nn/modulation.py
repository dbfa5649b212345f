"""Features changed by a map of the degradation: the block that injects what an encoder has seen."""
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from svconv._shapes import Dims, check_device, number

SLOPE = 0.2     # of the leaky ReLU


class Modulation(nn.Module):
    """Features scaled and shifted at every pixel by what a degradation map says there, added to themselves.

        u      = L(conv3(L(conv3(L(conv1([h, z]))))))      channels: channels, width, width;    L = leaky ReLU of slope 0.2
        result = h + conv3(L(h (1 + gamma) + beta)),       gamma = conv3(u), beta = conv3(u)

    with z the map, resized to h by the nearest neighbour, and spectral normalisation of the last convolution. The plain form looks at the
    map alone: u = ReLU(conv3(z)), and `h (1 + gamma) + beta` takes h through a batch normalisation without weights.

    Args:
        channels: of the features and of the map. width: channels of u. plain: the second form.

    Shapes:
        forward(h [B, channels, H, W], degradation [B|1, channels, h', w']) -> [B, channels, H, W].

    Raises:
        ValueError, TypeError: naming the argument.

    Gradients through autograd. In training mode the spectral norm follows its weights by one pass of power iteration per call, and the
    batch normalisation of the plain form takes the statistics of the batch (`torch.nn.SyncBatchNorm.convert_sync_batchnorm` joins those of
    several devices). Bit-identical from run to run with a fixed number of threads. Memory: a few times that of h and of u.

    Learning Degradation Representations for Image Deblurring (2022).

    >>> import torch, svconv
    >>> block = svconv.nn.Modulation(8, width=16)
    >>> block(torch.rand(2, 8, 9, 12), torch.rand(2, 8, 4, 4)).shape
    torch.Size([2, 8, 9, 12])
    """

    def __init__(self, channels, *, width=128, plain=False):
        super().__init__()
        self.channels, self.width = number("channels", channels, least=1, integer=True), number("width", width, least=1, integer=True)
        self.plain = bool(plain)
        if self.plain:
            self.norm = nn.BatchNorm2d(channels, affine=False)
            layers = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        else:
            layers = [nn.Conv2d(2 * channels, channels, 1), nn.LeakyReLU(SLOPE), nn.Conv2d(channels, width, 3, padding=1),
                      nn.LeakyReLU(SLOPE), nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(SLOPE)]
        self.shared = nn.Sequential(*layers)
        self.gamma, self.beta = (nn.Conv2d(width, channels, 3, padding=1) for _ in range(2))
        self.last = spectral_norm(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, h, degradation):
        dims = Dims()
        dims.check("h", h, f"B {self.channels} H W")
        dims.check("degradation", degradation, f"B? {self.channels} h w")
        check_device("h", h, "degradation", degradation)
        if degradation.shape[-2:] != h.shape[-2:]:
            degradation = functional.interpolate(degradation, h.shape[-2:], mode="nearest")
        if self.plain:
            u, normalised = self.shared(degradation), self.norm(h)
        else:
            u, normalised = self.shared(torch.cat([h, degradation.expand(h.shape[0], -1, -1, -1)], 1)), h
        modulated = normalised * (1 + self.gamma(u)) + self.beta(u)
        return h + self.last(functional.leaky_relu(modulated, SLOPE))

    def extra_repr(self):
        return f"{self.channels}, width={self.width}, plain={self.plain}"
