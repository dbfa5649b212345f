"""SVMAP and SIMAP on the command line: their weights, and `svconv deblur --kernel --method svmap`."""
import os

from svconv.cli.errors import InputError

PLANES = 1050   # float32 planes of the largest tile that the model holds at most, measured and rounded up (tests/cli/test_svmap.py)


def load_model(text=None):
    """A SVMAP or SIMAP: the shipped weights of a name (None: the default ones), or those of a file."""
    from svconv.files import FileError
    from svconv.models import SIMAP, SVMAP
    from svconv.models.svmap import load

    known = [*SVMAP.known_weights(), *SIMAP.known_weights()]
    if text is None or f"{SVMAP.weights_prefix}{text}" in known or text in known:
        kind = SIMAP if text is not None and text.startswith(SIMAP.weights_prefix) else SVMAP
        try:
            return kind.from_pretrained(text)
        except FileError as error:
            raise InputError(f"--weights: {error}") from error
        except ValueError as error:
            raise InputError(f"svmap: no weights are shipped with this package, --weights FILE takes some ({error})") from error
    if not os.path.exists(text):
        raise InputError(f"--weights: {text}: no such file, and no shipped weights of this name (known: {', '.join(known) or 'none'})")
    try:
        return load(text)
    except FileError as error:
        raise InputError(f"--weights: {error}") from error


def needed(picture, kernel_size):
    """Bytes beside the picture itself."""
    from svconv.models.svmap import tiles

    size = picture.size
    largest = max((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in tiles.tiles_of(size, kernel_size))
    return 4 * size[0] * size[1] * 9 + 2 * picture.pixels.nbytes + 4 * PLANES * largest


def blurred(picture):
    """float32 [1, 3, H, W], white = 1, grey as three equal colours; what is hidden is filled from what is around it."""
    from svconv.cli import map_options

    y = map_options.planes(picture)
    return y if y.shape[1] == 3 else y.expand(-1, 3, -1, -1).contiguous()


def psf(kernel):
    """float32 [1, 1 or 3, kh, kw]."""
    import torch

    from svconv.cli import deblur

    return torch.from_numpy(deblur.without_margin(kernel)).float()[None]


def restore(picture, kernel, model, quiet=False):
    """The restored Picture; kernel [1 or 3, kh, kw] of sum 1 each. Pixels that are transparent or broken do not change."""
    from svconv.cli import map_options, progress
    from svconv.models.svmap import restore_tiled

    with progress.bar("restoring", quiet=quiet) as begin:
        x = restore_tiled(model, blurred(picture), psf(kernel), callback=begin())
    return map_options.finished(picture, x if picture.channels == 3 else x.mean(1, keepdim=True))
