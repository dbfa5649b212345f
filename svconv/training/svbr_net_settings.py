"""Settings and plan of the training of `models.SVBRNet`; apart from the task, so that the options of `svconv train svbr` need no torch."""
import dataclasses
from typing import NamedTuple

from svconv.training.settings import Settings, option

PHASES = ("true", "both")


class Phase(NamedTuple):
    """A part of the plan: with "true" or "interpolated" maps, for so many steps, the statistics of batch normalisation kept or not."""

    maps: str
    steps: int
    frozen: bool = False


@dataclasses.dataclass
class SVBRSettings(Settings):
    """Settings of `svconv train svbr`; the defaults are the paper's, 32 epochs of 21,840 samples in each phase, except for the crops.

    steps: of the first and of the second phase. phases: "both" = true maps, then interpolated ones; "true" = true maps in both. drops:
    steps, counted over both phases or with `restart` from the beginning of each, at which the rate is divided by 10.
    """

    phases: str = option("both", "both: true maps, then interpolated ones; true: true maps in both phases", choices=PHASES)
    steps: tuple = option((87360, 87360), "steps of the two phases", least=0)
    batch: int = option(8, "samples per step", least=1)
    rate: float = option(0.001, "learning rate", above=0)
    drops: tuple = option((54600, 109200, 163800), "steps at which the rate is divided by 10", least=0)
    restart: bool = option(False, "count the drops from the beginning of each phase, whose rate starts again")
    warmup: int = option(0, "steps of rising learning rate in each phase", least=0)
    decay: float = option(0.0, "share of each phase, at its end, with a learning rate that falls to a twentieth", least=0, most=1)
    average: float = option(0.0, "decay of the averaged weights", least=0, below=1)
    absolute: float = option(0.0, "weight of the mean absolute error beside the SSIM loss", least=0)
    frozen: bool = option(False, "keep the statistics of batch normalisation in the second phase: those of small batches are noise")
    size: int = option(320, "side of the training crops", least=11)
    map_size: int = option(340, "side of the maps that those of the crops are cut from", least=1)
    noise: float = option(0.0, "largest standard deviation of Gaussian noise, drawn for each pair, images 0..1", least=0)
    rounding: bool = option(True, "round blurred crops to 8 bits")
    linear: bool = option(False, "blur light, decoded by the curve of sRGB")
    validation_pairs: int = option(32, "held-out pairs", least=1)
    validation_size: int = option(192, "side of the held-out crops", least=11)

    def __post_init__(self):
        super().__post_init__()
        if len(self.steps) != 2:
            raise ValueError(f"steps: expected two numbers, one for each phase, got {','.join(map(str, self.steps))}")

    def plan(self):
        second = "interpolated" if self.phases == "both" else "true"
        return [Phase("true", self.steps[0]), Phase(second, self.steps[1], self.frozen)]

    def rate_at(self, phase, step):
        before = 0 if self.restart else sum(part.steps for part in self.plan()[:phase])
        return super().rate_at(phase, step) * 0.1 ** sum(before + step >= drop for drop in self.drops)
