"""From a `Program` to a program of `torch.export`, for one size or for any."""
import torch
from torch.export import Dim

from svconv.models.export.programs import lengths

TRACED = 2, 22, 9           # images, and pixels above the least side, of the example that a program for any size is made with


def traced(program, size):
    """(the program of `torch.export`, {name of a free axis: its least length}); size: (height, width), or None for any size."""
    batch, rows, columns = TRACED
    example = program.examples(lengths(size, batch, program.least + rows, program.least + columns), torch.Generator().manual_seed(0))
    free = [{i: Dim.AUTO for i, axis in enumerate(port.axes) if isinstance(axis, str)} for port in program.inputs]
    found = torch.export.export(program, example, dynamic_shapes=tuple(free) if size is None else None)
    return found, _least(found, program) if size is None else {}


def _least(exported, program):
    """{name of a free axis: its least length}; RuntimeError where torch has fixed one."""
    values = {node.name: node.meta["val"] for node in exported.graph.nodes if node.op == "placeholder"}
    least = {}
    for port, name in zip(program.inputs, exported.graph_signature.user_inputs):
        for axis, length in zip(port.axes, values[name].shape):
            if isinstance(axis, str):
                if not isinstance(length, torch.SymInt):
                    raise RuntimeError(f"{type(program.model).__name__}: torch.export has fixed the {axis} of {port.name} to {length}")
                # torch traces a batch of 2 because 1 could mean that it is broadcast; here it means one image
                least[axis] = 1 if axis == "batch" else int(exported.range_constraints[length.node.expr].lower)
    return least
