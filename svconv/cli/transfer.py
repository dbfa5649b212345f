"""`svconv transfer`: the blur between two photographs, put on other ones."""
import os
import sys
import time

from svconv.cli import progress
from svconv.cli.errors import InputError, shown, warn

LEAST = 128     # pixels of a side
PIXEL, CHANNEL = 17, 9.7        # bytes for a pixel, and for a pixel and channel of the width, measured and rounded up

EPILOG = """\
examples:
  svconv transfer --pair sharp.png blurry.png --to photo.jpg -o blurred.png
  svconv transfer --pair sharp.png blurry.png --to photographs --weights ebks.pt -o blurred
"""


def add_parser(subparsers):
    import argparse

    from svconv.cli import deblur

    parser = subparsers.add_parser(
        "transfer", help="put the blur between two photographs on other ones", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Finds the code of the blur between a sharp and a blurred photograph of one scene, and blurs other photographs by it\n"
        "(svconv.models.BlurKernelSpace). Bit depth, size, grey, alpha and colour profile are kept.")
    parser.add_argument("--pair", nargs=2, required=True, metavar=("SHARP", "BLURRY"), help="two photographs of one scene, of equal size")
    parser.add_argument("--to", required=True, metavar="PHOTO|FOLDER", help="what is to be blurred: a photograph, or all below a folder")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="the file, or with a folder the folder: the names stay")
    parser.add_argument("--weights", metavar="FILE", help="weights of your own training (svconv train ebks), or the name of shipped ones "
                        "(default: mixed)")
    deblur.add_white(parser, ", of all photographs")
    progress.add_option(parser)
    parser.set_defaults(run=run)


def run(arguments):
    from svconv.cli import deblur, learned_spaces
    from svconv.models import BlurKernelSpace

    limits, folder = deblur.limits_of(arguments), os.path.isdir(arguments.to)
    check_kind(arguments, folder)
    space = learned_spaces.load_model(BlurKernelSpace, arguments.weights, "transfer")
    start = time.perf_counter()
    photographs = listed(arguments) if folder else [(arguments.to, arguments.output)]
    if not folder:
        first = opened(arguments, arguments.to, arguments.output, space, limits)       # before the work of the pair
    code = code_of(arguments, space, limits)
    if folder:
        return blur_all(arguments, photographs, space, code, limits, start)
    with progress.bar("blurring", quiet=arguments.quiet) as begin:
        put(arguments, *first, space, code)
        begin()(1, 1, None)
    picture, source, _, output = first
    height, width = picture.size
    print(f"{shown(output)}: {width} x {height}, {'grey' if picture.channels == 1 else 'colour'}, {picture.bits} bits, "
          f"{deblur.white_text(picture.white, source)}{time.perf_counter() - start:.1f} s")
    return 0


def check_kind(arguments, folder):
    """InputError unless the output can be what the photographs are, a file or another folder."""
    if not folder:
        if os.path.isdir(arguments.output):
            raise InputError(f"-o: expected a file, as --to is no folder, got the folder {arguments.output}")
        return
    if os.path.realpath(arguments.to) == os.path.realpath(arguments.output):
        raise InputError(f"-o: {arguments.output} is the folder of the photographs, which would be overwritten")
    if os.path.exists(arguments.output) and not os.path.isdir(arguments.output):
        raise InputError(f"-o: expected a folder, as --to is one, got the file {arguments.output}")


def listed(arguments):
    """(photograph, output) of all photographs below the folder; what lies below the output is none of them."""
    from svconv.data.photographs import list_photographs

    try:
        files = list_photographs(arguments.to)
    except ValueError as error:
        raise InputError(f"--to: {error}") from error
    output = os.path.realpath(arguments.output)
    files = [path for path in files if not os.path.realpath(path).startswith(output + os.sep)]
    if not files:
        raise InputError(f"--to: {arguments.to}: no photographs besides those in {arguments.output}")
    return [(str(path), os.path.join(arguments.output, path.relative_to(arguments.to))) for path in files]


