"""`svconv deblur --blind`: the kernel of a photograph is looked for, judged, shown, and used to restore it."""
import time

from svconv.cli import unseen
from svconv.cli.errors import InputError, warn
from svconv.cli.parser import auto_or
from svconv.files.limits import check_memory

METHODS = ("ltd", "l0")
SHADES = " .:-=+*#%@"
WIDEST = 35     # pixels of a kernel that is printed two characters wide


def add_options(group):
    """The options of --blind; all of them are None or False unless given."""
    group.add_argument("--kernel-size", type=auto_or(int, "a number of pixels"), metavar="N",
                       help="side of the estimated kernel in pixels, or auto (the default): several sizes and methods, of which the kernel "
                            "stays that explains the photograph best; ltd: a shipped size, l0: any odd one")
    group.add_argument("--refine", action="store_true",
                       help="let blind_kernel go on from the kernel of the trained model (ltd); the better of the two is taken")
    group.add_argument("--final", choices=("irls", "hyper"),
                       help="how the photograph is restored with the estimated kernel (default: irls, from 8 megapixels hyper)")
    group.add_argument("--save-kernel", metavar="K", help="write the estimated kernel: .npy exactly, .png as 16-bit grey")
    group.add_argument("--report", metavar="FILE", help="write what was found, with pictures: .html, or .json for programs")
    group.add_argument("--force", action="store_true", help="restore a photograph that is probably sharp already, too")


def check_options(arguments):
    """InputError for options of --blind that do not belong together, or stand without it."""
    from svconv.cli import blind_report

    if not arguments.blind:
        for option in ("kernel_size", "final", "save_kernel", "refine", "report", "force"):
            if getattr(arguments, option):
                raise InputError(f"--{option.replace('_', '-')}: only with --blind")
        return
    if arguments.method == "l0":
        if arguments.weights or arguments.refine:
            raise InputError(f"{'--weights' if arguments.weights else '--refine'}: only with --method ltd")
        if arguments.kernel_size is not None and (arguments.kernel_size < 3 or arguments.kernel_size % 2 == 0):
            raise InputError(f"--kernel-size: expected an odd number >= 3, got {arguments.kernel_size}")
    if arguments.report:
        blind_report.check_name(arguments.report)


def check_files(arguments):
    """InputError where two results of a photograph would be one file."""
    import os

    taken = {}
    for option in ("output", "save_kernel", "report"):
        name = getattr(arguments, option)
        if name and (other := taken.setdefault(os.path.realpath(name), option)) != option:
            raise InputError(f"--{option.replace('_', '-')}: {name} is the {other.replace('_', ' ')} file too")


def estimated_and_restored(arguments, picture):
    """(the restored Picture, or the picture as it is where it is sharp; what the last line says of the kernel)."""
    from svconv.cli import announce, blind_report, deblur, memory, strength
    from svconv.files import kernels
    from svconv.files.outputs import check_folder
    from svconv.models.find_blur.search import SIZES, WINDOW

    start = time.perf_counter()
    method, why = final_method(arguments, picture)
    size = arguments.kernel_size or SIZES[-1]
    check_memory(arguments.image, memory.needed(picture, (size, size), method, deblur.TILE, deblur.HALO, WINDOW), "restoring it")
    if arguments.save_kernel:
        kernels.check_kernel_output(arguments.save_kernel)
    if arguments.report:
        check_folder(arguments.report)
    finding = find(arguments, picture)
    kernel = finding.kernel[None].numpy()      # saved in float32; restored with what would be read from that file
    if arguments.save_kernel:
        kernels.write_kernel(arguments.save_kernel, kernel[0])
    unchanged = finding.verdict == "sharp" and not arguments.force
    print("\n".join(shown_kernel(kernel[0]) + findings(finding, unchanged)))
    result, told = picture, ""
    if not unchanged:
        reg, told = strength.chosen(arguments, picture, method, blind=True)
        announce.restoration(picture, kernel, method, reg)
        result = deblur.restore(picture, kernels.with_sum_one(kernel), method, reg, arguments.quiet)
    if arguments.report:
        blind_report.write(arguments.report, arguments, finding, picture, result, time.perf_counter() - start)
    return result, "unchanged" if unchanged else f"estimated kernel {kernel.shape[2]} x {kernel.shape[1]}, {method}{why}{told}"


def final_method(arguments, picture):
    """(how the photograph is restored, why in words)."""
    from svconv.cli import automatic

    if arguments.final is None and (why := automatic.large(picture)):
        return "hyper", f" ({why})"
    return arguments.final or "irls", ""


