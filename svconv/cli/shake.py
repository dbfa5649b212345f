"""`svconv deblur --blind --grid RxC`: a photograph taken while the camera shifted and rolled. A kernel for every patch is estimated from
the whole of it and each colour is restored with them."""
import os
import statistics
import time
import typing

from svconv.cli.errors import InputError, warn

ETA = 1.0
LEAST = 128     # pixels: side of the part around a patch whose spectrum its kernel has to explain


class GridFinding(typing.NamedTuple):
    """What was found: kernels [1, R, k, k], their EFFGrid, the photograph's Signs, and the medians over the patches of how much of the
    spectrum around it the kernel of each explains, and the mean of all kernels; NaN where the photograph is too small to tell."""

    kernels: typing.Any
    grid: typing.Any
    signs: typing.Any
    score: float
    common: float

    def in_words(self):
        if self.score != self.score:
            return "the photograph is too small to tell"
        return f"{self.score:.2f} with a kernel for every patch, {self.common:.2f} with one for all (medians; no blur 0, explained 1)"


def add_options(group):
    """The options beside those of `--blind`."""
    group.add_argument("--eta", type=float, metavar="E",
                       help=f"with --grid: the fraction of camera poses that may explain the blur, in (0, 1] (default: {ETA:g})")


def check_options(arguments):
    """InputError for options that do not belong to a grid or only to one."""
    if arguments.grid is None:
        if arguments.eta is not None:
            raise InputError("--eta: only with --grid")
        return
    if not arguments.blind:
        raise InputError("--grid: only with --blind or --psf-grid")
    if arguments.eta is not None and not 0 < arguments.eta <= 1:
        raise InputError(f"--eta: expected a number in (0, 1], got {arguments.eta:g}")
    given = {"--method l0": arguments.method == "l0", "--refine": arguments.refine, "--final hyper": arguments.final == "hyper",
             "--force": arguments.force}
    for option, wrong in given.items():
        if wrong:
            raise InputError(f"{option}: not with --grid")
    if arguments.save_kernel and os.path.splitext(arguments.save_kernel)[1].lower() != ".npy":
        raise InputError(f"--save-kernel: expected a name that ends in .npy with --grid, got {arguments.save_kernel}")


def estimated_and_restored(arguments, picture, reg):
    """(the restored Picture, what the report says of the kernels)."""
    from svconv.cli import blind, blind_report, memory
    from svconv.files import kernels
    from svconv.files.limits import check_memory
    from svconv.files.outputs import check_folder

    model = blind.load_model(arguments)
    size = model.kernel_sizes[-1]
    grid = checked_grid(arguments, picture, size)
    check_memory(arguments.image, memory.varying(picture, size, grid.patches), "restoring it")
    if arguments.save_kernel:
        kernels.check_kernel_output(arguments.save_kernel)
    if arguments.report:
        check_folder(arguments.report)
    start, y = time.perf_counter(), seen_luminance(picture)
    signs, found = say_signs(arguments, y), estimate(arguments, picture, model, grid)
    if arguments.save_kernel:
        kernels.write_kernel(arguments.save_kernel, found[0].unflatten(0, grid.grid).numpy())
    finding = GridFinding(found, grid, signs, *explained(y, found, grid))
    print(f"score        {finding.in_words()}")
    if finding.score < finding.common:
        warn(f"{arguments.image}: the kernels of the patches explain less than one for all: try without --grid")
    result, (rows, columns) = restore(picture, found, grid, reg, arguments.quiet), grid.grid
    if arguments.report:
        blind_report.write_grid(arguments.report, arguments, finding, picture, result, time.perf_counter() - start)
    return result, f"{rows} x {columns} estimated kernels {size} x {size}, irls"


