"""What every solver returns."""
import dataclasses

import torch

from svconv._shapes import shape_text


@dataclasses.dataclass(repr=False)
class Result:
    """A solution and what the solver knows of its own progress; tensors are printed by their shape.

    Attributes:
        x: the solution.

    >>> Result(torch.zeros(1, 3, 8, 8))
    Result(x=float32 [1, 3, 8, 8])
    """

    x: torch.Tensor

    def __repr__(self):
        values = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return f"{type(self).__name__}({', '.join(f'{name}={_text(value)}' for name, value in values)})"


def _text(value):
    if hasattr(value, "__dlpack__"):        # a tensor, or an array of svconv.interop.numpy
        return f"{str(value.dtype).removeprefix('torch.')} {shape_text(value)}"
    if isinstance(value, tuple):
        return "(" + ", ".join(f"{v:g}" if isinstance(v, float) else repr(v) for v in value) + ")"
    return repr(value)
