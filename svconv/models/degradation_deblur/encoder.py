"""E: from a blurry image of any size to a small map of its degradation."""
from torch import nn
from torch.nn import functional

from svconv.models.degradation_deblur.blocks import SLOPE, Residual, leaky, normed, spectral
from svconv.models.reflection import ReflectedConv2d

SIDE = 256      # to which images are resized


class Encoder(nn.Module):
    """[B, 3, H, W], resized to 256 x 256 -> the map [B, 4 width, 4, 4] of version 1 or [B, 32 width, 8, 8] of version 2.

    Args:
        version: 1 or 2. width: channels of the first convolution.
        sn: "all": every convolution under spectral normalisation. "reference": all but the one of 7 x 7 and the residual blocks. In
            version 1, "all" is the table of the paper, with biases and without instance normalisation, "reference" its published code;
            version 2 is known from code alone and has instance normalisation either way.
        pooled: the map is going to be averaged: no instance normalisation of the last layer, which would make every mean 0.
    """

    def __init__(self, version, width, sn, pooled=False):
        super().__init__()
        every = sn == "all"
        table = version == 1 and every
        widths = [width * n for n in ((1, 2, 4, 8, 8) if version == 1 else (1, 2, 4, 8, 16))]
        self.strided = nn.ModuleList(normed(inputs, outputs, stride=2, norm=not table) for inputs, outputs in zip([3, *widths], widths))
        wide, deep = ReflectedConv2d(width, width, 7), widths[-1]
        self.wide = spectral(wide) if every else wide
        self.middle = normed(deep, deep, reflect=table, norm=not table) if version == 1 else None
        self.residual = nn.Sequential(*(Residual(deep, every) for _ in range(3)))
        last_norm = not (table or pooled)
        if version == 1:
            self.coarse = nn.Sequential(nn.AvgPool2d(2), *(Residual(deep, every) for _ in range(2)))
            self.last = normed(deep, 4 * width, reflect=True, norm=last_norm)
        else:
            self.coarse = nn.Identity()
            layers = [normed(inputs, 32 * width, reflect=True, norm=norm)
                      for inputs, norm in ((deep, True), (32 * width, True), (32 * width, last_norm))]
            self.last = nn.Sequential(*(part for layer in layers for part in (layer, nn.LeakyReLU(SLOPE))))

    def features(self, x):
        """The first five maps, each before its activation: the strided convolutions to half, a quarter, an eighth and a sixteenth of the
        size, and behind the first of them the one of 7 x 7. Distances between those of two images make a loss. No resizing."""
        found = [self.strided[0](x)]
        found.append(self.wide(leaky(found[-1])))
        for strided in self.strided[1:4]:
            found.append(strided(leaky(found[-1])))
        return found

    def forward(self, y):
        if y.shape[-2:] != (SIDE, SIDE):
            y = functional.interpolate(y, (SIDE, SIDE), mode="bilinear", align_corners=False)
        x = self.strided[4](leaky(self.features(y)[-1]))
        if self.middle is not None:
            x = self.middle(leaky(x))
        return self.last(self.coarse(self.residual(x)))