def explained(y, kernels, grid):
    """(score, common) of `GridFinding`."""
    from svconv.data.estimate_noise import estimate_noise
    from svconv.data.spectral_ripples import SMALLEST, SpectralRipples

    sides = [min(max(LEAST, -(-length // count)), length) for length, count in zip(y.shape[-2:], grid.grid)]
    if min(sides) < SMALLEST or y.max() == y.min():
        return float("nan"), float("nan")
    own, common, noise, mean = [], [], float(estimate_noise(y)), kernels[0].mean(0)
    for number, kernel in enumerate(kernels[0]):
        places = [round((place + 0.5) * length / count - side / 2) for place, length, count, side in zip(
            divmod(number, grid.grid[1]), y.shape[-2:], grid.grid, sides)]
        top, left = (min(max(place, 0), length - side) for place, length, side in zip(places, y.shape[-2:], sides))
        ripples = SpectralRipples(y[..., top:top + sides[0], left:left + sides[1]], noise=noise)
        own.append(ripples.explained(kernel))
        common.append(ripples.explained(mean))
    return statistics.median(own), statistics.median(common)


def checked_grid(arguments, picture, size):
    """The EFFGrid over the picture."""
    from svconv import EFFGrid

    height, width = picture.size
    if min(height, width) < 2 * size:
        raise InputError(f"{arguments.image}: expected sides of at least {2 * size} pixels (twice the kernel), got {width} x {height}")
    rows, columns = arguments.grid
    if rows > height or columns > width:
        raise InputError(f"--grid: expected at most as many patches as pixels ({height} x {width} rows x columns), got {rows} x {columns}")
    return EFFGrid(picture.size, arguments.grid)


def estimate(arguments, picture, model, grid):
    """The kernels [1, R, k, k] of the photograph's luminance; what is transparent goes on smoothly from what is not."""
    import torch

    from svconv.cli import progress

    weights = picture.weights
    if weights is not None and not weights.any():
        raise InputError(f"{arguments.image}: expected pixels that are not transparent")
    size, (height, width) = model.kernel_sizes[-1], grid.patch_size
    if min(height, width) < 2 * size:
        warn(f"--grid: patches of {width} x {height} pixels are small for kernels of {size} x {size}")
    y = seen_luminance(picture)
    if y.max() == y.min():
        warn(f"{arguments.image}: the image is constant, there is no blur to find in it")
    with torch.no_grad(), progress.bar("kernels", quiet=arguments.quiet) as begin:
        callback = begin()
        result = model.estimate_varying(y, grid, eta=arguments.eta or ETA, callback=callback)
    return result.kernels


def seen_luminance(picture):
    """[1, 1, H, W]; what is transparent goes on smoothly from what is not."""
    from svconv.cli import blind, unseen

    y, weights = blind.luminance(picture), picture.weights
    return y if weights is None or not weights.any() else unseen.filled(y, weights > 0)


def say_signs(arguments, y):
    """The Signs of the photograph, said before its kernels are looked for; a warning where a grid is not what it needs."""
    from svconv.cli import blind
    from svconv.models.find_blur import VERDICTS
    from svconv.models.find_blur.search import WINDOW, look, richest_window
    from svconv.models.find_blur.verdict import AGREE, sharp_or_noisy

    signs = look(y, richest_window(y, WINDOW))[1]
    known = sharp_or_noisy(signs)
    if known is not None:
        warn(f"{arguments.image}: {VERDICTS[known]}")
    elif signs.agreement >= AGREE:
        warn(f"{arguments.image}: its parts are blurred alike (agreement {signs.agreement:.2f}): one kernel, without --grid, may be better")
    print(blind.of_the_photograph(signs))
    return signs


def restore(picture, kernels, grid, reg, quiet=False):
    """The restored Picture, channel by channel. Pixels that are transparent or broken neither count nor change."""
    import torch

    from svconv import EFFBlur, solvers
    from svconv.cli import deblur, progress

    weights = picture.weights
    mask = None if weights is None else torch.from_numpy(weights)[None, None]
    result, blur = picture.empty(), EFFBlur(kernels, grid)
    with progress.bar("restoring", picture.channels, quiet) as begin:
        for channel in range(picture.channels):
            x = solvers.irls(blur, picture.plane(channel), reg=reg, reweightings=deblur.REWEIGHTINGS, cg_iter=deblur.CG_ITER, mask=mask,
                             border="replicate", callback=begin()).x
            result.set_plane(channel, x, picture.white)
    return result.with_hidden_of(picture)
