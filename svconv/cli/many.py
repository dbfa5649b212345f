"""One photograph or many: the files of a command, where their results go, and what is done where one of them fails."""
import argparse
import functools
import os
import sys

from svconv.cli import stack
from svconv.cli.errors import InputError, shortage, shown

SUFFIX = "_deblurred"
READ = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".fits", ".fit", ".fts")     # in a folder
INSTEAD = {".gif": ".png", ".webp": ".png", ".fts": ".fits"}     # where the kind of the input is not written
ALONE = ("save_kernel", "report", "preview", "resume")          # options that name the one file of one photograph


def add_options(parser):
    """IMAGE..., -o, --suffix and --overwrite."""
    parser.add_argument("images", nargs="+", metavar="IMAGE",
                        help="PNG, JPEG, TIFF, BMP, GIF, WebP, FITS or NPY; several, or folders of them")
    parser.add_argument("-o", "--output", metavar="OUT",
                        help=".png, .tif, .jpg, .bmp, .fits or .npy; a folder for several photographs (default: beside the photograph, "
                             "with the suffix)")
    parser.add_argument("--suffix", metavar="S",
                        help=f"what is added to the names of the results (default: {SUFFIX} beside the photograph, nothing in a folder)")
    stack.add_option(parser)
    parser.add_argument("--overwrite", action="store_true", help="write over the photograph itself, or over a file that is read-only")


def run_each(arguments, run):
    """run(arguments with .image and .output) for each photograph. One: its errors are the command's. Several: a line for each that failed,
    the others go on; 2 if any failed."""
    stack.check_options(arguments)
    if arguments.stack:
        run = functools.partial(stack.run, run_one=run)
    pairs = planned(arguments)
    if len(pairs) == 1:
        return run(of_one(arguments, *pairs[0]))
    for option in ALONE:
        if getattr(arguments, option, None):
            raise InputError(f"--{option.replace('_', '-')}: only with one photograph, got {len(pairs)}")
    failed = []
    for image, output in pairs:
        try:
            run(of_one(arguments, image, output))
        except Exception as error:
            failed.append(image)
            _say(error, image, arguments)
        sys.stdout.flush()
    if failed:
        print(f"svconv: {len(failed)} of {len(pairs)} photographs failed", file=sys.stderr)
    return 2 if failed else 0


def of_one(arguments, image, output, **more):
    """The arguments with one photograph, its result, and other values in the place of theirs."""
    return argparse.Namespace(**{**vars(arguments), "image": image, "output": output, **more})


def _say(error, image, arguments):
    from svconv.files.errors import FileError

    if arguments.debug and not isinstance(error, (InputError, FileError)):
        import traceback

        traceback.print_exception(error)
    text = str(error) if isinstance(error, (InputError, FileError)) else shortage(error) or f"{type(error).__name__}: {error}"
    print(f"svconv: error: {shown(image)}: {shown(text)}" if image not in text else f"svconv: error: {shown(text)}", file=sys.stderr)


def planned(arguments):
    """[(photograph, its result)], checked before anything is read: no two results in one file, nothing written over by accident."""
    images = listed(arguments.images)
    folder = arguments.output if arguments.output and (len(images) > 1 or _is_folder(arguments)) else None
    if folder is not None:
        _make(folder)
    pairs = [(image, arguments.output if arguments.output and folder is None else result_name(image, folder, arguments.suffix))
             for image in images]
    if arguments.suffix is not None and arguments.output and folder is None:
        raise InputError("--suffix: not with the name of the result")
    taken = {}
    for image, output in pairs:
        place = os.path.realpath(output)
        if place in taken:
            raise InputError(f"-o: {taken[place]} and {image} would both be written to {output}")
        taken[place] = image
    inputs = {os.path.realpath(image) for image in images}
    for _, output in pairs:
        if arguments.overwrite or not os.path.exists(output):
            continue
        if os.path.realpath(output) in inputs:
            raise InputError(f"-o: {output} is the photograph itself (--overwrite writes over it)")
        if os.path.isfile(output) and not os.access(output, os.W_OK):
            raise InputError(f"-o: {output} is read-only (--overwrite writes over it)")
    return pairs


def listed(names):
    """The photographs of names and folders, in their order; a result of an earlier run beside its photograph is none."""
    found = []
    for name in names:
        if not os.path.isdir(name):
            found.append(name)
            continue
        inside = sorted(entry for entry in os.listdir(name) if not entry.startswith(".") and os.path.splitext(entry)[1].lower() in READ)
        inside = [entry for entry in inside if not os.path.splitext(entry)[0].endswith(SUFFIX)]
        if not inside:
            raise InputError(f"IMAGE: no photographs in the folder {name} ({', '.join(READ)})")
        found += [os.path.join(name, entry) for entry in inside]
    return list(dict.fromkeys(found))


def result_name(image, folder, suffix):
    """Where the result of a photograph goes, in a folder or beside it."""
    place, name = os.path.split(image)
    stem, extension = os.path.splitext(name)
    suffix = (SUFFIX if folder is None else "") if suffix is None else suffix
    if os.sep in suffix:
        raise InputError(f"--suffix: expected a part of a name, got {suffix!r}")
    extension = INSTEAD.get(extension.lower(), extension)
    return os.path.join(place if folder is None else folder, f"{stem}{suffix}{extension}")


def _is_folder(arguments):
    """Whether -o names a folder: it is one, or ends like one, or a folder of photographs was given."""
    output = arguments.output
    return os.path.isdir(output) or output.endswith(os.sep) or any(os.path.isdir(name) for name in arguments.images)


def _make(folder):
    from svconv.files.outputs import make_folder

    if os.path.exists(folder) and not os.path.isdir(folder):
        raise InputError(f"-o: expected a folder for several photographs, {folder} is a file")
    make_folder(folder)
