"""Settings of the training runs."""
from dataclasses import dataclass


@dataclass
class LtDSettings:
    """What a run depends on besides the photographs; stored in its checkpoints.

    steps: optimiser steps of stage 1, 2, ... (one number per stage); frozen_steps of each later stage run with the older stages frozen, in addition.
    loss: "squared" = sum of squared kernel errors (paper); "relative" = the same divided by the true kernel's sum of squares.
    optimiser: "soap" (Adam in a learned eigenbasis), "adam", or "adadelta" (paper: learning rate 0.01, decay 0.95). decay: share of each phase, at its end, over which the learning rate falls
    linearly to a twentieth. smallest: smallest box of the training kernels (None: kernel_size).
    """

    kernel_size: int = 17
    steps: tuple = (20000, 10000, 10000)
    frozen_steps: int = 1000
    batch: int = 16
    size: int = 96
    noise: float = 0.01
    smallest: int | None = 9
    optimiser: str = "soap"
    rate: float = 0.01
    warmup: int = 100
    decay: float = 0.5
    loss: str = "squared"
    rejection: float = 10.0
    average: float = 0.998
    seed: int = 0
    validation_pairs: int = 128
    validation_size: int = 192
    validate_every: int = 500
    save_every: int = 200
    filter_size: int = 9
    bias: bool = False

    def __post_init__(self):
        self.steps = tuple(int(s) for s in self.steps)
        if not self.steps or min(self.steps) < 0:
            raise ValueError(f"steps: expected one number >= 0 for every stage, got {self.steps}")
        if self.optimiser not in ("soap", "adam", "adadelta"):
            raise ValueError(f"optimiser: expected 'soap', 'adam' or 'adadelta', got {self.optimiser!r}")
        if self.loss not in ("squared", "relative"):
            raise ValueError(f"loss: expected 'squared' or 'relative', got {self.loss!r}")
        if self.batch < 1 or self.rate <= 0 or not 0 <= self.decay <= 1:
            raise ValueError(f"batch, rate, decay: expected >= 1, > 0 and 0..1, got {self.batch}, {self.rate}, {self.decay}")

    def phases(self):
        """[(stages, old ones frozen, steps)] in the order of training."""
        plan = []
        for t, steps in enumerate(self.steps):
            if t:
                plan.append((t + 1, True, self.frozen_steps))
            plan.append((t + 1, False, steps))
        return plan

    def rate_at(self, step, steps):
        """Learning rate of step 0..steps-1 of a phase."""
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        start = steps * (1 - self.decay)
        fall = 1.0 if step < start else 1 - 0.95 * (step - start) / max(1, steps - start)
        return self.rate * rise * fall
