"""The distance of two images in the maps that a fixed network or filter bank makes of them."""
from torch import nn

from svconv._shapes import check_device, check_like, check_tensor, computed, image_pair, number


class FeatureDistance(nn.Module):
    """The weighted sum of the mean absolute differences between the maps of two images.

        loss = sum_l weights_l mean |phi_l(x) - phi_l(y)|,   phi_l = map l of `features`

    Args:
        features: a module that makes a list of maps of an image [B, 3, H, W], such as `VGG19Features` or `FilterBankFeatures`.
        weights: as many numbers >= 0 as there are maps. `FeatureDistance.DEBLURRING` = 0.2, 0.4, 0.8, 1, 3 are those of the deblurring of
            encoded blur kernel space (2021), `FeatureDistance.REBLURRING` = 1/32, 1/16, 1/8, 1/4, 1 those of learned degradation
            representations (2022), both for relu1_1 to relu5_1 of VGG-19.

    Shapes:
        forward(x [B, 3, H, W], y) -> a number; y is an image like x or, to compute them once for many x, its maps `features(y)`.

    Raises:
        ValueError, TypeError: naming the argument; images or maps that differ in shape, not as many maps as weights.

    Gradients through autograd. Memory and determinism are those of `features`.

    >>> import torch, svconv
    >>> distance = svconv.nn.FeatureDistance(svconv.nn.FilterBankFeatures())
    >>> x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> float(distance(x, x)), float(distance(x, 0.9 * x)) < float(distance(x, 0.5 * x)), bool(distance(x, 1 - x) > 0)
    (0.0, True, True)
    """

    DEBLURRING = (0.2, 0.4, 0.8, 1.0, 3.0)
    REBLURRING = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)

    def __init__(self, features, weights=DEBLURRING):
        super().__init__()
        if not isinstance(features, nn.Module):
            raise TypeError(f"features: expected a module, got {type(features).__name__}")
        if not isinstance(weights, (list, tuple)) or not weights:
            raise ValueError(f"weights: expected numbers, one for each map, got {weights!r}")
        self.features, self.weights = features, tuple(number("weights", weight, least=0) for weight in weights)

    def forward(self, x, y):
        if not isinstance(y, (list, tuple)):
            x, y = image_pair(x, y)
            y = self.features(y)
        maps = self.features(x)
        if not len(maps) == len(y) == len(self.weights):
            raise ValueError(f"weights: expected one for each map, got {len(self.weights)} with {len(maps)} maps of x and {len(y)} of y")
        total = 0
        for n, (weight, found, target) in enumerate(zip(self.weights, maps, y)):
            check_tensor(f"y[{n}]", target)
            check_like(f"y[{n}]", target, f"map {n} of x", found)
            check_device(f"map {n} of x", found, f"y[{n}]", target)
            total = total + weight * (computed(found) - computed(target)).abs().mean()
        return total

    def extra_repr(self):
        return f"weights=({', '.join(f'{weight:g}' for weight in self.weights)})"
