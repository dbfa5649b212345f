"""Blind deblurring by a learned degradation map: encoder, up-sampler and generators in one model."""
import dataclasses

import torch
from torch import nn

from svconv._shapes import Dims, number, shape_text
from svconv.models.degradation_deblur.encoder import Encoder
from svconv.models.degradation_deblur.generators import OneStage, TwoStage
from svconv.models.degradation_deblur.upsampler import UpSampler
from svconv.models.images import check_finite, check_image, check_weights, coloured, continued, like
from svconv.models.pretrained import Pretrained
from svconv.solvers.result import Result

LEAST = MULTIPLE = 16       # pixels of a side; what the sides of a generator's input are multiples of
SN, CODES = ("all", "reference"), ("map", "vector", None)


@dataclasses.dataclass(repr=False)
class Restored(Result):
    """What `DegradationDeblur` returns.

    Attributes:
        x: the restored image [B, 3|1, H, W]; `image` is the same.
        images: what each stage made, the restored one last: two in version 1, one in version 2.
    """

    images: tuple

    @property
    def image(self):
        """The restored image."""
        return self.x

    def __repr__(self):
        return f"{type(self).__name__}(x={str(self.x.dtype).removeprefix('torch.')} {shape_text(self.x)}, images={len(self.images)})"


class DegradationDeblur(Pretrained, nn.Module):
    """A blurry photograph restored with a map of its own degradation, which a network has learned by blurring sharp ones with it.

        z = E(y),  Z = U(z);    deblurring: x = G_d(y, Z);    reblurring: y = G_r(x, Z)

    Args:
        version: 1: E of the paper's table, G_d of two U-nets. 2: the larger E of the published code, G_r and G_d of one U-net each.
        width: channels of the first layers, 64 in the paper; all others grow with it. At least 2.
        sn: which convolutions of E are under spectral normalisation: "all", or "reference", those of the published code.
        code: "map": z as it is. "vector": averaged to one vector, the same at every pixel. None: no E, U and injections; the generators
            alone.
        reblur: version 1 alone: with a G_r like that of version 2, which takes the pyramid of version 1.

    Shapes:
        images y, x [B, 3, H, W] or grey [B, 1, H, W] (three equal channels inside, their mean outside), 0..1, sides of at least 16, dtype
        of the weights. Sides are padded to multiples of 16 by replication and cropped.
        degradation(y) -> map [B, 4 width, 4, 4], in version 2 [B, 32 width, 8, 8]; the image is resized to 256 x 256.
        pyramid(map) -> (Z_1, .., Z_4), Z_l [B, 2^(l-1) width, 512 / 2^l, 512 / 2^l], resized to the features by the nearest neighbour.
        reblur(x, map [B|1, ...]) -> like x. forward(y, map=None) -> `Restored`; a map takes the place of that of y.

    Raises:
        ValueError, TypeError: naming the argument: a shape, dtype or side that does not fit, NaN or infinite values; `reblur` without a G_r
            (naming version); `degradation` and `pyramid` without a code (naming code).

    Parameters at width 64: version 1 241,287,622 (E 31,249,344, U 80,187,264, G_d 129,851,014), version 2 284,180,614 (E 157,470,464,
    U 37,715,840, G_r and G_d 44,497,155 each). Gradients reach images, map and weights. Bit-identical from run to run with a fixed number
    of threads. Memory grows with the image; `svconv.models.degradation_deblur.restore_tiled` takes large photographs in tiles.

    Learning Degradation Representations for Image Deblurring (2022).

    >>> import torch
    >>> model = DegradationDeblur(width=4).eval()
    >>> y = torch.rand(1, 3, 40, 50)
    >>> with torch.no_grad():
    ...     model.degradation(y).shape, model(y)
    (torch.Size([1, 16, 4, 4]), Restored(x=float32 [1, 3, 40, 50], images=2))
    """

    weights_prefix, default_weights = "ldr-", None

    def __init__(self, version=1, width=64, sn="all", code="map", *, reblur=False):
        super().__init__()
        if version not in (1, 2) or isinstance(version, bool):
            raise ValueError(f"version: expected 1 or 2, got {version!r}")
        if sn not in SN:
            raise ValueError(f"sn: expected 'all' or 'reference', got {sn!r}")
        if code not in CODES:
            raise ValueError(f"code: expected 'map', 'vector' or None, got {code!r}")
        if version == 2 and reblur:
            raise ValueError("reblur: expected False, version 2 has a G_r of its own")
        width = number("width", width, least=2, integer=True)
        self.arguments = {"version": int(version), "width": width, "sn": sn, "code": code, "reblur": bool(reblur)}
        self.code, coded = code, code is not None
        self.map_shape = (4 * width, 4, 4) if version == 1 else (32 * width, 8, 8)
        self.encoder = Encoder(version, width, sn, pooled=code == "vector") if coded else None
        self.upsampler = UpSampler(version, width) if coded else None
        self.deblurring = TwoStage(width, coded) if version == 1 else OneStage(width, coded)
        self.reblurring = OneStage(width, coded) if version == 2 or reblur else None
        self.to(memory_format=torch.channels_last)

    def degradation(self, y):
        """The map of the degradation of y, [B, 4 width, 4, 4], in version 2 [B, 32 width, 8, 8]."""
        if self.encoder is None:
            raise ValueError("code: expected 'map' or 'vector' for a degradation map, this model was made with code=None")
        self._check("y", y)
        return self.encoder(coloured(y)).to(y.dtype)       # under autocast too

    def pyramid(self, map):
        """The features (Z_1, Z_2, Z_3, Z_4) that a map [B, ...] gives to the four scales of a generator, the finest first."""
        if self.upsampler is None:
            raise ValueError("code: expected 'map' or 'vector' for a pyramid, this model was made with code=None")
        own = next(self.parameters())
        Dims().check("map", map, "B " + " ".join(str(n) for n in self.map_shape))
        check_weights("map", map, own)
        check_finite("map", map)
        if self.code == "vector":
            map = map.mean((2, 3), keepdim=True).expand(map.shape)
        return self.upsampler(map)

    def reblur(self, x, map=None):
        """x [B, 3|1, H, W] under the blur of a map [B|1, ...] of `degradation`; of a model without a code map is None."""
        if self.reblurring is None:
            raise ValueError("version: expected 2 or DegradationDeblur(1, ..., reblur=True) to reblur, this model has no generator for it")
        self._check("x", x)
        return self._generated(self.reblurring, x, self._pyramid_for("x", x, map))[-1]

    def forward(self, y, map=None):
        self._check("y", y)
        if map is None and self.encoder is not None:
            map = self.degradation(y)
        images = self._generated(self.deblurring, y, self._pyramid_for("y", y, map))
        return Restored(images[-1], images)

    def _pyramid_for(self, name, image, map):
        if self.upsampler is None:
            if map is not None:
                raise ValueError("map: expected None, this model was made with code=None")
            return None
        if map is None:
            raise ValueError("map: expected a degradation map, got None")
        pyramid = self.pyramid(map)
        if map.shape[0] not in (1, image.shape[0]):
            raise ValueError(f"map: expected a batch of 1 or that of {name}, {image.shape[0]}, got {map.shape[0]}")
        return pyramid

    def _check(self, name, image):
        check_image(name, image, next(self.parameters()), LEAST)

    @staticmethod
    def _generated(generator, image, pyramid):
        """What a generator makes of an image of any size and of one or three channels: a tuple."""
        return tuple(like(made, image) for made in generator(continued(coloured(image), MULTIPLE), pyramid))