def find(arguments, picture):
    """The BlurFinding of the photograph's luminance."""
    from svconv.cli import progress
    from svconv.models.find_blur import find_blur
    from svconv.models.find_blur.search import SIZES

    if arguments.method == "l0":
        model, methods, size = None, ("l0",), arguments.kernel_size
    elif arguments.method == "ltd" or arguments.weights or arguments.refine or arguments.kernel_size is not None:
        model = load_model(arguments)
        methods, size = ("ltd",), model.kernel_sizes[-1]
    else:
        model, methods, size = None, ("ltd", "l0", "disk"), None
    y = visible_luminance(picture)
    least = 2 * (size or SIZES[0])
    if min(y.shape[-2:]) < least:
        raise InputError(f"{arguments.image}: expected sides of at least {least} pixels (twice the kernel) that are not transparent, "
                         f"got {y.shape[-1]} x {y.shape[-2]}")
    if y.max() == y.min():
        warn(f"{arguments.image}: the image is constant, there is no blur to find in it")
    with progress.bar("kernel", quiet=arguments.quiet) as begin:
        step = begin()
        return find_blur(y, kernel_size=size, methods=methods, model=model, refine=arguments.refine, force=arguments.force,
                         callback=lambda done, total, name: step(done, total, None, note=name))


def findings(finding, unchanged):
    """Lines that say what was found."""
    from svconv.models.find_blur import VERDICTS

    lines = [f"verdict      {finding.verdict}: {VERDICTS[finding.verdict]}" + (" (unchanged; --force restores it)" if unchanged else "")]
    if finding.candidates:
        lines.append(f"kernel       {kernel_in_words(finding)}")
        others = ", ".join(f"{name} {value:.2f}" for name, value in sorted(finding.candidates.items(), key=lambda item: -item[1]))
        lines.append(f"score        {score_in_words(finding)}: {others}")
    return [*lines, of_the_photograph(finding.signs)]


def kernel_in_words(finding):
    """Its extent against the window, and where it comes from."""
    (height, width), (rows, columns) = extent(finding.kernel), finding.kernel.shape
    return (f"{width} x {height} pixels in a window of {columns} x {rows}, by {finding.method}"
            + ("; it reaches the window's edge: try a larger one" if finding.reaches_edge else ""))


def score_in_words(finding):
    return f"{finding.explained:.2f} (no blur 0, all of it explained 1)"


def of_the_photograph(signs):
    """A line with the Signs that were measured."""
    told, (radius, disk) = [f"noise {100 * signs.noise:.1f} %"], signs.disk
    if signs.spread[1] == signs.spread[1]:
        told.append(f"edges spread by {signs.spread[0]:.1f} to {signs.spread[1]:.1f} pixels")
    if signs.agreement == signs.agreement:
        told.append(f"agreement of the parts {signs.agreement:.2f}")
    if radius:
        told.append(f"best disk of radius {radius:g}, score {disk:.2f}")
    return f"photograph   {', '.join(told)}"


def extent(kernel):
    """(height, width) of the part of a kernel [k, k] that is above a twentieth of its largest value."""
    used = kernel > 0.05 * kernel.max()
    return tuple(int(n[-1] - n[0]) + 1 for n in (used.any(1).nonzero().flatten(), used.any(0).nonzero().flatten()))


def shown_kernel(kernel):
    """A kernel [k, k] as lines of characters, without its empty margin; nothing for a single pixel."""
    import numpy as np

    used = kernel > 0.02 * kernel.max()
    rows, columns = (np.flatnonzero(used.any(axis)) for axis in (1, 0))
    part = kernel[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    if part.size == 1:
        return []
    shades = np.ceil(np.sqrt(part / part.max()) * (len(SHADES) - 1)).astype(int)
    if part.shape[1] > WIDEST:
        shades = shades[::2]
    wide = 1 if part.shape[1] > WIDEST else 2
    return ["", *("  " + "".join(SHADES[s] * wide for s in row).rstrip() for row in shades), ""]


def luminance(picture):
    """[1, 1, H, W]."""
    return picture.plane(0) if picture.channels == 1 else sum(w * picture.plane(c) for c, w in enumerate((0.299, 0.587, 0.114)))


def visible_luminance(picture):
    """[1, 1, H, W]: the luminance of the smallest rectangle with all visible pixels; the others go on smoothly from them."""
    weights, y = picture.weights, luminance(picture)
    if weights is None:
        return y
    rows, columns = (weights.any(axis).nonzero()[0] for axis in (1, 0))
    if not len(rows):
        return y[..., :0, :0]
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return unseen.filled(y[..., part[0], part[1]], weights[part] > 0)


def load_model(arguments):
    """The LearningToDeblur of --weights, or the shipped one of --kernel-size."""
    from svconv.models import LearningToDeblur

    if arguments.weights:
        try:
            model = LearningToDeblur.load(arguments.weights)
        except ValueError as error:
            raise InputError(f"--weights: {error}") from error
        if arguments.kernel_size not in (None, model.kernel_sizes[-1]):
            raise InputError(f"--kernel-size: {arguments.weights} is for {model.kernel_sizes[-1]} pixels, got {arguments.kernel_size}")
        return model
    sizes = sorted(int(name.removeprefix("ltd-")) for name in LearningToDeblur.known_weights() if name.removeprefix("ltd-").isdigit())
    size = arguments.kernel_size or 17
    if size not in sizes:
        raise InputError(f"--kernel-size: expected one of the shipped {', '.join(map(str, sizes)) or '(none)'}, got {size} (any odd size "
                         "with --method l0, others with --weights FILE)")
    return LearningToDeblur.from_pretrained(f"ltd-{size}")
