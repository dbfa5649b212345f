"""`svconv psf --from-stars`: the PSFs of an image from its stars or beads, as a grid for `svconv deblur --psf-grid`."""
import os

from svconv.cli.errors import InputError, shown

SIZE, GRID, ORDER = 25, (4, 4), 2
_OPTIONS = ("positions", "size", "order", "saturation", "picture", "hdu")


def add_options(parser):
    """The options of a measurement; None unless given."""
    group = parser.add_argument_group("PSFs measured on stars or beads")
    group.add_argument("--from-stars", metavar="IMAGE", help="an image of them, FITS, NPY, TIFF or PNG; -o is the PSF grid, .npy")
    group.add_argument("--positions", metavar="CSV", help="where they are: a table with the columns x, y or row, column (default: found)")
    group.add_argument("--size", type=int, metavar="N", help=f"side of a PSF in pixels, odd (default: {SIZE})")
    group.add_argument("--order", type=int, metavar="N", help=f"of the polynomial over the field (default: {ORDER})")
    group.add_argument("--saturation", type=float, metavar="V", help="the value from which pixels are saturated (default: by plateaus)")
    group.add_argument("--picture", metavar="FILE", help="draw the grid, and beside it what the stars of each patch differ from it")
    group.add_argument("--hdu", type=int, metavar="N", help="the number of the image in a FITS file that holds several")


def check_unused(arguments):
    """InputError for these options, or no PSF, without --from-stars."""
    for option in _OPTIONS:
        if getattr(arguments, option) is not None:
            raise InputError(f"--{option}: only with --from-stars")
    if arguments.psf is None:
        raise InputError("PSF: expected a name, a file, or --from-stars IMAGE")


def run(arguments):
    import numpy as np
    import torch

    from svconv.data.psf_stars import psf_grid, star_stamps
    from svconv.files import images, npy
    from svconv.files.outputs import check_folder, replacing

    check(arguments)
    check_folder(arguments.output)
    if arguments.picture:
        images.check_output(arguments.picture)
    picture = images.read_image(arguments.from_stars, finite=False, hdu=arguments.hdu)
    image = torch.from_numpy(picture.pixels.astype(np.float64).mean(2))
    positions = None if arguments.positions is None else read_positions(arguments.positions)
    try:
        stars = star_stamps(image, positions, size=arguments.size or SIZE, saturation=arguments.saturation)
    except ValueError as error:
        name, _, text = str(error).partition(": ")
        raise InputError(f"{'--size' if name == 'size' else arguments.positions if name == 'positions' else arguments.from_stars}: "
                         f"{text}") from None
    grid = arguments.grid or GRID
    psfs = psf_grid(stars.stamps, stars.positions, grid, image_size=tuple(image.shape), weights=stars.weights,
                    order=ORDER if arguments.order is None else arguments.order)
    with replacing(arguments.output) as file:
        npy.write_npy(file, psfs.numpy().astype(np.float32))
    if arguments.picture:
        images.write_image(arguments.picture, images.Picture(drawn(psfs, stars, tuple(image.shape))))
    off = residual(psfs, stars, tuple(image.shape))
    print(f"{shown(arguments.output)}: {grid[0]} x {grid[1]} PSFs of {psfs.shape[3]} x {psfs.shape[2]} from {len(stars.light)} stars; "
          f"in the median a star differs by {100 * float(off.median()):.1f} % RMS from the PSF of its patch")
    return 0


def check(arguments):
    """InputError for options that do not belong together."""
    if arguments.psf is not None:
        raise InputError(f"--from-stars: not with {arguments.psf}")
    for option in ("recenter", "psf_hdu", "scale", "gamma"):
        if getattr(arguments, option):
            raise InputError(f"--{option.replace('_', '-')}: not with --from-stars")
    if os.path.splitext(arguments.output)[1].lower() != ".npy":
        raise InputError(f"-o: expected a name that ends in .npy with --from-stars, got {arguments.output}")
    if arguments.size is not None and (arguments.size < 7 or arguments.size % 2 == 0):
        raise InputError(f"--size: expected an odd number >= 7, got {arguments.size}")
    if arguments.order is not None and not 0 <= arguments.order <= 5:
        raise InputError(f"--order: expected a number from 0 to 5, got {arguments.order}")


def read_positions(path):
    """float64 [N, 2] (row, column) of a table with a header."""
    import csv

    import torch

    from svconv.files.errors import reason

    try:
        with open(path, newline="", encoding="utf-8") as file:
            table = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--positions: {path}: {reason(error)}") from error
    columns = next((pair for pair in (("row", "column"), ("y", "x")) if table and set(pair) <= set(table[0])), None)
    if columns is None:
        raise InputError(f"--positions: {path}: expected a table with the columns x, y or row, column, and at least one place")
    try:
        return torch.tensor([[float(line[name]) for name in columns] for line in table], dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"--positions: {path}: expected numbers ({reason(error)})") from error


def cells(positions, grid, size):
    """[N]: the number of the patch that each star is in."""
    rows, columns = ((positions[:, axis] / size[axis] * grid[axis]).long().clamp(0, grid[axis] - 1) for axis in (0, 1))
    return rows * grid[1] + columns


def residual(psfs, stars, size):
    """[N]: the root mean square of a stamp's distance from the PSF of its patch, over that of the PSF, where pixels count."""
    grid = psfs.shape[:2]
    model = psfs.flatten(0, 1)[cells(stars.positions, grid, size)]
    used = (stars.weights > 0).double()
    return (((stars.stamps - model) ** 2 * used).sum((1, 2)) / (model**2 * used).sum((1, 2))).sqrt()


def drawn(psfs, stars, size):
    """uint8 [H, W, 1]: the PSFs on the left, on the right the mean difference of each patch's stars, black and white a tenth of the
    brightest pixel; grey where there is no star."""
    import numpy as np
    import torch

    from svconv.cli.psf import drawn as drawn_grid

    grid, k = tuple(psfs.shape[:2]), psfs.shape[-1]
    flat, place = psfs.flatten(0, 1), cells(stars.positions, grid, size)
    mean, count = torch.zeros_like(flat), torch.zeros(len(flat), k, k, dtype=torch.float64)
    mean.index_add_(0, place, (stars.stamps - flat[place]) * stars.weights)
    count.index_add_(0, place, stars.weights)
    off = mean / count.clamp_min(1e-30)
    shown_off = (0.5 + off / (0.2 * flat.amax((1, 2), keepdim=True))).clamp(0, 1)
    left = drawn_grid(flat[None].numpy(), grid)
    right = drawn_grid(shown_off[None].numpy() + 0.0, grid, "common", 1.0)
    return np.concatenate([left, right], 1)
