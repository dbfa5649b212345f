"""`svconv blurmap`: how far a photograph is out of focus at every pixel, estimated from its edges.

The edges and the blur there are looked for in the whole photograph, strip by strip. Above PROPAGATED pixels they are looked for too in one
that is a whole number of times smaller, in which a wide blur is told better; there the radii are carried from the edges to the rest, and
they come back to the full size as local linear functions of the colours. 12 megapixels need less than 2 GB.
"""
import math
import os
import time

from svconv.cli import progress
from svconv.cli.errors import InputError, shown, warn

METHODS = ("domain", "matting")
PROPAGATED = 1_500_000
WIDE = 2.5      # pixels of the smaller photograph: above this radius it tells more than the whole one
STRIP, HALO = 2_000_000, 64     # pixels of a strip; rows that it sees beyond its own
# bytes for a pixel: of the photograph, of a strip, and of what the radii are carried on (tests/cli/test_blurmap.py)
BYTES = {"whole": 110, "strip": 260, "propagated": 700}

EPILOG = """\
examples:
  svconv blurmap photo.jpg -o map.png --picture map-in-colours.png
  svconv deblur photo.jpg --defocus-map map.png --reg 3e-3 -o sharp.png
"""


def add_parser(subparsers):
    import argparse

    from svconv.cli import deblur

    parser = subparsers.add_parser(
        "blurmap", help="estimate how far a photograph is out of focus at every pixel", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Estimates the radius of the disk of defocus at the edges of a photograph, from the ratio of their gradients at two\n"
        "scales, and carries it to every pixel along the photograph's structure. Needs scikit-image (pip install scikit-image).")
    parser.add_argument("image", metavar="IMAGE", help="PNG, JPEG, TIFF, BMP, GIF, WebP, FITS or NPY")
    parser.add_argument("-o", "--output", required=True, metavar="MAP",
                        help=".png: 16-bit grey in 1/256 pixel of radius; .tif, .fits or .npy: float, in pixels")
    parser.add_argument("--method", choices=METHODS, default=METHODS[0],
                        help="how radii get from the edges to the rest: by the domain transform, or by the slower matting Laplacian "
                        "(default: %(default)s)")
    parser.add_argument("--picture", metavar="P", help="write the map in colours with a scale too: .png, .tif, .jpg or .bmp")
    deblur.add_white(parser, "")
    progress.add_option(parser)
    parser.set_defaults(run=run)


def run(arguments):
    from svconv.cli import deblur, map_picture
    from svconv.files import blur_maps, images, limits

    blur_maps.check_map_output(arguments.output)
    if arguments.picture is not None:
        images.check_output(arguments.picture)
        if os.path.realpath(arguments.picture) == os.path.realpath(arguments.output):
            raise InputError(f"--picture: {arguments.picture} is the output file too")
    picture, _ = images.read_image(arguments.image, **deblur.limits_of(arguments)).with_white(deblur.white_of(arguments))
    limits.check_memory(arguments.image, needed(picture), "estimating its blur")
    start = time.perf_counter()
    radius, share = estimated(picture, arguments.method, arguments.quiet)
    if not share:
        warn(f"{arguments.image}: no edges to tell the blur from, the map is 0 everywhere")
    blur_maps.write_blur_map(arguments.output, radius)
    if arguments.picture is not None:
        images.write_image(arguments.picture, images.Picture(map_picture.drawn(radius)))
    height, width = picture.size
    print(f"{shown(arguments.output)}: {width} x {height}, radii {radius.min():.3g} to {radius.max():.3g} pixels, mean "
          f"{radius.mean():.3g}, from {100 * share:.2g} % of the pixels, {arguments.method}, {time.perf_counter() - start:.1f} s")
    return 0


def needed(picture):
    """Bytes beside the picture itself."""
    count = math.prod(picture.size)
    strip = min(count, STRIP + 2 * HALO * picture.size[1])
    return BYTES["whole"] * count + max(BYTES["strip"] * strip, BYTES["propagated"] * min(count, PROPAGATED))


