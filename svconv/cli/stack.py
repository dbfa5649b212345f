"""`svconv deblur --stack`: a file of many pictures, restored one after the other with the same blur, white and strength."""
import contextlib
import io
import os
import statistics
import sys
import tempfile
import time

from svconv.cli.errors import InputError, shown

SAMPLED = 9     # slices that the noise of a stack is measured on


def add_option(parser):
    parser.add_argument("--stack", action="store_true",
                        help="the file holds many pictures, pages of a TIFF or first axes of a FITS or NPY array: restore each of them")


def check_options(arguments):
    """InputError for options that speak of one photograph."""
    if arguments.stack and (arguments.blind or arguments.tiles is not None):
        raise InputError(f"--stack: not with --{'blind' if arguments.blind else 'tiles'}")


def run(arguments, run_one):
    """arguments.image, slice by slice by `run_one`, to arguments.output."""
    from svconv.cli import deblur, many, progress
    from svconv.files import stacks

    stacks.check_stack_output(arguments.output)
    stack = stacks.read_stack(arguments.image, hdu=arguments.hdu, **deblur.limits_of(arguments))
    folder, extension = os.path.dirname(os.path.abspath(arguments.output)), os.path.splitext(arguments.output)[1].lower()
    source = extension if stack.header is None or extension in (".fits", ".fit") else ".fits"
    count, start, said = len(stack.slices), time.perf_counter(), _Said(arguments)
    for name, value in shared_settings(arguments, stack).items():
        setattr(arguments, name, value)
    with tempfile.TemporaryDirectory(prefix=".svconv-", dir=folder) as place, progress.bar("slices", 1, arguments.quiet) as begin:
        advance, done = begin(), []
        for number in range(count):
            image, output = (os.path.join(place, f"{name}-{number}{end}") for name, end in (("slice", source), ("restored", extension)))
            stacks.write_slice(image, stack, number)
            done.append(output)
            with said.of(number, image, output):
                run_one(many.of_one(arguments, image, output, quiet=True, hdu=None))
            os.unlink(image)
            advance(number + 1, count, None)
        stacks.write_stack(arguments.output, done, stack)
    height, width = stack.slices.shape[1:3]
    print(f"{shown(arguments.output)}: {count} slices of {width} x {height}, {said.last}, {time.perf_counter() - start:.1f} s")
    return 0


def shared_settings(arguments, stack):
    """{option: value} of what would otherwise be found for each slice anew: the white of all, and the strength from their median noise."""
    from svconv.cli import deblur, strength

    whole, source = stack.whole().with_white(deblur.white_of(arguments))
    found = {"white": whole.white} if source == "guess" or stack.depth else {}
    method = arguments.method or deblur.METHODS["kernel"][0]
    if arguments.kernel is not None and arguments.reg is None and method in strength.BASE:
        numbers = range(0, len(stack.slices), max(1, len(stack.slices) // SAMPLED))
        slices = (stack.one(number).with_white(whole.white)[0] for number in numbers)
        found["reg"] = strength.strength(method, statistics.median(map(strength.noise_of, slices)))
    return found


class _Said:
    """What runs on single slices say: warnings once for all slices, errors and the last line under the name of the stack."""

    def __init__(self, arguments):
        self.arguments, self.seen, self.last = arguments, set(), ""

    @contextlib.contextmanager
    def of(self, number, image, output):
        out, err = io.StringIO(), io.StringIO()

        def named(text):
            return text.replace(image, f"{self.arguments.image} [{number}]").replace(output, f"{self.arguments.output} [{number}]")

        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                yield
        except (InputError, OSError) as error:
            raise type(error)(named(str(error))) from error
        finally:
            for line in err.getvalue().splitlines():
                kind = line.replace(image, "").replace(output, "")
                if kind not in self.seen:
                    self.seen.add(kind)
                    print(named(line), file=sys.stderr)
        self.last = ", ".join(out.getvalue().rstrip().splitlines()[-1].split(", ")[1:-1])
