"""`svconv deblur`: a sharp photograph from a blurred one and its blur kernel, given or estimated."""
import time

from svconv.cli import blind, defocus_map, kernel as kernel_option, learned_spaces, many, map_options, psf_grid, shake, strength
from svconv.cli.errors import InputError, shown, warn
from svconv.cli.parser import auto_or
from svconv.files.limits import MAX_PIXELS, check_memory

METHODS = {"kernel": ("irls", "cg", "hyper", "svmap", "rl", "auto"),
           "blind": (*blind.METHODS, *learned_spaces.METHODS), "psf-grid": psf_grid.METHODS,
           "defocus-map": defocus_map.METHODS}
VALUES = ("svmap", *learned_spaces.METHODS)     # methods that know no light
REWEIGHTINGS, CG_ITER = 2, 60
MUCH = 1e-2             # share of the light of a photograph that may be cut off without a word
TILE, HALO = 1536, 48  # pixels; a tile goes beyond its place by a kernel and HALO

EPILOG = """\
examples:
  svconv deblur photo.jpg --kernel psf.npy -o sharp.png
  svconv deblur photo.jpg --kernel motion:15:30 -o sharp.png
  svconv deblur *.jpg scans/ --kernel disk:3 -o restored/
  svconv deblur photo.jpg --kernel psf.png --method hyper --reg 1e-3 -o sharp.png
  svconv deblur photo.jpg --kernel psf.png --method svmap -o sharp.png
  svconv deblur photo.jpg --blind -o sharp.png --save-kernel psf.png --report found.html
  svconv deblur photo.jpg --blind --grid 4x6 -o sharp.png --save-kernel grid.npy
  svconv deblur photo.jpg --blind --method ebks --weights ebks.pt --preview now.png -o sharp.png
  svconv deblur photo.jpg --blind --method ldr --weights ldr.pt -o sharp.png
  svconv deblur sky.fits --kernel psf.npy --method rl --background 120 --mask nan -o sharp.fits
  svconv deblur sky.fits --psf-grid psfs.fits --method rl --background 120 -o sharp.fits
  svconv deblur slices.tif --kernel psf.npy --method rl --stack -o sharp.tif
  svconv deblur mosaic.tif --psf-grid psfs.npy --tiles auto -o sharp.tif
  svconv deblur photo.jpg --defocus-map map.png --reg 3e-3 -o sharp.png
"""