def estimated(picture, method=METHODS[0], quiet=False):
    """(radii in pixels float32 [H, W], the share of the pixels where they were measured)"""
    import torch

    from svconv.cli import map_options

    y = map_options.planes(picture).clamp_(0, 1)
    with torch.no_grad(), progress.bar("estimating", quiet=quiet) as begin:
        callback, parts = begin(), strips(picture.size)
        radius, edges = at_edges(y, parts, lambda n: callback(n, len(parts) + 1, None))
        if picture.weights is not None:     # next to what is hidden, edges are those of what it was filled with
            edges *= torch.from_numpy(picture.weights > 0)
        share = float(edges.mean())
        if share:
            factor = max(1, math.ceil(math.sqrt(math.prod(picture.size) / PROPAGATED)))
            if factor > 1:
                radius, edges = with_wide(y, radius, edges, factor)
            radius = carried(y, radius, edges, method, factor)
        callback(len(parts) + 1, len(parts) + 1, None)
    return radius[0, 0].numpy(), share


def smaller(t, factor):
    """Means of factor x factor pixels, at the far sides of those that are there."""
    from torch.nn import functional

    return functional.avg_pool2d(t, factor, ceil_mode=True, count_include_pad=False)


def larger(t, factor, size):
    """Every pixel `factor` times each way, cut to size."""
    return t.repeat_interleave(factor, -2).repeat_interleave(factor, -1)[..., :size[0], :size[1]]


def means(radius, edges, factor):
    """(means of the radii at edges, share of the edges) of factor x factor pixels"""
    count = smaller(edges, factor)
    return smaller(radius * edges, factor) / count.clamp_min(1e-9), count


def with_wide(y, radius, edges, factor):
    """(radius, edges) with those of the so many times smaller photograph where that one tells more: the blur is wide there, and the whole
    one has no edge or says so too."""
    small = smaller(y, factor)
    wide, seen = at_edges(small, strips(small.shape[-2:]), lambda _: None)
    wide = ((factor * wide) ** 2 - (factor**2 - 1) / 3).clamp_min(0).sqrt()     # the means of pixels blur by themselves
    known, count = means(radius, edges, factor)
    least = WIDE * factor
    better = (seen > 0) & (wide > least) & ((count == 0) | (known > least))
    chosen = larger(better, factor, y.shape[-2:])
    return radius.where(~chosen, larger(wide, factor, y.shape[-2:])), edges.where(~chosen, 1.0)


def carried(y, radius, edges, method, factor=1):
    """The radii at the edges carried to every pixel, by way of a so many times smaller photograph."""
    from torch.nn import functional

    from svconv.data import propagate_blur
    from svconv.data.matting_propagation import finer

    if factor == 1:
        return propagate_blur(radius, edges, y, method=method)
    small, (known, count) = smaller(y, factor), means(radius, edges, factor)
    result = propagate_blur(known, count, small, method=method)
    if min(small.shape[-2:]) < 3:
        return functional.interpolate(result, size=y.shape[-2:], mode="bilinear", align_corners=False)
    return finer(result.double(), small.double(), y).clamp_(0, float(known.max()))


def strips(size):
    from svconv._tiles import spans

    height, width = size
    return spans(height, max(1, STRIP // width), HALO)


def at_edges(y, parts, callback):
    """`svconv.data.estimate_blur` of [1, C, H, W] strip by strip."""
    import torch

    from svconv.data import estimate_blur

    radius, edges = (torch.empty(1, 1, *y.shape[-2:]) for _ in range(2))
    for number, rows in enumerate(parts, 1):
        try:
            found = estimate_blur(y[..., rows.start:rows.stop, :])
        except ImportError as error:
            raise InputError(f"blurmap needs the package scikit-image (pip install scikit-image): {error}") from error
        first, last = rows.own
        for whole, part in zip((radius, edges), found):
            whole[..., first:last, :] = part[..., first - rows.start:last - rows.start, :]
        callback(number)
    return radius, edges
