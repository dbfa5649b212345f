"""Settings and plan of the training of `models.SVMAP` and `models.SIMAP`; apart from the task, so that the options of `svconv train svmap`
need no torch."""
import dataclasses
from typing import NamedTuple

from svconv.training.settings import PRECISIONS, Settings, check_kernel_sides, option

DEGRADATIONS = ("gaussian", "saturation", "jpeg", "impulse")


class Phase(NamedTuple):
    """A part of the plan: to imitate the filters of re-weighted least squares, or to restore."""

    steps: int
    imitates: bool = False


@dataclasses.dataclass
class SIMAPSettings(Settings):
    """Settings of `svconv train simap`.

    The paper gives no schedule; batch, optimiser, rate and clipping are those of the group's published code for another model, which trains
    on crops of 256 pixels. Smaller crops and kernels first, larger ones from the checkpoint (`--resume`), cost less.
    """

    steps: int = option(20000, "steps", least=0)
    batch: int = option(8, "samples per step", least=1)
    optimiser: str = option("adam", "adam, soap (Adam in a learned eigenbasis) or adadelta", choices=("adam", "soap", "adadelta"))
    rate: float = option(1e-4, "learning rate", above=0)
    clip: float = option(0.5, "largest magnitude of each gradient value", above=0)
    steady: bool = option(True, "limit the gradient of each predictor to twice its usual norm")
    relative: bool = option(True, "divide the loss of each pair by the error of its first image: hard pairs would drown the others")
    intermediate: float = option(0.0, "weight of the mean loss of the images before the last one", least=0)
    iterations: int = option(2, "MAP steps of the model", least=1)
    data_filters: int = option(3, "data filters per pixel; 0: the plain data term", least=0)
    prior_filters: int = option(5, "prior filters per pixel", least=1)
    width: int = option(64, "channels of the predictors", least=1)
    zero_sum: bool = option(True, "every prior filter sums to 0")
    initial: float = option(0.01, "weight of the prior of the first image; 0.01 suits noise of 0.01", above=0)
    cg_iter: int = option(30, "most steps of conjugate gradients in each MAP step", least=1)
    cg_tol: float = option(1e-5, "relative residual at which they stop", least=0)
    precision: str = option("auto", "predictors in float32 or bfloat16; auto: bfloat16 on a GPU", choices=PRECISIONS)
    recompute: bool = option(False, "predict the filters again in the backward pass: slower, less memory")
    size: int = option(64, "side of the training crops", least=1)
    kernel_least: int = option(13, "least side of the kernels, odd", least=1)
    kernel_most: int = option(35, "largest side of the kernels, odd", least=1)
    measured: str | None = option(None, "folder of measured kernels (.npy or pictures), taken for half of the pairs")
    noise: float = option(0.01, "standard deviation of the Gaussian noise, images 0..1", least=0)
    degradation: str = option("gaussian", "beside the noise: gaussian (nothing), saturation, jpeg or impulse", choices=DEGRADATIONS)
    validation_pairs: int = option(24, "held-out pairs", least=1)
    validation_size: int = option(128, "side of the held-out crops", least=11)

    def __post_init__(self):
        super().__post_init__()
        check_kernel_sides(self)
        for name in ("size", "validation_size"):
            if getattr(self, name) < self.kernel_most:
                raise ValueError(f"{name}: expected at least the largest kernel {self.kernel_most}, got {getattr(self, name)}")

    def plan(self):
        return [Phase(self.steps)]


@dataclasses.dataclass
class SVMAPSettings(SIMAPSettings):
    """Settings of `svconv train svmap`; otherwise as those of `svconv train simap`."""

    share: bool = option(False, "the same predictors in every MAP step")
    imitate: int = option(0, "steps before the others, without any solve, in which the prior filters learn those that re-weighted least "
                          "squares would take for the sharp image", least=0)

    def plan(self):
        return [Phase(self.imitate, True), *super().plan()] if self.imitate else super().plan()
