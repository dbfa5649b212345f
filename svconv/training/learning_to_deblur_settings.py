"""Settings and plan of the training of `models.LearningToDeblur`; apart from the task, so that the options of `svconv train ltd` need no
torch."""
import dataclasses
from typing import NamedTuple

from svconv.training.settings import OPTIMISERS, Settings, option


class Phase(NamedTuple):
    """A part of the plan: so many stages, the older ones frozen or not, for so many steps."""

    stages: int
    frozen: bool
    steps: int


@dataclasses.dataclass
class LtDSettings(Settings):
    """Settings of `svconv train ltd`.

    steps: one number per stage; frozen_steps come in addition. loss: "squared" = sum of squared kernel errors (paper), "relative" = the
    same divided by the true kernel's sum of squares. The paper's optimiser is adadelta with rate 0.01 and decay 0.95 of its averages.
    """

    kernel_size: int = option(17, "side of the kernels in pixels", least=1)
    steps: tuple = option((20000, 10000, 10000), "steps of stage 1, 2, ...", least=0)
    frozen_steps: int = option(1000, "steps with the old stages frozen after a stage was added", least=0)
    size: int = option(96, "side of the training crops", least=1)
    noise: float = option(0.01, "Gaussian noise, images 0..1", least=0)
    smallest: int | None = option(9, "smallest box of the training kernels, none for the kernel size", least=1)
    optimiser: str = option("soap", "soap (Adam in a learned eigenbasis), adam, or adadelta as in the paper", choices=OPTIMISERS)
    loss: str = option("squared", "squared (paper) or relative kernel error", choices=("squared", "relative"))
    rejection: float = option(10.0, "leave out samples with more than this multiple of the running error", above=0)
    validation_pairs: int = option(128, "held-out pairs", least=1)
    validation_size: int = option(192, "side of the held-out crops", least=1)
    filter_size: int = option(9, "side of the learned filters, odd", least=1)
    bias: bool = option(False, "biases in the filters and the hidden recombinations")

    def plan(self):
        """The plan in the order of training."""
        plan = []
        for t, steps in enumerate(self.steps):
            if t:
                plan.append(Phase(t + 1, True, self.frozen_steps))
            plan.append(Phase(t + 1, False, steps))
        return plan
