"""`deep_prior_deblur`: the options, one search after the other, stop and resume."""
import dataclasses
import os
from typing import Any

import torch

from svconv._bfloat16 import warn_if_emulated
from svconv._shapes import number
from svconv.files import FileError
from svconv.files.archives import read_archive
from svconv.models.blur_kernel_space.model import MULTIPLE, BlurKernelSpace
from svconv.models.deep_prior.search import ROUNDS, DeepPriorResult, Search
from svconv.models.deep_prior.weights import weights_of
from svconv.models.images import check_image, coloured
from svconv.nn import FeatureDistance, FilterBankFeatures

MODES, PRIORS, PRECISIONS = ("joint", "alternating"), ("network", "pixels"), ("float32", "bfloat16")
BANK = 20.0         # times the weights for VGG-19: the distance by the filter bank is then about as large as 1 - SSIM


@dataclasses.dataclass
class Options:
    """The options of `deep_prior_deblur` that the search needs, checked."""

    steps: int
    warmup: int
    mode: str
    image_prior: Any
    features: Any
    weights: tuple
    latent: Any
    rounds: int
    precision: str
    rates: tuple

    def stored(self):
        """What a resumed search must have in common, as text."""
        prior = self.image_prior if isinstance(self.image_prior, str) else type(self.image_prior).__name__
        return {"steps": self.steps, "warmup": self.warmup, "mode": self.mode, "image_prior": prior, "rounds": self.rounds,
                "weights": repr(self.weights), "precision": self.precision, "rates": repr(self.rates)}


