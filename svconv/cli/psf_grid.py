"""`svconv deblur --psf-grid`: a picture whose blur changes over the field, and a PSF for each patch of it. A picture of numbers with one
`--kernel` (rl, masks, sky) is the same with one patch."""
import time

from svconv.cli.errors import InputError, shown, warn

METHODS = ("quotient", "irls", "rl")
REG = {"quotient": 3e-2, "irls": 2e-3}
ITERATIONS = 30
# float32 planes of the picture that a method holds at most beside it, measured at 1000 x 1000 and rounded up
PLANES = {"quotient": 8, "irls": 75, "rl": 40}
SPECTRA = 32  # bytes that are kept for one of the PSFs, at most, are so many times its float32 ones
_OPTIONS = ("hdu", "psf_hdu", "mask", "background", "iterations", "tiles")
_OF_A_KERNEL = ("hdu", "mask", "background", "iterations")         # of these what --kernel has too
KERNEL_METHODS = ("irls", "rl")


def add_options(parser):
    """The options beside `--psf-grid`."""
    group = parser.add_argument_group("with --psf-grid, and but for --tiles and --psf-hdu with --kernel")
    group.add_argument("--mask", metavar="FILE", help="an image of the same size, white or non-zero = use the pixel; or nan: leave out the "
                       "pixels that are NaN or infinite (irls, the default then, and rl)")
    group.add_argument("--background", type=float, metavar="B", help="the sky that was taken off the image, in its own values (rl)")
    group.add_argument("--iterations", type=int, metavar="N", help=f"steps of rl, more are sharper and noisier (default: {ITERATIONS})")
    group.add_argument("--tiles", type=tile_side, metavar="auto|SIZE", help="for pictures larger than memory: NPY, FITS or "
                       "uncompressed TIFF, read and written by tiles of SIZE pixels; finished tiles are kept when the run is stopped")
    group.add_argument("--hdu", type=int, metavar="N", help="the number of the image in a FITS file that holds several")
    group.add_argument("--psf-hdu", type=int, metavar="N", help="the same for a FITS file of PSFs")


def grid_size(text):
    """(rows, columns) of RxC."""
    import argparse

    rows, cross, columns = text.lower().partition("x")
    if not (cross and rows.isascii() and rows.isdigit() and columns.isascii() and columns.isdigit() and int(rows) and int(columns)):
        raise argparse.ArgumentTypeError(f"expected rows x columns of patches such as 4x6, got {text!r}")
    return int(rows), int(columns)


def tile_side(text):
    """The value of --tiles: auto or a number of pixels."""
    import argparse

    if text == "auto":
        return text
    if not (text.isascii() and text.isdigit() and int(text) >= 16):
        raise argparse.ArgumentTypeError(f"expected auto or a number of pixels >= 16, got {text!r}")
    return int(text)


def takes_kernel(arguments):
    """Whether --kernel is to be treated as a grid of one patch."""
    return arguments.kernel is not None and (arguments.method == "rl" or any(getattr(arguments, o) is not None for o in _OF_A_KERNEL))


def check_unused(arguments):
    """InputError for options that only a PSF grid has."""
    for option in _OPTIONS:
        if getattr(arguments, option) is not None:
            raise InputError(f"--{option.replace('_', '-')}: only with --psf-grid")


def checked_method(arguments):
    """The method, after a look at the options that do not belong together."""
    for option in ("kernel_size", "final", "save_kernel", "weights", "refine", "eta"):
        if getattr(arguments, option):
            raise InputError(f"--{option.replace('_', '-')}: only with --blind")
    if arguments.kernel is not None:
        for option in ("tiles", "psf_hdu", "grid", "report", "force"):
            if getattr(arguments, option):
                raise InputError(f"--{option.replace('_', '-')}: not with --kernel")
        method = arguments.method or KERNEL_METHODS[0]
        if method not in KERNEL_METHODS:
            given = next(option for option in _OF_A_KERNEL if getattr(arguments, option) is not None)
            raise InputError(f"--{given}: only with --method {' or '.join(KERNEL_METHODS)}, got {method}")
    else:
        method = arguments.method or ("quotient" if arguments.mask is None else "irls")
    if method not in METHODS:
        raise InputError(f"--method: expected {', '.join(METHODS[:-1])} or {METHODS[-1]} with --psf-grid, got {method}")
    if method == "quotient" and arguments.mask is not None:
        raise InputError("--mask: quotient leaves no pixels out, expected --method irls or rl")
    for option, wanted in (("background", "rl"), ("iterations", "rl")):
        if getattr(arguments, option) is not None and method != wanted:
            raise InputError(f"--{option}: only with --method {wanted}, got {method}")
    if method == "rl" and arguments.reg is not None:
        raise InputError("--reg: rl has no smoothing but its number of --iterations")
    if arguments.reg is not None and not 0 < arguments.reg < float("inf"):
        raise InputError(f"--reg: expected a number > 0, got {arguments.reg:g}")
    if arguments.background is not None and not 0 <= arguments.background < float("inf"):
        raise InputError(f"--background: expected a number >= 0, got {arguments.background:g}")
    if arguments.iterations is not None and arguments.iterations < 1:
        raise InputError(f"--iterations: expected a number >= 1, got {arguments.iterations}")
    return method


