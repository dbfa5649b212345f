"""Settings of a training run: a dataclass per model, whose fields carry their help and their limits; `svconv train` makes its options of
them."""

import dataclasses
import math
import numbers
import typing

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "float32", "bfloat16")
OPTIMISERS = ("soap", "adam", "adadelta")


def option(default, text, *, choices=None, least=None, above=None, most=None, below=None):
    """A field of a settings class. text: its line of help; the others bound the values."""
    limits = {"choices": choices, "least": least, "above": above, "most": most, "below": below}
    return dataclasses.field(default=default, metadata={"help": text, "limits": limits})


def kind_of(field):
    """(int, float, str, bool or tuple for whole numbers, whether None is allowed too)."""
    kinds = typing.get_args(field.type) or (field.type,)
    return kinds[0], type(None) in kinds


@dataclasses.dataclass
class Settings:
    """What every run depends on besides its data; stored in its checkpoints. A model adds fields and `plan()`.

    A phase is a tuple with a field `steps`; a run goes through the phases in their order.

    Raises:
        ValueError: a value that does not fit; the text begins with the field's name.
    """

    batch: int = option(16, "samples per step", least=1)
    optimiser: str = option("adam", "soap (Adam in a learned eigenbasis), adam, or adadelta", choices=OPTIMISERS)
    rate: float = option(0.01, "learning rate", above=0)
    warmup: int = option(100, "steps of rising learning rate in each phase", least=0)
    decay: float = option(0.5, "share of each phase, at its end, with a learning rate that falls to a twentieth", least=0, most=1)
    average: float = option(0.998, "decay of the averaged weights", least=0, below=1)
    seed: int = option(0, "seed of data and weights", least=0)
    validate_every: int = option(500, "steps between validations", least=1)
    save_every: int = option(200, "steps between checkpoints", least=1)
    device: str = option("auto", "where the model runs: auto (a GPU if torch sees one), cpu or cuda", choices=DEVICES)

    def precision_on(self, device):
        """What the setting `precision`, of the models that have it, means on a type of device: "float32" or "bfloat16"."""
        found = self.precision if self.precision != "auto" else "bfloat16" if device == "cuda" else "float32"
        if found == "bfloat16":
            from svconv._bfloat16 import warn_if_emulated  # here, because options need no torch
            warn_if_emulated(device)
        return found

    def plan(self):
        """The phases in their order: tuples with a field `steps`."""
        raise NotImplementedError

    def __post_init__(self):
        for field in dataclasses.fields(self):
            setattr(self, field.name, checked(field, getattr(self, field.name)))

    @classmethod
    def restored(cls, stored, path):
        """The settings of a checkpoint; ValueError naming the file and a setting that this version does not know."""
        unknown = sorted(set(stored) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise ValueError(f"{path}: the checkpoint has the setting {unknown[0]!r}, which this version does not know")
        try:
            return cls(**stored)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def rate_at(self, phase, step):
        """Learning rate of a step, counted from 0, of a phase of the plan, likewise."""
        steps = self.plan()[phase].steps
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        start = steps * (1 - self.decay)
        fall = 1.0 if step < start else 1 - 0.95 * (step - start) / max(1, steps - start)
        return self.rate * rise * fall


def check_kernel_sides(settings):
    """ValueError unless `kernel_least` and `kernel_most` are odd and in this order."""
    for name in ("kernel_least", "kernel_most"):
        if getattr(settings, name) % 2 == 0:
            raise ValueError(f"{name}: expected an odd number, got {getattr(settings, name)}")
    if settings.kernel_most < settings.kernel_least:
        raise ValueError(f"kernel_most: expected at least the least side {settings.kernel_least}, got {settings.kernel_most}")


def checked(field, value):
    """The value in the field's type, within its limits; ValueError otherwise."""
    kind, optional = kind_of(field)
    if value is None and optional:
        return None
    limits = field.metadata["limits"]
    if kind is tuple:
        values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        if not values:
            raise ValueError(f"{field.name}: expected at least one number, got none")
        return tuple(_number(field.name, int, v, limits) for v in values)
    if kind in (int, float):
        return _number(field.name, kind, value, limits)
    if kind is str and not limits["choices"]:
        if not isinstance(value, str) or not value:
            raise ValueError(f"{field.name}: expected a text, got {value!r}")
        return value
    expected = limits["choices"] or ("on", "off")
    if value not in (limits["choices"] or (True, False)):
        raise ValueError(f"{field.name}: expected {', '.join(expected[:-1])} or {expected[-1]}, got {value!r}")
    return value


def _number(name, kind, value, limits):
    bounds = [
        f"{sign} {limits[key]:g}"
        for key, sign in (("least", ">="), ("above", ">"), ("most", "<="), ("below", "<"))
        if limits[key] is not None
    ]
    expected = " and ".join(["a whole number" if kind is int else "a number", *bounds]).replace("number and", "number", 1)
    fits = (
        isinstance(value, numbers.Integral if kind is int else numbers.Real)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and (
            (limits["least"] is None or value >= limits["least"])
            and (limits["above"] is None or value > limits["above"])
            and (limits["most"] is None or value <= limits["most"])
            and (limits["below"] is None or value < limits["below"])
        )
    )
    if not fits:
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
    return kind(value)
