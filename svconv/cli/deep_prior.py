"""`svconv deblur --blind --method ebks`: the search for an image and a code of blur, its preview, and how it is stopped and resumed."""
import contextlib
import hashlib
import math
import os
import signal
import sys

from svconv.cli.errors import InputError, shown, warn

WARMUP = 300        # steps of each of the two networks before the search
PREVIEW = 50        # steps from one preview to the next
MULTIPLE = 128      # of the sides inside
# bytes that a search takes, measured and rounded up (tests/cli/test_learned_spaces.py): the network of the image; that of the code, for the
# square of the width; a pixel; a pixel and channel of the width; the same of VGG-19
IMAGE, CODE, PIXEL, CHANNEL = 45_000_000, 150_000, 9200, 52
VGG, VGG_PIXEL = 100_000_000, 1800


def search_file(arguments):
    """Where an interrupted search is kept."""
    return f"{arguments.output}.search"


def restore(arguments, picture, space):
    """The restored Picture, or None after an interrupt, when the search has been written to its file. Pixels that are transparent or broken
    do not change."""
    from svconv.cli import deblur, map_options
    from svconv.files.limits import check_memory

    check_outputs(arguments, picture)
    memory = needed(picture, space, vgg=arguments.vgg is not None, resumed=arguments.resume is not None)
    check_memory(arguments.image, memory, "searching for its sharp image")
    y = map_options.planes(picture)
    features = None if arguments.vgg is None else vgg_distance(arguments.vgg)
    parts = ingredients(y, space, features)
    resume = None if arguments.resume is None else stopped(arguments.resume, y, parts)
    deblur.say_what_is_lost(arguments, picture)
    try:
        found = searched(arguments, y, space, features, resume, preview(arguments, picture))
    except ValueError as error:
        if resume is None or not str(error).startswith("resume: "):
            raise
        raise InputError(f"--resume: {arguments.resume}: {str(error).removeprefix('resume: ')}") from error
    if not found.done:
        keep(arguments, found, parts)
        return None
    return map_options.finished(picture, found.x)


def searched(arguments, y, space, features, resume, draw):
    """The result of the search, or of its steps up to an interrupt."""
    import torch

    from svconv.cli import learned_spaces, progress
    from svconv.models import deep_prior_deblur

    found = None
    try:
        with interrupts() as pressed, progress.bar("searching", quiet=arguments.quiet) as begin:
            advance = begin()

            def callback(step, steps, result):
                advance(step, steps, None, "warming up" if math.isnan(loss := result.loss) else f"loss {loss:.4g}")
                if step % PREVIEW == 0 or step == steps or pressed:
                    draw(result.x)
                return bool(pressed)

            found = deep_prior_deblur(
                y, space, steps=arguments.steps or learned_spaces.STEPS, warmup=WARMUP, features=features, resume=resume, callback=callback,
                precision=arguments.precision or "float32", generator=torch.Generator().manual_seed(arguments.seed or learned_spaces.SEED))
            if not found.done:
                raise KeyboardInterrupt     # leaves the bar where it is
    except KeyboardInterrupt:
        if found is None or found.done:
            raise
    return found


def check_outputs(arguments, picture):
    """Whether the preview and the search can be written, before any work."""
    from svconv.files import images
    from svconv.files.outputs import check_folder

    check_folder(search_file(arguments))
    if arguments.preview:
        images.check_output(arguments.preview, 8, False, picture.size)
    if arguments.resume is None and os.path.exists(search_file(arguments)):
        warn(f"{search_file(arguments)}: an interrupted search is there, --resume goes on from it; this run begins anew")


def needed(picture, space, vgg=False, resumed=False):
    """Bytes beside the picture itself."""
    height, width = (-(-side // MULTIPLE) * MULTIPLE for side in picture.size)
    channels = space.arguments["width"]
    networks = (1 + resumed) * (IMAGE + CODE * channels**2)
    searched = networks + height * width * (PIXEL + CHANNEL * channels + vgg * VGG_PIXEL) + vgg * VGG
    return searched + 4 * 4 * picture.pixels.size


def vgg_distance(path):
    """The distance of images in the features of VGG-19."""
    from svconv.files import FileError
    from svconv.nn import FeatureDistance, VGG19Features

    try:
        return FeatureDistance(VGG19Features.from_file(path))
    except FileError as error:
        raise InputError(f"--vgg: {error}") from error


def ingredients(y, space, features):
    """What a search is made of, apart from the options that the model itself compares: a digest of each."""
    digests = {"photograph": digest([y]), "weights": digest(space.state_dict().values())}
    return {**digests, "features": "filter bank" if features is None else digest(features.state_dict().values())}


def digest(tensors):
    """A text that is another one for other values."""
    found = hashlib.sha256()
    for t in tensors:
        found.update(t.detach().contiguous().cpu().numpy().tobytes())
    return found.hexdigest()


_OTHER = {"photograph": "another photograph, or another --white", "weights": "other --weights", "features": "other --vgg features"}


def stopped(path, y, parts):
    """The stopped search in a file of `keep`; InputError if it was not made of the same."""
    from svconv.files import FileError
    from svconv.files.archives import read_archive
    from svconv.models.deep_prior import DeepPriorResult

    try:
        state = read_archive(path, "file of a search")
    except FileError as error:
        raise InputError(f"--resume: {error}") from error
    made_of = state.pop("made_of", None) if isinstance(state, dict) else None
    if not isinstance(made_of, dict):
        raise InputError(f"--resume: {path}: expected a file that an interrupted svconv deblur --method ebks has left")
    for name, value in parts.items():
        if made_of.get(name) != value:
            raise InputError(f"--resume: {path}: the search was made with {_OTHER[name]}")
    return DeepPriorResult(y, y, y, False, state)


def keep(arguments, found, parts):
    """Writes the stopped search and says how to go on."""
    path = search_file(arguments)
    found.state["made_of"] = parts
    found.save(path)
    print(f"svconv: interrupted; the same command with --resume {shown(path)} goes on", file=sys.stderr)


def forget(arguments):
    """Removes the file of the search that this run resumed and has finished."""
    if arguments.resume is not None and os.path.realpath(arguments.resume) == os.path.realpath(search_file(arguments)):
        with contextlib.suppress(OSError):
            os.unlink(arguments.resume)


def preview(arguments, picture):
    """draw(x [1, C, H, W]) writes an image in 8 bits to `--preview`. A search of hours does not end because a preview cannot be written."""
    from svconv.files import FileError, images

    failed = []

    def draw(x):
        if arguments.preview is None or failed:
            return
        pixels = (x[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().cpu().numpy()
        try:
            images.write_image(arguments.preview, images.Picture(pixels, icc=picture.icc))
        except FileError as error:
            failed.append(True)
            warn(f"--preview: {error}; no more previews")

    return draw


@contextlib.contextmanager
def interrupts():
    """Yields a list that is no longer empty after Ctrl-C; a second one ends the program as ever. Somebody else's handler stays, and so does
    an ignored signal."""
    pressed = []

    def note(number, frame):
        if pressed:
            signal.default_int_handler(number, frame)
        pressed.append(True)

    try:
        ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        former = signal.signal(signal.SIGINT, note) if ours else None
    except ValueError:      # only the main thread may set handlers
        former = None
    try:
        yield pressed
    finally:
        if former is not None:
            signal.signal(signal.SIGINT, former)
