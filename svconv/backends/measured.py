"""Which of cuda and triton goes first for a call: what a shipped table says that was measured on this GPU. Nothing is timed at run time.

A table is `measured/<gpu>.json`, which `python bench/report.py` writes from bench/results: {"gpu", "source", "commit", "rows"}, a row
{"op", "dtype", "elements", "kernel", "seconds": {"cuda", "triton"}} for each measured case. A row speaks for calls of its op and dtype with
up to four times more or fewer elements of the first tensor and, where a kernel has a size, sides up to twice as long or short.
"""
import functools
import json
import math
import re
from pathlib import Path

import torch

FOLDER = Path(__file__).parent / "measured"
ELEMENTS, SIDE = 4.0, 2.0       # how far a row speaks
UNMEASURED = "nothing was measured here for this op, dtype and size: triton goes first"


def slug(gpu):
    """The name of a GPU as that of a file."""
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")


@functools.cache
def table(gpu):
    """What was measured on a GPU of that name; None if nothing was."""
    path = FOLDER / f"{slug(gpu)}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def shipped():
    """The tables that are here, by file."""
    return {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def size_of(op, arguments):
    """(elements of the first tensor, values of a kernel) of a call; 0 where only the map of a blur says how large its kernels are."""
    if op.startswith("disk"):
        most = arguments[-1]
        kernel = 0 if math.isinf(most) else (2 * math.ceil(most - 0.5) + 1) ** 2
    elif op == "pixel_filter_bwd_filters":
        kernel = math.prod(arguments[2][3:5])
    elif op.startswith("pixel_filter"):
        filters = next((a for a in arguments if isinstance(a, torch.Tensor) and a.dim() == 7), None)
        kernel = 0 if filters is None else math.prod(filters.shape[3:5])
    elif op == "eff_bwd_kernels":
        kernel = math.prod(arguments[2][-2:])
    elif op in ("eff_fwd", "eff_adjoint", "eff_image_quotient_fwd"):
        kernel = math.prod(arguments[1].shape[-2:])
    elif op == "eff_kernel_quotient_fwd":
        kernel = math.prod(arguments[3:5])
    else:
        kernel = 0
    return arguments[0].numel(), kernel


def distance(row, elements, kernel):
    """How far a row is from a call, at most 1 where it speaks for it."""
    if not (elements and row["elements"]) or (kernel == 0) != (row["kernel"] == 0):
        return math.inf
    sides = abs(math.log(kernel / row["kernel"])) / 2 / math.log(SIDE) if kernel else 0.0
    return max(abs(math.log(elements / row["elements"])) / math.log(ELEMENTS), sides)


def nearest(found, op, dtype, elements, kernel):
    """The row of a table that speaks for a call, or None."""
    rows = [row for row in found["rows"] if row["op"] == op and row["dtype"] == str(dtype).removeprefix("torch.")] if found else []
    best = min(rows, key=lambda row: distance(row, elements, kernel), default=None)
    return best if best is not None and distance(best, elements, kernel) <= 1 else None


def why_not_cuda(op, *arguments):
    """None if cuda was measured to be faster than triton for such a call, otherwise the reason why triton goes first."""
    found = table(torch.cuda.get_device_name(arguments[0].device))
    row = nearest(found, op, arguments[0].dtype, *size_of(op, arguments))
    if row is None:
        return UNMEASURED
    cuda, triton = row["seconds"]["cuda"], row["seconds"]["triton"]
    return None if cuda < triton else f"triton took {triton / cuda:.2f}x its time ({found['source']})"


def summary():
    """One line for each op that a table speaks of: (gpu, op, dtype, what goes first for which sizes, the file)."""
    for found in shipped().values():
        for row in found["rows"]:
            cuda, triton = row["seconds"]["cuda"], row["seconds"]["triton"]
            first = f"cuda, {triton / cuda:.2f}x" if cuda < triton else f"triton, {cuda / triton:.2f}x"
            kernel = f", kernels of about {row['kernel']} values" if row["kernel"] else ""
            yield found["gpu"], row["op"], row["dtype"], f"{first}, about {row['elements']} elements{kernel}", found["source"]
