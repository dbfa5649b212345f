"""`svconv deblur --blind --method ebks|ldr`: the options, the weights, and restoring by a learned map of the degradation (ldr)."""
import os
import time

from svconv.cli.errors import InputError, shown

METHODS = ("ebks", "ldr")
LEAST = {"ebks": 128, "ldr": 16}    # pixels of a side
PRECISIONS = ("float32", "bfloat16")
STEPS, SEED = 5000, 0
_SEARCH = ("steps", "preview", "resume", "vgg", "precision", "seed")        # options of ebks alone
_KERNEL = ("kernel_size", "final", "save_kernel", "refine", "reg", "grid", "eta")      # options that neither has
WINDOW_PLANES = 24      # float32 planes of a window for each channel of the width, measured and rounded up


def add_options(group):
    """The options of the search."""
    group.add_argument("--steps", type=int, metavar="N", help=f"ebks: steps of the search (default: {STEPS})")
    group.add_argument("--preview", metavar="FILE", help="ebks: the image found so far, written every 50 steps in 8 bits")
    group.add_argument("--resume", metavar="FILE", help="ebks: go on with the search that an interrupt has left in OUT.search")
    group.add_argument("--vgg", metavar="FILE", help="ebks: weights of VGG-19, in whose features images are compared (default: in those of "
                       "a fixed filter bank)")
    group.add_argument("--precision", choices=PRECISIONS, help=f"ebks: of the networks (default: {PRECISIONS[0]})")
    group.add_argument("--seed", type=int, metavar="N", help=f"ebks: of the networks' first weights and noise (default: {SEED})")


def check_options(arguments):
    """InputError for options that do not belong to the method."""
    used = arguments.method if arguments.blind else None
    if used != "ebks":
        for option in _SEARCH:
            if getattr(arguments, option) is not None:
                raise InputError(f"--{option}: only with --blind --method ebks")
    if used not in METHODS:
        return
    for option in _KERNEL:
        value = getattr(arguments, option)
        if value is not None and value is not False:
            raise InputError(f"--{option.replace('_', '-')}: not with --method {used}")
    if arguments.steps is not None and arguments.steps < 1:
        raise InputError(f"--steps: expected a whole number >= 1, got {arguments.steps}")
    if arguments.seed is not None and not 0 <= arguments.seed < 2**63:
        raise InputError(f"--seed: expected a whole number from 0 to 2^63 - 1, got {arguments.seed}")
    if arguments.preview and os.path.realpath(arguments.preview) == os.path.realpath(arguments.output):
        raise InputError(f"--preview: {arguments.preview} is the output file too")


def load_model(kind, text, purpose, default=True):
    """A model of the class `kind`: the shipped weights of a name, or those of a file. None: the default ones, if there are some that serve
    the purpose (`default`). purpose: who asks, for the error where there are none."""
    from svconv.files import FileError

    known = kind.known_weights()
    try:
        if text is None and default and f"{kind.weights_prefix}{kind.default_weights}" in known:
            return kind.from_pretrained()
        if text is None:
            which = f"name one of {', '.join(known)} or a file" if known else "no weights are shipped with this package, give a file"
            raise InputError(f"{purpose}: {which} with --weights")
        if text in known or f"{kind.weights_prefix}{text}" in known:
            return kind.from_pretrained(text)
        if not os.path.exists(text):
            raise InputError(f"--weights: {text}: no such file, and no shipped weights of this name (known: {', '.join(known) or 'none'})")
        return kind.load(text)
    except FileError as error:
        raise InputError(f"--weights: {error}") from error


def check_picture(path, picture, least):
    """InputError unless the sides are long enough and something can be seen."""
    height, width = picture.size
    if min(height, width) < least:
        raise InputError(f"{path}: expected sides of at least {least} pixels, got {width} x {height}")
    if picture.weights is not None and not picture.weights.any():
        raise InputError(f"{path}: expected pixels that are not transparent")


def run(arguments, limits):
    """The run; limits: options of the readers."""
    from svconv.cli import deblur, deep_prior
    from svconv.files import images
    from svconv.models import BlurKernelSpace, DegradationDeblur

    search = arguments.method == "ebks"
    kind = BlurKernelSpace if search else DegradationDeblur
    # the shipped space is made for transfer: a search through it does not sharpen, and has to be asked for by name
    model = load_model(kind, arguments.weights, f"--method {arguments.method}", default=not search)
    picture, source = images.read_image(arguments.image, **limits).with_white(deblur.white_of(arguments))
    images.check_output(arguments.output, picture.bits, picture.alpha is not None, picture.size)
    check_picture(arguments.image, picture, LEAST[arguments.method])
    start = time.perf_counter()
    if search:
        result = deep_prior.restore(arguments, picture, model)
        if result is None:
            return 130
        said = f"ebks, {arguments.steps or STEPS} steps"
    else:
        result, said = restore(arguments, picture, model), "ldr"
    deblur.write_result(arguments, picture, result)
    if search:
        deep_prior.forget(arguments)
    height, width = picture.size
    print(f"{shown(arguments.output)}: {width} x {height}, {'grey' if picture.channels == 1 else 'colour'}, {picture.bits} bits, {said}, "
          f"{deblur.white_text(picture.white, source)}{time.perf_counter() - start:.1f} s")
    return 0


def needed(picture, model):
    """Bytes beside the picture itself that `restore` takes."""
    from svconv.models.degradation_deblur.tiles import TILE

    height, width = picture.size
    window = TILE**2 * WINDOW_PLANES * (model.arguments["width"] + 4)
    return 4 * height * width * (4 * picture.channels + 2) + 2 * picture.pixels.nbytes + 4 * window


def restore(arguments, picture, model):
    """The restored Picture. Pixels that are transparent or broken do not change."""
    from svconv.cli import deblur, map_options, progress
    from svconv.files.limits import check_memory
    from svconv.models.degradation_deblur import restore_tiled

    check_memory(arguments.image, needed(picture, model), "restoring it")
    deblur.say_what_is_lost(arguments, picture)
    with progress.bar("restoring", quiet=arguments.quiet) as begin:
        advance = begin()
        x = restore_tiled(model, map_options.planes(picture), callback=lambda step, steps: advance(step, steps, None))
    return map_options.finished(picture, x)
