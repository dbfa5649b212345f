"""`svconv psf`: writes a blur kernel by its name, and draws kernels and PSF grids, to be looked at before anything is restored."""
from svconv.cli import kernel as kernel_option, psf_grid, psf_stars
from svconv.cli.errors import InputError, shown

SIDE, GAP = 1600, 2  # pixels: the picture's longest side is about that; between two PSFs
GAMMA = 0.5

EPILOG = """\
examples:
  svconv psf motion:15:30 -o kernel.png             a kernel by its name; as .npy it is exact
  svconv psf kernel.npy --gamma 0.5 -o look.png     drawn large, with its faint parts
  svconv psf psfs.npy -o grid.png                   a PSF grid
  svconv psf --from-stars sky.fits --grid 6x8 -o psfs.npy --picture look.png
"""


def add_parser(subparsers):
    import argparse

    parser = subparsers.add_parser(
        "psf", help="write a blur kernel by its name, draw a kernel or a PSF grid", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Writes the blur kernel that a name or a file says, grey = weight, which svconv deblur --kernel takes again;\n"
        "with --gamma it is drawn for the eye. Draws a PSF grid: every PSF at its place, the brightest pixel of each white.")
    parser.add_argument("psf", metavar="PSF", nargs="?", help=f"{kernel_option.HELP}; or a PSF grid as .npy or .fits, as in "
                        "svconv deblur --psf-grid")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help=".png, .tif, .jpg or .bmp; a kernel also as .npy")
    kernel_option.add_recenter(parser)
    parser.add_argument("--grid", type=psf_grid.grid_size, metavar="RxC", help="rows x columns, where an array [R, kh, kw] does not say it")
    parser.add_argument("--psf-hdu", type=int, metavar="N", help="the number of the image in a FITS file that holds several")
    parser.add_argument("--scale", choices=("each", "common"), help="which of the PSFs of a grid is white (default: each)")
    parser.add_argument("--gamma", type=float, metavar="G",
                        help=f"grey = weight^G, so that faint wings are seen (default: {GAMMA} for a grid; a kernel is written)")
    psf_stars.add_options(parser)
    parser.set_defaults(run=run)


def run(arguments):
    if arguments.gamma is not None and not 0 < arguments.gamma <= 10:
        raise InputError(f"--gamma: expected a number in (0, 10], got {arguments.gamma:g}")
    if arguments.from_stars is not None:
        return psf_stars.run(arguments)
    psf_stars.check_unused(arguments)
    return (run_kernel if is_kernel(arguments.psf) else run_grid)(arguments)


def is_kernel(text):
    """Whether that is one kernel: a name, an image, or an array of two axes."""
    from svconv.data.named_kernels import is_named
    from svconv.files import fits, npy
    from svconv.files.limits import MAX_KERNEL_PIXELS

    if is_named(text):
        return True
    try:
        with open(text, "rb") as file:
            head = file.read(len(fits.SIGNATURE))
    except OSError:
        return False        # the reader of grids says why
    return npy.axes(text, 3 * MAX_KERNEL_PIXELS, "PSF") == 2 if head.startswith(npy.SIGNATURE) else head != fits.SIGNATURE


def run_kernel(arguments):
    from svconv.files import images, kernels

    for option in ("grid", "psf_hdu", "scale"):
        if getattr(arguments, option) is not None:
            raise InputError(f"--{option.replace('_', '-')}: only with a PSF grid")
    look = arguments.gamma is not None
    (images.check_output if look else kernels.check_kernel_output)(arguments.output)
    kernel = kernel_option.given(arguments.psf, arguments.recenter)
    if look:
        images.write_image(arguments.output, images.Picture(drawn(kernel[:, None], (1, 1), gamma=arguments.gamma)))
    else:
        kernels.write_kernel(arguments.output, kernel[0] if len(kernel) == 1 else kernel.transpose(1, 2, 0))
    down, right = kernels.off_centre(kernel)
    print(f"{shown(arguments.output)}: kernel of {kernel.shape[2]} x {kernel.shape[1]}, {'grey' if len(kernel) == 1 else 'colour'}, "
          f"its centre of mass {kernel_option.where(down, right)} of its middle")
    return 0


def run_grid(arguments):
    from svconv.files import images, psf_grids

    if arguments.recenter:
        raise InputError("--recenter: only with a kernel")
    images.check_output(arguments.output)
    psfs, grid = psf_grids.read_psf_grid(arguments.psf, arguments.grid, arguments.psf_hdu)
    pixels = drawn(psfs, grid, arguments.scale or "each", arguments.gamma or GAMMA)
    images.write_image(arguments.output, images.Picture(pixels))
    count, (kh, kw) = len(psfs), psfs.shape[-2:]
    print(f"{shown(arguments.output)}: {pixels.shape[1]} x {pixels.shape[0]}, {grid[0]} x {grid[1]} PSFs of {kw} x {kh}, "
          f"{'grey' if count == 1 else 'colour'}, they differ by {100 * variation(psfs):.1f} % RMS of their mean")
    return 0


def drawn(psfs, grid, scale="each", gamma=0.5):
    """uint8 [H, W, 1 or 3] of PSFs [1 or 3, R, kh, kw]; frames are grey, negative weights black."""
    import numpy as np

    colours, _, kh, kw = psfs.shape
    largest = psfs.max((0, 2, 3), keepdims=True) if scale == "each" else psfs.max()
    grey = np.rint((psfs.clip(0) / largest) ** gamma * 255).astype(np.uint8)
    zoom = max(1, min(8, SIDE // max(grid[0] * kh, grid[1] * kw)))
    tiles = grey.repeat(zoom, 2).repeat(zoom, 3).reshape(colours, *grid, kh * zoom, kw * zoom)
    framed = np.full((colours, *grid, kh * zoom + GAP, kw * zoom + GAP), 96, np.uint8)
    framed[..., GAP:, GAP:] = tiles
    picture = framed.transpose(1, 3, 2, 4, 0).reshape(grid[0] * framed.shape[3], grid[1] * framed.shape[4], colours)
    return np.pad(picture, ((0, GAP), (0, GAP), (0, 0)), constant_values=96)


def variation(psfs):
    """Root mean square distance of the PSFs from their mean, over the norm of the mean."""
    import numpy as np

    mean = psfs.mean(1, keepdims=True)
    return float(np.sqrt(((psfs - mean) ** 2).sum((0, 2, 3)).mean() / (mean ** 2).sum()))
