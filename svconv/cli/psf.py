"""`svconv psf`: draws a PSF grid as a picture, to be looked at before anything is restored with it."""
from svconv.cli import psf_grid
from svconv.cli.errors import InputError, shown

SIDE, GAP = 1600, 2  # pixels: the picture's longest side is about that; between two PSFs


def add_parser(subparsers):
    parser = subparsers.add_parser(
        "psf", help="draw a PSF grid as a picture",
        description="Draws a PSF grid: every PSF at its place, row by row, the brightest pixel of each white (--scale common: of all).")
    parser.add_argument("grid_file", metavar="GRID", help="a PSF grid as .npy or .fits, as in svconv deblur --psf-grid")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help=".png, .tif, .jpg or .bmp")
    parser.add_argument("--grid", type=psf_grid.grid_size, metavar="RxC", help="rows x columns, where an array [R, kh, kw] does not say it")
    parser.add_argument("--psf-hdu", type=int, metavar="N", help="the number of the image in a FITS file that holds several")
    parser.add_argument("--scale", choices=("each", "common"), default="each", help="what is white (default: %(default)s)")
    parser.add_argument("--gamma", type=float, default=0.5, metavar="G",
                        help="grey = weight^G, so that faint wings are seen; 1 is linear (default: %(default)s)")
    parser.set_defaults(run=run)


def run(arguments):
    from svconv.files import images, psf_grids

    if not 0 < arguments.gamma <= 10:
        raise InputError(f"--gamma: expected a number in (0, 10], got {arguments.gamma:g}")
    images.check_output(arguments.output)
    psfs, grid = psf_grids.read_psf_grid(arguments.grid_file, arguments.grid, arguments.psf_hdu)
    pixels = drawn(psfs, grid, arguments.scale, arguments.gamma)
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
