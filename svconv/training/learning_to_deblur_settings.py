"""Settings and plan of the training of `models.LearningToDeblur`; apart from the task, so that the options of `svconv train ltd` need no
torch."""
import dataclasses
from typing import NamedTuple

from svconv.training.settings import OPTIMISERS, Settings, option


class Phase(NamedTuple):
    """A part of the plan: so many scales, so many stages of each, the older ones frozen or not, for so many steps."""

    scales: int
    stages: int
    frozen: bool
    steps: int


@dataclasses.dataclass
class LtDSettings(Settings):
    """Settings of `svconv train ltd`.

    steps: one number per stage of the first scale, then one per further scale, which comes with all its stages; frozen_steps come in
    addition. While a network has its first scales only, the pairs have kernels of the last side that it has. loss: "squared" = sum of
    squared kernel errors (paper), "relative" = the same divided by the true kernel's sum of squares. The paper's optimiser is adadelta
    with rate 0.01 and decay 0.95 of its averages. To begin with the weights of a trained network, give no steps to what it has.
    """

    kernel_sizes: tuple = option((17,), "side of the kernels in pixels at every scale, coarsest first: 17, 17,25 or 17,25,33", least=1)
    steps: tuple = option((20000, 10000, 10000), "steps of stage 1, 2, ..., then of every further scale", least=0)
    frozen_steps: int = option(1000, "steps with the old stages frozen after a stage or a scale was added", least=0)
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
    filters: int = option(32, "filters of every stage", least=1)
    hidden: int = option(1, "hidden recombination layers of every stage", least=0)
    features: int | None = option(None, "feature pairs of every stage; none: 2, 2, 4, 4, ...", least=1)
    fixed_gradients: bool = option(False, "x- and y-differences as the blurry features instead of learned ones")

    def __post_init__(self):
        super().__post_init__()
        sizes = self.kernel_sizes
        if any(a >= b for a, b in zip(sizes, sizes[1:])):
            raise ValueError(f"kernel_sizes: expected growing sides, got {sizes}")
        if len(self.steps) < len(sizes):
            raise ValueError(f"steps: expected a number per stage and per further scale, at least {len(sizes)}, got {self.steps}")
        if self.fixed_gradients and self.features not in (None, 2):
            raise ValueError(f"features: fixed gradients are two feature pairs, got {self.features}")

    def plan(self):
        """The plan in the order of training."""
        stages, plan = len(self.steps) - len(self.kernel_sizes) + 1, []
        for t, steps in enumerate(self.steps):
            scales = max(1, t + 2 - stages)
            if t:
                plan.append(Phase(scales, min(t + 1, stages), True, self.frozen_steps))
            plan.append(Phase(scales, min(t + 1, stages), False, steps))
        return plan
