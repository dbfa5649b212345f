"""Settings and plan of the training of `models.BlurKernelSpace`; apart from the task, so that the options of `svconv train ebks` need no
torch."""
import dataclasses
import math
import os
from typing import NamedTuple

from svconv.training.settings import PRECISIONS, Settings, check_kernel_sides, option

KINDS = ("motion", "shake", "defocus", "frames")


class Phase(NamedTuple):
    """The only part of the plan."""

    steps: int


@dataclasses.dataclass
class PairSettings(Settings):
    """Settings of the pairs that the learned blur spaces are trained on: made of sharp photographs, or two folders of them."""

    blurry: str | None = option(None, "folder of blurry photographs with the names of the sharp ones in --data, in the place of blur that "
                                      "is made here; that of --data itself: pairs .../sharp/NAME and .../blur/NAME in it, as in GoPro")
    kinds: str = option(",".join(KINDS), "kinds of blur, separated by commas: motion, shake (camera shake with rotation), defocus, frames "
                                         "(averages of shifted frames)")
    kernel_least: int = option(7, "least side of the blur in pixels, odd", least=5)
    kernel_most: int = option(25, "largest side of the blur in pixels, odd", least=5)
    noise: float = option(0.0, "standard deviation of Gaussian noise on the blurry crops, images 0..1", least=0)
    precision: str = option("auto", "networks in float32 or bfloat16; auto: bfloat16 on a GPU", choices=PRECISIONS)
    optimiser: str = option("adam", "adam, soap (Adam in a learned eigenbasis) or adadelta", choices=("adam", "soap", "adadelta"))
    warmup: int = option(0, "steps of rising learning rate in each phase", least=0)
    decay: float = option(0.0, "unused share: the cosines say how the rate falls", least=0, most=0)
    average: float = option(0.0, "decay of the averaged weights", least=0, below=1)
    validation_pairs: int = option(32, "held-out pairs", least=1)
    hints: float = option(0.0, "weight of a help in the beginning: the code has to tell, linearly, of the energy in bands of frequency and "
                               "direction", least=0)
    hint_steps: int = option(10000, "steps in which that weight falls to 0", least=1)

    def __post_init__(self):
        super().__post_init__()
        kinds = tuple(self.kinds.split(","))
        if len(set(kinds)) < len(kinds) or not set(kinds) <= set(KINDS):
            raise ValueError(f"kinds: expected some of {', '.join(KINDS)}, each once, got {self.kinds!r}")
        check_kernel_sides(self)

    def cosine_at(self, first, step, share):
        """The rate of a step of its phase: it rises in the warm-up and falls from `first` to the least one at a share 0..1 of a cosine."""
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        return rise * (self.least_rate + (first - self.least_rate) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))

    def blurry_folder(self, sharp):
        """The second argument of `data.FolderPairs`."""
        return None if os.path.realpath(self.blurry) == os.path.realpath(sharp) else self.blurry


@dataclasses.dataclass
class EBKSSettings(PairSettings):
    """Settings of `svconv train ebks`; the defaults are those of the published options.

    steps: 6 x 10^6 stands in one place of the paper, 600,000 in another and in its code. periods: of the cosine, after each of which the
    rate starts again; the last one repeats. A variational space begins with the weights of a plain one (`--weights`).
    """

    variant: str = option("paper", "form of the networks", choices=("paper", "reference"))
    variational: bool = option(False, "a normal distribution of codes, from which they can be sampled")
    width: int = option(64, "channels of the first layers", least=1)
    divergence: float = option(10.0, "weight of the divergence of the codes from N(0, 1), variational", least=0)
    steps: int = option(600000, "steps", least=0)
    periods: tuple = option((50000, 100000, 150000, 150000, 150000), "steps of each cosine of the rate", least=1)
    batch: int = option(16, "samples per step", least=1)
    rate: float = option(1e-4, "learning rate", above=0)
    least_rate: float = option(1e-8, "learning rate at the end of a cosine", above=0)
    size: int = option(256, "side of the training crops, a multiple of 128", least=128)
    validation_size: int = option(256, "side of the held-out crops, a multiple of 128", least=128)

    def __post_init__(self):
        super().__post_init__()
        for name in ("size", "validation_size"):
            if getattr(self, name) % 128:
                raise ValueError(f"{name}: expected a multiple of 128, got {getattr(self, name)}")

    def plan(self):
        return [Phase(self.steps)]

    def rate_at(self, phase, step):
        since = step
        for period in self.periods:
            if since < period:
                break
            since -= period
        return self.cosine_at(self.rate, step, since % self.periods[-1] / period)