def run(arguments, limits):
    """The run; limits: options of the readers."""
    from svconv.cli import deblur, strength
    from svconv.files import images
    from svconv.files.limits import check_memory

    method = checked_method(arguments)
    if arguments.tiles is not None:
        if arguments.linear:
            raise InputError("--linear: not with --tiles")
        from svconv.cli import large

        return large.run(arguments, limits, method)
    picture = images.read_image(arguments.image, finite=arguments.mask is None, hdu=arguments.hdu, **limits)
    picture, source = with_white(picture, None if arguments.white == "auto" else arguments.white)
    picture.light = arguments.linear
    images.check_output(arguments.output, picture.bits, picture.alpha is not None, picture.size)
    psfs, grid = kernel_as_grid(arguments, picture, limits) if arguments.kernel is not None else read_grid(arguments, picture, limits)
    weights = used_pixels(arguments, picture, limits)
    if weights is not None and method == "quotient":
        if arguments.method:
            raise InputError(f"{arguments.image}: it has transparent pixels and quotient leaves none out, expected --method irls or rl")
        method = "irls"
    psfs = prepared(arguments, psfs, method)
    check_memory(arguments.image, needed(picture, psfs, method), "restoring it")
    deblur.say_what_is_lost(arguments, picture)
    start = time.perf_counter()
    if arguments.kernel is not None and method == "irls":
        arguments.reg = strength.chosen(arguments, picture, method)[0]
    result = restore(arguments, picture, psfs, grid, method, weights)
    deblur.write_result(arguments, picture, result)
    height, width = picture.size
    kind = f"{picture.bits} bits" if picture.stored is None else str(picture.stored.dtype)
    print(f"{shown(arguments.output)}: {width} x {height}, {'grey' if picture.channels == 1 else 'colour'}, {kind}, "
          f"{'kernel' if arguments.kernel is not None else f'{grid[0]} x {grid[1]} PSFs of'} {psfs.shape[3]} x {psfs.shape[2]}, {method}, "
          f"{deblur.white_text(picture.white, source) if method == 'irls' else ''}{time.perf_counter() - start:.1f} s")
    return 0


def read_grid(arguments, picture, limits):
    """([1 or 3, R, kh, kw], (rows, columns)) of --psf-grid."""
    from svconv.files import psf_grids

    psfs, grid = psf_grids.read_psf_grid(arguments.psf_grid, arguments.grid, arguments.psf_hdu, **limits)
    psf_grids.check_fits(arguments.psf_grid, psfs, grid, picture)
    return psfs, grid


def kernel_as_grid(arguments, picture, limits):
    """The same of --kernel: one patch."""
    from svconv.cli import kernel as kernel_option
    from svconv.files import kernels

    kernel = kernel_option.given(arguments.kernel, arguments.recenter, **limits)
    kernels.check_fits(arguments.kernel, kernel, picture)
    return kernel[:, None].astype("float32"), (1, 1)


def with_white(picture, white):
    """As `Picture.with_white`; of floats the largest finite value counts, and none is taken for a defect: a star is none."""
    import numpy as np

    from svconv.files.picture import bright_level

    if white is not None or picture.pixels.dtype.kind != "f":
        return picture.with_white(white)
    level = bright_level(np.abs(picture.pixels[np.isfinite(picture.pixels)])) or 1.0
    return picture.with_white(level)[0], "guess"


def used_pixels(arguments, picture, limits):
    """float32 [C, H, W], the weights of the pixels in the data term; None where all count."""
    from svconv.files import images

    mask = None
    if arguments.mask not in (None, "nan"):
        mask = images.read_image(arguments.mask, **limits)
        check_mask(mask, picture)
    weights = used(picture, mask, arguments.mask == "nan")
    if mask is not None and (bad := not_finite(picture, weights)):
        raise InputError(f"{arguments.image}: {bad} pixels that --mask does not leave out are NaN or infinite")
    if arguments.mask is not None and not weights.any():
        raise InputError("--mask: expected pixels to use, it leaves all out")
    return None if weights.min() == 1 else weights


