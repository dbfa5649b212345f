"""How far a program that was loaded from a file is from its model, and how far rounding may take it."""
import copy

import torch

from svconv.models.export.programs import lengths

ANY_SIZE = (1, 0, 0), (1, 1, 30), (3, 17, 2)        # images, and pixels above the least sides, that a program for any size is compared on
ONE_SIZE = (1, 0, 0), (1, 0, 0)


def compared(run, program, size, least):
    """(the largest difference of the outputs of `run` from those of a `Program`, that of the latter from itself in float64: None where the
    former is 0)."""
    generator = torch.Generator().manual_seed(1)
    examples = [program.examples(lengths(size, batch, least.get("height", 0) + rows, least.get("width", 0) + columns), generator)
                for batch, rows, columns in (ANY_SIZE if size is None else ONE_SIZE)]
    expected = [_outputs(program, example) for example in examples]
    difference = _difference([_outputs(run, example) for example in examples], expected)
    if difference == 0:
        return 0.0, None
    wide = copy.deepcopy(program).double()
    return difference, _difference(expected, [_outputs(wide, [t.double() for t in example]) for example in examples])


def _outputs(run, example):
    found = run(*example)
    return found if isinstance(found, (tuple, list)) else (found,)


def _difference(some, others):
    """The largest over all outputs; infinite where shapes differ or something is no number."""
    largest = 0.0
    for one, other in zip(some, others):
        for a, b in zip(one, other):
            found = float((a.double() - b).abs().max()) if a.shape == b.shape else float("inf")
            largest = max(largest, found if found == found else float("inf"))
    return largest
