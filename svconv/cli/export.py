"""`svconv export`: a trained model as a program for `torch.export.load`, or compiled for `torch._inductor.aoti_load_package`."""
import os
import sys
import time

from svconv.cli.errors import InputError, shown

MODELS = {"ebks": "BlurKernelSpace", "ldr": "DegradationDeblur", "ltd": "LearningToDeblur", "simap": "SIMAP", "svbr": "SVBRNet",
          "svmap": "SVMAP"}
LICENSE = "BSD-3-Clause"        # of the weights that are shipped, as of the package

EPILOG = """\
examples:
  svconv export svbr -o defocus.pt2
  svconv export ebks --part encode -o encode.pt2
  svconv export svmap --size 256 256 --kernel-size 31 -o svmap.pt2
  svconv export own.pt --aot -o own.pt2
"""


def add_parser(subparsers):
    import argparse

    parser = subparsers.add_parser(
        "export", help="write a trained model as a program of torch.export", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Writes a model with its weights as a program that needs torch and svconv.ops, and none of the model's Python\n"
        "(svconv.models.export), loads the file again and compares what it computes with the model.")
    parser.add_argument("model", metavar="MODEL", help=f"{', '.join(MODELS)}, the name of shipped weights, or a file of weights")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help=".pt2")
    parser.add_argument("--weights", metavar="FILE", help="beside the name of a model: a file of weights, or the name of shipped ones "
                        "(default: those that are shipped)")
    parser.add_argument("--part", metavar="NAME", help="ebks: transfer (default), encode or blur")
    parser.add_argument("--size", nargs=2, type=int, metavar=("H", "W"), help="rows and columns of the one image that the program takes "
                        "(default: any size; svmap and simap need it)")
    parser.add_argument("--kernel-size", type=int, metavar="N", help="svmap, simap: side of the kernel that goes in (default: 31)")
    parser.add_argument("--aot", action="store_true", help="compile it by AOTInductor for this processor; needs a C++ compiler")
    parser.set_defaults(run=run)


def run(arguments):
    from svconv.files import FileError
    from svconv.models import export
    from svconv.models.export import check_compiler

    for given in (arguments.model, arguments.weights):
        if given and os.path.exists(given) and os.path.realpath(given) == os.path.realpath(arguments.output):
            raise InputError(f"-o: {arguments.output} is the file of the weights, which would be overwritten")
    model, weights, license = load_model(arguments)
    start = time.perf_counter()
    if arguments.aot:
        try:
            check_compiler()
        except RuntimeError as error:
            raise InputError(f"--{error}") from error
        print("svconv: compiling takes about a minute", file=sys.stderr)
    try:
        written = export(model, arguments.output, part=arguments.part, size=arguments.size, kernel_size=arguments.kernel_size,
                         aot=arguments.aot, weights=weights, license=license)
    except FileError:
        raise
    except ValueError as error:
        raise InputError(f"--{str(error).replace('kernel_size', 'kernel-size')}") from error
    print(*said(written, time.perf_counter() - start), sep="\n")
    return 0


def load_model(arguments):
    """(model, the name of its weights, their licence or None)."""
    from svconv import models
    from svconv.cli import learned_spaces
    from svconv.models.pretrained import model_in

    kinds, given = {name: getattr(models, kind) for name, kind in MODELS.items()}, arguments.model
    if given in kinds:
        kind, text = kinds[given], arguments.weights
        name, license = source(kind, text)
        return kind.from_pretrained(name) if license else learned_spaces.load_model(kind, text, f"export {given}"), name, license
    if arguments.weights is not None:
        raise InputError(f"--weights: only beside one of {', '.join(MODELS)}, got {given}")
    for kind in kinds.values():
        if given in kind.known_weights():
            return kind.from_pretrained(given), *source(kind, given)
    if not os.path.exists(given):
        known = ", ".join(name for kind in kinds.values() for name in kind.known_weights())
        raise InputError(f"MODEL: {given}: expected one of {', '.join(MODELS)}, shipped weights ({known}) or a file of weights")
    name = model_in(given)
    if name not in MODELS.values():
        raise InputError(f"MODEL: {given}: holds weights of {name}, which is none of {', '.join(MODELS)}")
    return getattr(models, name).load(given), *source(getattr(models, name), given)


def source(kind, text):
    """(name, licence) of weights: of shipped ones their whole name, of a file its own and no licence."""
    prefix = kind.weights_prefix or ""
    text = str(kind.default_weights) if text is None else text
    for name in (text, f"{prefix}{text}"):
        if name in kind.known_weights():
            return name, LICENSE
    return os.path.basename(text), None


def said(written, seconds):
    """Lines about the file, its inputs and outputs."""
    described = written.description
    yield (f"{shown(written.path)}: {described['model']}, {described['part']}, weights {shown(described['weights'])}, {described['form']}, "
           f"{os.path.getsize(written.path) / 1e6:.1f} MB, {seconds:.1f} s")
    for kind in ("inputs", "outputs"):
        for port in described[kind]:
            yield f"{kind[:-1]} {port['name']}: {port['dtype']} [{', '.join(map(str, port['shape']))}], {port['meaning']}"
    if described["least"]:
        yield "any " + ", ".join(f"{axis} from {length}" for axis, length in described["least"].items())
    if written.rounding is None:
        yield "the same bits as the model on the pictures that were compared"
    else:
        yield (f"largest difference from the model: {written.difference:.2g} on the pictures that were compared, where the model's own "
               f"rounding is {written.rounding:.2g}")