def code_of(arguments, space, limits):
    """The code of the pair, [1, 8 width, rows, columns]."""
    import torch

    from svconv.cli import map_options

    sharp, blurry = read_pair(arguments, limits)
    check_memory(arguments.pair[1], sharp, space, "finding its blur")
    with torch.no_grad():
        return space.encode(map_options.planes(sharp), map_options.planes(blurry))


def read_pair(arguments, limits):
    """(sharp Picture, blurry Picture) that fit together, with one white where they are of one type."""
    from svconv.cli import deblur, learned_spaces
    from svconv.files import images

    given = deblur.white_of(arguments)
    pair = [images.read_image(path, **limits).with_white(given)[0] for path in arguments.pair]
    sharp, blurry = pair
    sizes, channels = [f"{p.size[1]} x {p.size[0]}" for p in pair], [p.channels for p in pair]
    for what, (one, other) in (("same size", sizes), ("same number of channels", channels)):
        if one != other:
            raise InputError(f"--pair: expected two photographs of the {what}, got {one} in {arguments.pair[0]} and {other} in "
                             f"{arguments.pair[1]}")
    for path, picture in zip(arguments.pair, pair):
        learned_spaces.check_picture(path, picture, LEAST)
    if sharp.pixels.dtype == blurry.pixels.dtype and sharp.white != blurry.white:
        white = max(sharp.white, blurry.white)      # a guess: blur lowers the largest value of floats
        pair = [picture.with_white(white)[0] for picture in pair]
    return pair


def check_memory(path, picture, space, purpose):
    from svconv.files import limits

    height, width = (-(-side // LEAST) * LEAST for side in picture.size)
    planes = 4 * height * width * (3 * picture.channels + 3) + 2 * picture.pixels.nbytes
    limits.check_memory(path, planes + height * width * (PIXEL + CHANNEL * space.arguments["width"]), purpose)


def opened(arguments, path, output, space, limits):
    """(Picture, who chose its white, path, output), all that can be checked checked."""
    from svconv.cli import deblur, learned_spaces
    from svconv.files import images

    picture, source = images.read_image(path, **limits).with_white(deblur.white_of(arguments))
    images.check_output(output, picture.bits, picture.alpha is not None, picture.size)
    learned_spaces.check_picture(path, picture, LEAST)
    check_memory(path, picture, space, "blurring it")
    return picture, source, path, output


def put(arguments, picture, source, path, output, space, code):
    """Writes the photograph under the blur of a code."""
    import torch

    from svconv.cli import map_options
    from svconv.files import images
    from svconv.models.blur_kernel_space.model import fitted_code

    if picture.broken is not None:
        warn(f"{path}: {picture.broken.sum()} pixels far above white ({picture.white:.6g}) stay as they are (--white sets it)")
    for text in images.losses(output, picture):
        warn(f"{output}: {text}")
    y = map_options.planes(picture)
    with torch.no_grad():
        x = space.blur(y, fitted_code(code, space.code_shape(picture.size)[1:]))
    images.write_image(output, map_options.finished(picture, x))


def blur_all(arguments, photographs, space, code, limits, start):
    """Every photograph of the folder; one that fails is a line on stderr, and the others go on."""
    from svconv.files import FileError
    from svconv.files.outputs import make_folder

    make_folder(arguments.output)
    failed = 0
    with progress.bar("blurring", quiet=arguments.quiet) as begin:
        advance = begin()
        for number, (path, output) in enumerate(photographs, 1):
            try:
                make_folder(os.path.dirname(output))
                put(arguments, *opened(arguments, path, output, space, limits), space, code)
            except (FileError, InputError) as error:
                failed += 1
                print(f"svconv: error: {shown(error)}", file=sys.stderr)
            advance(number, len(photographs), None)
    lost = f", {failed} could not be blurred" if failed else ""
    print(f"{shown(arguments.output)}: {len(photographs) - failed} of {len(photographs)} photographs{lost}, "
          f"{time.perf_counter() - start:.1f} s")
    return 2 if failed else 0
