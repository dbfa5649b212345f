"""`svconv filters`: what SVMAP or SIMAP does with a photograph, iteration by iteration: its images, and the filters of every pixel."""
from svconv.cli.errors import InputError, shown

WINDOW = 20, 36         # rows and columns of pixels whose filters are drawn by default
LARGEST = 4096          # pixels of a window
AROUND = 64             # pixels beyond the window and a kernel that the model sees at least
SEEN = 320              # pixels along each axis that it sees by default at least

EPILOG = """\
examples:
  svconv filters photo.jpg --kernel psf.npy -o filters.png
  svconv filters photo.jpg --kernel psf.npy --window 120,300,20,36 --colour green -o filters.png
  svconv filters photo.jpg --kernel psf.npy --minus-mean -o filters.png
"""


def add_parser(subparsers):
    import argparse

    from svconv.cli import deblur, kernel as kernel_option

    parser = subparsers.add_parser(
        "filters", help="draw the filters that SVMAP predicts for every pixel of a photograph", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Restores a window of a blurred photograph and draws the image of every iteration and, for each, the data filters and\n"
        "the prior filters of all pixels of the window, each pixel's filter a little square at its place.")
    parser.add_argument("image", metavar="IMAGE", help="PNG, JPEG, TIFF, BMP, GIF, WebP, FITS or NPY")
    parser.add_argument("--kernel", required=True, metavar="K", help="the blur kernel, as in svconv deblur")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help=".png, .tif, .jpg or .bmp")
    parser.add_argument("--weights", metavar="NAME|FILE", help="shipped weights, or a file (default: those that are shipped)")
    parser.add_argument("--window", type=window, metavar="R,C,H,W", help="first row and column, rows and columns of the pixels whose "
                        f"filters are drawn (default: the {WINDOW[0]} x {WINDOW[1]} pixels with the strongest edges)")
    parser.add_argument("--colour", choices=("all", "red", "green", "blue"), default="all",
                        help="the colour whose filters are drawn, all: as red, green and blue (default: %(default)s)")
    parser.add_argument("--minus-mean", action="store_true", help="draw how a pixel's filter differs from the mean filter of the window")
    kernel_option.add_recenter(parser)
    deblur.add_white(parser, "")
    parser.set_defaults(run=run)


def window(text):
    """(row, column, rows, columns) of R,C,H,W."""
    import argparse

    parts = text.split(",")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() for part in parts) or not (int(parts[2]) and int(parts[3])):
        raise argparse.ArgumentTypeError(f"expected row,column,rows,columns such as 120,300,20,36, got {text!r}")
    if int(parts[2]) * int(parts[3]) > LARGEST:
        raise argparse.ArgumentTypeError(f"expected at most {LARGEST} pixels, got {parts[2]} x {parts[3]}")
    return tuple(map(int, parts))


def run(arguments):
    from svconv.cli import deblur, filters_picture, kernel as kernel_option, svmap
    from svconv.files import images, kernels
    from svconv.files.limits import check_memory

    limits = deblur.limits_of(arguments)
    model = svmap.load_model(arguments.weights)
    images.check_output(arguments.output)
    picture, _ = images.read_image(arguments.image, **limits).with_white(deblur.white_of(arguments))
    kernel = kernel_option.given(arguments.kernel, arguments.recenter, **limits)
    kernels.check_fits(arguments.kernel, kernel, picture)
    y, psf = svmap.blurred(picture), svmap.psf(kernel)
    place = chosen(arguments, y)
    part = surroundings(place, y.shape[-2:], max(psf.shape[-2:]))
    check_memory(arguments.image, 4 * 1000 * model.arguments["iterations"] * part[2] * part[3], "predicting the filters")
    seen = y[..., part[0]:part[0] + part[2], part[1]:part[1] + part[3]].contiguous()
    inside = (place[0] - part[0], place[1] - part[1], *place[2:])
    pixels = filters_picture.drawn(looked_at(model, seen, psf), seen, inside, arguments.colour, arguments.minus_mean, place)
    images.write_image(arguments.output, images.Picture(pixels))
    said = model.arguments
    print(f"{shown(arguments.output)}: {pixels.shape[1]} x {pixels.shape[0]}, {said['iterations']} iterations, {said['data_filters']} data "
          f"and {said['prior_filters']} prior filters of {place[2]} x {place[3]} pixels from row {place[0]}, column {place[1]}")
    return 0


def looked_at(model, y, psf):
    """`svconv.models.svmap.MAPDetails`."""
    import torch

    with torch.no_grad():
        return model(y, psf, details=True)


def chosen(arguments, y):
    """The window (row, column, rows, columns): the one asked for, or that with the strongest edges."""
    height, width = y.shape[-2:]
    if arguments.window is not None:
        row, column, rows, columns = arguments.window
        if row + rows > height or column + columns > width:
            raise InputError(f"--window: expected one within the photograph of {height} rows and {width} columns, got {rows} x {columns} "
                             f"pixels from {row}, {column}")
        return arguments.window
    rows, columns = min(WINDOW[0], height), min(WINDOW[1], width)
    places = [(r, c) for r in _steps(height, rows) for c in _steps(width, columns)]

    def edges(place):
        part = y[..., place[0]:place[0] + rows, place[1]:place[1] + columns]
        return float(part.diff(dim=-1).abs().sum() + part.diff(dim=-2).abs().sum())

    return *max(places, key=edges), rows, columns


def _steps(length, side):
    last = length - side
    return sorted({*range(0, last, max(1, side // 2)), last})


def surroundings(place, size, reach):
    """(row, column, rows, columns) of what the model sees: the window, and as much around it as the photograph has."""
    found = []
    for first, count, length in zip(place[:2], place[2:], size):
        beyond = max(AROUND + reach, (SEEN - count) // 2)
        start, stop = max(0, first - beyond), min(length, first + count + beyond)
        found.append((start, stop - start))
    (row, rows), (column, columns) = found
    return row, column, rows, columns