def add_parser(subparsers):
    import argparse

    from svconv.cli import progress

    parser = subparsers.add_parser(
        "deblur", help="restore a blurred photograph", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Restores a blurred photograph. Bit depth, size, grey, alpha and colour profile are kept.")
    many.add_options(parser)
    blur = parser.add_mutually_exclusive_group(required=True)
    kernel_option.add_option(blur)
    blur.add_argument("--blind", action="store_true", help="the blur is not known: estimate it from the photograph")
    blur.add_argument("--psf-grid", metavar="GRID", help="a PSF for each patch of the photograph: .npy or .fits, [rows, columns, kh, kw], "
                      "[R, kh, kw] with --grid, with a last axis of 3 in colour")
    blur.add_argument("--defocus-map", metavar="MAP", help="the radius in pixels of the disk of defocus at every pixel: a grey image, as "
                      "svconv blurmap estimates it, TIFF, FITS or .npy")
    parser.add_argument(
        "--method",
        choices=list(dict.fromkeys(m for methods in METHODS.values() for m in methods)),
        help="; ".join(f"with --{mode}: {', '.join(methods)}" for mode, methods in METHODS.items()) + "; the first is the default",
    )
    parser.add_argument(
        "--reg",
        type=auto_or(float, "a number"),
        metavar="R",
        help="strength of the smoothing, larger is smoother (default: auto, from the noise of the photograph, with --kernel and --blind; "
             f"with --psf-grid quotient {psf_grid.REG['quotient']:g}, irls {psf_grid.REG['irls']:g}; with --defocus-map layered "
             f"{defocus_map.REG['layered']:.2g}, irls {defocus_map.REG['irls']:g})",
    )
    kernel_option.add_recenter(parser)
    add_white(parser)
    add_linear(parser)
    blind_options = parser.add_argument_group("with --blind")
    blind.add_options(blind_options)
    parser.add_argument("--weights", metavar="FILE", help="weights of your own training instead of the shipped ones (--blind, --method "
                        "svbr, --method svmap, ebks and ldr, which take the name of shipped ones too)")
    parser.add_argument(
        "--grid", type=psf_grid.grid_size, metavar="RxC",
        help="rows x columns of overlapping patches, for example 4x6: with --blind a kernel for each, since the camera rolled too (ltd); "
             "with --psf-grid where an array [R, kh, kw] does not say it itself",
    )
    shake.add_options(blind_options)
    learned_spaces.add_options(blind_options)
    psf_grid.add_options(parser)
    map_options.add_options(parser.add_argument_group("with --defocus-map"))
    progress.add_option(parser)
    parser.set_defaults(run=run)


def add_white(parser, purpose=", which R is relative to"):
    """--white and --max-pixels."""
    parser.add_argument("--white", type=white, metavar="VALUE", default="auto",
                        help=f"the stored value that counts as 1{purpose} (default: auto, by the file)")
    parser.add_argument("--max-pixels", type=pixel_limit, metavar="N", help=f"the largest picture that is read (default: {MAX_PIXELS:.0e})")


def add_linear(parser):
    """--linear and --no-linear."""
    import argparse

    parser.add_argument("--linear", action=argparse.BooleanOptionalAction, default=False,
                        help="the values are sRGB: blur acts on decoded light, the result is encoded again (default: --no-linear, the "
                             "values as they are)")


def limits_of(arguments):
    """The options of the readers."""
    return {} if arguments.max_pixels is None else {"max_pixels": arguments.max_pixels}


def white_of(arguments):
    """The white that was given, or None."""
    return None if arguments.white == "auto" else arguments.white


def run(arguments):
    if arguments.recenter and arguments.kernel is None:
        raise InputError("--recenter: only with --kernel")
    learned_spaces.check_options(arguments)
    if arguments.linear and arguments.method in VALUES:
        raise InputError(f"--linear: {arguments.method} has learned from the values as they are")
    if arguments.defocus_map is None:
        map_options.check_unused(arguments, "--defocus-map")
        if arguments.psf_grid is None and not psf_grid.takes_kernel(arguments):
            check_options(arguments)
    return many.run_each(arguments, run_one)


def run_one(arguments):
    """One photograph, arguments.image, to arguments.output."""
    from svconv.cli import announce, svmap
    from svconv.files import images

    limits = limits_of(arguments)
    if arguments.defocus_map is not None:
        return defocus_map.run(arguments, limits)
    if arguments.psf_grid is not None or psf_grid.takes_kernel(arguments):
        return psf_grid.run(arguments, limits)
    blind.check_files(arguments)
    if arguments.method in learned_spaces.METHODS:
        return learned_spaces.run(arguments, limits)
    own = svmap.load_model(arguments.weights) if arguments.method == "svmap" else None
    picture, source = images.read_image(arguments.image, **limits).with_white(white_of(arguments))
    picture.light = arguments.linear
    images.check_output(arguments.output, picture.bits, picture.alpha is not None, picture.size)
    say_what_is_lost(arguments, picture)
    start = time.perf_counter()
    if arguments.grid is not None:
        result, said = shake.estimated_and_restored(arguments, picture, strength.chosen(arguments, picture, "irls", blind=True)[0])
    elif arguments.blind:
        result, said = blind.estimated_and_restored(arguments, picture)
    else:
        kernel, method, why = given_kernel(arguments, picture, limits)
        if method == "svmap":
            result, told = svmap.restore(picture, kernel, own or svmap.load_model(), arguments.quiet), ""
        else:
            reg, told = strength.chosen(arguments, picture, method)
            announce.restoration(picture, kernel, method, reg)
            result = restore(picture, kernel, method, reg, arguments.quiet)
        said = f"kernel {kernel.shape[2]} x {kernel.shape[1]}, {method}{why}{told}"
    write_result(arguments, picture, result)
    height, width = picture.size
    print(f"{shown(arguments.output)}: {width} x {height}, {'grey' if picture.channels == 1 else 'colour'}, {picture.bits} bits, {said}, "
          f"{white_text(picture.white, source)}{time.perf_counter() - start:.1f} s")
    return 0


def say_what_is_lost(arguments, picture):
    """Warnings, one line each."""
    from svconv.files import images

    if picture.broken is not None:
        warn(f"{arguments.image}: {picture.broken.sum()} pixels far above white ({picture.white:.6g}) stay as they are (--white sets it)")
    for text in images.losses(arguments.output, picture):
        warn(f"{arguments.output}: {text}")


def write_result(arguments, picture, result):
    """Writes the restored Picture, and says first what the type of its file cuts off."""
    from svconv.files import images

    say_what_was_cut(arguments.output, picture, result.lost)
    images.write_image(arguments.output, result)


def say_what_was_cut(output, picture, lost, total=None):
    """A warning where restored values did not fit into an integer type; of photographs only where it is much, since every sharp edge beside
    white overshoots a little."""
    import numpy as np

    if not lost:
        return
    kind = picture.pixels.dtype if picture.stored is None else picture.stored.dtype
    share = lost / max(np.abs(picture.pixels).sum(dtype=np.float64) if total is None else total, 1e-300)
    if share > (MUCH if picture.stored is None else 0):
        warn(f"{output}: values beyond the range of {kind} are cut off, {lost:.6g} in all ({100 * share:.2g} % of the "
             f"{'light' if picture.stored is None else 'flux'}); a file of floats would keep them")


def given_kernel(arguments, picture, limits):
    """(kernel [1 or 3, kh, kw], method, why in words), after a look at the memory that the whole run needs."""
    from svconv.cli import automatic, memory, svmap
    from svconv.files import kernels

    kernel = kernel_option.given(arguments.kernel, arguments.recenter, **limits)
    kernels.check_fits(arguments.kernel, kernel, picture)
    method, why, size = arguments.method or METHODS["kernel"][0], "", kernel.shape[1:]
    if method == "auto":
        method, why = automatic.method_for(picture, size)
        why = f" (auto: {why})"
    needed = svmap.needed(picture, size) if method == "svmap" else memory.needed(picture, size, method, TILE, HALO)
    check_memory(arguments.image, needed, "restoring it")
    return kernel, method, why


def white_text(value, source):
    """What the report says of the white level; nothing where it is that of the type."""
    said = {"guess": "guessed from the largest values, --white sets it", "file": "as the file says", "given": "given"}.get(source)
    return f"white {value:.6g} ({said}), " if said else ""


def white(text):
    """The value of --white."""
    import argparse

    if text == "auto":
        return text
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected auto or a number > 0, got {text!r}")
    return value


def pixel_limit(text):
    """The value of --max-pixels; 2e9 is allowed."""
    import argparse

    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number >= 1, got {text!r}")
    return int(value)


def check_options(arguments):
    """InputError for options that do not belong together."""
    shake.check_options(arguments)
    psf_grid.check_unused(arguments)
    mode = "blind" if arguments.blind else "kernel"
    if arguments.method and arguments.method not in METHODS[mode]:
        raise InputError(f"--method: expected {' or '.join(METHODS[mode])} with --{mode}, got {arguments.method}")
    if arguments.reg is not None and not 0 < arguments.reg < float("inf"):
        raise InputError(f"--reg: expected a number > 0, got {arguments.reg:g}")
    blind.check_options(arguments)
    if mode == "kernel":
        if arguments.weights and arguments.method != "svmap":
            raise InputError("--weights: only with --blind or --method svmap")
        if arguments.reg is not None and arguments.method == "svmap":
            raise InputError("--reg: svmap has no smoothing to be set")


def restore(picture, kernel, method, reg, quiet=False):
    """The restored Picture; kernel [1 or 3, kh, kw] of sum 1 each. Channel by channel and tile by tile, to bound the memory.

    Pixels that are transparent or broken neither count nor change.
    """
    import torch

    from svconv._tiles import plan
    from svconv.cli import progress, tiles

    if picture.white is None:
        picture = picture.with_white()[0]
    mask = None if (weights := picture.weights) is None else torch.from_numpy(weights)[None, None]
    result, kernel = picture.empty(), torch.from_numpy(without_margin(kernel)).float()
    parts = plan(picture.size, TILE, HALO + max(kernel.shape[1:]))
    with torch.no_grad(), progress.bar("restoring", picture.channels * len(parts), quiet) as begin:
        for channel in range(picture.channels):
            k = kernel[min(channel, len(kernel) - 1)][None, None]
            x = tiles.apply(lambda y, m, k=k: restore_plane(y, k, method, reg, begin(), m), picture.plane(channel), parts, mask)
            result.set_plane(channel, x, picture.white)
    return result.with_hidden_of(picture)


def restore_plane(y, k, method, reg, callback, mask=None):
    """One tile of one channel; mask [1, 1, H, W]: its weights, 0 where its value means nothing."""
    from svconv import Conv, solvers

    if mask is not None and not mask.any():
        return y
    if method == "hyper":
        return solvers.hyper_laplacian(y, k, lam=1 / reg, mask=mask, callback=callback).x
    reweightings = 0 if method == "cg" else REWEIGHTINGS
    return solvers.irls(Conv(k), y, reg=reg, reweightings=reweightings, cg_iter=CG_ITER, mask=mask, callback=callback).x


def without_margin(kernel):
    """The kernel without rows and columns of zeros, as many from either side, so that the centre stays."""
    for axis in (1, 2):
        used = kernel.any(axis=(0, 3 - axis)).nonzero()[0]
        cut = min(used[0], kernel.shape[axis] - 1 - used[-1])
        kernel = kernel[(slice(None),) * axis + (slice(cut, kernel.shape[axis] - cut),)]
    return kernel
