"""What `svconv defocus` and `svconv deblur --defocus-map` share: the map of radii, and pictures as tensors of all their colours."""
from svconv.cli.errors import InputError, warn

SHARP = 0.5         # pixels of radius up to which a pixel is as it was
_OPTIONS = ("scale", "resize_map")


def add_options(group):
    """The options beside the map."""
    group.add_argument("--scale", type=float, metavar="S",
                       help="radius in pixels = S x the value in the map (default: what a map of svconv blurmap says, else 1)")
    group.add_argument("--resize-map", action="store_true", help="resample a map of another size than the photograph, radii as they are")


def check_unused(arguments, needed):
    """InputError for options that only a map has; needed: the option that brings it."""
    for option in _OPTIONS:
        if getattr(arguments, option):
            raise InputError(f"--{option.replace('_', '-')}: only with {needed}")


def check_options(arguments):
    if arguments.scale is not None and not 0 < arguments.scale < float("inf"):
        raise InputError(f"--scale: expected a number > 0, got {arguments.scale:g}")


def read_map(arguments, path, picture, limits):
    """The radii in pixels, float32 [1, 1, H, W], of the size of the picture."""
    import torch

    from svconv.files import blur_maps

    own = None if arguments.scale is None else blur_maps.stored_scale(path)
    radius = blur_maps.read_blur_map(path, arguments.scale, **limits)
    if own is not None and own != arguments.scale:
        warn(f"{path}: --scale {arguments.scale:g} in place of the {own:g} that the file says")
    resized = arguments.resize_map and radius.shape != picture.size
    if not resized:
        blur_maps.check_fits(path, radius, picture)
    radius = torch.from_numpy(radius)[None, None]
    return resampled(radius, picture.size) if resized else radius


def resampled(radius, size):
    """The map [1, 1, h, w] at another size, linearly, with means of pixels where it shrinks."""
    from torch.nn import functional

    return functional.interpolate(radius, size=size, mode="bilinear", align_corners=False, antialias=True).clamp_min_(0)


def planes(picture):
    """The colours float32 [1, C, H, W], white = 1; what is hidden is filled from what is around it."""
    import torch

    from svconv.cli import unseen

    weights = picture.weights
    seen = None if weights is None or not weights.any() else weights > 0
    y = torch.empty(1, picture.channels, *picture.size)
    for channel in range(picture.channels):
        plane = picture.plane(channel)
        y[:, channel] = plane[0] if seen is None else unseen.filled(plane, seen)[0]
    return y


def finished(picture, x, kept=None):
    """The Picture of restored or blurred colours [1, C, H, W]; pixels that are hidden, or `kept` [H, W], have the bits that they had."""
    result = picture.empty()
    for channel in range(picture.channels):
        result.set_plane(channel, x[:, channel], picture.white)
    if kept is not None:
        result.pixels[kept] = picture.pixels[kept]
    return result.with_hidden_of(picture)


def said(radius):
    """What the report says of a map."""
    low, high = (float(v) for v in radius.aminmax())
    return f"radii {low:.3g} to {high:.3g} pixels"
