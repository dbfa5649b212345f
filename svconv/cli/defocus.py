"""`svconv defocus`: a photograph blurred by a disk of its own radius at every pixel."""
import math
import time

from svconv.cli import map_options, progress
from svconv.cli.errors import shown

FORMS = ("gather", "scatter")
TILE = 1024     # pixels; a tile goes beyond its place by the largest radius, so that it does not show
PLANES = 40     # float32 planes of a tile, for each colour, that the slowest backend holds at most

EPILOG = """\
examples:
  svconv defocus photo.jpg --map depth.png --scale 0.05 -o shallow.png
  svconv defocus photo.jpg --map radii.npy --form scatter --linear -o shallow.png
"""


def add_parser(subparsers):
    import argparse

    from svconv.cli import deblur

    parser = subparsers.add_parser(
        "defocus", help="blur a photograph by a disk of its own radius at every pixel", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Blurs a photograph as a lens does that is out of focus, by a radius for every pixel (svconv.disk_blur).\nBit depth, "
        "size, grey, alpha and colour profile are kept.")
    parser.add_argument("image", metavar="IMAGE", help="PNG, JPEG, TIFF, BMP, GIF, WebP, FITS or NPY")
    parser.add_argument("--map", required=True, metavar="MAP", help="the radius in pixels at every pixel: a grey image, TIFF, FITS or .npy")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help=".png, .tif, .jpg, .bmp, .fits or .npy")
    parser.add_argument("--form", choices=FORMS, default=FORMS[0],
                        help="whose radius counts: gather: that of the pixel that collects the light; scatter: that of the pixel that "
                        "spreads it (default: %(default)s)")
    map_options.add_options(parser)
    deblur.add_linear(parser)
    deblur.add_white(parser, ", for --linear")
    progress.add_option(parser)
    parser.set_defaults(run=run)


def run(arguments):
    from svconv.cli import deblur
    from svconv.files import images

    map_options.check_options(arguments)
    limits = deblur.limits_of(arguments)
    picture, source = images.read_image(arguments.image, **limits).with_white(deblur.white_of(arguments))
    picture.light = arguments.linear
    picture.broken = None       # a light far above white is what a blur is made for
    images.check_output(arguments.output, picture.bits, picture.alpha is not None, picture.size)
    radius = map_options.read_map(arguments, arguments.map, picture, limits)
    check_memory(arguments.image, picture, radius)
    deblur.say_what_is_lost(arguments, picture)
    start = time.perf_counter()
    images.write_image(arguments.output, blurred(picture, radius, arguments.form, arguments.quiet))
    height, width = picture.size
    white = deblur.white_text(picture.white, source) if arguments.linear else ""
    print(f"{shown(arguments.output)}: {width} x {height}, {'grey' if picture.channels == 1 else 'colour'}, {picture.bits} bits, "
          f"{map_options.said(radius)}, {arguments.form}, {white}{time.perf_counter() - start:.1f} s")
    return 0


def reach(radius):
    """Pixels that the largest disk goes beyond its own."""
    return max(0, math.ceil(float(radius.max()) - map_options.SHARP))


def check_memory(path, picture, radius):
    from svconv.files import limits

    (height, width), wide = picture.size, TILE + 2 * reach(radius)
    planes = 8 * height * width * picture.channels + 2 * picture.pixels.nbytes
    limits.check_memory(path, planes + 4 * PLANES * picture.channels * min(height, wide) * min(width, wide), "blurring it")


def blurred(picture, radius, form="gather", quiet=False):
    """The blurred Picture; radius [1, 1, H, W]. Where nothing is blurred the bits stay as they are."""
    import torch

    from svconv import disk_blur
    from svconv._tiles import plan
    from svconv.cli import tiles

    if float(radius.max()) <= map_options.SHARP:
        return picture
    y = map_options.planes(picture)
    parts = tiles.exact(plan(picture.size, TILE, reach(radius)))
    with torch.no_grad(), progress.bar("blurring", len(parts), quiet) as begin:
        def blur(here, _):
            callback = begin()
            x = disk_blur(y[here].contiguous(), radius[here].contiguous(), form=form, padding="replicate")
            callback(1, 1, x)
            return x

        x = tiles.together(blur, y, parts)
    kept = (radius[0, 0] <= map_options.SHARP).numpy() if form == "gather" else None
    return map_options.finished(picture, x, kept)
