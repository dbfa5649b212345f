"""`svconv demo`: blurs a photograph with a PSF per pixel, restores it, says what was gained."""
import math
import time

from svconv.cli import progress

SIZE = 17
NOISE = 0.005
REG = 7.5e-4  # goes with the square of the noise
REWEIGHTINGS, CG_ITER = 2, 60
SEED = 6        # of the shake and its noise


def add_parser(subparsers):
    parser = subparsers.add_parser(
        "demo",
        help="blur and restore a photograph whose blur changes from pixel to pixel",
        description=f"Blurs the photograph that comes with the package with a different PSF at every pixel and noise of {NOISE:.1%}, "
        "restores it with re-weighted least squares (svconv.solvers.irls) and writes truth.png, before.png, after.png and comparison.png. "
        "shaken.png and kernel.png are the photograph under one kernel, to be restored by svconv deblur.",
    )
    parser.add_argument("-o", "--output", default="svconv-demo", metavar="FOLDER", help="where the pictures go (default: %(default)s)")
    parser.add_argument(
        "--size", type=int, default=None, metavar="PIXELS", help="use only a central square of this side (default: the whole photograph)"
    )
    progress.add_option(parser)
    parser.set_defaults(run=run)


def run(arguments):
    import os

    from svconv.cli.errors import InputError
    from svconv.files import outputs

    if arguments.size is not None and not 4 * SIZE <= arguments.size <= 400:
        raise InputError(f"--size: expected {4 * SIZE}..400, got {arguments.size}")
    outputs.make_folder(arguments.output)
    files = {name: os.path.join(arguments.output, f"{name}.png") for name in ("truth", "before", "after", "comparison", "shaken", "kernel")}
    for path in files.values():
        outputs.check_folder(path)
    return demonstrate(files, arguments.size, arguments.quiet)


def demonstrate(files, size=None, quiet=False):
    import os
    import shlex

    import torch

    import svconv
    from svconv import solvers
    from svconv.cli import pictures
    from svconv.files import images

    picture = photograph(size)
    truth = torch.cat([picture.plane(c) for c in range(3)], 1)
    filters = camera_shake(*truth.shape[-2:])
    operator = svconv.PixelFilter(filters[None], padding="replicate")
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    before = (operator(truth) + NOISE * noise).clamp(0, 1)
    start = time.perf_counter()
    with progress.bar("restoring", quiet=quiet) as begin:
        after = solvers.irls(operator, before, reg=REG, reweightings=REWEIGHTINGS, cg_iter=CG_ITER, callback=begin()).x.clamp(0, 1)
    seconds = time.perf_counter() - start

    for name, x in (("truth", truth), ("before", before), ("after", after)):
        out = picture.empty()
        for c in range(3):
            out.set_plane(c, x[:, c], 255)
        images.write_image(files[name], out)
    gained = psnr(before, truth), psnr(after, truth)
    pictures.write_comparison(files["comparison"], [("blurred", before, f"{gained[0]:.2f} dB"), ("restored", after, f"{gained[1]:.2f} dB"),
                                                    ("truth", truth, "")], filters)
    height, width = truth.shape[-2:]
    print(
        f"photograph   {width} x {height}, a PSF of {SIZE} x {SIZE} for every pixel ({filters.numel() * 4 / 1e6:.0f} MB), {NOISE:.1%} noise"
    )
    print(f"PSNR before  {gained[0]:.2f} dB\nPSNR after   {gained[1]:.2f} dB ({gained[1] - gained[0]:+.2f} dB)")
    print(f"time         {seconds:.1f} s for the restoration, backend {backend()}, {torch.get_num_threads()} threads")
    print(f"pictures     {', '.join(list(files.values())[:4])}")
    write_shaken(files, picture, truth)
    sharp = os.path.join(os.path.dirname(files["shaken"]), "sharp.png")
    print(f"try it       svconv deblur {shlex.quote(files['shaken'])} --kernel {shlex.quote(files['kernel'])} -o {shlex.quote(sharp)}")
    print("             or, as if the kernel were not known, with --blind in its place")
    return 0


def write_shaken(files, picture, truth):
    """The photograph under one kernel of a hand that shakes, with noise, and that kernel."""
    import torch

    import svconv
    from svconv.data import motion_kernel
    from svconv.files import images, kernels

    generator, out = torch.Generator().manual_seed(SEED), picture.empty()
    kernel = motion_kernel(SIZE, generator=generator)[0]
    shaken = svconv.conv(truth, kernel[None, None], padding="symmetric")
    for c in range(3):
        out.set_plane(c, shaken[:, c] + NOISE * torch.randn(shaken[:, c].shape, generator=generator), 255)
    images.write_image(files["shaken"], out)
    kernels.write_kernel(files["kernel"], kernel.numpy())


def photograph(size=None):
    """The CC0 photograph of the package as a Picture, or a central square of it."""
    from importlib import resources

    from svconv.files import read_image

    with resources.as_file(resources.files("svconv.cli") / "data" / "coffee.png") as path:
        picture = read_image(path)
    if size is not None:
        top, left = ((n - size) // 2 for n in picture.size)
        picture.pixels = picture.pixels[top : top + size, left : left + size].copy()
    return picture


def camera_shake(height, width, size=SIZE, poses=25):
    """A camera that shifts and rolls while it exposes, behind a lens that softens towards the corners, as filters [size, size, H, W].

    Every pixel's PSF is the path that the scene takes there, drawn with a soft brush (1 - t^2/r^2)^2 whose radius r grows from 1.2 in
    the centre to 2.6 in the corner; `pixel_filter` correlates, so the PSF is stored mirrored.
    """
    import torch

    t = torch.linspace(-1, 1, poses)
    reach = math.hypot(height, width) / 2
    roll = 5.0 / reach * t  # radians: the corner moves by 5 pixels to either side
    shift_y, shift_x = 2.2 * torch.sin(2.2 * t) + 0.7 * t * t - 0.3, 3.0 * t * t + 0.8 * t - 1.1
    offsets = torch.arange(size)[:, None, None] - float(size // 2)
    x = torch.arange(width) - (width - 1) / 2
    filters = torch.empty(size, size, height, width)
    for top in range(0, height, 64):
        y = torch.arange(top, min(top + 64, height))[:, None] - (height - 1) / 2
        radius = 1.2 + 1.4 * (y * y + x * x) / reach**2
        psf = filters[:, :, top : top + 64].zero_()
        for angle, down, right in zip(roll.tolist(), shift_y.tolist(), shift_x.tolist()):
            dy = y * (math.cos(angle) - 1) - x * math.sin(angle) + down
            dx = y * math.sin(angle) + x * (math.cos(angle) - 1) + right
            along_y = (1 - ((offsets + dy) / radius).square()).relu_().square_()  # [size, rows, width]; the sign mirrors the PSF
            along_x = (1 - ((offsets + dx) / radius).square()).relu_().square_()
            psf.addcmul_(along_y[:, None], along_x[None])
        psf /= psf.sum((0, 1))
    return filters


def psnr(x, truth):
    return -10 * math.log10((x - truth).double().square().mean().item())


def backend():
    """The name of the backend that pixel_filter uses here."""
    from svconv import backends

    forced = backends.requested_outside()
    return forced or next(n for n in backends.NAMES if backends.why_not(n, "pixel_filter", "pixel_filter_gram", "cpu") is None)