def deep_prior_deblur(y, space, *, steps=5000, warmup=300, mode="joint", image_prior="network", features=None, weights=None, latent=None,
                      start=None, code_norm=1.0, hyper_laplacian=1.0, rates=(None, None), rounds=ROUNDS, precision="float32",
                      generator=None, resume=None, callback=None):
    """Search a sharp image and a blur code that explain a photograph of unknown blur.

        min over x, k of  rho(F(x, k), y) + a |k|_2 + b HL(x),    x = X(z_x), k = Q(z_k) with untrained networks X and Q

    with F of a `BlurKernelSpace` and Adam on the weights of X and Q. First X learns y and Q the start code, `warmup` steps each. Then come
    `steps` steps; by default rho is a distance of features, in the first half with a structural similarity.

    Args:
        y: [B, 3, H, W] or grey [B, 1, H, W] (three equal channels inside, their mean outside), 0..1, sides of at least 128; one image after
            the other.
        space: a `BlurKernelSpace`, its weights stay as they are.
        steps, warmup: see above. 5000 and 300 are the published ones.
        mode: "joint": image and code change in every step; "alternating": in `rounds` rounds, three fifths of each for the image, then two
            for the code.
        image_prior: "network"; "pixels": x and k themselves, from y and the start code; or a generator, a module from a latent to an image
            of y's size (0..1, three channels), its latent kept on the sphere of its first norm (published: 25 rounds of 300 + 200 steps,
            `steps=12500, mode="alternating"`).
        features: a callable distance of two images; None: 20 times `nn.FeatureDistance(nn.FilterBankFeatures())`, about as large
            as 1 - SSIM; with published weights `nn.FeatureDistance(nn.VGG19Features.from_file(...))`.
        weights: of the terms: "reference" (of the published code, two parts), "paper" (Charbonnier distance, a = 6e-4, b = 2e-2),
            "generator" (100 mean squares, 0.1 spread of the latent), or a sequence of `LossWeights`. None: "reference", of a generator
            "generator".
        latent: the first latent [1, ...] of a generator; None: a normal one of its attribute `latent_shape`.
        start: the code to begin with, [1, 8 width, ...] or [8 width]; None: `space.typical`.
        code_norm, hyper_laplacian: factors on |k|_2 and HL; 0 leaves a term out.
        rates: first learning rates of image and code; None: 5e-4 of a network, 5e-3 of pixels, 0.2 of a latent.
        rounds: of "alternating".
        precision: networks in "float32" or "bfloat16"; a UserWarning where the processor has no instructions for bfloat16 and it is slow.
        generator: `torch.Generator` on the CPU for weights and noise; None uses torch's default one.
        resume: a `DeepPriorResult` that was stopped, or a file of its `save`: same options, photograph and space.
        callback: called as callback(step, steps, found) after every step, steps with the warm-up and over all images; `found` is a
            `DeepPriorResult` of what there is so far. True ends the search.

    Returns:
        `DeepPriorResult`: .x like y, clipped to 0..1, the image with the least loss of the last part; .code; .losses [B, steps].

    Raises:
        ValueError, TypeError: naming the argument, before anything is computed. FileError: a file to resume from that does not fit.

    Bit-identical from run to run with the same generator and a fixed number of threads; a resumed search ends with the bits of one without
    interruption. Memory at 256 x 256: about 1 GB at width 64. Explore Image Deblurring via Encoded Blur Kernel Space (2021); published
    time: 209.5 s for 256 x 256 on a V100.

    >>> import torch
    >>> from svconv.models import BlurKernelSpace, deep_prior_deblur
    >>> y = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    >>> found = deep_prior_deblur(y, BlurKernelSpace(width=4), steps=2, image_prior="pixels")
    >>> found
    DeepPriorResult(x=[1, 3, 128, 128], code=[1, 32, 1, 1], losses=[1, 2], done=True)
    """
    options = checked_options(y, space, steps=steps, warmup=warmup, mode=mode, image_prior=image_prior, features=features, weights=weights,
                              latent=latent, code_norm=code_norm, hyper_laplacian=hyper_laplacian, rates=rates, rounds=rounds,
                              precision=precision)
    generator = generator or torch.default_generator
    start = start_code(start, space, y)
    if options.image_prior not in PRIORS and latent is None:
        options.latent = torch.randn(1, *options.image_prior.latent_shape, generator=generator).to(y)
    if not len(y):
        return DeepPriorResult(y.clone(), start.expand(0, *start.shape[1:]), y.new_zeros(0, options.steps))
    colour = coloured(y)
    flags = [(p, p.requires_grad) for net in (space, options.image_prior) if isinstance(net, torch.nn.Module) for p in net.parameters()]
    try:
        for p, _ in flags:
            p.requires_grad_(False)     # their gradients would be computed in every step for nothing
        with torch.enable_grad():
            return _searched(colour, y, space, options, start, generator, resume, callback)
    finally:
        for p, needed in flags:
            p.requires_grad_(needed)


def checked_options(y, space, *, steps, warmup, mode="joint", image_prior="network", features=None, weights=None, latent=None,
                    code_norm=1.0, hyper_laplacian=1.0, rates=(None, None), rounds=ROUNDS, precision="float32"):
    """The `Options` of the arguments of `deep_prior_deblur`; raises as that does."""
    if not isinstance(space, BlurKernelSpace):
        raise TypeError(f"space: expected a BlurKernelSpace, got {type(space).__name__}")
    check_image("y", y, next(space.parameters()), MULTIPLE)
    if mode not in MODES:
        raise ValueError(f"mode: expected 'joint' or 'alternating', got {mode!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected 'float32' or 'bfloat16', got {precision!r}")
    if precision == "bfloat16":
        warn_if_emulated(y.device.type)
    made = isinstance(image_prior, torch.nn.Module)
    if not made and image_prior not in PRIORS:
        raise ValueError(f"image_prior: expected 'network', 'pixels' or a torch.nn.Module, got {image_prior!r}")
    if made and latent is None and not hasattr(image_prior, "latent_shape"):
        raise ValueError("latent: expected the first latent of a generator without an attribute latent_shape, got None")
    if latent is not None and not (made and isinstance(latent, torch.Tensor) and latent.dim() > 1 and latent.shape[0] == 1):
        raise ValueError("latent: expected a tensor [1, ...] beside a generator as image_prior")
    if features is not None and not callable(features):
        raise ValueError(f"features: expected a callable distance of two images, got {features!r}")
    parts = weights_of(weights or ("generator" if made else "reference"), number("code_norm", code_norm, least=0),
                       number("hyper_laplacian", hyper_laplacian, least=0))
    if features is None and any(part.features for part in parts):
        features = FeatureDistance(FilterBankFeatures(), [BANK * weight for weight in FeatureDistance.DEBLURRING]).to(y)
    if not isinstance(rates, (tuple, list)) or len(rates) != 2:
        raise ValueError(f"rates: expected two learning rates, of the image and of the code, got {rates!r}")
    rates = tuple(None if rate is None else number("rates", rate, above=0) for rate in rates)
    return Options(number("steps", steps, least=1, integer=True), number("warmup", warmup, least=0, integer=True), mode, image_prior,
                   features, parts, latent, number("rounds", rounds, least=1, integer=True), precision, rates)


