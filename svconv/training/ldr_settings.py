"""Settings and plan of the training of `models.DegradationDeblur`; apart from the task, so that the options of `svconv train ldr` need no
torch."""
import dataclasses
from typing import NamedTuple

from svconv.training.ebks_settings import PairSettings
from svconv.training.settings import option

CODES = ("map", "vector", "none")


class Phase(NamedTuple):
    """A part of the plan: "joint" trains encoder, up-sampler, both generators and the discriminators, "deblur" the deblurring one alone."""

    name: str
    steps: int


@dataclasses.dataclass
class LDRSettings(PairSettings):
    """Settings of `svconv train ldr`; the defaults are those of the published options, 240,000 and 400,000 steps.

    steps: of the two phases. The loss of the first is `adversarial` (hinge) + `matching` (features of the discriminators) + `perceptual`
    (features of VGG-19, with `--vgg`) + `reblurred` (mean absolute error) on what is reblurred, and `deblurred` (mean absolute error) on
    what is deblurred; of the second half the PSNR loss on every output, and `features` of the encoder's first five maps.
    """

    version: int = option(1, "1: two U-nets in deblurring; 2: one", least=1, most=2)
    width: int = option(64, "channels of the first layers", least=2)
    sn: str = option("all", "spectral normalisation of all convolutions of the encoder, or as in the published code",
                     choices=("all", "reference"))
    code: str = option("map", "map; vector: its mean; none: no encoder", choices=CODES)
    steps: tuple = option((240000, 400000), "steps of the joint phase and of the deblurring phase", least=0)
    periods: tuple = option((250000, 400000), "steps of the cosine of the rate in each phase", least=1)
    batch: int = option(32, "samples per step", least=1)
    rate: float = option(2e-4, "learning rate of the joint phase", above=0)
    deblur_rate: float = option(3e-4, "learning rate of the deblurring phase", above=0)
    least_rate: float = option(1e-7, "learning rate at the end of a cosine", above=0)
    clip: float = option(0.01, "largest norm of the gradient, of the discriminators' too", above=0)
    gan: bool = option(True, "discriminators; without them reblurring is trained by the absolute error alone")
    deblurring: bool = option(True, "train the deblurring generator in the joint phase too")
    adversarial: float = option(1.0, "weight of the hinge loss", least=0)
    matching: float = option(10.0, "weight of the discriminators' feature matching", least=0)
    perceptual: float = option(30.0, "weight of the distance of VGG-19 features, with --vgg", least=0)
    vgg: str | None = option(None, "state dict of VGG-19 for that distance; none: left out")
    reblurred: float = option(10.0, "weight of the absolute error of the reblurred crop", least=0)
    deblurred: float = option(10.0, "weight of the absolute error of the deblurred crop, joint phase", least=0)
    features: float = option(1.0, "weight of the encoder's feature distance, deblurring phase", least=0)
    size: int = option(256, "side of the training crops, a multiple of 16", least=16)
    validation_size: int = option(256, "side of the held-out crops, a multiple of 16", least=16)

    def __post_init__(self):
        super().__post_init__()
        for name in ("size", "validation_size"):
            if getattr(self, name) % 16:
                raise ValueError(f"{name}: expected a multiple of 16, got {getattr(self, name)}")
        for name in ("steps", "periods"):
            if len(getattr(self, name)) != 2:
                raise ValueError(f"{name}: expected two numbers, one for each phase, got {','.join(map(str, getattr(self, name)))}")

    def plan(self):
        return [Phase("joint", self.steps[0]), Phase("deblur", self.steps[1])]

    def rate_at(self, phase, step):
        return self.cosine_at((self.rate, self.deblur_rate)[phase], step, step / self.periods[phase])
