"""Cases of the models with the weights that are shipped: SVMAP, Learning to Deblur, SVBR-Net.

They are compared with themselves in float64 on the reference, on a small image; the sums of many steps are rounded differently.
"""
import copy
import functools
import math

import torch

import svconv
from bench.cases import Case, bytes_of, no_grad, random
from bench.measure import Skip
from svconv.backends import use_backend

TOLERANCE = 1e-2        # torch's own convolutions may round to tf32 on a GPU


@functools.cache
def shipped(name):
    """The model with its default weights, in eval mode; Skip where none are shipped."""
    model = getattr(svconv.models, name)
    if not model.known_weights():
        raise Skip(f"no weights of {name} are shipped")
    return model.from_pretrained()


@functools.cache
def placed(name, device, dtype):
    return copy.deepcopy(shipped(name)).to(device=device, dtype=dtype)


def model_like(name, tensor):
    return placed(name, tensor.device, tensor.dtype)


def photograph(channels, height, width, device):
    """A smooth image, as photographs are: random pixels, enlarged eightfold."""
    small = random((1, channels, math.ceil(height / 8), math.ceil(width / 8)), device, 1)
    return torch.nn.functional.interpolate(small, (height, width), mode="bilinear").clamp(0, 1)


def blurred(height, width, device):
    kernel = svconv.data.motion_kernel(31 if height > 100 else 7, generator=torch.Generator().manual_seed(1))[None].to(device)
    return {"y": svconv.conv(photograph(3, height, width, device), kernel, padding="reflect"), "kernel": kernel}


def grey(side, device):
    return {"y": photograph(1, side, side, device)}


def defocused(side, device):
    image = photograph(3, side, side, device)
    return {"image": image, "radius": 6 * image[:, :1].contiguous()}


def svmap(v, backend=None):
    return no_grad(lambda: model_like("SVMAP", v["y"])(v["y"], v["kernel"]))


def learning_to_deblur(v, backend=None):
    return no_grad(lambda: model_like("LearningToDeblur", v["y"])(v["y"]).kernel)


def svbr_net(v, backend=None):
    return no_grad(lambda: model_like("SVBRNet", v["image"])(v["image"], v["radius"]))


def on_the_reference(run):
    """The model with every op of svconv in plain torch."""
    def factory(v):
        call = run(v)

        def timed():
            with use_backend("reference"):
                return call()
        return timed
    return factory


def model_case(step, size, make, small, run, names, rehearsed):
    return Case("models", step, size, make, run, read=bytes_of(*names), written=bytes_of(names[0]), flops=lambda v: 0, cpu=rehearsed,
                checked=small, tolerance=TOLERANCE, smoke=rehearsed, peers={"plain torch": on_the_reference(run)}, budget=6.0,
                uncaptured="the model looks at its data")


def cases(rehearse=False):
    """The three models at the sizes that the papers name, or tiny."""
    part = functools.partial
    sizes = ((24, 32), 64, 64) if rehearse else ((800, 1024), 2048, 1000)
    (height, width), side, pixels = sizes
    return [
        model_case("SVMAP", f"{height} x {width} RGB", part(blurred, height, width), part(blurred, 24 if rehearse else 64, 32), svmap,
                   ("y", "kernel"), rehearse),
        model_case("LearningToDeblur", f"{side} x {side} grey", part(grey, side), part(grey, 64), learning_to_deblur, ("y",), rehearse),
        model_case("SVBRNet", "a megapixel, 1000 x 1000 RGB" if not rehearse else "64 x 64 RGB", part(defocused, pixels),
                   part(defocused, 64), svbr_net, ("image", "radius"), rehearse)]
