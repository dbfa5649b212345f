"""What the search for an image and a code descends: the weights of its terms, by part of the steps."""
from typing import NamedTuple


class LossWeights(NamedTuple):
    """Weights of one part of the search.

        features * P(F(x, k), y) + similarity * (1 - SSIM(F(x, k), y)) + charbonnier * C(F(x, k), y) + squares * mean (F(x, k) - y)^2
            + code * |k|_2 + prior * HL(x) + geodesic * S(z)

    P is a distance of features, C the mean Charbonnier distance, HL the hyper-Laplacian prior, S the spread of the vectors of a generator's
    latent over their sphere. until: share of the steps at which the part ends.
    """

    until: float
    features: float = 0.0
    similarity: float = 0.0
    charbonnier: float = 0.0
    squares: float = 0.0
    code: float = 0.0
    prior: float = 0.0
    geodesic: float = 0.0


PRESETS = {
    "reference": (LossWeights(0.5, features=0.6, similarity=1.0, code=5e-5, prior=2e-2),
                  LossWeights(1.0, features=1.0, code=5e-4, prior=5e-2)),
    "paper": (LossWeights(1.0, charbonnier=1.0, code=6e-4, prior=2e-2),),
    "generator": (LossWeights(1.0, squares=100.0, code=1e-4, geodesic=0.1),),
}


def weights_of(preset, code_norm, hyper_laplacian):
    """The parts of a preset or of a sequence of `LossWeights`, with factors on two terms."""
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise ValueError(f"weights: expected {', '.join(map(repr, PRESETS))} or LossWeights, got {preset!r}")
        preset = PRESETS[preset]
    parts = tuple(preset)
    if not parts or not all(isinstance(part, LossWeights) for part in parts) or parts[-1].until != 1:
        raise ValueError(f"weights: expected a name or LossWeights whose last part ends at 1, got {preset!r}")
    return tuple(part._replace(code=part.code * code_norm, prior=part.prior * hyper_laplacian) for part in parts)
