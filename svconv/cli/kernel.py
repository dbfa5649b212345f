"""The blur kernel of a command: by name or from a file, and where its mass lies."""
from svconv.cli.errors import InputError, warn

HELP = "gaussian:SIGMA, disk:RADIUS, motion:LENGTH:ANGLE, or a file: .npy ([kh, kw], [kh, kw, 3] or [3, kh, kw]) or an image"
SHIFT = 0.5         # pixels: a centre of mass nearer to the middle than that moves nothing


def add_option(group):
    group.add_argument("--kernel", metavar="K", help=f"the blur kernel: {HELP}")


def add_recenter(parser):
    parser.add_argument("--recenter", action="store_true",
                        help="move the kernel by whole pixels so that its centre of mass is in its middle; else the result is shifted")


def given(text, recenter=False, **limits):
    """float64 [1 or 3, kh, kw] of a name or a file. Where its mass is off its middle, it is moved on request, else a warning says so."""
    from svconv.data.named_kernels import is_named, named_kernel
    from svconv.files import kernels

    if is_named(text):
        try:
            return named_kernel(text).numpy()[None]
        except ValueError as error:
            raise InputError(f"--{error}") from None
    kernel = kernels.read_kernel(text, **limits)
    down, right = kernels.off_centre(kernel)
    if max(abs(down), abs(right)) < SHIFT:
        return kernel
    if recenter:
        return kernels.recentred(kernel)
    warn(f"kernel {text}: its centre of mass lies {where(down, right)} of its middle, by which the result is shifted the other way "
         "(--recenter moves the kernel)")
    return kernel


def where(down, right):
    """Words for a distance in pixels."""
    down, right = round(down, 1) + 0.0, round(right, 1) + 0.0       # no -0.0
    return f"{abs(right):.1f} pixels {'right' if right >= 0 else 'left'} and {abs(down):.1f} {'below' if down >= 0 else 'above'}"