def check_mask(mask, picture):
    """InputError unless they have one size."""
    if mask.size != picture.size:
        (height, width), (rows, columns) = picture.size, mask.size
        raise InputError(f"--mask: expected an image of {width} x {height} pixels, got {columns} x {rows}")


def used(picture, mask=None, only_finite=False):
    """float32 [C, H, W], the weights of a picture's pixels; mask: a picture, white or non-zero = use the pixel."""
    import numpy as np

    weights = np.ones((picture.channels, *picture.size), np.float32)
    if picture.weights is not None:
        weights *= picture.weights
    if only_finite:
        weights *= np.moveaxis(np.isfinite(picture.pixels), 2, 0)
    if mask is not None:
        weights *= mask.pixels.any(2) if mask.alpha is None else mask.pixels.any(2) & (mask.alpha > 0)
    return weights


def not_finite(picture, weights):
    """The number of pixels that count and are NaN or infinite."""
    import numpy as np

    return int((~np.moveaxis(np.isfinite(picture.pixels), 2, 0) & (weights > 0)).sum())


def prepared(arguments, psfs, method):
    """float32 PSFs of sum 1 without a common margin of zeros, for rl without negative weights."""
    from svconv.cli import deblur

    if method == "rl" and (psfs < 0).any():
        warn(f"{arguments.psf_grid or f'kernel {arguments.kernel}'}: negative weights count as 0 with rl")
        psfs = psfs.clip(0)
        psfs /= psfs.sum((-2, -1), keepdims=True)
    cut = deblur.without_margin(psfs.reshape(-1, *psfs.shape[2:]))
    return cut.reshape(*psfs.shape[:2], *cut.shape[1:]).astype("float32", copy=False)


def needed(picture, psfs, method):
    """Bytes beside the picture itself."""
    height, width = picture.size
    result = height * width * picture.channels * picture.pixels.itemsize
    return 4 * result + 4 * PLANES[method] * (height + psfs.shape[2]) * (width + psfs.shape[3]) + SPECTRA * 4 * psfs[0].size


def restore(arguments, picture, psfs, grid, method, weights):
    """The restored Picture, channel by channel. Pixels that are transparent or broken do not change."""
    import torch

    from svconv import EFFBlur, EFFGrid
    from svconv.cli import progress

    result, grid = picture.empty(), EFFGrid(picture.size, grid)
    with torch.no_grad(), progress.bar("restoring", picture.channels, arguments.quiet) as begin:
        for channel in range(picture.channels):
            blur = EFFBlur(torch.from_numpy(psfs[None, min(channel, len(psfs) - 1)]), grid, padding="replicate")
            mask = None if weights is None else torch.from_numpy(weights[channel])[None, None]
            y = picture.plane(channel)
            if mask is not None and not mask.any():
                x = y.nan_to_num(0, 0, 0)
            else:
                x = restore_plane(arguments, blur, y, method, picture.white, mask, begin())
            result.set_plane(channel, x, picture.white)
    return result.with_hidden_of(picture)


def division(arguments):
    """The options of `svconv.eff_image_quotient`."""
    return {"beta": arguments.reg or REG["quotient"], "prior": "gradient", "padding": "replicate"}


def whole(solver, op, y, **options):
    """x of a solver on a whole picture, whose border is op's own."""
    return solver(op, y, border=None, **options).x


def restore_plane(arguments, blur, y, method, white, mask, callback, solve=whole):
    """One channel; solve: `whole`, or the like of it for a tile."""
    from svconv import eff_image_quotient, solvers
    from svconv.cli import deblur

    if method == "quotient":
        return eff_image_quotient(y, blur.kernels, blur.grid, **division(arguments))
    if method == "irls":
        return solve(solvers.irls, blur, y, mask=mask, reg=arguments.reg or REG[method], reweightings=deblur.REWEIGHTINGS,
                     cg_iter=deblur.CG_ITER, callback=callback)
    background = (arguments.background or 0) / white
    y = y + background
    check_negative(arguments, int(((y < 0) if mask is None else (y < 0) & (mask > 0)).sum()))
    return solve(solvers.richardson_lucy, blur, y, mask=mask, max_iter=arguments.iterations or ITERATIONS, background=background,
                 callback=callback)


def check_negative(arguments, count):
    """InputError if so many pixels are negative."""
    if count:
        hint = f" with --background {arguments.background:g}" if arguments.background else " (--background B is the sky that was taken off)"
        raise InputError(f"{arguments.image}: {count} pixels are negative, which rl cannot use{hint}")
