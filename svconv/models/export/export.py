"""A trained model written as a program that needs none of its Python: that of `torch.export`, or a package of AOTInductor."""
import contextlib
import dataclasses
import io
import json
import logging
import os
import warnings

import torch

from svconv import __version__
from svconv._shapes import number
from svconv.files import FileError
from svconv.files.outputs import check_folder, replacing
from svconv.models.export import compiled
from svconv.models.export.comparison import compared
from svconv.models.export.programs import CODE, PARTS, RestoreWithKernel, lengths
from svconv.models.export.tracing import traced

EXTENSION = ".pt2"
ROUNDING = 8       # times the rounding of the model itself, by which a program may differ from it


@dataclasses.dataclass(frozen=True)
class Exported:
    """What `svconv.models.export` has written.

    Attributes:
        path: the file.
        description: what the file says of itself: versions, model, weights, inputs and outputs.
        difference: the largest difference of the outputs of the program, loaded from the file, from those of the model.
        rounding: the largest difference of the model in float32 from itself in float64; None where `difference` is 0.
    """

    path: str
    description: dict
    difference: float
    rounding: "float | None"


def export(model, path, *, part=None, size=None, kernel_size=None, aot=False, weights=None, license=None):
    """Write a model as a program that runs where only `torch` and `svconv.ops` are imported, and compare what is written with the model.

    The program holds the weights and computes what the model does in eval mode without gradients, on the CPU: tensors in, tensors out,
    `.description` names them. It does not look at values: NaN goes through. Programs are for images of any size and any number of them,
    but for those of `SVMAP` and `SIMAP`, whose Fourier transforms have lengths that depend on the size.

    Args:
        model: a model of this package, in eval mode, float32, on the CPU.
        path: the file, .pt2. One that is there is replaced when the new one is complete and has been compared, not before.
        part: what of a `BlurKernelSpace`: "transfer" (the default; a pair and a photograph -> the photograph under the blur of the pair),
            "encode" (a pair -> the code of its blur) or "blur" (a photograph and a code). The others have one part.
        size: (height, width), for a program for one image of that size; None for any.
        kernel_size: side of the kernel that goes into the program of a `SVMAP` or `SIMAP` (31).
        aot: compile the program, by AOTInductor and for this processor. Such a package checks neither shapes nor types.
        weights, license: texts about the weights that the file is to hold.

    Returns:
        Exported: .path, .description, .difference, .rounding.

    Raises:
        ValueError, TypeError: naming the argument. FileError (an OSError and a ValueError): the file cannot be written.
        RuntimeError: no C++ compiler for `aot`, or it fails; a program that differs from the model by more than 8 times the rounding of
            the model, in which case nothing is written.

    A program of `torch.export` computes the bits of the model (beyond 131,072 pixels SVMAP predicts its filters in bands, and the program
    equals it to rounding); a compiled one sums in another order. Deterministic: it is compared on pictures of a fixed seed. Memory: the
    weights four times, and what the model takes for small pictures, or for those of `size`.

    >>> import os, tempfile, torch
    >>> from svconv.models import SVBRNet, export
    >>> model, path = SVBRNet().eval(), os.path.join(tempfile.mkdtemp(), "defocus.pt2")
    >>> written = export(model, path)
    >>> [(port["name"], port["shape"]) for port in written.description["inputs"]]
    [('image', ['batch', 3, 'height', 'width']), ('radius', ['batch', 1, 'height', 'width'])]
    >>> program = torch.export.load(path).module()
    >>> image, radius = torch.rand(1, 3, 30, 41), torch.full((1, 1, 30, 41), 2.0)
    >>> with torch.no_grad():
    ...     written.difference, torch.equal(program(image, radius), model(image, radius))
    (0.0, True)
    """
    program = _program(model, part, kernel_size)
    size, path = _checked_size(program, size), _checked_path(path)
    if aot:
        compiled.check_compiler()
    with torch.no_grad(), _quiet():
        found, least = traced(program, size)
        description = {"model": type(model).__name__, "arguments": model.arguments, "part": part or next(iter(PARTS[_kind(model)])),
                       "weights": weights, "license": license, "form": "AOTInductor" if aot else "torch.export", "svconv": __version__,
                       "torch": torch.__version__, **_ports(program, size, least)}
        text = json.dumps(description, indent=1)
        archive = compiled.archive(found, text) if aot else _archive(found, text)
        with replacing(path) as file:
            file.write(archive.getbuffer())
            file.flush()
            with open(file.name, "rb") as written:
                run = compiled.load(written) if aot else torch.export.load(written).module()
            difference, rounding = compared(run, program, size, least)
            if difference > ROUNDING * (rounding or 0.0):
                raise RuntimeError(f"{path}: the program differs from the model by {difference:.3g}, {ROUNDING} times its rounding are "
                                   f"{ROUNDING * rounding:.3g}; nothing is written")
    return Exported(path, description, difference, rounding)


def _archive(found, description):
    """The archive of a program, in memory: torch's writer ends the process where a disk is full."""
    archive = io.BytesIO()
    torch.export.save(found, archive, extra_files={compiled.NAME: description})
    return archive


def _kind(model):
    kind = next((kind for kind in PARTS if isinstance(model, kind)), None)
    if kind is None:
        raise TypeError(f"model: expected one of {', '.join(kind.__name__ for kind in PARTS)}, got {type(model).__name__}")
    return kind


def _program(model, part, kernel_size):
    """The `Program` that the arguments ask for."""
    kind = _kind(model)
    if model.training:
        raise ValueError("model: expected one in eval mode")
    own = next(model.parameters())
    if own.dtype != torch.float32 or own.device.type != "cpu":
        raise TypeError(f"model: expected float32 weights on the CPU, got {own.dtype} on {own.device}")
    parts = PARTS[kind]
    if part is not None and part not in parts:
        raise ValueError(f"part: expected {' or '.join(map(repr, parts))} for {kind.__name__}, got {part!r}")
    program = parts[part or next(iter(parts))]
    if kernel_size is None:
        return program(model).eval()
    if program is not RestoreWithKernel:
        raise ValueError(f"kernel_size: expected None for {kind.__name__}, whose program takes no kernel, got {kernel_size!r}")
    return program(model, number("kernel_size", kernel_size, least=1, integer=True)).eval()


def _checked_size(program, size):
    if size is None:
        if not program.any_size:
            raise ValueError(f"size: expected (height, width) for {type(program.model).__name__}, whose program is for one size, got None")
        return None
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise ValueError(f"size: expected (height, width) or None, got {size!r}")
    return tuple(number("size", side, least=program.least, integer=True) for side in size)


def _checked_path(path):
    path = os.fspath(path)
    if not path.endswith(EXTENSION):
        raise FileError(f"cannot write {path}: expected a name that ends in {EXTENSION}")
    check_folder(path)
    return path


def _ports(program, size, least):
    """What a description says of inputs, outputs and free axes."""
    fixed = {} if size is None else lengths(size, 1, *size)

    def described(ports):
        return [{"name": port.name, "shape": list(port.at(fixed)), "dtype": "float32", "meaning": port.meaning} for port in ports]

    named = {axis: length for axis, length in least.items() if axis not in CODE}
    return {"inputs": described(program.inputs), "outputs": described(program.outputs), "least": named}


@contextlib.contextmanager
def _quiet():
    """torch's warnings and log lines about its own code are dropped."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