def start_code(start, space, y):
    """The code to begin with, [1, C, h, w]."""
    shape = space.code_shape(y.shape[-2:])
    start = space.typical if start is None else start
    if not isinstance(start, torch.Tensor) or start.shape not in ((shape[0],), (1, *shape)):
        got = list(start.shape) if isinstance(start, torch.Tensor) else type(start).__name__
        raise ValueError(f"start: expected [{shape[0]}] or [1, {', '.join(map(str, shape))}], got {got}")
    return (start if start.dim() == 4 else start[None, :, None, None]).detach().to(y).expand(1, *shape).clone()


def _searched(colour, y, space, options, start, generator, resume, callback):
    stored = _stored(resume, options, y)
    finished = [tuple(t.to(y.device) for t in one) for one in stored["finished"]] if stored else []
    for index in range(len(finished), len(colour)):
        search = Search(colour[index:index + 1], space, options, start, generator)
        if stored and stored["search"] is not None:
            search.load_state(stored["search"])
            if stored["next"] is not None and generator.device.type == "cpu":
                generator.set_state(stored["next"])     # the images that follow draw what they would have drawn
            stored = None
        while search.position < search.total:
            search.step()
            if callback is None:
                continue
            step, steps = index * search.total + search.position, len(colour) * search.total
            found = _found(y, options, finished, search, generator, step == steps)
            if callback(step, steps, found) and step < steps:
                return found
        finished.append((search.best_x, search.best_code, search.losses))
    return _found(y, options, finished, None, generator, True)


def _found(y, options, finished, search, generator, done):
    """What there is: the finished images, the one at work, and for the rest the photograph itself."""
    images = [one[0] for one in finished]
    codes, losses = [one[1] for one in finished], [one[2] for one in finished]
    if search is not None and len(images) < len(y):
        images.append(search.best_x), codes.append(search.best_code), losses.append(search.losses)
    for index in range(len(images), len(y)):
        images.append(coloured(y[index:index + 1])), codes.append(codes[0]), losses.append(torch.full_like(losses[0], torch.nan))
    x = torch.cat(images).clamp(0, 1)
    state = None
    if not done:
        state = {"options": options.stored(), "size": list(y.shape), "finished": finished, "search": search.state(),
                 "next": generator.get_state()}
    return DeepPriorResult(x if y.shape[1] == 3 else x.mean(1, keepdim=True), torch.cat(codes), torch.stack(losses), done, state)


def _stored(resume, options, y):
    """The state in `resume`, if it belongs to these options and a photograph of this size."""
    if resume is None:
        return None
    named = isinstance(resume, (str, os.PathLike))
    state = read_archive(resume, "file of a search") if named else getattr(resume, "state", None)
    error, name = (FileError, str(resume)) if named else (ValueError, "resume")
    if not isinstance(state, dict) or not {"options", "size", "finished", "search", "next"} <= state.keys():
        raise error(f"{name}: expected a search that was stopped, or a file of its save")
    for key, value in {**options.stored(), "size": list(y.shape)}.items():
        before = state["size"] if key == "size" else state["options"].get(key)
        if before != value:
            raise error(f"{name}: the search had {key} {before}, now it is {value}")
    return state
