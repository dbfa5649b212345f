"""What kind of blur a photograph has, from five numbers. The thresholds: docs/blind.md; they are set on the cases of
`bench.verdict_cases.calibration()` and checked on others."""
import dataclasses
import math

NOISY = 0.035       # standard deviation of the noise from which no kernel is found reliably
SHARP = 0.45        # pixels: edges of a sharp photograph are not spread further in any direction
NEARLY_SHARP = 0.7  # pixels: a blur so small leaves ripples beyond what is seen
AGREE = 0.37        # agreement of the parts of a photograph that one kernel has blurred
DISK = 0.45         # a disk that explains so much is no accident
EXPLAINED = 0.6     # a kernel that explains so much restores the photograph,
ALL = 0.7           # and this one even where the parts do not agree

VERDICTS = {
    "restored": "one kernel explains the blur",
    "sharp": "probably sharp already",
    "varying": "the blur changes over the field: try --grid",
    "defocus": "out of focus: try svconv blurmap",
    "noisy": "too noisy to find a kernel reliably",
    "unsure": "no kernel explains the blur: compare the result with the photograph",
}


@dataclasses.dataclass(frozen=True)
class Signs:
    """What is measured in a photograph before a kernel is looked for.

    Attributes:
        noise: `data.estimate_noise`.
        spread: (smallest, largest) `data.edge_spread` of the directions, pixels; NaN without edges.
        agreement: `data.SpectralRipples.agreement`.
        disk: (radius in pixels, explained) of the disk that explains the photograph best.
    """

    noise: float
    spread: tuple[float, float]
    agreement: float
    disk: tuple[float, float]


def sharp_or_noisy(signs):
    """"noisy" or "sharp" where the signs say it without a kernel, else None."""
    if signs.noise >= NOISY:
        return "noisy"
    if signs.spread[1] < SHARP and not signs.agreement >= AGREE + 0.1:
        return "sharp"
    return None


def verdict(signs, explained):
    """The kind of blur of a photograph with these `Signs`, whose best kernel explains so much of it."""
    if (known := sharp_or_noisy(signs)) is not None:
        return known
    if signs.disk[1] >= DISK:
        return "defocus"
    if signs.spread[1] < SHARP and explained < ALL:
        return "sharp"
    if signs.agreement < AGREE and explained < ALL:     # never for NaN
        return "sharp" if signs.spread[1] < NEARLY_SHARP else "varying"
    return "restored" if explained >= EXPLAINED else "unsure"


def finite(value):
    """None for NaN, so that JSON has it."""
    return None if isinstance(value, float) and math.isnan(value) else value
