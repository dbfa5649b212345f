"""`svconv deblur --defocus-map`: a photograph that is out of focus by a radius that is known at every pixel."""
import time

from svconv.cli import map_options
from svconv.cli.errors import InputError, shown, warn

METHODS = ("layered", "irls", "svbr")
REG = {"layered": 1 / 3000, "irls": 2e-3}
TILE, HALO = 1024, 48   # pixels; a tile goes beyond its place by a disk and HALO
LARGEST = 6.0   # pixels of radius that svbr was trained for; larger ones count as that
# float32 planes of a tile and its border that a method holds at most, measured and rounded up (tests/cli/test_defocus_map.py)
PLANES = {"layered": 45, "irls": 75, "svbr": 200}
_OTHERS = ("kernel_size", "final", "save_kernel", "refine", "eta", "grid")


def checked_method(arguments):
    """The method, after a look at the options that do not belong together."""
    from svconv.cli import psf_grid

    psf_grid.check_unused(arguments)
    map_options.check_options(arguments)
    for option in _OTHERS:
        if getattr(arguments, option):
            raise InputError(f"--{option.replace('_', '-')}: not with --defocus-map")
    method = arguments.method or METHODS[0]
    if method not in METHODS:
        raise InputError(f"--method: expected {', '.join(METHODS[:-1])} or {METHODS[-1]} with --defocus-map, got {method}")
    if arguments.weights and method != "svbr":
        raise InputError(f"--weights: only with --method svbr, got {method}")
    if arguments.reg is not None:
        if method == "svbr":
            raise InputError("--reg: svbr has no smoothing")
        if not 0 < arguments.reg < float("inf"):
            raise InputError(f"--reg: expected a number > 0, got {arguments.reg:g}")
    return method


def run(arguments, limits):
    """The run; limits: options of the readers."""
    from svconv.cli import deblur
    from svconv.files import images

    method = checked_method(arguments)
    model = load_model(arguments) if method == "svbr" else None
    picture, source = images.read_image(arguments.image, **limits).with_white(deblur.white_of(arguments))
    picture.light = arguments.linear
    images.check_output(arguments.output, picture.bits, picture.alpha is not None, picture.size)
    radius = map_options.read_map(arguments, arguments.defocus_map, picture, limits)
    check_radii(arguments, radius, picture, method)
    deblur.say_what_is_lost(arguments, picture)
    start = time.perf_counter()
    result = restore(picture, radius, method, arguments.reg or REG.get(method), model, arguments.quiet)
    deblur.write_result(arguments, picture, result)
    height, width = picture.size
    print(f"{shown(arguments.output)}: {width} x {height}, {'grey' if picture.channels == 1 else 'colour'}, {picture.bits} bits, "
          f"{map_options.said(radius)}, {method}, {deblur.white_text(picture.white, source)}{time.perf_counter() - start:.1f} s")
    return 0


def load_model(arguments):
    """SVBR-Net with the weights that are asked for."""
    from svconv.models import SVBRNet

    try:
        return SVBRNet.load(arguments.weights) if arguments.weights else SVBRNet.from_pretrained("synthetic")
    except ValueError as error:
        raise InputError(f"--weights: {error}" if arguments.weights else f"--method svbr: {error} (--weights FILE takes others)") from error


def check_radii(arguments, radius, picture, method):
    """What the method cannot do with the map, and the memory that it needs."""
    from svconv.files.limits import check_memory

    side = disk(radius)
    if method == "layered" and side > min(picture.size):
        raise InputError(f"--defocus-map: {arguments.defocus_map}: expected disks no larger than the photograph of {picture.size[1]} x "
                         f"{picture.size[0]} pixels with layered, got one of {side} pixels")
    beyond = int((radius > LARGEST).sum())
    if method == "svbr" and beyond:
        warn(f"{arguments.defocus_map}: {beyond} radii above {LARGEST:g} pixels count as {LARGEST:g} with svbr")
    check_memory(arguments.image, needed(picture, side, method), "restoring it")


def disk(radius):
    """The side in pixels of the largest disk."""
    from svconv.cli.defocus import reach

    return 2 * reach(radius) + 1


def needed(picture, side, method):
    """Bytes beside the picture itself."""
    from svconv._tiles import plan
    from svconv.models.svbr_net import tiles as net

    size = picture.size
    parts = plan(size, net.TILE, net.HALO) if method == "svbr" else plan(size, TILE, HALO + side)
    largest = max((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in parts)
    whole = 4 * size[0] * size[1] * (2 * picture.channels + 3) + 2 * picture.pixels.nbytes
    return whole + 4 * PLANES[method] * largest


def restore(picture, radius, method, reg=None, model=None, quiet=False):
    """The restored Picture; radius [1, 1, H, W]. Tile by tile, to bound the memory; a map that is sharp everywhere changes no bit."""
    import torch

    if float(radius.max()) <= map_options.SHARP:
        return picture
    y = map_options.planes(picture)
    weights = picture.weights
    mask = None if weights is None else torch.from_numpy(weights)[None, None]
    with torch.no_grad():
        x = by_net(y, radius, model, quiet) if method == "svbr" else restored(y, radius, mask, method, reg, quiet)
    kept = None if method == "svbr" else (radius[0, 0] <= map_options.SHARP).numpy()
    return map_options.finished(picture, x, kept)


def restored(y, radius, mask, method, reg, quiet):
    """[1, C, H, W] by layered or irls, a colour of a tile at a time."""
    import torch

    from svconv._tiles import plan
    from svconv.cli import progress, tiles

    parts = plan(y.shape[-2:], TILE, HALO + disk(radius))
    channels = y.shape[1]
    with progress.bar("restoring", channels * len(parts), quiet) as begin:
        def part(here, spans):
            seen, its_radius = None if mask is None else mask[here].contiguous(), radius[here].contiguous()
            colours = (y[here][:, c:c + 1].contiguous() for c in range(channels))
            return torch.cat([one(colour, its_radius, seen, spans, method, reg, begin()) for colour in colours], 1)

        return tiles.together(part, y, parts)


def one(y, radius, mask, spans, method, reg, callback):
    """One colour of a tile; spans: (rows, columns) of `svconv._tiles`."""
    from svconv import solvers

    kept = radius[..., spans[0].inner, spans[1].inner]
    if float(kept.max()) <= map_options.SHARP or mask is not None and not mask.any():
        return y
    if method == "layered":     # levels that only the surroundings of a tile need are not made
        return solvers.layered(y, radius.clamp(kept.min(), kept.max()), lam=1 / reg, callback=callback).x
    from svconv import DiskBlur
    from svconv.cli import deblur
    from svconv.solvers.tile import solve_tile

    return solve_tile(solvers.irls, DiskBlur(radius, padding="replicate"), y, *spans, mask=mask, reg=reg, reweightings=deblur.REWEIGHTINGS,
                      cg_iter=deblur.CG_ITER, callback=callback)


def by_net(y, radius, model, quiet):
    """[1, C, H, W] by SVBR-Net; grey as the mean of three equal colours."""
    from svconv.cli import progress
    from svconv.models.svbr_net import restore_tiled

    colour = y if y.shape[1] == 3 else y.expand(-1, 3, -1, -1)
    with progress.bar("restoring", quiet=quiet) as begin:
        callback = begin()
        x = restore_tiled(model, colour, radius, callback=lambda step, steps: callback(step, steps, None))
    return x if y.shape[1] == 3 else x.mean(1, keepdim=True)
