"""The strength of the smoothing of `svconv deblur`: given by --reg, or from the noise of the photograph."""
import math

BASE = {"irls": 1.85e-3, "cg": 1.85e-3, "hyper": 3.1e-4}   # at 1 % noise: more loses texture, less keeps noise
POWER = {"irls": 1.65, "cg": 2.05, "hyper": 1.65}          # of the noise; what it gains: docs/quality.md#noise
HIDDEN = 0.01                                               # noise that JPEG and WebP may have hidden: it comes back
LEAST, MOST = 0.002, 0.1                                    # noise that is reckoned with: 8 bits alone leave 0.0011
BLIND = {"irls": 1e-2, "hyper": 5 / 3000}                   # with an estimated kernel, whose errors act like noise of 1 % at least


def strength(method, noise, blind=False):
    """What --reg auto stands for in a photograph with noise of that standard deviation (white is 1)."""
    if blind:
        return BLIND[method] * (min(max(noise, 0.01), MOST) / 0.01) ** POWER[method]
    return BASE[method] * (min(max(noise, LEAST), MOST) / 0.01) ** POWER[method]


def chosen(arguments, picture, method, blind=False):
    """(the strength, what the report says of it): as given, or from the mean noise of the colours."""
    if arguments.reg is not None or method not in BASE:
        return arguments.reg, ""
    noise = noise_of(picture)
    reckoned = max(noise, HIDDEN) if picture.lossy else noise
    found = strength(method, reckoned, blind)
    told = f"{100 * noise:.1f} %" + (f" ({100 * reckoned:g} % reckoned with, JPEG hides some)" if reckoned > noise else "")
    return found, f", noise {told}, --reg {found:.2g}"


def noise_of(picture):
    """The root mean square of `data.estimate_noise` over the colours, of what is visible."""
    import torch

    from svconv.data.estimate_noise import estimate_noise

    if min(picture.size) < 3:
        return 0.0
    seen, squares = None if picture.weights is None else torch.from_numpy(picture.weights) > 0, []
    for channel in range(picture.channels):
        plane = picture.plane(channel)
        finite = torch.isfinite(plane)
        mask = finite[0, 0] if seen is None else finite[0, 0] & seen
        squares.append(float(estimate_noise(torch.where(finite, plane, 0), mask=mask)) ** 2)
    return math.sqrt(sum(squares) / len(squares))
